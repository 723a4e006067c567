"""Train once, mitigate many: from one score column to leaderboard entries.

A column is the scores of one trial or of an ensemble. The shares of an ensemble are learned from
labels like a rule, so its scores differ by fold: rows are decided by shares that their own fold
had no part in, as by a rule that it had no part in.

Every post-processor is fitted for every tolerance on the other folds and scored on this one
(cross-fitted); the rule that would be deployed is fitted on all rows. What it decides there is
counted too: an entry is not feasible if the deployed rule is constant, or clearly violates a
constraint that the rules of the folds meet.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.evaluation.contained import contained, error_text
from fairautoml.evaluation.problem import Problem
from fairautoml.exceptions import DegradedWarning, warn
from fairautoml.metrics import Tally, Undefined
from fairautoml.metrics._table import effective_rows
from fairautoml.metrics.intervals import interval_of_groups
from fairautoml.mitigators import Mitigator, ScoreRows, Target
from fairautoml.tasks import TASKS
from fairautoml.trials import Candidate, Entry, Measure, Rule, TrialResult, acceptance

ONE_ERROR = 0.6827
"""Level of the interval that reaches one standard error to each side."""

SHORT = 0.5
"""Seconds that a post-processor may take even where there is no time."""

_Rules = Sequence[tuple[float | None, Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """Scores that rules are fitted on, and whose they are."""

    trial_key: str  # name of the trial or ensemble
    trial_number: int  # its turn
    candidate: Candidate  # what was trained
    seconds: float  # training seconds
    # out-of-fold scores that the deployed rule is fitted on; (n_rows, n_columns) where a rule
    # mixes several columns
    deployed: NDArray[np.float32]  # shape (n_rows,)
    # the scores by which rules for the rows of a fold are fitted and judged, where they differ
    # from fold to fold; None = the deployed ones
    by_fold: NDArray[np.float32] | None = None  # shape (n_folds, n_rows)
    members: tuple[tuple[str, float], ...] = ()  # trials of an ensemble and their shares

    def of_fold(self, fold: int) -> NDArray[np.float32]:
        """Return the scores for fitting and judging a fold, shape (n_rows,)."""
        return self.deployed if self.by_fold is None else self.by_fold[fold]

    def judged(self, folds: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return each row's score as it is judged in its own fold, shape (n_rows,)."""
        return (
            self.deployed if self.by_fold is None else self.by_fold[folds, np.arange(len(folds))]
        )


