"""A sweep: cells run, resumed, recorded."""

import errno
import hashlib
import json
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

import fairautoml
from fairautoml.bench.cell import Cell, CellRecord, Pace, read_record, run_cell, to_stderr
from fairautoml.bench.peers import load_file
from fairautoml.bench.tables import write_tables
from fairautoml.bench.tasks import OURS, Sweep, read_sweep
from fairautoml.data.datasets import checksum
from fairautoml.data.files import write_whole
from fairautoml.exceptions import (
    InputError,
    RunFolderError,
    RunFolderExistsError,
    StorageFullError,
    UnknownNameError,
)
from fairautoml.execution._worker import memory_per_worker_mb
from fairautoml.storage.run_folder import NOT_INSTALLED, library_version, lock_folder, write_holder

PACKAGES = (
    "fairautoml", "numpy", "pandas", "scipy", "scikit-learn", "lightgbm", "xgboost", "optuna",
    "flaml", "joblib", "catboost", "interpret-core", "fairlearn",
)  # fmt: skip
GIT_SECONDS = 10
UNAVAILABLE = "unavailable"
"""Prefix of the text that replaces the checksum of an unavailable dataset."""


def manifest(sweep: Sweep, source: Path, command: Sequence[str]) -> dict[str, Any]:
    """Return everything needed to assess and to repeat a sweep."""
    return {
        "sweep": sweep.name,
        "sweep_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(command[0]).name, *command[1:]],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {
            name: found for name in PACKAGES if (found := library_version(name)) != NOT_INSTALLED
        },
        "cpu_count": os.cpu_count(),
        "cpu_model": _cpu_model(),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_changed": _git("status", "--porcelain") not in ("", None),
        "sweep_committed": _is_committed(source),
        "data": {name: _data(name) for name in sorted({t.dataset for t in sweep.tasks})},
    }


def _is_committed(source: Path) -> bool:
    """Return whether the commit holds a file of this content."""
    blob = _git("hash-object", str(source.resolve()))
    return blob is not None and blob in str(_git("ls-tree", "-r", "--full-tree", "HEAD"))


