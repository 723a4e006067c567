"""Every fairness metric on every group system, with bounds and what chance alone would show."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.auditing.cells import RateCells, cells_of, counts_of, needs_labels
from fairautoml.auditing.hiding import Hidden
from fairautoml.auditing.records import GapRow, Interval
from fairautoml.auditing.rows import AuditRows
from fairautoml.certification.bounds import largest_difference, smallest_ratio
from fairautoml.data.dataset import GroupSystem
from fairautoml.metrics import METRICS, GroupCounts, Metric, Undefined, bootstrap_interval
from fairautoml.metrics._table import Form, effective_rows
from fairautoml.metrics.rates import worst

DRAWS = 400
SAME = 1e-9
"""Two computations of one metric differ by rounding only."""


def gap_rows(
    rows: AuditRows, hidden: Hidden, level: float, largest_weight: float | None, seed: int
) -> tuple[GapRow, ...]:
    """Return every fairness metric that is defined on every group system."""
    every = (METRICS.get(name) for name in METRICS.names())
    metrics = [metric for metric in every if metric.kind == "fairness" and applies(metric)]
    if rows.y is None:
        metrics = [metric for metric in metrics if not needs_labels(metric)]
    counts = counts_of(rows, rows.decision, rows.weight)
    found = []
    for system in rows.systems:
        merged = counts.merged(system.of_cell, system.n_groups)
        for metric in metrics:
            if hidden[system.name].any():
                row = GapRow(
                    system=system.name, metric=metric.name, value=None, reason="suppressed"
                )
            else:
                row = _gap(rows, system, metric, merged, level, seed)
                row = _bounded(row, rows, system, metric, level, largest_weight)
                row = _by_chance(row, rows, system, metric, seed)
            found.append(row)
    return tuple(found)


def applies(metric: Metric) -> bool:
    """Whether a fairness metric speaks about decisions between two labels and plain groups."""
    return metric.on == "decisions" and "binary" in metric.tasks and metric.degree == 0


def _gap(
    rows: AuditRows,
    system: GroupSystem,
    metric: Metric,
    counts: GroupCounts,
    level: float,
    seed: int,
) -> GapRow:
    value = metric.value(counts)
    if isinstance(value, Undefined):
        reason = _lacking(rows, system, metric) or value.reason
        return GapRow(system=system.name, metric=metric.name, value=None, reason=reason)
    ends = bootstrap_interval(
        metric, counts.table, n_rows=_worth(rows, system), level=1 - level, seed=seed
    )
    drawn = (
        None
        if ends is None
        else Interval(low=ends[0], high=ends[1], method="bootstrap (approximate)")
    )
    return GapRow(system=system.name, metric=metric.name, value=float(value), interval=drawn)


def _worth(rows: AuditRows, system: GroupSystem) -> NDArray[np.float64] | None:
    if rows.weight is None:
        return None
    codes = rows.codes(system)
    inside = codes >= 0
    return effective_rows(codes[inside], rows.weight[inside], system.n_groups)


def _lacking(rows: AuditRows, system: GroupSystem, metric: Metric) -> str:
    """Name the groups in which nobody is spoken about, empty when that is not the reason."""
    if system.n_groups < 2:
        return ""
    for rate in metric.rates:
        empty = np.flatnonzero(cells_of(rows, system, rate).mass <= 0)
        if len(empty) > 0:
            more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
            return f"group {system.labels[empty[0]]!r}{more} has no {rate.lacks}"
    return ""


def rate_cells(
    rows: AuditRows, system: GroupSystem, metric: Metric, largest_weight: float | None = None
) -> list[RateCells] | None:
    """Return the rates whose worst disparity a metric is, None when it is something else."""
    cells = [cells_of(rows, system, rate, largest_weight=largest_weight) for rate in metric.rates]
    value = metric.value(
        counts_of(rows, rows.decision, rows.weight).merged(system.of_cell, system.n_groups)
    )
    if not cells or isinstance(value, Undefined):
        return cells or None
    same = abs(float(worst(np.stack([c.values for c in cells]), metric.form)) - value) <= SAME
    return cells if same else None


def _bounded(
    row: GapRow,
    rows: AuditRows,
    system: GroupSystem,
    metric: Metric,
    level: float,
    largest_weight: float | None,
) -> GapRow:
    """Add bounds, and the groups that are farthest apart."""
    cells = None if row.value is None else rate_cells(rows, system, metric, largest_weight)
    if cells is None:
        return row
    decisive = min(cells, key=lambda cell: _parity(cell.values, metric.form))
    least, most = disparity_bounds(cells, metric.form, level)
    return replace(
        row,
        at_least=least,
        at_most=most,
        bounds=cells[0].method,
        lowest=system.labels[int(decisive.values.argmin())],
        highest=system.labels[int(decisive.values.argmax())],
        rate=decisive.rate.name,
    )


def _parity(values: NDArray[np.float64], form: Form) -> float:
    """Return a number that is the smaller the farther the rate is from parity."""
    found = float(worst(values[None, :], form))
    return -found if form == "difference" else found


def disparity_bounds(cells: list[RateCells], form: Form, level: float) -> tuple[float, float]:
    """Return a lower and an upper confidence bound of a disparity, each with this error.

    The bound on the side of disparity is an intersection-union bound (one-sided bounds at half
    the level); that on the side of parity may pick its pair after looking, so that all one-sided
    bounds have to hold at once (level divided by twice their number).
    """
    each, simultaneous = level / 2, level / (2 * len(cells) * len(cells[0].mass))
    halves = [cell.bounds(each) for cell in cells]
    whole = [cell.bounds(simultaneous) for cell in cells]
    if form == "difference":
        most = max(largest_difference(high, low) for low, high in halves)
        least = max(0.0, *(largest_difference(low, high) for low, high in whole))
        return least, most
    least = min(smallest_ratio(low, high) if high.min() > 0 else 0.0 for low, high in halves)
    most = min(
        float(min(1.0, high.min() / low.max())) if low.max() > 0 else 1.0 for low, high in whole
    )
    return least, most


def _by_chance(
    row: GapRow, rows: AuditRows, system: GroupSystem, metric: Metric, seed: int
) -> GapRow:
    cells = None if row.value is None else rate_cells(rows, system, metric)
    if cells is None or row.value is None:
        return row
    drawn = null_values(
        [np.rint(cell.effective).astype(np.int64) for cell in cells],
        [float(cell.events.sum() / cell.mass.sum()) for cell in cells],
        metric.form,
        seed=seed,
    )
    drawn = drawn[~np.isnan(drawn)]
    if len(drawn) == 0:
        return row
    farther = (
        drawn >= row.value - SAME if metric.form == "difference" else drawn <= row.value + SAME
    )
    return replace(row, null_mean=float(drawn.mean()), null_share=float(farther.mean()))


def null_values(
    n: list[NDArray[np.int64]],
    rates: list[float],
    form: Form,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return what a disparity looks like when all groups have the same rates.

    The largest of many noisy differences is far from 0 although the truth is 0.

    References
    ----------
    Lum, Zhang, Bower, "De-biasing 'bias' measurement", FAccT 2022.
    """
    rng = np.random.default_rng(seed)
    drawn = np.stack(
        [
            rng.binomial(sizes, rate, size=(draws, len(sizes))) / np.maximum(sizes, 1)
            for sizes, rate in zip(n, rates, strict=True)
        ]
    )
    return np.asarray(worst(drawn, form), dtype=np.float64)
