"""Write a model to one file that ``fairautoml.load_predictor`` reads without this library's own
dependencies and without running code.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.columns import Column
from fairautoml.data.files import write_whole
from fairautoml.data.groups import GroupSchema, UnseenPolicy
from fairautoml.data.schema import TableSchema
from fairautoml.data.sensitive_numbers import NumberBins, Scale, bin_labels
from fairautoml.data.splits import row_factors
from fairautoml.exceptions import NotPortableError
from fairautoml.inference.predictor import Predictor
from fairautoml.portable import Dump, Portable
from fairautoml.records import PortableRule
from fairautoml.runtime import FORMAT, MEMBERS
from fairautoml.runtime._file import resolved
from fairautoml.runtime._scores import Program

ALIGNED = 8
"""Arrays begin at multiples of this many bytes."""

NO_TIME = (1980, 1, 1, 0, 0, 0)
"""Time of the members of the archive, so that equal models are equal files."""

LEVEL = 1
"""Compression; a higher level makes files a tenth smaller in several times the time."""

_DTYPES = {"b": "|u1", "u": "|u1", "i": "<i4"}


def export_predictor(
    predictor: Predictor, path: Path, *, unseen: UnseenPolicy, about: Mapping[str, Any]
) -> None:
    """Write a predictor to a file."""
    decision, arrays = portable_form(predictor, unseen)
    write_whole(archived(decision, arrays, about), path)


def archived(
    decision: Mapping[str, Any], arrays: list[NDArray[Any]], about: Mapping[str, Any]
) -> bytes:
    """Return the file of a portable form and its arrays."""
    index, content = _packed(arrays)
    contents: dict[str, bytes | bytearray] = {
        "decision.json": _json({**decision, "arrays": index}),
        "arrays.bin": content,
    }
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    contents["manifest.json"] = _json({**about, "format": FORMAT, "sha256": hashes})
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in MEMBERS:
            archive.writestr(
                zipfile.ZipInfo(name, NO_TIME), contents[name], zipfile.ZIP_DEFLATED, LEVEL
            )
    return stream.getvalue()


def portable_hash(predictor: Predictor) -> str:
    """Return the SHA-256 of the portable form, which does not depend on the order of arrays."""
    decision, arrays = portable_form(predictor, "error")
    hashes = []
    for values in arrays:
        stored = _stored(values)
        about = f"{stored.dtype.str}{stored.shape}".encode()
        hashes.append(hashlib.sha256(about + stored.tobytes()).hexdigest())
    text = json.dumps(_with_hashes(decision, hashes), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _with_hashes(value: Any, hashes: list[str]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"array"}:
            return {"array": hashes[value["array"]]}
        return {key: _with_hashes(one, hashes) for key, one in value.items()}
    return [_with_hashes(one, hashes) for one in value] if isinstance(value, list) else value


def portable_scores(
    model: Portable, X: NDArray[np.floating], cells: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Return the scores of dense rows by the portable form of a model, to check a plug-in."""
    out, schema = Dump(X.shape[1]), {"columns": [0] * X.shape[1], "sparse": False}
    decision = {"schema": schema, "membership": None, **program_of(model, out, X.shape[1])}
    return Program(resolved(decision, out.arrays))(X, cells)[0]


def program_of(model: Any, out: Dump, n_features: int) -> dict[str, Any]:
    """Return what computes the scores of a model from the encoded features."""
    return {
        "scores": out.model(model, np.arange(n_features)),
        "trees": out.plain(out.forest()),
        "steps": out.steps,
        "nodes": out.nodes,
    }


