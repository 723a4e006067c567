"""Run one search from a plan and return its trial log.

A trial that falls out of the selectable set never returns to it, because later trials only lower
its rank. Its fold models can therefore be deleted during the search.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import joblib
import numpy as np

from fairautoml.data.dataset import Dataset
from fairautoml.evaluation.evaluate import TrialEvaluator
from fairautoml.evaluation.membership import with_membership, without_membership
from fairautoml.evaluation.postprocess import (
    Keep,
    OnProgress,
    TrialScorer,
    judged_again,
    still_valid,
)
from fairautoml.evaluation.problem import Problem
from fairautoml.execution import EXECUTORS, ResourceLimits
from fairautoml.execution.local import FirstHere
from fairautoml.execution.serial import SerialExecutor
from fairautoml.records import (
    Allocator,
    Budget,
    Config,
    Entry,
    Executor,
    MitigationOption,
    SearchStrategy,
    Terms,
    Trial,
    TrialRecord,
    TrialResult,
    TrialState,
)
from fairautoml.search.allocators import ALLOCATORS
from fairautoml.search.allocators._base import (
    FewerRows,
    Light,
    LightStart,
    begun_with,
    on_all_rows,
)
from fairautoml.search.loop import (
    POLL_SECONDS,
    Proposals,
    SearchLoop,
    StopCondition,
    window_of,
)
from fairautoml.search.space import SearchSpace
from fairautoml.search.strategies import STRATEGIES
from fairautoml.selection.leaderboard import TrialLog, best_of, order, pareto_front
from fairautoml.storage.artifacts import Artifacts
from fairautoml.storage.run_folder import scratch
from fairautoml.storage.study import Study

LIBRARY = 30
"""Trials of lowest log loss that an ensemble is selected from."""

SINGLES = 3
"""Trials with the best entries, which are ensemble members and final models on their own."""

EVERY = 20
"""Results between two cleanups of models: forests take up to hundreds of MB each."""


@dataclass(frozen=True, slots=True)
class SelectableTrials:
    """Trials of a search whose models are not constant, in order of creation."""

    # in order of creation, not of completion: the same with any number of workers
    results: tuple[TrialResult, ...]
    places: dict[str, int]  # rank of each trial by its best entry, 0 = best

    @classmethod
    def of(cls, results: Sequence[TrialResult], entries: Sequence[Entry]) -> "SelectableTrials":
        """Return the selectable trials of a search."""
        ranked = order(e for e in entries if not (e.constant and e.measures))
        places = {key: at for at, key in enumerate(dict.fromkeys(e.trial_key for e in ranked))}
        known = (result for result in results if result.trial.key in places)
        return cls(tuple(sorted(known, key=lambda result: result.trial.number)), places)

    def singles(self) -> list[TrialResult]:
        """Return the trials with the best entries."""
        return sorted(self.results, key=lambda r: self.places[r.trial.key])[:SINGLES]

    def library(self) -> list[TrialResult]:
        """Return the trials that an ensemble is selected from."""
        sound = [r for r in self.results if r.log_loss is not None]
        lowest = sorted(sound, key=lambda r: (r.log_loss, r.trial.number))[:LIBRARY]
        keys = {r.trial.key for r in (*lowest, *self.singles())}
        return [r for r in sound if r.trial.key in keys]


def selectable(results: Sequence[TrialResult], entries: Sequence[Entry]) -> frozenset[str]:
    """Return the keys of the trials whose models this run or its continuation may select.

    Entries that only an ensemble beats are included: a resumed run may not build that ensemble.
    """
    found = SelectableTrials.of(results, entries)
    best = best_of(entries)
    return frozenset(
        {
            *(r.trial.key for r in (*found.library(), *found.singles())),
            *(entry.trial_key for entry in pareto_front(entries)),
            *(() if best is None else (best.trial_key,)),
            # The constant baseline is selected when no model is better.
            *(r.trial.key for r in results if r.trial.number == 0),
        }
    )


@dataclass(slots=True)
class CheckpointCleaner:
    """Deletes fold models that no selectable entry uses, every ``EVERY`` results."""

    artifacts: Artifacts  # storage of the models
    results: list[TrialResult]  # results of the search; the list grows during the search
    entries: list[Entry]
    _seen: int = 0
    _gone: set[str] = field(default_factory=set)

    def __call__(self, record: TrialRecord) -> None:
        """Delete unused models every ``EVERY`` results, and at once when the disk is full."""
        full = record.result.status is TrialState.DISK_FULL
        if full or len(self.results) >= self._seen + EVERY:
            self._seen = len(self.results)
            self.tidy()

    def tidy(self) -> None:
        """Delete the models of all trials that are not selectable."""
        kept = selectable(self.results, self.entries)
        for key in {result.trial.key for result in self.results} - kept - self._gone:
            self.artifacts.drop_models(key)
            self._gone.add(key)


logger = logging.getLogger(__name__)

MOST_TRAIN_ROWS = 100_000
"""Maximum number of training rows of a fold; all rows are scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Complete specification of a search."""

    problem: Problem  # rows, constraints, objective, post-processors
    space: SearchSpace  # learners, encodings, mitigations and their hyperparameters
    # runs first and needs no training, so that there is always a model
    baseline: Config
    first: tuple[Config, ...]  # the portfolio: evaluated before the strategy's own proposals
    light: Light | None  # configurations for few rows, when a full trial would take too long
    # expensive training-time mitigations that the allocator may schedule
    mitigations: tuple[MitigationOption, ...]
    strategy: str  # registered names
    allocator: str
    executor: str
    limits: ResourceLimits  # of the executor: workers, memory, deadline
    n_trials: int | None  # maximum number of trials
    start: float  # ``time.monotonic()`` at which the budget began
    seed: int  # root seed
    # the first of ``first``, if a trial on few rows replaces its trial on all rows
    small: Config | None = None
    # whether the trials on few rows, or else the fast default configuration, are trained in this
    # process while the first worker starts
    here: bool = False
    notes: tuple[str, ...] = ()  # features that the search leaves out, for the user


def run_search(
    plan: Plan,
    artifacts: Artifacts,
    *,
    study: Study | None = None,
    keep: Keep | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[TrialLog, bool]:
    """Run the search; return its log, and False if the user interrupted it."""
    recorded = () if study is None else study.past
    plan, over = _as_begun(plan, recorded), is_over(plan, study)
    stop = StopCondition(n_trials=plan.n_trials, deadline=plan.limits.deadline)
    left = stop.seconds_left(plan.start)
    past = still_valid(recorded, artifacts, plan.problem.dataset.score_shape, left, over=over)
    executor = FirstHere(EXECUTORS.get(plan.executor)(plan.limits), _run_here(plan))
    history = TrialLog(n_workers=executor.n_workers)
    with ExitStack() as stack:
        stack.callback(executor.shutdown)
        objective = _objective(plan, artifacts, stack)
        problem, past, interrupted = _with_groups(plan, artifacts, executor, objective, past, over)
        history.resume_from(past.values())
        proposals = Proposals(
            _strategy(plan),
            plan.baseline,
            recorded=() if study is None else study.proposals,
        )
        search = SearchLoop(
            objective=objective,
            score=TrialScorer(
                problem=problem,
                artifacts=artifacts,
                executor=executor,
                take_proposals=proposals.take,
                history=history,
                listeners=() if interrupted else _listeners(history, artifacts, study, keep),
                on_progress=on_progress,
                start=plan.start,
                deadline=stop.deadline,
                window=window_of(stop, executor),
            ),
            proposals=proposals,
            allocator=_allocator(plan, _workers_then(past.values(), executor)),
            executor=executor,
            stop=StopCondition(n_trials=1) if interrupted else stop,
            overhead=history.overhead,
        )
        again = [r.result.trial for r in recorded if r.result.trial.number not in past]
        if interrupted or over:
            finished = over or (not past and search.run())
        else:
            search.replay(past.values(), again, start=plan.start)
            finished = search.run()
        artifacts.drop_partials()
    return history, finished and not interrupted


def is_over(plan: Plan, study: Study | None) -> bool:
    """Return whether a previous part of the run has used up the time budget."""
    left = StopCondition(deadline=plan.limits.deadline).seconds_left(time.monotonic())
    return study is not None and bool(study.past) and left is not None and left <= 0


def _listeners(
    history: TrialLog, artifacts: Artifacts, study: Study | None, keep: Keep | None
) -> tuple[Keep, ...]:
    """Return the listeners of results; the cleaner is first, to free disk space before storing."""
    cleaner = CheckpointCleaner(artifacts, history.results, history.entries)
    others = (None if study is None else study.keep, keep)
    return (cleaner, *(listener for listener in others if listener is not None))


def _run_here(plan: Plan) -> Callable[[Trial], SerialExecutor | None]:
    """Return the function that selects the trials to run in this process."""
    # The baseline needs no training and runs even after the deadline.
    first = SerialExecutor(replace(plan.limits, deadline=None))
    then = SerialExecutor(plan.limits)
    small = plan.light
    if small is None:
        small = Light(configs=plan.first[:1], budget=terms_of(plan).budget)

    def executor_of(trial: Trial) -> SerialExecutor | None:
        if trial.number == 0:
            return first
        early = plan.here and trial.config in small.configs[trial.number - 1 : trial.number]
        return then if early and replace(trial.budget, seconds=None) == small.budget else None

    return executor_of


def _with_groups(
    plan: Plan,
    artifacts: Artifacts,
    executor: Executor,
    objective: TrialEvaluator,
    past: dict[int, TrialRecord],
    over: bool,
) -> tuple[Problem, dict[int, TrialRecord], bool]:
    """Return the problem with group probabilities, the past trials, and whether interrupted."""
    # After an interrupt only the baseline runs, unrecorded; a resumed run scores it again.
    # A run that is over is scored again in full, however little time is left.

    def seconds_left() -> float | None:
        return StopCondition(deadline=plan.limits.deadline).seconds_left(executor.now())

    try:
        problem = with_membership(
            plan.problem,
            artifacts,
            lambda trial: _alone(executor, objective, trial),
            seconds_left,
        )
        left = (lambda: None) if over else seconds_left
        return problem, judged_again(past, artifacts, problem, left), False
    except KeyboardInterrupt:
        logger.info("Interrupted before the groups were learned: only the baseline runs.")
        return without_membership(plan.problem), past, True


def _alone(executor: Executor, objective: TrialEvaluator, trial: Trial) -> TrialResult:
    """Run one trial to its end with no other trial running."""
    future = executor.submit(objective, trial)
    while not executor.wait({future}, POLL_SECONDS):
        pass
    return future.result()


def _workers_then(past: Iterable[TrialRecord], executor: Executor) -> int:
    """Return the number of workers with which the run began."""
    then = next((record.window for record in past), None)
    return executor.n_workers if then is None else max(1, then - executor.queued)


def _strategy(plan: Plan) -> SearchStrategy:
    first = on_all_rows(plan.first, plan.small, plan.light)
    return STRATEGIES.get(plan.strategy)(plan.space, plan.seed, first)


def _objective(plan: Plan, artifacts: Artifacts, stack: ExitStack) -> TrialEvaluator:
    """Return the evaluator: worker processes memory-map the rows, the serial executor does not."""
    data: Dataset | Path = plan.problem.dataset
    if plan.executor != "serial":
        data = stack.enter_context(scratch()) / "data.joblib"
        joblib.dump(plan.problem.dataset, data)
    return TrialEvaluator(
        data=data,
        folds=np.asarray(plan.problem.folds),
        artifacts=artifacts,
        root_seed=plan.seed,
        targets=plan.problem.goal.targets,
    )


def _allocator(plan: Plan, n_workers: int) -> Allocator:
    """Return the allocator of the plan, with trials on few rows first where they are planned."""
    terms = terms_of(plan)
    chosen = ALLOCATORS.get(plan.allocator)(terms)
    if plan.light is not None:
        chosen = LightStart(chosen, plan.light)
    return FewerRows(chosen, terms, n_workers, stoppable=plan.executor != "serial")


def _as_begun(plan: Plan, past: Iterable[TrialRecord]) -> Plan:
    """Return the plan with the first trials of the previous run."""
    begun = {record.result.trial.number: record.result.trial for record in past}
    terms = terms_of(plan)
    # Some allocators evaluate the baseline on few rows.
    first = ALLOCATORS.get(plan.allocator)(terms).next_trial(
        lambda: plan.baseline, number=0, seconds_left=None
    )
    own = terms.budget if first is None else replace(first.budget, seconds=None)
    light = begun_with(plan.light, own, begun)
    # Without the trials on few rows no configuration runs in this process.
    return replace(plan, light=light, here=plan.here and (plan.light is None or light is not None))


def terms_of(plan: Plan) -> Terms:
    """Return the budget and the costs that the allocator of a run works with."""
    data, folds = plan.problem.dataset, plan.problem.n_folds
    train_rows = data.n_rows * (folds - 1) // folds
    return Terms(
        budget=Budget(folds=folds, sample_fraction=min(1.0, MOST_TRAIN_ROWS / train_rows)),
        n_train_rows=train_rows,
        mitigations=plan.mitigations,
        row_cost=data.row_cost,
    )
