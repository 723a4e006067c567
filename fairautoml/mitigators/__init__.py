"""Fairness interventions; one file each, in the folder of its stage."""

from fairautoml.mitigators._base import (
    FitBaseLearner,
    Goal,
    GroupProbabilityModel,
    Mitigator,
    RateMetrics,
    RuntimeRule,
    ScoreModel,
    ScoreRows,
    TrainRows,
)
from fairautoml.registry import Registry

MITIGATORS: Registry[Mitigator] = Registry(
    "fairautoml.mitigators",
    constant="MITIGATOR",
    kind="mitigator",
    folders=("preprocessing", "inprocessing", "postprocessing"),
)

__all__ = [
    "MITIGATORS",
    "FitBaseLearner",
    "Goal",
    "GroupProbabilityModel",
    "Mitigator",
    "RateMetrics",
    "RuntimeRule",
    "ScoreModel",
    "ScoreRows",
    "TrainRows",
]
