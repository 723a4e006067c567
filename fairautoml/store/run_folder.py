"""One folder per run: configuration, trials, scores, fold models, leaderboard, model.

Every file is written whole or not at all, except ``trials.jsonl``, to which lines are appended; a
torn last line is ignored by readers and cut off before the next append.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import version
from io import BufferedWriter
from pathlib import Path
from typing import Any

import joblib

from fairautoml.exceptions import (
    ModelCorruptError,
    RunFolderError,
    RunFolderExistsError,
    RunFolderLockedError,
    StorageFullError,
)
from fairautoml.trials import Artifacts

FORMAT = 1
"""Version of the layout of a run folder."""

LIBRARIES = ("fairautoml", "lightgbm", "numpy", "pandas", "scikit-learn", "xgboost")


class RunFolder:
    """A run folder that this process holds.

    Parameters
    ----------
    path : Path
        The folder; made when it does not exist.
    overwrite : bool
        Whether an earlier run in it may be replaced.

    Raises
    ------
    RunFolderExistsError
        It holds something and ``overwrite`` is False.
    RunFolderLockedError
        Another process writes into it.
    RunFolderError
        It cannot be made or written to.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self.path = path
        if path.exists() and not path.is_dir():
            raise RunFolderError(f"run_dir={str(path)!r} is a file; name a folder")
        existed = path.is_dir() and any(path.iterdir())
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = self._locked()
        except RunFolderLockedError:
            raise
        except OSError as exc:
            msg = (
                f"run_dir={str(path)!r} cannot be written to: {exc.strerror}; name another folder"
            )
            raise RunFolderError(msg) from exc
        if existed:
            self._clear(overwrite=overwrite)
        self.artifacts = Artifacts(path)
        self.artifacts.prepare()

    def _locked(self) -> BufferedWriter:
        stream = (self.path / "run.lock").open("ab+")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            stream.seek(0)
            pid = stream.read().decode(errors="replace").strip()
            stream.close()
            msg = (
                f"run_dir={str(self.path)!r} is in use by process {pid}; "
                "wait for it or name another folder"
            )
            raise RunFolderLockedError(msg) from exc
        stream.truncate(0)
        stream.write(str(os.getpid()).encode())
        stream.flush()
        return stream

    def _clear(self, *, overwrite: bool) -> None:
        if not overwrite:
            self.close()
            msg = (
                f"run_dir={str(self.path)!r} is not empty; name a new folder, "
                "or pass overwrite=True (--overwrite) to replace what is there"
            )
            raise RunFolderExistsError(msg)
        if not (self.path / "config.json").exists():
            self.close()
            msg = (
                f"run_dir={str(self.path)!r} holds files that are no run of fairautoml; "
                "name a new folder"
            )
            raise RunFolderExistsError(msg)
        for item in self.path.iterdir():
            if item.name == "run.lock":
                continue
            if item.is_dir():
                shutil.rmtree(item)
            else:
                item.unlink()

    def close(self) -> None:
        """Let go of the folder."""
        self._lock.close()

    def write_json(self, name: str, content: object) -> None:
        """Write a JSON file; numbers are finite or null."""
        text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
        self.write(name, lambda path: path.write_text(text + "\n", encoding="utf-8"))

    def write(self, name: str, write: Callable[[Path], object]) -> None:
        """Let ``write`` make a file, then put it in place.

        Raises
        ------
        StorageFullError
            The disk is full; what was there before is untouched.
        """
        target = self.path / name
        partial = target.with_name(f".{name}.tmp")
        try:
            write(partial)
            with partial.open("rb+") as stream:
                os.fsync(stream.fileno())
            partial.replace(target)
        except OSError as exc:
            if exc.errno in {errno.ENOSPC, errno.EDQUOT}:
                msg = f"no space left for {str(target)!r}; free some and run again"
                raise StorageFullError(msg) from exc
            raise
        finally:
            partial.unlink(missing_ok=True)

    def append_trial(self, line: Mapping[str, object]) -> None:
        """Add one line to ``trials.jsonl``, on the disk before it returns."""
        text = json.dumps(dict(line), sort_keys=True, allow_nan=False)
        with (self.path / "trials.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(text + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def write_model(self, model: Any, about: Mapping[str, object]) -> None:
        """Write ``model.joblib`` and, last, ``model.json`` with its hash and the versions."""
        self.write("model.joblib", lambda path: joblib.dump(model, path))
        self.write_json(
            "model.json",
            {
                **about,
                "format": FORMAT,
                "sha256": file_hash(self.path / "model.joblib"),
                "versions": {name: version(name) for name in LIBRARIES},
            },
        )


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_json(folder: Path, name: str) -> Any:
    """Return the content of a JSON file of a run folder.

    Raises
    ------
    RunFolderError
        The folder or the file is missing.
    ModelCorruptError
        The file is no JSON.
    """
    path = folder / name
    if not path.is_file():
        msg = f"{str(folder)!r} is no finished run: it has no {name}; give the folder of a fit"
        raise RunFolderError(msg)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as exc:
        raise ModelCorruptError(f"{str(path)!r} is damaged: {exc}") from exc


def read_model(folder: Path) -> Any:
    """Return the model of a run folder, after its hash is checked.

    A model is a pickle, so it can run code when it is loaded: load only what you made yourself or
    trust as you would trust a program.

    Raises
    ------
    RunFolderError
        No finished run.
    ModelCorruptError
        The file is not the one that ``model.json`` describes.
    """
    about = read_json(folder, "model.json")
    path = folder / "model.joblib"
    if not path.is_file() or file_hash(path) != about.get("sha256"):
        msg = (
            f"{str(path)!r} is not the file that model.json describes (SHA-256 differs); "
            "it is damaged or was exchanged: fit again"
        )
        raise ModelCorruptError(msg)
    return joblib.load(path)