def _data(name: str) -> str:
    """Return the checksum of a dataset; an unavailable one fails only its own cells."""
    try:
        return checksum(name)
    except (UnknownNameError, InputError) as error:
        return f"{UNAVAILABLE}: {error}"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def _git(*arguments: str) -> str | None:
    """Return the output of git in the checkout of this package, None outside one."""
    folder = Path(fairautoml.__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


FIT = (sys.executable, "-m", "fairautoml", "fit")
PEER = (sys.executable, "-m", "fairautoml.cli.peer")
"""Command of another system, before its name and the arguments of a fit."""
PARTIAL = 6
"""Exit code of a sweep in which some cells failed."""
SESSION = ("started", "git_commit", "git_changed", "cpu_model", "cpu_count", "jobs", "packages")
"""Fields of the manifest that are kept for previous runs of the sweep."""
USUAL_SECONDS = 60.0
"""Assumed time of a cell whose budget is a number of trials."""

Tables = Callable[[Sequence[CellRecord], Path], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Command of the cells of a sweep, and writer of its tables."""

    # command of a cell of this library, before its arguments
    command: tuple[str, ...] = FIT
    tables: Tables = write_tables  # writes the records so far into the folder


FITS = Way()
"""A sweep of fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOutcome:
    """Result of a sweep."""

    folder: Path  # folder of its tables
    n_cells: int  # all cells, failed ones, and those that a previous run had finished
    n_failed: int
    n_reused: int

    @property
    def exit_code(self) -> int:
        """0, or 6 if some cells failed."""
        return PARTIAL if self.n_failed else 0


def run_sweep(
    source: Path,
    folder: Path,
    *,
    resume: bool = False,
    n_jobs: int = 1,
    only: str | None = None,
    peers: Sequence[Path] = (),
    way: Way = FITS,
    on_line: Callable[[str], object] = to_stderr,
) -> SweepOutcome:
    """Run every cell of a sweep and write its tables after each.

    All tasks are run with their first seed, then all with their second, and so on, so that an
    interrupted sweep is balanced. Finished cells are stored, and ``resume=True`` continues with
    the others. A failed cell becomes a row with a reason.
    """
    sweep = read_sweep(source, peers)
    if only is not None:
        sweep = sweep.only(only)
        _check_apart(folder, only)
    parts = folder / "cells"
    if not resume and parts.is_dir() and any(parts.glob("*.json")):
        msg = f"folder {str(folder)!r} holds a sweep; resume it or choose another folder"
        raise RunFolderExistsError(msg)
    try:
        parts.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock"):
            memory = memory_per_worker_mb(n_jobs)
            about = {**manifest(sweep, source, way.command), "jobs": n_jobs, "only": only}
            about["memory_mb"] = None if memory is None else round(memory)
            about["earlier"] = _earlier(folder / "manifest.json", about["data"])
            write_whole(json.dumps(about, indent=1) + "\n", folder / "manifest.json")
            run = _Run(
                folder=folder,
                way=way,
                n_jobs=n_jobs,
                memory_mb=memory,
                peers=sweep.peers.folders,
                commit=_commit(about),
                on_line=on_line,
            )
            return run.all_cells(sweep)
    except RunFolderError:
        raise
    except OSError as error:
        kind = StorageFullError if error.errno == errno.ENOSPC else RunFolderError
        msg = f"the sweep in folder {str(folder)!r} stopped: {error}; fix this and resume it"
        raise kind(msg) from None


def _check_apart(folder: Path, only: str) -> None:
    """Raise an error if the tables of one cell would replace those of a whole sweep."""
    path = folder / "manifest.json"
    if path.exists() and json.loads(path.read_text(encoding="utf-8")).get("only") != only:
        raise RunFolderExistsError(
            f"folder {str(folder)!r} holds tables of other cells, which those of {only!r} "
            "would replace; give another folder"
        )


def _earlier(path: Path, data: Mapping[str, str]) -> list[dict[str, object]]:
    """Return the origin of the cells in a folder; raise an error if they are from other data."""
    if not path.exists():
        return []
    kept = json.loads(path.read_text(encoding="utf-8"))
    known = kept.get("data", {})
    changed = [
        name
        for name, checksum in data.items()
        if UNAVAILABLE not in (known.get(name, checksum) + checksum)
        and known.get(name, checksum) != checksum
    ]
    if changed:
        raise RunFolderError(
            f"folder {str(path.parent)!r} holds cells of other data: {', '.join(changed)} changed "
            "since; give another folder"
        )
    return [*kept.get("earlier", []), {name: kept[name] for name in SESSION if name in kept}]


def _commit(about: Mapping[str, object]) -> str | None:
    """Return the commit as ``git describe --dirty`` would write it."""
    commit = about["git_commit"]
    if commit is None:
        return None
    return f"{commit}-dirty" if about["git_changed"] else str(commit)


def _planned(cells: Iterable[Cell]) -> float:
    seconds = (cell.task.seconds for cell in cells)
    return sum(USUAL_SECONDS if budget is None else budget for budget in seconds)


@dataclass(slots=True, kw_only=True)
class _Run:
    """Execution of the cells of a sweep, some concurrently."""

    folder: Path
    way: Way
    n_jobs: int
    memory_mb: float | None
    peers: tuple[Path, ...]
    commit: str | None
    on_line: Callable[[str], object]
    pace: Pace = field(default_factory=Pace)
    stop: threading.Event = field(default_factory=threading.Event)

    def all_cells(self, sweep: Sweep) -> SweepOutcome:
        """Run the missing cells; no process is left behind in any case."""
        cells = [Cell(task=task, seed=seed) for task in sweep.tasks for seed in task.seeds]
        # Failed cells run again, and stay in the tables until they have.
        records = {c.key: found for c in cells if (found := _kept(c, self.folder))}
        done = {key for key, record in records.items() if record.outcome == "done"}
        n_reused = len(done)
        todo = [cell for cell in in_turns(sweep) if cell.key not in done]
        ended_cells, taken = list[Cell](), 0.0
        try:
            with closing(self._records(todo)) as ended:
                for cell, record in ended:
                    records[cell.key] = record
                    done.add(cell.key)
                    ended_cells.append(cell)
                    taken += record.wall_seconds
                    # As much slower or faster than planned as the cells until now.
                    left = _planned(todo) - _planned(ended_cells)
                    left *= taken / _planned(ended_cells) / self.n_jobs
                    if self.pace.due():
                        self._write(cells, records)
                    self.on_line(
                        f"[{len(done)}/{len(cells)}] {cell.key} {record.outcome} in "
                        f"{record.wall_seconds:.0f} s{': ' if record.reason else ''}"
                        f"{record.reason}; about {left / 60:.0f} min left\n"
                    )
        finally:
            if records:
                self._write(cells, records)
        failed = sum(record.outcome == "failed" for record in records.values())
        return SweepOutcome(
            folder=self.folder, n_cells=len(cells), n_failed=failed, n_reused=n_reused
        )

    def _write(self, cells: Sequence[Cell], records: Mapping[str, CellRecord]) -> None:
        self.way.tables([records[cell.key] for cell in cells if cell.key in records], self.folder)

    def _records(self, todo: Sequence[Cell]) -> Generator[tuple[Cell, CellRecord], None, None]:
        """Yield records as cells end; a cell starts after the previous record is written."""
        waiting, running = list(todo), dict[Future[CellRecord | None], Cell]()
        with ThreadPoolExecutor(self.n_jobs, thread_name_prefix="cell") as threads:
            try:
                while waiting or running:
                    while waiting and len(running) < self.n_jobs:
                        cell = waiting.pop(0)
                        running[threads.submit(self._one, cell)] = cell
                    done = next(iter(wait(running, return_when=FIRST_COMPLETED).done))
                    cell, record = running.pop(done), done.result()
                    if record is not None:
                        yield cell, record
            finally:
                self.stop.set()

    def _one(self, cell: Cell) -> CellRecord | None:
        system, command = cell.task.system, self.way.command
        if system != OURS:
            folders = [part for folder in self.peers for part in ("--peers", str(folder))]
            command = (*PEER, system, *folders)
        folder = self.folder / "cells"
        return run_cell(
            cell, command, folder, self.stop, commit=self.commit, memory_mb=self.memory_mb
        )


def in_turns(sweep: Sweep) -> list[Cell]:
    """Return all cells: first every task with its first seed, then with its second, and so on."""
    most = max(len(task.seeds) for task in sweep.tasks)
    return [
        Cell(task=task, seed=task.seeds[turn])
        for turn in range(most)
        for task in sweep.tasks
        if turn < len(task.seeds)
    ]


def _kept(cell: Cell, folder: Path) -> CellRecord | None:
    """Return the stored record of a cell if system and arguments are the same.

    The oracle may differ, because only the evaluation uses it.
    """
    record = read_record(folder / "cells" / f"{cell.key}.json")
    if record is None:
        return None
    args = (cell.task.system, cell.task.arguments(cell.seed))
    same = (record.system, record.arguments) == args
    return replace(record, oracle=cell.task.oracle) if same else None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a folder; the system frees it when the process dies."""
    with lock_folder(path, "folder") as lock:
        write_holder(lock)
        yield


def run_any(
    source: Path,
    folder: Path,
    *,
    resume: bool = False,
    n_jobs: int = 1,
    only: str | None = None,
    peers: Sequence[Path] = (),
) -> int:
    """Run an experiment and return its exit code.

    The key ``runner`` of its file names a Python file whose function ``run`` does everything; the
    key ``tables`` of a sweep of fits one whose ``write_tables`` replaces that of this package.
    """
    runner = _function(source, "runner", "run")
    if runner is None:
        tables = _function(source, "tables", "write_tables")
        return run_sweep(
            source,
            folder,
            resume=resume,
            n_jobs=n_jobs if only is None else 1,
            only=only,
            peers=peers,
            way=FITS if tables is None else Way(tables=tables),
        ).exit_code
    if only is not None or peers:
        raise InputError(
            f"only={only!r}, peers={list(map(str, peers))}: they are for a sweep of fits, and "
            f"{source} has a runner of its own; leave them out"
        )
    return runner(source, folder, resume=resume, n_jobs=n_jobs)


def _function(source: Path, key: str, name: str) -> Any:
    """Return the function in the file that a key of an experiment names, None without the key."""
    try:
        content = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None  # ``read_sweep`` reports unreadable files
    if not isinstance(content, dict) or key not in content:
        return None
    if not isinstance(content[key], str):
        raise InputError(f"{source}: {key} is {content[key]!r}; give the path of a file")
    file = source.parent / content[key]
    module = load_file(file)
    if not hasattr(module, name):
        raise InputError(f"the {key} {file} of {source} has no function {name!r}; define it")
    return getattr(module, name)
