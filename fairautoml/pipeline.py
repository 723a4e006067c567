"""One fit, step by step: read, plan, search, select, save."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from operator import length_hint
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import Dataset
from fairautoml.data.frames import Inputs, read_entities
from fairautoml.data.read import ReadOptions, build_dataset, with_validation
from fairautoml.data.schema import TableSchema
from fairautoml.evaluation.problem import Training
from fairautoml.exceptions import (
    DegradedWarning,
    NoFeasibleModelWarning,
    NoModelError,
    SmallGroupWarning,
    warn,
)
from fairautoml.inference.predictor import isolated_config
from fairautoml.learners import LEARNERS
from fairautoml.mitigators import ScoreModel
from fairautoml.noisy_constraint import Guessing, apply_guesses
from fairautoml.plan import Plan, apply_group_policy, define_problem, make_plan, start_workers
from fairautoml.records import OnProgress, Status
from fairautoml.report.summary import (
    describe_blocks,
    describe_served,
    group_headlines,
    headline,
    interrupted_note,
    margin_notes,
    one_sided_notes,
    refused_headline,
    result_lines,
    run_summary,
    shortfall,
    status_of,
    stopped_note,
)
from fairautoml.report.view import describe_groups
from fairautoml.run_files import PreviousRun, Run, RunLocation, begin, locate
from fairautoml.running import is_over, run_search, unbroken
from fairautoml.selection.choice import FinalChoice, SelectionOptions, select_final
from fairautoml.selection.final import (
    advice_on_refused,
    collect_candidates,
    diagnose_run,
    no_model,
    no_time_left,
    refit_final,
)
from fairautoml.selection.leaderboard import TrialLog
from fairautoml.selection.pool import Pool, make_pool
from fairautoml.selection.selectable import CheckpointCleaner
from fairautoml.settings import Settings
from fairautoml.storage.artifacts import Artifacts
from fairautoml.storage.run_folder import scratch
from fairautoml.threads import one_thread

FINISH_SECONDS, FINISH_SHARE = 1.0, 0.3
"""Least time for the selection after the search, in seconds and as a share of the budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRequest:
    """Checked arguments of a fit."""

    inputs: Inputs
    settings: Settings
    read: ReadOptions
    start: float  # ``time.monotonic()`` at which the budget began
    validation: Inputs | None = None  # rows that models are scored on and not trained on
    proxy_errors: Any = None
    seeded: bool = False  # whether the user gave the seed
    parameters: Mapping[str, Any]  # of the estimator, for ``config.json``
    storage: RunLocation | None = None  # None = nothing is stored on disk
    previous: PreviousRun | None = None  # the run to resume
    guessing: Guessing | None = None  # how noisy group labels are used


