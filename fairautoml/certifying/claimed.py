"""The claims of a certificate: each constraint on each group system that it speaks about."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import GroupSystem
from fairautoml.metrics import Constraint

CONDITIONAL = frozenset({"tpr", "fpr"})
"""Rates among rows of one label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """One constraint on one group system.

    Parameters
    ----------
    constraint : Constraint
        With the name of the system.
    system : GroupSystem
        Which groups.
    """

    constraint: Constraint
    system: GroupSystem

    @property
    def testable(self) -> bool:
        """Whether it compares rates of groups that do not overlap."""
        plain = self.system.masks is None and self.system.values is None
        return bool(self.constraint.metric.rates) and plain

    def codes(self, cells: NDArray[np.integer]) -> NDArray[np.integer]:
        """Return the group of each row, -1 where it is unknown, shape (n_rows,)."""
        known = np.where(cells >= 0, self.system.of_cell[cells], -1)
        return known.astype(np.int64)


def claimed(
    constraints: Sequence[Constraint], systems: Sequence[GroupSystem]
) -> tuple[Claimed, ...]:
    """Return the claims, without group systems of a single group, which have no gap.

    Parameters
    ----------
    constraints : sequence of Constraint
        As the user wrote them; one without a system speaks about all of them.
    systems : sequence of GroupSystem
        Of the data.
    """
    return tuple(
        Claimed(
            constraint=Constraint(metric=c.metric, bound=c.bound, system=system.name),
            system=system,
        )
        for c in constraints
        for system in systems
        if c.system in (None, system.name) and (system.n_groups > 1 or system.values is not None)
    )


def by_label(claims: Sequence[Claimed]) -> bool:
    """Whether every claim conditions on the label, so that the draw may be stratified by it.

    Otherwise the label shares of search and certification rows would move together, and the two
    would no longer be independent.
    """
    rates = [rate for claim in claims for rate in claim.constraint.metric.rates]
    return bool(rates) and CONDITIONAL.issuperset(rates)
