"""Group rates as linear functions of the weight accepted per cell and label.

Everything that a reduction asks about a classifier (its error, how far each group's rate lies
from the rate of all) is linear in its decisions, and the coefficient of a row depends on its cell
and label only. So a classifier is summed up by one number per cell and label, its *slot*.

Source: Agarwal, Beygelzimer, Dudik, Langford, Wallach, *A Reductions Approach to Fair
Classification*, ICML 2018, arXiv 1803.02453, section 2.2 (moments) and equation 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import GroupSystem
from fairautoml.exceptions import DegenerateGroupError, InputError, MissingSensitiveError
from fairautoml.metrics import METRICS
from fairautoml.metrics._table import Rate, effective_rows
from fairautoml.mitigators._base import Target, TrainRows

SERVES = frozenset(
    {
        "accuracy_parity_difference",
        "demographic_parity_difference",
        "equal_opportunity_difference",
        "equalized_odds_difference",
        "false_negative_rate_difference",
        "false_positive_rate_difference",
    }
)
"""Metrics that are differences of such rates."""

USUAL_METRIC, USUAL_LIMIT = "demographic_parity_difference", 0.05
"""What is made equal when nothing is asked for."""

SIGN = np.array([-1.0, 1.0])
"""What accepting a row of label 0 or 1 brings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """The error and the constraints of a table of rows."""

    slot: NDArray[np.int64]  # shape (n_rows,): twice the cell plus the label of each row
    weight: NDArray[np.float64]  # shape (n_rows,): row weights, 1 in total
    mass: NDArray[np.float64]  # shape (n_slots,): weight per slot
    # with ``offset``: rate of a group minus rate of all, from the weight accepted per slot
    slope: NDArray[np.float64]  # shape (n_moments, n_slots)
    offset: NDArray[np.float64]  # shape (n_moments,): the same when nobody is accepted
    limit: NDArray[np.float64]  # shape (n_moments,): largest gap allowed between two groups
    # one per rate and group system, in the order of the moments: each group's share of the rows
    # of that rate
    shares: tuple[NDArray[np.float64], ...]
    n_effective: float  # what the weighted rows are worth as a sample

    def accepted(self, decision: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the weight accepted per slot, shape (n_slots,)."""
        return _per_slot(self.slot, self.weight * decision, len(self.mass))

    def error(self, accepted: NDArray[np.float64]) -> float:
        """Return the weighted share decided wrongly, in [0, 1]."""
        wrong = self.mass[1::2].sum() - np.tile(SIGN, len(self.mass) // 2) @ accepted
        return float(np.clip(wrong, 0.0, 1.0))

    def gamma(self, accepted: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the distances above and then below the rate of all, shape (2 * n_moments,)."""
        apart = self.slope @ accepted + self.offset
        return np.concatenate([apart, -apart])

    def gains(self, multipliers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what accepting a row of each slot brings: less error, fewer violations."""
        above, below = np.split(multipliers, 2)
        found: NDArray[np.float64] = np.tile(SIGN, len(self.mass) // 2) - (
            (above - below) @ self.slope
        )
        return found

    def projected(self, multipliers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return multipliers of the smallest sum with the same price for every classifier.

        Within a block the distances add up to 0 under the groups' shares, so a multiple of the
        shares may be taken off; the weighted median takes off most.
        """
        above, below = np.split(multipliers, 2)
        signed = above - below
        start = 0
        for share in self.shares:
            part = slice(start, start + len(share))
            ratio = signed[part] / share
            order = np.argsort(ratio, kind="stable")
            median = np.searchsorted(share[order].cumsum(), share.sum() / 2)
            signed[part] -= share * ratio[order[min(median, len(share) - 1)]]
            start = part.stop
        return np.concatenate([signed.clip(min=0), (-signed).clip(min=0)])


def moments_of(rows: TrainRows) -> Moments:
    """Return the moments of training rows and their targets.

    A group that lacks the rows of a rate is left out of that rate, as the post-processors do.
    """
    total = rows.weight.sum()
    if not (np.isfinite(total) and total > 0):
        msg = f"weight: the sum over {len(rows.y)} rows is {total}; it must be positive and finite"
        raise DegenerateGroupError(msg)
    wishes = _wishes(_targets(rows))
    n_cells = len(wishes[0].system.of_cell)
    slot = 2 * np.where(rows.cells >= 0, rows.cells, n_cells).astype(np.int64) + rows.y
    weight = rows.weight / total
    mass = _per_slot(slot, weight, 2 * n_cells + 2)
    blocks = [block for block in (_block(mass, wish) for wish in wishes) if block is not None]
    if not blocks:
        names = ", ".join(f"{wish.rate} on {wish.system.name!r}" for wish in wishes)
        msg = (
            f"targets: fewer than two groups have rows for {names} among the {len(rows.y)} rows "
            "trained on; merge small groups or train on more rows"
        )
        raise DegenerateGroupError(msg)
    return Moments(
        slot=slot,
        weight=weight,
        mass=mass,
        slope=np.concatenate([block.slope for block in blocks]),
        offset=np.concatenate([block.offset for block in blocks]),
        limit=np.concatenate([block.limit for block in blocks]),
        shares=tuple(block.share for block in blocks),
        n_effective=float(effective_rows(np.zeros_like(slot), rows.weight, 1)[0]),
    )


def _per_slot(
    slot: NDArray[np.int64], weight: NDArray[np.float64], n_slots: int
) -> NDArray[np.float64]:
    return np.bincount(slot, weights=weight, minlength=n_slots).astype(np.float64, copy=False)


def _targets(rows: TrainRows) -> Sequence[Target]:
    if rows.targets:
        return rows.targets
    if not rows.systems:
        msg = "targets: there are none, nor any groups; a reduction needs a constraint on groups"
        raise MissingSensitiveError(msg)
    metric = METRICS.get(USUAL_METRIC)
    return (Target(metric=metric, system=rows.systems[0], limit=USUAL_LIMIT),)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """One rate to be made equal over the groups of one system."""

    system: GroupSystem
    rate: Rate
    limit: float


def _wishes(targets: Sequence[Target]) -> tuple[_Wish, ...]:
    """Return every rate of every group system once, with the smallest limit."""
    found: dict[tuple[tuple[str, tuple[str, ...]], Rate], _Wish] = {}
    for target in targets:
        if target.metric.name not in SERVES:
            msg = (
                f"targets: a reduction cannot bound {target.metric.name!r}; "
                f"it can bound {', '.join(sorted(SERVES))}"
            )
            raise InputError(msg)
        for rate in target.metric.rates:
            wish = _Wish(system=target.system, rate=rate, limit=target.limit)
            known = found.setdefault((target.system.key, rate), wish)
            if wish.limit < known.limit:
                found[target.system.key, rate] = wish
    return tuple(found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """The moments of one wish, one per group that has the rows of its rate."""

    slope: NDArray[np.float64]
    offset: NDArray[np.float64]
    share: NDArray[np.float64]
    limit: NDArray[np.float64]


def _block(mass: NDArray[np.float64], wish: _Wish) -> _Block | None:
    """Return the moments of a wish, None when fewer than two groups have rows."""
    counts, per_accepted, per_refused = wish.rate.linear()
    # The last cell is that of rows without one.
    group = np.append(wish.system.of_cell, -1)
    member = (group == np.arange(wish.system.n_groups)[:, None]).astype(np.float64)
    table = mass.reshape(-1, 2)
    size = member @ (table @ counts)
    kept = size > 0
    if np.count_nonzero(kept) < 2:
        return None
    member, size = member[kept], size[kept]
    # Mean over each group minus mean over all groups, as weights of the cells.
    mean = member / size[:, None] - member.sum(axis=0) / size.sum()
    return _Block(
        slope=np.stack([mean * per_accepted[0], mean * per_accepted[1]], axis=2).reshape(
            len(size), -1
        ),
        offset=mean @ (table @ per_refused),
        share=size / size.sum(),
        limit=np.full(len(size), wish.limit),
    )
