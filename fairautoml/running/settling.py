"""What a result is worth: its entries on the leaderboard, and what is told of it."""

from collections.abc import Sequence

import numpy as np

from fairautoml.evaluation.expansion import expand
from fairautoml.evaluation.problem import Problem
from fairautoml.leaderboard import best_of
from fairautoml.store.record import Record
from fairautoml.trials import Artifacts, Entry, Status, Told, TrialResult


def judged(
    result: TrialResult,
    artifacts: Artifacts,
    problem: Problem,
    seconds: float,
    end: float | None = None,
) -> Record:
    """Expand a result to its entries, and say what is told of it."""
    entries: tuple[Entry, ...] = ()
    if result.status is Status.SUCCESS:
        entries = expand(result, artifacts.scores(result.trial.key), problem, end)
    told = _told(result, entries, problem)
    return Record(result=result, told=told, entries=entries, seconds=seconds)


def _told(result: TrialResult, entries: Sequence[Entry], problem: Problem) -> Told:
    """Say how a trial did; one that trained but has no entry (an undefined objective) failed."""
    best = best_of(entries)
    plain = next((entry for entry in entries if entry.mitigator == "none"), None)
    status = Status.FAILED if best is None and result.status is Status.SUCCESS else result.status
    return Told(
        trial=result.trial,
        status=status,
        value=None if best is None else best.value,
        violations=_violations(best, problem),
        seconds=result.seconds,
        limits=tuple(target.limit for target in problem.goal.targets),
        plain_value=None if plain is None else plain.value,
        plain_violations=_violations(plain, problem),
        log_loss=result.log_loss,
    )


def _violations(entry: Entry | None, problem: Problem) -> tuple[float, ...]:
    # One decision for everybody is never feasible, though it meets most constraints.
    if entry is None or entry.constant:
        return tuple(np.inf for _ in problem.goal.targets)
    return tuple(measure.gap - measure.limit for measure in entry.measures)
