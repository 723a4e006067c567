"""What the post-processors that read groups share: the problem on groups, its solvers, the rule.

A goal may speak about several group systems. Constraints that others imply are dropped; what is
left lives on the groups of one system, or on the finest cells.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import GroupSystem
from fairautoml.metrics._table import Rate
from fairautoml.metrics.rates import FPR, TPR
from fairautoml.mitigators._base import Goal, ScoreRows, Target, scales
from fairautoml.mitigators._cells import (
    Cuts,
    build_cuts,
    gain_weights,
    limits_by_rate,
)
from fairautoml.mitigators._exact import Windows, solve_pairs
from fairautoml.mitigators._linear import Program
from fairautoml.mitigators._rules import Step, ThresholdRule

Picks = Sequence[Sequence[tuple[int, float]]]
"""Per group the chosen cuts and their shares."""

FEWEST_ROWS = 20
"""Rows from which a part that a target leaves out has a threshold of its own."""

THRESHOLDS_SERVE = frozenset(
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
)
"""Fairness metrics whose rates are linear in the shares of the cuts."""

ANCHORED_SERVE = frozenset(
    {
        "demographic_parity_to_overall",
        "equalized_odds_to_overall",
        "false_negative_rate_to_overall",
        "false_positive_rate_to_overall",
        "fned",
        "fped",
    }
)
"""The same rates against those of everybody: for what solves the linear program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posed:
    """A goal over the groups that a rule tells apart."""

    system: GroupSystem  # those groups
    groups: NDArray[np.int32]  # shape (n_rows,): group of each row, -1 = none
    # constraints that no other implies, over ``system.n_groups`` cells: group ``g`` of ``system``
    # is cell ``g``
    targets: tuple[Target, ...]
    scale: tuple[float, ...]  # limit of each target per unit of tolerance
    gain: tuple[float, float]  # worth of a true acceptance, price of a false one
    # largest share of the rows of all groups together that may be accepted, in [0, 1]; it does
    # not scale with the tolerance, and 1 binds nothing
    capacity: float = 1.0
    lacks: tuple[frozenset[Rate], ...]  # per group the rates whose rows it has none of

    @property
    def neutral(self) -> float:
        """The best threshold on true probabilities when nothing is constrained."""
        return self.gain[1] / (self.gain[0] + self.gain[1])

    def cuts(self, labelled: ScoreRows) -> tuple[Cuts, ...]:
        """Return the cuts of every group."""
        built = build_cuts(labelled, self.groups, self.system.n_groups)
        pairs = zip(built, self.lacks, strict=True)
        return tuple(replace(cuts, lacks=lacks) for cuts, lacks in pairs)

    def deterministic(
        self, cuts: Sequence[Cuts], tolerances: Sequence[float]
    ) -> list[Picks | None]:
        """Return one cut per group for each tolerance, None where none is found.

        Two groups: all pairs; more: windows; several systems, rates against that of everybody,
        rates that do not grow as the threshold falls, or a capacity: the rounded linear program.
        """
        of_pairs = self.capacity >= 1 and not any(
            t.metric.to_overall or t.system.overlapping for t in self.targets
        )
        if of_pairs and len({target.system.key for target in self.targets}) == 1:
            limits = limits_by_rate(self.targets, self.scale)
            if len(cuts) == 2:
                return [_sure(at) for at in solve_pairs(cuts, limits, self.gain, tolerances)]
            if all(rate.is_acceptance for rate, _, _ in limits):
                windows = Windows(cuts, limits, self.gain)
                return never_falling(windows.solve, windows.value, tolerances)
        program = self._program(cuts)
        return never_falling(program.rounded, program.value, tolerances)

    def mixtures(self, cuts: Sequence[Cuts], tolerances: Sequence[float]) -> list[Picks | None]:
        """Return the shares of the cuts of every group, the optimum over all mixtures."""
        program = self._program(cuts)
        return [program.mixture(tolerance) for tolerance in tolerances]

    def _program(self, cuts: Sequence[Cuts]) -> Program:
        return Program(cuts, self.targets, self.scale, self.gain, self.capacity)

    def rules(
        self, labelled: ScoreRows, tolerances: Sequence[float], *, randomized: bool
    ) -> list[tuple[float, ThresholdRule | None]]:
        """Return the best rule on score cuts for each tolerance, None where none is found."""
        cuts = self.cuts(labelled)
        solve = self.mixtures if randomized else self.deterministic
        return [
            (tolerance, None if picks is None else self.rule(cuts, picks))
            for tolerance, picks in zip(tolerances, solve(cuts, tolerances), strict=True)
        ]

    def rule(self, cuts: Sequence[Cuts], picks: Picks) -> ThresholdRule:
        """Return the rule that decides by the chosen cuts."""
        # A group without rows has no best threshold: it is decided like rows without a group.
        return self.thresholds(
            [
                [Step(threshold=self.neutral)]
                if c.empty
                else [Step(threshold=float(c.thresholds[at]), share=share) for at, share in pick]
                for c, pick in zip(cuts, picks, strict=True)
            ]
        )

    def thresholds(self, steps: Sequence[Sequence[Step]]) -> ThresholdRule:
        """Return the rule of the given steps of each group."""
        return ThresholdRule(
            steps=tuple(tuple(of_group) for of_group in steps),
            labels=self.system.labels,
            group_of_cell=tuple(int(g) for g in self.system.of_cell),
            neutral=self.neutral,
        )