@dataclass(frozen=True, slots=True)
class Search:
    """Result of ``optimize``."""

    history: TrialLog
    finished: bool  # False = the user interrupted the search
    over: bool  # whether a previous part of the run had used up the budget


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """Result of a fit."""

    pool: Pool  # the predictor and the other models on the front
    choice: FinalChoice
    history: TrialLog  # all trials
    plan: Plan
    settings: Settings
    guessing: Guessing | None
    interrupted: bool  # whether the user ended the search
    selection_seconds: float
    seconds: float

    @property
    def constraints(self) -> tuple[str, ...]:
        """The constraints as text."""
        return tuple(constraint.label for constraint in self.settings.constraints)

    @property
    def applies(self) -> bool:
        """Whether there are groups that the constraint compares, or no constraint."""
        return bool(self.plan.problem.goal.targets) or not self.settings.constraints

    @cached_property
    def refused(self) -> str | None:
        """Sentence on the model that would be selected if it were acceptable, else None."""
        refused = self.choice.refused
        if refused is None:
            return None
        board, served = self.pool.board, self.choice.best
        advice = advice_on_refused(refused, served, board.entries, board.objective)
        return refused_headline(refused, served, advice)

    @cached_property
    def rule_headlines(self) -> tuple[str, ...]:
        """Most important sentences on the selected rule."""
        found = group_headlines(self.pool.board, self.pool.best, self.pool.classes)
        return found if self.refused is None else (self.refused, *found)

    @property
    def headlines(self) -> tuple[str, ...]:
        """Most important sentences: groups outside the constraint, and the selected rule."""
        return (*self.pool.headlines, *self.rule_headlines)

    @property
    def rule_notes(self) -> tuple[str, ...]:
        """Further notes on the selected rule."""
        notes = one_sided_notes(self.pool.board, self.pool.best)
        return (*margin_notes(self.choice.best, self.choice.margin), *notes)

    @property
    def notes(self) -> tuple[str, ...]:
        """All notes for the user, the headlines first."""
        data = self.plan.problem.dataset
        n_trials, why = len(self.history.results), self.history.stopped
        stopped = (interrupted_note(n_trials),) if self.interrupted else ()
        stopped = stopped if why is None else (stopped_note(n_trials, why),)
        return (*self.headlines, *stopped, *self.plan.notes, *data.notes, *self.rule_notes)

    def summary(self) -> dict[str, Any]:
        """Return the figures of the run as plain values."""
        board, best = self.pool.board, self.pool.best
        given = self.settings if self.guessing is None else self.guessing
        labels = [constraint.label for constraint in given.constraints]
        return {
            **run_summary(self.history, self.choice, seconds=self.seconds),
            "max_trials": self.plan.n_trials,
            "time_budget": self.settings.time_budget,
            "assembly_seconds": round(self.selection_seconds, 3),
            "strategy": self.plan.strategy,
            "allocator": self.plan.allocator,
            "executor": self.plan.executor,
            "seed": self.plan.seed,
            "headline": headline(board, best, self.choice.margin),
            "statement": result_lines(board, best, self.choice.margin, labels),
            "headlines": list(self.headlines),
            "judgeability": [asdict(one) for one in self.plan.problem.dataset.judgeability],
            "notes": list(self.notes),
            "columns": _described(self.pool.schema),
            "blocks": describe_blocks(self.pool),
            "n_trees": self.pool.n_trees,
            "best": describe_served(board, best),
        }


MOST_DESCRIBED = 500
"""Columns of a table up to which a summary describes each."""


def _described(schema: TableSchema) -> list[dict[Any, str]]:
    """Return kind and encoding of each column; nothing of wide tables."""
    if schema.sparse or len(schema.names_in) > MOST_DESCRIBED:
        return []
    return schema.described().to_dict("records")


def run_fit(request: FitRequest, publish: Callable[[FitResult], Any]) -> None:
    """Run a fit; ``publish`` takes the result and returns the estimator to store."""
    with ExitStack() as stack:
        stack.enter_context(LEARNERS.adding(request.settings.own_learners))
        request = prepare(request, stack)
        dataset, entities, training = read_dataset(request)
        dataset = apply_group_policy(dataset, request.settings, entities)
        problem = define_problem(dataset, request.settings, entities, training)
        again = request.previous is not None
        plan = make_plan(problem, request.settings, request.start, again=again)
        run = open_run(plan, request, stack)
        with isolated_config(), one_thread():
            search = optimize(plan, run, request.settings.callbacks)
            options, began = selection_options(request, search), time.monotonic()
            candidates = collect_candidates(problem, search.history, run.artifacts, options)
            choice = select_final(candidates, problem, options)
            selection_seconds = time.monotonic() - began
            refitted = refit_final(choice.best, problem, search.history.results, options)
            pool = make_predictor(choice, plan, run, search.history, refitted, options)
        result = FitResult(
            pool=pool,
            choice=choice,
            history=search.history,
            plan=plan,
            settings=request.settings,
            guessing=request.guessing,
            interrupted=not search.finished,
            selection_seconds=selection_seconds,
            seconds=time.monotonic() - request.start,
        )
        save_run(run, publish(result), pool)
    warn_on_result(result)


def prepare(request: FitRequest, stack: ExitStack) -> FitRequest:
    """Read the run to resume, and replace unobserved groups by noisy labels of them."""
    inputs, settings, start, previous = request.inputs, request.settings, request.start, None
    start_workers(settings, length_hint(inputs.y), *getattr(inputs.X, "shape", ())[1:2])
    location = None if settings.storage is None else locate(settings.storage)
    if location is not None and location.resume:
        previous = PreviousRun(location)
        stack.callback(previous.folder.close)
        start -= previous.past.seconds
        settings = replace(settings, first_budget=previous.past.time_budget)
        if not request.seeded:
            settings = replace(settings, seed=previous.past.seed)
    if inputs.proxies is not None:
        # The gap of a rule that reads the proxy could not be corrected for its errors.
        settings = replace(settings, sensitive_at_predict=False)
    inputs, settings, read, guessing = apply_guesses(
        inputs, settings, request.read, request.proxy_errors
    )
    return replace(
        request,
        inputs=inputs,
        settings=settings,
        read=read,
        guessing=guessing,
        start=start,
        storage=location,
        previous=previous,
    )


