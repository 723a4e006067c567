"""Performance and fairness metrics, and the constraints on them."""

from fairautoml.metrics._registry import METRICS, is_gain
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
from fairautoml.metrics.constraint import (
    BoundConstraint,
    Constraint,
    bind_constraints,
    parse_constraints,
)
from fairautoml.metrics.custom import CostMatrix, custom_metric
from fairautoml.metrics.groups import GroupSystem, SmallGroups
from fairautoml.metrics.intervals import bootstrap_interval, mcnemar
from fairautoml.metrics.rates import RATES, fairness_metric

__all__ = [
    "METRICS",
    "RATES",
    "BoundConstraint",
    "ClassCounts",
    "Constraint",
    "CostMatrix",
    "GroupCounts",
    "GroupSystem",
    "GroupValues",
    "Metric",
    "Rate",
    "SmallGroups",
    "Tally",
    "TaskName",
    "Undefined",
    "bind_constraints",
    "bootstrap_interval",
    "custom_metric",
    "fairness_metric",
    "is_gain",
    "largest_defined",
    "mcnemar",
    "parse_constraints",
]
