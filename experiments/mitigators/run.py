"""Run a comparison of mitigators: a process per table and seed, a durable record per method."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from fairautoml.bench.cell import Pace, to_stderr
from fairautoml.bench.sweep import PARTIAL, locked, manifest
from fairautoml.bench.tasks import Sweep
from fairautoml.data.datasets import checksum
from fairautoml.data.files import write_whole
from fairautoml.exceptions import RunFolderExistsError
from mitigators.plan import Arsenal, Method, Table, read_arsenal
from mitigators.record import TrialRecord, read_record, record_path, write_record
from mitigators.tables import write_tables

BLOCK = (
    sys.executable, "-m", "fairautoml.bench.peers", str(Path(__file__).with_name("block.py")),
)  # fmt: skip
"""Called with file, folder, table and seed."""
CELL_SECONDS = 3600.0
"""A method that takes longer on one table hangs, and its process is ended."""


def run(
    source: Path,
    folder: Path,
    *,
    resume: bool = False,
    n_jobs: int = 1,
    on_line: Callable[[str], object] = to_stderr,
) -> int:
    """Run every method on every table and seed; returns the exit code.

    All tables are run with the first seed, then all with the second, and so on. Each cell (table,
    method, seed) is written when it is done; with ``resume=True`` those are kept whose question
    is still the same, and failed ones run again.
    """
    plan = read_arsenal(source)
    parts = folder / "cells"
    if not resume and parts.is_dir() and any(parts.glob("*.json")):
        msg = f"folder {str(folder)!r} holds a sweep; resume it or choose another folder"
        raise RunFolderExistsError(msg)
    parts.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        about = manifest(Sweep(name=source.stem, tasks=()), source, ("fairautoml", "bench"))
        named = sorted({t.dataset for t in plan.tables if not Path(t.dataset).exists()})
        about |= {"data": {name: checksum(name) for name in named}, "jobs": n_jobs}
        write_whole(json.dumps(about, indent=1) + "\n", folder / "manifest.json")
        run = _Run(plan=plan, source=source, folder=folder, on_line=on_line)
        return run.all_blocks(n_jobs)


@dataclass(slots=True, kw_only=True)
class _Run:
    """The blocks of a comparison being run."""

    plan: Arsenal
    source: Path
    folder: Path
    on_line: Callable[[str], object]
    pace: Pace = field(default_factory=Pace)
    writing: threading.Lock = field(default_factory=threading.Lock)
    processes: list["subprocess.Popen[str]"] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def all_blocks(self, n_jobs: int) -> int:
        """Run every table and seed with something to do; no process outlives this."""
        blocks = [(table, seed) for seed in self.plan.seeds for table in self.plan.tables]
        with ThreadPoolExecutor(n_jobs, thread_name_prefix="block") as threads:
            try:
                for done in [threads.submit(self._block, table, seed) for table, seed in blocks]:
                    done.result()
            finally:
                self.stop.set()
                for process in self.processes:
                    process.kill()
        records = self._records()
        write_tables(records, self.plan, self.folder)
        return PARTIAL if any(record.outcome == "failed" for record in records) else 0

    def _block(self, table: Table, seed: int) -> None:
        todo = missing(self.plan, self.folder, table, seed)
        if not todo or self.stop.is_set():
            return
        log = self.folder / "cells" / f"{table.name}-s{seed}.log"
        command = [*BLOCK, str(self.source), str(self.folder), table.name, str(seed)]
        with (
            log.open("w", encoding="utf-8") as errors,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
        ):
            self.processes.append(process)
            self._follow(process)
        if not self.stop.is_set():
            self._mark_missing(missing(self.plan, self.folder, table, seed), table, seed, log)

    def _follow(self, process: "subprocess.Popen[str]") -> None:
        """Tell of each cell as it is done; end a process that says nothing for too long."""
        if process.stdout is None:
            return
        timer = threading.Timer(CELL_SECONDS, process.kill)
        timer.start()
        for line in process.stdout:
            timer.cancel()
            timer = threading.Timer(CELL_SECONDS, process.kill)
            timer.start()
            with self.writing:
                if self.pace.due():
                    write_tables(self._records(), self.plan, self.folder)
                n_done = len(list((self.folder / "cells").glob("*.json")))
            n_all = len(self.plan.tables) * len(self.plan.methods) * len(self.plan.seeds)
            self.on_line(f"[{n_done}/{n_all}] {line}")
        timer.cancel()

    def _mark_missing(self, methods: Sequence[Method], table: Table, seed: int, log: Path) -> None:
        """Record why methods have nothing when their process ended before them."""
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        for method in methods:
            path = record_path(self.folder, table, method, seed)
            digest = self.plan.digest(table, method)
            if read_record(path, digest) is None:
                reason = f"the process ended: {lines[-1] if lines else 'no message'}"
                write_record(path, TrialRecord.failed(table, method, seed, digest, reason))

    def _records(self) -> list[TrialRecord]:
        found = (
            read_record(
                record_path(self.folder, table, method, seed), self.plan.digest(table, method)
            )
            for table in self.plan.tables
            for method in self.plan.methods
            for seed in self.plan.seeds
        )
        return [record for record in found if record is not None]


def missing(plan: Arsenal, folder: Path, table: Table, seed: int) -> list[Method]:
    """Return the methods that are not done on a table with a seed."""
    todo = []
    for method in plan.methods:
        path = record_path(folder, table, method, seed)
        record = read_record(path, plan.digest(table, method))
        if record is None or record.outcome != "done":
            todo.append(method)
    return todo
