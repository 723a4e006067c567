"""Run the search of a plan and return its trial log."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from fairautoml.data.dataset import Dataset
from fairautoml.evaluation.evaluate import TrialEvaluator
from fairautoml.evaluation.fitting import capture_failure, error_text
from fairautoml.evaluation.membership import with_membership, without_membership
from fairautoml.evaluation.postprocess import judged
from fairautoml.evaluation.problem import Problem
from fairautoml.exceptions import DegradedWarning, StopSearch, warn
from fairautoml.execution import EXECUTORS
from fairautoml.execution.serial import FirstHere, SerialExecutor
from fairautoml.plan import Plan, terms_of
from fairautoml.records import (
    BASELINE,
    Config,
    Executor,
    OnProgress,
    Progress,
    SearchStrategy,
    Trial,
    TrialRecord,
    TrialResult,
    TrialState,
)
from fairautoml.search.allocators import ALLOCATORS
from fairautoml.search.allocators._base import should_prune
from fairautoml.search.allocators.ladder import FIRST_SHARE
from fairautoml.search.loop import POLL_SECONDS, Proposals, SearchLoop, StopCondition, window_of
from fairautoml.search.strategies import STRATEGIES
from fairautoml.selection.leaderboard import TrialLog
from fairautoml.selection.selectable import CheckpointCleaner, selectable
from fairautoml.storage.artifacts import Artifacts
from fairautoml.storage.run_folder import scratch
from fairautoml.storage.study import Study

logger = logging.getLogger(__name__)


Keep = Callable[[TrialRecord], None]


@dataclass(slots=True, kw_only=True)
class TrialScorer:
    """Score a finished trial and store it before the strategy receives it."""

    problem: Problem  # defines how results are scored
    artifacts: Artifacts  # storage of the scores
    executor: Executor  # keeps the clock
    take_proposals: Callable[[], tuple[Config, ...]]  # those since the previous result
    history: TrialLog  # collects results and entries
    listeners: tuple[Keep, ...]  # called with the record of each result, in this order
    on_progress: OnProgress | None  # called with a ``Progress`` after them
    start: float  # moment on the executor's clock at which the budget began
    deadline: float | None  # when the search ends, on the same clock
    window: int  # maximum number of pending trials

    def __call__(self, result: TrialResult) -> TrialResult:
        """Return the result with its value, after its record is stored."""
        begun = time.perf_counter()
        seconds = self.executor.now() - self.start
        record = replace(
            judged(result, self.artifacts, self.problem, seconds, self._end(result)),
            proposals=self.take_proposals(),
            window=self.window,
        )
        for listener in self.listeners:
            listener(record)
        self.history.add(record.result, record.entries, record.seconds)
        self.history.add_scoring_time(record.entries, time.perf_counter() - begun)
        if self.on_progress is not None:
            self.on_progress(self._progress(record.result))
        return record.result

    def _end(self, result: TrialResult) -> float | None:
        """Return when post-processing should end: soon for the first model."""
        trained = (one for one in self.history.results if one.trial.number > 0)
        has_model = any(one.status is TrialState.SUCCESS for one in trained)
        if self.deadline is None or has_model or result.trial.number == 0:
            return self.deadline
        return self.start + FIRST_SHARE * (self.deadline - self.start)

    def _progress(self, result: TrialResult) -> Progress:
        return Progress(
            result=result,
            best=self.history.best,
            n_trials=len(self.history.results),
            seconds_left=(None if self.deadline is None else self.deadline - self.executor.now()),
            n_folds=self.problem.n_models,
        )


def unbroken(callbacks: Sequence[OnProgress]) -> OnProgress:
    """Return a callback that calls all given ones; one that raises is dropped with a warning.

    An interrupt, an exit and ``StopSearch`` are passed on.
    """
    left = list(callbacks)

    def call(progress: Progress) -> None:
        stop: StopSearch | None = None
        for callback in tuple(left):
            error = capture_failure(partial(callback, progress))
            if isinstance(error, SystemExit):
                raise error
            if isinstance(error, StopSearch):
                stop = error  # the other callbacks see this result, too
            elif isinstance(error, Exception):
                left.remove(callback)
                found = error_text(error)
                msg = f"a callback raised {found} and is not called again; the search continues"
                warn(msg, DegradedWarning)
        if stop is not None:
            raise stop

    return call


@contextmanager
def ending(callbacks: Sequence[OnProgress], model: Any) -> Iterator[None]:
    """Call ``on_fit_end`` of callbacks that have it: with the model, or None if the fit failed.

    One that raises costs a warning, not the fit.
    """
    fitted = None
    try:
        yield
        fitted = model
    finally:
        for callback in callbacks:
            end = getattr(callback, "on_fit_end", None)
            error = None if end is None else capture_failure(partial(end, fitted))
            if isinstance(error, Exception):
                msg = f"a callback raised {error_text(error)} at the end of fit"
                warn(msg, DegradedWarning)


def still_valid(
    past: Sequence[TrialRecord],
    artifacts: Artifacts,
    problem: Problem,
    budget: float | None,
    *,
    over: bool = False,
) -> dict[int, TrialRecord]:
    """Return the records that need not be run again, by number, in order of completion.

    A trial that ran out of time is run again if it now has more; so is one whose scores (or
    models, if they may be selected) are lost.
    """
    used = max((record.seconds for record in past), default=0.0)

    def more(record: TrialRecord) -> bool:
        if not record.has_more_time(budget):
            return False
        # It had at least the time from its start to the last record; with less it times out again.
        had = used - (record.seconds - record.result.seconds)
        return not record.cut_off or budget is None or budget - used > had

    ended = [record for record in past if over or not more(record)]
    entries = [entry for record in ended for entry in record.entries]
    needed = selectable([record.result for record in ended], entries)
    return {
        record.result.trial.number: record
        for record in ended
        if record.result.status is not TrialState.SUCCESS
        or _has_files(record, artifacts, problem, models=record.result.trial.key in needed)
    }


def _has_files(
    record: TrialRecord, artifacts: Artifacts, problem: Problem, *, models: bool
) -> bool:
    trial = record.result.trial
    key, partial = trial.key, trial.fidelity.folds < problem.n_models
    shape = problem.dataset.score_shape
    whole = (partial or bool(record.entries)) and artifacts.has_all_scores(key, shape)
    return whole and (not models or artifacts.has_models(key))


def judged_again(
    past: Mapping[int, TrialRecord],
    artifacts: Artifacts,
    problem: Problem,
    seconds_left: Callable[[], float | None],
) -> dict[int, TrialRecord]:
    """Score records again that were scored before the group probabilities were learned.

    Only trials whose models are stored are scored again: the others are not deployable. Once the
    time is over, the remaining records stay unchanged.
    """
    found = dict(past)
    reading = {m.name for m in problem.mitigators if m.needs_membership}
    if problem.membership is None or not reading:
        return found
    for number, record in past.items():
        left = seconds_left()
        if left is not None and left <= 0:
            break
        known = {entry.mitigator for entry in record.entries}
        if known and reading - known and artifacts.has_models(record.result.trial.key):
            anew = judged(record.result, artifacts, problem, record.seconds)
            found[number] = replace(record, result=anew.result, entries=anew.entries)
    return found


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
    over = is_over(plan, study)
    stop = StopCondition(n_trials=plan.n_trials, deadline=plan.limits.deadline)
    left = stop.seconds_left(plan.start)
    past = still_valid(recorded, artifacts, plan.problem, left, over=over)
    executor = FirstHere(EXECUTORS.get(plan.executor)(plan.limits), _run_here(plan))
    history = TrialLog(n_workers=executor.n_workers)
    with ExitStack() as stack:
        stack.callback(executor.shutdown)
        objective = _objective(plan, artifacts, stack)
        problem, past, interrupted = _with_groups(plan, artifacts, executor, objective, past, over)
        history.resume_from(past.values())
        proposed = () if study is None else study.proposals
        proposals = Proposals(
            _strategy(plan, proposed), BASELINE, recorded=proposed, by_loss=problem.by_loss
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
            allocator=ALLOCATORS.get(plan.allocator)(
                replace(terms_of(plan), n_workers=_workers_then(past.values(), executor))
            ),
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
        history.stopped = search.stopped
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

    def executor_of(trial: Trial) -> SerialExecutor | None:
        if trial.number == 0:
            return first
        if not plan.here or trial.parent:
            return None
        early = trial.number == 1 and trial.config == plan.early[0]
        return then if early else None

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


def _strategy(plan: Plan, recorded: Sequence[Config]) -> SearchStrategy:
    # A fast first model of few rows is not trained again on more.
    fast = any(config in plan.early for config in plan.first[:1])
    begun = fast and plan.limits.deadline is not None and plan.first[0] not in recorded[:1]
    first = plan.first[1:] if begun else plan.first
    make = STRATEGIES.get(plan.strategy) if plan.own_strategy is None else plan.own_strategy
    return make(plan.space, plan.seed, first)


def _objective(plan: Plan, artifacts: Artifacts, stack: ExitStack) -> TrialEvaluator:
    """Return the evaluator: worker processes memory-map the rows, the serial executor does not."""
    data: Dataset | Path = plan.problem.rows
    if plan.executor != "serial":
        data = stack.enter_context(scratch()) / "data.joblib"
        joblib.dump(plan.problem.rows, data)
    return TrialEvaluator(
        data=data,
        folds=np.asarray(plan.problem.model_folds),
        artifacts=artifacts,
        root_seed=plan.seed,
        targets=plan.problem.goal.targets,
        prune=should_prune,
        portable=artifacts.durable,
        learners=plan.own_learners,
    )
