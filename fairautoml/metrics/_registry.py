"""Registry of metrics, separate from ``__init__`` to avoid an import cycle."""

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
