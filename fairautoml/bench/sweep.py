"""Run a sweep: every task with every seed, each fit in its own process, resumable."""

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fairautoml.bench.cells import Cell, CellRecord, read_record, run_cell, write_text
from fairautoml.bench.manifest import manifest
from fairautoml.bench.tables import write_tables
from fairautoml.bench.tasks import Sweep, read_sweep
from fairautoml.exceptions import (
    RunFolderError,
    RunFolderExistsError,
    RunFolderLockedError,
    StorageFullError,
)

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

FIT = (sys.executable, "-m", "fairautoml", "fit")
PARTIAL = 6
"""Exit code of a sweep in which some cells failed."""
USUAL_SECONDS = 60.0
"""Guess of the length of a cell whose budget is a number of trials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOutcome:
    """How a sweep ended.

    Parameters
    ----------
    folder : Path
        Where its tables are.
    n_cells, n_failed, n_reused : int
        All cells, those that failed, those that an earlier run had finished.
    """

    folder: Path
    n_cells: int
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
    command: Sequence[str] = FIT,
    on_line: Callable[[str], object] = sys.stderr.write,
) -> SweepOutcome:
    """Run every cell of a sweep, one after the other, and write its tables after each.

    Finished cells are durable: an interrupted sweep goes on with ``resume=True``. A cell that
    fails is a row with a reason, and the others are run.

    Parameters
    ----------
    source : Path
        YAML file of the sweep.
    folder : Path
        Gets ``manifest.json``, ``cells.csv``, ``summary.csv``, ``summary.md`` and ``cells/``.
    resume : bool
        Keep the finished cells in the folder, run missing, failed and changed ones.
    command : sequence of str
        What is run for each cell, before the arguments of the cell.
    on_line : callable
        Gets one line of progress per cell; standard error by default.

    Raises
    ------
    InputError
        The sweep is wrong.
    RunFolderExistsError
        The folder holds cells and ``resume`` is False.
    RunFolderLockedError
        Another process runs a sweep in the folder; its process id is named.
    RunFolderError
        The folder cannot be written (found before the first fit), or the command not be started.
    StorageFullError
        The disk is full; finished cells are kept.
    """
    sweep = read_sweep(source)
    parts = folder / "cells"
    if not resume and parts.is_dir() and any(parts.glob("*.json")):
        msg = f"folder {str(folder)!r} holds a sweep; resume it or choose another folder"
        raise RunFolderExistsError(msg)
    try:
        parts.mkdir(parents=True, exist_ok=True)
        with _locked(folder / ".lock"):
            about = json.dumps(manifest(sweep, source, command), indent=1)
            write_text(folder / "manifest.json", about + "\n")
            return _run_cells(sweep, folder, command, on_line)
    except RunFolderError:
        raise
    except OSError as error:
        kind = StorageFullError if error.errno == errno.ENOSPC else RunFolderError
        msg = f"the sweep in folder {str(folder)!r} cannot go on: {error}; resume it when cured"
        raise kind(msg) from None


@dataclass(slots=True, kw_only=True)
class _Clock:
    """Estimates the time left from how cells took compared with their budgets."""

    planned: float = 0.0
    taken: float = 0.0
    left: float = field(default=0.0)

    @staticmethod
    def plan(cell: Cell) -> float:
        seconds = cell.task.seconds
        return USUAL_SECONDS if seconds is None else seconds

    def record(self, cell: Cell, seconds: float) -> None:
        self.planned += self.plan(cell)
        self.taken += seconds
        self.left -= self.plan(cell)

    def seconds_left(self) -> float:
        return self.left * self.taken / self.planned


def _run_cells(
    sweep: Sweep, folder: Path, command: Sequence[str], on_line: Callable[[str], object]
) -> SweepOutcome:
    cells = [Cell(task=task, seed=seed) for task in sweep.tasks for seed in task.seeds]
    records = {cell.key: found for cell in cells if (found := _finished(cell, folder))}
    n_reused = len(records)
    todo = [cell for cell in cells if cell.key not in records]
    clock = _Clock(left=sum(map(_Clock.plan, todo)))
    for cell in todo:
        record = run_cell(cell, command, folder / "cells")
        records[cell.key] = record
        clock.record(cell, record.wall_seconds)
        _write(cells, records, folder)
        on_line(
            f"[{len(records)}/{len(cells)}] {cell.key} {record.outcome} in "
            f"{record.wall_seconds:.0f} s{': ' if record.reason else ''}{record.reason}; "
            f"about {clock.seconds_left() / 60:.0f} min left\n"
        )
    _write(cells, records, folder)
    n_failed = sum(record.outcome == "failed" for record in records.values())
    return SweepOutcome(folder=folder, n_cells=len(cells), n_failed=n_failed, n_reused=n_reused)


def _finished(cell: Cell, folder: Path) -> CellRecord | None:
    """Return the kept record of a cell if it is done and was asked the same."""
    record = read_record(folder / "cells" / f"{cell.key}.json")
    if record is None or record.outcome != "done":
        return None
    return record if record.arguments == cell.task.arguments(cell.seed) else None


def _write(cells: Sequence[Cell], records: dict[str, CellRecord], folder: Path) -> None:
    write_tables([records[cell.key] for cell in cells if cell.key in records], folder)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a folder; the system frees it when the process dies."""
    with path.open("a+", encoding="ascii") as lock:
        try:
            if sys.platform == "win32":
                lock.seek(1_000)  # a byte beyond the text, which others must be able to read
                msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
            else:
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
