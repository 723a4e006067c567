"""Executor that runs trials on a Dask cluster, in child processes of the Dask workers.

Rows are sent once; scores and models are sent back. Workers do not need the run folder, but
scheduler and workers need the same version of this package.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from fairautoml.exceptions import InputError, MissingExtraError
from fairautoml.execution import ResourceLimits
from fairautoml.execution.serial import RealTime, search_ended, seconds_until, with_trial
from fairautoml.records import RunTrial, Trial, TrialResult, TrialState
from fairautoml.storage.run_folder import library_version

try:
    import dask.config
    import distributed

    from fairautoml.execution._remote import (
        Files,
        WorkerPayload,
        is_persistent,
        keep_files,
        run_trial,
    )
except ImportError as exc:
    msg = (
        "executor='dask' needs distributed, not installed; install it with: "
        'pip install "fairautoml-search[dask]"'
    )
    raise MissingExtraError(msg) from exc

logger = logging.getLogger(__name__)

PACKAGE = "fairautoml"
POLL_SECONDS = 0.2

ATTEMPTS = 2
"""Maximum number of attempts for a trial whose worker dies."""

GRACE_SECONDS = 1.0
"""Seconds after the deadline of the run for a worker to report the result of its trial."""

CONNECT_SECONDS = 10.0
"""Timeout for the connection to the scheduler."""

PATIENCE_SECONDS = 60.0
"""Timeout for the first worker: a cluster that scales on demand has to start a machine."""

Answer = tuple[TrialResult, "Files"]


class DaskExecutor(RealTime):
    """Runs trials on a Dask cluster, with one supervising thread per running trial."""

    queued = 1
    spare = 0.0

    def __init__(self, limits: ResourceLimits) -> None:
        self._client = connect(limits.scheduler)
        threads = sum(self._client.nthreads().values())
        self.n_workers = limits.workers(max(1, threads))
        self._deadline = limits.deadline
        self._memory_mb = limits.memory_mb
        # A queued trial waits here, not on the cluster: its time limit begins when it starts.
        self._threads = ThreadPoolExecutor(self.n_workers, thread_name_prefix="fairautoml-dask")
        self._closing = threading.Event()
        self._payload: DaskPayload | None = None

    def submit(self, objective: RunTrial, trial: Trial) -> "Future[TrialResult]":
        """Queue the trial; it is sent to the cluster when a worker is free."""
        if self._payload is None or self._payload.objective is not objective:
            self._payload = DaskPayload(self._client, objective)
        return self._threads.submit(self._supervise, self._payload, trial)

    def shutdown(self) -> None:
        """Cancel all trials and release the data of the run on the cluster.

        Every pending future still gets a result. Workers kill a cancelled trial at their next
        poll.
        """
        self._closing.set()
        self._threads.shutdown(wait=True)
        self._payload = None
        self._client.close()

    def _supervise(self, payload: "DaskPayload", trial: Trial) -> TrialResult:
        reason = ""
        for attempt in range(ATTEMPTS):
            allowed = seconds_until(trial.max_seconds, self._deadline, self.spare)
            if self._closing.is_set() or (allowed is not None and allowed <= 0):
                return search_ended(trial)
            answer, reason = self._attempt(payload, replace(trial, max_seconds=allowed))
            if answer is not None:
                result, files = answer
                payload.keep(files)
                return with_trial(result, trial, allowed)
            logger.info("trial %d, attempt %d: %s", trial.number, attempt + 1, reason)
        return TrialResult(
            trial=trial, status=TrialState.WORKER_LOST, error=f"{reason}, {ATTEMPTS} times"
        )

    def _attempt(self, payload: "DaskPayload", trial: Trial) -> "tuple[Answer | None, str]":
        """Run the trial on the cluster; return its answer, or None and the reason."""
        key = f"{PACKAGE}-{trial.key}-{uuid.uuid4().hex}"
        try:
            task = self._client.submit(
                run_trial, *payload.load(trial), trial, self._memory_mb, key=key, pure=False
            )
            ended = _ended(task)
            while not ended.wait(POLL_SECONDS):
                if self._over():
                    task.cancel()
                    break
            answer = _answer_of(task)
            distributed.Event(key, client=self._client).clear()
        except (OSError, CancelledError, distributed.client.ClosedClientError) as exc:
            # Without a scheduler each attempt fails at once; the pause avoids a busy loop.
            self._closing.wait(POLL_SECONDS)
            return None, f"no answer from the cluster: {exc}"
        if answer is None or (answer[0].status is TrialState.STOPPED and not self._over()):
            return None, "the Dask worker died"
        return answer, ""

    def _over(self) -> bool:
        if self._closing.is_set():
            return True
        return self._deadline is not None and time.monotonic() > self._deadline + GRACE_SECONDS


class DaskPayload:
    """An objective and the data of its trials on the workers."""

    def __init__(self, client: Any, objective: RunTrial) -> None:
        self.objective = objective
        self._client = client
        self._payload = WorkerPayload.of(objective)
        self._lock = threading.Lock()
        self._sent: dict[str, Any] = {}

    def load(self, trial: Trial) -> tuple[Any, Any]:
        """Return futures of the payload and of the files of earlier trials that the trial reads.

        Each is sent once to all workers, and again only if all workers that had it died.
        """
        with self._lock:
            payload = self._scattered("payload", lambda: self._payload)
            if not is_persistent(self.objective):
                return payload, {}
            names = [f"scores/{trial.rival}.npy"] if trial.rival else []
            if trial.n_taken:
                names += [f"scores/{trial.parent}.npy", f"models/{trial.parent}.joblib"]
            folder = self.objective.artifacts.folder
            paths = {name: folder / name for name in names if (folder / name).exists()}
            key = ", ".join(paths)
            for old in self._sent.keys() - {"payload", key}:
                del self._sent[old]
            if not paths:
                return payload, {}
            return payload, self._scattered(
                key, lambda: {name: path.read_bytes() for name, path in paths.items()}
            )

    def keep(self, files: Files) -> None:
        """Store the files of a trial."""
        if is_persistent(self.objective):
            keep_files(files, self.objective.artifacts)

    def _scattered(self, name: str, make: Callable[[], Any]) -> Any:
        known = self._sent.get(name)
        if known is None or known.status != "finished":
            (known,) = self._client.scatter([make()], broadcast=True, hash=False)
            self._sent[name] = known
        return known


def connect(scheduler: str | None) -> Any:
    """Return a new client of the cluster; raise if its workers cannot run this version."""
    address, security = _address(scheduler)
    try:
        client = distributed.Client(
            address, security=security, set_as_default=False, timeout=CONNECT_SECONDS, name=PACKAGE
        )
    except (OSError, ValueError, ImportError) as exc:
        msg = (
            f"Dask({address!r}) does not answer ({exc}); give the address that `dask "
            "scheduler` printed, such as 'tcp://host:8786', or use executor='local'"
        )
        raise InputError(msg) from exc
    reason = _unfit(client)
    if reason:
        client.close()
        msg = (
            f"the cluster at {address!r} cannot run {PACKAGE} {library_version(PACKAGE)}: "
            f"{reason}; start workers, with the same version installed as here"
        )
        raise InputError(msg)
    return client


def _address(scheduler: str | None) -> tuple[str, Any]:
    """Return the scheduler's address and, if a client is open, its security settings."""
    if scheduler is not None:
        return scheduler, None
    configured = dask.config.get("scheduler-address", default=None)
    if configured is not None:
        return str(configured), None
    try:
        client = distributed.default_client()
    except ValueError as exc:
        msg = (
            "executor='dask' does not know its cluster: Dask's configuration has no "
            "'scheduler-address', and no dask.distributed.Client is open; give the address that "
            "`dask scheduler` printed, such as executor=Dask('tcp://host:8786')"
        )
        raise InputError(msg) from exc
    return str(client.scheduler.address), client.security


