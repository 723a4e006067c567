"""One score threshold per group: the Bayes-optimal form of a rule under group-rate constraints.

Source: Hardt, Price, Srebro, *Equality of Opportunity in Supervised Learning*, arXiv 1610.02413;
Menon, Williamson, *The Cost of Fairness in Binary Classification*, 2018: with the group known at
decision time, the most accurate rule under demographic parity, equal opportunity or equalized odds
thresholds P(y = 1 | x) per group (up to ties). Fitted on score cuts with labels shrunk towards the
scores; deterministic, unless the goal allows mixtures.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import GroupSystem
from fairautoml.mitigators._base import Goal, Mitigator, ScoreRows, Target, scales
from fairautoml.mitigators._cells import (
    MONOTONE,
    Cuts,
    build_cuts,
    gain_weights,
    limits_by_rate,
    shrunk,
)
from fairautoml.mitigators._exact import Windows, solve_pairs
from fairautoml.mitigators._linear import Program
from fairautoml.mitigators._rules import Step, ThresholdRule
from fairautoml.trials import Rule

Picks = Sequence[Sequence[tuple[int, float]]]
"""Per group the chosen cuts and their shares."""


def needed(targets: Sequence[Target]) -> tuple[Target, ...]:
    """Return the targets that no other target implies.

    The rate of a group is a weighted mean of the rates of its parts, so a gap bounded on a finer
    group system is bounded on every coarser one.

    Parameters
    ----------
    targets : sequence of Target
        All targets.
    """
    return tuple(
        target
        for i, target in enumerate(targets)
        if not any(
            _implies(other, target) and not (_implies(target, other) and i < j)
            for j, other in enumerate(targets)
            if j != i
        )
    )


def _implies(finer: Target, coarser: Target) -> bool:
    same = finer.metric.name == coarser.metric.name and finer.limit <= coarser.limit
    return same and _refines(finer.system, coarser.system)


def _refines(finer: GroupSystem, coarser: GroupSystem) -> bool:
    """Whether each group of ``finer`` lies inside one group of ``coarser``, none left out."""
    inside = coarser.of_cell >= 0
    if (finer.of_cell[inside] < 0).any():
        return False
    pairs = {(int(f), int(c)) for f, c in zip(finer.of_cell, coarser.of_cell, strict=True)}
    parts = [f for f, _ in pairs if f >= 0]
    return len(parts) == len(set(parts))


def fit_rules(
    rows: ScoreRows, goal: Goal, tolerances: Sequence[float]
) -> list[tuple[float | None, Rule | None]]:
    """Return the best threshold rule for every tolerance.

    What is degenerate: a group that lacks the rows of a rate (no label 1 for the true positive
    rate, no rows at all) is left out of that constraint, and when fewer than two groups have the
    rate it constrains nothing. A group without rows gets the neutral threshold, as do rows of no
    group. A group of one row, or of equal scores, is accepted or refused as a whole.

    Parameters
    ----------
    rows : ScoreRows
        Scores of a model that did not see the rows.
    goal : Goal
        Constraints; none gives no rule.
    tolerances : sequence of float
        Gaps asked for on the first target.
    """
    if not goal.targets:
        return []
    factor = dict(zip(map(id, goal.targets), scales(goal.targets), strict=True))
    targets = needed(goal.targets)
    scale = [factor[id(target)] for target in targets]
    gain = gain_weights(rows, goal.objective)
    neutral = gain[1] / (gain[0] + gain[1])
    one_system = len({target.system.name for target in targets}) == 1
    system = targets[0].system if one_system else _finest(rows.n_cells)
    groups = _groups_of(rows, system)
    cuts = build_cuts(shrunk(rows, goal, groups, system.n_groups), groups, system.n_groups)
    if one_system:
        targets = tuple(
            Target(metric=t.metric, system=_itself(system), limit=t.limit) for t in targets
        )
    picks = _solve(cuts, targets, scale, gain, tolerances, randomized=goal.randomized)
    return [
        (tolerance, None if pick is None else _rule(cuts, pick, system, neutral))
        for tolerance, pick in zip(tolerances, picks, strict=True)
    ]


def _groups_of(rows: ScoreRows, system: GroupSystem) -> NDArray[np.int32]:
    """Return the group of each row; a row of cell -1 has none."""
    found: NDArray[np.int32] = np.append(system.of_cell, np.int32(-1))[rows.cells]
    return found


def _finest(n_cells: int) -> GroupSystem:
    cells = np.arange(n_cells, dtype=np.int32)
    return GroupSystem(name="cells", labels=tuple(str(c) for c in cells), of_cell=cells)


def _itself(system: GroupSystem) -> GroupSystem:
    """Return the same groups over themselves as the cells."""
    cells = np.arange(system.n_groups, dtype=np.int32)
    return GroupSystem(name=system.name, labels=system.labels, of_cell=cells)


def _solve(
    cuts: Sequence[Cuts],
    targets: Sequence[Target],
    scale: Sequence[float],
    gain: tuple[float, float],
    tolerances: Sequence[float],
    *,
    randomized: bool,
) -> list[Picks | None]:
    """Pairs for two groups, windows for more, the linear program for everything else."""
    one_system = len({target.system.name for target in targets}) == 1
    limits = limits_by_rate(targets, scale)
    if one_system and not randomized and len(cuts) == 2:
        return [_sure(at) for at in solve_pairs(cuts, limits, gain, tolerances)]
    if one_system and not randomized and all(rate in MONOTONE for rate, _, _ in limits):
        windows = Windows(cuts, limits, gain)
        return _never_falling(windows.solve, windows.value, tolerances)
    program = Program(cuts, targets, scale, gain)
    if randomized:
        return [program.mixture(tolerance) for tolerance in tolerances]
    return _never_falling(program.rounded, program.value, tolerances)


def _never_falling(
    solve: Callable[[float], tuple[int, ...] | None],
    value: Callable[[Sequence[int]], float],
    tolerances: Sequence[float],
) -> list[Picks | None]:
    """Solve from the tightest tolerance on; a tighter solution that is better is kept.

    Searches that are not exact may find less where more is allowed.
    """
    best: tuple[int, ...] | None = None
    found: dict[float, tuple[int, ...] | None] = {}
    for tolerance in sorted(set(tolerances)):
        now = solve(tolerance)
        if best is None or (now is not None and value(now) > value(best)):
            best = now
        found[tolerance] = best
    return [_sure(found[tolerance]) for tolerance in tolerances]


def _sure(at: Sequence[int] | None) -> Picks | None:
    return None if at is None else [[(cut, 1.0)] for cut in at]


def _rule(
    cuts: Sequence[Cuts], picks: Picks, system: GroupSystem, neutral: float
) -> ThresholdRule:
    # A group without rows has no best threshold: it is decided like rows without a group.
    return ThresholdRule(
        steps=tuple(
            (Step(threshold=neutral),)
            if c.empty
            else tuple(Step(threshold=float(c.thresholds[at]), share=share) for at, share in pick)
            for c, pick in zip(cuts, picks, strict=True)
        ),
        labels=system.labels,
        group_of_cell=tuple(int(g) for g in system.of_cell),
        neutral=neutral,
    )


MITIGATOR = Mitigator(
    name="group_thresholds",
    stage="post",
    needs_sensitive_at_predict=True,
    serves=frozenset(
        {
            "accuracy_parity_difference",
            "demographic_parity_difference",
            "demographic_parity_ratio",
            "equal_opportunity_difference",
            "equalized_odds_difference",
            "equalized_odds_ratio",
            "error_rate_ratio",
            "false_negative_rate_difference",
            "false_positive_rate_difference",
        }
    ),
    fit_rules=fit_rules,
)
