"""One folder per run: configuration, trials, scores, fold models, leaderboard, model.

Every file is written whole or not at all, except ``trials.jsonl``, to which lines are appended; a
torn last line is ignored by readers and cut off before the next append. Only the owner may read
them, also where the folder is open to others: they hold values of the table.
"""

import fcntl
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import joblib

from fairautoml.exceptions import (
    InputError,
    ModelCorruptError,
    RunFolderError,
    RunFolderExistsError,
    RunFolderLockedError,
)
from fairautoml.store.versions import check_versions, own_versions
from fairautoml.trials import Artifacts
from fairautoml.trials.artifacts import (
    append_private,
    full_disk_named,
    make_private,
    sync_file,
    sync_folder,
)

STUDY = "study.json"
"""Says where the trials are recorded; without it there is nothing to resume."""

DATABASE = "study.db"
"""Holds them, unless they are recorded on a server."""

STAGED = "model.joblib.next"
"""A model that is written and not yet served."""

FORMAT = 1
"""Version of the layout of a run folder."""

OWN_FILES = frozenset(
    {
        "certificate.json",
        "certificate.txt",
        "config.json",
        "groups.json",
        "holdout.json",
        "leaderboard.csv",
        "leaderboard.json",
        "model.joblib",
        "model.json",
        STAGED,
        "models",
        "report.html",
        "run.lock",
        "scores",
        "source.json",
        "study.db",
        "study.db-journal",
        "study.db-shm",
        "study.db-wal",
        "study.json",
        "summary.json",
        "trials.jsonl",
    }
)
"""What ``overwrite`` may replace; nothing else in a folder is ever touched."""

BEGUN = frozenset({STUDY, "model.json", "trials.jsonl"})
"""Without any of these a run was ended before it began, and what it left is nobody's work."""


class RunFolder:
    """A run folder that this process holds."""

    def __init__(self, path: Path, *, overwrite: bool = False, resume: bool = False) -> None:
        self.path = path
        self.artifacts = Artifacts(path)
        if resume:
            self._refuse_unrecorded()
            self._lock = self._locked()
            return
        try:
            if path.exists() and not path.is_dir():
                raise RunFolderError(f"run_dir={str(path)!r} is a file; name a folder")
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            found = {item.name for item in path.iterdir()}
            self._refuse_foreign(found, overwrite=overwrite)
            self._lock = self._locked()
            self._clear(found, overwrite=overwrite)
            self.take()
        except RunFolderError:
            raise
        except OSError as exc:
            msg = (
                f"run_dir={str(path)!r} cannot be written to: {exc.strerror}; name another folder"
            )
            raise RunFolderError(msg) from exc

    def _refuse_foreign(self, found: set[str], *, overwrite: bool) -> None:
        """Leave a folder alone that no run was ever in, before anything is written into it."""
        if not found or "run.lock" in found:
            return
        way_out = "name a new folder"
        if overwrite:
            way_out = f"overwrite=True replaces an earlier run only; {way_out}"
        msg = (
            f"run_dir={str(self.path)!r} holds files that are no run of fairautoml "
            f"(for example {min(found)!r}); {way_out}"
        )
        raise RunFolderExistsError(msg)

    def _locked(self) -> IO[bytes]:
        try:
            stream = append_private(self.path / "run.lock")
        except OSError as exc:
            msg = (
                f"run_dir={str(self.path)!r} cannot be written to: {exc.strerror}; copy the "
                "folder to where it can, or name another"
            )
            raise RunFolderError(msg) from exc
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            stream.seek(0)
            pid = stream.read().decode(errors="replace").strip()
            stream.close()
            msg = (
                f"run_dir={str(self.path)!r} is in use by process {pid}; "
                "wait for it or name another folder"
            )
            raise RunFolderLockedError(msg) from exc
        return stream

    def take(self) -> None:
        """Say in the lock who holds the folder, and make what is missing in it."""
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()).encode())
        self._lock.flush()
        self.artifacts.prepare()

    def _refuse_unrecorded(self) -> None:
        if (self.path / STUDY).is_file() and (self.path / "run.lock").is_file():
            return
        found = "holds no recorded trials" if self.path.is_dir() else "does not exist"
        msg = (
            f"resume=True: run_dir={str(self.path)!r} {found}; start the run without resume, "
            "or name the folder of an earlier one"
        )
        raise RunFolderError(msg)

    def _clear(self, found: set[str], *, overwrite: bool) -> None:
        if found & BEGUN and not overwrite:
            self.close()
            msg = (
                f"run_dir={str(self.path)!r} holds an earlier run; name a new folder, "
                "or pass overwrite=True (--overwrite) to replace it"
            )
            raise RunFolderExistsError(msg)
        for name in (found & OWN_FILES) - {"run.lock"}:
            item = self.path / name
            if item.is_dir() and not item.is_symlink():
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
        """Let ``write`` make a file, then put it in place."""
        target = self.path / name
        partial = target.with_name(f".{name}.tmp")
        try:
            with full_disk_named(target):
                make_private(partial)
                write(partial)
                sync_file(partial)
                partial.replace(target)
                sync_folder(self.path)
        finally:
            partial.unlink(missing_ok=True)

    def append_trial(self, line: Mapping[str, object]) -> None:
        """Add one line to ``trials.jsonl``, which is for people; the study is what is durable."""
        text = json.dumps(dict(line), sort_keys=True, allow_nan=False)
        path = self.path / "trials.jsonl"
        with full_disk_named(path), append_private(path) as stream:
            _cut_torn_line(stream)
            stream.write(text.encode() + b"\n")

    def write_trials(self, lines: Sequence[Mapping[str, object]]) -> None:
        """Write ``trials.jsonl`` anew."""
        text = "".join(
            json.dumps(dict(line), sort_keys=True, allow_nan=False) + "\n" for line in lines
        )
        self.write("trials.jsonl", lambda path: path.write_text(text, encoding="utf-8"))

    def logged_trials(self) -> frozenset[int]:
        """Return the numbers of the trials that whole lines of ``trials.jsonl`` speak of."""
        path = self.path / "trials.jsonl"
        text = path.read_bytes() if path.is_file() else b""
        return frozenset(map(_number, text[: text.rfind(b"\n") + 1].splitlines())) - {-1}

    def stage_model(self, model: Any) -> None:
        """Write a model beside the one that is served until ``place_model``."""
        self.write(STAGED, lambda path: joblib.dump(model, path))

    def place_model(self, about: Mapping[str, object]) -> None:
        """Serve the staged model; ``model.json``, written last, names it and its certificate."""
        certificate = self.path / "certificate.json"
        content = {
            **about,
            "format": FORMAT,
            "sha256": file_hash(self.path / STAGED),
            "certificate_sha256": file_hash(certificate) if certificate.is_file() else None,
            "versions": own_versions(),
        }
        (self.path / STAGED).replace(self.path / "model.joblib")
        self.write_json("model.json", content)


