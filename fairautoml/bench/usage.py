"""What a cell takes of the machine: processor time and memory, its child processes included."""

import os

from fairautoml.execution._processes import PROC, descendants, held_mb, read, started

_USER, _SYSTEM = 11, 12
"""Places in /proc/<pid>/stat after the name; see proc_pid_stat(5)."""


class Usage:
    """Adds up what a process and its descendants take, seen at every look.

    What starts and ends between two looks is missed, so both numbers are lower bounds. Without
    ``/proc`` nothing is seen.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ticks: dict[tuple[int, str], int] = {}
        self._most = 0.0

    def look(self) -> None:
        """Take in what is there now."""
        start = started(self._pid)
        if start is None:
            return
        members = {self._pid: start, **descendants(self._pid)}
        for pid, began in members.items():
            ticks = _ticks_of(pid)
            if ticks is not None:
                self._ticks[pid, began] = ticks
        self._most = max(self._most, sum(held_mb(pid) or 0.0 for pid in members))

    @property
    def cpu_seconds(self) -> float | None:
        """Processor time so far, s; None when nothing was seen."""
        if not self._ticks:
            return None
        return round(sum(self._ticks.values()) / os.sysconf("SC_CLK_TCK"), 2)

    @property
    def peak_memory_mb(self) -> float | None:
        """Most memory held at any look, MiB; None when nothing was seen."""
        return round(self._most, 1) if self._most > 0.0 else None


def _ticks_of(pid: int) -> int | None:
    fields = read(PROC / str(pid) / "stat").rpartition(")")[2].split()
    return int(fields[_USER]) + int(fields[_SYSTEM]) if len(fields) > _SYSTEM else None
