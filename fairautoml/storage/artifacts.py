"""Files of a trial: out-of-fold scores, fold models and leaderboard entries."""

import contextlib
import errno
import hashlib
import io
import math
import os
import pickle
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import joblib
import numpy as np
from numpy.typing import NDArray

from fairautoml.exceptions import (
    ModelCorruptError,
    NotPortableError,
    RunFolderError,
    StorageFullError,
)
from fairautoml.records import Entry
from fairautoml.storage.plain import packed, unpacked

SCORES = np.dtype(np.float32)


@dataclass(frozen=True, slots=True)
class Artifacts:
    """Storage of score columns and fold models with atomic writes."""

    folder: Path  # folder that contains ``scores/``, ``models/`` and ``entries/``
    durable: bool = True  # whether files must survive a power cut

    def prepare(self) -> None:
        """Create the sub-folders."""
        for name in ("scores", "models", "entries"):
            path = self.folder / name
            if path.is_symlink():
                msg = f"{str(path)!r} is a symbolic link; a run holds folders of its own"
                raise RunFolderError(msg)
            path.mkdir(parents=True, exist_ok=True, mode=0o700)

    def write_scores(self, key: str, scores: NDArray[np.float32]) -> None:
        """Store out-of-fold scores, shape (n_rows,) or (n_rows, n_classes), as float32."""
        # NumPy does not report a full disk when it writes to a file directly.
        column = io.BytesIO()
        np.save(column, np.ascontiguousarray(scores, dtype=SCORES), allow_pickle=False)
        self.replace(self.folder / "scores" / f"{key}.npy", column.getbuffer())

    def scores(self, key: str) -> NDArray[np.float32]:
        """Return the score column of a trial, memory-mapped."""
        return np.load(self.folder / "scores" / f"{key}.npy", mmap_mode="r", allow_pickle=False)

    def write_models(self, key: str, models: Any) -> None:
        """Store the fold models of a trial for this process, which trusts its workers."""
        self.replace(self._native(key), lambda path: joblib.dump(models, path))

    def models(self, key: str) -> Any:
        """Return the fold models of a trial, which a worker of this process has written."""
        path = self._native(key)
        try:
            return joblib.load(path)
        except (OSError, EOFError, ValueError, IndexError, KeyError, AttributeError, ImportError,
                TypeError, pickle.UnpicklingError, zlib.error) as exc:  # fmt: skip
            raise ModelCorruptError(
                f"{str(path)!r} is missing or damaged ({exc!r}); remove it and "
                f"'scores/{key}.npy', and continue with if_exists='resume', which trains it again"
            ) from exc

    def write_portable(self, key: str, content: bytes) -> None:
        """Store the portable form of the fold models of a trial."""
        self.replace(self.portable(key), content)

    def portable(self, key: str) -> Path:
        """Return the file with the portable form of the fold models of a trial."""
        return self.folder / "models" / f"{key}.fair"

    def write_entries(self, key: str, entries: Sequence[Entry]) -> None:
        """Store the leaderboard entries of a trial.

        Those with a rule of a plug-in are no records; a resumed run trains the trial again.
        """
        if not entries:
            return
        with contextlib.suppress(NotPortableError):
            self.replace(self._entries(key), packed(tuple(entries)))

    def entries(self, key: str) -> tuple[Entry, ...]:
        """Return the entries of a trial, none if they are lost."""
        path = self._entries(key)
        try:
            found = unpacked(path.read_bytes(), repr(str(path)))
        except (OSError, ModelCorruptError):
            return ()
        whole = isinstance(found, tuple) and all(isinstance(one, Entry) for one in found)
        return found if whole else ()

    def _entries(self, key: str) -> Path:
        return self.folder / "entries" / f"{key}.json.gz"

    def has_native(self, key: str) -> bool:
        """Return whether this process has the fold models of a trial as objects."""
        return self._native(key).is_file()

    def has_models(self, key: str) -> bool:
        """Return whether the fold models of a trial exist."""
        return self.has_native(key) or self.portable(key).is_file()

    def _native(self, key: str) -> Path:
        return self.folder / "models" / f"{key}.joblib"

    def has_all_scores(self, key: str, shape: tuple[int, ...]) -> bool:
        """Return whether the score column of a trial exists and is complete."""
        path = self.folder / "scores" / f"{key}.npy"
        usual = _header(shape)
        try:
            # Comparing the header bytes is faster than memory-mapping thousands of files.
            with path.open("rb") as stream:
                known = stream.read(len(usual)) == usual
        except FileNotFoundError:
            return False
        return known and path.stat().st_size == len(usual) + math.prod(shape) * SCORES.itemsize

    def hashes(self, key: str) -> dict[str, str]:
        """Return the SHA-256 of the files of a trial that another process reads, by folder."""
        return {path.parent.name: file_hash(path) for path in self._files(key) if path.is_file()}

    def drop_altered(self, key: str, hashes: Mapping[str, str]) -> None:
        """Delete the files of a trial that are not those that were written."""
        for path in self._files(key):
            if path.is_file() and file_hash(path) != hashes.get(path.parent.name):
                path.unlink()

    def _files(self, key: str) -> tuple[Path, ...]:
        return self.folder / "scores" / f"{key}.npy", self.portable(key), self._entries(key)

    def drop_models(self, key: str) -> None:
        """Delete the fold models of a trial that is no longer selectable."""
        self._native(key).unlink(missing_ok=True)
        self.portable(key).unlink(missing_ok=True)

    def drop_pickles(self) -> None:
        """Delete the pickles of a run that is read from disk, or has ended: none is ever read."""
        for name in ("models", "entries"):
            for pattern in ("*.joblib", "*.pkl"):
                for path in (self.folder / name).glob(pattern):
                    path.unlink()

    def drop_partials(self) -> None:
        """Remove partial files of killed trials; call it only when no trial is running."""
        for pattern in (".*.tmp", "*/.*.tmp"):
            for partial in self.folder.glob(pattern):
                partial.unlink(missing_ok=True)

    def replace(self, path: Path, content: bytes | memoryview | Callable[[Path], object]) -> None:
        """Write a file, or let a function write it, and move it to ``path`` atomically."""
        partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
        try:
            with disk_errors_named(path):
                make_private(partial)
                if callable(content):
                    content(partial)
                else:
                    partial.write_bytes(content)
                if self.durable:
                    sync_file(partial)
                partial.replace(path)
                if self.durable:
                    sync_folder(path.parent)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def disk_errors_named(target: Path) -> Iterator[None]:
    """Raise an error that names the file if the disk is full or the folder was deleted."""
    try:
        yield
    except FileNotFoundError as exc:
        if target.parent.is_dir():
            raise
        msg = f"the folder {str(target.parent)!r} was deleted while the run wrote to it; fit again"
        raise RunFolderError(msg) from exc
    except OSError as exc:
        if exc.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise StorageFullError(
            f"no space left for {str(target)!r}; free some space, and continue a run with a "
            "folder by if_exists='resume' (fairautoml resume)"
        ) from exc


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def make_private(path: Path) -> None:
    """Create a file that only its owner may read or write, whatever the umask."""
    path.touch(mode=0o600)
    path.chmod(0o600)


def append_private(path: Path) -> IO[bytes]:
    """Open a file for reading and appending; a new file is readable by its owner only."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "ab+")


def sync_file(path: Path) -> None:
    """Flush the content of a file to disk."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Flush a folder to disk, as a power cut may otherwise undo a rename."""
    if os.name == "nt":  # Windows opens no folders.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@lru_cache(maxsize=8)
def _header(shape: tuple[int, ...]) -> bytes:
    """Return the header bytes of a score file."""
    stream = io.BytesIO()
    about = np.lib.format.header_data_from_array_1_0(np.empty(shape, SCORES))
    np.lib.format.write_array_header_1_0(stream, about)
    return stream.getvalue()
