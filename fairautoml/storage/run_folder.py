"""Run folder: files, lock and library versions; and temporary folders.

Files are written atomically, except ``trials.jsonl``, to which lines are appended, and only their
owner may read them. A folder is in use as long as a process holds its lock.
"""

import contextlib
import hashlib
import io
import json
import logging
import os
import platform
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import IO, Any

import joblib
from filelock import lock_descriptor

from fairautoml.exceptions import (
    DegradedWarning,
    FairAutoMLError,
    MissingExtraError,
    ModelCorruptError,
    RunFolderError,
    RunFolderExistsError,
    RunFolderLockedError,
    VersionMismatchError,
    warn,
)
from fairautoml.storage.artifacts import Artifacts, append_private, disk_errors_named, file_hash
from fairautoml.storage.journal import read_only_storage
from fairautoml.storage.plain import unpacked

LIBRARIES = ("fairautoml", "lightgbm", "numpy", "pandas", "scikit-learn", "xgboost")

LEARNT_WITH = ("lightgbm", "scikit-learn", "xgboost")
"""Libraries whose fitted models may predict differently, or fail, under another minor version."""

SAME_LIBRARY = {"xgboost": "xgboost-cpu", "fairautoml": "fairautoml-search"}
"""Alternative distributions of a library."""

NOT_INSTALLED = "not installed"


@cache
def library_version(name: str) -> str:
    """Return the version of a library, or ``NOT_INSTALLED``."""
    try:
        return version(distribution_of(name))
    except PackageNotFoundError:
        return NOT_INSTALLED


def distribution_of(name: str) -> str:
    """Return the installed distribution of a library, or its own name if there is none."""
    other = SAME_LIBRARY.get(name, name)
    return other if any(distributions(name=other)) else name


def check_versions(
    folder: Path, versions: Mapping[str, object], learnt_with: Sequence[str] = ()
) -> None:
    """Raise or warn if a model was written by other versions than the installed ones."""
    own = _others(versions, ("fairautoml",))
    if own:
        ((then, now),) = own.values()
        raise VersionMismatchError(
            f"{str(folder)!r} was written by fairautoml {then} and this is {now}, which reads "
            f"runs of {_minor(now)} only; load it with fairautoml {_minor(then)} "
            f"({_install(own)}), or fit again"
        )
    others = _others(versions, learnt_with)
    if others:
        shown = ", ".join(f"{name} {then} (now {now})" for name, (then, now) in others.items())
        msg = (
            f"{str(folder)!r} was fitted with {shown}, and a model may predict differently under "
            f"another version; {_install(others)}, or fit again"
        )
        warn(msg, DegradedWarning)


