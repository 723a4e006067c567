"""Post-process out-of-fold scores into entries, and score finished trials.

Every post-processor is cross-fitted for every tolerance; the deployed rule is fitted on all rows.
An entry is infeasible if the deployed rule is constant or clearly violates a constraint.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.evaluation.fitting import capture_failure, error_text
from fairautoml.evaluation.problem import Problem
from fairautoml.exceptions import DegradedWarning, warn
from fairautoml.metrics import BoundConstraint, Tally, Undefined
from fairautoml.metrics._table import effective_rows
from fairautoml.metrics.intervals import interval_of_groups
from fairautoml.metrics.tasks import TASKS
from fairautoml.mitigators import Mitigator, ScoreRows
from fairautoml.mitigators._base import Ranking
from fairautoml.records import (
    Config,
    ConstraintResult,
    Entry,
    Rule,
    TrialRecord,
    TrialResult,
    TrialState,
    acceptance,
    best_of,
)
from fairautoml.storage.artifacts import Artifacts

ONE_ERROR = 0.6827
"""Level of a normal interval of one standard error to each side."""

SHORT = 0.5
"""Seconds that a post-processor may take even if no time is left."""

_Rules = Sequence[tuple[float | None, Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """Scores of one trial or ensemble that rules are fitted on."""

    trial_key: str  # name of the trial or ensemble
    trial_number: int  # number of the trial
    config: Config  # trained configuration
    seconds: float  # training seconds
    # out-of-fold scores that the deployed rule is fitted on; (n_rows, n_columns) if a rule mixes
    # several columns
    deployed: NDArray[np.float32]  # shape (n_rows,)
    # scores that the rules of a fold are fitted and evaluated on, if they differ between folds:
    # ensemble shares are learned from labels, so they are cross-fitted; None = ``deployed``
    by_fold: NDArray[np.float32] | None = None  # shape (n_folds, n_rows)
    members: tuple[tuple[str, float], ...] = ()  # trials of an ensemble and their shares

    def of_fold(self, fold: int) -> NDArray[np.float32]:
        """Return the scores to fit and evaluate the rules of a fold on, shape (n_rows,)."""
        return self.deployed if self.by_fold is None else self.by_fold[fold]

    def judged(self, folds: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the cross-fitted score of each row, shape (n_rows,)."""
        return (
            self.deployed if self.by_fold is None else self.by_fold[folds, np.arange(len(folds))]
        )


