"""Rates as sums over rows that are linear in the decisions."""

from fairautoml.metrics._base import Rate

Labels = tuple[float, float]

RATES: dict[Rate, tuple[Labels, Labels, Labels]] = {
    "selection": ((1, 1), (1, 1), (0, 0)),
    "tpr": ((0, 1), (0, 1), (0, 0)),
    "fpr": ((1, 0), (1, 0), (0, 0)),
    "accuracy": ((1, 1), (-1, 1), (1, 0)),
}
"""For label 0 and 1: whether its rows count, what accepting one adds, what refusing it gives."""