def pose(rows: ScoreRows, goal: Goal) -> Posed:
    """Return the problem on the groups that a rule has to tell apart."""
    factor = dict(zip(map(id, goal.targets), scales(goal.targets), strict=True))
    targets = needed(goal.targets)
    scale = tuple(factor[id(target)] for target in targets)
    apart = {target.system.key for target in targets}
    # A rule cannot have one threshold for each of several groups of the same person.
    one_system = len(apart) == 1 and not targets[0].system.overlapping
    if one_system:
        system = targets[0].system
        itself = _itself(system)
        targets = tuple(Target(metric=t.metric, system=itself, limit=t.limit) for t in targets)
    else:
        system, targets = _parted(targets, rows)
    groups = groups_of(rows.cells, system)
    return Posed(
        system=system,
        groups=groups,
        targets=targets,
        scale=scale,
        gain=gain_weights(rows, goal.objective),
        lacks=_lacking(rows, groups, system.n_groups),
    )


def _lacking(
    rows: ScoreRows, groups: NDArray[np.int32], n_groups: int
) -> tuple[frozenset[Rate], ...]:
    """Return the rates whose rows each group has none of."""
    known = groups >= 0
    of, weight, y = groups[known], rows.weight[known], rows.y[known]
    zero, one = (
        np.bincount(of, weights=weight * share, minlength=n_groups) for share in (1 - y, y)
    )
    by_label = (FPR, TPR)
    return tuple(
        frozenset(rate for rate, mass in zip(by_label, of_group, strict=True) if mass <= 0)
        for of_group in zip(zero, one, strict=True)
    )


def groups_of(cells: NDArray[np.integer], system: GroupSystem) -> NDArray[np.int32]:
    """Return the group of each row, -1 = none; a row of cell -1 has none."""
    found: NDArray[np.int32] = np.append(system.of_cell, np.int32(-1))[cells]
    return found


def needed(targets: Sequence[Target]) -> tuple[Target, ...]:
    """Return the targets that no other target implies.

    The rate of a group is a weighted mean of the rates of its parts, so a gap bounded on a finer
    group system is bounded on every coarser one.
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
    if not same or not _refines(finer.system, coarser.system):
        return False
    # "Everybody" are those whom the system covers.
    return not finer.metric.to_overall or np.array_equal(
        finer.system.of_cell >= 0, coarser.system.of_cell >= 0
    )


def _refines(finer: GroupSystem, coarser: GroupSystem) -> bool:
    """Whether each group of ``finer`` lies inside one group of ``coarser``, none left out."""
    if finer.overlapping or coarser.overlapping:
        return finer.overlapping and coarser.overlapping and finer.name == coarser.name
    inside = coarser.of_cell >= 0
    if (finer.of_cell[inside] < 0).any():
        return False
    pairs = {(int(f), int(c)) for f, c in zip(finer.of_cell, coarser.of_cell, strict=True)}
    parts = [f for f, _ in pairs if f >= 0]
    return len(parts) == len(set(parts))


def _parted(targets: Sequence[Target], rows: ScoreRows) -> tuple[GroupSystem, tuple[Target, ...]]:
    """Return the coarsest groups that those of all targets are made of, and the targets over them.

    Cells that no target tells apart are one group, named by the groups that its people belong to.
    """
    systems = {target.system.key: target.system for target in targets}
    n_cells = rows.n_cells
    member = np.concatenate([system.member[:, :n_cells] for system in systems.values()])
    _, first, part = np.unique(member.T, axis=0, return_index=True, return_inverse=True)
    kept = ~_left_out(tuple(systems.values()), rows, first, part.reshape(-1))
    order = np.argsort(first)
    order = order[kept[order]]
    place = np.full(len(first), -1, dtype=np.int32)
    place[order] = np.arange(len(order))  # in the order of the cells
    first = first[order]
    labels = tuple(
        " & ".join(_belongs(system, int(cell)) for system in systems.values()) for cell in first
    )
    over = {
        key: replace(
            system,
            of_cell=system.of_cell[first],
            masks=None if system.masks is None else system.masks[:, first],
        )
        for key, system in systems.items()
    }
    parts = GroupSystem(name="cells", labels=labels, of_cell=place[part.reshape(-1)])
    return parts, tuple(replace(target, system=over[target.system.key]) for target in targets)


def _left_out(
    systems: Sequence[GroupSystem],
    rows: ScoreRows,
    first: NDArray[np.integer],
    part: NDArray[np.integer],
) -> NDArray[np.bool_]:
    """Return which parts are decided as without constraints, shape (n_parts,).

    Those are the parts in no group of any target, and those that some target leaves out and that
    have hardly a row to fit a threshold of their own on.
    """
    if any(system.overlapping for system in systems):
        # Rates are compared with those of all rows, whose thresholds all matter.
        return np.zeros(len(first), dtype=np.bool_)
    covered = np.stack([system.of_cell[first] >= 0 for system in systems])
    n_rows = np.bincount(part[rows.cells[rows.cells >= 0]], minlength=len(first))
    n_covering = covered.sum(axis=0)
    tiny = (n_covering < len(systems)) & (n_rows < FEWEST_ROWS)
    left_out: NDArray[np.bool_] = (n_covering == 0) | tiny
    return left_out if np.count_nonzero(~left_out) >= 2 else np.zeros_like(left_out)


def _belongs(system: GroupSystem, cell: int) -> str:
    if system.masks is None:
        at = int(system.of_cell[cell])
        return f"no {system.name}" if at < 0 else system.labels[at]
    found = [
        label for label, inside in zip(system.labels, system.masks, strict=True) if inside[cell]
    ]
    return " + ".join(found) if found else f"no {system.name}"


def _itself(system: GroupSystem) -> GroupSystem:
    """Return the same groups over themselves as the cells."""
    cells = np.arange(system.n_groups, dtype=np.int32)
    return GroupSystem(name=system.name, labels=system.labels, of_cell=cells)


def never_falling(
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