def _others(versions: Mapping[str, object], names: Sequence[str]) -> "dict[str, tuple[str, str]]":
    """Return the stored and the installed version of each library whose minor version differs."""
    found = {name: (str(versions.get(name, "")), library_version(name)) for name in names}
    return {
        name: (then, now)
        for name, (then, now) in found.items()
        # A library that was or is not installed has no version, and the model may not need it.
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
"""File with the location of the recorded trials; without it a run cannot be resumed."""

DATABASE = "study.db"
"""File with the recorded trials, unless they are on a server."""

RECORDS = "estimator.json.gz"
"""File with the fitted estimator as records, which runs no code when it is read."""

PICKLE = "model.joblib"
"""File with the fitted estimator as a pickle, of old runs and if a part of it is no record."""

STAGED = f"{RECORDS}.next"
"""File with an estimator that is written but not yet the selected one, as either of the two."""

PORTABLE = "model.fair"
"""File with the selected model that runs no code when it is read."""

STAGED_PORTABLE = "model.fair.next"
"""The same of a model that is not yet the selected model; empty if it cannot be exported."""

FORMAT = 2
"""Version of the layout of a run folder."""

PICKLED_FORMAT = 1
"""Version in which the estimator was always a pickle."""

EXPLANATION = "explanation.json"
"""Importances and contributions of the features of the selected model."""

NUMBERED = re.compile(r"certificate\.\d+\.json")
"""Certificates of models that were served before."""

OWN_FILES = frozenset({
    "certificate.json", "certificate.txt", "config.json", "entries", EXPLANATION, RECORDS,
    "groups.json", "holdout.json", "leaderboard.csv", "leaderboard.json", PORTABLE,
    STAGED_PORTABLE, PICKLE, f"{PICKLE}.next", "model.json", STAGED, "models", "report.html",
    "run.lock", "scores", "source.json", "study.db", "study.db-journal", "study.db-shm",
    "study.db-wal", "study.json", "summary.json", "trials.jsonl",
})  # fmt: skip
"""Files that ``overwrite`` may replace; all other files in a folder are left unchanged."""

BEGUN = frozenset({STUDY, "model.json", "trials.jsonl"})
"""Files of a run with results; a folder without any of them may be reused."""


class RunFolder:
    """A run folder whose lock this process holds."""

    def __init__(self, path: Path, *, overwrite: bool = False, resume: bool = False) -> None:
        self.path = path
        self.artifacts = Artifacts(path)
        try:
            if resume:
                self._refuse_unrecorded()
                self._lock = lock_folder(path / "run.lock", "run_dir")
            else:
                self._begin(overwrite=overwrite)
        except RunFolderError:
            raise
        except OSError as exc:
            remedy = "name another folder"
            if resume:
                remedy = f"copy it to a writable place, or {remedy}"
            msg = f"run_dir={str(path)!r} cannot be written to: {exc.strerror}; {remedy}"
            raise RunFolderError(msg) from exc

    def _begin(self, *, overwrite: bool) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"run_dir={str(self.path)!r} is a file; name a folder")
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = {item.name for item in self.path.iterdir()}
        self._refuse_foreign(found, overwrite=overwrite)
        self._lock = lock_folder(self.path / "run.lock", "run_dir")
        self._clear(found, overwrite=overwrite)
        self.take()

    def _refuse_foreign(self, found: set[str], *, overwrite: bool) -> None:
        """Raise if the folder contains files but no run, before anything is written to it."""
        if not found or "run.lock" in found:
            return
        remedy = "name a new folder"
        if overwrite:
            remedy = f"if_exists='overwrite' replaces a previous run only; {remedy}"
        raise RunFolderExistsError(
            f"run_dir={str(self.path)!r} holds files that are no run of fairautoml "
            f"(for example {min(found)!r}); {remedy}"
        )

    def take(self) -> None:
        """Write the process id into the lock file and create the sub-folders."""
        write_holder(self._lock)
        self.artifacts.prepare()

    def _refuse_unrecorded(self) -> None:
        if (self.path / STUDY).is_file() and (self.path / "run.lock").is_file():
            return
        found = "holds no recorded trials" if self.path.is_dir() else "does not exist"
        raise RunFolderError(
            f"if_exists='resume': run_dir={str(self.path)!r} {found}; start the run without "
            "it, or name the folder of a previous run"
        )

    def _clear(self, found: set[str], *, overwrite: bool) -> None:
        if found & BEGUN and not overwrite:
            self.close()
            raise RunFolderExistsError(
                f"run_dir={str(self.path)!r} holds a previous run; name a new folder, "
                "or pass if_exists='overwrite' (--overwrite) to replace it"
            )
        numbered = {name for name in found if NUMBERED.fullmatch(name)}
        for name in (found & OWN_FILES | numbered) - {"run.lock"}:
            item = self.path / name
            if item.is_dir() and not item.is_symlink():
                shutil.rmtree(item)
            else:
                item.unlink()

    def close(self) -> None:
        """Release the lock of the folder."""
        self._lock.close()

    def write_json(self, name: str, content: object) -> None:
        """Write a JSON file without infinite numbers or NaN."""
        text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
        self.write(name, lambda path: path.write_text(text + "\n", encoding="utf-8"))

    def write(self, name: str, write: Callable[[Path], object]) -> None:
        """Write a file with ``write`` and move it into the folder atomically."""
        self.artifacts.replace(self.path / name, write)

    def append_trial(self, line: Mapping[str, object]) -> None:
        """Append one line to the human-readable ``trials.jsonl``; the study is the full record."""
        text = json.dumps(dict(line), sort_keys=True, allow_nan=False)
        path = self.path / "trials.jsonl"
        with disk_errors_named(path), append_private(path) as stream:
            _cut_torn_line(stream)
            stream.write(text.encode() + b"\n")

    def write_trials(self, lines: Sequence[Mapping[str, object]]) -> None:
        """Rewrite ``trials.jsonl``."""
        text = "".join(
            json.dumps(dict(line), sort_keys=True, allow_nan=False) + "\n" for line in lines
        )
        self.write("trials.jsonl", lambda path: path.write_text(text, encoding="utf-8"))

    def logged_trials(self) -> frozenset[int]:
        """Return the trial numbers in the complete lines of ``trials.jsonl``."""
        path = self.path / "trials.jsonl"
        text = path.read_bytes() if path.is_file() else b""
        return frozenset(map(_number, text[: text.rfind(b"\n") + 1].splitlines())) - {-1}

    def stage_records(self, content: bytes) -> None:
        """Write an estimator beside the selected one, until ``place_model``."""
        self.write(STAGED, lambda path: path.write_bytes(content))

    def stage_pickle(self, model: Any) -> None:
        """Write an estimator that is no record, as ``stage_records`` does."""
        self.write(STAGED, lambda path: joblib.dump(model, path))

    def stage_portable(self, export: Callable[[Path], object] | None) -> None:
        """Write a model file beside the selected one; None = the staged model has none."""
        self.write(STAGED_PORTABLE, Path.touch if export is None else export)

    def place_model(self, about: Mapping[str, object], *, pickled: bool) -> None:
        """Select the staged model; ``model.json``, written last, names it and its certificate."""
        name, other = (PICKLE, RECORDS) if pickled else (RECORDS, PICKLE)
        certificate, portable = self.path / "certificate.json", self.path / PORTABLE
        if (self.path / STAGED_PORTABLE).is_file():
            (self.path / STAGED_PORTABLE).replace(portable)
            if not portable.stat().st_size:
                portable.unlink()
        content = {
            **about,
            "format": FORMAT,
            "estimator": name,
            "sha256": file_hash(self.path / STAGED),
            "portable_sha256": file_hash(portable) if portable.is_file() else None,
            "certificate_sha256": file_hash(certificate) if certificate.is_file() else None,
            "versions": {name: library_version(name) for name in LIBRARIES},
        }
        (self.path / STAGED).replace(self.path / name)
        (self.path / other).unlink(missing_ok=True)
        self.write_json("model.json", content)