def column_of(result: TrialResult, scores: NDArray[np.float32]) -> Column:
    """Return the column of a successful trial."""
    return Column(
        trial_key=result.trial.key,
        trial_number=result.trial.number,
        candidate=result.trial.candidate,
        seconds=result.seconds,
        deployed=np.asarray(scores),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    """A deployed rule with what came of its cross-fitted decisions."""

    mitigator: str
    tolerance: float | None
    rule: Rule
    tally: Tally


def expand(
    result: TrialResult, scores: NDArray[np.float32], problem: Problem, end: float | None = None
) -> tuple[Entry, ...]:
    """Return the leaderboard entries of a successful trial."""
    return expand_column(column_of(result, scores), problem, end)


def expand_column(column: Column, problem: Problem, end: float | None = None) -> tuple[Entry, ...]:
    """Return the leaderboard entries of a score column.

    A post-processor that raises has none, and a warning says so: others go on.
    """
    data = problem.dataset
    rows = ScoreRows(
        scores=column.deployed,
        y=data.y,
        weight=data.weight,
        cells=data.cells,
        n_cells=1 if data.groups is None else data.groups.n_cells,
        membership=problem.membership,
    )
    entries: list[Entry] = []
    served = replace(rows, scores=_scores_when_served(column, problem))
    uninformed = bool((served.scores == served.scores[:1]).all())
    for mitigator in problem.mitigators:
        # Equal scores have no order that the likely groups of a row could move it in.
        if uninformed and mitigator.needs_membership:
            continue
        found = contained(partial(_entries, mitigator, rows, served, column, problem, end))
        if isinstance(found, list):
            entries += found
        else:
            msg = f"rules of {mitigator.name!r} are missing where it failed: {error_text(found)}"
            warn(msg, DegradedWarning)
    constant = [entry for entry in entries if entry.constant]
    # Of equal scores any other rule decides by the group alone.
    return tuple(constant if uninformed and constant and problem.goal.targets else entries)


def _entries(
    mitigator: Mitigator,
    rows: ScoreRows,
    served: ScoreRows,
    column: Column,
    problem: Problem,
    end: float | None,
) -> list[Entry]:
    scored = _cross_fitted(mitigator, rows, column, problem, end)
    found = (_entry(one, column, served, problem) for one in scored)
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
        here = problem.folds == fold
        scored = replace(rows, scores=column.of_fold(fold))
        held_out = scored.take(here)
        draws = None if problem.draws is None else problem.draws[here]
        fitted = fit(scored.take(~here), problem.goal, tolerances)
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
    """Return the rules, and their tolerances, that can be cross-fitted until the end.

    Of those that took too long since the start it is the nearest below the limit, at least one.
    """
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
        # As deployed: with few distinct rows the draws may be far from the stated shares.
        decision = (draws < decision).astype(np.float64)
    task = TASKS.get(problem.dataset.task)
    return task.tally(rows.cells, rows.y, decision, rows.weight, n_groups=rows.n_cells)


def _entry(scored: _Scored, column: Column, rows: ScoreRows, problem: Problem) -> Entry | None:
    metric, task = problem.objective, TASKS.get(problem.dataset.task)
    deployed, constant = _deployed(scored.rule, rows, problem)
    tally = deployed if constant or _violates(scored.tally, deployed, problem) else scored.tally
    if metric.on == "decisions":
        score = metric.value(tally)
    else:
        score = metric.value(rows.y, column.judged(problem.folds), rows.weight)
    if isinstance(score, Undefined):
        return None
    return Entry(
        trial_key=column.trial_key,
        trial_number=column.trial_number,
        candidate=column.candidate,
        mitigator=scored.mitigator,
        tolerance=scored.tolerance,
        rule=scored.rule,
        score=score,
        value=score if metric.greater_is_better else -score,
        measures=measure(tally, problem),
        counts=tally.table,
        deployed=deployed.table,
        constant=constant or task.is_constant(tally.table),
        seconds=column.seconds,
        members=column.members,
    )


def _deployed(rule: Rule, rows: ScoreRows, problem: Problem) -> tuple[Tally, bool]:
    """Count what the deployed rule decides, and say whether that is the same for all rows."""
    decided = acceptance(rule, rows.scores, rows.cells, rows.membership)
    task = TASKS.get(problem.dataset.task)
    tally = task.tally(rows.cells, rows.y, decided, rows.weight, n_groups=rows.n_cells)
    return tally, bool((decided == decided[:1]).all()) or task.is_constant(tally.table)


def _violates(crossfitted: Tally, deployed: Tally, problem: Problem) -> bool:
    """Whether only the deployed rule violates a constraint, by more than a standard error."""
    if any(one.gap > one.limit for one in measure(crossfitted, problem)):
        return False
    return any(
        one.gap > one.limit + _standard_error(deployed, target, problem)
        for one, target in zip(measure(deployed, problem), problem.goal.targets, strict=True)
        if one.gap > one.limit
    )


def _standard_error(tally: Tally, target: Target, problem: Problem) -> float:
    """Return the standard error of a gap, 0 where it is undefined."""
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
    """Return the scores that deployed rules are judged on.

    A model whose scores are the same for all rows of a fold, like a prior, has other out-of-fold
    scores in each fold, but only one score when it is served: the mean over the folds.
    """
    wide = column.deployed.reshape(len(column.deployed), -1)
    of_fold = wide[[int((problem.folds == fold).argmax()) for fold in range(problem.n_folds)]]
    same = (wide == of_fold[problem.folds]).all(axis=0)
    if not same.any():
        return column.deployed
    served = wide.copy()
    served[:, same] = of_fold[:, same].mean(axis=0)
    return served.reshape(column.deployed.shape)


def measure(tally: Tally, problem: Problem) -> tuple[Measure, ...]:
    """Return every constraint's metric on every group system that it speaks about."""
    found: list[Measure] = []
    for target in problem.goal.targets:
        merged = tally.merged(target.system.of_cell, target.system.n_groups, target.system.masks)
        found.append(_measured(target, target.metric.value(merged)))
    return tuple(found)


def _measured(target: Target, value: float | Undefined) -> Measure:
    metric, system, limit = target.metric, target.system.name, target.limit
    if isinstance(value, Undefined):
        return Measure(
            metric=metric.name,
            system=system,
            value=None,
            gap=np.inf,
            limit=limit,
            reason=_with_labels(value.reason, target),
        )
    return Measure(
        metric=metric.name, system=system, value=value, gap=metric.gap(value), limit=limit
    )


def _with_labels(reason: str, target: Target) -> str:
    """Name groups by their labels: a metric knows their numbers only."""
    labels = target.system.labels
    return re.sub(r"\bgroup (\d+)\b", lambda m: f"group {labels[int(m[1])]!r}", reason)
