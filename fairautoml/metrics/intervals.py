"""Intervals of metrics for display, and the exact McNemar test."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from fairautoml.metrics._table import MASS, N_BINS, GroupCounts, Metric, Undefined, redrawn
from fairautoml.metrics.rates import ROUNDING, values_of
from fairautoml.records import Floats


def bootstrap_interval(
    metric: Metric,
    table: Floats,
    *,
    n_rows: NDArray[np.floating] | None = None,
    level: float = 0.95,
    draws: int = 400,
    seed: int = 0,
    masks: NDArray[np.bool_] | None = None,
) -> tuple[float, float] | None:
    """Return a bootstrap interval of a metric on decisions, for display only.

    Each group's table is drawn anew from a multinomial distribution with the group's own shares
    (parametric bootstrap, group sizes fixed). A redrawn maximum over groups is larger than the
    measured one on average, the more so the more groups there are; that bias is taken off, and
    the ends are kept within the range of the metric, which is [0, 1] for rates. Never a
    certificate: the classifier was chosen on these very rows, coverage is only asymptotic, and a
    group without errors gets no width.

    References
    ----------
    Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, sections 6.5 and 13.3.
    """
    measured = _measured(metric, table, masks)
    if isinstance(measured, Undefined):
        return None
    tables = _redraw(table, n_rows, draws, np.random.default_rng(seed))
    overall = None if masks is None else tables.sum(axis=1)
    if masks is not None:
        tables = np.einsum("gc,nc...->ng...", masks.astype(np.float64), tables)
    values = values_of(metric, tables, overall)
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return None
    ends = np.quantile(values, [(1 - level) / 2, (1 + level) / 2]) - (values.mean() - measured)
    # Correlations and costs may be negative, and gains above 1.
    most = max(metric.largest_bound, values.max() - ROUNDING)
    low, high = np.clip(ends, min(0.0, values.min()), most)
    return float(low), float(high)


def interval_of_groups(
    metric: Metric,
    table: Floats,
    *,
    member: NDArray[np.bool_],
    overlapping: bool,
    n_rows: Floats,
    level: float,
) -> tuple[float, float] | None:
    """Return ``bootstrap_interval`` of a metric over groups of finest cells."""
    if overlapping:
        # Overlapping groups share rows, and their overall rate includes rows of no group.
        return bootstrap_interval(metric, table, n_rows=n_rows, level=level, masks=member)
    merged = np.tensordot(member.astype(np.float64), table, 1)
    return bootstrap_interval(metric, merged, n_rows=member @ n_rows, level=level)


def _redraw(
    table: Floats, n_rows: NDArray[np.floating] | None, draws: int, rng: np.random.Generator
) -> Floats:
    """Return redrawn tables, shape (draws, n_groups, ...), each group at its own weight."""
    if table.ndim == 2:
        rows = table[:, MASS] if n_rows is None else n_rows.astype(np.float64)
        return redrawn(table, rows, rng.standard_normal((draws, len(table), 2 + N_BINS)))
    flat = table.reshape(len(table), -1)
    mass = flat.sum(axis=1)
    kept = mass > 0
    # Without weight there is no effective number of rows either: 0/0 in the caller's n_rows.
    wanted = np.where(kept, mass if n_rows is None else n_rows, 0.0)
    size = np.maximum(np.rint(wanted).astype(np.int64), kept)
    # A group without weight is drawn 0 times; its shares only need to sum to 1.
    shares = np.full(flat.shape, 1.0 / flat.shape[1])
    np.divide(flat, mass[:, None], out=shares, where=kept[:, None])
    counts = rng.multinomial(size, shares, size=(draws, len(flat)))
    weight_of_one = np.divide(mass, size, out=np.zeros(len(mass)), where=kept)
    tables: Floats = counts * weight_of_one[:, None]
    return tables.reshape(draws, *table.shape)


def _measured(metric: Metric, table: Floats, masks: NDArray[np.bool_] | None) -> float | Undefined:
    if table.ndim == 3 and table.shape[-1] == 2:
        counts = GroupCounts(table)
        if masks is not None:
            counts = counts.merged(np.full(masks.shape[1], -1), len(masks), masks)
        return metric.value(counts)
    groups = table if masks is None else np.tensordot(masks.astype(np.float64), table, 1)
    found = float(values_of(metric, groups[None])[0])
    return Undefined("a group has no rows") if np.isnan(found) else found


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of the exact McNemar test, in (0, 1].

    Under the null hypothesis each classifier is equally likely to be the right one on the rows on
    which exactly one of them is right: a binomial test at one half.

    References
    ----------
    McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12, 1947; used by Gencoglu, arXiv 2005.06625.

    Examples
    --------
    >>> round(mcnemar(only_first=57, only_second=222), 26)
    3.64e-24
    """
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second).pvalue)
