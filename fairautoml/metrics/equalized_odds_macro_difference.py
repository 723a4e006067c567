"""Macro equalized odds: mean over the classes of their larger gap."""

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics._base import Metric, Rate, Undefined
from fairautoml.metrics._classes import ClassCounts
from fairautoml.metrics._macro import macro, macro_of_tables

RATES: tuple[Rate, ...] = ("tpr", "fpr")


def value(counts: ClassCounts) -> float | Undefined:
    """Return the mean over the classes of the larger gap in their rates, in [0, 1].

    ``mean_c max(TPR gap of c, FPR gap of c)``.

    Parameters
    ----------
    counts : ClassCounts
        Weight by group, label and decision.

    Returns
    -------
    float or Undefined
        Undefined with fewer than two groups, or when a group lacks one of the labels.

    References
    ----------
    Rouzot, Ferry, Huguet, "Learning optimal fair scoring systems for multi-class classification",
    ICTAI 2022, arXiv 2304.05240 (one class against the others).
    """
    return macro(counts, RATES)


def many(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values of tables of shape (n, n_groups, n_classes, n_classes), shape (n,)."""
    return macro_of_tables(tables, RATES)


METRIC = Metric(
    name="equalized_odds_macro_difference",
    kind="fairness",
    on="decisions",
    value=value,
    greater_is_better=False,
    rates=RATES,
    form="difference",
    many=many,
    tasks=frozenset({"multiclass"}),
)
