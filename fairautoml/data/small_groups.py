"""Groups with too few rows for a constraint: the list of each constraint, frozen at ``fit``."""

from collections.abc import Sequence
from dataclasses import dataclass

from fairautoml.data.dataset import GroupSystem

MOST_NAMED = 5
"""Groups that a headline names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallGroups:
    """What too few rows mean for one metric on one group system."""

    metric: str  # constrained fairness metric
    system: str  # name of the group system
    outside: tuple[str, ...]  # groups that the constraint leaves out
    n_rows: tuple[int, ...]  # rows of each of those groups
    n_groups: int  # all groups of the system
    fewest: int  # rows that have to be behind each compared rate of a group
    effective: bool = False  # whether rows are counted by their weights, or by entity
    # False where fewer than two groups have that many rows: the largest stay constrained, and
    # their rows cannot show that the bound is met
    judged: bool = True

    @property
    def headline(self) -> str:
        """Which groups are outside the bound, or that it cannot be judged, in one sentence."""
        rows = "effective rows" if self.effective else "rows"
        left_out = f"{self._left_out}, fewer than {self.fewest:,} {rows} behind a rate"
        if self.judged:
            return f"{left_out}."
        return (
            f"Too few rows to judge {self.metric} on {self.system!r}: not enough groups have "
            f"{self.fewest:,} {rows} behind each rate, so a gap within the bound may be chance"
            f"{f'; {left_out}' if self.outside else ''}."
        )

    @property
    def _left_out(self) -> str:
        n, total = len(self.outside), sum(self.n_rows)
        named = [
            f"{label!r} (n={rows:,})"
            for label, rows in zip(self.outside[:MOST_NAMED], self.n_rows, strict=False)
        ]
        more = f" and {n - MOST_NAMED} more" if n > MOST_NAMED else ""
        return (
            f"{n} of {self.n_groups} groups of {self.system!r} ({total:,} "
            f"row{'' if total == 1 else 's'}) {'is' if n == 1 else 'are'} outside the bound of "
            f"{self.metric}: {', '.join(named)}{more}"
        )


def outside_of(small: Sequence[SmallGroups], metric: str, system: str) -> tuple[str, ...]:
    """Return the groups of a system that a metric leaves out."""
    found = (one.outside for one in small if (one.metric, one.system) == (metric, system))
    return next(found, ())


def constrained(system: GroupSystem, metric: str, small: Sequence[SmallGroups]) -> GroupSystem:
    """Return the groups of a system that a metric compares."""
    return system.without(outside_of(small, metric, system.name))