def column_of(result: TrialResult, scores: NDArray[np.float32]) -> Column:
    """Return the column of a successful trial."""
    return Column(
        trial_key=result.trial.key,
        trial_number=result.trial.number,
        config=result.trial.config,
        seconds=result.seconds,
        deployed=np.asarray(scores),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    """A deployed rule with the tally of its cross-fitted decisions."""

    mitigator: str
    tolerance: float | None
    rule: Rule
    tally: Tally


def expand_column(column: Column, problem: Problem, end: float | None = None) -> tuple[Entry, ...]:
    """Return the entries of a score column; a post-processor that raises causes a warning."""
    data = problem.dataset
    rows = ScoreRows(
        scores=column.deployed,
        y=data.y,
        weight=data.weight,
        cells=data.cells,
        n_cells=data.n_cells,
        membership=problem.membership,
        ranking=_ranking(column.deployed, problem),
    )
    entries: list[Entry] = []
    served = replace(rows, scores=_scores_when_served(column, problem))
    uninformed = bool((served.scores == served.scores[:1]).all())
    by_groups = uninformed and bool(problem.goal.targets)
    mitigators = problem.mitigators
    plain = tuple(one for one in mitigators if one.name == "none")
    if plain and uninformed and problem.objective.name == "accuracy":
        # No constant decision is more accurate than that of the most frequent class.
        mitigators = plain
    for mitigator in mitigators:
        # Constant scores have no order that group probabilities could change, and a rule that
        # reads the groups would decide by them alone.
        reads_groups = by_groups and mitigator.needs_sensitive_at_predict
        if reads_groups or (uninformed and mitigator.needs_membership):
            continue
        found = capture_failure(partial(_entries, mitigator, rows, served, column, problem, end))
        if isinstance(found, list):
            entries += found
        else:
            msg = f"Mitigator {mitigator.name!r} failed and is skipped: {error_text(found)}"
            warn(msg, DegradedWarning)
    constant = [entry for entry in entries if entry.constant]
    # On constant scores any other rule decides by the group alone.
    return tuple(constant if uninformed and constant and problem.goal.targets else entries)


def _ranking(scores: NDArray[np.float32], problem: Problem) -> Ranking | None:
    """Return the ranking of one column, of which the rows of every fold need a part."""
    ruled = any(mitigator.name != "none" for mitigator in problem.mitigators)
    return Ranking(scores, np.argsort(-scores)) if ruled and scores.ndim == 1 else None


def _entries(
    mitigator: Mitigator,
    rows: ScoreRows,
    served: ScoreRows,
    column: Column,
    problem: Problem,
    end: float | None,
) -> list[Entry]:
    scored, metric = _cross_fitted(mitigator, rows, column, problem, end), problem.objective
    # An objective on scores is the same under every rule, and may take long on many rows.
    on_scores = metric.on == "scores"
    judged = column.judged(problem.folds)
    score = metric.value(served.y, judged, served.weight) if on_scores else None
    found = (_entry(one, column, served, problem, score) for one in scored)
    return [entry for entry in found if entry is not None]


def _cross_fitted(
    mitigator: Mitigator, rows: ScoreRows, column: Column, problem: Problem, end: float | None
) -> list[_Scored]:
    fit: Any = mitigator.fit_rules
    start = time.monotonic()
    deployed = fit(rows, problem.goal, problem.tolerances)
    deployed, tolerances = _affordable(deployed, problem, start, end)
    tallies: list[Tally | None] = [None for _ in deployed]
    alive = [rule is not None for _, rule in deployed]
    for fold in range(problem.n_folds):
        # Positions are taken in half the time of a mask.
        inside = problem.folds == fold
        here, outside = np.flatnonzero(inside), np.flatnonzero(~inside)
        scored = replace(rows, scores=column.of_fold(fold))
        held_out = replace(scored, ranking=None).take(here)
        draws = None if problem.draws is None else problem.draws[here]
        fitted = fit(scored.take(outside), problem.goal, tolerances)
        for at, (_, rule) in enumerate(fitted):
            alive[at] = alive[at] and rule is not None
            if alive[at]:
                found_here = _tally(rule, held_out, draws, problem)
                before = tallies[at]
                tallies[at] = found_here if before is None else before + found_here
    found: list[_Scored] = []
    for at, (tolerance, rule) in enumerate(deployed):
        tally = tallies[at]
        if alive[at] and tally is not None and (not found or found[-1].rule != rule):
            found.append(
                _Scored(mitigator=mitigator.name, tolerance=tolerance, rule=rule, tally=tally)
            )
    return found


def _affordable(
    deployed: _Rules, problem: Problem, start: float, end: float | None
) -> tuple[_Rules, tuple[float, ...]]:
    """Return the rules and tolerances that the time allows, nearest below the limit first."""
    now, known = time.monotonic(), [t for t, _ in deployed if t is not None]
    if end is None or len(known) < len(deployed) or not problem.goal.targets:
        return deployed, problem.tolerances
    left = max(end - now, SHORT) / max(problem.n_folds * (now - start), SHORT)
    limit = problem.goal.targets[0].limit
    nearest = sorted(known, key=lambda tolerance: (tolerance > limit, abs(tolerance - limit)))
    kept = set(nearest[: max(1, int(len(known) * left))])
    rules = [(tolerance, rule) for tolerance, rule in deployed if tolerance in kept]
    return rules, tuple(tolerance for tolerance in known if tolerance in kept)


def _tally(
    rule: Rule, rows: ScoreRows, draws: NDArray[np.float64] | None, problem: Problem
) -> Tally:
    decision = acceptance(rule, rows.scores, rows.cells, rows.membership)
    if rule.randomized and draws is not None:
        # Draw as at prediction: with few distinct rows shares can be far from probabilities.
        decision = (draws < decision).astype(np.float64)
    return _counted(decision, rows, problem)


def _counted(decision: NDArray[np.floating], rows: ScoreRows, problem: Problem) -> Tally:
    task = TASKS.get(problem.dataset.task)
    return task.tally(rows.cells, rows.y, decision, rows.weight, n_groups=rows.n_cells)


def _entry(
    scored: _Scored,
    column: Column,
    rows: ScoreRows,
    problem: Problem,
    score: float | Undefined | None,
) -> Entry | None:
    """Return an entry; without a score, the objective is on decisions."""
    metric, task = problem.objective, TASKS.get(problem.dataset.task)
    deployed, constant = _deployed(scored.rule, rows, problem)
    tally = deployed if constant or _violates(scored.tally, deployed, problem) else scored.tally
    if score is None:
        score = metric.value(tally)
    if isinstance(score, Undefined):
        return None
    return Entry(
        trial_key=column.trial_key,
        trial_number=column.trial_number,
        config=column.config,
        mitigator=scored.mitigator,
        tolerance=scored.tolerance,
        rule=scored.rule,
        score=score,
        value=metric.utility(score),
        measures=measure(tally, problem),
        counts=tally.table,
        deployed=deployed.table,
        constant=constant or task.is_constant(tally.table),
        seconds=column.seconds,
        members=column.members,
    )


def _deployed(rule: Rule, rows: ScoreRows, problem: Problem) -> tuple[Tally, bool]:
    """Return the tally of the deployed rule, and whether it is constant."""
    decided = acceptance(rule, rows.scores, rows.cells, rows.membership)
    tally = _counted(decided, rows, problem)
    task = TASKS.get(problem.dataset.task)
    return tally, bool((decided == decided[:1]).all()) or task.is_constant(tally.table)


def _violates(crossfitted: Tally, deployed: Tally, problem: Problem) -> bool:
    """Return whether only the deployed rule violates a constraint by over a standard error."""
    if any(one.gap > one.limit for one in measure(crossfitted, problem)):
        return False
    return any(
        one.gap > one.limit + _standard_error(deployed, target, problem)
        for one, target in zip(measure(deployed, problem), problem.goal.targets, strict=True)
        if one.gap > one.limit
    )


def _standard_error(tally: Tally, target: BoundConstraint, problem: Problem) -> float:
    """Return the standard error of a gap, 0 if it is undefined."""
    data = problem.dataset
    ends = interval_of_groups(
        target.metric,
        tally.table,
        member=target.system.member,
        overlapping=target.system.overlapping,
        n_rows=effective_rows(data.cells, data.weight, len(tally.table), problem.entities),
        level=ONE_ERROR,
    )
    return 0.0 if ends is None else (ends[1] - ends[0]) / 2


def _scores_when_served(column: Column, problem: Problem) -> NDArray[np.float32]:
    """Return the scores that deployed rules are evaluated on.

    A model with a constant score per fold, like a prior, has different out-of-fold scores in each
    fold but a single score once deployed: the mean over the folds.
    """
    wide = column.deployed.reshape(len(column.deployed), -1)
    of_fold = wide[[int((problem.folds == fold).argmax()) for fold in range(problem.n_folds)]]
    same = (wide == of_fold[problem.folds]).all(axis=0)
    if not same.any():
        return column.deployed
    served = wide.copy()
    served[:, same] = of_fold[:, same].mean(axis=0)
    return served.reshape(column.deployed.shape)


def measure(tally: Tally, problem: Problem) -> tuple[ConstraintResult, ...]:
    """Return every constraint's metric on every grouping that it applies to."""
    return tuple(constraint.result(tally) for constraint in problem.goal.targets)


def judged(
    result: TrialResult,
    artifacts: Artifacts,
    problem: Problem,
    seconds: float,
    end: float | None = None,
) -> TrialRecord:
    """Return the record of a result; a trial of some folds has no entries to select."""
    entries: tuple[Entry, ...] = ()
    full = result.trial.fidelity.folds >= problem.n_models
    if result.status is TrialState.SUCCESS:
        scores, part = artifacts.scores(result.trial.key), problem
        if not full:
            rows, part = problem.on_folds(result.trial.fidelity.folds)
            scores = scores[rows]
        entries = expand_column(column_of(result, scores), part, end)
    if full or not problem.by_loss:
        result = _scored(result, entries, problem)
    else:
        result = _with_plain(result, entries, problem)
    return TrialRecord(result=result, entries=entries if full else (), seconds=seconds)


def _with_plain(result: TrialResult, entries: Sequence[Entry], problem: Problem) -> TrialResult:
    """Return the result with objective and violations of its scores without post-processing."""
    plain = next((entry for entry in entries if entry.mitigator == "none"), None)
    return replace(
        result,
        limits=tuple(target.limit for target in problem.goal.targets),
        plain_value=None if plain is None else plain.value,
        plain_violations=_violations(plain, problem),
    )


def _scored(result: TrialResult, entries: Sequence[Entry], problem: Problem) -> TrialResult:
    """Score a trial; one that trained but has no entry (undefined objective) failed."""
    best = best_of(entries)
    if best is None and result.status is TrialState.SUCCESS:
        error = f"{problem.objective.name} is undefined under every post-processing"
        result = replace(result, status=TrialState.FAILED, error=error)
    return replace(
        _with_plain(result, entries, problem),
        value=None if best is None else best.value,
        violations=_violations(best, problem),
    )


def _violations(entry: Entry | None, problem: Problem) -> tuple[float, ...]:
    # A constant predictor is never feasible, although it meets most constraints.
    if entry is None or entry.constant:
        return tuple(np.inf for _ in problem.goal.targets)
    return tuple(measure.gap - measure.limit for measure in entry.measures)
