"""One search, from checked rows to a pool of entries: puts the parts together and runs them."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import joblib
import numpy as np

from fairautoml.allocation import ALLOCATORS
from fairautoml.data.dataset import Dataset
from fairautoml.evaluation.membership import with_membership, without_membership
from fairautoml.evaluation.objective import Objective
from fairautoml.evaluation.problem import Problem
from fairautoml.execution import EXECUTORS, Limits
from fairautoml.execution._first_here import FirstHere
from fairautoml.execution._replay import Known, Replay
from fairautoml.execution.serial import SerialExecutor
from fairautoml.leaderboard import best_of, pareto_front
from fairautoml.search.baseline import BaselineFirst
from fairautoml.search.controller import POLL_SECONDS, Overhead, Search, Stop
from fairautoml.search.fewer_rows import FewerRows
from fairautoml.search.light_start import Light, LightStart, begun_with, on_all_rows
from fairautoml.search.recalling import Recalling, as_proposed
from fairautoml.search.repeats import WithoutRepeats
from fairautoml.search.strategies import STRATEGIES
from fairautoml.settling import judged
from fairautoml.spaces import SearchSpace
from fairautoml.store.scratch import scratch
from fairautoml.store.study import Record, Study
from fairautoml.trials import (
    Allocator,
    Artifacts,
    Budget,
    Candidate,
    Costly,
    Entry,
    Executor,
    Terms,
    Told,
    Trial,
    TrialResult,
)

logger = logging.getLogger(__name__)

MOST_TRAIN_ROWS = 100_000
"""Rows that a fold trains on at the most; all rows are scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """Everything a search needs to know.

    Parameters
    ----------
    problem : Problem
        Rows, constraints, objective, post-processors.
    space : SearchSpace
        What may be chosen.
    baseline : Candidate
        Runs before everything else and needs no training, so that there is always a model.
    first : tuple of Candidate
        The portfolio: proposed before the strategy's own ideas.
    light : Light or None
        What is tried on few rows first, where a full trial takes its time.
    mitigations : tuple of Costly
        Costly training-time mitigations that the allocator may spend on.
    strategy, allocator, executor : str
        Registered names.
    limits : Limits
        Of the executor: workers, memory, deadline.
    n_trials : int or None
        Trials to run at the most.
    start : float
        ``time.monotonic()`` at which the budget began.
    seed : int
        Root seed.
    small : Candidate or None
        The first of ``first``, if it is not tried on all rows once it was tried on few.
    here : bool
        Whether what is tried on few rows, else the small candidate, is trained in this process,
        while the first worker starts.
    """

    problem: Problem
    space: SearchSpace
    baseline: Candidate
    first: tuple[Candidate, ...]
    light: Light | None
    mitigations: tuple[Costly, ...]
    strategy: str
    allocator: str
    executor: str
    limits: Limits
    n_trials: int | None
    start: float
    seed: int
    small: Candidate | None = None
    here: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a progress callback is told after each result.

    Parameters
    ----------
    result : TrialResult
        The newest result.
    best : Entry or None
        Best entry so far.
    n_trials : int
        Results so far.
    seconds_left : float or None
        Until the deadline.
    """

    result: TrialResult
    best: Entry | None
    n_trials: int
    seconds_left: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """A moment at which the best entry changed.

    Parameters
    ----------
    seconds : float
        Since the budget began.
    trial : int
        Number of the trial that brought it.
    score : float
        Objective of the new best entry, cross-fitted.
    gap : float
        Its largest gap, ``inf`` when undefined.
    feasible : bool
        Whether it meets the constraints.
    """

    seconds: float
    trial: int
    score: float
    gap: float
    feasible: bool


@dataclass(slots=True)
class History:
    """All that a search has seen so far."""

    results: list[TrialResult] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    best: Entry | None = None
    improvements: list[Improvement] = field(default_factory=list)
    n_feasible: int = 0
    n_workers: int = 1
    settle_seconds: float = 0.0
    overhead: Overhead = field(default_factory=Overhead)

    def add(self, result: TrialResult, entries: Sequence[Entry], seconds: float) -> None:
        """Take in a result with its entries, known after ``seconds`` of the budget."""
        self.results.append(result)
        self.entries.extend(entries)
        best = best_of(entries)
        if best is None:
            return
        self.n_feasible += best.feasible
        winner = best if self.best is None else best_of([self.best, best])
        if winner is best:
            self.best = best
            self.improvements.append(
                Improvement(
                    seconds=seconds,
                    trial=result.trial.number,
                    score=best.score,
                    gap=best.gap,
                    feasible=best.feasible,
                )
            )


OnProgress = Callable[[Progress], None]
Keep = Callable[[Record], None]


def run_search(
    plan: RunPlan,
    artifacts: Artifacts,
    *,
    study: Study | None = None,
    keep: Keep | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[History, bool]:
    """Search and return what was found, and False when the user interrupted it.

    Parameters
    ----------
    plan : RunPlan
        What to search.
    artifacts : Artifacts
        Where scores and fold models go.
    study : Study, optional
        Makes a result durable before anybody hears of it. What it holds already is not run again:
        strategy and allocator hear it as they did then.
    keep : callable, optional
        Called with the ``Record`` of each new result after that, before it is told.
    on_progress : callable, optional
        Called with a ``Progress`` after each new result.
    """
    plan = _as_begun(plan, () if study is None else study.past)
    stop = Stop(n_trials=plan.n_trials, deadline=plan.limits.deadline)
    past = {} if study is None else _valid(study.past, artifacts, plan.problem.dataset.score_shape)
    real = FirstHere(EXECUTORS.get(plan.executor)(plan.limits), _run_here(plan))
    executor = _replaying(real, past.values(), plan.start, study)
    listeners = tuple(f for f in (None if study is None else study.keep, keep) if f is not None)
    history = History(n_workers=real.n_workers)
    for record in past.values():
        history.add(record.result, record.entries, record.seconds)

    def settle(result: TrialResult) -> Told:
        recorded = past.get(result.trial.number)
        if recorded is not None and recorded.result is result:
            return replace(recorded.told, trial=executor.as_asked(result.trial))
        start = time.perf_counter()
        record = judged(result, artifacts, problem, executor.now() - plan.start)
        record = replace(record, proposed=strategy.take(), window=search.window)
        for hear in listeners:
            hear(record)
        history.add(result, record.entries, record.seconds)
        history.settle_seconds += time.perf_counter() - start
        if on_progress is not None:
            on_progress(_progress(history, stop.seconds_left(executor.now())))
        return replace(record.told, trial=executor.as_asked(result.trial))

    strategy = Recalling(
        STRATEGIES.get(plan.strategy)(
            plan.space, plan.seed, on_all_rows(plan.first, plan.small, plan.light)
        ),
        {} if study is None else study.proposed,
        lambda: as_proposed((past[r.trial.number].told for r in executor.unasked()), plan.space),
    )
    with ExitStack() as stack:
        stack.callback(executor.shutdown)
        objective = _objective(plan, artifacts, stack)
        problem, interrupted = _with_groups(plan, artifacts, real, objective)
        if interrupted:
            stop, listeners = Stop(n_trials=1), ()
        search = Search(
            objective=objective,
            settle=settle,
            strategy=WithoutRepeats(BaselineFirst(plan.baseline, strategy)),
            allocator=_allocator(plan, executor.n_workers),
            executor=executor,
            stop=stop,
            overhead=history.overhead,
        )
        finished = search.run() and not interrupted
        artifacts.drop_partials()
    return history, finished


def _run_here(plan: RunPlan) -> Callable[[Trial], SerialExecutor | None]:
    """Return who runs a trial in this process; the first, which needs no training, at any time."""
    first = SerialExecutor(replace(plan.limits, deadline=None))
    then = SerialExecutor(plan.limits)
    small = plan.light
    if small is None:
        small = Light(candidates=plan.first[:1], budget=terms_of(plan).budget)

    def who(trial: Trial) -> SerialExecutor | None:
        if trial.number == 0:
            return first
        early = plan.here and trial.candidate in small.candidates[trial.number - 1 : trial.number]
        return then if early and replace(trial.budget, seconds=None) == small.budget else None

    return who


def _with_groups(
    plan: RunPlan, artifacts: Artifacts, executor: Executor, objective: Objective
) -> tuple[Problem, bool]:
    """Return the problem with what must be known of the groups, and whether that was interrupted.

    Then the baseline alone is to run, without a record: when the run goes on, it is judged anew.
    """
    try:
        problem = with_membership(
            plan.problem,
            artifacts,
            lambda trial: _alone(executor, objective, trial),
            lambda: Stop(deadline=plan.limits.deadline).seconds_left(executor.now()),
        )
    except KeyboardInterrupt:
        logger.info("interrupted before the groups were learned: the baseline alone runs")
        return without_membership(plan.problem), True
    return problem, False


def _alone(executor: Executor, objective: Objective, trial: Trial) -> TrialResult:
    """Run one trial to its end, with nothing beside it."""
    future = executor.submit(objective, trial)
    while not executor.wait({future}, POLL_SECONDS):
        pass
    return future.result()


def _replaying(
    executor: Executor, past: Iterable[Record], start: float, study: Study | None
) -> Replay:
    """Return the executor, which answers from the record what it holds."""
    known = [Known(result=r.result, seconds=r.seconds, window=r.window) for r in past]
    return Replay(executor, known, start=start, on_start=None if study is None else study.asked)


def _valid(
    past: Sequence[Record], artifacts: Artifacts, shape: tuple[int, ...]
) -> dict[int, Record]:
    """Return what need not be run again, by number, in the order told.

    A trial that only the end of the run cut off may now have more time, and one whose scores (or
    models, if they may be served) were lost gives the same again.
    """
    ended = [record for record in past if not record.cut_off]
    front = {e.trial_key for e in pareto_front(e for record in ended for e in record.entries)}
    lost = {key for key in front if not artifacts.has_models(key)}

    def whole(key: str) -> bool:
        return key not in lost and artifacts.has_all_scores(key, shape)

    return {
        record.result.trial.number: record
        for record in ended
        if not record.entries or whole(record.result.trial.key)
    }


def _progress(history: History, seconds_left: float | None) -> Progress:
    return Progress(
        result=history.results[-1],
        best=history.best,
        n_trials=len(history.results),
        seconds_left=seconds_left,
    )


def _objective(plan: RunPlan, artifacts: Artifacts, stack: ExitStack) -> Objective:
    """Give workers the rows as a memory map, the serial executor the rows themselves."""
    data: Dataset | Path = plan.problem.dataset
    if plan.executor != "serial":
        data = stack.enter_context(scratch()) / "data.joblib"
        joblib.dump(plan.problem.dataset, data)
    return Objective(
        data=data,
        folds=np.asarray(plan.problem.folds),
        artifacts=artifacts,
        root_seed=plan.seed,
        targets=plan.problem.goal.targets,
    )


def _allocator(plan: RunPlan, n_workers: int) -> Allocator:
    """Return who decides which trial may spend what."""
    terms = terms_of(plan)
    chosen = ALLOCATORS.get(plan.allocator)(terms)
    if plan.light is not None:
        chosen = LightStart(chosen, plan.light)
    return FewerRows(chosen, terms, n_workers, stoppable=plan.executor != "serial")


def _as_begun(plan: RunPlan, past: Iterable[Record]) -> RunPlan:
    """Return the plan with what an earlier run began with."""
    begun = {record.result.trial.number: record.result.trial for record in past}
    light = begun_with(plan.light, terms_of(plan).budget, begun)
    # Without the trials on few rows the first candidate is none for this process.
    return replace(plan, light=light, here=plan.here and (plan.light is None or light is not None))


def terms_of(plan: RunPlan) -> Terms:
    """Return what the allocator of a run may spend.

    Parameters
    ----------
    plan : RunPlan
        The run.
    """
    data, folds = plan.problem.dataset, plan.problem.n_folds
    train_rows = data.n_rows * (folds - 1) // folds
    return Terms(
        budget=Budget(folds=folds, sample_fraction=min(1.0, MOST_TRAIN_ROWS / train_rows)),
        n_train_rows=train_rows,
        mitigations=plan.mitigations,
        row_cost=data.row_cost,
    )
