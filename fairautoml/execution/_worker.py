"""A child process that runs one trial after the other, and can be killed at any time."""

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
from typing import IO, Any, cast

from fairautoml.exceptions import InputError
from fairautoml.execution._processes import Family, held_mb
from fairautoml.trials import Trial, TrialResult

PRELOAD = (
    "fairautoml.evaluation.objective",
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

    held_mb: float  # memory that it holds with nothing to do, MiB; 0 where it cannot be seen


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
        connection.send(Ready(held_mb=held_mb(os.getpid()) or 0.0))
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


def warm_up() -> None:
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
        return most_mb is None or self.family.held_mb() <= most_mb

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
