"""The groups that fairness metrics compare, and those with too few rows for a comparison."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.records import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSystem:
    """Grouping of the rows: a sensitive column or an intersection."""

    name: str  # ``"sex"``, or ``"sex & race"`` for the intersection
    labels: tuple[str, ...]  # display name of each group
    of_cell: NDArray[np.int32]  # shape (n_cells,): group of each finest cell
    # which finest cells belong to each group, if groups overlap
    masks: NDArray[np.bool_] | None = None  # shape (n_groups, n_cells)
    # value of each group of a numeric column, in standard deviations from the mean of the rows of
    # ``fit``; for metrics of continuous attributes
    values: Floats | None = None  # shape (n_groups,)

    @property
    def n_groups(self) -> int:
        return len(self.labels)

    @property
    def key(self) -> tuple[str, tuple[str, ...]]:
        """Name and groups, as constraints can compare different groups of the same grouping."""
        return self.name, self.labels

    @property
    def overlapping(self) -> bool:
        """Whether a row can belong to several groups, or to none."""
        return self.masks is not None

    @property
    def member(self) -> NDArray[np.bool_]:
        """Which finest cells belong to each group, shape (n_groups, n_cells)."""
        if self.masks is not None:
            return self.masks
        return self.of_cell == np.arange(self.n_groups)[:, None]

    def without(self, labels: Collection[str]) -> "GroupSystem":
        """Return the grouping without some of its groups."""
        kept = np.array([label not in labels for label in self.labels], dtype=np.bool_)
        if kept.all():
            return self
        # Index -1 (no group) selects the last element.
        place = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1).astype(np.int32)
        return replace(
            self,
            labels=tuple(label for label in self.labels if label not in labels),
            of_cell=place[self.of_cell],
            masks=None if self.masks is None else self.masks[kept],
            values=None if self.values is None else self.values[kept],
        )

    def pooling(self, labels: Collection[str]) -> "GroupSystem":
        """Return the grouping with some of its groups as one, which comes last."""
        kept = np.array([label not in labels for label in self.labels], dtype=np.bool_)
        # Index -1 (no group) selects the last element.
        place = np.append(np.where(kept, np.cumsum(kept) - 1, kept.sum()), -1).astype(np.int32)
        masks = self.masks
        if masks is not None:
            masks = np.concatenate([masks[kept], masks[~kept].any(axis=0, keepdims=True)])
        return replace(
            self,
            labels=(*(label for label in self.labels if label not in labels), POOLED),
            of_cell=place[self.of_cell],
            masks=masks,
            values=None,
        )


POOLED = "(other)"
"""Name of the group that small groups are pooled into."""

MOST_NAMED = 5
"""Most groups listed in a headline."""


def listed(names: Sequence[str], most: int = MOST_NAMED) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallGroups:
    """Groups with too few rows for one metric on one grouping."""

    metric: str  # constrained fairness metric
    system: str  # name of the group system
    outside: tuple[str, ...]  # groups excluded from the constraint, or pooled into one
    n_rows: tuple[int, ...]  # rows of each of those groups
    n_groups: int  # all groups of the system
    fewest: int  # rows required for each compared rate of a group
    effective: bool = False  # whether rows are counted by their weights, or by entity
    # False where fewer than two groups have that many rows: the largest stay constrained, and
    # their rows cannot show that the bound is met
    judged: bool = True
    pooled: bool = False  # whether the constraint compares these groups as one

    def applied_to(self, system: GroupSystem) -> GroupSystem:
        """Return the groups that the constraint compares."""
        return system.pooling(self.outside) if self.pooled else system.without(self.outside)

    @property
    def headline(self) -> str:
        """The excluded groups, and that the bound cannot be judged."""
        return self.left_out if self.judged else f"{self.too_few}. {self.left_out}".rstrip()

    @property
    def too_few(self) -> str:
        """Why the bound cannot be judged, without a full stop."""
        return (
            f"Too few rows to judge {self.metric} on {self.system!r}: not enough groups have "
            f"{self._needed} behind each rate, so a gap within the bound may be chance"
        )

    @property
    def left_out(self) -> str:
        """One sentence on the excluded groups, empty if there are none."""
        n, total = len(self.outside), sum(self.n_rows)
        if not n:
            return ""
        counts = zip(self.outside, self.n_rows, strict=True)
        named = listed([f"{label!r} (n={rows:,})" for label, rows in counts])
        where = f"one group {POOLED!r} in the bound" if self.pooled else "outside the bound"
        return (
            f"{n} of {self.n_groups} groups of {self.system!r} ({total:,} "
            f"row{'' if total == 1 else 's'}) {'is' if n == 1 else 'are'} {where} of "
            f"{self.metric}: {named}, fewer than {self._needed} behind a rate."
        )

    @property
    def _needed(self) -> str:
        return f"{self.fewest:,} {'effective rows' if self.effective else 'rows'}"


UNDECIDED = 0.5
"""Probability that a fair rule passes below which a bound cannot be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgeability:
    """Whether the rows are enough to judge a bound, computed before the search.

    Chance alone separates the rates of groups on few rows, even those of a perfectly fair rule.
    """

    metric: str  # constrained fairness metric
    system: str  # name of the group system
    bound: float  # as requested: of a ratio the smallest value allowed, else the largest
    p0: float  # probability that a perfectly fair rule meets the bound on these rows
    # tightest bound with p0 >= 0.5, in the same unit; None = there is none
    smallest_bound: float | None

    @property
    def judged(self) -> bool:
        """Whether a perfectly fair rule is more likely to meet the bound than to miss it."""
        return self.p0 >= UNDECIDED

    @property
    def headline(self) -> str:
        """One sentence on a bound that cannot be judged."""
        return (
            f"Too few rows to judge {self.metric} on {self.system!r} at {self.bound:g}: even a "
            f"perfectly fair rule measures within the bound with probability {self.p0:.2f} only; "
            f"{self.way_out}."
        )

    @property
    def way_out(self) -> str:
        """The smallest bound that can be judged, as a part of a sentence."""
        if self.smallest_bound is None:
            return "no bound can be judged on these rows"
        return f"the smallest bound that can be judged is {self.smallest_bound:g}"


def group_headlines(
    small: Sequence[SmallGroups], judgeability: Sequence[Judgeability]
) -> tuple[str, ...]:
    """Return the bounds that cannot be judged, then the groups excluded from a bound."""
    groups = {(one.metric, one.system): one for one in small}
    unjudged = []
    for one in judgeability:
        lacking = groups.get((one.metric, one.system))
        if not one.judged:
            unjudged.append(one.headline)
        elif lacking is not None and not lacking.judged:
            unjudged.append(f"{lacking.too_few}; {one.way_out}.")
    known = {(one.metric, one.system) for one in judgeability}
    others = (one for one in small if not one.judged and (one.metric, one.system) not in known)
    return (
        *unjudged,
        *(f"{one.too_few}." for one in others),
        *(one.left_out for one in small if one.left_out),
    )


def _small(small: Sequence[SmallGroups], metric: str, system: str) -> SmallGroups | None:
    found = (one for one in small if (one.metric, one.system) == (metric, system))
    return next(found, None)


def outside_of(small: Sequence[SmallGroups], metric: str, system: str) -> tuple[str, ...]:
    """Return the groups that a metric excludes."""
    found = _small(small, metric, system)
    return () if found is None or found.pooled else found.outside


def constrained(system: GroupSystem, metric: str, small: Sequence[SmallGroups]) -> GroupSystem:
    """Return the groups of a system that a metric compares."""
    found = _small(small, metric, system.name)
    return system if found is None else found.applied_to(system)
