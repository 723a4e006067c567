"""Run the experiment: batches in any order on any number of processes, tables after each cell."""

import json
import multiprocessing
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from fairautoml.bench.cell import to_stderr
from fairautoml.bench.sweep import locked, manifest
from fairautoml.bench.tasks import Sweep
from fairautoml.data.files import write_whole
from fairautoml.exceptions import RunFolderExistsError
from guarantee.batches import Batch, batches_of
from guarantee.checks import Result, failed_cells
from guarantee.outcomes import Cell, Tally
from guarantee.plan import read_plan
from guarantee.tables import write_tables

HOLDS, FAILS = 0, 1
"""Exit codes: every check holds, or one fails."""

TABLES_EVERY = 10
"""Batches after which the tables are written anew."""


def run(
    source: Path,
    folder: Path,
    *,
    resume: bool = False,
    n_jobs: int = 1,
    on_line: Callable[[str], object] = to_stderr,
) -> int:
    """Run the experiment of a file; return 0 if all checks hold, 1 if one fails.

    A cell that exceeds its limit is run once more from fresh seeds; both results are kept. The
    numbers do not depend on ``n_jobs``, on the order or on interruptions.
    """
    plan = read_plan(source)
    parts = folder / "batches"
    if not resume and parts.is_dir() and any(parts.glob("*.json")):
        msg = f"folder {str(folder)!r} holds an experiment; resume it or choose another folder"
        raise RunFolderExistsError(msg)
    parts.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        about = manifest(Sweep(name=source.stem, tasks=()), source, ("fairautoml", "bench"))
        text = json.dumps({**about, "jobs": n_jobs}, indent=1) + "\n"
        write_whole(text, folder / "manifest.json")
        experiment = Experiment(
            situations=tuple(plan.situations()),
            folder=folder,
            seed=plan.seed,
            n_jobs=n_jobs,
            on_line=on_line,
        )
        return experiment.all_cells()


@dataclass(slots=True, kw_only=True)
class Experiment:
    """Cells being repeated, some batches at the same time."""

    situations: Sequence[tuple[Cell, int]]  # cells with their repetitions
    folder: Path  # holds ``batches/``; gets the tables
    seed: int = 0  # of the experiment
    n_jobs: int = 1  # batches at the same time
    on_line: Callable[[str], object]  # gets one line of progress per batch
    _done: dict[Batch, tuple[Tally, ...]] = field(default_factory=dict)

    def all_cells(self) -> int:
        """Play what is missing, once more what failed, and return the exit code."""
        self._play(self._batches(run=0))
        again = {cell.key for cell in failed_cells(self._results())}
        self._play(self._batches(run=1, keys=again))
        checks = write_tables(self._results(), self.folder)
        return HOLDS if all(one.passed for one in checks) else FAILS

    def _batches(self, run: int, keys: Container[str] | None = None) -> list[Batch]:
        """Return batches in turns: the first of every cell, then the second of every cell."""
        numbered = [
            (number, batch)
            for cell, repetitions in self.situations
            if keys is None or cell.key in keys
            for number, batch in enumerate(batches_of(cell, repetitions, run=run, seed=self.seed))
        ]
        return [batch for _, batch in sorted(numbered, key=lambda item: item[0])]

    def _play(self, batches: Sequence[Batch]) -> None:
        parts, todo = self.folder / "batches", list[Batch]()
        for batch in batches:
            kept = batch.kept(parts)
            if kept is None:
                todo.append(batch)
            else:
                self._done[batch] = kept
        left = len(todo)
        for batch, tallies in self._played(todo):
            batch.keep(parts, tallies)
            self._done[batch] = tallies
            left -= 1
            if left % TABLES_EVERY == 0:
                write_tables(self._results(), self.folder)
            self.on_line(f"{batch.name.removesuffix('.json')} done; {left} batches left\n")

    def _played(self, todo: Sequence[Batch]) -> Iterator[tuple[Batch, tuple[Tally, ...]]]:
        """Yield batches with what came of them, as they end."""
        if self.n_jobs == 1:
            yield from ((batch, batch.play()) for batch in todo)
            return
        # A fork would copy the locks of threads that a search has left behind.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.n_jobs, mp_context=context) as processes:
            try:
                running = {processes.submit(batch.play): batch for batch in todo}
                for done in as_completed(running):
                    yield running[done], done.result()
            finally:
                processes.shutdown(cancel_futures=True)

    def _results(self) -> list[Result]:
        """Return what is known, in the order of the experiment whatever the order of playing."""
        results: list[Result] = []
        for cell, _ in self.situations:
            for run in (0, 1):
                here = [b for b in self._done if b.cell.key == cell.key and b.run == run]
                sums: dict[str, Tally] = {}
                for batch in sorted(here, key=lambda one: one.start):
                    for one in self._done[batch]:
                        before = sums.get(one.procedure, Tally(procedure=one.procedure))
                        sums[one.procedure] = before + one
                results += [Result(cell=cell, run=run, tally=one) for one in sums.values()]
        return results
