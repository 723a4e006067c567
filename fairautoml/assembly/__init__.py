"""From the pool of trained models to the final classifier."""

from fairautoml.assembly.blend import Blend
from fairautoml.assembly.chances import Chances, chances_on
from fairautoml.assembly.choice import Choice, Confidence, choose
from fairautoml.assembly.classifier import FairClassifier
from fairautoml.assembly.greedy import mean_shares, shares_by_fold

__all__ = [
    "Blend",
    "Chances",
    "Choice",
    "Confidence",
    "FairClassifier",
    "chances_on",
    "choose",
    "mean_shares",
    "shares_by_fold",
]
