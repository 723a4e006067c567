"""Run a fit: read the data, plan, search, select, certify and save."""

import copy
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from operator import length_hint
from typing import Any, Self

import numpy as np
import pandas as pd

from fairautoml.certification.sequence import freeze
from fairautoml.certification.training import TrainingRows
from fairautoml.data.columns import key_of
from fairautoml.data.dataset import Dataset
from fairautoml.data.frames import Inputs, read_entities
from fairautoml.data.read import ReadOptions, build_dataset
from fairautoml.data.sensitive_numbers import plain_bins
from fairautoml.estimator import PredictMixin, ReportMixin, isolated_config
from fairautoml.evaluation.postprocess import OnProgress, unbroken
from fairautoml.exceptions import (
    DegradedWarning,
    NoFeasibleModelError,
    NoModelError,
    ResumeMismatchError,
    warn,
)
from fairautoml.inference.predictor import ConstantClassifier
from fairautoml.noisy_constraint import apply_guesses
from fairautoml.outcome import (
    Outcome,
    describe_served,
    finish_of,
    group_headlines,
    headline,
    make_pool,
    margin_notes,
    one_sided_notes,
    run_summary,
    trials_frame,
    warn_on_result,
)
from fairautoml.plan import FitOptions, make_plan, make_problem, start_workers
from fairautoml.report.view import describe_groups
from fairautoml.run_files import (
    PreviousRun,
    RunStorage,
    RunWriter,
    begin,
    resolve_storage,
    save_model,
    write_config,
)
from fairautoml.running import CheckpointCleaner, Plan, is_over, run_search
from fairautoml.selection.ensemble import SelectionOptions
from fairautoml.selection.final import assemble, no_model, no_time_left, refitted
from fairautoml.settings import Settings, check_constraints
from fairautoml.storage.artifacts import Artifacts
from fairautoml.storage.run_folder import RunFolder, scratch
from fairautoml.threads import one_thread

FINISH_SECONDS, FINISH_SHARE = 1.0, 0.3
"""Least time for the selection after the search, in seconds and as a share of the budget."""


def optimize(
    plan: Plan,
    writer: RunWriter | None,
    *,
    finish: SelectionOptions,
    retrain: bool,
    on_progress: OnProgress | None,
) -> Outcome:
    """Run the search, select the model, and load the deployable models."""
    with ExitStack() as stack:
        artifacts = _temporary(stack) if writer is None else writer.artifacts
        study = None if writer is None else writer.study
        if over := is_over(plan, study):
            used = time.monotonic() - plan.start
            warn(no_time_left(used), DegradedWarning)
        history, finished = run_search(
            plan,
            artifacts,
            study=study,
            keep=None if writer is None else writer.keep,
            on_progress=unbroken(on_progress),
        )
        if history.best is None and not finished:
            raise KeyboardInterrupt
        if history.best is None:
            raise NoModelError(no_model(history.results))
        if finish.end is not None:
            least = min(FINISH_SECONDS, FINISH_SHARE * (finish.end - plan.start))
            finish = replace(finish, end=max(finish.end, time.monotonic() + least))
        # A resumed run whose budget is used up repeats the selection without a deadline.
        whole = replace(finish, end=None) if over else finish
        assembled = assemble(plan, history, artifacts, whole)
        made = refitted(assembled.best, plan, history.results, whole.end) if retrain else {}
        pool = make_pool(assembled, plan, artifacts, made)
        CheckpointCleaner(artifacts, history.results, history.entries).tidy()
    return Outcome(history=history, pool=pool, assembled=assembled, interrupted=not finished)


def _temporary(stack: ExitStack) -> Artifacts:
    artifacts = Artifacts(stack.enter_context(scratch()), durable=False)
    artifacts.prepare()
    return artifacts


