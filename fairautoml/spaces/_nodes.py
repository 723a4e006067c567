"""Strict YAML: nodes that know their line, and errors that name file, line and key."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml

from fairautoml.exceptions import SpaceError
from fairautoml.spaces.ranges import ParamValue

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """A node of a YAML file with the way to it."""

    origin: str  # the file, for messages
    key: str  # the way to the node, such as ``params.depth.low``; empty for the whole file
    node: yaml.Node  # what stands there

    def error(self, what: str) -> SpaceError:
        """Return an error that says where."""
        line = self.node.start_mark.line + 1
        place = f"{self.origin}, line {line}, {self.key or 'file'}"
        return SpaceError(f"{place}: {what}")

    def at(self, name: str | int, node: yaml.Node) -> "Place":
        """Return the place of a child."""
        return Place(self.origin, f"{self.key}.{name}" if self.key else str(name), node)

    def made(self, make: Callable[[], T]) -> T:
        """Return what ``make`` makes from this node; its ``SpaceError`` gets the place."""
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
                raise self.at(name, key_node).error("this key stands there twice; keep one")
            found[name] = child
        return found

    def fields(self, required: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, "Place"]:
        """Return the children of a mapping whose keys are known beforehand."""
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
            found: Any = yaml.SafeLoader("").construct_object(self.node)
        except (yaml.YAMLError, ValueError) as error:
            raise self.error(f"cannot be read: {error}") from error
        if isinstance(found, ParamValue):
            return found
        raise self.error(f"must be a bool, number or string, found {self.node.value!r}")

    def string(self) -> str:
        """Return a string."""
        found = self.value()
        if isinstance(found, str):
            return found
        raise self.error(f"must be a string, found {found!r}; put it in quotes")

    def boolean(self) -> bool:
        """Return true or false."""
        found = self.value()
        if isinstance(found, bool):
            return found
        raise self.error(f"must be true or false, found {found!r}")

    def integer(self) -> int:
        """Return an integer."""
        found = self.value()
        if type(found) is int:
            return found
        raise self.error(f"must be an integer, found {found!r}")

    def real(self) -> float:
        """Return a real number; an integer is read as one."""
        found = self.value()
        if isinstance(found, (int, float)) and not isinstance(found, bool):
            return float(found)
        hint = "; YAML reads 1e-3 as text: write 1.0e-3" if isinstance(found, str) else ""
        raise self.error(f"must be a number, found {found!r}{hint}")


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else repr(node.value)


def root_of(text: str, origin: str) -> Place:
    """Return the top of a YAML text."""
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
