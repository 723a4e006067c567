"""The claims of a certificate: each constraint on each group system that it speaks about."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import GroupSystem
from fairautoml.data.small_groups import SmallGroups, outside_of
from fairautoml.data.splits import first_rows
from fairautoml.metrics import Constraint

"""Rates among rows of one label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """One constraint on one group system."""

    constraint: Constraint  # with the name of the system
    system: GroupSystem  # which groups
    outside: tuple[str, ...] = ()  # groups that the constraint leaves out

    @property
    def testable(self) -> bool:
        """Whether it compares rates of groups that do not overlap."""
        plain = self.system.masks is None and self.system.values is None
        return bool(self.constraint.metric.rates) and plain

    @property
    def of_accepted(self) -> bool:
        """Whether it compares rates of the people who are accepted."""
        return any(rate.depends_on_decision for rate in self.constraint.metric.rates)

    def codes(self, cells: NDArray[np.integer]) -> NDArray[np.integer]:
        """Return the group of each row, -1 where it is unknown, shape (n_rows,)."""
        known = np.where(cells >= 0, self.system.of_cell[cells], -1)
        return known.astype(np.int64)


def claimed(
    constraints: Sequence[Constraint],
    systems: Sequence[GroupSystem],
    *,
    kept: Collection[str] = (),
    small_groups: Sequence[SmallGroups] = (),
) -> tuple[Claimed, ...]:
    """Return the claims, without group systems of a single group, which have no gap."""
    return tuple(
        _claimed(c, system, outside_of(small_groups, c.metric.name, system.name))
        for c in constraints
        for system in systems
        if c.system in (None, system.name)
        and (system.n_groups > 1 or system.values is not None or system.name in kept)
    )


def _claimed(constraint: Constraint, system: GroupSystem, outside: tuple[str, ...]) -> Claimed:
    return Claimed(
        constraint=Constraint(
            metric=constraint.metric, bound=constraint.bound, system=system.name
        ),
        system=system.without(outside),
        outside=outside,
    )


def by_label(claims: Sequence[Claimed]) -> bool:
    """Whether every claim conditions on the label, so that the draw may be stratified by it.

    Otherwise the label shares of search and certification rows would move together, and the two
    would no longer be independent.
    """
    rates = [rate for claim in claims for rate in claim.constraint.metric.rates]
    return bool(rates) and all(rate.label is not None for rate in rates)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strata:
    """Within what certification rows are drawn."""

    # groups that are claimed, all 0 where several systems are
    groups: NDArray[np.integer]  # shape (n_rows,)
    codes: NDArray[np.integer]  # shape (n_rows,): stratum of each row
    names: tuple[str, ...]  # what the strata are made of


def strata_of(
    claims: Sequence[Claimed],
    cells: NDArray[np.integer],
    y: NDArray[np.integer],
    *,
    floor: bool,
    entities: NDArray[np.integer] | None = None,
) -> Strata:
    """Return what every claim conditions on: nothing else may decide who is drawn.

    Given the strata of all rows, rows in and outside the draw are independent, and those of one
    stratum are draws from one law. Strata finer than the groups of a claim would fix of what finer
    groups they consist: small ones would have another chance to be drawn than large ones, and the
    composition of search and certification rows would move together. So with several systems
    nobody is stratified by group, and with a floor, which speaks about everybody, by nothing.
    """
    groups = np.zeros(len(cells), dtype=np.int64)
    codes: NDArray[np.integer] = groups
    names: tuple[str, ...] = ()
    if len({claim.system.name for claim in claims}) == 1:
        groups = _first_cells(claims[0].codes(cells), cells)
        if not floor and _constant(groups, entities):
            codes, names = 2 * groups, (claims[0].system.name,)
    if by_label(claims) and not floor and _constant(y, entities):
        codes, names = codes + y, (*names, "label")
    return Strata(groups=groups, codes=codes, names=names)


def _first_cells(codes: NDArray[np.integer], cells: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the first cell of each row's group, which is its own where groups are cells."""
    _, at = np.unique(codes, return_inverse=True)
    first = np.full(int(at.max(initial=0)) + 1, np.iinfo(np.int64).max, dtype=np.int64)
    np.minimum.at(first, at, cells)
    return first[at]


def _constant(values: NDArray[np.integer], entities: NDArray[np.integer] | None) -> bool:
    """Whether all rows of an entity have the same value."""
    return entities is None or bool((values == values[first_rows(entities)][entities]).all())
