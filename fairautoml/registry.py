"""Registries of plug-ins by name: modules of a package, given objects, and entry points.

A plug-in module has no leading underscore and holds one constant (``LEARNER``, ``MITIGATOR``,
...). It is imported on first access, so a missing optional library affects only its own plug-in.
"""

import ast
import difflib
import importlib
import pkgutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from fairautoml.exceptions import (
    FairAutoMLError,
    MissingExtraError,
    ParameterError,
    UnknownNameError,
)

T = TypeVar("T")


class Registry(Generic[T]):
    """All plug-ins of one kind.

    They are the modules of ``package``, or of its ``folders``, that hold a ``constant``, or the
    given ``rows``, each with a line ``about``. Those of third parties have the entry-point group
    ``group``, by default the name of the package. ``kind`` is their noun in messages.

    Examples
    --------
    >>> from fairautoml.metrics import METRICS
    >>> "accuracy" in METRICS.names()
    True
    """

    def __init__(
        self,
        package: str,
        *,
        kind: str,
        constant: str = "",
        rows: Mapping[str, T] | None = None,
        folders: Sequence[str] = (),
        group: str | None = None,
    ) -> None:
        self.package = package
        self.group = package if group is None else group
        self.constant = constant
        self.kind = kind
        self.rows = rows
        self.folders = tuple(f"{package}.{folder}" for folder in folders) or (package,)
        self._loaded: dict[str, T] = {}
        self._added: ContextVar[Mapping[str, T]] = ContextVar(
            package, default=MappingProxyType({})
        )

    @cached_property
    def _own(self) -> dict[str, str]:
        """Return the module of each plug-in of this package."""
        if self.rows is not None:
            return {name: f"{self.package}.{name}" for name in self.rows}
        return {
            module.name: f"{folder}.{module.name}"
            for folder in self.folders
            for module in pkgutil.iter_modules(importlib.import_module(folder).__path__)
            if not module.name.startswith("_") and not module.ispkg
        }

    @cached_property
    def _foreign(self) -> dict[str, EntryPoint]:
        found: dict[str, EntryPoint] = {}
        for point in entry_points(group=self.group):
            known = found.get(point.name)
            if point.name in self._own or (known is not None and known.value != point.value):
                other = self._own[point.name] if known is None else known.value
                msg = f"{self.kind} {point.name!r} exists twice: in {other} and in {point.value}"
                raise FairAutoMLError(msg)
            found[point.name] = point
        return found

    def names(self) -> tuple[str, ...]:
        """Return all names, sorted, without importing a plug-in."""
        return tuple(sorted({*self._own, *self._foreign}))

    @contextmanager
    def adding(self, plugins: Mapping[str, T]) -> Iterator[None]:
        """Let ``get`` return the given plug-ins, too, in this thread until the context ends."""
        before = self._added.set({**self._added.get(), **plugins})
        try:
            yield
        finally:
            self._added.reset(before)

    def get(self, name: str) -> T:
        """Return the plug-in called ``name``; raise UnknownNameError or MissingExtraError."""
        if name in (added := self._added.get()):
            return added[name]
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def missing(self) -> dict[str, str]:
        """Return the plug-ins whose library cannot be imported, with the error message of each."""
        found = {}
        for name in self.names():
            try:
                self.get(name)
            except MissingExtraError as error:
                found[name] = str(error)
        return found

    def available(self) -> tuple[str, ...]:
        """Return the names of the plug-ins that can be used here, sorted; all are imported."""
        missing = self.missing()
        return tuple(name for name in self.names() if name not in missing)

    def about(self, name: str) -> str:
        """Return the first line of a docstring, or the import path of a third-party plug-in."""
        if name not in self._own:
            return self._foreign[name].value
        if self.rows is not None:
            return str(getattr(self.rows[name], "about", ""))
        package, _, module = self._own[name].rpartition(".")
        source = pkgutil.get_data(package, f"{module}.py")
        doc = None if source is None else ast.get_docstring(ast.parse(source))
        return "" if doc is None else doc.splitlines()[0]

    def _load(self, name: str) -> T:
        if self.rows is not None and name in self.rows:
            return self.rows[name]
        if name in self._own:
            module = importlib.import_module(self._own[name])
            return getattr(module, self.constant)
        if name in self._foreign:
            return self._foreign[name].load()
        raise UnknownNameError(unknown_name(self.kind, name, self.names()))


def nearest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return ``did you mean 'a', 'b'?``, or the other text if no known name is similar."""
    near = difflib.get_close_matches(name, known, n=3)
    return f"did you mean {', '.join(map(repr, near))}?" if near else otherwise


def unknown_name(kind: str, name: str, known: Collection[str]) -> str:
    """Return the message on an unknown name: the nearest names, then all known ones."""
    known = [*dict.fromkeys(known)]
    near = difflib.get_close_matches(name, known, n=3)
    listed = ", ".join(known)
    remedy = f"did you mean {' or '.join(near)}? all: {listed}" if near else f"known: {listed}"
    return f"no {kind} is called {name!r}; {remedy}"


def missing_library(
    plugin: str, library: str, package: str, error: Exception
) -> MissingExtraError:
    """Return the error for a plug-in whose library, from a pip package, cannot be imported."""
    return MissingExtraError(
        f"{plugin} needs {library}, which cannot be imported ({error}); install it with: "
        f"pip install {package}"
    )


def imported(plugin: str, module: str, library: str, package: str) -> Any:
    """Return a module of an optional library; raise MissingExtraError if it cannot be imported."""
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise missing_library(plugin, library, package, error) from error


def check_names(argument: str, value: Any, registry: Registry[Any]) -> tuple[str, ...] | None:
    """Return registered names, None for None; raise for other values and unknown names."""
    if value is None:
        return None
    names = (value,) if isinstance(value, str) else value
    listed = isinstance(names, Sequence) and all(isinstance(name, str) for name in names)
    if not listed or not names:
        raise ParameterError(
            f"{argument}={value!r} must be None or a list of names out of "
            f"{', '.join(registry.names())}"
        )
    for name in names:
        registry.get(name)
    return tuple(dict.fromkeys(names))


def check_name(argument: str, value: Any, registry: Registry[Any]) -> str:
    """Return a registered name or ``"auto"``; raise for others."""
    if not isinstance(value, str):
        msg = f"{argument}={value!r} must be 'auto' or one of {', '.join(registry.names())}"
        raise ParameterError(msg)
    if value != "auto":
        registry.get(value)
    return value
