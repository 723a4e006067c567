"""Fairness interventions; one file each, the stage is a field."""

from fairautoml.mitigators._base import (
    FitBase,
    Goal,
    MembershipModel,
    Mitigator,
    ScoreModel,
    ScoreRows,
    Target,
    TrainRows,
)
from fairautoml.registry import Registry

MITIGATORS: Registry[Mitigator] = Registry(
    "fairautoml.mitigators", constant="MITIGATOR", kind="mitigator"
)

__all__ = [
    "MITIGATORS",
    "FitBase",
    "Goal",
    "MembershipModel",
    "Mitigator",
    "ScoreModel",
    "ScoreRows",
    "Target",
    "TrainRows",
]
