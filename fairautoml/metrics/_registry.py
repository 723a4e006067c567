"""The registry of metrics; apart from ``__init__`` so that modules of this package can use it."""

from fairautoml.metrics._table import Metric
from fairautoml.metrics.gedi import GEDI
from fairautoml.metrics.performance import PERFORMANCE
from fairautoml.metrics.rates import FAIRNESS
from fairautoml.metrics.regression import REGRESSION
from fairautoml.registry import Registry

METRICS: Registry[Metric] = Registry(
    "fairautoml.metrics",
    kind="metric",
    rows={metric.name: metric for metric in (*FAIRNESS, *PERFORMANCE, *REGRESSION, *GEDI)},
)
