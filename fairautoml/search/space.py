"""Search spaces: ranges, conditions, configurations."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from fairautoml.exceptions import SpaceError
from fairautoml.records import Config, ParamValue


def same_value(one: object, other: object) -> bool:
    """Return whether two values are equal and of the same type: ``1 != 1.0 != True``."""
    return type(one) is type(other) and one == other


def _check_bounds(low: float, high: float, log: bool, default: float) -> None:
    if not low < high:
        raise SpaceError(f"low must be less than high; found low {low!r} and high {high!r}")
    if log and low <= 0:
        raise SpaceError(f"a log range needs low > 0; found low {low!r}; raise it or drop log")
    if not low <= default <= high:
        raise SpaceError(f"default must lie in [{low!r}, {high!r}]; found {default!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """A real number in [low, high].

    Examples
    --------
    >>> Real(low=0.01, high=0.3, log=True, default=0.1).contains(0.5)
    False
    """

    low: float  # bounds, both inside; finite, ``low < high``
    high: float
    default: float  # default value, in [low, high]
    log: bool = False  # uniform in the logarithm; then ``low > 0``

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in (self.low, self.high, self.default)):
            raise SpaceError("low, high and default must be finite numbers")
        _check_bounds(self.low, self.high, self.log, self.default)

    def sample(self, rng: np.random.Generator) -> float:
        """Draw a value, uniform on the scale of the range."""
        if not self.log:
            return float(rng.uniform(self.low, self.high))
        drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        # exp(log(x)) may leave the range by one unit in the last place.
        return min(max(drawn, self.low), self.high)

    def contains(self, value: object) -> bool:
        """Whether ``value`` is a plain ``float`` in the range."""
        return type(value) is float and self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Integer:
    """An integer in [low, high]."""

    low: int  # bounds, both inside; ``low < high``
    high: int
    default: int  # default value, in [low, high]
    log: bool = False  # uniform in the logarithm; then ``low > 0``

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high, self.log, self.default)

    def sample(self, rng: np.random.Generator) -> int:
        """Draw a value, uniform on the scale of the range."""
        if not self.log:
            return int(rng.integers(self.low, self.high, endpoint=True))
        # Half a step of room on both sides gives the two bounds their full share.
        drawn = math.exp(rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5)))
        return min(max(round(drawn), self.low), self.high)

    def contains(self, value: object) -> bool:
        """Whether ``value`` is a plain ``int`` in the range."""
        return type(value) is int and self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A categorical value, one of a list."""

    values: tuple[ParamValue, ...]  # allowed values, at least one, none twice
    default: ParamValue  # one of ``values``

    def __post_init__(self) -> None:
        if not self.values:
            raise SpaceError("values is empty; a choice needs at least one value")
        for position, value in enumerate(self.values):
            if any(same_value(value, before) for before in self.values[:position]):
                raise SpaceError(f"values holds {value!r} twice; keep one")
        if not self.contains(self.default):
            raise SpaceError(f"default must be one of {self.values!r}; found {self.default!r}")

    def sample(self, rng: np.random.Generator) -> ParamValue:
        """Draw a value uniformly."""
        return self.values[int(rng.integers(len(self.values)))]

    def contains(self, value: object) -> bool:
        """Whether ``value`` is in the list, with the same type."""
        return any(same_value(value, known) for known in self.values)


Range = Real | Integer | Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Values of another parameter under which a parameter is active."""

    param: str  # the other parameter; it comes before this one in the space
    values: tuple[ParamValue, ...]  # its values that activate this one

    def holds(self, params: Mapping[str, ParamValue]) -> bool:
        """Whether ``params`` meet the condition; an absent parameter does not."""
        if self.param not in params:
            return False
        return any(same_value(params[self.param], value) for value in self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamSpace:
    """The hyperparameters of one learner or mitigator.

    Examples
    --------
    >>> from fairautoml.search.space import Integer
    >>> space = ParamSpace(name="tree", ranges={"depth": Integer(low=1, high=9, default=3)})
    >>> space.defaults()
    {'depth': 3}
    """

    name: str  # registered name of the learner or mitigator
    # every parameter, in the order of the file
    ranges: Mapping[str, Range] = field(default_factory=dict)
    # parameters that exist only under a condition
    conditions: Mapping[str, Condition] = field(default_factory=dict)

    def walk(self, suggest: Callable[[str, Range], ParamValue]) -> dict[str, ParamValue]:
        """Return a suggested value of each active parameter, in file order."""
        params: dict[str, ParamValue] = {}
        for param, allowed in self.ranges.items():
            condition = self.conditions.get(param)
            if condition is None or condition.holds(params):
                params[param] = suggest(param, allowed)
        return params

    def defaults(self) -> dict[str, ParamValue]:
        """Return the default values."""
        return self.walk(lambda _, allowed: allowed.default)

    def sample(self, rng: np.random.Generator) -> dict[str, ParamValue]:
        """Draw a point at random."""
        return self.walk(lambda _, allowed: allowed.sample(rng))

    def contains(self, params: Mapping[str, ParamValue]) -> bool:
        """Whether ``params`` holds the active parameters and no other, all in range."""
        active = self.walk(lambda param, allowed: params.get(param, allowed.default))
        return params.keys() == active.keys() and all(
            self.ranges[param].contains(value) for param, value in params.items()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """Learners, encodings and mitigations of a search, with their parameters."""

    learners: Mapping[str, ParamSpace]  # space of each learner
    # encodings of the columns, such as ``("codes", "target")``
    encodings: tuple[str, ...] = ("codes",)
    # learners for which ``"native"`` differs from ``"codes"``; no set, because the text of a space
    # must be the same in every process that resumes a run
    native_learners: tuple[str, ...] = ()
    # space of each training-time mitigation; ``"none"`` has no parameters
    mitigations: Mapping[str, ParamSpace] = field(
        default_factory=lambda: {"none": ParamSpace(name="none")}
    )
    # pairs of learner and mitigation that are not trained; the learner is then not mitigated
    excluded: tuple[tuple[str, str], ...] = ()

    def encoding_of(self, learner: str, encoding: str) -> str:
        """Return the encoding, or ``"codes"`` if it does not differ for the learner."""
        same = encoding == "native" and learner not in self.native_learners
        return "codes" if same else encoding

    def mitigation_of(self, learner: str, mitigation: str) -> str:
        """Return the mitigation, or ``"none"`` if the pair is excluded."""
        return "none" if (learner, mitigation) in self.excluded else mitigation

    def contains(self, config: Config) -> bool:
        """Whether a configuration is a complete point of the space."""
        return (
            config.learner in self.learners
            and self.learners[config.learner].contains(config.params)
            and config.encoding in self.encodings
            and config.mitigation in self.mitigations
            and self.mitigations[config.mitigation].contains(config.mitigation_params)
        )


def coordinates(space: SearchSpace) -> dict[str, Range]:
    """Return every name that ``propose`` may suggest, with its range."""
    arms = {
        "learner": tuple(space.learners),
        "encoding": space.encodings,
        "mitigation": tuple(space.mitigations),
    }
    found: dict[str, Range] = {
        name: Choice(values=values, default=values[0]) for name, values in arms.items()
    }
    for part in (*space.learners.values(), *space.mitigations.values()):
        found.update({f"{part.name}.{param}": allowed for param, allowed in part.ranges.items()})
    return {
        name: allowed
        for name, allowed in found.items()
        if not (isinstance(allowed, Choice) and len(allowed.values) == 1)
    }
