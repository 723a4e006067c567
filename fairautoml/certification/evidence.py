"""Turn constraints into claims with the counts of rows that test them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fairautoml.certification.bounds import (
    Cell,
    Count,
    Mean,
    Weighted,
    cp_lower,
    cp_upper,
    empty,
    hoeffding_margin,
)
from fairautoml.metrics import Constraint, GroupCounts
from fairautoml.metrics._table import Rate
from fairautoml.metrics.groups import POOLED, GroupSystem, SmallGroups, constrained, outside_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimTerms:
    """One constraint on one group system, without its counts."""

    label: str  # the constraint as text, with its group system
    system: str  # name of the group system
    # largest difference of rates, smallest ratio, or smallest rate
    form: Literal["difference", "ratio", "minimum"]
    bound: float  # largest difference allowed, smallest ratio or smallest rate, in [0, 1]
    groups: tuple[str, ...]  # declared groups, also those without rows
    events: tuple[str, ...]  # rates that are each compared between the groups, or bounded
    absent: tuple[str, ...] = ()  # groups without any row
    independent: bool = True  # no entity has rows in two cells
    n_outside: int = 0  # rows that are in none of the groups

    @property
    def bounded_below(self) -> bool:
        """Whether larger values are better."""
        return self.form != "difference"

    def terms(self) -> dict[str, Any]:
        """Return the fields of this class by name."""
        return {field.name: getattr(self, field.name) for field in fields(ClaimTerms)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(ClaimTerms):
    """One constraint on one group system, with the counts that test it."""

    cells: tuple[tuple[Cell, ...], ...]  # ``cells[event][group]``

    @property
    def undefined(self) -> tuple[str, ...]:
        """Empty cells, as ``event of group``."""
        return tuple(
            f"{event} of {group}"
            for event, cells in zip(self.events, self.cells, strict=True)
            for group, cell in zip(self.groups, cells, strict=True)
            if empty(cell)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredScore:
    """A minimum accuracy and the measured one."""

    bound: float  # in [0, 1]
    accuracy: float  # share of correct decisions, or its expectation
    n: int  # rows (or entities), positive

    @property
    def label(self) -> str:
        """The claim as text."""
        return f"accuracy >= {self.bound}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MinScore(MeasuredScore):
    """The claim that accuracy is at least ``bound``.

    Notes
    -----
    The number of correct decisions on independent rows is binomial if all rows have the same
    probability. Otherwise, for example with fixed numbers of rows per group, its tails are at
    most those of the binomial with the mean probability ``p``, beyond ``n p + 1`` and up to
    ``n p - 1`` (Hoeffding, Theorem 4). Clopper-Pearson bounds are therefore used only for counts
    at least one row beyond ``n bound``, where the theorem holds for every ``p`` that makes the
    claim false. Means of entities or of probabilities use Hoeffding's bound of bounded variables.

    References
    ----------
    Hoeffding, "On the distribution of the number of successes in independent trials", Annals of
    Mathematical Statistics 27 (1956).
    """

    # whether decisions are deterministic and rows are independent
    counted: bool = False

    @property
    def method(self) -> str:
        """Name of the bound."""
        return "clopper_pearson" if self.counted else "hoeffding"

    @property
    def _right(self) -> int:
        return round(self.accuracy * self.n)

    def shown(self, level: float) -> bool:
        """Return whether the accuracy is at least ``bound``, with error probability ``level``."""
        if not self.counted:
            return self.accuracy - hoeffding_margin(level, self.n) >= self.bound
        beyond = self._right >= self.n * self.bound + 1
        return beyond and float(cp_lower(self._right, self.n, level)) >= self.bound

    def refuted(self, level: float) -> bool:
        """Return whether the accuracy is below ``bound``, with error probability ``level``."""
        if not self.counted:
            return self.accuracy + hoeffding_margin(level, self.n) < self.bound
        beyond = self._right <= self.n * self.bound - 1
        return beyond and float(cp_upper(self._right, self.n, level)) < self.bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All claims about one candidate."""

    claims: tuple[Claim, ...]  # one per constraint and group system
    floor: MinScore | None = None  # with ``min_score``
    # all rows have the same label, so that they cannot test any claim
    constant_target: bool = False

    @property
    def n_bounds(self) -> int:
        """Number of distinct cells over all claims, plus one for the floor."""
        # Claims may leave out different groups, and pool different ones under the same name.
        cells = {
            (claim.system, claim.groups if POOLED in claim.groups else (), event, group)
            for claim in self.claims
            for event in claim.events
            for group in claim.groups
        }
        return len(cells) + (self.floor is not None)


def claim_from_counts(
    constraint: Constraint, counts: GroupCounts, groups: Sequence[str], system: str = ""
) -> Claim:
    """Return the claim about a deterministic rule, from whole counts of unweighted rows."""
    table = counts.table
    cells = tuple(
        tuple(Count(x=int(x), n=int(n)) for x, n in zip(*rate.sums(table), strict=True))
        for rate in constraint.metric.rates
    )
    return _claim(constraint, system, groups, cells, table.sum(axis=(1, 2)) > 0)


def _claim(
    constraint: Constraint,
    system: str,
    groups: Sequence[str],
    cells: tuple[tuple[Cell, ...], ...],
    present: NDArray[np.bool_],
    *,
    independent: bool = True,
) -> Claim:
    return Claim(
        label=label_of(constraint, system),
        system=system,
        form="difference" if constraint.metric.form == "level" else constraint.metric.form,
        bound=constraint.bound,
        groups=tuple(groups),
        events=tuple(rate.name for rate in constraint.metric.rates),
        cells=cells,
        absent=tuple(name for name, some in zip(groups, present, strict=True) if not some),
        independent=independent,
    )


