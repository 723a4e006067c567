"""What was seen of each rate in each group: rows, events, weight, and bounds that follow."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.auditing.records import Interval, Method
from fairautoml.auditing.rows import AuditRows
from fairautoml.certification.bounds import cp_lower, cp_upper, weighted_bounds
from fairautoml.data.dataset import GroupSystem
from fairautoml.exceptions import InputError
from fairautoml.metrics import GroupCounts, Metric
from fairautoml.metrics._table import Rate, effective_rows
from fairautoml.metrics.rates import ACCURACY, FPR, PPV, SELECTION, TPR

SHOWN: tuple[Rate, ...] = (SELECTION, TPR, FPR, PPV, ACCURACY)
"""Rates that are shown; the error rate is one minus the accuracy."""

SOURCES: tuple[Rate, ...] = (SELECTION, TPR, FPR)
"""Rates whose numbers of rows are published; the others can be computed from their counts."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RateCells:
    """One rate in all groups of a system."""

    rate: Rate  # which
    # weight of the rows in which it happened, and of all rows that it speaks about
    events: NDArray[np.float64]  # shape (n_groups,)
    mass: NDArray[np.float64]  # shape (n_groups,)
    n: NDArray[np.int64]  # shape (n_groups,): those rows
    # what they are worth as a sample, ``sum(w)^2 / sum(w^2)``; ``n`` without weights
    effective: NDArray[np.float64]  # shape (n_groups,)
    weighted: bool  # whether rows have weights
    largest_weight: float | None = None  # known in advance

    @property
    def values(self) -> NDArray[np.float64]:
        """The rates, NaN where nobody is spoken about."""
        empty = np.full(len(self.mass), np.nan)
        found: NDArray[np.float64] = np.divide(
            self.events, self.mass, out=empty, where=self.mass > 0
        )
        return found

    @property
    def method(self) -> Method:
        """How bounds are made."""
        if not self.weighted:
            return "clopper_pearson"
        if self.largest_weight is not None:
            return "hoeffding_weighted"
        return "clopper_pearson_effective_rows (approximate)"

    def bounds(self, level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return one-sided lower and upper bounds, each with error probability ``level``.

        Weighted rates without a known largest weight get Clopper-Pearson's bounds at the
        effective number of rows.

        References
        ----------
        Korn, Graubard, "Confidence intervals for proportions with small expected number of
        positive counts estimated from survey data", Survey Methodology 24 (1998).
        """
        if self.method == "hoeffding_weighted" and self.largest_weight is not None:
            return self._hoeffding(self.largest_weight, level)
        share = np.nan_to_num(self.values)
        x = share * self.effective if self.weighted else self.events
        # Rounding must not push a share of 1 beyond the number of rows.
        x = np.minimum(x, self.effective)
        return cp_lower(x, self.effective, level), cp_upper(x, self.effective, level)

    def _hoeffding(
        self, largest: float, level: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        ends = [
            weighted_bounds(float(x), float(w), int(n), largest, level) if w > 0 else (0.0, 1.0)
            for x, w, n in zip(self.events, self.mass, self.n, strict=True)
        ]
        return np.array([low for low, _ in ends]), np.array([high for _, high in ends])

    def interval(self, group: int, level: float) -> Interval | None:
        """Return the two-sided interval of a group's rate with error probability ``level``."""
        if self.mass[group] <= 0:
            return None
        low, high = self.bounds(level / 2)
        return Interval(low=float(low[group]), high=float(high[group]), method=self.method)


def with_checked_weight(rows: AuditRows, largest_weight: float | None) -> AuditRows:
    """Return the rows, without weights if all are equal; refuse an invalid largest weight."""
    if largest_weight is None:
        alike = rows.weight is not None and len(np.unique(rows.weight)) == 1
        return replace(rows, weight=None) if alike else rows
    if rows.weight is None:
        msg = f"largest_weight={largest_weight!r} without weights; give sample_weight= or leave it"
        raise InputError(msg)
    most = float(rows.weight.max())
    if not most <= largest_weight < np.inf:
        msg = (
            f"largest_weight={largest_weight!r}: the largest weight is {most}; give the largest "
            "that the way of sampling allows, known before the rows were seen"
        )
        raise InputError(msg)
    return rows


def defined_rates(rows: AuditRows, rates: Sequence[Rate]) -> tuple[Rate, ...]:
    """Return the rates that can be computed: all of them only with true labels."""
    return tuple(rate for rate in rates if rows.y is not None or not rate.needs_labels)


def needs_labels(metric: Metric) -> bool:
    """Return whether a fairness metric reads true labels."""
    return not metric.compared or any(rate.needs_labels for rate in metric.compared)


def counted_labels(rows: AuditRows) -> NDArray[np.int8]:
    """Return the labels to count by; without any, all rows are counted under label 0.

    Selection rates add up over the labels, so that they do not depend on them.
    """
    return np.zeros(len(rows.decision), dtype=np.int8) if rows.y is None else rows.y


def counts_of(
    rows: AuditRows, decision: NDArray[np.integer], weight: NDArray[np.float64] | None
) -> GroupCounts:
    """Return the counts by finest cell."""
    return GroupCounts.from_rows(
        rows.cells, counted_labels(rows), decision, weight, n_groups=rows.n_cells
    )


def cells_of(
    rows: AuditRows,
    system: GroupSystem,
    rate: Rate,
    *,
    decision: NDArray[np.integer] | None = None,
    largest_weight: float | None = None,
) -> RateCells:
    """Return what was seen of a rate."""
    taken = rows.decision if decision is None else decision
    here, happened = outcome(rows.y, taken, rate)
    codes = rows.codes(system)
    here = here & (codes >= 0)
    codes, happened = codes[here], happened[here]
    size = system.n_groups
    n = np.bincount(codes, minlength=size).astype(np.int64)
    weight = np.ones(len(codes)) if rows.weight is None else rows.weight[here]
    events = np.bincount(codes, weights=weight * happened, minlength=size).astype(np.float64)
    mass = np.bincount(codes, weights=weight, minlength=size).astype(np.float64)
    worth = n.astype(np.float64)
    if rows.weight is not None:
        worth = effective_rows(codes, weight, size)
    return RateCells(
        rate=rate,
        events=events,
        mass=mass,
        n=n,
        effective=worth,
        weighted=rows.weight is not None,
        largest_weight=largest_weight,
    )


def outcome(
    y: NDArray[np.integer] | None, decision: NDArray[np.integer], rate: Rate
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which rows a rate speaks about, and in which of them it happened."""
    if y is None:
        if rate.needs_labels:
            raise ValueError(f"the {rate} rate needs true labels")
        y = np.zeros(len(decision), dtype=np.int8)
    mass, top = rate.shares(y, decision)
    return mass > 0, top > 0
