"""Run the fits of a script two at a time, each on a core of its own, and keep their rows."""

import csv
import os
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

Cell = TypeVar("Cell")


def fit_on_cores(
    todo: Sequence[Cell],
    measured: Callable[[Cell, int], dict[str, Any] | None],
    rows: list[dict[str, Any]],
    file: Path,
    fields: Sequence[str],
) -> None:
    """Add the row of each cell that did not fail, and write the CSV file after each."""
    cores: queue.Queue[int] = queue.Queue()
    for core in sorted(os.sched_getaffinity(0))[:2]:
        cores.put(core)
    lock = threading.Lock()

    def run(cell: Cell) -> None:
        core = cores.get()
        try:
            row = measured(cell, core)
        finally:
            cores.put(core)
        if row is None:
            return
        with lock:
            rows.append(row)
            with file.open("w", newline="", encoding="utf-8") as out:
                writer = csv.DictWriter(out, fields)
                writer.writeheader()
                writer.writerows(rows)
            sys.stderr.write(f"{len(rows)} {' '.join(str(row[name]) for name in fields[:8])}\n")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, todo))
