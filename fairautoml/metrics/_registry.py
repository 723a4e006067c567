"""The registry of metrics; apart from ``__init__`` so that modules of this package can use it."""

from fairautoml.metrics._base import Metric
from fairautoml.registry import Registry

METRICS: Registry[Metric] = Registry("fairautoml.metrics", constant="METRIC", kind="metric")
