"""Run a sweep: every task with every seed, each fit in its own process, resumable."""

import errno
import fcntl
import json
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from fairautoml.bench.cells import (
    Cell,
    CellRecord,
    Pace,
    Parts,
    read_record,
    run_cell,
    to_stderr,
    write_text,
)
from fairautoml.bench.manifest import UNAVAILABLE, manifest
from fairautoml.bench.tables import write_tables
from fairautoml.bench.tasks import OURS, Sweep, read_sweep
from fairautoml.exceptions import (
    RunFolderError,
    RunFolderExistsError,
    RunFolderLockedError,
    StorageFullError,
)
from fairautoml.execution._memory import fair_share_mb

FIT = (sys.executable, "-m", "fairautoml", "fit")
PEER = (sys.executable, "-m", "fairautoml.bench.peer_cell")
"""Called with the name of the system before the arguments of a fit."""
PARTIAL = 6
"""Exit code of a sweep in which some cells failed."""
SESSION = ("started", "git_commit", "git_changed", "cpu_model", "cpu_count", "jobs", "packages")
"""What the manifest keeps of earlier runs of the same sweep."""
USUAL_SECONDS = 60.0
"""Guess of the length of a cell whose budget is a number of trials."""

Tables = Callable[[Sequence[CellRecord], Path], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the cells of a sweep are run and written down."""

    # what is run for each cell of this library, before the arguments of the cell
    command: tuple[str, ...] = FIT
    tables: Tables = write_tables  # writes the records so far into the folder


FITS = Way()
"""A sweep of fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOutcome:
    """How a sweep ended."""

    folder: Path  # where its tables are
    n_cells: int  # all cells, those that failed, those that an earlier run had finished
    n_failed: int
    n_reused: int

    @property
    def exit_code(self) -> int:
        """Return 0, or 6 when some cells failed."""
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
    interrupted sweep is balanced. Finished cells are durable: it goes on with ``resume=True``. A
    cell that fails is a row with a reason, and the others are run.
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
            memory = fair_share_mb(n_jobs)
            about = {**manifest(sweep, source, way.command), "jobs": n_jobs, "only": only}
            about["memory_mb"] = None if memory is None else round(memory)
            about["earlier"] = _earlier(folder / "manifest.json", about["data"])
            write_text(folder / "manifest.json", json.dumps(about, indent=1) + "\n")
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
        msg = f"the sweep in folder {str(folder)!r} cannot go on: {error}; resume it when cured"
        raise kind(msg) from None


def _check_apart(folder: Path, only: str) -> None:
    """Keep the tables of a whole sweep from being replaced by those of one cell."""
    path = folder / "manifest.json"
    if path.exists() and json.loads(path.read_text(encoding="utf-8")).get("only") != only:
        raise RunFolderExistsError(
            f"folder {str(folder)!r} holds the tables of other cells, which those of {only!r} "
            "would replace; give a folder of its own"
        )


def _earlier(path: Path, data: Mapping[str, str]) -> list[dict[str, object]]:
    """Return when and with what the cells in a folder were made; refuse those of other data."""
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
            "since; give a folder of its own"
        )
    return [*kept.get("earlier", []), {name: kept[name] for name in SESSION if name in kept}]


def _commit(about: Mapping[str, object]) -> str | None:
    """Return the commit as ``git describe --dirty`` would write it."""
    commit = about["git_commit"]
    if commit is None:
        return None
    return f"{commit}-dirty" if about["git_changed"] else str(commit)


@dataclass(slots=True, kw_only=True)
class _Clock:
    """Estimates the time left from how cells took compared with their budgets."""

    planned: float = 0.0
    taken: float = 0.0
    left: float = 0.0
    n_jobs: int = 1

    @staticmethod
    def plan(cell: Cell) -> float:
        seconds = cell.task.seconds
        return USUAL_SECONDS if seconds is None else seconds

    def record(self, cell: Cell, seconds: float) -> None:
        self.planned += self.plan(cell)
        self.taken += seconds
        self.left -= self.plan(cell)

    def seconds_left(self) -> float:
        return self.left * self.taken / self.planned / self.n_jobs


@dataclass(slots=True, kw_only=True)
class _Run:
    """The cells of a sweep being run, some at the same time."""

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
        """Run what is missing; however it ends, no process is left behind."""
        cells = [Cell(task=task, seed=seed) for task in sweep.tasks for seed in task.seeds]
        # What failed runs again, and stands in the tables until it has.
        records = {c.key: found for c in cells if (found := _kept(c, self.folder))}
        done = {key for key, record in records.items() if record.outcome == "done"}
        n_reused = len(done)
        todo = [cell for cell in in_turns(sweep) if cell.key not in done]
        clock = _Clock(left=sum(map(_Clock.plan, todo)), n_jobs=self.n_jobs)
        try:
            with closing(self._records(todo)) as ended:
                for cell, record in ended:
                    records[cell.key] = record
                    done.add(cell.key)
                    clock.record(cell, record.wall_seconds)
                    if self.pace.due():
                        self._write(cells, records)
                    self.on_line(
                        f"[{len(done)}/{len(cells)}] {cell.key} {record.outcome} in "
                        f"{record.wall_seconds:.0f} s{': ' if record.reason else ''}"
                        f"{record.reason}; about {clock.seconds_left() / 60:.0f} min left\n"
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
        """Yield records as cells end; a cell starts when the one before it is written down."""
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
        parts = Parts(folder=self.folder / "cells", commit=self.commit)
        return run_cell(cell, command, parts, self.stop, self.memory_mb)


def in_turns(sweep: Sweep) -> list[Cell]:
    """Return all cells: every task with its first seed, then every task with its second, ..."""
    most = max(len(task.seeds) for task in sweep.tasks)
    return [
        Cell(task=task, seed=task.seeds[turn])
        for turn in range(most)
        for task in sweep.tasks
        if turn < len(task.seeds)
    ]


def _kept(cell: Cell, folder: Path) -> CellRecord | None:
    """Return the kept record of a cell if it was asked the same.

    The oracle is no part of what is asked: it judges the answer.
    """
    record = read_record(folder / "cells" / f"{cell.key}.json")
    if record is None:
        return None
    asked = (cell.task.system, cell.task.arguments(cell.seed))
    same = (record.system, record.arguments) == asked
    return replace(record, oracle=cell.task.oracle) if same else None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a folder; the system frees it when the process dies."""
    with path.open("a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip()
            msg = f"folder {str(path.parent)!r} is in use by process {holder}; wait for it"
            raise RunFolderLockedError(msg) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