def read_dataset(
    request: FitRequest,
) -> tuple[Dataset, NDArray[np.int64] | None, Training | None]:
    """Check and encode the rows; return those that models are scored on, and their entities.

    With validation rows, the last value holds all rows.
    """
    rows, options = request.inputs, request.read
    entities, id_column = read_entities(rows.groups, rows.X)
    if id_column:
        # New rows may have this column too, which is not a feature.
        options = replace(options, drop=(*options.drop, id_column))
    dataset = build_dataset(rows.X, rows.y, rows.sensitive, rows.sample_weight, options=options)
    if request.validation is None:
        return dataset, entities, None
    held_out, every = with_validation(dataset, request.validation)
    folds = np.where(np.arange(every.n_rows) < dataset.n_rows, -1, 0)
    return held_out, None, Training(dataset=every, folds=folds)


def open_run(plan: Plan, request: FitRequest, stack: ExitStack) -> Run:
    """Open the run folder, or a temporary folder if nothing is stored."""
    place = request.storage if request.previous is None else request.previous
    writer = begin(plan, place, request.parameters)
    if writer is not None:
        stack.callback(writer.close)
        return Run(writer.artifacts, writer)
    artifacts = Artifacts(stack.enter_context(scratch()), durable=False)
    artifacts.prepare()
    return Run(artifacts)


def optimize(plan: Plan, run: Run, callbacks: Sequence[OnProgress]) -> Search:
    """Run the search until its budget ends."""
    if over := is_over(plan, run.study):
        warn(no_time_left(time.monotonic() - plan.start), DegradedWarning)
    history, finished = run_search(
        plan,
        run.artifacts,
        study=run.study,
        keep=run.keep,
        on_progress=unbroken(callbacks),
    )
    if history.best is None and not finished:
        raise KeyboardInterrupt
    if history.best is None:
        raise NoModelError(no_model(history.results))
    return Search(history, finished, over)


def selection_options(request: FitRequest, search: Search) -> SelectionOptions:
    """Return the options of the final selection, with the time that is left for it."""
    settings, end = request.settings, None
    # A resumed run whose budget is used up repeats the selection without a deadline.
    if settings.time_budget is not None and not search.over:
        least = min(FINISH_SECONDS, FINISH_SHARE * settings.time_budget)
        end = max(request.start + settings.time_budget, time.monotonic() + least)
    return SelectionOptions(
        ensemble=settings.serving.max_trials,
        tolerance=settings.serving.tolerance,
        max_trees=_limit(settings.serving.max_trees),
        max_ms=_limit(settings.serving.predict_latency_ms),
        confidence=settings.confidence,
        refit=settings.refit,
        end=end,
        seed=settings.seed,
    )


def _limit(value: float | None) -> float:
    return np.inf if value is None else value


def make_predictor(
    choice: FinalChoice,
    plan: Plan,
    run: Run,
    history: TrialLog,
    refitted: Mapping[str, ScoreModel],
    options: SelectionOptions,
) -> Pool:
    """Load the deployable models, and delete all others."""
    pool = make_pool(choice, plan.problem, run.artifacts, refitted, options)
    CheckpointCleaner(run.artifacts, history.results, history.entries).tidy()
    return pool


def save_run(run: Run, model: Any, pool: Pool) -> None:
    """Write leaderboard, summary and model to the run folder, if there is one."""
    if run.writer is not None:
        run.writer.finish(model, describe_groups(pool.board, pool.rows_by_label, pool.groups))


def warn_on_result(result: FitResult) -> None:
    """Issue the warnings on a finished run."""
    best = result.pool.best
    lacking = margin_notes(best, result.choice.margin)
    news = diagnose_run(result.history, best, result.pool.board.objective)
    if result.refused is not None:
        news = []
    shut_out = group_headlines(result.pool.board, best, result.pool.classes)
    for msg in (*shut_out, *news, *lacking):
        warn(msg, SmallGroupWarning if msg in lacking else DegradedWarning)
    constraints = result.constraints
    if constraints and status_of(best, applies=result.applies) == Status.INFEASIBLE:
        refused = result.refused
        warn(shortfall(best, constraints) if refused is None else refused, NoFeasibleModelWarning)
