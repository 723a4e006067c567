"""A child process that runs one trial after the other, and can be killed at any time."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

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

_DIE_WITH_PARENT = 1
_start = threading.Lock()


def serve(connection: Connection, objective: Callable[[Trial], TrialResult]) -> None:
    """Run trials until the other end closes; the entry point of a worker process.

    Parameters
    ----------
    connection : Connection
        Trials come in, results go out.
    objective : callable
        Runs a trial.
    """
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            connection.send(objective(connection.recv()))


class Worker:
    """One child process and the pipe to it.

    Parameters
    ----------
    objective : callable
        Runs a trial; sent to the child once.
    """

    def __init__(self, objective: Callable[[Trial], TrialResult]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOAD))
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, objective), daemon=True)
        with _start, _environment(THREADS), _hidden_main():
            self.process.start()
        theirs.close()

    def kill(self) -> None:
        """End the process and everything that it started; returns when it is gone."""
        pid = self.process.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            self.process.kill()
        self.process.join()
        self.connection.close()


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
    """Keep the child from running the user's script again.

    A script without ``if __name__ == "__main__"``, or one read from standard input, would be
    imported by every child; nothing of it is needed there.
    """
    main: Any = sys.modules["__main__"]
    missing = object()
    before = {name: getattr(main, name, missing) for name in ("__file__", "__spec__")}
    for name, value in before.items():
        if value is not missing:
            setattr(main, name, None)
    if before["__file__"] is not missing:
        del main.__file__
    try:
        yield
    finally:
        for name, value in before.items():
            if value is not missing:
                setattr(main, name, value)
