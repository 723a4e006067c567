"""Rates by group with their intervals, and performance overall and by group."""

from collections.abc import Callable, Iterable, Iterator
from typing import cast

import numpy as np
from numpy.typing import NDArray

from fairautoml.auditing.auc import auc_interval
from fairautoml.auditing.cells import SHOWN, RateCells, cells_of, defined_rates
from fairautoml.auditing.hiding import Hidden
from fairautoml.auditing.records import Interval, RateRow, ScoreRow
from fairautoml.auditing.rows import AuditRows
from fairautoml.data.dataset import GroupSystem
from fairautoml.metrics import METRICS, GroupCounts, Metric, Undefined, bootstrap_interval
from fairautoml.metrics._table import effective_rows
from fairautoml.metrics.rates import ACCURACY, with_compared

HIDDEN = "suppressed"
DRAWS = 100
MOST_GROUPS = 12
"""Groups of a system up to which metrics are resampled by group: a call costs milliseconds."""
MOST_RESAMPLED = 20_000
"""Rows up to which metrics on scores are resampled; more rows leave little to chance."""


def rate_rows(
    rows: AuditRows,
    hidden: Hidden,
    level: float,
    largest_weight: float | None,
    metrics: Iterable[Metric],
) -> tuple[RateRow, ...]:
    """Return every rate of every group, with those that the constrained metrics compare."""
    found: list[RateRow] = []
    rates = defined_rates(rows, with_compared(SHOWN, metrics))
    for system in rows.systems:
        for rate in rates:
            cells = cells_of(rows, system, rate, largest_weight=largest_weight)
            found += _rows_of(system, cells, hidden[system.name], level)
    return tuple(found)


def _rows_of(
    system: GroupSystem, cells: RateCells, hidden: NDArray[np.bool_], level: float
) -> Iterator[RateRow]:
    values = cells.values
    low, high = cells.bounds(level / 2)
    for at, label in enumerate(system.labels):
        shown = not hidden[at]
        defined = shown and bool(cells.mass[at] > 0)
        ends = Interval(low=float(low[at]), high=float(high[at]), method=cells.method)
        yield RateRow(
            system=system.name,
            group=label,
            rate=cells.rate.name,
            n=int(cells.n[at]) if shown else None,
            events=float(cells.events[at]) if shown else None,
            value=float(values[at]) if defined else None,
            interval=ends if defined else None,
            suppressed=not shown,
        )


def score_rows(rows: AuditRows, hidden: Hidden, level: float, seed: int) -> tuple[ScoreRow, ...]:
    """Return every performance metric on everybody and on every group, none without labels."""
    if rows.y is None:
        return ()
    found: list[ScoreRow] = []
    for metric in _performance():
        measure = _measure(rows, rows.y, metric, level, seed)
        found.append(measure("", "", np.ones(len(rows.y), dtype=np.bool_), True))
        for system in rows.systems:
            codes, few = rows.codes(system), system.n_groups <= MOST_GROUPS
            for at, label in enumerate(system.labels):
                if hidden[system.name][at]:
                    found.append(_suppressed(system.name, label, metric.name))
                else:
                    found.append(measure(system.name, label, codes == at, few))
    return tuple(found)


def _performance() -> list[Metric]:
    every = map(METRICS.get, METRICS.names())
    return [
        metric for metric in every if metric.kind == "performance" and "binary" in metric.tasks
    ]


def _suppressed(system: str, group: str, metric: str) -> ScoreRow:
    return ScoreRow(system=system, group=group, metric=metric, value=None, reason=HIDDEN)


_Measure = Callable[[str, str, NDArray[np.bool_], bool], ScoreRow]


def _measure(
    rows: AuditRows, y: NDArray[np.int8], metric: Metric, level: float, seed: int
) -> _Measure:
    """Return what measures one metric on part of the rows."""

    def decided(system: str, group: str, here: NDArray[np.bool_], few: bool) -> ScoreRow:
        value, interval = _on_decisions(rows, y, metric, here, level, seed if few else None)
        return _row(system, group, metric, value, interval)

    def scored(system: str, group: str, here: NDArray[np.bool_], few: bool) -> ScoreRow:
        value, interval = _on_scores(rows, y, metric, here, level, seed)
        return _row(system, group, metric, value, interval)

    return decided if metric.on == "decisions" else scored


