"""The run folder: its files, its lock, its versions.

Every file is written whole or not at all, except ``trials.jsonl``, to which lines are appended; a
torn last line is ignored by readers and cut off before the next append. Only the owner may read
them, also where the folder is open to others: they hold values of the table.

The owner holds a lock in its folder for as long as it lives, whatever number its process has. What
is in a folder whose lock nobody holds was left by a process that had no time to remove it.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import logging
import os
import platform
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import IO, Any

import joblib
from optuna.storages import RDBStorage
from sqlalchemy.pool import NullPool

from fairautoml.exceptions import (
    DegradedWarning,
    InputError,
    MissingExtraError,
    ModelCorruptError,
    RunFolderError,
    RunFolderExistsError,
    RunFolderLockedError,
    VersionMismatchError,
    warn,
)
from fairautoml.storage.artifacts import (
    Artifacts,
    append_private,
    full_disk_named,
    make_private,
    sync_file,
    sync_folder,
)

LIBRARIES = ("fairautoml", "lightgbm", "numpy", "pandas", "scikit-learn", "xgboost")

LEARNT_WITH = ("lightgbm", "scikit-learn", "xgboost")
"""Libraries whose fitted models may decide otherwise, or break, under another minor version."""

SAME_LIBRARY = {"xgboost": "xgboost-cpu"}
"""Other distributions of the same library."""

NOT_INSTALLED = "not installed"


def own_versions() -> dict[str, str]:
    """Return the versions that are noted with a model, by name of the distribution."""
    return {name: library_version(name) for name in LIBRARIES}


def library_version(name: str) -> str:
    """Return the version of a library; a plain checkout of this one has none."""
    try:
        return version(distribution_of(name))
    except PackageNotFoundError:
        return NOT_INSTALLED


def distribution_of(name: str) -> str:
    """Return the distribution that a library is installed from, its own name if it is not."""
    other = SAME_LIBRARY.get(name, name)
    return other if any(distributions(name=other)) else name


def check_versions(folder: Path, versions: Mapping[str, object]) -> None:
    """Compare the versions that wrote a model with those that would read it."""
    own = _others(versions, ("fairautoml",))
    if own:
        ((then, now),) = own.values()
        msg = (
            f"{str(folder)!r} was written by fairautoml {then} and this is {now}, which reads "
            f"runs of {_minor(now)} only; load it with fairautoml {_minor(then)} "
            f"({_install(own)}), or fit again"
        )
        raise VersionMismatchError(msg)
    others = _others(versions, LEARNT_WITH)
    if others:
        shown = ", ".join(f"{name} {then} (now {now})" for name, (then, now) in others.items())
        msg = (
            f"{str(folder)!r} was fitted with {shown}, and a model may decide otherwise under "
            f"another version; {_install(others)}, or fit again"
        )
        warn(msg, DegradedWarning)


def _others(versions: Mapping[str, object], names: Sequence[str]) -> "dict[str, tuple[str, str]]":
    """Return, for libraries of another minor version than then, the versions then and now."""
    found = {name: (str(versions.get(name, "")), library_version(name)) for name in names}
    return {
        name: (then, now)
        for name, (then, now) in found.items()
        # What was or is not installed has no version to compare, and the model may not need it.
        if then[:1].isdigit() and now[:1].isdigit() and _minor(then) != _minor(now)
    }


def _minor(text: str) -> str:
    """Return the first two parts of a version."""
    return ".".join(text.split(".")[:2])


def _install(others: "Mapping[str, tuple[str, str]]") -> str:
    wanted = " ".join(
        f"'{distribution_of(name)}=={_minor(then)}.*'" for name, (then, _) in others.items()
    )
    return f"pip install {wanted}"


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


logger = logging.getLogger(__name__)

PREFIX = "fairautoml-"
LOCK = "owner.lock"


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Give a temporary folder of this process, after those of dead ones are removed."""
    _remove_left()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as made, _held(Path(made)):
        yield Path(made)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; without locks on its disk nobody ever takes it for left."""
    nascent = folder / f".{LOCK}"
    with nascent.open("wb") as stream:
        stream.write(_machine())
        stream.flush()
        with contextlib.suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # It gets its name when it is held: there is no moment at which it seems to be left.
            nascent.rename(folder / LOCK)
        yield


def _machine() -> bytes:
    """Return whose locks these are: on a shared disk they may not count for other machines."""
    return platform.node().encode()


def _remove_left() -> None:
    """Remove the folders of this user whose owners are dead."""
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as found:
        for item in found:
            if item.name.startswith(PREFIX):
                with contextlib.suppress(OSError):
                    _remove_if_left(Path(item.path))


def _remove_if_left(folder: Path) -> None:
    """Remove a folder if its lock can be had; raises ``OSError`` where it cannot."""
    about = folder.lstat()
    private = stat.S_ISDIR(about.st_mode) and stat.S_IMODE(about.st_mode) & 0o077 == 0
    if not private or about.st_uid != os.getuid():
        return
    with open(os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW), "rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if stream.read() == _machine():
            logger.info("%s was left by a process that is dead, and is removed", folder)
            shutil.rmtree(folder, ignore_errors=True)


def dashboard(folder: Path) -> Any:
    """Return optuna-dashboard on the study of a run, as a WSGI application."""
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        way_out = "install it with: pip install 'fairautoml[dashboard]'"
        raise MissingExtraError(f"the dashboard needs optuna-dashboard; {way_out}") from error
    about = read_json(folder, STUDY)
    if about.get("storage") is not None:
        raise RunFolderError(
            f"the trials of {str(folder)!r} are recorded on a server; show them with: "
            f"optuna-dashboard {about['storage']}"
        )
    path = (folder / DATABASE).resolve()
    if not path.is_file():
        raise RunFolderError(f"{str(folder)!r} has no {DATABASE}: no trial has been recorded")
    # A journal beside the file cannot be read where none can be made; no run goes on there.
    how = "mode=ro" if os.access(path.parent, os.W_OK) else "immutable=1"
    storage = RDBStorage(
        f"sqlite:///{path.as_uri()}?{how}&uri=true",
        skip_compatibility_check=True,
        skip_table_creation=True,
        # Nobody tells the application when it ends, so no connection outlives a request.
        engine_kwargs={"poolclass": NullPool},
    )
    return wsgi(storage)
