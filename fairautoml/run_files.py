"""Store a run in its folder, and read a previous run to resume it."""

import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fairautoml.certification.certificate import Certificate, certificate_text
from fairautoml.data.files import write_csv
from fairautoml.evaluation.membership import MEMBERSHIP_KEY
from fairautoml.exceptions import (
    ModelCorruptError,
    NotPortableError,
    ResumeMismatchError,
    StorageCorruptError,
)
from fairautoml.inference.restore import StoredModels, read_models, stored_models
from fairautoml.learners._own import described
from fairautoml.plan import Plan
from fairautoml.records import BASELINE, TrialRecord, best_of
from fairautoml.report.summary import describe_config, describe_entry
from fairautoml.report.view import describe_groups
from fairautoml.search.strategies._optuna import distributions
from fairautoml.selection.pool import Pool
from fairautoml.settings import DEFAULT_FOLDS, RunStorage, check_objective, plain_learners
from fairautoml.storage.artifacts import Artifacts, file_hash, make_private
from fairautoml.storage.journal import JournalFile, corrupt
from fairautoml.storage.plain import check_record, packed
from fairautoml.storage.run_folder import (
    DATABASE,
    EXPLANATION,
    LIBRARIES,
    STUDY,
    RunFolder,
    library_version,
    read_json,
    remedy_for,
    scratch,
)
from fairautoml.storage.study import (
    Database,
    Display,
    PreviousTrials,
    Study,
    check_same,
    content_hash,
    read_past,
    text_hash,
)

