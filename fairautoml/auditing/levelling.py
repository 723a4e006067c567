"""Each group's rates against those of another model on the same rows: who got worse."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from fairautoml.auditing.cells import cells_of, defined_rates, outcome
from fairautoml.auditing.hiding import Hidden
from fairautoml.auditing.records import ChangeRow, LevellingRow
from fairautoml.auditing.rows import AuditRows
from fairautoml.data.dataset import GroupSystem
from fairautoml.metrics._table import Rate
from fairautoml.metrics.rates import FPR, SHOWN

SMALL = 1e-12
"""A change of a rate below this is rounding."""


def change_rows(
    rows: AuditRows, baseline: NDArray[np.int8], hidden: Hidden
) -> tuple[tuple[ChangeRow, ...], tuple[LevellingRow, ...]]:
    """Return the changes of every rate in every group, and whose gap closed by levelling down.

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
    """Return the two-sided p-value of as many changes one way as the other (McNemar, exact)."""
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
