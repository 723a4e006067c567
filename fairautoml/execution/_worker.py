"""Worker processes: memory measurement, process groups, and the loop that runs trials.

Without ``/proc``, descendants and memory are not visible; process groups still work. Windows has
no fork server: workers are spawned there, and their standard error is discarded.
"""

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import spawn
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, cast

from fairautoml.exceptions import InputError
from fairautoml.records import RunTrial

PROC = Path("/proc")

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
"""Signal that no process can ignore; Windows has one way to end a process."""

HELD = frozenset({"RssAnon", "RssShmem", "VmSwap"})
"""Private memory of a process; pages of mapped files, such as the data set, do not count."""

ROUNDS = 20
"""Maximum rounds of killing descendants, which may start others meanwhile."""

_STATE, _SESSION, _STARTED = 0, 3, 19
"""Field positions in /proc/<pid>/stat after the name; see proc_pid_stat(5)."""


def read(path: Path) -> str:
    """Return the text of a kernel file, empty if it cannot be read."""
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace")
    return ""


def started(pid: int) -> str | None:
    """Return the start time of a process, unlike a reused id unique, or None if it has ended."""
    stat = _stat(pid)
    return None if stat is None else stat[_STARTED]


def resident_mb(pid: int) -> float | None:
    """Return the private memory of a process, MiB, or None if it is not visible."""
    held = [
        int(line.split()[1])
        for line in read(PROC / str(pid) / "status").splitlines()
        if line.partition(":")[0] in HELD
    ]
    return sum(held) / 1024 if held else None


def descendants(pid: int) -> dict[int, str]:
    """Return the living descendants of a process: process id and start time."""
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
    """Return the living members of a session without its leader: process id and start time."""
    found: dict[int, str] = {}
    for name in os.listdir(PROC) if PROC.is_dir() else ():
        stat = _stat(int(name)) if name.isdigit() and int(name) != session else None
        if stat is not None and stat[_SESSION] == str(session):
            found[int(name)] = stat[_STARTED]
    return found


class Family:
    """A process group and session leader with all its descendants.

    Descendants that have left the group are found through their parents, and are remembered in
    case their parents end first.
    """

    def __init__(self, leader: int) -> None:
        self.leader = leader
        self._start = started(leader)
        self._seen: dict[int, str] = {}

    def resident_mb(self) -> float:
        """Return the private memory of all members, MiB; 0 where it is not visible."""
        members = (self.leader, *self._look())
        return sum(resident_mb(pid) or 0.0 for pid in members)

    def alone(self) -> bool:
        """Return whether the leader has no living descendants."""
        return not self._look()

    def ask_to_end(self) -> None:
        """Send SIGTERM to every member."""
        members = self._look()
        self._signal_group(signal.SIGTERM)
        _signal_all(members, signal.SIGTERM)

    def kill(self) -> None:
        """Kill every member, including those that are started meanwhile."""
        for _ in range(ROUNDS):
            # A stopped leader starts no processes, and still adopts orphans.
            if started(self.leader) == self._start is not None:
                _signal_all({self.leader: self._start}, signal.SIGSTOP)
            members = self._look() | self._remembered()
            if not self._replaced():
                members |= in_session(self.leader)
            if not members:
                break
            _signal_all(members, KILL)
        self._signal_group(KILL)

    def _look(self) -> dict[int, str]:
        found = descendants(self.leader)
        self._seen |= found
        return found

    def _remembered(self) -> dict[int, str]:
        return {pid: start for pid, start in self._seen.items() if started(pid) == start}

    def _replaced(self) -> bool:
        """Return whether the leader has ended and another process has its process id."""
        return started(self.leader) not in {None, self._start}

    def _signal_group(self, number: signal.Signals) -> None:
        if hasattr(os, "killpg") and not self._replaced():
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
    """Return the fields after the name, or None for a process that has ended."""
    fields = read(PROC / str(pid) / "stat").rpartition(")")[2].split()
    return fields if fields and fields[_STATE] not in "ZX" else None


RESERVE = 0.1
"""Share of the available memory that is reserved for other processes."""

