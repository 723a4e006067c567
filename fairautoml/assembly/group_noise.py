"""What the rows behind a group tell, and its part in the noise of the finest cells.

Rates are moved in the groups that are compared, not in the cells that make them up: a rate of few
rows is often 0 or 1, cannot move beyond, and a sum of many such rates would be pushed to the
middle. What two groups have in common, of one constraint or of two, moves them both.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.assembly.gaps import gaps_of
from fairautoml.data.dataset import GroupSystem
from fairautoml.mitigators import Target


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TargetNoise:
    """Draws of the noise of the groups of one target."""

    target: Target  # the limit
    # effective rows behind whatever is moved, of the groups as ``drawn_groups`` has them
    n_rows: NDArray[np.float64]  # shape (n_drawn, ...)
    noise: NDArray[np.float64]  # shape (n_draws, n_drawn, ...): standard normal

    def merged(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the table of the groups, shape (n_drawn, ...), from that of the finest cells."""
        member = drawn_groups(self.target.system).astype(np.float64)
        found: NDArray[np.float64] = np.tensordot(member, counts, 1)
        return found

    def met(self, tables: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return in which draws the limit is met, shape (n_draws,)."""
        found: NDArray[np.bool_] = gaps_of(self.target, tables) <= self.target.limit
        return found


def drawn_groups(system: GroupSystem) -> NDArray[np.bool_]:
    """Return which finest cells make up what is drawn, shape (n_drawn, n_cells).

    That are the groups and, where they overlap, everybody as the last one: else everybody is
    their sum, without the people of no group.
    """
    member = system.member
    if not system.overlapping:
        return member
    return np.concatenate([member, np.ones((1, member.shape[1]), dtype=bool)])


def rows_of_groups(
    system: GroupSystem, cells: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row and drawn group of every membership, by row."""
    if system.overlapping:
        rows, groups = np.nonzero(drawn_groups(system).T[cells])
        return rows, groups
    group = system.of_cell[cells].astype(np.int64)
    rows = np.flatnonzero(group >= 0)
    return rows, group[rows]


def noise_of_groups(
    member: NDArray[np.bool_], squares: NDArray[np.float64], noise: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the standard normal noise of groups from that of their cells.

    The rate of a group with weights ``w`` is a mean whose error comes from each cell in proportion
    to ``sqrt(sum w^2)`` there: so is its noise, which is that of the cell in a group of one.
    """
    parts = member * squares
    # A group without rows gets the noise of its cells in equal parts.
    parts = np.where(parts.any(axis=1, keepdims=True), parts, member)
    total = np.maximum(parts.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    found: NDArray[np.float64] = np.matmul(np.sqrt(parts / total), noise)
    return found
