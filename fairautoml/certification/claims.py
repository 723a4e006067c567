"""What is claimed of a classifier, with what was seen of it on the certification rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fairautoml.certification.bounds import cp_lower, cp_upper, hoeffding_margin
from fairautoml.certification.cells import Cell, Count, empty
from fairautoml.exceptions import InputError
from fairautoml.metrics import Constraint, GroupCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One constraint on one group system."""

    label: str  # the constraint as text, with its group system
    system: str  # name of the group system
    # largest difference of rates, or smallest ratio
    form: Literal["difference", "ratio"]  # {"difference", "ratio"}
    bound: float  # largest difference allowed, or smallest ratio, in [0, 1]
    groups: tuple[str, ...]  # declared groups, also those without rows
    events: tuple[str, ...]  # rates that are compared between the groups, each for itself
    cells: tuple[tuple[Cell, ...], ...]  # ``cells[event][group]``
    absent: tuple[str, ...] = ()  # groups without any row
    independent: bool = True  # no entity has rows in two cells

    @property
    def undefined(self) -> tuple[str, ...]:
        """Cells in which nothing was seen, as ``event of group``."""
        return tuple(
            f"{event} of {group}"
            for event, cells in zip(self.events, self.cells, strict=True)
            for group, cell in zip(self.groups, cells, strict=True)
            if empty(cell)
        )

    @property
    def n_cells(self) -> int:
        """Number of cells over all events."""
        return len(self.events) * len(self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The claim that accuracy is at least ``bound``.

    Notes
    -----
    The number right among independent rows is binomial if all are right with the same probability.
    If they are not, as where numbers of rows are fixed by group, its tails are no larger than
    those of the binomial with the mean probability ``p``, beyond ``n p + 1`` and up to
    ``n p - 1`` (Hoeffding, Theorem 4). So Clopper-Pearson bounds decide, and only counts at least
    one row beyond ``n bound``: there the theorem holds for every ``p`` that makes the claim false.
    Means of entities or of probabilities have Hoeffding's bound of bounded variables instead.

    References
    ----------
    Hoeffding, "On the distribution of the number of successes in independent trials", Annals of
    Mathematical Statistics 27 (1956).
    """

    bound: float  # in [0, 1]
    accuracy: float  # share of rows decided right, or mean probability of it
    n: int  # rows (or entities), positive
    # each row was decided right or wrong, and rows are independent of each other
    counted: bool = False

    @property
    def label(self) -> str:
        """The claim as text."""
        return f"accuracy >= {self.bound}"

    @property
    def method(self) -> str:
        """Name of the bound that decides."""
        return "clopper_pearson" if self.counted else "hoeffding"

    @property
    def _right(self) -> int:
        return round(self.accuracy * self.n)

    def shown(self, level: float) -> bool:
        """Whether the accuracy is at least ``bound``, but for the probability ``level``."""
        if not self.counted:
            return self.accuracy - hoeffding_margin(level, self.n) >= self.bound
        beyond = self._right >= self.n * self.bound + 1
        return beyond and float(cp_lower(self._right, self.n, level)) >= self.bound

    def refuted(self, level: float) -> bool:
        """Whether the accuracy is below ``bound``, but for the probability ``level``."""
        if not self.counted:
            return self.accuracy + hoeffding_margin(level, self.n) < self.bound
        beyond = self._right <= self.n * self.bound - 1
        return beyond and float(cp_upper(self._right, self.n, level)) < self.bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is claimed of one candidate."""

    claims: tuple[Claim, ...]  # one per constraint and group system
    floor: Floor | None = None  # with ``min_score``
    # all rows have the same label, so that nothing about decisions can be learnt from them
    constant_target: bool = False

    @property
    def n_bounds(self) -> int:
        """Number of distinct quantities: cells over all claims, and the floor.

        A cell that two constraints share counts once.
        """
        cells = {
            (claim.system, event, group)
            for claim in self.claims
            for event in claim.events
            for group in range(len(claim.groups))
        }
        return len(cells) + (self.floor is not None)


def claim_from_counts(
    constraint: Constraint, counts: GroupCounts, groups: Sequence[str], system: str = ""
) -> Claim:
    """Return the claim of a rule that decides 0 or 1, from counts of unweighted rows."""
    check_groups(groups, len(counts.table))
    table = np.rint(counts.table)
    if not np.array_equal(table, counts.table) or (table < 0).any():
        msg = (
            "counts: found weights or acceptance probabilities, allowed are whole numbers of "
            "rows; the exact test does not hold for anything else. Use claim_from_rows with "
            "weight= or with the probabilities as decision="
        )
        raise InputError(msg)
    cells = tuple(
        tuple(Count(x=int(x), n=int(n)) for x, n in zip(*rate.sums(table), strict=True))
        for rate in constraint.metric.rates
    )
    return Claim(
        label=label_of(constraint, system),
        system=system,
        form=form_of(constraint),
        bound=constraint.bound,
        groups=tuple(groups),
        events=tuple(rate.name for rate in constraint.metric.rates),
        cells=cells,
        absent=tuple(name for name, rows in zip(groups, table, strict=True) if not rows.any()),
    )


def floor_from_counts(min_score: float, counts: GroupCounts) -> Floor:
    """Return the accuracy floor of a rule that decides 0 or 1, from unweighted counts.

    Of rows that were drawn in fixed numbers by group it speaks about people in those shares.
    """
    pooled = counts.pooled()
    n = int(pooled.sum())
    if n == 0:
        msg = "counts: no rows, so that accuracy has no value; give at least one row"
        raise InputError(msg)
    right = np.trace(pooled)
    whole = bool(np.array_equal(np.rint(pooled), pooled))
    return Floor(bound=min_score, accuracy=float(right / n), n=n, counted=whole)


def form_of(constraint: Constraint) -> Literal["difference", "ratio"]:
    """Return whether the largest difference of rates is bounded, or the smallest ratio."""
    return "ratio" if constraint.metric.form == "ratio" else "difference"


def label_of(constraint: Constraint, system: str) -> str:
    """Return the constraint as text; one that speaks of all systems gets the name of this one."""
    if constraint.system is not None or not system:
        return constraint.label
    return constraint.label.replace(" ", f"[{system}] ", 1)


def check_groups(groups: Sequence[str], n_groups: int) -> None:
    """Refuse names that do not name each group once."""
    if len(groups) != n_groups or len(set(groups)) != n_groups:
        msg = (
            f"groups={list(groups)!r} must name each of the {n_groups} groups once, in the order "
            "of their codes"
        )
        raise InputError(msg)
