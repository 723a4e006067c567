"""One metric on many tables at once."""

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics._base import GroupCounts, Metric, Rate, Undefined
from fairautoml.metrics._classes import ClassCounts
from fairautoml.metrics._disparity import worst


def values_of(
    metric: Metric, tables: NDArray[np.float64], overall: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return the value on every table, NaN where it has none, shape (n_tables,).

    Parameters
    ----------
    metric : Metric
        On decisions.
    tables : ndarray of float64, shape (n_tables, n_groups, n_classes, n_classes)
        Weight by group, label and decision; of numbers as ``GroupValues.table``.
    overall : ndarray of float64, shape (n_tables, 2, 2), optional
        The same over everybody; by default the sum over the groups.
    """
    if metric.many is not None:
        return metric.many(tables)
    if metric.rates:
        # To the counts all tables are just more groups.
        if tables.shape[-1] > 2:
            return _of_classes(metric, tables)
        by_rate = [_rates(tables, rate) for rate in metric.rates]
        return worst(np.stack(by_rate), metric.form)
    if metric.to_overall:
        everybody = tables.sum(axis=1) if overall is None else overall
        return _anchored(metric, tables, everybody)
    each = [None] * len(tables) if overall is None else list(overall)
    found = (metric.value(GroupCounts(t, o)) for t, o in zip(tables, each, strict=True))
    return np.array([np.nan if isinstance(value, Undefined) else value for value in found])


def _of_classes(metric: Metric, tables: NDArray[np.float64]) -> NDArray[np.float64]:
    n_classes = tables.shape[-1]
    by_rate = ClassCounts(tables.reshape(-1, n_classes, n_classes)).stacked(metric.rates)
    return worst(by_rate.reshape(-1, *tables.shape[:2]), metric.form)


def _rates(tables: NDArray[np.float64], rate: Rate) -> NDArray[np.float64]:
    flat = GroupCounts(tables.reshape(-1, 2, 2)).rates(rate)
    return flat.reshape(tables.shape[:2])


def _anchored(
    metric: Metric, tables: NDArray[np.float64], overall: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distances from everybody; groups without the rows of a rate are left out."""
    worst_of = np.zeros(len(tables))
    for rate in metric.to_overall:
        apart = np.abs(_rates(tables, rate) - _rates(overall[:, None], rate))
        lacking = np.isnan(apart)
        known = np.where(lacking, 0.0, apart)
        found = known.max(axis=1) if metric.over_groups == "max" else known.sum(axis=1)
        worst_of = np.maximum(worst_of, np.where(lacking.all(axis=1), np.nan, found))
    return worst_of