def lock_folder(path: Path, argument: str) -> IO[bytes]:
    """Lock the file that names the process using its folder; closing the stream frees it."""
    stream = append_private(path)
    if not lock_descriptor(stream.fileno(), blocking=False):
        stream.seek(0)
        pid = stream.read().decode(errors="replace").strip()
        stream.close()
        raise RunFolderLockedError(
            f"{argument}={str(path.parent)!r} is in use by process {pid}; "
            "wait for it or name another folder"
        )
    return stream


def write_holder(lock: IO[bytes]) -> None:
    """Write the id of this process into a lock file."""
    lock.truncate(0)
    lock.write(str(os.getpid()).encode())
    lock.flush()


def _cut_torn_line(stream: IO[bytes]) -> None:
    """Remove an incomplete last line, which has no end of line."""
    if stream.seek(0, io.SEEK_END) == 0:
        return
    stream.seek(-1, io.SEEK_END)
    if stream.read(1) != b"\n":
        stream.seek(0)
        stream.truncate(stream.read().rfind(b"\n") + 1)


def lacks(folder: str | Path | None, name: str) -> bool:
    """Return whether a folder contains a run without that file."""
    path = None if folder is None else Path(folder)
    return path is not None and (path / STUDY).is_file() and not (path / name).exists()


