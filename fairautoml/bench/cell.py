"""Run one cell of a sweep: one system on one task with one budget and seed."""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fairautoml.bench.tasks import OURS, Task
from fairautoml.data.files import write_whole
from fairautoml.execution._worker import PROC, descendants, read, resident_mb, started

_USER, _SYSTEM = 11, 12
"""Positions in /proc/<pid>/stat after the name; see proc_pid_stat(5)."""


class Usage:
    """Sampled CPU time and memory of a process and its descendants.

    Both are lower bounds, because processes can start and end between two samples. Nothing is
    measured without ``/proc``.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ticks: dict[tuple[int, str], int] = {}
        self._most = 0.0

    def look(self) -> None:
        """Take a sample."""
        start = started(self._pid)
        if start is None:
            return
        members = {self._pid: start, **descendants(self._pid)}
        for pid, began in members.items():
            ticks = _ticks_of(pid)
            if ticks is not None:
                self._ticks[pid, began] = ticks
        self._most = max(self._most, sum(resident_mb(pid) or 0.0 for pid in members))

    @property
    def cpu_seconds(self) -> float | None:
        """CPU time so far, s; None if nothing was measured."""
        if not self._ticks:
            return None
        return round(sum(self._ticks.values()) / os.sysconf("SC_CLK_TCK"), 2)

    @property
    def peak_memory_mb(self) -> float | None:
        """Largest sampled resident memory, MiB; None if nothing was measured."""
        return round(self._most, 1) if self._most > 0.0 else None


def _ticks_of(pid: int) -> int | None:
    fields = read(PROC / str(pid) / "stat").rpartition(")")[2].split()
    return int(fields[_USER]) + int(fields[_SYSTEM]) if len(fields) > _SYSTEM else None


FINISHED_CODES = frozenset({0, 4, 9, 10})
"""Exit codes of a finished fit: done, nothing feasible, not certified, unsure."""
GRACE_SECONDS = 300.0
GRACE_FACTOR = 3.0
"""A fit is killed after factor x budget + grace seconds."""
TRIAL_SECONDS = 600.0
"""Assumed largest time of one trial if the budget is a number of trials."""
REASON_LENGTH = 500
BLIND = "--blind"
"""Option of a fit without which group columns are features."""
POLL_SECONDS = 0.5
"""Interval between checks for a stop request and samples of usage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A task with a seed."""

    task: Task
    seed: int

    @property
    def key(self) -> str:
        """Stem of its file names."""
        return f"{self.task.name}-s{self.seed}"

    @property
    def limit_seconds(self) -> float:
        """Wall-clock limit after which the process is killed."""
        seconds = self.task.seconds
        if seconds is None:
            seconds = TRIAL_SECONDS * (self.task.n_trials or 1)
        return GRACE_FACTOR * seconds + GRACE_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRecord:
    """Result of a cell, stored as one JSON file."""

    task: str  # name of the task
    seed: int  # seed
    arguments: tuple[str, ...]  # what the fit was called with
    outcome: str  # ``"done"`` or ``"failed"``
    reason: str  # why it failed, else empty
    exit_code: int | None  # of the process; None when it was ended
    wall_seconds: float  # from its start to its end
    result: Mapping[str, Any]  # the JSON that it printed; empty when it failed
    system: str = OURS  # of the task
    question: str = ""
    variant: str = ""
    cpu_seconds: float | None = None  # what its processes took together, as ``Usage`` sees it
    peak_memory_mb: float | None = None
    oracle: float | None = None  # of the task
    git_commit: str | None = None  # commit of this library, and when the cell began
    started: str | None = None

    def row(self) -> dict[str, Any]:
        """Return the row of the tidy table; nested results are flattened with dots."""
        own = {
            "task": self.task,
            **({"question": self.question, "variant": self.variant} if self.variant else {}),
            "seed": self.seed,
            "outcome": self.outcome,
            "reason": self.reason,
            "exit_code": self.exit_code,
            "wall_seconds": self.wall_seconds,
            "cpu_seconds": self.cpu_seconds,
            "peak_memory_mb": self.peak_memory_mb,
            **({} if self.oracle is None else {"oracle": self.oracle}),
            **({} if self.system == OURS else {"system": self.system}),
            "group_is_feature": float(BLIND not in self.arguments),
            "git_commit": self.git_commit,
            "started": self.started,
        }
        own |= budget_of(self.result)
        return own | {k: v for k, v in flatten(self.result).items() if k not in own}


def budget_of(result: Mapping[str, Any]) -> dict[str, float]:
    """Return the used share of the time budget, empty without one."""
    search, entry = result.get("search", {}), result.get("entry", {})
    budget, seconds = search.get("time_budget"), search.get("seconds")
    if budget is None or seconds is None:
        return {}
    return {
        "budget.overrun": round(seconds - budget, 3),
        "budget.used": round(seconds / budget, 4),
        "budget.usable": float(not entry.get("constant", True)),
    }


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one: ``{"a": {"b": 1}}`` is ``{"a.b": 1}``; lists become JSON."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            flat |= flatten(item, f"{name}.")
        else:
            flat[name] = json.dumps(item) if isinstance(item, list) else item
    return flat


def run_cell(
    cell: Cell,
    command: Sequence[str],
    folder: Path,
    stop: threading.Event,
    *,
    commit: str | None = None,
    memory_mb: float | None = None,
) -> CellRecord | None:
    """Run a cell, and write its record and its standard error; return None if it was stopped.

    It is killed when it exceeds its limit of time, or when its processes hold more memory.
    """
    task = cell.task
    arguments = task.arguments(cell.seed)
    log = folder / f"{cell.key}.log"
    started = datetime.now(UTC).isoformat(timespec="seconds")
    start = time.monotonic()
    code, printed, usage = _run([*command, *arguments], log, cell.limit_seconds, memory_mb, stop)
    if stop.is_set():
        return None
    seconds = round(time.monotonic() - start, 3)
    result = _result(printed)
    reason = _reason(code, result, log)
    held = usage.peak_memory_mb
    if code is None:
        reason = f"ended after {cell.limit_seconds:g} s"
        if memory_mb is not None and held is not None and held > memory_mb:
            reason = f"ended when it held {held:.0f} MiB, of {memory_mb:.0f} that it may hold"
    record = CellRecord(
        task=task.name,
        question=task.question,
        variant=task.variant,
        oracle=task.oracle,
        system=task.system,
        seed=cell.seed,
        arguments=arguments,
        outcome="failed" if reason else "done",
        reason=reason,
        exit_code=code,
        wall_seconds=seconds,
        cpu_seconds=usage.cpu_seconds,
        peak_memory_mb=held,
        result={} if reason or result is None else result,
        git_commit=commit,
        started=started,
    )
    write_whole(json.dumps(asdict(record), indent=1) + "\n", folder / f"{cell.key}.json")
    return record


def read_record(path: Path) -> CellRecord | None:
    """Return a stored record, None if it is missing or damaged."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return CellRecord(**{**kept, "arguments": tuple(kept["arguments"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


