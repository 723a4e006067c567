"""Read search spaces and portfolios from YAML files.

A wheel has the folder ``search_spaces`` inside the package (hatchling ``force-include``); an
editable install and a checkout have it next to the package.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from fairautoml.exceptions import SpaceError
from fairautoml.records import Config, ParamValue
from fairautoml.search.space import (
    Choice,
    Condition,
    Integer,
    ParamSpace,
    Range,
    Real,
    SearchSpace,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """A node of a YAML file and its key path."""

    origin: str  # the file, for messages
    key: str  # key path of the node, such as ``params.depth.low``; empty for the whole file
    node: yaml.Node  # the parsed node

    def error(self, what: str) -> SpaceError:
        """Return an error with file, line and key path."""
        line = self.node.start_mark.line + 1
        place = f"{self.origin}, line {line}, {self.key or 'file'}"
        return SpaceError(f"{place}: {what}")

    def at(self, name: str | int, node: yaml.Node) -> "Place":
        return Place(self.origin, f"{self.key}.{name}" if self.key else str(name), node)

    def made(self, make: Callable[[], T]) -> T:
        """Return ``make()``; add the position of this node to a ``SpaceError``."""
        try:
            return make()
        except SpaceError as error:
            raise self.error(str(error)) from error

    def mapping(self) -> dict[str, "Place"]:
        """Return the children of a mapping by key, in file order."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(f"expected a mapping 'key: value', found {_kind(self.node)}")
        found: dict[str, Place] = {}
        for key_node, value_node in self.node.value:
            name = self.at("key", key_node).value()
            child = self.at(str(name), value_node)
            if not isinstance(name, str):
                raise child.error(f"a key must be a string, found {name!r}; put it in quotes")
            if name in found:
                raise self.at(name, key_node).error("this key occurs twice; keep one")
            found[name] = child
        return found

    def fields(self, required: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, "Place"]:
        """Return the children of a mapping that has only the given keys."""
        found = self.mapping()
        known = required + optional
        for name, child in found.items():
            if name not in known:
                raise child.error(f"unknown key {name!r}; allowed: {', '.join(known)}")
        for name in required:
            if name not in found:
                raise self.error(f"the key {name!r} is missing; required: {', '.join(required)}")
        return found

    def items(self) -> list["Place"]:
        """Return the children of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error(f"expected a list [a, b], found {_kind(self.node)}")
        return [self.at(position, child) for position, child in enumerate(self.node.value)]

    def value(self) -> ParamValue:
        """Return a plain scalar."""
        if not isinstance(self.node, yaml.ScalarNode):
            raise self.error(f"expected one value, found {_kind(self.node)}")
        try:
            found: Any = yaml.constructor.SafeConstructor().construct_object(self.node)
        except (yaml.YAMLError, ValueError) as error:
            raise self.error(f"cannot be read: {error}") from error
        if isinstance(found, ParamValue):
            return found
        raise self.error(f"must be a bool, number or string, found {self.node.value!r}")

    def _of_type(self, kind: type[T], wanted: str, remedy: str = "") -> T:
        found = self.value()
        if isinstance(found, kind) and type(found) is kind:  # True is an int, too
            return found
        raise self.error(f"must be {wanted}, found {found!r}{remedy}")

    def string(self) -> str:
        return self._of_type(str, "a string", "; put it in quotes")

    def boolean(self) -> bool:
        return self._of_type(bool, "true or false")

    def integer(self) -> int:
        return self._of_type(int, "an integer")

    def real(self) -> float:
        """Return a real number; integers are converted."""
        found = self.value()
        if isinstance(found, (int, float)) and not isinstance(found, bool):
            return float(found)
        hint = "; YAML reads 1e-3 as text: write 1.0e-3" if isinstance(found, str) else ""
        raise self.error(f"must be a number, found {found!r}{hint}")


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else repr(node.value)


# Every fit reads the same dozen files; parsing YAML takes longer than training a small model.
@lru_cache(maxsize=256)
def root_of(text: str, origin: str) -> Place:
    """Return the root node of a YAML text."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = 1 if mark is None else mark.line + 1
        raise SpaceError(f"{origin}, line {line}, file: no valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise SpaceError(f"{origin}, line 1, file: no valid YAML: {error}") from error
    if node is None:
        raise SpaceError(f"{origin}, line 1, file: it is empty")
    return Place(origin, "", node)


@lru_cache(maxsize=256)
def read_param_space(text: str, origin: str, name: str = "") -> ParamSpace:
    """Read a search space.

    Examples
    --------
    >>> text = "params: {depth: {type: integer, low: 1, high: 9, default: 3}}"
    >>> read_param_space(text, "tree.yaml").defaults()
    {'depth': 3}
    """
    top = root_of(text, origin).fields(("params",), ())
    ranges: dict[str, Range] = {}
    conditions: dict[str, Condition] = {}
    for param, place in top["params"].mapping().items():
        fields = place.mapping()
        if "when" in fields:
            conditions[param] = _read_condition(fields["when"], ranges)
        ranges[param] = _read_range(place)
    return ParamSpace(name=name, ranges=ranges, conditions=conditions)


def _read_range(place: Place) -> Range:
    kinds: dict[str, Callable[[Place], Range]] = {
        "real": partial(_read_number, kind=Real, read=Place.real),
        "integer": partial(_read_number, kind=Integer, read=Place.integer),
        "choice": _read_choice,
    }
    found = place.mapping()
    if "type" not in found:
        raise place.error(f"the key 'type' is missing; allowed: {', '.join(kinds)}")
    kind = found["type"].string()
    if kind not in kinds:
        raise found["type"].error(f"unknown type {kind!r}; allowed: {', '.join(kinds)}")
    return kinds[kind](place)


def _read_number(place: Place, kind: type[Real | Integer], read: Callable[[Place], Any]) -> Range:
    fields = place.fields(("type", "low", "high", "default"), ("log", "when"))
    low, high, default = (read(fields[key]) for key in ("low", "high", "default"))
    log = "log" in fields and fields["log"].boolean()
    make: Callable[[], Range] = partial(kind, low=low, high=high, default=default, log=log)
    return place.made(make)


def _read_choice(place: Place) -> Range:
    fields = place.fields(("type", "values", "default"), ("when",))
    values = tuple(item.value() for item in fields["values"].items())
    return place.made(partial(Choice, values=values, default=fields["default"].value()))


def _read_condition(place: Place, known: dict[str, Range]) -> Condition:
    found = place.mapping()
    if len(found) != 1:
        raise place.error(f"must name exactly one other parameter, found {len(found)}")
    (param, child), *_ = found.items()
    if param not in known:
        above = ", ".join(known) if known else "none"
        raise child.error(f"{param!r} is no parameter above this one; those above: {above}")
    items = child.items()
    if not items:
        raise child.error("the list is empty; name at least one value")
    values = tuple(item.value() for item in items)
    for item, value in zip(items, values, strict=True):
        if not known[param].contains(value):
            raise item.error(f"{value!r} is not in the range of {param!r}")
    return Condition(param=param, values=values)


Kind = Literal["learners", "mitigators", "portfolios"]
_SAFE_NAME = re.compile(r"\w[\w-]*")


def _homes() -> tuple[Traversable, Traversable]:
    package = files("fairautoml")
    checkout = Path(__file__).resolve().parents[2]
    return package / "search_spaces", checkout / "search_spaces"


def _home() -> Traversable:
    homes = _homes()
    for home in homes:
        if home.is_dir():
            return home
    tried = " nor ".join(str(home) for home in homes)
    msg = f"the folder search_spaces is missing: found neither {tried}; install fairautoml again"
    raise SpaceError(msg)


def find_space(folder: Kind, name: str) -> tuple[str, str] | None:
    """Return text and origin of a search-space file, None when there is no such file."""
    # A name is a file name, never a path.
    if _SAFE_NAME.fullmatch(name) is None:
        return None
    file = _home() / folder / f"{name}.yaml"
    return (file.read_text(encoding="utf-8"), str(file)) if file.is_file() else None


def load_space(kind: Kind, name: str, text: str = "") -> ParamSpace:
    """Return the search space of a learner or mitigator."""
    found = (text, f"space of {name}") if text else find_space(kind, name)
    return ParamSpace(name=name) if found is None else read_param_space(*found, name)


def read_portfolio(text: str, origin: str, space: SearchSpace) -> tuple[Config, ...]:
    """Return the members of a portfolio that lie in a search space, in file order.

    Members whose learner is not in the space are left out. An encoding that is not named or not in
    the space is replaced by its first one; duplicates are removed.
    """
    top = root_of(text, origin).fields(("members",), ())
    members: list[Config] = []
    for place in top["members"].items():
        member = _read_member(place, space)
        if member is not None and member not in members:
            members.append(member)
    return tuple(members)


def _read_member(place: Place, space: SearchSpace) -> Config | None:
    fields = place.fields(("learner",), ("encoding", "params"))
    learner = fields["learner"].string()
    encoding = fields["encoding"].string() if "encoding" in fields else ""
    if learner not in space.learners:
        return None
    given = fields["params"].mapping() if "params" in fields else {}
    return Config(
        learner=learner,
        encoding=encoding if encoding in space.encodings else space.encodings[0],
        params=_complete(given, space.learners[learner]),
    )


def _complete(given: Mapping[str, Place], space: ParamSpace) -> dict[str, ParamValue]:
    def take(param: str, allowed: Range) -> ParamValue:
        if param not in given:
            return allowed.default
        value = _value(given[param], allowed)
        if not allowed.contains(value):
            raise given[param].error(f"{value!r} is outside the space of {space.name}: {allowed}")
        return value

    params = space.walk(take)
    for param, place in given.items():
        if param not in params:
            active = ", ".join(params)
            raise place.error(f"{space.name} has no such parameter here; active: {active}")
    return params


def _value(place: Place, allowed: Range) -> ParamValue:
    if isinstance(allowed, Real):
        return place.real()
    return place.integer() if isinstance(allowed, Integer) else place.value()
