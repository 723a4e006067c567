"""A child process that runs one trial after the other, and can be killed at any time."""

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from fairautoml.exceptions import InputError
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


def pack(objective: Callable[[Trial], TrialResult]) -> bytes:
    """Return the objective as it is sent to a child.

    Parameters
    ----------
    objective : callable
        Runs a trial.

    Raises
    ------
    InputError
        It cannot be pickled.
    """
    try:
        return pickle.dumps(objective, protocol=pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as exc:
        raise InputError(unsendable(str(exc))) from exc


def unsendable(reason: str) -> str:
    """Return the message for an objective that does not reach a child.

    Parameters
    ----------
    reason : str
        What pickle said.
    """
    return (
        f"executor='local' cannot send the objective to a child process: {reason}; define "
        "learners, mitigators and functions in a module that can be imported, not in a script, "
        "a notebook or another function, or use executor='serial'"
    )


def serve(connection: Connection, packed: bytes) -> None:
    """Run trials until the other end closes; the entry point of a worker process.

    Parameters
    ----------
    connection : Connection
        Trials come in, results go out; a string instead of a result says why there is none.
    packed : bytes
        What ``pack`` returned. Unpacked after the environment is set, as libraries read it when
        they are loaded and the fork server may have been started by somebody else.
    """
    os.setsid()
    os.environ.update(THREADS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    with contextlib.suppress(EOFError, BrokenPipeError):
        try:
            objective = pickle.loads(packed)
        except (pickle.UnpicklingError, AttributeError, ImportError) as exc:
            connection.send(unsendable(str(exc)))
            connection.recv()  # The trial that is on its way: the pipe stays open until then.
            return
        while True:
            connection.send(objective(connection.recv()))


class Worker:
    """One child process and the pipe to it.

    Parameters
    ----------
    packed : bytes
        The objective, by ``pack``; sent to the child once.
    """

    def __init__(self, packed: bytes) -> None:
        self.packed = packed
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOAD))
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, packed), daemon=True)
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