def _unfit(client: Any) -> str:
    """Return why the workers cannot run trials, or an empty string if they can."""
    here = library_version(PACKAGE)
    future = client.submit(installed, key=f"{PACKAGE}-{uuid.uuid4().hex}", pure=False)
    if not _ended(future).wait(PATIENCE_SECONDS):
        return f"no worker answered within {PATIENCE_SECONDS:.0f} s"
    if future.status != "finished":
        return repr(future.exception())
    found = client.run(installed)
    others = [f"{where} has {what}" for where, what in found.items() if what != here]
    return ", ".join(others[:3])


def installed() -> str:
    """Return the installed version of this package."""
    return library_version(PACKAGE)


def _ended(task: Any) -> threading.Event:
    """Return an event for the end of the task; ``distributed.wait`` needs a default client."""
    ended = threading.Event()
    task.add_done_callback(lambda _: ended.set())
    return ended


def _answer_of(task: Any) -> Answer | None:
    """Return the answer of a task, or None if its worker died."""
    if task.status == "error":
        error = task.exception()
        if isinstance(error, InputError):
            raise error
        if isinstance(error, distributed.KilledWorker):
            return None
        raise OSError(repr(error)) from error
    if task.status != "finished":
        return None
    return task.result()


EXECUTOR = DaskExecutor
