"""Compute impact ratios and detect gaps that were closed by levelling down."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from fairautoml.auditing.rates import Hidden, cells_of, defined_rates, outcome
from fairautoml.auditing.result import ChangeRow, ImpactRow, LevellingRow
from fairautoml.auditing.rows import AuditRows
from fairautoml.metrics._table import Rate
from fairautoml.metrics.groups import GroupSystem
from fairautoml.metrics.rates import FPR, SELECTION, SHOWN

FOUR_FIFTHS = 0.8
ROUNDING = 1e-9
"""Rounding tolerance of the ratio: 0.6 / 0.75 must count as four fifths."""


def impact_rows(rows: AuditRows, hidden: Hidden) -> tuple[ImpactRow, ...]:
    """Return the impact ratio of every group to the most selected group that is shown."""
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
    """Return the reason why a group has no ratio, or an empty text."""
    if hidden[at]:
        return "suppressed"
    if not defined[at]:
        return "no rows of any weight"
    if defined.sum() < 2:
        return "no other group is shown"
    return "" if highest > 0 else "no row is selected"


SMALL = 1e-12
"""Smallest change of a rate that is not rounding."""


def change_rows(
    rows: AuditRows, baseline: NDArray[np.int8], hidden: Hidden
) -> tuple[tuple[ChangeRow, ...], tuple[LevellingRow, ...]]:
    """Return the changes of every rate by group, and which gaps closed by levelling down.

    References
    ----------
    Mittelstadt, Wachter, Russell, "The unfairness of fair machine learning: levelling down and
    strict egalitarianism by default", 2023 (arXiv 2302.02404).
    """
    changes: list[ChangeRow] = []
    summaries = []
    for system in rows.systems:
        for rate in defined_rates(rows, SHOWN):
            found = list(_changes(rows, baseline, system, rate, hidden[system.name]))
            changes += found
            summaries.append(_levelling(system.name, rate.name, found))
    return tuple(changes), tuple(summaries)


def _changes(
    rows: AuditRows,
    baseline: NDArray[np.int8],
    system: GroupSystem,
    rate: Rate,
    hidden: NDArray[np.bool_],
) -> Iterator[ChangeRow]:
    before = cells_of(rows, system, rate, decision=baseline).values
    after = cells_of(rows, system, rate).values
    codes = rows.codes(system)
    for at, label in enumerate(system.labels):
        if hidden[at] or np.isnan(before[at]):
            yield ChangeRow(
                system=system.name,
                group=label,
                rate=rate.name,
                baseline=None,
                value=None,
                change=None,
            )
            continue
        change = float(after[at] - before[at])
        yield ChangeRow(
            system=system.name,
            group=label,
            rate=rate.name,
            baseline=float(before[at]),
            value=float(after[at]),
            change=change,
            direction=_direction(change, rate),
            p_value=_sign_test(rows, baseline, codes == at, rate),
        )


def _direction(change: float, rate: Rate) -> str:
    if abs(change) <= SMALL:
        return "same"
    return "better" if (change > 0) != (rate == FPR) else "worse"


def _sign_test(
    rows: AuditRows, baseline: NDArray[np.int8], here: NDArray[np.bool_], rate: Rate
) -> float | None:
    """Return the two-sided p-value of the exact McNemar test."""
    if rows.weight is not None:
        return None
    about, new = outcome(rows.y, rows.decision, rate)
    _, old = outcome(rows.y, baseline, rate)
    here = here & about
    up, down = int((here & new & ~old).sum()), int((here & old & ~new).sum())
    return 1.0 if up + down == 0 else float(binomtest(up, up + down).pvalue)


def _levelling(system: str, rate: str, changes: list[ChangeRow]) -> LevellingRow:
    before = [row.baseline for row in changes if row.baseline is not None]
    after = [row.value for row in changes if row.value is not None]
    whole = len(before) == len(changes) and len(changes) > 1
    old = max(before) - min(before) if whole else None
    new = max(after) - min(after) if whole else None
    better = sum(row.direction == "better" for row in changes)
    worse = sum(row.direction == "worse" for row in changes)
    closed = old is not None and new is not None and new < old - SMALL
    return LevellingRow(
        system=system,
        rate=rate,
        gap_baseline=old,
        gap=new,
        n_better=better,
        n_worse=worse,
        levelled_down=closed and worse > 0 and better == 0,
    )
