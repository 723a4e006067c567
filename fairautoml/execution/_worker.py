"""The process of one trial: its memory, its time, its result.

Without ``/proc`` nothing is seen: no descendants, no memory; process groups still work.
"""

import contextlib
import ctypes
import fcntl
import multiprocessing
import os
import pickle
import resource
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import forkserver, spawn
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, cast

from fairautoml.exceptions import InputError
from fairautoml.records import Trial, TrialResult

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


def resident_mb(pid: int) -> float | None:
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

    def resident_mb(self) -> float:
        """Return the memory that all members hold, MiB; 0 where it cannot be seen."""
        members = (self.leader, *self._look())
        return sum(resident_mb(pid) or 0.0 for pid in members)

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


RESERVE = 0.1
"""Share of the available memory that trials leave to everything else."""

MIB = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    """Where a version of control groups says what."""

    root: str  # folder of the hierarchy, below the root of the file system
    limit: str  # files with bytes
    used: str
    cache: str  # key in ``memory.stat`` of file pages that can be given back, bytes


FIRST = _Version(
    root="sys/fs/cgroup/memory",
    limit="memory.limit_in_bytes",
    used="memory.usage_in_bytes",
    cache="total_inactive_file",
)
SECOND = _Version(
    root="sys/fs/cgroup", limit="memory.max", used="memory.current", cache="inactive_file"
)


def memory_per_worker_mb(n_workers: int, root: Path = Path("/")) -> float | None:
    """Return the memory that each of the trials may take, MiB; None when nothing says it."""
    available = available_mb(root)
    return None if available is None else (1.0 - RESERVE) * available / n_workers


def available_mb(root: Path = Path("/")) -> float | None:
    """Return what can still be had without swapping, MiB; None when nothing says it.

    The smallest of what the kernel calls available and what each control group above this process
    leaves.
    """
    known = [left / MIB for left in _left_in_groups(root)]
    machine = _fields(root / "proc/meminfo").get("MemAvailable:")
    if machine is not None:
        known.append(machine / 1024)
    return max(0.0, min(known)) if known else None


def _left_in_groups(root: Path) -> Iterator[float]:
    for line in read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            version = SECOND
        elif "memory" in controllers.split(","):
            version = FIRST
        else:
            continue
        # In a container the path may be the one outside: then only the root is there to be read.
        names = [part for part in path.split("/") if part]
        for depth in range(len(names) + 1):
            folder = Path(root / version.root, *names[:depth])
            limit, used = read(folder / version.limit), read(folder / version.used)
            if limit.strip().isdigit() and used:
                cache = _fields(folder / "memory.stat").get(version.cache, 0)
                yield int(limit) - int(used) + cache


