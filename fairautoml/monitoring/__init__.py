"""Watch a deployed model: gaps, group shares and rates over time."""

from fairautoml.monitoring.result import Monitor

__all__ = ["Monitor"]
