"""Records as JSON: reading a file makes only the types that are listed here and runs no code.

Arrays are stored by type, shape and bytes. An object that occurs twice is stored once, and is one
object again when it is read.
"""

import base64
import json
import math
import types
import typing
import zlib
from collections.abc import Collection, Hashable, Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, cast, get_args, get_origin

import numpy as np
from numpy.typing import NDArray

from fairautoml.exceptions import FairAutoMLError, ModelCorruptError, NotPortableError
from fairautoml.runtime._base import DAMAGE

HOMES: Mapping[str, str] = {
    name: module
    for module, names in {
        "fairautoml.records": "Assessment Config ConstraintResult Entry Status",
        "fairautoml.metrics.constraint": "Constraint",
        "fairautoml.metrics.custom": "CostMatrix",
        "fairautoml.metrics.groups": "GroupSystem Judgeability SmallGroups",
        "fairautoml.data.columns": "Column PositionalNames SparseColumns",
        "fairautoml.data.groups": "GroupSchema",
        "fairautoml.data.noisy_groups": "Guess",
        "fairautoml.data.options": "ColumnOptions",
        "fairautoml.data.schema": "TableSchema",
        "fairautoml.data.texts": "TextColumn",
        "fairautoml.data.sensitive_numbers": "NumberBins Scale",
        "fairautoml.mitigators._group_program": (
            "AsPredicted CommonRule Moves NumberRepair Parts ShiftRule Step ThresholdRule"
        ),
        "fairautoml.mitigators._multiclass": "ClassRule MostLikely",
        "fairautoml.mitigators.postprocessing.bias_scoring": "BiasScoreRule GroupBias",
        "fairautoml.mitigators.postprocessing.gedi_projection": "ShiftedRule",
        "fairautoml.mitigators.postprocessing.logit_adjustment": "ClassFactors",
        "fairautoml.mitigators.postprocessing.multicalibration": "Bins CalibratedRule Update",
        "fairautoml.mitigators.postprocessing.reject_option": "BandRule",
        "fairautoml.mitigators.postprocessing.score_repair": "Barycentre RepairRule",
        "fairautoml.selection.leaderboard": "Leaderboard",
        "fairautoml.selection.mixture": "Part PoolRule",
        "fairautoml.certification.certify": "CandidateSequence",
        "fairautoml.certification.rows": "TrainingRows",
        "fairautoml.noisy_constraint": "Guessing",
        "fairautoml.settings": (
            "AllExcept Dask GroupPolicy LocalProcesses RunStorage ServingOptions"
        ),
    }.items()
    for name in names.split()
}
"""Module of each type that a file may contain; their constructors only check their values."""

REGISTERED: Mapping[str, tuple[str, str]] = {
    "Metric": ("fairautoml.metrics", "METRICS"),
    "Rate": ("fairautoml.metrics.rates", "RATES"),
}
"""Module and name of the registry of each type that is stored by name."""

NUMBERS, LABELS = "biuf", "UO"
"""Kinds of arrays."""

MOST_BYTES = 2 * 2**30
"""Largest size of the content of a file."""


def packed(value: Any) -> bytes:
    """Return a value as gzip-compressed JSON."""
    writer = _Writer()
    root = writer.plain(value)
    text = json.dumps({"objects": writer.objects, "root": root}, separators=(",", ":"))
    return zlib.compress(text.encode(), level=1, wbits=31)


def unpacked(content: bytes, shown: str) -> Any:
    """Return the value that ``packed`` was given; ``shown`` names the file in errors."""
    try:
        press = zlib.decompressobj(wbits=31)
        text = press.decompress(content, MOST_BYTES)
        if not press.eof:
            raise ValueError("it is cut off or too large")
        document = json.loads(text)
        reader = _Reader()
        for name, values in document["objects"]:
            reader.add(name, values)
        return reader.value(document["root"])
    except (*DAMAGE, EOFError, OSError, zlib.error, FairAutoMLError) as error:
        raise ModelCorruptError(f"{shown} is damaged: {error!r}"[:500]) from error


class _Writer:
    def __init__(self) -> None:
        self.objects: list[Any] = []
        self._known: dict[int, int] = {}

    def plain(self, value: Any) -> Any:
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": str(value)}
        if isinstance(value, np.ndarray | np.generic):
            return self._array(value)
        name = type(value).__name__
        if name in REGISTERED and _registered(name, value.name) == value:
            return {"named": [name, value.name]}
        if HOMES.get(name) == type(value).__module__:
            if isinstance(value, StrEnum):
                return {"enum": [name, str(value)]}
            return {"object": self._number(name, value)}
        return self._collection(value)

    def _collection(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.plain(one) for one in value]
        if type(value) is tuple:
            return {"tuple": [self.plain(one) for one in value]}
        if isinstance(value, frozenset):
            return {"set": sorted(value)}
        if isinstance(value, Path):
            return {"path": str(value)}
        if isinstance(value, Mapping):
            return {"map": [[self.plain(key), self.plain(one)] for key, one in value.items()]}
        raise NotPortableError(f"{type(value).__name__} is no record that a run folder can hold")

    def _array(self, value: "NDArray[Any] | np.generic") -> Any:
        kind = value.dtype.kind
        if isinstance(value, np.generic):
            return {"scalar": [value.dtype.str, self.plain(value.item())]}
        if kind in NUMBERS:
            content = base64.b64encode(value.tobytes()).decode("ascii")
            return {"array": [value.dtype.str, list(value.shape), content]}
        if kind in LABELS and value.ndim == 1:
            return {"labels": [value.dtype.str, [self.plain(one) for one in value.tolist()]]}
        raise NotPortableError(f"an array of {value.dtype} is no record")

    def _number(self, name: str, value: Any) -> int:
        if id(value) not in self._known:
            content = {one.name: self.plain(getattr(value, one.name)) for one in fields(value)}
            self._known[id(value)] = len(self.objects)
            self.objects.append([name, content])
        return self._known[id(value)]


