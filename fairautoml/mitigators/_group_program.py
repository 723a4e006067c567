"""Threshold problems over groups, solved by a linear program, and the resulting rules.

A goal may have constraints on several group systems. Implied constraints are dropped; the others
are formulated on the groups of one system or on the finest groups.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics import BoundConstraint
from fairautoml.metrics._table import Rate
from fairautoml.metrics.groups import GroupSystem
from fairautoml.metrics.rates import worst
from fairautoml.mitigators._base import (
    FittedRules,
    Goal,
    RateMetrics,
    RuntimeRule,
    ScoreRows,
    offsets,
    scales,
)
from fairautoml.mitigators._linear_program import Program
from fairautoml.mitigators._thresholds import (
    MAX_CUTS,
    SLACK,
    Floor,
    RateIntervals,
    ThresholdCandidates,
    above_floors,
    build_cuts,
    by_group,
    gain_weights,
    limits_by_rate,
    per_unit,
    shrunk,
    solve_pairs,
)
from fairautoml.records import Floats, Rule
from fairautoml.runtime._rules import groups_of

_NO_CELL = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Accept scores of at least ``threshold`` with probability ``share``."""

    threshold: float
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdRule(RuntimeRule):
    """Accept a row when its score reaches the threshold of its group."""

    # per group the thresholds and the probability of each; a single step of share 1 is a
    # deterministic threshold
    steps: tuple[tuple[Step, ...], ...]
    labels: tuple[str, ...]  # display name of each group
    group_of_cell: tuple[int, ...]  # group of each finest cell, -1 = none
    neutral: float  # threshold for rows without a group

    needs_sensitive: ClassVar[bool] = True

    @property
    def randomized(self) -> bool:
        """Whether the rule mixes two thresholds in some group."""
        return any(step.share < 1.0 for steps in self.steps for step in steps)

    def to_dict(self) -> dict[str, Any]:
        depth = max(len(steps) for steps in self.steps)
        cuts = np.full((depth, len(self.steps) + 1), np.inf)
        shares = np.zeros_like(cuts)
        for group, steps in enumerate(self.steps):
            cuts[: len(steps), group] = [step.threshold for step in steps]
            shares[: len(steps), group] = [step.share for step in steps]
        cuts[0, -1], shares[0, -1] = self.neutral, 1.0
        return thresholds(self.group_of_cell, cuts, shares, randomized=self.randomized)

    def describe(self) -> str:
        return ", ".join(
            f"{label}: " + " or ".join(_text(step) for step in steps)
            for label, steps in zip(self.labels, self.steps, strict=True)
        )


def thresholds(
    of_cell: Sequence[int],
    cuts: Floats,
    shares: Floats | None = None,
    *,
    randomized: bool = False,
) -> dict[str, Any]:
    """Return the portable form of thresholds by step and group; the last group is of no cell."""
    return {
        "kind": "thresholds",
        "randomized": randomized,
        "of_cell": np.array(of_cell, dtype=np.int32),
        "cuts": cuts,
        "shares": np.ones_like(cuts) if shares is None else shares,
    }


def _text(step: Step) -> str:
    if step.threshold == np.inf:
        cut = "reject all"
    elif step.threshold == -np.inf:
        cut = "accept all"
    else:
        cut = f">= {step.threshold:.4f}"
    return cut if step.share == 1.0 else f"{cut} (share {step.share:.3f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonRule(RuntimeRule):
    """Accept a row when its score reaches one common threshold."""

    threshold: float

    needs_sensitive: ClassVar[bool] = False

    def to_dict(self) -> dict[str, Any]:
        return thresholds((), np.array([[self.threshold]]))

    def describe(self) -> str:
        return f"all: {_text(Step(threshold=self.threshold))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EquivalentRule(RuntimeRule):
    """A rule that decides as one threshold per group does."""

    cuts: ThresholdRule  # those thresholds

    needs_sensitive: ClassVar[bool] = True

    def to_dict(self) -> dict[str, Any]:
        return self.cuts.to_dict()


Picks = Sequence[Sequence[tuple[int, float]]]
"""Chosen cuts and their shares, per group."""

FEWEST_ROWS = 20
"""Smallest number of rows for which an unconstrained part gets its own threshold."""

THRESHOLDS_SERVE = RateMetrics(difference="linear", ratio="linear", minimum="any")
"""Metrics of rates that are linear in the shares of the cuts; a given minimum of any rate is."""