@dataclass(slots=True)
class Pace:
    """Limit on how often the tables of a long sweep are written."""

    seconds: float = 60.0  # least time between two writes
    last: float = -math.inf

    def due(self) -> bool:
        """Return whether the time has passed, and restart it."""
        now = time.monotonic()
        if now - self.last < self.seconds:
            return False
        self.last = now
        return True


def to_stderr(text: str) -> None:
    """Write to the current standard error, which may have been replaced since the import."""
    sys.stderr.write(text)


def _run(
    command: Sequence[str],
    log: Path,
    seconds: float,
    memory_mb: float | None,
    stop: threading.Event,
) -> tuple[int | None, str, Usage]:
    """Return exit code, standard output and usage; the process group is always ended."""
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        ) as process,
    ):
        usage = Usage(process.pid)
        try:
            printed = _printed(process, seconds, memory_mb, usage, stop)
        finally:
            if process.poll() is None:
                _kill(process)
    if printed is None:
        return None, "", usage
    return process.returncode, printed.decode("utf-8", errors="replace"), usage


def _printed(
    process: "subprocess.Popen[bytes]",
    seconds: float,
    memory_mb: float | None,
    usage: Usage,
    stop: threading.Event,
) -> bytes | None:
    """Return the standard output of a process, None if it was stopped or exceeded a limit."""
    deadline = time.monotonic() + seconds
    while not stop.is_set():
        usage.look()
        left = deadline - time.monotonic()
        if left <= 0 or (memory_mb is not None and (usage.peak_memory_mb or 0.0) > memory_mb):
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=min(left, POLL_SECONDS))[0]
    return None


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _result(printed: str) -> dict[str, Any] | None:
    try:
        result = json.loads(printed)
    except ValueError:
        return None
    return result if isinstance(result, dict) else None


def _reason(code: int | None, result: object, log: Path) -> str:
    if code in FINISHED_CODES and result is not None:
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    said = lines[-1] if lines else "nothing on standard error"
    what = (
        f"exit code {code}" if code not in FINISHED_CODES else "no JSON object on standard output"
    )
    return f"{what}: {said}"[:REASON_LENGTH]
