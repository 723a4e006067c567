"""Registry of metrics, separate from ``__init__`` to avoid an import cycle."""

from fairautoml.metrics._table import Metric
from fairautoml.metrics.gedi import GEDI
from fairautoml.metrics.performance import PERFORMANCE, precision_at
from fairautoml.metrics.rates import FAIRNESS
from fairautoml.metrics.regression import REGRESSION
from fairautoml.registry import Registry


class _Metrics(Registry[Metric]):
    """The metrics with a row or an entry point, and precision at any k."""

    def _load(self, name: str) -> Metric:
        return precision_at(name) or super()._load(name)


METRICS = _Metrics(
    "fairautoml.metrics",
    kind="metric",
    rows={metric.name: metric for metric in (*FAIRNESS, *PERFORMANCE, *REGRESSION, *GEDI)},
)


def is_gain(name: str) -> bool:
    """Return whether more of a metric is better, as it always is of an objective of the user."""
    return name not in METRICS.names() or METRICS.get(name).greater_is_better
