"""Compare the rates of groups with a baseline, and detect levelling down."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.auditing.rates import Hidden, Tables
from fairautoml.auditing.result import ChangeRow, LevellingRow
from fairautoml.auditing.rows import AuditRows
from fairautoml.metrics._table import Rate
from fairautoml.metrics.groups import GroupSystem
from fairautoml.metrics.intervals import mcnemar
from fairautoml.metrics.rates import SHOWN

SMALL = 1e-12
"""Smallest change of a rate that is not rounding."""


def change_rows(
    rows: AuditRows, tables: Tables, baseline: NDArray[np.int8], hidden: Hidden
) -> tuple[tuple[ChangeRow, ...], tuple[LevellingRow, ...]]:
    """Return the changes of every rate by group, and which gaps closed by levelling down.

    References
    ----------
    Mittelstadt, Wachter, Russell, "The unfairness of fair machine learning: levelling down and
    strict egalitarianism by default", 2023 (arXiv 2302.02404).
    """
    changes: list[ChangeRow] = []
    summaries = []
    before = Tables.count(rows, baseline)
    flips = _flips(rows, baseline)
    for system in rows.systems:
        for rate in tables.defined(SHOWN):
            values = (before.cells(rate, system).values, tables.cells(rate, system).values)
            moved = None if flips is None else _moved(flips, system, rate)
            good = rows.accepted_is_favourable
            found = list(_changes(system, rate, values, moved, hidden[system.name], good))
            changes += found
            summaries.append(_levelling(system.name, rate.name, found))
    return tuple(changes), tuple(summaries)


_Flips = tuple[Tables, Tables]


def _flips(rows: AuditRows, baseline: NDArray[np.int8]) -> _Flips | None:
    """Return the rows that are newly accepted and newly rejected, counted by group and label."""
    if rows.weight is not None:
        return None
    up, down = rows.decision > baseline, rows.decision < baseline
    return Tables.count(rows, up.astype(np.int8)), Tables.count(rows, down.astype(np.int8))


def _moved(flips: _Flips, system: GroupSystem, rate: Rate) -> NDArray[np.float64]:
    """Return the rows by group that entered and left the numerator, shape (2, n_groups)."""
    counts, step, _ = rate.linear()
    newly = [table.merged(system).rows.table[:, :, 1] for table in flips]
    entered = sum(newly[int(step[y] < 0)][:, y] * (counts[y] * step[y] != 0) for y in (0, 1))
    left = sum(newly[int(step[y] > 0)][:, y] * (counts[y] * step[y] != 0) for y in (0, 1))
    return np.stack([np.asarray(entered), np.asarray(left)])


def _changes(
    system: GroupSystem,
    rate: Rate,
    values: tuple[NDArray[np.float64], NDArray[np.float64]],
    moved: NDArray[np.float64] | None,
    hidden: NDArray[np.bool_],
    good: bool,
) -> Iterator[ChangeRow]:
    before, after = values
    for at, label in enumerate(system.labels):
        row = ChangeRow(
            system=system.name,
            group=label,
            rate=rate.name,
            baseline=None,
            value=None,
            change=None,
        )
        if hidden[at] or np.isnan(before[at]):
            yield row
            continue
        change = float(after[at] - before[at])
        counts = None if moved is None else moved[:, at].astype(int).tolist()
        yield replace(
            row,
            baseline=float(before[at]),
            value=float(after[at]),
            change=change,
            direction=_direction(change, rate, good),
            p_value=None if counts is None else mcnemar(*counts),
        )


def _direction(change: float, rate: Rate, good: bool) -> str:
    """Return whether a change is better for the members of the group.

    More acceptances are better where being accepted is good for the person, also of rows with the
    negative label; a higher accuracy is better in any case.
    """
    if abs(change) <= SMALL:
        return "same"
    return "better" if (change > 0) == (good or not rate.is_acceptance) else "worse"


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
