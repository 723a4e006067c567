"""Run the search of a plan and return its trial log."""

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
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
from fairautoml.execution import EXECUTORS
from fairautoml.execution.local import FirstHere
from fairautoml.execution.serial import SerialExecutor
from fairautoml.plan import Plan, terms_of
from fairautoml.records import (
    Allocator,
    Executor,
    SearchStrategy,
    Trial,
    TrialRecord,
    TrialResult,
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
from fairautoml.search.strategies import STRATEGIES
from fairautoml.selection.leaderboard import TrialLog
from fairautoml.selection.selectable import CheckpointCleaner
from fairautoml.storage.artifacts import Artifacts
from fairautoml.storage.run_folder import scratch
from fairautoml.storage.study import Study

logger = logging.getLogger(__name__)


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