class FitMixin(PredictMixin, ReportMixin):
    """Methods of the estimator that search, select, certify and save."""

    sensitive_at_predict: Any
    randomized: Any
    refit: Any
    strict: Any
    random_state: Any
    run_dir: Any
    overwrite: Any
    resume: Any
    storage: Any
    on_progress: Any
    sensitive_bins: Any
    get_params: Callable[..., dict[str, Any]]

    def _search(
        self,
        inputs: Inputs,
        settings: Settings,
        options: ReadOptions,
        start: float,
        proxy_errors: Any,
    ) -> None:
        start_workers(settings, length_hint(inputs.y), *getattr(inputs.X, "shape", ())[1:2])
        fit_options = FitOptions(
            # The gap of a rule that reads the proxy could not be corrected for its errors.
            sensitive_at_predict=self.sensitive_at_predict and inputs.proxies is None,
            randomized=self.randomized,
            refit=self.refit,
        )
        with ExitStack() as stack:
            place = self._place()
            previous = PreviousRun(place) if place is not None and self.resume else None
            if previous is not None:
                stack.callback(previous.folder.close)
                start -= previous.past.seconds
                if self.random_state is None:
                    settings = replace(settings, seed=previous.past.seed)
            guessed = apply_guesses(inputs, settings, options, proxy_errors)
            settings, options, self._guessing = guessed.settings, guessed.options, guessed.guessing
            entities, id_column = read_entities(guessed.inputs.groups, guessed.inputs.X)
            dataset = self._dataset(guessed.inputs, options, id_column)
            problem = make_problem(dataset, settings, fit_options, entities)
            plan = make_plan(problem, settings, fit_options, start, again=previous is not None)
            writer = begin(
                plan,
                previous if previous is not None else place,
                self._parameters(),
            )
            if writer is not None:
                stack.callback(writer.close)
            # The cores belong to the trials, and BLAS threads on busy cores wait for each other.
            with isolated_config(), one_thread():
                outcome = optimize(
                    plan,
                    writer,
                    finish=finish_of(settings, start),
                    retrain=self.refit,
                    on_progress=self.on_progress,
                )
            self._finish(outcome, plan, settings, start)
            if writer is not None:
                writer.finish(
                    self._stored(),
                    describe_groups(outcome.pool.board, outcome.pool.rows_by_label),
                )
        warn_on_result(outcome, plan, settings, feasible=self.feasible_, strict=self.strict)

    def _dataset(self, rows: Inputs, options: ReadOptions, id_column: str) -> Dataset:
        # New rows may have this column too, which is not a feature.
        if id_column:
            options = replace(options, drop=(*options.drop, id_column))
        dataset = build_dataset(
            rows.X, rows.y, rows.sensitive, rows.sample_weight, options=options
        )
        self._remember_names(dataset.schema)
        return dataset

    def _place(self) -> RunStorage | None:
        return resolve_storage(
            self.run_dir, overwrite=self.overwrite, resume=self.resume, storage=self.storage
        )

    def _parameters(self) -> dict[str, Any]:
        constraints = [constraint.label for constraint in check_constraints(self.constraint)]
        bins = None if self.sensitive_bins is None else plain_bins(self.sensitive_bins)
        extra = {
            "constraint": constraints,
            "sensitive_bins": bins,
            "task": self.task_option,
        }
        return {**self.get_params(deep=False), **extra}

    def _finish(
        self,
        outcome: Outcome,
        plan: Plan,
        settings: Settings,
        start: float,
    ) -> None:
        """Set the fitted attributes; training rows are released."""
        pool = outcome.pool
        self.pool_ = pool
        self.interrupted_ = outcome.interrupted
        if pool.task != "regression":
            self.classes_ = np.sort(pool.classes)
        self.positive_class_ = pool.classes[1] if pool.task == "binary" else None
        self.seed_ = plan.seed
        margin = outcome.assembled.margin
        constant = outcome.constant_headline
        of_rule = (
            group_headlines(pool.board, pool.best, pool.classes)
            if constant is None
            else (constant,)
        )
        headlines = (*(() if pool.groups is None else pool.groups.headlines), *of_rule)
        last = (*margin_notes(margin), *one_sided_notes(pool.board, pool.best))
        self._entry_notes = (*of_rule, *last)
        self.notes_ = (*headlines, *plan.notes, *plan.problem.dataset.notes, *last)
        self._applies = bool(plan.problem.goal.targets) or not settings.constraints
        dataset, self._certificates = plan.problem.dataset, ()
        self._training_rows = TrainingRows.of(dataset.X, dataset.y)
        self._sequence = freeze(pool.board, pool.best, set(pool.bags))
        self._serve(pool, pool.best)
        self.trials_ = trials_frame(outcome.history)
        self._tabulate(pool.board, pool.board.frame())
        seconds, budget = time.monotonic() - start, settings.time_budget
        self.summary_ = {
            **run_summary(
                outcome.history, plan, outcome.assembled, seconds=seconds, time_budget=budget
            ),
            "headline": headline(pool.board, pool.best, margin),
            "headlines": list(headlines),
            "notes": list(self.notes_),
            "best": describe_served(pool.board, pool.best),
            "positive_class": _plain_label(self.positive_class_),
            "certificate": None,
            "proxies": None if self.proxies_ is None else self.proxies_.plain(),
        }

    def _stored(self) -> Self:
        """Return the estimator to store, without callback and password."""
        stored = copy.copy(self)
        stored.on_progress = None
        place = self._place()
        stored.storage = None if place is None else place.storage
        return stored

    def _fit_constant(self, model: ConstantClassifier, settings: Settings) -> None:
        """Set the fitted attributes for a target of one class."""
        place = self._place()
        if place is not None and self.resume:
            msg = (
                "resume=True: y has only 1 class, so there is no search to continue; nothing in "
                f"{str(place.path)!r} was changed. fairautoml.load_run reads the run there; "
                "overwrite=True replaces it, a new run_dir leaves it alone"
            )
            raise ResumeMismatchError(msg)
        self.pool_, self.best_entry_, self._guessing, self.proxies_ = None, None, None, None
        self.model_ = model
        self.classes_ = model.classes
        self.positive_class_ = None
        self.feasible_ = self.interrupted_ = False
        self.seed_ = settings.seed
        self.trials_ = self.leaderboard_ = self.pareto_front_ = pd.DataFrame()
        self.certificate_ = None
        self.summary_ = {"n_trials": 0, "best": None, "certificate": None}
        label = model.classes.tolist()[0]
        note = (
            f"y has only 1 class: {label!r}; predict always returns it, and constraints are "
            "undefined (NOT_APPLICABLE)"
        )
        self.notes_ = (*model.schema.notes, note)
        if place is not None:
            with closing(RunFolder(place.path, overwrite=self.overwrite)) as folder:
                write_config(folder, self._parameters(), place, settings.seed)
                save_model(folder, self._stored(), {})
        if self.strict and settings.constraints:
            raise NoFeasibleModelError(f"{note}; give rows of both classes")
        warn(note, DegradedWarning)


def _plain_label(label: Any) -> Any:
    """Return a label as a JSON value, or None."""
    return None if label is None else key_of(label)[1]
