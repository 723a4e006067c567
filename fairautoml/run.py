"""One search, from checked rows to a pool of entries: puts the parts together and runs them."""

import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import numpy as np

from fairautoml.allocation import ALLOCATORS
from fairautoml.data.dataset import Dataset
from fairautoml.evaluation.expansion import expand
from fairautoml.evaluation.objective import Objective
from fairautoml.evaluation.problem import Problem
from fairautoml.execution import EXECUTORS, Limits
from fairautoml.leaderboard import best_of
from fairautoml.search.baseline import BaselineFirst
from fairautoml.search.controller import Search, Stop
from fairautoml.search.repeats import WithoutRepeats
from fairautoml.search.strategies import STRATEGIES
from fairautoml.spaces import SearchSpace
from fairautoml.trials import (
    Artifacts,
    Budget,
    Candidate,
    Entry,
    Executor,
    Status,
    Told,
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
    strategy, allocator, executor : str
        Registered names.
    n_workers : int
        Trials at the same time.
    n_trials : int or None
        Trials to run at the most.
    deadline : float or None
        ``time.monotonic()`` at which the search must have ended.
    seed : int
        Root seed.
    """

    problem: Problem
    space: SearchSpace
    baseline: Candidate
    first: tuple[Candidate, ...]
    strategy: str
    allocator: str
    executor: str
    n_workers: int
    n_trials: int | None
    deadline: float | None
    seed: int


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


@dataclass(slots=True)
class History:
    """All that a search has seen so far."""

    results: list[TrialResult] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    best: Entry | None = None
    expand_seconds: float = 0.0

    def add(self, result: TrialResult, entries: Sequence[Entry]) -> None:
        """Take in a result with its entries."""
        self.results.append(result)
        self.entries.extend(entries)
        best = best_of(entries)
        if best is not None:
            self.best = best if self.best is None else best_of([self.best, best])


OnProgress = Callable[[Progress], None]
Keep = Callable[[TrialResult, Entry | None], None]


def run_search(
    plan: RunPlan,
    artifacts: Artifacts,
    *,
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
    keep : callable, optional
        ``keep(result, best entry of it)`` makes a result durable before it is told.
    on_progress : callable, optional
        Called with a ``Progress`` after each result.
    """
    history = History()
    stop = Stop(n_trials=plan.n_trials, deadline=plan.deadline)

    def settle(result: TrialResult) -> Told:
        start = time.monotonic()
        entries: tuple[Entry, ...] = ()
        if result.status is Status.SUCCESS:
            entries = expand(result, artifacts.scores(result.trial.key), plan.problem)
        best = best_of(entries)
        if keep is not None:
            keep(result, best)
        history.add(result, entries)
        history.expand_seconds += time.monotonic() - start
        if on_progress is not None:
            on_progress(
                Progress(
                    result=result,
                    best=history.best,
                    n_trials=len(history.results),
                    seconds_left=stop.seconds_left(),
                )
            )
        return _told(result, best, plan.problem)

    strategy = STRATEGIES.get(plan.strategy)(plan.space, plan.seed, plan.first)
    with ExitStack() as stack:
        executor: Executor = EXECUTORS.get(plan.executor)(
            Limits(n_workers=plan.n_workers, deadline=plan.deadline)
        )
        search = Search(
            objective=_objective(plan, artifacts, stack),
            settle=settle,
            strategy=WithoutRepeats(BaselineFirst(plan.baseline, strategy)),
            allocator=ALLOCATORS.get(plan.allocator)(_full_budget(plan.problem)),
            executor=executor,
            stop=stop,
        )
        finished = search.run()
        artifacts.drop_partials()
    return history, finished


def _objective(plan: RunPlan, artifacts: Artifacts, stack: ExitStack) -> Objective:
    """Give workers the rows as a memory map, the serial executor the rows themselves."""
    data: Dataset | Path = plan.problem.dataset
    if plan.executor != "serial":
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fairautoml-")))
        data = folder / "data.joblib"
        joblib.dump(plan.problem.dataset, data)
    return Objective(
        data=data,
        folds=np.asarray(plan.problem.folds),
        artifacts=artifacts,
        root_seed=plan.seed,
    )


def _full_budget(problem: Problem) -> Budget:
    folds = int(problem.folds.max()) + 1
    train_rows = problem.dataset.n_rows * (folds - 1) / folds
    return Budget(folds=folds, sample_fraction=min(1.0, MOST_TRAIN_ROWS / train_rows))


def _told(result: TrialResult, best: Entry | None, problem: Problem) -> Told:
    violations = tuple(np.inf for _ in problem.goal.targets)
    # One decision for everybody is never feasible, though it meets most constraints.
    if best is not None and not best.constant:
        violations = tuple(measure.gap - measure.limit for measure in best.measures)
    return Told(
        trial=result.trial,
        status=result.status if best is not None else _broken(result.status),
        value=None if best is None else best.value,
        violations=violations,
        seconds=result.seconds,
        limits=tuple(target.limit for target in problem.goal.targets),
    )


def _broken(status: Status) -> Status:
    """Call a trial failed that trained but has no entry (an undefined objective)."""
    return Status.FAILED if status is Status.SUCCESS else status