def _json(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def portable_form(
    predictor: Predictor, unseen: UnseenPolicy
) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Return a predictor as JSON values and the arrays that these refer to."""
    schema, rule = predictor.schema, predictor.rule
    if not isinstance(rule, PortableRule):
        raise NotPortableError(f"the rule {type(rule).__name__} has no portable form")
    n_features = schema.width
    out = Dump(n_features, sparse=schema.sparse)
    columns = np.arange(n_features)
    membership = predictor.membership
    decision = {
        "task": predictor.task,
        "classes": _classes(predictor.classes),
        "schema": out.plain(_schema(schema)),
        "groups": _groups(predictor.groups, unseen) if predictor.needs_sensitive else None,
        "rule": out.plain(rule.to_dict()),
        "constrained": predictor.constrained,
        "salt": predictor.salt,
        "odd": out.plain(_odd(predictor.salt, n_features, sparse=schema.sparse)),
        "scores": out.model(predictor.models, columns),
        "membership": None if membership is None else out.model(membership, columns),
        "trees": out.plain(out.forest()),
    }
    if decision["groups"] is not None:
        decision["groups"] = out.plain(decision["groups"])
    return {**decision, "steps": out.steps, "nodes": out.nodes}, out.arrays


def _packed(arrays: list[NDArray[Any]]) -> tuple[list[Any], bytearray]:
    """Return type, shape and place of each array, and all arrays one after the other."""
    index, content = [], bytearray()
    for values in arrays:
        stored = _stored(values)
        content += b"\0" * (-len(content) % ALIGNED)
        index.append([stored.dtype.str, list(values.shape), len(content)])
        content += stored.tobytes()
    return index, content


def _stored(values: NDArray[Any]) -> NDArray[Any]:
    """Return an array in a type that a file can hold."""
    kind = _DTYPES.get(values.dtype.kind, values.dtype.newbyteorder("<").str)
    stored = values.astype(kind)
    if not np.array_equal(stored, values, equal_nan=values.dtype.kind == "f"):
        raise NotPortableError(f"an array holds numbers that {kind} does not")
    return stored


def _classes(classes: NDArray[Any]) -> dict[str, Any]:
    values = classes.tolist()
    if not all(isinstance(value, str | int | float | bool) for value in values):
        raise NotPortableError(f"class labels of type {type(values[0]).__name__}; use text")
    return {"dtype": classes.dtype.str, "values": values}


def _schema(schema: TableSchema) -> dict[str, Any]:
    if schema.sparse:
        names_in = len(schema.names_in)
        return {"columns": schema.positions, "names_in": names_in, "named": False, "sparse": True}
    for column in schema.columns:
        if {kind for kind, _ in column.levels} & {"Timestamp", "Timedelta"}:
            msg = f"column {column.name!r} holds dates as categories; convert it before fit"
            raise NotPortableError(msg)
    return {
        "columns": [
            {
                "name": c.name,
                "position": c.position,
                "kind": c.kind,
                "levels": c.levels,
                "zoned": c.zoned,
                **_written(c),
            }
            for c in schema.columns
        ],
        "texts": [
            {"name": t.name, "position": t.position, "terms": t.terms, "width": t.width}
            for t in schema.texts
        ],
        "names_in": list(schema.names_in),
        "named": schema.named,
        "sparse": False,
    }


def _written(column: Column) -> dict[str, Any]:
    """Return how text is read as dates or numbers, and the part of a date."""
    found = {"form": column.form, "unit": column.unit, "part": column.part}
    return {
        **{name: value for name, value in found.items() if value},
        **({"newest": column.newest} if column.part == "days" else {}),
    }


def _groups(groups: GroupSchema | None, unseen: UnseenPolicy) -> dict[str, Any] | None:
    if groups is None:
        return None
    overlaps = [system.name for system in groups.systems if system.overlapping]
    readings = groups.readings or (None,) * len(groups.columns)
    columns: list[dict[str, Any]] = [
        {"name": name, "levels": levels, "reading": "value"}
        for name, levels in zip(groups.columns, groups.levels, strict=True)
    ]
    for column, reading in zip(columns, readings, strict=True):
        if isinstance(reading, NumberBins):
            steps = bin_labels(reading.source, reading.cuts)
            column |= {"reading": "bins", "edges": np.array(reading.cuts), "steps": steps}
        elif isinstance(reading, Scale):
            edges = np.array(reading.edges, dtype=np.float64)
            column |= {"reading": "scale", "edges": edges, "steps": reading.steps}
        elif any(str(column["name"]).startswith(f"{name}.") for name in overlaps):
            column["reading"] = "indicator"
    return {
        "columns": columns,
        "cell_codes": np.array(groups.cell_codes, dtype=np.int32),
        "missing": groups.missing,
        "from_X": groups.sensitive_from_X,
        "named": groups.named,
        "unseen": unseen,
    }


def _odd(salt: int, n_features: int, *, sparse: bool) -> NDArray[Any]:
    """Return the factors of ``row_bits``, so that a file does not depend on a generator."""
    if sparse:
        return np.random.default_rng(salt).standard_normal(n_features)
    return row_factors(n_features, salt).view(np.int32)