THRESHOLD_PROGRAMS_SERVE = RateMetrics(
    difference="linear", ratio="linear", minimum="any", to_overall="linear"
)
"""The linear program also compares with the overall rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdProblem:
    """A goal, formulated over the groups that a rule must distinguish."""

    system: GroupSystem  # groups of the rule
    groups: NDArray[np.int64]  # shape (n_rows,): group of each row, -1 = none
    # constraints that are not implied by others, over ``system.n_groups`` cells: group ``g`` of
    # ``system`` is cell ``g``
    targets: tuple[BoundConstraint, ...]
    scale: tuple[float, ...]  # limit of each target per unit of tolerance
    floors: tuple[Floor, ...] = ()  # the same for minimums
    gain: tuple[float, float]  # gain of a true acceptance, cost of a false one
    lacks: tuple[frozenset[int], ...]  # per group the labels without rows

    @property
    def neutral(self) -> float:
        """Best threshold on true probabilities without constraints."""
        return self.gain[1] / (self.gain[0] + self.gain[1])

    def shrunk(self, rows: ScoreRows, goal: Goal) -> ScoreRows:
        """Return the rows with labels shrunk towards the scores, where that improves the rules."""
        return shrunk(rows, goal, self.groups, self.system.n_groups)

    def ranked(self, rows: ScoreRows) -> tuple["Ranked", ...]:
        """Return the rows of every group in ascending order of the scores."""
        return rank(rows, self.groups, self.system.n_groups)

    def cuts(
        self, labelled: ScoreRows, most: int | None = MAX_CUTS
    ) -> tuple[ThresholdCandidates, ...]:
        """Return the threshold candidates of every group."""
        built = build_cuts(labelled, self.groups, self.system.n_groups, most)
        pairs = zip(built, self.lacks, strict=True)
        return tuple(replace(cuts, lacks=lacks) for cuts, lacks in pairs)

    def deterministic(
        self, cuts: Sequence[ThresholdCandidates], tolerances: Sequence[float]
    ) -> list[Picks | None]:
        """Return one cut per group for each tolerance, None where none is found.

        Two groups: all pairs. More groups: rate intervals, and with minimums only the best cut of
        each group. Several systems, comparisons with the overall rate, or rates that are not
        monotone in the threshold: the rounded linear program.
        """
        if self._by_group:
            limits = limits_by_rate(self.targets, self.scale)
            if len(cuts) == 2:
                pairs = solve_pairs(cuts, limits, self.gain, tolerances, self.floors)
                return [_sure(at) for at in pairs]
            if all(rate.is_acceptance for rate, _, _ in limits):
                windows = RateIntervals(cuts, limits, self.gain)
                solve = partial(self._solve, windows, cuts) if self.floors else windows.solve
                return never_falling(solve, windows.value, tolerances)
        program = self._program(cuts)
        return never_falling(program.rounded, program.value, tolerances)

    @property
    def _by_group(self) -> bool:
        """Whether each group of the rule is a group of every constraint."""
        of_pairs = not any(target.to_overall for target in self.targets)
        systems = [target.system for target in self.targets]
        systems += [floor.system for floor in self.floors]
        apart = any(system.overlapping for system in systems)
        return of_pairs and not apart and len({system.key for system in systems}) == 1

    def _solve(
        self, windows: RateIntervals, cuts: Sequence[ThresholdCandidates], tolerance: float
    ) -> tuple[int, ...] | None:
        """Return the best cuts among those that reach the floors."""
        kept = [above_floors(cut, self.floors, tolerance) for cut in cuts]
        return windows.restricted(kept).solve(tolerance)

    def mixtures(
        self, cuts: Sequence[ThresholdCandidates], tolerances: Sequence[float]
    ) -> list[Picks | None]:
        """Return the shares of the cuts of every group, optimal over all mixtures."""
        program = self._program(cuts)
        return [program.mixture(tolerance) for tolerance in tolerances]

    def _program(self, cuts: Sequence[ThresholdCandidates]) -> Program:
        return Program(cuts, self.targets, self.scale, self.gain, self.floors)

    def rules(
        self, labelled: ScoreRows, tolerances: Sequence[float], *, randomized: bool
    ) -> list[tuple[float, ThresholdRule | None]]:
        """Return the best rule for each tolerance, None where none is found."""
        # The program mixes corners of the hulls only, which are few among all cuts.
        cuts = self.cuts(labelled, None if randomized else MAX_CUTS)
        solve = self.mixtures if randomized else self.deterministic
        return [
            (tolerance, None if picks is None else self.rule(cuts, picks))
            for tolerance, picks in zip(tolerances, solve(cuts, tolerances), strict=True)
        ]

    def rule(self, cuts: Sequence[ThresholdCandidates], picks: Picks) -> ThresholdRule:
        """Return the rule of the chosen cuts."""
        # A group without rows has no best threshold and uses the neutral one.
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


def build_problem(rows: ScoreRows, goal: Goal) -> ThresholdProblem:
    """Return the problem over the groups that a rule must distinguish."""
    targets = needed(goal.targets)
    first = goal.targets[0].limit
    scale, offset = scales(targets, first), offsets(targets, first)
    apart = {target.system.key for target in targets}
    # Overlapping groups cannot each have a threshold, because a row belongs to several of them.
    one_system = len(apart) == 1 and not targets[0].system.overlapping
    if one_system:
        system = targets[0].system
        itself = _itself(system)
        targets = tuple(
            BoundConstraint(metric=t.metric, system=itself, limit=t.limit) for t in targets
        )
    else:
        system, targets = _parted(targets, rows)
    groups = groups_of(system.of_cell, rows.cells)
    compared = [not target.metric.is_minimum for target in targets]
    return ThresholdProblem(
        system=system,
        groups=groups,
        targets=tuple(itertools.compress(targets, compared)),
        scale=tuple(itertools.compress(scale, compared)),
        floors=tuple(
            Floor(rate=rate, system=target.system, offset=least)
            for target, least, gap in zip(targets, offset, compared, strict=True)
            for rate in target.metric.rates
            if not gap
        ),
        gain=gain_weights(rows, goal.objective),
        lacks=_lacking(rows, groups, system.n_groups),
    )


def _lacking(
    rows: ScoreRows, groups: NDArray[np.int64], n_groups: int
) -> tuple[frozenset[int], ...]:
    """Return the labels of which each group has no rows."""
    known = groups >= 0
    of, weight, y = groups[known], rows.weight[known], rows.y[known]
    mass = [np.bincount(of, weights=weight * share, minlength=n_groups) for share in (1 - y, y)]
    return tuple(
        frozenset(label for label in (0, 1) if mass[label][group] <= 0)
        for group in range(n_groups)
    )


def needed(targets: Sequence[BoundConstraint]) -> tuple[BoundConstraint, ...]:
    """Return the targets that no other target implies.

    The rate of a group is a weighted mean of the rates of its parts, so a bound on a finer group
    system implies the same bound on every coarser one.
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