def _row(
    system: str, group: str, metric: Metric, value: float | Undefined, interval: Interval | None
) -> ScoreRow:
    if isinstance(value, Undefined):
        return ScoreRow(
            system=system, group=group, metric=metric.name, value=None, reason=value.reason
        )
    return ScoreRow(system=system, group=group, metric=metric.name, value=value, interval=interval)


def _on_decisions(
    rows: AuditRows,
    labels: NDArray[np.int8],
    metric: Metric,
    here: NDArray[np.bool_],
    level: float,
    seed: int | None,
) -> tuple[float | Undefined, Interval | None]:
    """Return a metric on some rows; without a seed there is no bootstrap."""
    one = np.zeros(int(here.sum()), dtype=np.int64)
    weight = None if rows.weight is None else rows.weight[here]
    counts = GroupCounts.from_rows(one, labels[here], rows.decision[here], weight, n_groups=1)
    value = metric.value(counts)
    worth = None if weight is None else effective_rows(one, weight, 1)
    if metric.name == "accuracy" and not isinstance(value, Undefined):
        return value, _share_interval(value, len(one), worth, level)
    if seed is None:
        return value, None
    ends = bootstrap_interval(metric, counts.table, n_rows=worth, level=1 - level, seed=seed)
    return value, _approximate(ends)


def _share_interval(
    value: float, n: int, worth: NDArray[np.float64] | None, level: float
) -> Interval:
    """Return the interval of a share of rows: accuracy is a rate like those of groups."""
    effective = np.array([float(n)]) if worth is None else worth
    cells = RateCells(
        rate=ACCURACY,
        events=np.rint(value * effective) if worth is None else value * effective,
        mass=effective,
        n=np.array([n]),
        effective=effective,
        weighted=worth is not None,
    )
    return cast(Interval, cells.interval(0, level))


def _on_scores(
    rows: AuditRows,
    labels: NDArray[np.int8],
    metric: Metric,
    here: NDArray[np.bool_],
    level: float,
    seed: int,
) -> tuple[float | Undefined, Interval | None]:
    if rows.score is None:
        return Undefined("needs y_score"), None
    score, y = rows.score[here], labels[here]
    if metric.name == "log_loss" and not ((rows.score >= 0) & (rows.score <= 1)).all():
        return Undefined("the scores are no probabilities in [0, 1]"), None
    weight = np.ones(len(y)) if rows.weight is None else rows.weight[here]
    value = metric.value(y, score, weight)
    if isinstance(value, Undefined):
        return value, None
    if metric.name == "roc_auc" and rows.weight is None and min(np.bincount(y)) > 1:
        return value, auc_interval(score, y == 1, level)[1]
    # A call costs milliseconds whatever the rows, so that groups are not resampled.
    if not here.all() or len(y) > MOST_RESAMPLED:
        return value, None
    return value, _resampled(metric, y, score, weight, level, seed)


def _resampled(
    metric: Metric,
    y: NDArray[np.int8],
    score: NDArray[np.float64],
    weight: NDArray[np.float64],
    level: float,
    seed: int,
) -> Interval | None:
    """Return the percentile bootstrap interval, None when some draw has no value."""
    rng, n = np.random.default_rng(seed), len(y)
    drawn = (rng.multinomial(n, np.full(n, 1 / n)) for _ in range(DRAWS))
    found = [metric.value(y, score, weight * times) for times in drawn]
    known = [float(value) for value in found if not isinstance(value, Undefined)]
    if len(known) < DRAWS:
        return None
    low, high = np.quantile(known, [level / 2, 1 - level / 2])
    return _approximate((float(low), float(high)))


def _approximate(ends: tuple[float, float] | None) -> Interval | None:
    if ends is None:
        return None
    return Interval(low=ends[0], high=ends[1], method="bootstrap (approximate)")
