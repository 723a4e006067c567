"""What a comparison of mitigators runs: tables, constraints and strengths, from a YAML file."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from common.reading import mapping_of
from fairautoml.bench.tasks import SLUG
from fairautoml.data.derive import parse_derive, parse_keep
from fairautoml.exceptions import InputError
from fairautoml.learners import LEARNERS
from fairautoml.metrics import Constraint
from fairautoml.mitigators import MITIGATORS
from fairautoml.records import ParamValue
from fairautoml.registry import unknown_name
from fairautoml.search.space import Choice, Integer, ParamSpace
from fairautoml.search.space_files import load_space
from peers._arsenal import ARSENAL_PEERS

PLAIN = "none"
"""The learner without any mitigation: what all others are compared with."""
USUAL_STRENGTH = "strength"
"""The parameter that is varied when a method does not name another."""
USUAL_POINTS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table of a comparison."""

    name: str  # at most 64 letters, digits, ``.``, ``_``, ``-``; unique
    dataset: str  # name of a dataset, or a file
    sensitive: str  # group column; no model has it as a feature
    target: str | None = None  # column of the labels; None = as the named dataset has it
    derive: tuple[str, ...] = ()  # derived columns, choices of rows, columns that are no features
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    rows: int | None = None  # how many rows are drawn at first; None = all


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A mitigator of this library or of another one, and what is varied of it."""

    # what it is called: a registered mitigator or peer, or another set of parameters of one
    name: str
    varied: str = ""  # parameter that is the strength
    values: tuple[float, ...] = ()  # what it is set to
    params: Mapping[str, ParamValue] = field(default_factory=dict)  # the other parameters
    rows: int | None = None  # training rows at the most, for methods that train many times
    # the registered one that it is, when its name is another; empty otherwise
    of: str = field(default="", repr=False)

    @property
    def registered(self) -> str:
        """Name of the mitigator or peer."""
        return self.of if self.of else self.name

    @property
    def is_peer(self) -> bool:
        """Whether it is another library's."""
        return self.registered not in MITIGATORS.names()


@dataclass(frozen=True, slots=True, kw_only=True)
class Arsenal:
    """A comparison of mitigators."""

    tables: tuple[Table, ...]  # where
    methods: tuple[Method, ...]  # what; the first one is the plain learner
    # each with the limit that methods with a strength in units of the limit are given
    constraints: tuple[str, ...]
    learner: str  # registered learner below all methods
    params: Mapping[str, ParamValue]  # its hyperparameters, the same everywhere
    seeds: tuple[int, ...]  # one split each
    folds: int = 3  # cross-validation folds, at least 2
    holdout: float = 0.3  # share of the rows that nothing is fitted on, in (0, 1)
    train_rows: int = 15_000  # rows of the two parts at the most
    held_rows: int = 20_000

    def digest(self, table: Table, method: Method) -> str:
        """Return the hash of everything that the points of a cell depend on, but for the seed."""
        request = (
            table, method, self.constraints, self.learner, sorted(self.params.items()),
            self.folds, self.holdout, self.train_rows, self.held_rows,
            *([method.of] if method.of else []),
        )  # fmt: skip
        return hashlib.sha256(repr(request).encode()).hexdigest()[:16]


