"""One trial on one worker, watched: its time, its memory, its end."""

import pickle
import signal
import threading
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import wait as wait_for_pipe

from fairautoml.exceptions import InputError
from fairautoml.execution._worker import GRACE_SECONDS, Ready, Worker
from fairautoml.trials import Budget, Status, Trial, TrialResult

POLL_SECONDS = 0.1
"""How often a trial is looked at."""

CLOSE_POLL_SECONDS = 0.02
"""The same when it holds more than half of its memory: some learners take 4 GiB a second."""

LEAST_FLOORS = 2.0
"""A fair share is at least so many times what an idle worker holds: a full machine is no reason to
kill everything."""

REAP_SECONDS = 1.0
"""Time in which a worker that has closed its pipe must have ended."""

SERVER_DIED = 255
"""Exit code that multiprocessing reports when the fork server was killed with its children."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """Memory that a trial may take."""

    megabytes: float  # miB, what a worker holds when it is idle included, the mapped rows not
    asked: bool  # the user named it; else it is a fair share, and never too small for a worker


class Supervisor:
    """Runs a trial on a worker, and kills the worker with all its children when it must.

    After ``run`` the worker is dead unless the result is the objective's own.
    """

    def __init__(
        self, worker: Worker, cap: Cap | None, closing: threading.Event, start: float
    ) -> None:
        self._worker = worker
        self._cap = cap
        self._closing = closing
        self._start = start
        self._peak = 0.0

    def run(self, trial: Trial) -> TrialResult:
        """Return what came of the trial."""
        result = self._hand_over(trial)
        while result is None:
            left = less(trial.budget, time.monotonic() - self._start).seconds
            if self._closing.is_set():
                self._worker.kill()
                result = self._ended(trial, Status.STOPPED, "the search ended")
            elif left is not None and left <= 0:
                result = self._out_of_time(trial)
            else:
                result = self._look(trial, left)
        return result

    def _hand_over(self, trial: Trial) -> TrialResult | None:
        self._worker.hush(0)
        budget = less(trial.budget, time.monotonic() - self._start)
        try:
            self._worker.connection.send(replace(trial, budget=budget))
        except OSError:
            return self._gone(trial)
        return None

    def _look(self, trial: Trial, left: float | None) -> TrialResult | None:
        """Wait for news, not long; return the result when there is one."""
        most = self._most_mb
        close = most is not None and self._peak > most / 2
        poll = CLOSE_POLL_SECONDS if close else POLL_SECONDS
        pipe = self._worker.connection
        ready = wait_for_pipe(
            [pipe, self._worker.process.sentinel], poll if left is None else min(poll, left)
        )
        if pipe in ready:
            return self._received(trial)
        if ready:
            return self._gone(trial)
        self._worker.hush()
        self._peak = max(self._peak, self._worker.family.held_mb())
        return self._out_of_memory(trial) if most is not None and self._peak > most else None

    def _received(self, trial: Trial) -> TrialResult | None:
        """Return the result that is in the pipe; None for another message."""
        try:
            message: TrialResult | Ready | str = self._worker.connection.recv()
        except (EOFError, OSError):
            return self._gone(trial)
        except (pickle.UnpicklingError, AttributeError, ImportError, TypeError, ValueError) as exc:
            return self._unreadable(trial, repr(exc))
        if isinstance(message, Ready):
            self._check_floor(message.held_mb)
            return None
        if isinstance(message, str):
            self._worker.kill()
            raise InputError(message)
        if not isinstance(message, TrialResult) or message.trial.key != trial.key:
            return self._unreadable(trial, f"a {type(message).__name__} of its own")
        return message

    @property
    def _most_mb(self) -> float | None:
        """Memory to kill at, MiB; None until the worker has said what it holds when idle."""
        if self._cap is None or self._worker.floor_mb is None:
            return None
        least = 0.0 if self._cap.asked else LEAST_FLOORS * self._worker.floor_mb
        return max(self._cap.megabytes, least)

    def _check_floor(self, floor_mb: float) -> None:
        self._worker.floor_mb = floor_mb
        if self._cap is not None and self._cap.asked and self._cap.megabytes < floor_mb:
            self._worker.kill()
            msg = (
                f"memory_limit={self._cap.megabytes:g} is below the {floor_mb:.0f} MiB floor, "
                "which an idle worker holds already; allow several times as much, or None for a "
                "fair share of the machine"
            )
            raise InputError(msg)

    def _out_of_time(self, trial: Trial) -> TrialResult:
        used = time.monotonic() - self._start
        self._worker.kill(GRACE_SECONDS)
        error = f"killed after {used:.1f} s; the limit was {trial.budget.seconds:.1f} s"
        return self._ended(trial, Status.TIMEOUT, error)

    def _out_of_memory(self, trial: Trial) -> TrialResult:
        self._worker.kill()
        error = f"killed at {self._peak:.0f} MiB; the limit was {self._most_mb:.0f} MiB"
        return self._ended(trial, Status.MEMOUT, error)

    def _unreadable(self, trial: Trial, found: str) -> TrialResult:
        self._worker.kill()
        error = f"the worker process answered with {found} instead of the trial's result"
        return self._ended(trial, Status.CRASHED, error)

    def _gone(self, trial: Trial) -> TrialResult:
        """Return why a worker is gone that was not killed here."""
        process = self._worker.process
        process.join(REAP_SECONDS)
        code, words = process.exitcode, self._worker.last_words()
        self._worker.kill()
        if self._closing.is_set():
            return self._ended(trial, Status.STOPPED, "the search ended")
        if code == -signal.SIGKILL:
            error = "the worker process was killed from outside (out of memory?)"
            return self._ended(trial, Status.LOST, error)
        if code == SERVER_DIED:
            error = "the worker process ended together with its fork server, or with exit code 255"
            return self._ended(trial, Status.LOST, error)
        error = f"the worker process {_manner(code)}"
        return self._ended(trial, Status.CRASHED, f"{error}: {words}" if words else error)

    def _ended(self, trial: Trial, status: Status, error: str) -> TrialResult:
        return TrialResult(
            trial=trial,
            status=status,
            error=error,
            seconds=time.monotonic() - self._start,
            peak_memory_mb=self._peak,
        )


def less(budget: Budget, seconds: float) -> Budget:
    """Return what is left of a budget after some of its seconds."""
    if budget.seconds is None:
        return budget
    return replace(budget, seconds=max(0.0, budget.seconds - seconds))


def _manner(code: int | None) -> str:
    """Return how a process ended, for people."""
    if code is None:
        return "closed its pipe and went on"
    if code < 0 and -code in set(signal.Signals):
        return f"died of {signal.Signals(-code).name} (exit code {code})"
    return f"died (exit code {code})"
