"""Executor that runs trials in child processes of this machine.

Each worker is a child of a fork server that has the libraries loaded; a child that crashes or is
killed loses only its own trial and is replaced. The output of learners is discarded.
"""

import logging
import pickle
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing.connection import wait as wait_for_pipe

from fairautoml.exceptions import InputError
from fairautoml.execution import ResourceLimits
from fairautoml.execution._worker import (
    CHILD,
    GRACE_SECONDS,
    KILL,
    Ready,
    Worker,
    memory_per_worker_mb,
)
from fairautoml.execution.serial import RealTime, search_ended, seconds_until, with_trial
from fairautoml.records import RunTrial, Trial, TrialResult, TrialState

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.1
"""Seconds between two looks at a worker."""

CLOSE_POLL_SECONDS = 0.02
"""The same above half of the memory limit: some learners allocate 4 GiB per second."""

LEAST_FLOORS = 2.0
"""Minimum memory limit as a multiple of an idle worker, so that low memory kills no idle one."""

REAP_SECONDS = 1.0
"""Seconds in which a worker that has closed its pipe must end."""

SERVER_DIED = 255
"""Exit code that multiprocessing reports when the fork server was killed with its children."""

KEPT_MEMORY = 0.5
"""Share of its memory limit above which a worker is replaced after a trial."""


class PendingWorker:
    """A worker that is being started; the caller need not wait for it."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._abandoned = False
        self._worker: Worker | None = None
        self._error: Exception | None = None
        # The start of a process cannot be interrupted; a daemon thread lets the program end.
        threading.Thread(target=self._start, name="fairautoml-hiring", daemon=True).start()

    def result(self, seconds: float | None, closing: threading.Event) -> Worker | None:
        """Return the worker, or None if it is too late; it is then killed after its start."""
        end = None if seconds is None else time.monotonic() + seconds
        while not self._over.wait(POLL_SECONDS):
            if closing.is_set() or (end is not None and time.monotonic() >= end):
                break
        with self._lock:
            self._abandoned = self._worker is None
            if self._error is not None:
                raise self._error
            return self._worker

    def _start(self) -> None:
        try:
            worker = Worker(self._packed)
            with self._lock:
                if self._abandoned:
                    worker.kill()
                else:
                    self._worker = worker
        except (OSError, EOFError, RuntimeError, AssertionError) as exc:
            self._error = exc
        finally:
            self._over.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """Memory limit of a trial."""

    megabytes: float  # MiB, including the idle worker, without the memory-mapped rows
    explicit: bool  # whether the user set it; otherwise it is a share of the available memory


class Watchdog:
    """Runs a trial on a worker and kills the worker with its children when a limit is exceeded.

    After ``run`` the worker is alive only if the objective returned the result.
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
        result = self._hand_over(trial)
        while result is None:
            left = less(trial.max_seconds, time.monotonic() - self._start)
            if self._closing.is_set():
                self._worker.kill()
                result = self._ended(trial, TrialState.STOPPED, "the search ended")
            elif left is not None and left <= 0:
                result = self._out_of_time(trial)
            else:
                result = self._look(trial, left)
        return result

    def _hand_over(self, trial: Trial) -> TrialResult | None:
        self._worker.hush(0)
        left = less(trial.max_seconds, time.monotonic() - self._start)
        try:
            self._worker.connection.send(replace(trial, max_seconds=left))
        except OSError:
            return self._gone(trial)
        return None

    def _look(self, trial: Trial, left: float | None) -> TrialResult | None:
        """Poll the worker once; return the result if there is one."""
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
        self._peak = max(self._peak, self._worker.family.resident_mb())
        return self._out_of_memory(trial) if most is not None and self._peak > most else None

    def _received(self, trial: Trial) -> TrialResult | None:
        """Return the result in the pipe, or None for another message."""
        try:
            message: TrialResult | Ready | str = self._worker.connection.recv()
        except (EOFError, OSError):
            return self._gone(trial)
        except (pickle.UnpicklingError, AttributeError, ImportError, TypeError, ValueError) as exc:
            return self._unreadable(trial, repr(exc))
        if isinstance(message, Ready):
            self._check_floor(message.resident_mb)
            return None
        if isinstance(message, str):
            self._worker.kill()
            raise InputError(message)
        if not isinstance(message, TrialResult) or message.trial.key != trial.key:
            return self._unreadable(trial, f"a {type(message).__name__} of its own")
        return message

    @property
    def _most_mb(self) -> float | None:
        """Memory limit, MiB; None until the worker has reported its idle memory."""
        if self._cap is None or self._worker.floor_mb is None:
            return None
        least = 0.0 if self._cap.explicit else LEAST_FLOORS * self._worker.floor_mb
        return max(self._cap.megabytes, least)

    def _check_floor(self, floor_mb: float) -> None:
        self._worker.floor_mb = floor_mb
        if self._cap is not None and self._cap.explicit and self._cap.megabytes < floor_mb:
            self._worker.kill()
            msg = (
                f"memory_limit={self._cap.megabytes:g} is below the {floor_mb:.0f} MiB floor that "
                "an idle worker needs; allow several times as much, or pass None for a share of "
                "the available memory"
            )
            raise InputError(msg)

    def _out_of_time(self, trial: Trial) -> TrialResult:
        used = time.monotonic() - self._start
        self._worker.kill(GRACE_SECONDS)
        error = f"killed after {used:.1f} s; the limit was {trial.max_seconds:.1f} s"
        return self._ended(trial, TrialState.TIMEOUT, error)

    def _out_of_memory(self, trial: Trial) -> TrialResult:
        self._worker.kill()
        error = f"killed at {self._peak:.0f} MiB; the limit was {self._most_mb:.0f} MiB"
        return self._ended(trial, TrialState.OUT_OF_MEMORY, error)

    def _unreadable(self, trial: Trial, found: str) -> TrialResult:
        self._worker.kill()
        error = f"the worker process answered with {found} instead of the trial's result"
        return self._ended(trial, TrialState.CRASHED, error)

    def _gone(self, trial: Trial) -> TrialResult:
        """Return the result for a worker that ended by itself or was killed from outside."""
        process = self._worker.process
        process.join(REAP_SECONDS)
        code, words = process.exitcode, self._worker.last_words()
        self._worker.kill()
        if self._closing.is_set():
            return self._ended(trial, TrialState.STOPPED, "the search ended")
        if code == -KILL:
            error = "the worker process was killed from outside (out of memory?)"
            return self._ended(trial, TrialState.WORKER_LOST, error)
        if code == SERVER_DIED:
            error = "the worker process ended together with its fork server, or with exit code 255"
            return self._ended(trial, TrialState.WORKER_LOST, error)
        error = f"the worker process {_manner(code)}"
        return self._ended(trial, TrialState.CRASHED, f"{error}: {words}" if words else error)

    def _ended(self, trial: Trial, status: TrialState, error: str) -> TrialResult:
        return TrialResult(
            trial=trial,
            status=status,
            error=error,
            seconds=time.monotonic() - self._start,
            peak_memory_mb=self._peak,
        )


