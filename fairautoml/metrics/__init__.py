"""Performance and fairness metrics, and the constraints on them."""

from fairautoml.metrics._registry import METRICS
from fairautoml.metrics._table import (
    ClassCounts,
    GroupCounts,
    GroupValues,
    Metric,
    Rate,
    Tally,
    TaskName,
    Undefined,
    largest_defined,
)
from fairautoml.metrics.constraint import Constraint, parse_constraints
from fairautoml.metrics.intervals import bootstrap_interval, mcnemar
from fairautoml.metrics.rates import RATES, fairness_metric

__all__ = [
    "METRICS",
    "RATES",
    "ClassCounts",
    "Constraint",
    "GroupCounts",
    "GroupValues",
    "Metric",
    "Rate",
    "Tally",
    "TaskName",
    "Undefined",
    "bootstrap_interval",
    "fairness_metric",
    "largest_defined",
    "mcnemar",
    "parse_constraints",
]