def read_json(folder: Path, name: str) -> Any:
    """Return the content of a JSON file of a run folder."""
    path = folder / name
    if not path.is_file():
        msg = f"{str(folder)!r} is no finished run: it has no {name}; give the folder of a fit"
        if (folder / STUDY).is_file():
            msg += f", or finish this one: fairautoml resume {folder}"
        raise RunFolderError(msg)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as exc:
        raise ModelCorruptError(f"{str(path)!r} is damaged: {exc}") from exc


def read_object(folder: Path, name: str) -> dict[str, Any]:
    """Return the content of a JSON file that holds an object."""
    found = read_json(folder, name)
    if not isinstance(found, dict):
        raise ModelCorruptError(f"{str(folder / name)!r} is damaged: it holds no JSON object")
    return found


def read_rows(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the content of a JSON file that holds a list of objects."""
    found = read_json(folder, name)
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ModelCorruptError(f"{str(folder / name)!r} is damaged: it holds no list of rows")
    return found


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Turn what a damaged file of a run leads to into an error that names the folder."""
    try:
        yield
    except FairAutoMLError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError,
            RecursionError, StopIteration) as error:  # fmt: skip
        raise ModelCorruptError(
            f"a file of {str(folder)!r} does not hold what fairautoml wrote ({error!r}): "
            f"{remedy_for(folder)}"
        ) from error


def read_pickle(folder: Path) -> Any:
    """Check the hash of the pickle of a run folder and load it, which can run code."""
    # The file is read once, so that the checked bytes are the loaded bytes.
    about, content = read_estimator_file(folder)
    check_versions(folder, _versions(folder, about), LEARNT_WITH)
    return joblib.load(io.BytesIO(content))


def read_records(folder: Path) -> Any:
    """Check the hash of the records of the estimator and return them; no code of them is run."""
    about, content = read_estimator_file(folder)
    check_versions(folder, _versions(folder, about))
    return unpacked(content, repr(str(folder / RECORDS)))


