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
    """One rate that must be about the same in all groups."""

    name: str  # rate and group system, for messages
    groups: NDArray[np.integer]  # shape (n_rows,): group of each training row
    n_groups: int  # number of groups; those without rows of this rate are left out
    rate: Rate  # which rate; its denominator must not depend on the decisions
    # largest minus smallest rate, or one minus smallest over largest, is bounded
    form: Form  # {"difference", "ratio"}
    limit: float  # by this, in [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rates:
    """The rates of one ``RateGap`` as linear functions of the decisions on the patterns."""

    # what accepting a pattern adds to the rate of each group
    slope: NDArray[np.float64]  # shape (n_groups, n_patterns)
    offset: NDArray[np.float64]  # shape (n_groups,): the rates when nobody is accepted
    form: Form  # {"difference", "ratio"}: what is bounded
    limit: float  # by this

    def excess(self, rates: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return how far the gap is over the limit, 0 when it is not; shape (n_choices,)."""
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
    """

    checked: NDArray[np.bool_]  # shape (n_patterns, n_items): which items
    column: NDArray[np.int64]  # shape (n_items,): the column that each item tests
    value: NDArray[np.float64]  # shape (n_patterns,): cost of accepting minus cost of refusing
    base: float  # cost when nobody is accepted
    least: float  # cost that no decisions can avoid: equal items, unequal labels
    step: float  # smallest cost of one mistake that counts
    rates: tuple[Rates, ...]  # what must be equal

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
    """Merge rows that check the same items."""
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
