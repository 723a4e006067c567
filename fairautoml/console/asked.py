"""What a command line asks for: a table, cut and split, and the estimator that is fitted to it."""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairautoml.automl import Estimator, FairAutoML, FairAutoMLRegressor
from fairautoml.certification.rendering import REASONS
from fairautoml.certifying import RowPlan, row_plan
from fairautoml.console.held_out import hold_out
from fairautoml.console.sources import SOURCE_FILE, Source, kept_roles, open_source
from fairautoml.data._align import Inputs
from fairautoml.data.derive import parse_bins
from fairautoml.data.files import write_whole
from fairautoml.data.roles import Roles
from fairautoml.data.target import AskedTask
from fairautoml.exceptions import (
    ModelCorruptError,
    NoFeasibleModelError,
    NoModelError,
    ParameterError,
    RunFolderError,
)
from fairautoml.posing.setting import border_options
from fairautoml.store.run_folder import file_hash, lacks, read_json

if TYPE_CHECKING:
    from fairautoml.running.results import Progress

NOTED = ("rows", "holdout", "positive", "seed", "groups", "time")
"""What a run folder keeps of a request besides the table and its roles."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tables:
    """A table that was opened, and the rows that were set aside."""

    search: Source  # what is fitted
    held: Source | None  # rows to be judged at the end
    positive: Any  # the positive class, None = the label that is sorted last


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRequest:
    """Which table, and what is done with its rows; the same request gives the same rows."""

    data: str  # file or name of a dataset
    roles: Roles  # which column is what
    rows: int | None = None  # how many rows are drawn; None, or more than there are = all
    # share of the rows to set aside, in (0, 1): the last ones where ``time`` says when
    holdout: float | None = None
    positive: str | None = None  # label of the positive class as it was written
    seed: int = 0  # seed of both draws
    groups: str | None = None  # columns that say whose row it is, and when it was
    time: str | None = None

    def open(self) -> Tables:
        """Read the table."""
        source, held = open_source(self.data, self.roles, (self.groups, self.time)), None
        positive = source.label(self.positive)
        if self.rows is not None:
            source = source.draw(self.rows, self.seed)
        if self.holdout is not None:
            whose, when = self.groups, self.time
            source, held = hold_out(source, self.holdout, self.seed, whose=whose, when=when)
        return Tables(search=source, held=held, positive=positive)

    def fit(
        self, model: Estimator, source: Source, on_progress: "Callable[[Progress], object]"
    ) -> None:
        """Fit, and note in the run folder where the rows came from.

        The note is there from the first trial on, so that a run that is killed can be resumed.
        """
        noted = False

        def note_first(progress: "Progress") -> None:
            nonlocal noted
            if not noted:
                self._note(model.run_dir, source)
                noted = True
            on_progress(progress)

        model.set_params(on_progress=note_first)
        try:
            named = {"groups": self.groups, "time": self.time, "proxies": source.proxies}
            model.fit(source.X, source.y, source.sensitive, source.weight, **named)
        except (NoFeasibleModelError, NoModelError, KeyboardInterrupt):
            if lacks(model.run_dir, SOURCE_FILE):
                self._note(model.run_dir, source)  # the run was kept before the error
            raise
        self._note(model.run_dir, source)

    def inputs(self, source: Source) -> Inputs:
        """Return what ``fit`` is given for a source."""
        return Inputs(
            X=source.X,
            y=source.y,
            sensitive=source.sensitive,
            sample_weight=source.weight,
            groups=self.groups,
            time=self.time,
            proxies=source.proxies,
        )

    def plan(self, model: Estimator, source: Source) -> RowPlan:
        """Return what can be certified with these rows; its text is empty for nothing."""
        return row_plan(self.inputs(source), model.check_parameters(), border_options(model))

    def _note(self, folder: str | Path | None, source: Source) -> None:
        if folder is None:
            return
        file = Path(self.data)
        content = {
            **asdict(source.roles),
            "data": str(file.resolve()) if file.is_file() else self.data,
            **{name: getattr(self, name) for name in NOTED},
            "sha256": file_hash(file) if file.is_file() else None,
        }
        text = json.dumps(content, indent=1, sort_keys=True)
        write_whole(f"{text}\n", Path(folder) / SOURCE_FILE)


def request_of(arguments: argparse.Namespace) -> TableRequest:
    """Return the request that ``fairautoml fit`` was given."""
    roles = Roles(
        target=arguments.target,
        sensitive=tuple(dict.fromkeys(arguments.sensitive)),
        drop=tuple(arguments.drop),
        weight=arguments.weight,
        derive=tuple(arguments.derive),
        keep=tuple(arguments.keep),
        overlapping=tuple(arguments.overlapping),
        proxies=tuple(getattr(arguments, "proxy", ())),
    )
    return TableRequest(
        data=arguments.data,
        roles=roles,
        rows=arguments.rows,
        holdout=arguments.holdout,
        positive=arguments.positive,
        seed=arguments.seed,
        groups=arguments.groups,
        time=arguments.time_column,
    )


def read_request(folder: Path) -> TableRequest:
    """Return the request of an earlier fit."""
    if not (folder / SOURCE_FILE).is_file():
        msg = (
            f"{str(folder)!r} does not say which table it was fitted to: it is no run, was made "
            "in Python or ended before its first trial; fit again, or go on in Python with "
            "FairAutoML(run_dir=..., resume=True)"
        )
        raise RunFolderError(msg)
    found = read_json(folder, SOURCE_FILE)
    try:
        return TableRequest(
            data=str(found["data"]),
            roles=kept_roles(folder),
            rows=found["rows"],
            holdout=found["holdout"],
            positive=found["positive"],
            seed=int(found["seed"]),
            groups=found.get("groups"),
            time=found.get("time"),
        )
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{str(folder / SOURCE_FILE)!r} is damaged ({error}); fit again"
        raise ModelCorruptError(msg) from error


def estimator_of(arguments: argparse.Namespace, constraint: list[str] | None) -> Estimator:
    """Return the estimator that ``fairautoml fit`` or ``demo`` was asked for."""
    model = _of_task(getattr(arguments, "task", "auto"))
    model.set_params(
        constraint=constraint,
        objective=arguments.objective,
        time_budget=arguments.time,
        n_trials=arguments.trials,
        strategy=arguments.strategy,
        allocator=arguments.allocator,
        executor=arguments.executor,
        scheduler=arguments.scheduler,
        memory_limit=arguments.memory,
        n_jobs=arguments.jobs,
        n_folds=arguments.folds,
        run_dir=arguments.out,
        overwrite=arguments.overwrite,
        storage=arguments.storage,
        assemble=arguments.assemble,
        max_models=arguments.max_models,
        confidence=arguments.confidence,
        certify=arguments.certify,
        min_score=arguments.min_score,
        delta=arguments.delta,
        openings=arguments.openings,
        ledger=arguments.ledger,
        random_state=arguments.seed,
    )
    return model


def _of_task(task: AskedTask) -> Estimator:
    """Return the estimator for a kind of target."""
    model: Estimator = FairAutoMLRegressor() if task == "regression" else FairAutoML()
    model.asked_task = task
    return model


def fit_estimator_of(arguments: argparse.Namespace) -> Estimator:
    """Return the estimator of ``fairautoml fit`` with all that only ``fit`` understands."""
    grouped = arguments.sensitive or arguments.overlapping or arguments.proxy
    if arguments.constraint and not grouped:
        raise ParameterError("--sensitive is missing: a constraint needs the groups' column")
    model = estimator_of(arguments, arguments.constraint)
    model.set_params(
        learners=arguments.learner,
        mitigators=arguments.mitigator,
        sensitive_bins=dict(parse_bins(text) for text in arguments.bins) or None,
        sensitive_missing=arguments.sensitive_missing,
        max_groups=arguments.max_groups,
        on_nonfinite=arguments.on_nonfinite,
        unseen_group=arguments.unseen_group,
        sensitive_at_predict=not arguments.blind,
        randomized=arguments.randomized,
        refit=arguments.refit,
        strict=arguments.strict,
        split=arguments.split,
    )
    model.check_parameters()
    return model


def resumed_estimator_of(arguments: argparse.Namespace) -> Estimator:
    """Return the estimator of an earlier run, set to go on with it."""
    folder = Path(arguments.run_dir)
    kept = read_json(folder, "config.json")
    if not isinstance(kept, dict) or "seed" not in kept:
        raise ModelCorruptError(f"{str(folder / 'config.json')!r} is damaged; fit again")
    model = _of_task(kept.get("task", "auto"))
    known = model.get_params(deep=False)
    model.set_params(**{name: value for name, value in kept.items() if name in known})
    model.set_params(
        run_dir=arguments.run_dir, resume=True, overwrite=False, random_state=kept["seed"]
    )
    if arguments.time is not None or arguments.trials is not None:
        model.set_params(time_budget=arguments.time, n_trials=arguments.trials)
    if arguments.storage is not None:
        model.set_params(storage=arguments.storage)
    model.check_parameters()
    return model


def plan_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what ``fairautoml plan`` says, as plain values."""
    if not arguments.constraint or not (arguments.sensitive or arguments.overlapping):
        raise ParameterError("--constraint, --sensitive: give at least one of each to plan for")
    model = _of_task(arguments.task)
    model.set_params(
        constraint=arguments.constraint,
        certify=arguments.certify,
        min_score=arguments.min_score,
        delta=arguments.delta,
        openings=arguments.openings,
        ledger=arguments.ledger,
        split=arguments.split,
        random_state=arguments.seed,
        sensitive_bins=dict(parse_bins(text) for text in arguments.bins) or None,
        sensitive_missing=arguments.sensitive_missing,
        max_groups=arguments.max_groups,
    )
    request = request_of(arguments)
    tables = request.open()
    model.set_params(pos_label=tables.positive)
    plan = request.plan(model, tables.search)
    text = plan.text() or f"All rows train. Certificate: {REASONS[plan.reason]}"
    notes = tables.search.positive_notes(tables.positive)
    return {**plan.plain(), "text": "\n".join([text, *notes]), "notes": list(notes)}
