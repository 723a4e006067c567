"""What a simulation plays: contenders, worlds and guesses, read from a YAML file."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

import yaml

from allocators.worlds import BUDGET
from common.reading import mapping_of
from fairautoml.exceptions import InputError
from fairautoml.parameters import is_number
from fairautoml.search.allocators import ALLOCATORS
from fairautoml.search.allocators._expected_gain import Rules, Test

DICE = "random"
"""The baseline that is no registered allocator."""

SWITCHES = frozenset({"told", "retry"} | {part.name for part in fields(Rules)} - {"test"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A true cost ratio of the mitigation, and what allocators believe before they measure it."""

    ratio: float
    prior: float

    def __post_init__(self) -> None:
        for name in ("ratio", "prior"):
            value = getattr(self, name)
            if not is_number(value) or value <= 0:
                raise InputError(f"{name} is {value!r}; it must be a positive number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """An allocator with its options."""

    name: str  # shown in the tables
    allocator: str  # registered name, or ``"random"``
    told: bool = False  # it is given the true ratio instead of the guess
    retry: bool = False  # of ``mitigate_after``
    probability: float = 0.0  # of ``random``, in [0, 1]
    rules: Rules = field(default_factory=Rules)  # of ``cost_aware``
    priors: tuple[float, ...] = ()  # guesses with which it is played; empty = all

    def __post_init__(self) -> None:
        known = (*ALLOCATORS.names(), DICE)
        if self.allocator not in known:
            msg = f"allocator is {self.allocator!r}; known: {', '.join(known)}"
            raise InputError(msg)
        if self.retry and self.allocator != "mitigate_after":
            raise InputError(f"retry belongs to mitigate_after, not to {self.allocator}")
        if self.rules != Rules() and self.allocator != "cost_aware":
            raise InputError(f"rules belong to cost_aware, not to {self.allocator}")
        if not is_number(self.probability) or not 0 <= self.probability <= 1:
            raise InputError(f"probability is {self.probability!r}; it must be in [0, 1]")

    def enters(self, guess: Guess) -> bool:
        """Whether it is played with this guess."""
        return not self.priors or guess.prior in self.priors


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """All that is played: every contender, with every guess, in the world of every seed."""

    guesses: tuple[Guess, ...]
    contenders: tuple[Contender, ...]
    seeds: tuple[int, ...]
    budget: float = BUDGET


def read_simulation(path: Path) -> Simulation:
    """Read a simulation.

    The file has the one key ``simulation``, with ``guesses`` (``ratio``, ``prior``),
    ``contenders`` (the fields of ``Contender``; ``rules`` has those of ``Rules``), ``seeds`` (a
    count) and, if wanted, ``budget`` (seconds).
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"simulation {path} cannot be read: {error}") from None
    try:
        return _simulation(mapping_of(content, ("runner", "simulation")).get("simulation"))
    except InputError as error:
        raise InputError(f"simulation {path}: {error}") from None


def _simulation(content: object) -> Simulation:
    given = mapping_of(content, [part.name for part in fields(Simulation)])
    missing = [name for name in ("guesses", "contenders", "seeds") if not given.get(name)]
    if missing:
        raise InputError(f"{', '.join(missing)} is missing or empty")
    n_seeds, budget = given["seeds"], given.get("budget", BUDGET)
    if type(n_seeds) is not int or n_seeds < 1:
        raise InputError(f"seeds is {n_seeds!r}; give a count of at least 1")
    if not is_number(budget) or budget <= 0:
        raise InputError(f"budget is {budget!r}; give seconds, more than 0")
    contenders = tuple(_contender(entry) for entry in _list(given["contenders"], "contenders"))
    names = [contender.name for contender in contenders]
    if len(set(names)) < len(names):
        raise InputError("two contenders have the same name; rename one")
    return Simulation(
        guesses=tuple(_guess(entry) for entry in _list(given["guesses"], "guesses")),
        contenders=contenders,
        seeds=tuple(range(n_seeds)),
        budget=float(budget),
    )


def _guess(entry: object) -> Guess:
    given = mapping_of(entry, ("ratio", "prior"))
    if len(given) < 2:
        raise InputError(f"the guess {entry!r} lacks ratio or prior")
    return Guess(ratio=given["ratio"], prior=given["prior"])


def _contender(entry: object) -> Contender:
    given = dict(mapping_of(entry, [part.name for part in fields(Contender)]))
    if not {"name", "allocator"} <= set(given):
        raise InputError(f"the contender {entry!r} lacks name or allocator")
    options = mapping_of(given.pop("rules", {}), [part.name for part in fields(Rules)])
    test = options.get("test", "full")
    if test not in get_args(Test):
        raise InputError(f"test is {test!r}; allowed: {', '.join(get_args(Test))}")
    switches = {k: v for k, v in {**given, **options}.items() if k in SWITCHES}
    wrong = [name for name, value in switches.items() if not isinstance(value, bool)]
    if wrong:
        raise InputError(f"{', '.join(wrong)} of {entry!r} must be true or false")
    priors = tuple(_list(given.pop("priors", []), "priors"))
    return Contender(**given, rules=Rules(**options), priors=priors)


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{name} is {value!r}; give a list")
    return value
