"""Code on a Dask worker: run each trial in a child process and send its files back.

A Dask task cannot be stopped from outside, so the task only supervises a ``LocalExecutor``, which
enforces time and memory.
"""

import io
import multiprocessing
import pickle
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeGuard

import joblib
from distributed import Event, Worker, get_client, get_worker

from fairautoml.exceptions import InputError
from fairautoml.execution import ResourceLimits
from fairautoml.execution.local import LocalExecutor
from fairautoml.records import Trial, TrialResult
from fairautoml.storage.artifacts import Artifacts

POLL_SECONDS = 0.2
"""Seconds between two checks whether the task is still needed."""

ENDED = frozenset({"cancelled", "released", "forgotten"})
CLOSING = frozenset({"closing", "closed", "failed"})
MEBIBYTE = 2**20


class OnFiles(Protocol):
    """An objective that reads its rows from a file and writes artifacts."""

    @property
    def data(self) -> object:
        """Rows, or the file that contains them."""
        ...

    @property
    def artifacts(self) -> Artifacts:
        """Storage of scores and models."""
        ...

    def __call__(self, trial: Trial) -> TrialResult:
        """Run a trial."""
        ...


def is_persistent(objective: Callable[[Trial], TrialResult]) -> TypeGuard[OnFiles]:
    """Return whether the objective uses files and must be moved to a folder of the worker."""
    return isinstance(getattr(objective, "artifacts", None), Artifacts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Score column of the incumbent that a trial is compared with."""

    name: str  # file name
    content: bytes  # content of the file


@dataclass(frozen=True, slots=True, kw_only=True)
class SentFile:
    """An artifact of a trial."""

    folder: str  # sub-folder of the artifacts, and file name
    name: str
    content: bytes  # content of the file

    def keep(self, artifacts: Artifacts) -> None:
        """Write the file into the artifacts atomically."""
        path = artifacts.folder / Path(self.folder).name / Path(self.name).name
        artifacts.replace(path, lambda partial: partial.write_bytes(self.content))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Return value of a task."""

    result: TrialResult  # result of the trial
    files: tuple[SentFile, ...]  # scores and models of the trial


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

    def run(self, trial: Trial, rival: Column | None, wanted: Callable[[], bool]) -> Answer:
        """Return the trial's answer; kill everything if the task is no longer needed."""
        if rival is not None:
            self._receive(rival)
        future = self._executor.submit(self._objective, trial)
        while not wait({future}, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED).done:
            if not wanted():
                self.close()
        return Answer(result=future.result(), files=tuple(self._leftovers(trial.key)))

    def _receive(self, rival: Column) -> None:
        if not (self._artifacts.folder / "scores" / rival.name).exists():
            SentFile(folder="scores", name=rival.name, content=rival.content).keep(self._artifacts)

    def _leftovers(self, key: str) -> Iterator[SentFile]:
        """Yield and remove the files of a trial; delete partial files."""
        for path in sorted(self._artifacts.folder.glob(f"*/*{key}.*")):
            if not path.name.startswith("."):
                yield SentFile(folder=path.parent.name, name=path.name, content=path.read_bytes())
            path.unlink()


def _end(executor: LocalExecutor, made: "tempfile.TemporaryDirectory[str]") -> None:
    executor.shutdown()
    made.cleanup()


_opening = threading.Lock()


@dataclass(slots=True, weakref_slot=True, eq=False)
class WorkerPayload:
    """An objective that is scattered to the workers once per run."""

    packed: bytes  # the pickled objective without rows
    rows: bytes | None  # content of the data file; None for an objective without files
    # sites of this process by worker address; they are not pickled, and are closed when Dask
    # releases the payload because the run or its program has ended
    sites: dict[str, Site] = field(default_factory=dict)

    def __reduce__(self) -> Any:
        """Pickle without the sites."""
        return WorkerPayload, (self.packed, self.rows)

    def __sizeof__(self) -> int:
        """Return the size in bytes, for Dask."""
        return len(self.packed) + len(self.rows or b"")

    def site(self, worker: Worker, memory_mb: float | None) -> Site:
        """Return the site of this run on a worker; create it if there is none."""
        with _opening:
            if worker.address not in self.sites:
                self.sites[worker.address] = Site(self, worker, memory_mb)
            return self.sites[worker.address]

    def forget(self, worker: Worker) -> None:
        """Remove the site of a worker, so that the next call creates a new one."""
        self.sites.pop(worker.address, None)

    def unpack(self, folder: Path) -> Callable[[Trial], TrialResult]:
        """Return the objective with its data and artifacts in ``folder``."""
        try:
            objective: Any = pickle.loads(self.packed)
        except (pickle.UnpicklingError, AttributeError, ImportError) as exc:
            raise InputError(unsendable(repr(exc))) from exc
        if self.rows is not None:
            data = folder / "data.joblib"
            data.write_bytes(self.rows)
            objective = replace(objective, data=data, artifacts=Artifacts(folder, durable=False))
        made: Callable[[Trial], TrialResult] = objective
        return made


def pack_objective(objective: Callable[[Trial], TrialResult]) -> bytes:
    """Return the pickled objective without its rows."""
    bare: Any = objective
    if is_persistent(objective):
        bare = replace(bare, data=Path())
    try:
        return pickle.dumps(bare, protocol=pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as exc:
        raise InputError(unsendable(str(exc))) from exc


def rows_of(objective: Callable[[Trial], TrialResult]) -> bytes | None:
    """Return the content of the data file, or None for an objective without files."""
    if not is_persistent(objective):
        return None
    if isinstance(objective.data, Path):
        return objective.data.read_bytes()
    stream = io.BytesIO()
    joblib.dump(objective.data, stream)
    return stream.getvalue()


def unsendable(reason: str) -> str:
    """Return the message for an objective that cannot be sent to a Dask worker."""
    return (
        f"executor='dask' cannot send the objective to a worker: {reason}; define learners, "
        "mitigators and functions in a module that is installed on every worker of the cluster, "
        "not in a script, a notebook or another function, or use executor='local'"
    )


def run_trial(
    payload: WorkerPayload, rival: Column | None, trial: Trial, memory_mb: float | None
) -> Answer | None:
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
            payload.forget(worker)
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
