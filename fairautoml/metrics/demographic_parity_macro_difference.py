"""Macro demographic parity: mean over the classes of the gap in their share."""

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics._base import Metric, Rate, Undefined
from fairautoml.metrics._classes import ClassCounts
from fairautoml.metrics._macro import macro, macro_of_tables

RATES: tuple[Rate, ...] = ("selection",)


def value(counts: ClassCounts) -> float | Undefined:
    """Return the mean over the classes of the gap in their share, in [0, 1].

    ``mean_c (max_g P(d = c | g) - min_g P(d = c | g))``.

    Parameters
    ----------
    counts : ClassCounts
        Weight by group, label and decision.

    Returns
    -------
    float or Undefined
        Undefined with fewer than two groups, or when a group has no rows.

    References
    ----------
    Denis, Elie, Hebiri, Hu, "Fairness guarantees in multi-class classification with demographic
    parity", JMLR 25, 2024, arXiv 2109.13642 (there the maximum over the classes is bounded).
    """
    return macro(counts, RATES)


def many(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values of tables of shape (n, n_groups, n_classes, n_classes), shape (n,)."""
    return macro_of_tables(tables, RATES)


METRIC = Metric(
    name="demographic_parity_macro_difference",
    kind="fairness",
    on="decisions",
    value=value,
    greater_is_better=False,
    rates=RATES,
    form="difference",
    many=many,
    tasks=frozenset({"multiclass"}),
)
