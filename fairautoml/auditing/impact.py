"""Impact ratios: each group's selection rate over that of the most selected group."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fairautoml.auditing.cells import cells_of
from fairautoml.auditing.hiding import Hidden
from fairautoml.auditing.records import ImpactRow
from fairautoml.auditing.rows import AuditRows
from fairautoml.data.dataset import GroupSystem
from fairautoml.metrics.rates import SELECTION

FOUR_FIFTHS = 0.8
ROUNDING = 1e-9
"""A ratio this close below four fifths is four fifths: 0.6 / 0.75."""


def impact_rows(rows: AuditRows, hidden: Hidden) -> tuple[ImpactRow, ...]:
    """Return the impact ratio of every group, against the most selected group that is shown."""
    return tuple(
        row
        for system in rows.systems
        if system.n_groups >= 2
        for row in _rows_of(system, cells_of(rows, system, SELECTION).values, hidden[system.name])
    )


def _rows_of(
    system: GroupSystem, rates: NDArray[np.float64], hidden: NDArray[np.bool_]
) -> Iterator[ImpactRow]:
    shown = np.where(hidden, np.nan, rates)
    defined = ~np.isnan(shown)
    highest = float(np.nanmax(shown)) if defined.any() else 0.0
    reference = system.labels[int(np.nanargmax(shown))] if defined.any() else ""
    for at, label in enumerate(system.labels):
        rate = float(shown[at]) if defined[at] else None
        reason = _reason(hidden, defined, highest, at)
        if reason or rate is None:
            yield ImpactRow(system=system.name, group=label, selection_rate=rate, reason=reason)
            continue
        ratio = rate / highest
        yield ImpactRow(
            system=system.name,
            group=label,
            reference=reference,
            selection_rate=rate,
            impact_ratio=ratio,
            below_four_fifths=ratio < FOUR_FIFTHS - ROUNDING,
        )


def _reason(hidden: NDArray[np.bool_], defined: NDArray[np.bool_], highest: float, at: int) -> str:
    """Return why a group has no ratio, empty if it has one."""
    if hidden[at]:
        return "suppressed"
    if not defined[at]:
        return "no rows of any weight"
    if defined.sum() < 2:
        return "no other group is shown"
    return "" if highest > 0 else "no row is selected"
