"""Mean over the classes of the gaps between groups."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics._base import Rate, Undefined
from fairautoml.metrics._classes import ClassCounts


def macro(counts: ClassCounts, rates: Sequence[Rate]) -> float | Undefined:
    """Return the mean over the classes of the largest gap of the rates, or why there is none.

    Parameters
    ----------
    counts : ClassCounts
        Weight by group, label and decision.
    rates : sequence of Rate
        Rates of a class; the one that is worst off counts.
    """
    if np.count_nonzero(counts.table.any(axis=(1, 2))) < 2:
        return Undefined("single group: fewer than two groups have rows")
    reason = counts.lacking(rates)
    if reason:
        return Undefined(reason)
    return float(macro_of_tables(counts.table[None], rates)[0])


def macro_of_tables(tables: NDArray[np.float64], rates: Sequence[Rate]) -> NDArray[np.float64]:
    """Return the same for many tables at once, NaN where undefined, shape (n_tables,).

    Parameters
    ----------
    tables : ndarray of float64, shape (n_tables, n_groups, n_classes, n_classes)
        Weight by group, label and decision.
    rates : sequence of Rate
        Rates of a class.
    """
    n_tables, n_groups, n_classes, _ = tables.shape
    flat = ClassCounts(tables.reshape(-1, n_classes, n_classes)).stacked(rates)
    by_group = flat.reshape(len(rates), n_classes, n_tables, n_groups)
    gaps: NDArray[np.float64] = np.ptp(by_group, axis=-1).max(axis=0).mean(axis=0)
    return gaps