def read_arsenal(path: Path) -> Arsenal:
    """Read a comparison of mitigators.

    The file has the key ``arsenal`` with the fields of ``Arsenal``. ``methods`` gives options of
    some methods by name: ``vary`` (which parameter is the strength), ``points`` (how many values,
    evenly over its range in the search space, on its scale), ``values`` (instead of those),
    ``rows``, ``params``; a name of one's own says with ``of`` which one it is. Every registered
    mitigator and every peer that serves one of the constraints takes part whether it is named
    there or not, except those under ``without``, or only those under ``only``.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"arsenal {path} cannot be read: {error}") from None
    try:
        return _arsenal(mapping_of(content, ("runner", "arsenal"))["arsenal"])
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(f"arsenal {path}: {error}") from None


def _arsenal(content: object) -> Arsenal:
    given = dict(
        mapping_of(content, (*(part.name for part in fields(Arsenal)), "without", "only"))
    )
    missing = [name for name in ("tables", "constraints", "seeds") if not given.get(name)]
    if missing:
        raise InputError(f"{', '.join(missing)} is missing or empty")
    tables = tuple(_table(entry) for entry in given.pop("tables"))
    if len({table.name for table in tables}) < len(tables):
        raise InputError("two tables have the same name; rename one")
    n_seeds, learner = given.pop("seeds"), str(given.pop("learner", "lightgbm"))
    if type(n_seeds) is not int or n_seeds < 1:
        raise InputError(f"seeds is {n_seeds!r}; give a count of at least 1")
    constraints = tuple(Constraint.parse(text).label for text in given.pop("constraints"))
    chosen = given.pop("without", []), given.pop("only", None)
    params = _point(load_space("learners", learner, LEARNERS.get(learner).space), given)
    methods = _methods(given.pop("methods", {}), *chosen, constraints)
    return Arsenal(
        tables=tables,
        methods=tuple(method for method in methods if _fits(method, learner)),
        constraints=constraints,
        learner=learner,
        params=params,
        seeds=tuple(range(n_seeds)),
        **given,
    )


def _table(entry: object) -> Table:
    given = mapping_of(entry, [part.name for part in fields(Table)])
    lists = {
        key: tuple(given[key]) if isinstance(given[key], list) else (given[key],)
        for key in ("derive", "keep", "drop")
        if key in given
    }
    table = Table(**{**given, **lists})
    if not isinstance(table.name, str) or not SLUG.match(table.name):
        raise InputError(f"name is {table.name!r}; use letters, digits and ._- (64 at most)")
    for text in table.derive:
        parse_derive(text)
    for text in table.keep:
        parse_keep(text)
    return table


def _methods(
    options: Mapping[str, Any],
    without: list[str],
    only: list[str] | None,
    constraints: tuple[str, ...],
) -> tuple[Method, ...]:
    known = (*MITIGATORS.names(), *ARSENAL_PEERS.names())
    own = {name: str(given["of"]) for name, given in options.items() if "of" in given}
    for name in (*own.values(), *(n for n in options if n not in own)):
        if name not in known:
            raise InputError(unknown_name("mitigator or peer", name, known))
    wanted = {Constraint.parse(text).metric.name for text in constraints}
    every = (*known, *own)
    for name in (*without, *(every if only is None else only)):
        if name not in every:
            raise InputError(unknown_name("mitigator or peer", name, every))
    names = [n for n in every if n not in (PLAIN, *without) and (only is None or n in only)]
    served = [n for n in names if _serves_one(own.get(n, n), wanted)]
    return tuple(_method(name, options.get(name, {})) for name in (PLAIN, *served))


def _fits(method: Method, learner: str) -> bool:
    """Return whether a method may be combined with the learner."""
    known = method.registered in MITIGATORS.names()
    linear_only = known and MITIGATORS.get(method.registered).linear_only
    return not linear_only or LEARNERS.get(learner).linear


def _serves_one(name: str, metrics: set[str]) -> bool:
    registry = MITIGATORS if name in MITIGATORS.names() else ARSENAL_PEERS
    serves = registry.get(name).serves
    return serves is None or not metrics.isdisjoint(serves)


def _method(name: str, options: object) -> Method:
    given = dict(mapping_of(options, ("vary", "points", "values", "rows", "params", "of")))
    registered = str(given.get("of", name))
    if registered in MITIGATORS.names():
        mitigator = MITIGATORS.get(registered)
        if mitigator.train is None:
            return Method(name=name, of=given.get("of", ""))
        space = load_space("mitigators", registered, mitigator.space)
    else:
        space = ARSENAL_PEERS.get(registered).space
    varied = given.get("vary", USUAL_STRENGTH if space.ranges else "")
    if varied and varied not in space.ranges:
        msg = (
            f"{name} has no parameter {varied!r}; name one under 'vary': {', '.join(space.ranges)}"
        )
        raise InputError(msg)
    return Method(
        name=name,
        varied=varied,
        values=_values(space, varied, given),
        params={k: v for k, v in _point(space, given).items() if k != varied},
        rows=given.get("rows"),
        of=given.get("of", ""),
    )


def _values(space: ParamSpace, varied: str, given: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the strengths: even steps on the scale of the range, without a strength of 0."""
    if not varied:
        return ()
    if "values" in given:
        return tuple(given["values"])
    found, n_points = space.ranges[varied], int(given.get("points", USUAL_POINTS))
    if isinstance(found, Choice):
        raise InputError(f"{varied!r} is a choice; give its values under 'values'")
    if found.log:
        grid = np.geomspace(found.low, found.high, n_points)
    elif found.low == 0:
        grid = np.linspace(0, found.high, n_points + 1)[1:]
    else:
        grid = np.linspace(found.low, found.high, n_points)
    inside = np.clip(grid, found.low, found.high)
    whole = isinstance(found, Integer)
    return tuple(dict.fromkeys(round(v) if whole else float(v) for v in inside))


def _point(space: ParamSpace, given: dict[str, Any]) -> dict[str, ParamValue]:
    """Return the defaults of a space with the given parameters in their places."""
    request = given.pop("params", {})
    unknown = sorted(set(request) - set(space.ranges))
    if unknown:
        raise InputError(f"no parameter {', '.join(unknown)}; known: {', '.join(space.ranges)}")
    return space.walk(lambda name, allowed: request.get(name, allowed.default))