def _registered(kind: str, name: str) -> Any:
    module, registry = REGISTERED[kind]
    found = getattr(import_module(module), registry)
    return found.get(name) if name in (found if kind == "Rate" else found.names()) else None


class _Reader:
    def __init__(self) -> None:
        self._objects: list[Any] = []

    def add(self, name: str, content: Mapping[str, Any]) -> None:
        kind = _type_of(name)
        values = {field: self.value(one) for field, one in content.items()}
        if not is_dataclass(kind):
            raise ValueError(f"{name} is no record")
        made = kind(**values)
        check_record(made)
        self._objects.append(made)

    def value(self, plain: Any) -> Any:
        if isinstance(plain, list):
            return [self.value(one) for one in plain]
        if not isinstance(plain, dict):
            return plain
        ((tag, content),) = plain.items()
        if tag == "object" and not 0 <= content < len(self._objects):
            raise ValueError(f"there is no object {content}")
        return _READ[tag](self, content)

    def collection(self, content: list[Any]) -> list[Any]:
        return [self.value(one) for one in content]

    def object(self, number: int) -> Any:
        return self._objects[number]


def _array_of(_: _Reader, content: Any) -> NDArray[Any]:
    kind, shape, text = content
    found = np.frombuffer(base64.b64decode(text, validate=True), dtype=_dtype(kind, NUMBERS))
    return found.reshape(shape).copy()


def _labels_of(reader: _Reader, content: Any) -> NDArray[Any]:
    kind, values = content
    found = np.empty(len(values), dtype=_dtype(kind, LABELS))
    found[:] = reader.collection(values)
    return found


def _scalar_of(reader: _Reader, content: Any) -> Any:
    kind, value = content
    return np.array(reader.value(value), dtype=_dtype(kind, NUMBERS + LABELS[:1]))[()]


def _dtype(kind: Any, allowed: str) -> "np.dtype[Any]":
    found = np.dtype(str(kind))
    if found.kind not in allowed or found.names is not None or found.itemsize > 2**16:
        raise ValueError(f"an array of {kind!r}")
    return found


def _enum_of(_: _Reader, content: Any) -> Any:
    kind = _type_of(content[0])
    if not issubclass(kind, StrEnum):
        raise ValueError(f"{content[0]} is no enumeration")
    return kind(content[1])


_READ: dict[str, Any] = {
    "array": _array_of,
    "enum": _enum_of,
    "float": lambda _, content: {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[content],
    "labels": _labels_of,
    "map": lambda reader, content: {reader.value(k): reader.value(v) for k, v in content},
    "named": lambda _, content: _registered(content[0], str(content[1])),
    "object": _Reader.object,
    "path": lambda _, content: Path(content),
    "scalar": _scalar_of,
    "set": lambda reader, content: frozenset(reader.collection(content)),
    "tuple": lambda reader, content: tuple(reader.collection(content)),
}


def _type_of(name: str) -> type:
    return getattr(import_module(HOMES[name]), name)


@cache
def _hints(kind: Hashable) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def check_record(made: Any, *unchecked: str) -> None:
    """Raise if a field of a dataclass has another type than its annotation."""
    hints = _hints(cast("Hashable", type(made)))
    for one in fields(made):
        if one.name not in unchecked and not conforms(getattr(made, one.name), hints[one.name]):
            raise ValueError(f"{type(made).__name__}.{one.name} has another type")


def conforms(value: Any, hint: Any) -> bool:
    """Return whether a value has the type of an annotation, as far as records need it."""
    origin, args = get_origin(hint), get_args(hint)
    # NDArray is an alias with a value of its own from NumPy 2.5 on.
    if alias := getattr(origin, "__value__", None):
        return conforms(value, alias[args])
    if origin is types.UnionType or origin is typing.Union:
        return any(conforms(value, one) for one in args)
    if origin is typing.Literal:
        return value in args
    if origin is not None:
        return _conforms_inside(value, origin, args)
    if hint is Any or hint is None:
        return hint is Any or value is None
    if hint in (int, float):
        allowed = (int, np.integer) if hint is int else (int, float, np.integer, np.floating)
        return isinstance(value, allowed) and not isinstance(value, bool)
    if getattr(hint, "_is_protocol", False):
        return is_dataclass(value) and all(
            hasattr(value, name) for name in vars(hint) if not name.startswith("_")
        )
    return not isinstance(hint, type) or isinstance(value, hint)


def _conforms_inside(value: Any, origin: Any, args: tuple[Any, ...]) -> bool:
    if origin is np.ndarray:
        scalar = get_args(args[1])[0]
        exact = isinstance(scalar, type) and issubclass(scalar, np.generic)
        return isinstance(value, np.ndarray) and (not exact or np.issubdtype(value.dtype, scalar))
    if not isinstance(value, origin) or is_dataclass(value):
        return isinstance(value, origin)
    if isinstance(value, Mapping):
        return all(conforms(k, args[0]) and conforms(v, args[1]) for k, v in value.items())
    if origin is tuple and args[-1:] != (...,):
        return len(value) == len(args) and all(map(conforms, value, args))
    inner = args[0] if args else Any
    return not isinstance(value, Collection) or all(conforms(one, inner) for one in value)