MIB = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    """File names of a version of control groups."""

    root: str  # folder of the hierarchy, below the root of the file system
    limit: str  # files with the limit and the usage, bytes
    used: str
    cache: str  # key in ``memory.stat`` of reclaimable file pages, bytes


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
    """Return the memory limit of each worker, MiB, or None if the available memory is unknown."""
    available = available_mb(root)
    return None if available is None else (1.0 - RESERVE) * available / n_workers


def available_mb(root: Path = Path("/")) -> float | None:
    """Return the memory left to this process and its control groups, MiB, or None if unknown."""
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
        # In a container the path may be that of the host; then only the root is readable.
        names = [part for part in path.split("/") if part]
        for depth in range(len(names) + 1):
            folder = Path(root / version.root, *names[:depth])
            limit, used = read(folder / version.limit), read(folder / version.used)
            if limit.strip().isdigit() and used:
                cache = _fields(folder / "memory.stat").get(version.cache, 0)
                yield int(limit) - int(used) + cache


def _fields(path: Path) -> dict[str, int]:
    """Parse a file with a name and a number per line."""
    rows = (line.split() for line in read(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


PRELOAD = (
    "fairautoml.evaluation.evaluate",
    "fairautoml.learners.lightgbm",
    "fairautoml.learners.xgboost",
    "fairautoml.learners.logistic_regression",
)
"""Modules that the fork server imports once; it never trains, so forks are safe."""

THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""One thread per trial without busy waiting, which is 7 to 30 times slower on shared cores."""

GRACE_SECONDS = 0.2
"""Seconds between SIGTERM and SIGKILL for a trial that exceeds its time limit."""

MOST_NOISE = 1024**2
"""Bytes of standard error above which the log of a worker is truncated."""

LONGEST_WORDS = 500
"""Maximum bytes of standard error in an error message."""

MAIN = {"init_main_from_name", "init_main_from_path", "main_path"}
"""Preparation data of multiprocessing about the main script, which children do not need."""

_DIE_WITH_PARENT = 1
_ADOPT_ORPHANS = 36
_start = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where an objective is sent, for messages."""

    executor: str
    receiver: str
    module: str  # what a module must be that defines a part of the objective
    instead: str  # executor that can run it

    def pack(self, objective: RunTrial) -> bytes:
        try:
            return pickle.dumps(objective, protocol=pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, AttributeError, TypeError) as exc:
            raise InputError(self.refusal(str(exc))) from exc

    def unpack(self, packed: bytes) -> RunTrial:
        try:
            objective: RunTrial = pickle.loads(packed)
        except (pickle.UnpicklingError, AttributeError, ImportError) as exc:
            raise InputError(self.refusal(repr(exc))) from exc
        return objective

    def refusal(self, reason: str) -> str:
        """Return the message for an objective that cannot be sent."""
        return (
            f"executor={self.executor!r} cannot send the objective to {self.receiver}: {reason}; "
            f"define learners, mitigators and functions in a module that {self.module}, not in a "
            f"script, a notebook or another function, or use executor={self.instead!r}"
        )


CHILD = Destination(
    executor="local", receiver="a child process", module="can be imported", instead="serial"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """First message of a worker: it has the objective and waits for trials."""

    resident_mb: float  # memory of the idle worker, MiB; 0 where it is not visible


def serve(connection: Connection, packed: bytes, errors: Connection | None) -> None:
    """Run trials until the other end closes; the entry point of a worker process."""
    _isolate(errors)
    myself = os.getpid()
    with contextlib.suppress(EOFError, BrokenPipeError):
        try:
            objective = CHILD.unpack(packed)
        except InputError as exc:
            connection.send(str(exc))
            connection.recv()  # Keep the pipe open until the pending trial arrives.
            return
        connection.send(Ready(resident_mb=resident_mb(os.getpid()) or 0.0))
        while True:
            result = objective(connection.recv())
            if os.getpid() != myself:
                os._exit(1)  # A learner forked and the child returned; only the parent answers.
            connection.send(result)


def _isolate(errors: Connection | None) -> None:
    """Detach from the terminal, signals and process group of the user."""
    if hasattr(os, "setsid"):
        os.setsid()
    os.environ.update(THREADS)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere if errors is None else errors.fileno(), 2)
    os.close(nowhere)
    if errors is not None:
        errors.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError, TypeError):
        control = ctypes.CDLL(None).prctl
        control(_DIE_WITH_PARENT, KILL)
        control(_ADOPT_ORPHANS, 1)
    _let_go_of_fork_server()


def _let_go_of_fork_server() -> None:
    """Close the pipe that keeps the fork server alive."""
    if not _has_fork_server():
        return
    from multiprocessing import forkserver

    # The server and its children end with the last process that holds the pipe. Each child holds
    # it too, so a hanging trial would outlive a killed controller.
    server: Any = forkserver._forkserver
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = None


def _has_fork_server() -> bool:
    return "forkserver" in multiprocessing.get_all_start_methods()


def preload() -> None:
    """Start the imports of the fork server in the background, to speed up the first worker."""
    if not _has_fork_server():
        return
    from multiprocessing import forkserver

    multiprocessing.get_context("forkserver").set_forkserver_preload(list(PRELOAD))
    with _start, _environment(THREADS), _hidden_main(), contextlib.suppress(OSError):
        forkserver.ensure_running()


class Worker:
    """One child process, the pipe to it, and its standard error.

    ``floor_mb`` is its idle memory, MiB; None before its first message.
    """

    def __init__(self, packed: bytes) -> None:
        self.packed = packed
        self.floor_mb: float | None = None
        self.errors = _nameless_log() if _has_fork_server() else None
        context: Any = multiprocessing.get_context(
            "spawn" if self.errors is None else "forkserver"
        )
        if self.errors is not None:
            context.set_forkserver_preload(list(PRELOAD))
        self.connection, theirs = context.Pipe()
        # Multiprocessing transfers file descriptors only inside connections.
        errors = self.errors and Connection(os.dup(self.errors.fileno()), readable=False)
        arguments = (theirs, packed, errors)
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        with _start, _environment(THREADS), _hidden_main():
            self.process.start()
        theirs.close()
        if errors is not None:
            errors.close()
        self.family = Family(cast(int, self.process.pid))

    def reusable(self, most_mb: float | None) -> bool:
        """Return whether the worker has no children left and little memory in use."""
        if not self.process.is_alive() or not self.family.alone():
            return False
        return most_mb is None or self.family.resident_mb() <= most_mb

    def hush(self, most: int = MOST_NOISE) -> None:
        """Truncate the log of standard error if it has more than ``most`` bytes."""
        if self.errors is not None and os.fstat(self.errors.fileno()).st_size > most:
            os.ftruncate(self.errors.fileno(), 0)

    def last_words(self) -> str:
        """Return the last line on standard error, shortened; empty without one."""
        if self.errors is None:
            return ""
        descriptor = self.errors.fileno()
        tail = max(0, os.fstat(descriptor).st_size - LONGEST_WORDS)
        text = os.pread(descriptor, LONGEST_WORDS, tail).decode(errors="replace")
        return text.strip().rpartition("\n")[2]

    def kill(self, grace: float = 0.0) -> None:
        """End the process and its descendants, and wait for it; a second call has no effect."""
        if self.connection.closed:
            return
        if grace > 0:
            self.family.ask_to_end()
            self.process.join(grace)
        self.family.kill()
        # A child that has not yet created its own process group is not reached by the family.
        self.process.kill()
        self.process.join()
        self.connection.close()
        if self.errors is not None:
            self.errors.close()


def _nameless_log() -> IO[bytes]:
    """Return an unnamed temporary file in append mode."""
    import fcntl

    log = tempfile.TemporaryFile()  # noqa: SIM115
    fcntl.fcntl(log, fcntl.F_SETFL, fcntl.fcntl(log, fcntl.F_GETFL) | os.O_APPEND)
    return log


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables temporarily."""
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
    """Prevent the children that this thread starts from importing the user's script."""
    # Every child would otherwise run a script without ``if __name__ == "__main__"`` again.
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
