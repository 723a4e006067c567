"""Processes as ``/proc`` shows them: who descends from whom, and how much memory they hold.

Without ``/proc`` nothing is seen: no descendants, no memory; process groups still work.
"""

import contextlib
import os
import signal
from pathlib import Path

PROC = Path("/proc")

HELD = frozenset({"RssAnon", "RssShmem", "VmSwap"})
"""What a process holds for itself; pages of mapped files, such as the table, are not in it."""

ROUNDS = 20
"""Looks for descendants that were started while others were being killed."""

_STATE, _SESSION, _STARTED = 0, 3, 19
"""Places in /proc/<pid>/stat after the name; see proc_pid_stat(5)."""


def read(path: Path) -> str:
    """Return the text of a file of the kernel, empty when it cannot be read."""
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace")
    return ""


def started(pid: int) -> str | None:
    """Return when a process began, clock ticks since boot; None when it has ended.

    Number and start together name a process for good, as numbers are used again.
    """
    stat = _stat(pid)
    return None if stat is None else stat[_STARTED]


def held_mb(pid: int) -> float | None:
    """Return the memory a process holds for itself, MiB; None when that cannot be seen."""
    held = [
        int(line.split()[1])
        for line in read(PROC / str(pid) / "status").splitlines()
        if line.partition(":")[0] in HELD
    ]
    return sum(held) / 1024 if held else None


def descendants(pid: int) -> dict[int, str]:
    """Return the living descendants of a process: number and start."""
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        for child in _children(waiting.pop()):
            start = started(child)
            if start is not None and child not in found:
                found[child] = start
                waiting.append(child)
    return found


def in_session(session: int) -> dict[int, str]:
    """Return the living members of a session but its leader: number and start."""
    found: dict[int, str] = {}
    for name in os.listdir(PROC) if PROC.is_dir() else ():
        stat = _stat(int(name)) if name.isdigit() and int(name) != session else None
        if stat is not None and stat[_SESSION] == str(session):
            found[int(name)] = stat[_STARTED]
    return found


class Family:
    """A leader of a process group and session, and all that descends from it.

    Members that have left the group are found through their parents; whoever was seen once is
    remembered, so that it is also found when its parents are gone.
    """

    def __init__(self, leader: int) -> None:
        self.leader = leader
        self._start = started(leader)
        self._seen: dict[int, str] = {}

    def held_mb(self) -> float:
        """Return the memory that all members hold, MiB; 0 where it cannot be seen."""
        members = (self.leader, *self._look())
        return sum(held_mb(pid) or 0.0 for pid in members)

    def alone(self) -> bool:
        """Whether the leader has no living descendants."""
        return not self._look()

    def ask_to_end(self) -> None:
        """Send SIGTERM to every member."""
        members = self._look()
        self._signal_group(signal.SIGTERM)
        _signal_all(members, signal.SIGTERM)

    def kill(self) -> None:
        """Kill every member, those that the others start meanwhile included."""
        for _ in range(ROUNDS):
            # A leader that stands still starts nobody, and orphans come to it.
            if started(self.leader) == self._start is not None:
                _signal_all({self.leader: self._start}, signal.SIGSTOP)
            members = self._look() | self._remembered()
            if not self._replaced():
                members |= in_session(self.leader)
            if not members:
                break
            _signal_all(members, signal.SIGKILL)
        self._signal_group(signal.SIGKILL)

    def _look(self) -> dict[int, str]:
        found = descendants(self.leader)
        self._seen |= found
        return found

    def _remembered(self) -> dict[int, str]:
        return {pid: start for pid, start in self._seen.items() if started(pid) == start}

    def _replaced(self) -> bool:
        """Whether the leader is gone and a stranger has its number."""
        return started(self.leader) not in {None, self._start}

    def _signal_group(self, number: signal.Signals) -> None:
        if not self._replaced():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.leader, number)


def _signal_all(members: dict[int, str], number: signal.Signals) -> None:
    for pid, start in members.items():
        if started(pid) == start:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def _children(pid: int) -> list[int]:
    tasks = PROC / str(pid) / "task"
    with contextlib.suppress(OSError):
        return [
            int(child)
            for task in os.listdir(tasks)
            for child in read(tasks / task / "children").split()
        ]
    return []


def _stat(pid: int) -> list[str] | None:
    """Return the fields after the name, None for a process that has ended."""
    fields = read(PROC / str(pid) / "stat").rpartition(")")[2].split()
    return fields if fields and fields[_STATE] not in "ZX" else None
