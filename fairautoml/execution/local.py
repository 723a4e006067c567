"""Trials in child processes of this machine, killed at their deadline.

One child per worker, started from a fork server that has the libraries loaded; a child that
crashes or is killed costs its own trial only and is replaced.
"""

import signal
import threading
import time
from collections.abc import Callable, Set
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from multiprocessing.connection import wait as wait_for_pipe

from fairautoml.exceptions import InputError
from fairautoml.execution import Limits
from fairautoml.execution._worker import Worker, pack
from fairautoml.execution.serial import seconds_until
from fairautoml.trials import Status, Trial, TrialResult

POLL_SECONDS = 0.2


class LocalExecutor:
    """One supervising thread and one child process per worker.

    Parameters
    ----------
    limits : Limits
        Number of workers; deadline of the run.
    """

    queued = 1

    def __init__(self, limits: Limits) -> None:
        self.n_workers = limits.n_workers
        self._deadline = limits.deadline
        self._threads = ThreadPoolExecutor(limits.n_workers, thread_name_prefix="fairautoml")
        self._idle: list[Worker] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._objective: Callable[[Trial], TrialResult] | None = None
        self._packed = b""

    def submit(
        self, objective: Callable[[Trial], TrialResult], trial: Trial
    ) -> "Future[TrialResult]":
        """Queue the trial; it starts when a worker is free.

        Raises
        ------
        InputError
            The objective cannot be pickled.
        """
        if self._objective is not objective:
            self._packed, self._objective = pack(objective), objective
        return self._threads.submit(self._supervise, self._packed, trial)

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

    def _supervise(self, packed: bytes, trial: Trial) -> TrialResult:
        start = time.monotonic()
        budget = seconds_until(trial.budget, self._deadline)
        if self._closing.is_set() or (budget.seconds is not None and budget.seconds <= 0):
            return TrialResult(trial=trial, status=Status.STOPPED, error="the search ended")
        worker = self._worker(packed)
        result = self._run(worker, trial, replace(trial, budget=budget), start)
        if result is not None:
            with self._lock:
                self._idle.append(worker)
            return replace(result, trial=trial)
        worker.kill()
        status, error = self._death(worker, budget.seconds, time.monotonic() - start)
        return TrialResult(
            trial=trial, status=status, error=error, seconds=time.monotonic() - start
        )

    def _worker(self, packed: bytes) -> Worker:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.packed is packed and worker.process.is_alive():
                    return worker
                worker.kill()
        return Worker(packed)

    def _run(
        self, worker: Worker, trial: Trial, allowed: Trial, start: float
    ) -> TrialResult | None:
        """Send the trial and wait; None when the child died or its time is up."""
        try:
            worker.connection.send(allowed)
            while not self._closing.is_set():
                left = POLL_SECONDS
                if allowed.budget.seconds is not None:
                    left = min(left, allowed.budget.seconds - (time.monotonic() - start))
                if left <= 0:
                    return None
                ready = wait_for_pipe([worker.connection, worker.process.sentinel], timeout=left)
                if worker.connection in ready:
                    return self._received(worker)
                if ready:
                    return None
        except (EOFError, OSError):
            return None
        return None

    @staticmethod
    def _received(worker: Worker) -> TrialResult:
        result: TrialResult | str = worker.connection.recv()
        if isinstance(result, str):
            worker.kill()
            raise InputError(result)
        return result

    def _death(self, worker: Worker, limit: float | None, used: float) -> tuple[Status, str]:
        if self._closing.is_set():
            return Status.STOPPED, "the search ended"
        if limit is not None and used >= limit:
            return Status.TIMEOUT, f"killed after {used:.1f} s; the limit was {limit:.1f} s"
        code = worker.process.exitcode
        if code == -signal.SIGKILL:
            return Status.LOST, "the worker process was killed from outside (out of memory?)"
        return Status.CRASHED, f"the worker process died (exit code {code})"


EXECUTOR = LocalExecutor
