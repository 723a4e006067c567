"""Performance and fairness metrics, from group counts; one file per metric."""

from fairautoml.metrics._base import GroupCounts, Metric, Undefined
from fairautoml.metrics._constraint import Constraint, parse_constraints
from fairautoml.metrics._interval import bootstrap_interval
from fairautoml.metrics._registry import METRICS

__all__ = [
    "METRICS",
    "Constraint",
    "GroupCounts",
    "Metric",
    "Undefined",
    "bootstrap_interval",
    "parse_constraints",
]