def floor_from_counts(min_score: float, counts: GroupCounts) -> MinScore:
    """Return the accuracy floor of a deterministic rule, from unweighted counts.

    If rows were drawn in fixed numbers per group, it refers to a population with those shares.
    """
    pooled = counts.pooled()
    n = int(pooled.sum())
    right = np.trace(pooled)
    whole = bool(np.array_equal(np.rint(pooled), pooled))
    return MinScore(bound=min_score, accuracy=float(right / n), n=n, counted=whole)


def label_of(constraint: Constraint, system: str) -> str:
    """Return the constraint as text, including the name of the grouping."""
    if constraint.system is not None or not system:
        return constraint.label
    return constraint.label.replace(" ", f"[{system}] ", 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleRows:
    """Certification rows of one candidate, for randomized rules, weights or entities.

    There is no finite-sample bound for weighted entities, nor for rates whose denominator depends
    on the decision of entities.
    """

    codes: NDArray[np.integer]  # shape (n_rows,): group of each row, from 0
    y: NDArray[np.integer]  # shape (n_rows,): labels 0 or 1
    decision: NDArray[np.float64]  # shape (n_rows,): probability of acceptance in [0, 1]
    weight: NDArray[np.float64] | None = None  # shape (n_rows,): sample weights, non-negative
    # largest possible weight, known before the rows are seen; required with ``weight``
    largest_weight: float | None = None
    entities: NDArray[np.integer] | None = None  # shape (n_rows,): entity of each row


def claim_from_rows(
    constraint: Constraint, rows: SampleRows, groups: Sequence[str], *, system: str = ""
) -> Claim:
    """Return the claim about a randomized rule, on weighted rows or on entities."""
    cells = tuple(
        tuple(_cell(rows, rate, rows.codes == g) for g in range(len(groups)))
        for rate in constraint.metric.rates
    )
    present = np.bincount(rows.codes[rows.codes >= 0], minlength=len(groups)) > 0
    independent = rows.entities is None or not _shared(rows.codes, rows.entities)
    return _claim(constraint, system, groups, cells, present, independent=independent)


def _shared(codes: NDArray[np.integer], entities: NDArray[np.integer]) -> bool:
    """Return whether an entity has rows in two groups."""
    pairs = np.unique(np.c_[codes, entities][codes >= 0], axis=0)
    return len(pairs) > len(np.unique(pairs[:, 1]))


def _cell(rows: SampleRows, rate: Rate, here: NDArray[np.bool_]) -> Cell:
    """Return the cell of one rate in one group."""
    mass, happened = rate.shares(rows.y, rows.decision)
    here = here & (mass > 0) if not rate.depends_on_decision else here
    outcome = happened[here]
    if rows.weight is not None or rate.depends_on_decision:
        return _weighted(rows, mass[here], here, outcome)
    outcome = _per_entity(outcome, rows.entities, here)
    n = len(outcome)
    return Mean(mean=float(outcome.mean()) if n else 0.0, n=n)


def _per_entity(
    outcome: NDArray[np.float64], entities: NDArray[np.integer] | None, here: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the mean outcome of each entity, or of each row without entities."""
    if entities is None or len(outcome) == 0:
        return outcome
    _, of = np.unique(entities[here], return_inverse=True)
    return np.bincount(of, weights=outcome) / np.bincount(of)


def floor_from_rows(min_score: float, rows: SampleRows) -> MinScore:
    """Return the accuracy floor of a randomized rule, or on entities; without weights."""
    right = np.where(rows.y == 1, rows.decision, 1.0 - rows.decision)
    right = _per_entity(right, rows.entities, np.ones(len(right), dtype=np.bool_))
    return MinScore(bound=min_score, accuracy=float(right.mean()), n=len(right))


def _weighted(
    rows: SampleRows,
    share: NDArray[np.float64],
    here: NDArray[np.bool_],
    outcome: NDArray[np.float64],
) -> Weighted:
    """Return a weighted cell, in which a row counts by its share in the denominator."""
    weight = np.ones(len(outcome)) if rows.weight is None else rows.weight[here]
    mass = weight * share
    return Weighted(
        sum_wh=float(weight @ outcome),
        sum_w=float(mass.sum()),
        n=len(outcome),
        largest=1.0 if rows.largest_weight is None else rows.largest_weight,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """One constraint on one group system."""

    constraint: Constraint  # with the name of the system
    system: GroupSystem
    outside: tuple[str, ...] = ()  # groups that the constraint leaves out

    @property
    def testable(self) -> bool:
        """Whether the constraint is on rates of groups that do not overlap."""
        plain = self.system.masks is None and self.system.values is None
        return bool(self.constraint.metric.rates) and plain

    @property
    def of_accepted(self) -> bool:
        """Whether the constraint compares rates among the rows predicted positive."""
        return any(rate.depends_on_decision for rate in self.constraint.metric.rates)


def claimed(
    constraints: Sequence[Constraint],
    systems: Sequence[GroupSystem],
    *,
    small_groups: Sequence[SmallGroups] = (),
) -> tuple[Claimed, ...]:
    """Return the claims; a grouping with a single group has only those of minimums."""
    return tuple(
        _claimed(c, system, small_groups)
        for c in constraints
        for system in systems
        if c.system in (None, system.name)
        and (system.n_groups >= c.metric.fewest_groups or system.values is not None)
    )


def _claimed(constraint: Constraint, system: GroupSystem, small: Sequence[SmallGroups]) -> Claimed:
    metric = constraint.metric.name
    return Claimed(
        constraint=Constraint(
            metric=constraint.metric, bound=constraint.bound, system=system.name
        ),
        system=constrained(system, metric, small),
        outside=outside_of(small, metric, system.name),
    )
