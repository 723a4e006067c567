"""Read a model file; no code of the file is run.

A file is a zip archive of JSON and raw arrays. Hashes detect damage, and checks of every index
make an altered file an error or another model, never a crash.
"""

import hashlib
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fairautoml.runtime._base import Array, ModelFileError, NewRowsError, checked
from fairautoml.runtime._predictor import PortablePredictor
from fairautoml.runtime._scores import compiled_walk

FORMAT = 1
"""Version of the file; a file of another version is refused."""

MEMBERS = ("manifest.json", "decision.json", "arrays.bin")
MOST_BYTES = 4 * 2**30
"""Largest size of the content of a file."""

DTYPES = ("<f8", "<f4", "<i4", "|u1")


def load(path: str | Path, *, compiled: bool = False) -> PortablePredictor:
    """Read a model file; no code of the file is run.

    Raises
    ------
    ModelFileError
        The file is damaged, no model file, or of another version.
    """
    manifest, decision = read_archive(path)
    with checked(repr(str(path))), np.errstate(all="ignore"):
        hashes = json.dumps(manifest["sha256"], sort_keys=True).encode()
        found = PortablePredictor(manifest, decision, hashlib.sha256(hashes).hexdigest())
        _try(found)
    if compiled:
        found._program.trees.walk = compiled_walk()
    return found


COMPRESSION = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


def read_archive(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the manifest and the portable form of a file, with its arrays in their places."""
    with checked(repr(str(path))):
        contents = _contents(Path(path))
        manifest = json.loads(contents["manifest.json"])
        _check_manifest(manifest, contents)
        decision = json.loads(contents["decision.json"])
        arrays = [_array(one, contents["arrays.bin"]) for one in decision.pop("arrays")]
        return manifest, resolved(decision, arrays)


def _contents(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            sizes = {info.filename: info.file_size for info in members}
            if set(sizes) != set(MEMBERS) or len(members) != len(MEMBERS):
                raise ModelFileError(f"it holds {sorted(sizes)[:5]}")
            if not {info.compress_type for info in members} <= COMPRESSION:
                raise ModelFileError("it is compressed in another way")
            if sum(sizes.values()) > MOST_BYTES:
                raise ModelFileError(f"its content has {sum(sizes.values())} bytes")
            return {name: archive.read(name) for name in MEMBERS}
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError,
            RuntimeError) as error:  # fmt: skip
        raise ModelFileError(f"{error}") from error


def _check_manifest(manifest: Any, contents: Mapping[str, bytes]) -> None:
    if manifest["format"] != FORMAT:
        raise ModelFileError(f"format {manifest['format']!r}, and this version reads {FORMAT}")
    for name in MEMBERS[1:]:
        if hashlib.sha256(contents[name]).hexdigest() != manifest["sha256"][name]:
            raise ModelFileError(f"{name} differs from its hash")


def _array(spec: Any, content: bytes) -> Array:
    kind, shape, offset = spec
    if kind not in DTYPES or any(not isinstance(n, int) or n < 0 for n in (*shape, offset)):
        raise ModelFileError(f"an array of type {kind!r} and shape {shape!r}")
    count = math.prod(shape)
    if offset + count * np.dtype(kind).itemsize > len(content):
        raise ModelFileError("an array is longer than the file")
    found = np.frombuffer(content, dtype=kind, count=count, offset=offset).reshape(shape)
    return found.astype(found.dtype.newbyteorder("="), copy=False)


def resolved(value: Any, arrays: Sequence[Array]) -> Any:
    """Return JSON values with the arrays in their places."""
    if isinstance(value, dict):
        if value.keys() == {"array"}:
            number = value["array"]
            if not 0 <= number < len(arrays):
                raise ModelFileError(f"there is no array {number}")
            return arrays[number]
        return {key: resolved(one, arrays) for key, one in value.items()}
    if isinstance(value, list):
        return [resolved(one, arrays) for one in value]
    return value


def _try(found: PortablePredictor) -> None:
    """Predict two rows, so that what does not fit together is found now."""
    rows = np.zeros((2, found._program.n_read), dtype=np.float32)
    if len(found.feature_names) == found._program.n_read:
        # Some models of sparse rows do not read missing values.
        rows[1] = np.nan
    try:
        found._decisions(rows, np.array([0, -1]))
    except NewRowsError as error:
        raise ModelFileError(str(error)) from error