def _cut_torn_line(stream: IO[bytes]) -> None:
    """Cut what stands after the last end of line; a whole line always has one."""
    if stream.seek(0, io.SEEK_END) == 0:
        return
    stream.seek(-1, io.SEEK_END)
    if stream.read(1) != b"\n":
        stream.seek(0)
        stream.truncate(stream.read().rfind(b"\n") + 1)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def lacks(folder: str | Path | None, name: str) -> bool:
    """Return whether a run was begun in a folder, and that file is not there yet."""
    path = None if folder is None else Path(folder)
    return path is not None and (path / STUDY).is_file() and not (path / name).exists()


def read_json(folder: Path, name: str) -> Any:
    """Return the content of a JSON file of a run folder."""
    path = folder / name
    if not path.is_file():
        msg = f"{str(folder)!r} is no finished run: it has no {name}; give the folder of a fit"
        if (folder / STUDY).is_file():
            msg += f", or end this one: fairautoml resume {folder}"
        raise RunFolderError(msg)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as exc:
        raise ModelCorruptError(f"{str(path)!r} is damaged: {exc}") from exc


def check_searched(summary: Mapping[str, Any], name: str) -> None:
    """Refuse a run in which there was nothing to search."""
    if summary["best"] is None:
        raise InputError(
            f"run {name!r}: y had one class only, so nothing was searched and there is nothing to "
            "show; give rows of both classes"
        )


def read_model(folder: Path) -> Any:
    """Return the model of a run folder, after its hash is checked.

    A model is a pickle, so it can run code when it is loaded: load only what you made yourself or
    trust as you would trust a program.
    """
    # What is checked is what is loaded: the file is read once.
    about, content = read_model_file(folder)
    versions = about.get("versions", {})
    if not isinstance(versions, dict):
        raise ModelCorruptError(f"{str(folder / 'model.json')!r} is damaged: no list of versions")
    check_versions(folder, versions)
    return joblib.load(io.BytesIO(content))


def read_model_file(folder: Path) -> tuple[dict[str, Any], bytes]:
    """Return ``model.json`` and the bytes of the model, compared but not loaded."""
    about = read_json(folder, "model.json")
    path = folder / "model.joblib"
    if not isinstance(about, dict):
        raise ModelCorruptError(f"{str(folder / 'model.json')!r} is damaged: no JSON object")
    if about.get("format") != FORMAT:
        msg = (
            f"{str(folder)!r} has format {about.get('format')!r} and this version of fairautoml "
            f"reads {FORMAT}; use the version that wrote it, or fit again"
        )
        raise RunFolderError(msg)
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != about.get("sha256"):
        msg = (
            f"{str(path)!r} is not the file that model.json describes (SHA-256 differs); "
            f"it is damaged or was exchanged: {_way_out(folder)}"
        )
        raise ModelCorruptError(msg)
    return about, content


def check_certificate(folder: Path, about: Mapping[str, Any]) -> None:
    """Refuse a certificate in a run folder that is not of the model of ``model.json``."""
    path, noted = folder / "certificate.json", about.get("certificate_sha256")
    if noted is not None and path.is_file() and file_hash(path) != noted:
        msg = f"{str(path)!r} is not the certificate of the model beside it: {_way_out(folder)}"
        raise ModelCorruptError(msg)


def _way_out(folder: Path) -> str:
    if not (folder / STUDY).is_file():
        return "fit again"
    return f"if it was being replaced, end that by: fairautoml resume {folder}; else fit again"


def _number(line: bytes) -> int:
    """Return the trial that a line is about, -1 when it is damaged and does not say."""
    try:
        found = json.loads(line)
    except ValueError:
        return -1
    number = found.get("trial") if isinstance(found, dict) else None
    return number if isinstance(number, int) else -1
