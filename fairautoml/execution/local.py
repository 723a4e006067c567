"""Trials in child processes of this machine, killed at their deadline or memory limit.

One child per worker, started from a fork server that has the libraries loaded; a child that
crashes or is killed costs its own trial only and is replaced. What a learner prints is thrown
away; ``executor="serial"`` shows it.
"""

import logging
import threading
import time
from collections.abc import Callable, Set
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace

from fairautoml.execution import Limits
from fairautoml.execution._hiring import Hiring
from fairautoml.execution._memory import fair_share_mb
from fairautoml.execution._supervisor import Cap, Supervisor, less
from fairautoml.execution._worker import Worker, pack
from fairautoml.execution.serial import as_asked, seconds_until
from fairautoml.trials import Budget, Status, Trial, TrialResult

logger = logging.getLogger(__name__)

KEPT_MEMORY = 0.5
"""A worker that holds more than this share of its limit after a trial is replaced."""


class LocalExecutor:
    """One supervising thread and one child process per worker.

    A trial whose worker was killed from outside is run once more on a new worker, in the time it
    has left; no other failure is tried again, as it would fail again.
    """

    queued = 1
    spare = 0.0

    def __init__(self, limits: Limits) -> None:
        self.n_workers = limits.workers(1)
        self._deadline = limits.deadline
        self._cap = _cap(limits)
        self._threads = ThreadPoolExecutor(self.n_workers, thread_name_prefix="fairautoml")
        self._idle: list[Worker] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._objective: Callable[[Trial], TrialResult] | None = None
        self._packed = b""

    def submit(
        self, objective: Callable[[Trial], TrialResult], trial: Trial
    ) -> "Future[TrialResult]":
        """Queue the trial; it starts when a worker is free."""
        if self._objective is not objective:
            self._packed, self._objective = pack(objective), objective
        return self._threads.submit(self._run, self._packed, trial)

    def now(self) -> float:
        """Return ``time.monotonic()``."""
        return time.monotonic()

    def wait(
        self, running: "Set[Future[TrialResult]]", seconds: float
    ) -> "set[Future[TrialResult]]":
        """Return the futures that have ended, at the latest after ``seconds``."""
        return wait(running, timeout=seconds, return_when=FIRST_COMPLETED).done

    def shutdown(self) -> None:
        """Kill what runs; every pending future still gets a result."""
        self._closing.set()
        self._threads.shutdown(wait=True)
        with self._lock:
            while self._idle:
                self._idle.pop().kill()

    def _run(self, packed: bytes, trial: Trial) -> TrialResult:
        start = time.monotonic()
        budget = allowed = seconds_until(trial.budget, self._deadline, self.spare)
        if self._closing.is_set() or _is_spent(budget):
            return TrialResult(trial=trial, status=Status.STOPPED, error="the search ended")
        result = self._attempt(packed, replace(trial, budget=budget), self._idle_worker(packed))
        if result.status is Status.LOST:
            budget = less(budget, time.monotonic() - start)
            if not self._closing.is_set() and not _is_spent(budget):
                logger.info("trial %d is run again: %s", trial.number, result.error)
                result = self._attempt(packed, replace(trial, budget=budget), None)
        return as_asked(result, trial, allowed)

    def _attempt(self, packed: bytes, trial: Trial, worker: Worker | None) -> TrialResult:
        """Run the trial on the worker, on a new one without."""
        start = time.monotonic()
        if worker is None:
            try:
                worker = Hiring(packed).result(trial.budget.seconds, self._closing)
            except (OSError, EOFError) as exc:
                error = f"no worker process could be started: {exc!r}"
                return TrialResult(trial=trial, status=Status.LOST, error=error)
        if worker is None:
            return self._without_worker(trial, time.monotonic() - start)
        result = Supervisor(worker, self._cap, self._closing, start).run(trial)
        self._dismiss(worker)
        return result

    def _without_worker(self, trial: Trial, used: float) -> TrialResult:
        if self._closing.is_set():
            return TrialResult(trial=trial, status=Status.STOPPED, error="the search ended")
        error = f"no worker process was ready within {used:.1f} s"
        return TrialResult(trial=trial, status=Status.TIMEOUT, error=error, seconds=used)

    def _idle_worker(self, packed: bytes) -> Worker | None:
        """Return an idle worker with this objective, None when there is none."""
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.packed is packed and worker.process.is_alive():
                    return worker
                worker.kill()
        return None

    def _dismiss(self, worker: Worker) -> None:
        """Keep the worker for the next trial, if that cannot be hurt by the last one."""
        if not worker.reusable(None if self._cap is None else KEPT_MEMORY * self._cap.megabytes):
            worker.kill()
            return
        with self._lock:
            self._idle.append(worker)


def _cap(limits: Limits) -> Cap | None:
    if limits.memory_mb is not None:
        return Cap(megabytes=limits.memory_mb, asked=True)
    share = fair_share_mb(limits.workers(1)) if limits.share_mb is None else limits.share_mb
    return None if share is None else Cap(megabytes=share, asked=False)


def _is_spent(budget: Budget) -> bool:
    return budget.seconds is not None and budget.seconds <= 0


EXECUTOR = LocalExecutor