FILE_NAME = re.compile(r"-?\d{1,9}-[0-9a-f]{16}(\.refit)?")
"""Name of a file of models: key of a trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLocation:
    """Storage location of a run."""

    path: Path  # run folder
    overwrite: bool = False  # whether a previous run may be replaced
    resume: bool = False  # whether a previous run is continued
    server: Database | None = None  # PostgreSQL database for the trials

    @property
    def database(self) -> Database:
        """Database of the trials."""
        return _file(self.path) if self.server is None else self.server

    @property
    def storage(self) -> str | None:
        """The server without the password, None for the file."""
        return None if self.server is None else self.server.name


def locate(storage: RunStorage) -> RunLocation:
    """Return the storage location of a run."""
    return RunLocation(
        path=Path(storage.path),
        overwrite=storage.if_exists == "overwrite",
        resume=storage.if_exists == "resume",
        server=None if storage.url is None else _server(storage.url),
    )


def _server(url: str) -> Database:
    # SQLAlchemy takes .1 s to import, and a file needs none of it.
    from fairautoml.storage.server import server_at

    return server_at(url)


def _file(folder: Path) -> JournalFile:
    path = folder / DATABASE
    return JournalFile(path, str(path))


class PreviousRun:
    """A run to resume: its folder is locked and read, but not changed."""

    def __init__(self, place: RunLocation) -> None:
        self.place = place
        self.folder = RunFolder(place.path, resume=True)
        with ExitStack() as undo:
            undo.callback(self.folder.close)
            self.past = self._read()
            undo.pop_all()

    def _read(self) -> PreviousTrials:
        about = read_json(self.place.path, STUDY)
        study, storage = _about(about, self.place.path)
        if storage != self.place.storage:
            was = "the folder (url=None)" if storage is None else repr(storage)
            raise ResumeMismatchError(
                f"RunStorage.url={self.place.storage!r}: the trials of {str(self.place.path)!r} "
                f"are recorded in {was}; give that to resume"
            )
        with _copied(self.place) as database:
            past = read_past(database, study)
        lost = self.folder.logged_trials() - past.numbers
        if lost:
            raise corrupt(
                self.place.database.name,
                f"{len(lost)} trials of trials.jsonl are not in it, for example {min(lost)}; "
                "was its -wal file removed?",
            )
        return past


def _about(about: Any, path: Path) -> tuple[str, str | None]:
    if isinstance(about, dict) and isinstance(about.get("study"), str):
        return about["study"], about.get("storage")
    raise StorageCorruptError(f"{str(path / STUDY)!r} is damaged: it does not name a study")


@contextmanager
def _copied(place: RunLocation) -> Iterator[Database]:
    """Yield a copy, because opening a database after a crash changes its file."""
    if place.server is not None:
        yield place.server
        return
    with scratch() as made:
        for suffix in ("", "-wal"):
            source = place.path / f"{DATABASE}{suffix}"
            if source.is_file():
                shutil.copyfile(source, made / source.name)
        yield JournalFile(made / DATABASE, place.database.name)


class RunWriter:
    """Writer of a running search: stores every trial and, at the end, the model."""

    def __init__(self, folder: RunFolder, study: Study, plan: Plan) -> None:
        self.study = study
        self._folder = folder
        self._plan = plan

    @property
    def artifacts(self) -> Artifacts:
        """Store of scores and fold models."""
        return self._folder.artifacts

    def keep(self, record: TrialRecord) -> None:
        """Write a stored trial to the human-readable log."""
        self._folder.append_trial(_line(record, self._plan))

    def finish(self, model: Any, groups: Mapping[str, Any]) -> None:
        """Write the files of a finished run."""
        save_model(self._folder, model, groups)

    def close(self) -> None:
        """Close the database and unlock the folder."""
        with ExitStack() as last:
            last.callback(self._folder.close)
            last.callback(self._folder.artifacts.drop_pickles)
            self.study.close(time.monotonic() - self._plan.start)


@dataclass(frozen=True, slots=True)
class Run:
    """An open run."""

    artifacts: Artifacts  # scores and fold models
    writer: RunWriter | None = None  # None = nothing is stored on disk

    @property
    def study(self) -> Study | None:
        """Database of the trials."""
        return None if self.writer is None else self.writer.study

    @property
    def keep(self) -> Callable[[TrialRecord], None] | None:
        """Listener that stores a trial."""
        return None if self.writer is None else self.writer.keep


def storable(model: Any) -> Any:
    """Return a copy of an estimator for a run folder, without objects that hold code."""
    stored = object.__new__(type(model))
    stored.__dict__.update(model.__dict__)
    # Neither callbacks nor the password of a database are stored.
    stored.callbacks = None
    if callable(model.objective):
        # The loaded model needs the name of a function only.
        stored.objective = check_objective(model.objective).name
    stored.learners = plain_learners(model)
    if not isinstance(model.cv, Integral):
        stored.cv = DEFAULT_FOLDS
    if isinstance(model.run_dir, RunStorage):
        url = None if model.run_dir.url is None else locate(model.run_dir).storage
        # A later ``fit`` of the loaded model neither replaces nor continues the run unasked.
        stored.run_dir = RunStorage(model.run_dir.path, url=url)
    return stored


def save_model(folder: RunFolder, model: Any, groups: Mapping[str, Any]) -> None:
    """Write leaderboard, groups, summary and, last, the model.

    The certificate of the model before it stays under a number.
    """
    pickled = _stage(folder, model)
    try:
        folder.stage_portable(model.export)
    except NotPortableError:
        folder.stage_portable(None)
    if (folder.path / "certificate.json").is_file():
        _number_certificate(folder)
    # They belong to the previously selected model.
    for name in ("holdout.json", EXPLANATION, "certificate.json", "certificate.txt"):
        (folder.path / name).unlink(missing_ok=True)
    folder.write_json("groups.json", dict(groups))
    _write_results(folder, model)
    folder.place_model({"best": model.summary_["best"]}, pickled=pickled)


def _write_results(folder: RunFolder, model: Any) -> None:
    board = model.leaderboard_
    folder.write("leaderboard.csv", lambda path: write_csv(board, path))
    folder.write("leaderboard.json", lambda path: board.to_json(path, orient="records"))
    folder.write_json("summary.json", dict(model.summary_))


def save_selection(folder: RunFolder, model: Any) -> None:
    """Write a model that ``select`` returned as the selected one, with its certificate if any."""
    pool = model.pool_
    groups = describe_groups(pool.board, pool.rows_by_label, pool.groups)
    save_model(folder, storable(model), groups)
    if model.certificate_ is not None:
        save_certificate(folder, model)


def save_certificate(folder: RunFolder, model: Any) -> None:
    """Write a model that was certified: its leaderboard, summary and certificate, then itself.

    Earlier certificates stay as ``certificate.1.json``, ``certificate.2.json``, ...
    """
    pickled = _stage(folder, storable(model))
    document, page = model.certificate_.to_bytes(), certificate_text(model.certificate_)
    _write_results(folder, model)
    latest = folder.path / "certificate.json"
    if latest.is_file() and latest.read_bytes() != document:
        _number_certificate(folder)
    folder.write("certificate.json", lambda path: path.write_bytes(document))
    folder.write("certificate.txt", lambda path: path.write_text(page, encoding="utf-8"))
    folder.place_model({"best": model.summary_["best"]}, pickled=pickled)


def _stage(folder: RunFolder, model: Any) -> bool:
    """Write the estimator as records, or as a pickle; return whether it is a pickle."""
    try:
        models = _write_models(folder.artifacts, model.pool_)
        folder.stage_records(packed({**_records_of(model), "models": models}))
    except NotPortableError:
        folder.stage_pickle(model)
        return True
    return False


def _write_models(artifacts: Artifacts, pool: Pool) -> dict[str, tuple[str, str, int | None]]:
    """Write the models that no trial has written.

    Returns the name of the file, its hash and the number of fold models (None for all), by trial.
    """
    models: dict[str, Any] = {**pool.bags}
    if pool.membership is not None:
        models[MEMBERSHIP_KEY] = pool.membership
    found = {}
    for key, model in models.items():
        name = f"{key}.refit" if key in pool.refitted else key
        path = artifacts.portable(name)
        if key in pool.refitted or not path.is_file():
            content = stored_models(model, pool.schema.width, sparse=pool.schema.sparse)
            artifacts.write_portable(name, content)
        found[key] = (name, file_hash(path), pool.n_models(key))
    return found


PLAIN_ATTRIBUTES = (
    "interrupted_", "seed_", "notes_", "summary_", "_entry_notes", "_applies", "_guessing",
    "_training_rows", "_sequence",
)  # fmt: skip
"""Fitted attributes that are records; the others follow from them and the pool."""

POOL = (
    "schema", "groups", "classes", "seed", "task", "rows_by_label", "board", "best",
    "fitted_groups",
)  # fmt: skip
"""Fields of a pool that are records."""


def _records_of(model: Any) -> dict[str, Any]:
    """Return a fitted estimator as records, without its models."""
    params, trials, certificate = model.get_params(deep=False), model.trials_, model.certificate_
    if not isinstance(model.random_state, int | None):
        params["random_state"] = model.seed_
    if not isinstance(model.strategy, str):
        # A sampler of the user is needed for another fit only.
        params["strategy"] = "auto"
    rows = trials.astype(object).where(trials.notna(), None).to_dict("records")
    return {
        "params": {**params, "callbacks": None},
        "task_option": model.task_option,
        "fitted": {name: getattr(model, name) for name in PLAIN_ATTRIBUTES},
        "pool": {name: getattr(model.pool_, name) for name in POOL},
        "trials": (list(trials.columns), rows),
        "certificates": [(entry, _text_of(one)) for entry, one in model._certificates],
        "certificate": None if certificate is None else _text_of(certificate),
    }


def restore_estimator(model: Any, records: Mapping[str, Any], models: Mapping[str, Any]) -> None:
    """Set parameters and fitted attributes from records and the models of the pool."""
    bags = {key: one for key, one in models.items() if key != MEMBERSHIP_KEY}
    refitted = frozenset(key for key, (name, *_) in records["models"].items() if name != key)
    kept = {**records["pool"], "bags": bags, "refitted": refitted}
    pool = Pool(**kept, membership=models.get(MEMBERSHIP_KEY))
    check_record(pool, "bags", "membership")
    model.set_params(**records["params"])
    if records["task_option"] != model.task_option:
        model.task_option = records["task_option"]
    for name in PLAIN_ATTRIBUTES:
        setattr(model, name, records["fitted"][name])
    model._certificates = tuple((e, _certificate_of(text)) for e, text in records["certificates"])
    model.pool_ = pool
    model._serve(pool, pool.best)
    last, (columns, rows) = records["certificate"], records["trials"]
    model.certificate_ = None if last is None else _certificate_of(last)
    model.trials_ = pd.DataFrame(rows, columns=columns)
    model._tabulate(pool.board, pool.board.frame())


def _text_of(certificate: Certificate) -> str:
    return certificate.to_bytes().decode("ascii")


def _certificate_of(text: str) -> Certificate:
    return Certificate.from_bytes(text.encode("ascii"))


def _number_certificate(folder: RunFolder) -> None:
    earlier = (folder.path / "certificate.json").read_bytes()
    kept = {path.name: path.read_bytes() for path in folder.path.glob("certificate.*.json")}
    if earlier not in kept.values():
        name = next(one for n in count(1) if (one := f"certificate.{n}.json") not in kept)
        folder.write(name, lambda path: path.write_bytes(earlier))


def read_models_of(
    folder: Path, listed: Mapping[str, tuple[str, str, int | None]]
) -> dict[str, StoredModels]:
    """Return the models of a run folder by trial, after a check of their hashes."""
    found = {}
    for key, (name, sha256, n_models) in listed.items():
        path = Artifacts(folder).portable(name)
        named = FILE_NAME.fullmatch(name) is not None
        if not named or not path.is_file() or file_hash(path) != sha256:
            msg = f"{str(path)!r} is not the file that was written: {remedy_for(folder)}"
            raise ModelCorruptError(msg)
        models = read_models(path)
        found[key] = models if n_models is None else models.first(n_models)
    return found


def begin(
    plan: Plan,
    place: RunLocation | PreviousRun | None,
    parameters: Mapping[str, Any],
) -> RunWriter | None:
    """Return the writer of a new or resumed run, None without a storage location."""
    if place is None:
        return None
    return (
        _resume(plan, place, parameters)
        if isinstance(place, PreviousRun)
        else _start(plan, place, parameters)
    )


def _start(plan: Plan, place: RunLocation, parameters: Mapping[str, Any]) -> RunWriter:
    if place.server is not None:
        # A wrong password must not delete the run that is to be replaced.
        place.server.check()
    folder = RunFolder(place.path, overwrite=place.overwrite)
    with ExitStack() as undo:
        undo.callback(folder.close)
        write_config(folder, parameters, place, plan.seed)
        name = place.path.name
        if place.server is None:
            # SQLite creates its journal files with the same mode.
            make_private(place.path / DATABASE)
        else:
            # A server holds runs of many folders, and folders can have the same name.
            name = f"{name} {uuid.uuid4().hex[:8]}"
        study = Study(
            place.database,
            name,
            folder.artifacts,
            _display(plan),
            seed=plan.seed,
            time_budget=plan.first_budget,
            fingerprint=_fingerprint(plan),
        )
        undo.callback(study.close)
        folder.write_json(STUDY, {"study": name, "storage": place.storage})
        undo.pop_all()
    return RunWriter(folder, study, plan)


def _resume(plan: Plan, previous: PreviousRun, parameters: Mapping[str, Any]) -> RunWriter:
    place, folder, past = previous.place, previous.folder, previous.past
    check_same(past.fingerprint, _fingerprint(plan), str(place.path))
    folder.take()
    folder.artifacts.drop_pickles()
    _drop_damaged(folder.artifacts.portable(MEMBERSHIP_KEY))
    with ExitStack() as undo:
        study = Study.resume(place.database, past, folder.artifacts, _display(plan))
        undo.callback(study.close)
        if folder.logged_trials() != past.numbers:
            # The last line of the log may be torn or missing; the database is authoritative.
            folder.write_trials([_line(record, plan) for record in study.past])
        write_config(folder, parameters, place, plan.seed)
        undo.pop_all()
    return RunWriter(folder, study, plan)


def _drop_damaged(path: Path) -> None:
    """Delete models that cannot be read, so that they are trained again."""
    try:
        if path.is_file():
            read_models(path)
    except ModelCorruptError:
        path.unlink()


def write_config(
    folder: RunFolder, parameters: Mapping[str, Any], place: RunLocation, seed: int
) -> None:
    """Write the parameters of the estimator, without a password."""
    storage = {"path": str(place.path), "url": place.storage}
    folder.write_json("config.json", {**parameters, "run_dir": storage, "seed": seed})


def _fingerprint(plan: Plan) -> dict[str, str]:
    """Return the hashes and names that must not change when a run is resumed.

    Fidelity, executor and number of workers may change. Versions may not, because the same trial
    can give another model with another version.
    """
    problem, data = plan.problem, plan.problem.rows
    folds = np.asarray(problem.folds)
    hashes = {
        "X": content_hash(data.X),
        "y": content_hash((data.y, data.classes.tolist())),
        "sensitive": content_hash((data.cells, [(s.name, s.labels) for s in data.systems])),
        "constrained groups": text_hash([t.system.key for t in problem.goal.targets]),
        "sample_weight": content_hash(data.weight),
        "folds": content_hash(folds if problem.training is None else (folds, problem.model_folds)),
        "search space": text_hash((plan.space, BASELINE, plan.first)),
        "training-time mitigations": text_hash(plan.mitigations),
        "tolerances": text_hash((problem.tolerances, problem.draws is None)),
    }
    if plan.own_learners:
        own = text_hash(sorted(map(described, plan.own_learners.values())))
        hashes["learners"] = own
    constraints = [f"{t.metric.name}[{t.system.name}]: {t.limit}" for t in problem.goal.targets]
    return {
        **{name: f"#{value}" for name, value in hashes.items()},
        "constraint": ", ".join(constraints),
        "objective": f"{problem.objective.name}: {problem.objective.about}",
        "mitigators": ", ".join(mitigator.name for mitigator in problem.mitigators),
        "strategy": plan.strategy,
        "allocator": plan.allocator,
        "random_state": str(plan.seed),
        **{name: _series(library_version(name)) for name in LIBRARIES},
    }


def _series(version: str) -> str:
    """Return the major version, before 1.0 with the minor version."""
    parts = version.split(".")
    return ".".join(parts[: 2 if parts[0] == "0" else 1])


def _line(record: TrialRecord, plan: Plan) -> dict[str, Any]:
    best = best_of(record.entries)
    shown_entry = None if best is None else describe_entry(best, plan.problem.objective.name)
    return {**describe_config(record.result), "best": shown_entry}


def _display(plan: Plan) -> Display:
    objective, space = plan.problem.objective, plan.space
    names = {
        "learner": {*space.learners, BASELINE.learner, *(one.learner for one in plan.first)},
        "encoding": {*space.encodings, "codes"},
        "mitigation": {*space.mitigations, *(option.name for option in plan.mitigations)},
    }
    return Display(
        objective=objective.name,
        greater_is_better=objective.greater_is_better,
        ranges=distributions(space),
        names=names,
        constraints=tuple(
            f"gap of {target.label} <= {target.limit:.6g}" for target in plan.problem.goal.targets
        ),
    )