def _implies(finer: BoundConstraint, coarser: BoundConstraint) -> bool:
    same = finer.metric.name == coarser.metric.name and finer.limit <= coarser.limit
    if not same or not _refines(finer.system, coarser.system):
        return False
    # The overall rate covers only the rows that belong to a group of the system.
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


def _parted(
    targets: Sequence[BoundConstraint], rows: ScoreRows
) -> tuple[GroupSystem, tuple[BoundConstraint, ...]]:
    """Return the coarsest common refinement of the groups, and the targets over it.

    Cells that no target distinguishes are merged; a merged group is named after all groups that
    contain it.
    """
    systems = {target.system.key: target.system for target in targets}
    n_cells = rows.n_cells
    member = np.concatenate([system.member[:, :n_cells] for system in systems.values()])
    _, first, part = np.unique(member.T, axis=0, return_index=True, return_inverse=True)
    kept = ~_left_out(tuple(systems.values()), rows, first, part.reshape(-1))
    order = np.argsort(first)
    order = order[kept[order]]
    place = np.full(len(first), -1, dtype=np.int32)
    place[order] = np.arange(len(order))  # in cell order
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
    """Return which parts are decided without constraints: uncovered, or excluded and tiny."""
    if any(system.overlapping for system in systems):
        # The overall rate depends on the thresholds of all parts.
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
    """Return the system with its own groups as the cells."""
    cells = np.arange(system.n_groups, dtype=np.int32)
    return GroupSystem(name=system.name, labels=system.labels, of_cell=cells)