def less(max_seconds: float | None, seconds: float) -> float | None:
    """Return a time limit minus some seconds."""
    return None if max_seconds is None else max(0.0, max_seconds - seconds)


def _manner(code: int | None) -> str:
    """Return a human-readable exit reason of a process."""
    if code is None:
        return "closed its pipe and kept running"
    if code < 0 and -code in set(signal.Signals):
        return f"died of {signal.Signals(-code).name} (exit code {code})"
    return f"died (exit code {code})"


class LocalExecutor(RealTime):
    """Runs each worker as a child process with a supervising thread.

    A trial whose worker was killed from outside is run once more on a new worker in the time left;
    other failures are not retried, because they would repeat.
    """

    queued = 1
    spare = 0.0

    def __init__(self, limits: ResourceLimits) -> None:
        self.n_workers = limits.workers(1)
        self._deadline = limits.deadline
        self._cap = _cap(limits)
        self._threads = ThreadPoolExecutor(self.n_workers, thread_name_prefix="fairautoml")
        self._idle: list[Worker] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._objective: RunTrial | None = None
        self._packed = b""

    def submit(self, objective: RunTrial, trial: Trial) -> "Future[TrialResult]":
        """Queue the trial; it starts when a worker is free."""
        if self._objective is not objective:
            self._packed, self._objective = CHILD.pack(objective), objective
        return self._threads.submit(self._run, self._packed, trial)

    def shutdown(self) -> None:
        """Kill all running trials; every pending future still gets a result."""
        self._closing.set()
        self._threads.shutdown(wait=True)
        with self._lock:
            while self._idle:
                self._idle.pop().kill()

    def _run(self, packed: bytes, trial: Trial) -> TrialResult:
        start = time.monotonic()
        left = allowed = seconds_until(trial.max_seconds, self._deadline, self.spare)
        if self._closing.is_set() or _is_spent(left):
            return search_ended(trial)
        result = self._attempt(packed, replace(trial, max_seconds=left), self._idle_worker(packed))
        if result.status is TrialState.WORKER_LOST:
            left = less(left, time.monotonic() - start)
            if not self._closing.is_set() and not _is_spent(left):
                logger.info("trial %d is run again: %s", trial.number, result.error)
                result = self._attempt(packed, replace(trial, max_seconds=left), None)
        return with_trial(result, trial, allowed)

    def _attempt(self, packed: bytes, trial: Trial, worker: Worker | None) -> TrialResult:
        """Run the trial on the worker, or on a new one if it is None."""
        start = time.monotonic()
        if worker is None:
            try:
                worker = PendingWorker(packed).result(trial.max_seconds, self._closing)
            except (OSError, EOFError) as exc:
                error = f"no worker process could be started: {exc!r}"
                return TrialResult(trial=trial, status=TrialState.WORKER_LOST, error=error)
        if worker is None:
            return self._without_worker(trial, time.monotonic() - start)
        result = Watchdog(worker, self._cap, self._closing, start).run(trial)
        self._dismiss(worker)
        return result

    def _without_worker(self, trial: Trial, used: float) -> TrialResult:
        if self._closing.is_set():
            return search_ended(trial)
        error = f"no worker process was ready within {used:.1f} s"
        return TrialResult(trial=trial, status=TrialState.TIMEOUT, error=error, seconds=used)

    def _idle_worker(self, packed: bytes) -> Worker | None:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.packed is packed and worker.process.is_alive():
                    return worker
                worker.kill()
        return None

    def _dismiss(self, worker: Worker) -> None:
        """Reuse the worker if it has no leftovers of the last trial, else kill it."""
        if not worker.reusable(None if self._cap is None else KEPT_MEMORY * self._cap.megabytes):
            worker.kill()
            return
        with self._lock:
            self._idle.append(worker)


def _cap(limits: ResourceLimits) -> Cap | None:
    if limits.memory_mb is not None:
        return Cap(megabytes=limits.memory_mb, explicit=True)
    share = memory_per_worker_mb(limits.workers(1)) if limits.share_mb is None else limits.share_mb
    return None if share is None else Cap(megabytes=share, explicit=False)


def _is_spent(seconds: float | None) -> bool:
    return seconds is not None and seconds <= 0


EXECUTOR = LocalExecutor
