"""What happens on a Dask worker: each trial in a child process of it, files sent back.

A Dask task cannot be stopped from outside, and a worker under a nanny may not have children. So a
task only watches: the trial runs under a ``LocalExecutor``, which enforces time and memory.
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
"""How often a task looks whether somebody still waits for it."""

ENDED = frozenset({"cancelled", "released", "forgotten"})
CLOSING = frozenset({"closing", "closed", "failed"})
MEBIBYTE = 2**20


class OnFiles(Protocol):
    """An objective that reads its rows from a file and leaves files behind."""

    @property
    def data(self) -> object:
        """The rows, or the file that holds them."""
        ...

    @property
    def artifacts(self) -> Artifacts:
        """Where scores and models go."""
        ...

    def __call__(self, trial: Trial) -> TrialResult:
        """Run a trial."""
        ...


def is_persistent(objective: Callable[[Trial], TrialResult]) -> TypeGuard[OnFiles]:
    """Whether the objective must be moved to another folder before it runs elsewhere."""
    return isinstance(getattr(objective, "artifacts", None), Artifacts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The score column that a trial is compared with."""

    name: str  # name of its file
    content: bytes  # the file


@dataclass(frozen=True, slots=True, kw_only=True)
class SentFile:
    """A file that a trial left behind."""

    folder: str  # sub-folder of the artifacts, and its name in there
    name: str
    content: bytes  # the file

    def keep(self, artifacts: Artifacts) -> None:
        """Write it into the artifacts, whole or not at all."""
        path = artifacts.folder / Path(self.folder).name / Path(self.name).name
        artifacts.replace(path, lambda partial: partial.write_bytes(self.content))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a task returns."""

    result: TrialResult  # what came of the trial
    files: tuple[SentFile, ...]  # its scores and models


class Site:
    """The place of one run on one Dask worker: rows in a file, children, a folder for results."""

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
        """Kill what runs and remove the folder; also happens when the rows are released."""
        self._ended()

    def run(self, trial: Trial, rival: Column | None, wanted: Callable[[], bool]) -> Answer:
        """Return the trial's answer; everything here is killed when it is no longer wanted."""
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
        """Take the files of a trial away; what was left half written is dropped."""
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
    """An objective on its way to the workers, scattered once per run."""

    packed: bytes  # the objective, pickled, without rows
    rows: bytes | None  # content of the rows' file; None for an objective without files
    # what was opened here, by address of the worker; stays where it is. When Dask releases the
    # cargo, because the run ended or its program died, the sites end with it
    sites: dict[str, Site] = field(default_factory=dict)

    def __reduce__(self) -> Any:
        """Leave the sites behind."""
        return WorkerPayload, (self.packed, self.rows)

    def __sizeof__(self) -> int:
        """Tell Dask how much memory it holds."""
        return len(self.packed) + len(self.rows or b"")

    def site(self, worker: Worker, memory_mb: float | None) -> Site:
        """Return the place of this run on a worker."""
        with _opening:
            if worker.address not in self.sites:
                self.sites[worker.address] = Site(self, worker, memory_mb)
            return self.sites[worker.address]

    def forget(self, worker: Worker) -> None:
        """Open a new site the next time."""
        self.sites.pop(worker.address, None)

    def unpack(self, folder: Path) -> Callable[[Trial], TrialResult]:
        """Return the objective, its rows and files in ``folder``."""
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
    """Return the objective as it is sent, without its rows."""
    bare: Any = objective
    if is_persistent(objective):
        bare = replace(bare, data=Path())
    try:
        return pickle.dumps(bare, protocol=pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as exc:
        raise InputError(unsendable(str(exc))) from exc


def rows_of(objective: Callable[[Trial], TrialResult]) -> bytes | None:
    """Return the content of the rows' file, None for an objective without files."""
    if not is_persistent(objective):
        return None
    if isinstance(objective.data, Path):
        return objective.data.read_bytes()
    stream = io.BytesIO()
    joblib.dump(objective.data, stream)
    return stream.getvalue()


def unsendable(reason: str) -> str:
    """Return the message for an objective that does not reach a Dask worker."""
    return (
        f"executor='dask' cannot send the objective to a worker: {reason}; define learners, "
        "mitigators and functions in a module that is installed on every worker of the cluster, "
        "not in a script, a notebook or another function, or use executor='local'"
    )


def run_trial(
    payload: WorkerPayload, rival: Column | None, trial: Trial, memory_mb: float | None
) -> Answer | None:
    """Run a trial on this Dask worker; None when that was already begun, on a worker that died.

    Dask itself would run the task of a dead worker again and again; how often is the controller's
    decision.
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
    """Lets this process have children: under a nanny it is a daemon, which may not.

    What the flag guards against is orphans. Ours die with the worker: their fork server ends when
    the worker is gone, and takes them along.
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
