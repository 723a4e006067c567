"""Code on a Dask worker: run each trial in a child process and send its files back.

A Dask task cannot be stopped from outside, so the task only supervises a ``LocalExecutor``, which
enforces time and memory.
"""

import multiprocessing
import tempfile
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeGuard

import joblib
from distributed import Event, Worker, get_client, get_worker

from fairautoml.execution import ResourceLimits
from fairautoml.execution._worker import Destination
from fairautoml.execution.local import LocalExecutor
from fairautoml.records import RunTrial, Trial, TrialResult
from fairautoml.storage.artifacts import Artifacts

POLL_SECONDS = 0.2
"""Seconds between two checks whether the task is still needed."""

ENDED = frozenset({"cancelled", "released", "forgotten"})
CLOSING = frozenset({"closing", "closed", "failed"})
MEBIBYTE = 2**20


class OnFiles(Protocol):
    """An objective that reads its rows from a file and writes artifacts."""

    data: object  # rows, or the file that contains them
    artifacts: Artifacts  # storage of scores and models

    def __call__(self, trial: Trial) -> TrialResult:
        """Run a trial."""


def is_persistent(objective: RunTrial) -> TypeGuard[OnFiles]:
    """Return whether the objective uses files and must be moved to a folder of the worker."""
    return isinstance(getattr(objective, "artifacts", None), Artifacts)


Files = dict[str, bytes]
"""Content of artifacts by sub-folder and file name, such as ``"scores/00001-ab.npy"``."""

CLUSTER = Destination(
    executor="dask",
    receiver="a worker",
    module="is installed on every worker of the cluster",
    instead="local",
)


def keep_files(files: Files, artifacts: Artifacts) -> None:
    """Write files into the artifacts atomically."""
    for name, content in files.items():
        folder, file = Path(name).parts[-2:]
        artifacts.replace(artifacts.folder / folder / file, content)


class Site:
    """State of one run on one Dask worker: data file, child processes and artifacts."""

    def __init__(self, payload: "WorkerPayload", worker: Worker, memory_mb: float | None) -> None:
        made = tempfile.TemporaryDirectory(
            prefix="fairautoml-", dir=worker.local_directory, ignore_cleanup_errors=True
        )
        folder = Path(made.name)
        threads, limit = worker.state.nthreads, worker.memory_manager.memory_limit
        limits = ResourceLimits(
            n_workers=threads,
            memory_mb=memory_mb,
            share_mb=limit / threads / MEBIBYTE if limit else None,
        )
        self._artifacts = Artifacts(folder, durable=False)
        self._artifacts.prepare()
        self._objective = payload.unpack(folder)
        self._executor = LocalExecutor(limits)
        self._ended = weakref.finalize(self, _end, self._executor, made)

    def close(self) -> None:
        """Kill running trials and remove the folder; called also when the payload is released."""
        self._ended()

    def run(
        self, trial: Trial, rival: Files, wanted: Callable[[], bool]
    ) -> tuple[TrialResult, Files]:
        """Return the trial's result and files; kill everything if the task is not needed."""
        missing = {n: c for n, c in rival.items() if not (self._artifacts.folder / n).exists()}
        keep_files(missing, self._artifacts)
        future = self._executor.submit(self._objective, trial)
        while not wait({future}, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED).done:
            if not wanted():
                self.close()
        return future.result(), self._taken(trial.key)

    def _taken(self, key: str) -> Files:
        """Return and remove the files of a trial; delete partial files."""
        files: Files = {}
        for path in sorted(self._artifacts.folder.glob(f"*/*{key}.*")):
            if not path.name.startswith("."):
                files[f"{path.parent.name}/{path.name}"] = path.read_bytes()
            path.unlink()
        return files


def _end(executor: LocalExecutor, made: "tempfile.TemporaryDirectory[str]") -> None:
    executor.shutdown()
    made.cleanup()


_opening = threading.Lock()


@dataclass(slots=True, weakref_slot=True, eq=False)
class WorkerPayload:
    """An objective that is scattered to the workers once per run."""

    packed: bytes  # the objective without rows; a worker that cannot import it says so
    rows: Any = None  # its rows; None for an objective without files
    # sites of this process by worker address; they are not sent, and are closed when Dask
    # releases the payload because the run or its program has ended
    sites: dict[str, Site] = field(default_factory=dict)

    @classmethod
    def of(cls, objective: RunTrial) -> "WorkerPayload":
        if not is_persistent(objective):
            return cls(CLUSTER.pack(objective))
        bare: Any = objective
        rows = objective.data
        if isinstance(rows, Path):
            rows = joblib.load(rows, mmap_mode="r")
        return cls(CLUSTER.pack(replace(bare, data=Path())), rows)

    def __reduce__(self) -> Any:
        """Send no sites."""
        return WorkerPayload, (self.packed, self.rows)

    def site(self, worker: Worker, memory_mb: float | None) -> Site:
        """Return the site of this run on a worker; create it if there is none."""
        with _opening:
            if worker.address not in self.sites:
                self.sites[worker.address] = Site(self, worker, memory_mb)
            return self.sites[worker.address]

    def unpack(self, folder: Path) -> RunTrial:
        """Return the objective with its data and artifacts in ``folder``."""
        objective: Any = CLUSTER.unpack(self.packed)
        if self.rows is not None:
            data = folder / "data.joblib"
            joblib.dump(self.rows, data)
            objective = replace(objective, data=data, artifacts=Artifacts(folder, durable=False))
        return objective


def run_trial(
    payload: WorkerPayload, rival: Files, trial: Trial, memory_mb: float | None
) -> tuple[TrialResult, Files] | None:
    """Run a trial on this Dask worker; return None if a worker that died had already begun it.

    Dask would run the task of a dead worker repeatedly; the executor limits the attempts instead.
    """
    worker = get_worker()
    key = worker.get_current_task()
    begun = Event(key, client=get_client())
    if begun.is_set():
        return None
    begun.set()

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        alive = task is not None and task.state not in ENDED
        if not alive or worker.status.name in CLOSING:
            payload.sites.pop(worker.address, None)  # The next call creates a new one.
            return False
        return True

    with _children_allowed:
        return payload.site(worker, memory_mb).run(trial, rival, wanted)


class _ChildrenAllowed:
    """Allows child processes of this process, which is a daemon under a Dask nanny.

    The daemon flag prevents orphans. Here the fork server ends with the worker and kills its
    children, so there are none.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._daemon = False

    def __enter__(self) -> None:
        process = multiprocessing.current_process()
        with self._lock:
            if self._inside == 0:
                self._daemon = process.daemon
                process.daemon = False
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                multiprocessing.current_process().daemon = self._daemon


_children_allowed = _ChildrenAllowed()
