"""Performance and fairness metrics, from group counts; one file per metric."""

from fairautoml.metrics._base import (
    GroupCounts,
    Metric,
    Tally,
    TaskName,
    Undefined,
    largest_defined,
)
from fairautoml.metrics._classes import ClassCounts
from fairautoml.metrics._constraint import Constraint, parse_constraints
from fairautoml.metrics._interval import bootstrap_interval
from fairautoml.metrics._mcnemar import mcnemar
from fairautoml.metrics._registry import METRICS
from fairautoml.metrics._values import GroupValues

__all__ = [
    "METRICS",
    "ClassCounts",
    "Constraint",
    "GroupCounts",
    "GroupValues",
    "Metric",
    "Tally",
    "TaskName",
    "Undefined",
    "bootstrap_interval",
    "largest_defined",
    "mcnemar",
    "parse_constraints",
]