def _versions(folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    versions = about.get("versions", {})
    if not isinstance(versions, dict):
        raise ModelCorruptError(f"{str(folder / 'model.json')!r} is damaged: no list of versions")
    return versions


def is_pickled(folder: Path) -> bool:
    """Return whether the estimator of a run is a pickle."""
    about = read_object(folder, "model.json")
    return bool(about.get("estimator", PICKLE) != RECORDS)


def need_trust(folder: Path) -> RunFolderError:
    """Return the error for a run whose estimator is a pickle."""
    return RunFolderError(
        f"the estimator of {str(folder)!r} is a pickle, which can run code: an older version "
        "wrote the run, or a part of the model is from a plug-in. If you trust the folder, load "
        "it with fairautoml.load_run(..., trust_pickle=True)"
    )


def portable_file(folder: Path) -> Path:
    """Return the file of the selected model that runs no code, after a check of its hash."""
    about, path = read_object(folder, "model.json"), folder / PORTABLE
    noted = about.get("portable_sha256")
    if noted is None:
        raise RunFolderError(
            f"{str(folder)!r} has no {PORTABLE}: an older version wrote the run, or a part of its "
            "model cannot be exported. Load its pickle, which can run code, by --trust-pickle or "
            "fairautoml.load_run(..., trust_pickle=True)"
        )
    if not path.is_file() or file_hash(path) != noted:
        raise _other_file(path)
    return path


def read_estimator_file(folder: Path) -> tuple[dict[str, Any], bytes]:
    """Return ``model.json`` and the bytes of the estimator after a check of the hash."""
    about = read_object(folder, "model.json")
    if about.get("format") not in (FORMAT, PICKLED_FORMAT):
        raise RunFolderError(
            f"{str(folder)!r} has format {about.get('format')!r} and this version of fairautoml "
            f"reads {FORMAT}; use the version that wrote it, or fit again"
        )
    path = folder / (RECORDS if about.get("estimator") == RECORDS else PICKLE)
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != about.get("sha256"):
        raise _other_file(path)
    return about, content


def _other_file(path: Path) -> ModelCorruptError:
    return ModelCorruptError(
        f"{str(path)!r} is not the file that model.json describes (SHA-256 differs); it is "
        f"damaged or was replaced: {remedy_for(path.parent)}"
    )


def check_certificate(folder: Path, about: Mapping[str, Any]) -> None:
    """Raise if the documents of a run folder are not those of its model."""
    if (folder / STAGED).is_file():
        what = f"The model of {str(folder)!r} was not replaced, but its documents"
        raise ModelCorruptError(f"{what}: {remedy_for(folder)}")
    path, noted = folder / "certificate.json", about.get("certificate_sha256")
    if noted is not None and path.is_file() and file_hash(path) != noted:
        msg = f"{str(path)!r} is not the certificate of the model beside it: {remedy_for(folder)}"
        raise ModelCorruptError(msg)


def remedy_for(folder: Path) -> str:
    """Return what to do about a damaged file of a run."""
    if not (folder / STUDY).is_file():
        return "fit again"
    return f"if it was being replaced, finish with: fairautoml resume {folder}; else fit again"


def _number(line: bytes) -> int:
    """Return the trial number of a line, or -1 if the line is damaged."""
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
    """Create a temporary folder of this process and remove those of dead processes."""
    _remove_left()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as made, _held(Path(made)):
        yield Path(made)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; on a disk without locks no process ever removes the folder."""
    nascent = folder / f".{LOCK}"
    with nascent.open("wb") as stream:
        stream.write(_machine())
        stream.flush()
        with contextlib.suppress(OSError):
            lock_descriptor(stream.fileno(), blocking=False)
            # Rename the file only when it is locked, so that the folder never looks abandoned.
            nascent.rename(folder / LOCK)
        yield


def _machine() -> bytes:
    """Return the host name; on a shared disk, locks may not be visible to other hosts."""
    return platform.node().encode()


def _remove_left() -> None:
    """Remove the temporary folders of this user whose processes are dead."""
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as found:
        for item in found:
            if item.name.startswith(PREFIX):
                with contextlib.suppress(OSError):
                    _remove_if_left(Path(item.path))


def _remove_if_left(folder: Path) -> None:
    """Remove a folder of this user if its lock is free; raise ``OSError`` if it has none."""
    about = folder.lstat()
    private = stat.S_ISDIR(about.st_mode) and stat.S_IMODE(about.st_mode) & 0o077 == 0
    if not private or about.st_uid != os.getuid():
        return
    with open(os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW), "rb") as stream:
        free = lock_descriptor(stream.fileno(), blocking=False)
        if free and stream.read() == _machine():
            logger.info("Removing %s, the folder of a dead process.", folder)
            shutil.rmtree(folder, ignore_errors=True)


def dashboard(folder: Path) -> Any:
    """Return optuna-dashboard for the study of a run, as a WSGI application."""
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        remedy = "install it with: pip install 'fairautoml-search[dashboard]'"
        raise MissingExtraError(f"the dashboard needs optuna-dashboard; {remedy}") from error
    about = read_object(folder, STUDY)
    if about.get("storage") is not None:
        raise RunFolderError(
            f"the trials of {str(folder)!r} are recorded on a server; show them with: "
            f"optuna-dashboard {about['storage']}"
        )
    path = folder / DATABASE
    if not path.is_file():
        raise RunFolderError(f"{str(folder)!r} has no {DATABASE}: no trial has been recorded")
    return wsgi(read_only_storage(path))