def _fields(path: Path) -> dict[str, int]:
    """Return the numbers of a file with a name and a number per line."""
    rows = (line.split() for line in read(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


PRELOAD = (
    "fairautoml.evaluation.evaluate",
    "fairautoml.learners.lightgbm",
    "fairautoml.learners.xgboost",
    "fairautoml.learners.logistic_regression",
)
"""Imported once in the fork server; it imports only and never trains, so forks are safe."""

THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""One thread per trial, and none that waits by spinning: 7 to 30 times slower on shared cores."""

GRACE_SECONDS = 0.2
"""Between SIGTERM and SIGKILL, for a trial whose time is up."""

MOST_NOISE = 1024**2
"""Bytes of its standard error that are kept of a worker; then they are thrown away."""

LONGEST_WORDS = 500
"""Characters of the last line on standard error that go into a message."""

MAIN = {"init_main_from_name", "init_main_from_path", "main_path"}
"""What a child is told of the script that started it."""

_DIE_WITH_PARENT = 1
_ADOPT_ORPHANS = 36
_start = threading.Lock()


def pack(objective: Callable[[Trial], TrialResult]) -> bytes:
    """Return the objective as it is sent to a child."""
    try:
        return pickle.dumps(objective, protocol=pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as exc:
        raise InputError(unsendable(str(exc))) from exc


def unsendable(reason: str) -> str:
    """Return the message for an objective that does not reach a child."""
    return (
        f"executor='local' cannot send the objective to a child process: {reason}; define "
        "learners, mitigators and functions in a module that can be imported, not in a script, "
        "a notebook or another function, or use executor='serial'"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A worker's first message: it has the objective and waits for trials."""

    resident_mb: float  # memory that it holds with nothing to do, MiB; 0 where it cannot be seen


def serve(connection: Connection, packed: bytes, errors: Connection) -> None:
    """Run trials until the other end closes; the entry point of a worker process."""
    _isolate(errors)
    myself = os.getpid()
    with contextlib.suppress(EOFError, BrokenPipeError):
        try:
            objective = pickle.loads(packed)
        except (pickle.UnpicklingError, AttributeError, ImportError) as exc:
            connection.send(unsendable(str(exc)))
            connection.recv()  # The trial that is on its way: the pipe stays open until then.
            return
        connection.send(Ready(resident_mb=resident_mb(os.getpid()) or 0.0))
        while True:
            result = objective(connection.recv())
            if os.getpid() != myself:
                os._exit(1)  # A learner forked and both came back: only one of them answers.
            connection.send(result)


def _isolate(errors: Connection) -> None:
    """Leave the terminal, signals and process group of the user alone."""
    os.setsid()
    os.environ.update(THREADS)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    os.dup2(errors.fileno(), 2)
    errors.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):
        control = ctypes.CDLL(None).prctl
        control(_DIE_WITH_PARENT, signal.SIGKILL)
        control(_ADOPT_ORPHANS, 1)
    _let_go_of_fork_server()


def _let_go_of_fork_server() -> None:
    """Close the pipe that keeps the fork server alive, so that a hanging trial does not.

    The server ends when the last process that holds the pipe has ended, and its children are
    killed with it. Each child holds the pipe too, to have children of its own: a trial that hangs
    would outlive a killed controller for ever.
    """
    server: Any = forkserver._forkserver
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = None


def preload() -> None:
    """Let the fork server import what workers need, and go on: the first worker waits for less."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(PRELOAD))
    with _start, _environment(THREADS), _hidden_main(), contextlib.suppress(OSError):
        forkserver.ensure_running()


class Worker:
    """One child process, the pipe to it, and what it writes on standard error.

    ``floor_mb`` is what it holds when idle, MiB; None before its first message.
    """

    def __init__(self, packed: bytes) -> None:
        self.packed = packed
        self.floor_mb: float | None = None
        self.errors = _nameless_log()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOAD))
        self.connection, theirs = context.Pipe()
        # Multiprocessing hands file descriptors over inside connections only.
        errors = Connection(os.dup(self.errors.fileno()), readable=False)
        arguments = (theirs, packed, errors)
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        with _start, _environment(THREADS), _hidden_main():
            self.process.start()
        theirs.close()
        errors.close()
        self.family = Family(cast(int, self.process.pid))

    def reusable(self, most_mb: float | None) -> bool:
        """Whether the next trial finds a clean worker: nothing still runs, little is held."""
        if not self.process.is_alive() or not self.family.alone():
            return False
        return most_mb is None or self.family.resident_mb() <= most_mb

    def hush(self, most: int = MOST_NOISE) -> None:
        """Throw away what is on standard error when it is more than ``most`` bytes."""
        if os.fstat(self.errors.fileno()).st_size > most:
            os.ftruncate(self.errors.fileno(), 0)

    def last_words(self) -> str:
        """Return the last line on standard error, cut short; empty without one."""
        descriptor = self.errors.fileno()
        tail = max(0, os.fstat(descriptor).st_size - LONGEST_WORDS)
        text = os.pread(descriptor, LONGEST_WORDS, tail).decode(errors="replace")
        return text.strip().rpartition("\n")[2]

    def kill(self, grace: float = 0.0) -> None:
        """End the process and everything that it started; returns when it is gone.

        A second call does nothing.
        """
        if self.connection.closed:
            return
        if grace > 0:
            self.family.ask_to_end()
            self.process.join(grace)
        self.family.kill()
        # A child that was killed before it had a group of its own is not in the family's.
        self.process.kill()
        self.process.join()
        self.connection.close()
        self.errors.close()


def _nameless_log() -> IO[bytes]:
    """Return a file that is gone with its last user, and that is always written at its end."""
    log = tempfile.TemporaryFile()  # noqa: SIM115
    fcntl.fcntl(log, fcntl.F_SETFL, fcntl.fcntl(log, fcntl.F_GETFL) | os.O_APPEND)
    return log


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables for what is started inside, and nothing else."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _hidden_main() -> Iterator[None]:
    """Keep a child that this thread starts from running the user's script again.

    A script without ``if __name__ == "__main__"``, or one read from standard input, would be
    imported by every child; nothing of it is needed there. The script itself sees no difference.
    """
    mine, usual = threading.get_ident(), spawn.get_preparation_data

    def without_main(name: str) -> dict[str, Any]:
        found: dict[str, Any] = usual(name)
        kept = found if threading.get_ident() != mine else {*found} - MAIN
        return {key: found[key] for key in kept}

    spawn.get_preparation_data = without_main
    try:
        yield
    finally:
        spawn.get_preparation_data = usual