def never_falling(
    solve: Callable[[float], tuple[int, ...] | None],
    value: Callable[[Sequence[int]], float],
    tolerances: Sequence[float],
) -> list[Picks | None]:
    """Solve from the tightest tolerance on, and keep a tighter solution that is better."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """Rows of one group with positive weight in ascending score, and their cumulated weight."""

    scores: Floats  # shape (n_rows,): ascending
    # weight of label 0 and label 1 among the lowest rows, by their number
    below: Floats  # shape (2, n_rows + 1)

    @property
    def totals(self) -> Floats:
        """Return the weight of label 0 and label 1, shape (2,)."""
        return self.below[:, -1]

    def accepted_from(self, thresholds: Floats) -> Floats:
        """Return the weight by label of the scores at or above each threshold."""
        refused = np.searchsorted(self.scores, thresholds, side="left")
        return self.totals[:, None] - self.below[:, refused]

    def cut(self, refused: int) -> float:
        """Return the threshold that rejects the given number of lowest rows."""
        if refused == 0:
            return -np.inf
        if refused == len(self.scores):
            return np.inf
        below, above = self.scores[refused - 1], self.scores[refused]
        # The midpoint of two adjacent floats may round down to the lower one.
        middle = (below + above) / 2
        return float(middle if middle > below else above)


def rank(rows: ScoreRows, groups: NDArray[np.integer], n_groups: int) -> tuple[Ranked, ...]:
    """Return the rows of every group in ascending order of the scores."""
    kept = np.flatnonzero((groups >= 0) & (rows.weight > 0))
    order = kept[np.argsort(rows.scores[kept])]
    return tuple(_ranked(rows, part) for part in by_group(order, groups, n_groups))


def _ranked(rows: ScoreRows, order: NDArray[np.integer]) -> Ranked:
    weight, y = rows.weight[order], rows.y[order]
    below = np.zeros((2, len(order) + 1))
    np.cumsum(weight * (1 - y), out=below[0, 1:])
    np.cumsum(weight * y, out=below[1, 1:])
    return Ranked(scores=rows.scores[order].astype(np.float64), below=below)


def gaps(accepted: Floats, totals: Floats, problem: ThresholdProblem) -> Floats:
    """Return the gap per unit of tolerance of every choice, over the groups with the rate."""
    largest = np.zeros(accepted.shape[2])
    for target, scale in zip(problem.targets, problem.scale, strict=True):
        parts = np.arange(target.system.n_groups)[:, None] == target.system.of_cell
        member = parts.astype(np.float64)
        for rate in target.metric.rates:
            mass = member @ counted(totals, rate)
            has = mass > 0
            if has.sum() < 2:
                continue
            rates = (member[has] @ counted(accepted, rate)) / mass[has, None]
            gap = target.metric.gap(worst(rates.T[None], target.metric.form))
            np.maximum(largest, per_unit(np.nan_to_num(gap, nan=np.inf), scale), out=largest)
    return largest


def counted(by_label: Floats, rate: Rate) -> Floats:
    """Return the weight that counts for a monotone rate: label 1, label 0 or both."""
    if rate.label is None:
        return by_label[:, 0] + by_label[:, 1]
    return by_label[:, rate.label]


def outcomes(
    choices: Iterable[Floats],
    ranked: Sequence[Ranked],
    problem: ThresholdProblem,
) -> tuple[Floats, Floats]:
    """Return gap and gain of several arrays of accepted weights, one after the other."""
    totals = np.array([group.totals for group in ranked])
    found = [(gaps(one, totals, problem), gains(one, problem.gain)) for one in choices]
    gap, value = zip(*found, strict=True)
    return np.concatenate(gap), np.concatenate(value)


def gains(accepted: Floats, gain: tuple[float, float]) -> Floats:
    """Return the gain of every choice, shape (n_choices,)."""
    false, true = accepted.sum(axis=0)
    return gain[0] * true - gain[1] * false


def rules_within(
    gap: Floats,
    value: Floats,
    tolerances: Sequence[float],
    rule: Callable[[int], Rule],
) -> FittedRules:
    """Return the rule of the best choice within each tolerance, or None."""
    best = best_within(gap, value, tolerances)
    return [(t, None if at is None else rule(at)) for t, at in zip(tolerances, best, strict=True)]


def best_within(gap: Floats, value: Floats, tolerances: Sequence[float]) -> list[int | None]:
    """Return the best choice within each tolerance, the first of ties, or None."""
    found: list[int | None] = []
    for tolerance in tolerances:
        allowed = np.where(gap <= tolerance + SLACK, value, -np.inf)
        at = int(allowed.argmax())
        found.append(at if allowed[at] > -np.inf else None)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Cells merged by their membership in the groups of all targets."""

    of_cell: tuple[int, ...]  # part of each finest cell, -1 = in no group
    labels: tuple[str, ...]  # display name of each part

    @classmethod
    def of(cls, targets: Sequence[BoundConstraint], n_cells: int) -> "Parts":
        """Return the parts of the groups of the targets."""
        systems = {target.system.key: target.system for target in targets}
        member = np.concatenate([system.member for system in systems.values()])[:, :n_cells]
        nowhere = ~member.any(axis=0)
        # The sign puts the first group first.
        kinds, part = np.unique(~member.T, axis=0, return_inverse=True)
        part = np.where(nowhere, -1, part.ravel())
        used = np.unique(part[part >= 0])
        dense = np.where(part < 0, -1, np.searchsorted(used, part))
        names = [label for system in systems.values() for label in system.labels]
        first = len(next(iter(systems.values())).labels)
        labels = [_name(~kinds[at], names, first) for at in used]
        return cls(of_cell=tuple(dense.tolist()), labels=tuple(labels))

    def reordered(self, order: Sequence[int]) -> "Parts":
        """Return the same parts in another order."""
        place = {part: at for at, part in enumerate(order)}
        return Parts(
            of_cell=tuple(place.get(part, -1) for part in self.of_cell),
            labels=tuple(self.labels[part] for part in order),
        )

    def at(self, cells: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return the part of each row, -1 = no cell or group; shape (n_rows,)."""
        # Index -1 selects the last element.
        return np.array([*self.of_cell, -1], dtype=np.int32)[cells]

    def rows(self, rows: ScoreRows) -> ScoreRows:
        """Return the rows with parts in place of cells."""
        return replace(rows, cells=self.at(rows.cells), n_cells=len(self.labels))

    def goal(self, goal: Goal) -> Goal:
        """Return the goal with groups over parts."""
        targets = [replace(t, system=self._system(t.system)) for t in goal.targets]
        return replace(goal, targets=tuple(targets))

    def _system(self, system: GroupSystem) -> GroupSystem:
        parts = np.array(self.of_cell)
        member = np.zeros((system.n_groups, len(self.labels)), dtype=bool)
        known = np.flatnonzero(parts >= 0)
        member[:, parts[known]] = system.member[:, known]
        # Ordered by content, so that group names do not change the rounding of sums.
        order = np.lexsort(~member.T[::-1])
        member, labels = member[order], tuple(system.labels[at] for at in order)
        of_part = np.where(member.any(axis=0), member.argmax(axis=0), -1).astype(np.int32)
        masks = member if system.overlapping else None
        return GroupSystem(name=system.name, labels=labels, of_cell=of_part, masks=masks)


def _name(member: NDArray[np.bool_], names: Sequence[str], first: int) -> str:
    """Return the group in the first system, else the groups in the other systems."""
    inside = np.flatnonzero(member).tolist()
    own = [names[at] for at in inside if at < first]
    return " & ".join(own if own else [names[at] for at in inside])


@dataclass(frozen=True, slots=True)
class AsPredicted(RuntimeRule):
    """Return the prediction unchanged."""

    needs_sensitive: ClassVar[bool] = False

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "shifts", "randomized": False, "of_cell": _NO_CELL, "shifts": np.zeros(1)}

    def describe(self) -> str:
        return "all: as predicted"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftRule(RuntimeRule):
    """Add a number that depends on the group."""

    shifts: tuple[float, ...]  # per part; rows without a part are not shifted
    parts: Parts  # which cells make up each part

    @property
    def needs_sensitive(self) -> bool:
        """Whether any part is shifted."""
        return any(self.shifts)

    def to_dict(self) -> dict[str, Any]:
        shifts = np.array([*self.shifts, 0.0])
        of_cell = np.array(self.parts.of_cell, dtype=np.int32)
        return {"kind": "shifts", "randomized": False, "of_cell": of_cell, "shifts": shifts}

    def describe(self) -> str:
        pairs = zip(self.parts.labels, self.shifts, strict=True)
        return ", ".join(f"{label}: {shift:+.4g}" for label, shift in pairs)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moves:
    """Full repair of the predictions of each part; compared by identity."""

    # per part a grid of predictions, ascending, and the shift at each
    knots: tuple[Floats, ...]
    steps: tuple[Floats, ...]
    parts: Parts  # which cells make up each part


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberRepair(RuntimeRule):
    """Move each prediction towards the common distribution of all groups."""

    strength: float  # fraction of the full repair, 0 to 1
    moves: Moves  # full repair

    @property
    def needs_sensitive(self) -> bool:
        """Whether any prediction changes."""
        return self.strength > 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": "repair",
            "randomized": False,
            "of_cell": np.array(self.moves.parts.of_cell, dtype=np.int32),
            "strength": self.strength,
            "knots": self.moves.knots,
            "steps": self.moves.steps,
        }

    def describe(self) -> str:
        return f"moved {self.strength:.3f} of the way to the common distribution of all groups"
