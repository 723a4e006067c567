"""Training rows merged by the items that they check, and rates that are linear in decisions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.exceptions import DegenerateGroupError
from fairautoml.metrics._table import Form, Rate

LEAST_STEP = 1e-3
"""Costs closer than this share of the mean mistake are the same: a solver tells no finer."""

SLACK = 1e-9
"""Rounding of rates that are sums of weights."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RateGap:
    """One rate that must be about the same in all groups.

    Parameters
    ----------
    name : str
        Rate and group system, for messages.
    groups : ndarray of int, shape (n_rows,)
        Group of each training row; -1 is outside the constraint.
    n_groups : int
        Number of groups; those without rows of this rate are left out.
    rate : Rate
        Which rate; its denominator must not depend on the decisions.
    form : {"difference", "ratio"}
        Largest minus smallest rate, or one minus smallest over largest, is bounded.
    limit : float
        By this, in [0, 1].
    """

    name: str
    groups: NDArray[np.integer]
    n_groups: int
    rate: Rate
    form: Form
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rates:
    """The rates of one ``RateGap`` as linear functions of the decisions on the patterns.

    Parameters
    ----------
    slope : ndarray of float64, shape (n_groups, n_patterns)
        What accepting a pattern adds to the rate of each group.
    offset : ndarray of float64, shape (n_groups,)
        The rates when nobody is accepted.
    form : {"difference", "ratio"}
        What is bounded.
    limit : float
        By this.
    """

    slope: NDArray[np.float64]
    offset: NDArray[np.float64]
    form: Form
    limit: float

    def excess(self, rates: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return how far the gap is over the limit, 0 when it is not; shape (n_choices,).

        Parameters
        ----------
        rates : ndarray of float, shape (n_groups, n_choices)
            Rates of each choice. All of them 0 is no ratio, and the worst there is.
        """
        low, high = rates.min(axis=0), rates.max(axis=0)
        if self.form == "difference":
            gap = high - low
        else:
            gap = 1.0 - np.divide(low, high, out=np.zeros_like(low), where=high > SLACK)
        over: NDArray[np.float64] = np.maximum(gap - self.limit, 0.0)
        return over


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patterns:
    """Distinct combinations of checked items, and what deciding each costs.

    Rows that check the same items get the same decision, whatever their label and group, so they
    are one row of the program.

    Parameters
    ----------
    checked : ndarray of bool, shape (n_patterns, n_items)
        Which items.
    column : ndarray of int, shape (n_items,)
        The column that each item tests; a checklist has at most one item of a column.
    value : ndarray of float64, shape (n_patterns,)
        Cost of accepting minus cost of refusing.
    base : float
        Cost when nobody is accepted.
    least : float
        Cost that no decisions can avoid: equal items, unequal labels.
    step : float
        Smallest cost of one mistake that counts.
    rates : tuple of Rates
        What must be equal.
    """

    checked: NDArray[np.bool_]
    column: NDArray[np.int64]
    value: NDArray[np.float64]
    base: float
    least: float
    step: float
    rates: tuple[Rates, ...]

    @property
    def n_items(self) -> int:
        """Number of items to choose from."""
        return len(self.column)

    def accepted(self, chosen: Sequence[int], required: int) -> NDArray[np.bool_]:
        """Return which patterns check at least ``required`` of the chosen items."""
        yes: NDArray[np.bool_] = self.checked[:, list(chosen)].sum(axis=1) >= required
        return yes

    def cost(self, accepted: NDArray[np.bool_]) -> float:
        """Return the cost of the mistakes of given decisions."""
        return self.base + float(self.value[accepted].sum())

    def excess(self, accepted: NDArray[np.bool_]) -> float:
        """Return by how much the decisions break the limits, over all of them; 0 = not at all."""
        total = 0.0
        for rates in self.rates:
            found = rates.offset + rates.slope[:, accepted].sum(axis=1)
            total += float(rates.excess(found[:, None])[0])
        return total if total > SLACK else 0.0


def merge(
    checked: NDArray[np.bool_],
    column: NDArray[np.int64],
    y: NDArray[np.integer],
    cost: NDArray[np.float64],
    weight: NDArray[np.float64],
    gaps: Sequence[RateGap],
) -> Patterns:
    """Merge rows that check the same items.

    Parameters
    ----------
    checked : ndarray of bool, shape (n_rows, n_items)
        Which row checks which item.
    column : ndarray of int, shape (n_items,)
        The column that each item tests.
    y : ndarray of int, shape (n_rows,)
        Labels 0 or 1.
    cost : ndarray of float64, shape (n_rows,)
        Cost of a mistake on each row, positive.
    weight : ndarray of float64, shape (n_rows,)
        Sample weights, positive; rates are in these.
    gaps : sequence of RateGap
        What must be equal.

    Raises
    ------
    DegenerateGroupError
        There are limits, and none of their rates exists in two groups.
    """
    packed = np.packbits(checked, axis=1)
    _, first, of_row = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    of_row = of_row.reshape(-1)
    n = len(first)
    refused = np.bincount(of_row, weights=cost * (y == 1), minlength=n).astype(np.float64)
    taken = np.bincount(of_row, weights=cost * (y == 0), minlength=n).astype(np.float64)
    found = (_rates(gap, of_row, n, y, weight) for gap in gaps)
    rates = tuple(one for one in found if one is not None)
    if gaps and not rates:
        names = ", ".join(gap.name for gap in gaps)
        msg = (
            f"checklist: fewer than two groups have rows for {names} among the {len(y)} rows "
            "trained on; merge small groups or train on more rows"
        )
        raise DegenerateGroupError(msg)
    return Patterns(
        checked=checked[first],
        column=column,
        value=taken - refused,
        base=float(refused.sum()),
        least=float(np.minimum(taken, refused).sum()),
        step=max(float(cost.min()), LEAST_STEP * float(cost.mean())),
        rates=rates,
    )


def _rates(
    gap: RateGap,
    of_row: NDArray[np.integer],
    n_patterns: int,
    y: NDArray[np.integer],
    weight: NDArray[np.float64],
) -> Rates | None:
    counts, slopes, offsets = (part[y] for part in gap.rate.linear())
    known = gap.groups >= 0
    groups = gap.groups[known]
    mass = np.bincount(groups, weights=(weight * counts)[known], minlength=gap.n_groups)
    has = mass > 0
    if has.sum() < 2:
        return None
    slope = np.zeros((gap.n_groups, n_patterns))
    np.add.at(slope, (groups, of_row[known]), (weight * slopes)[known])
    offset = np.bincount(groups, weights=(weight * offsets)[known], minlength=gap.n_groups)
    return Rates(
        slope=slope[has] / mass[has, None],
        offset=offset[has] / mass[has],
        form=gap.form,
        limit=gap.limit,
    )
