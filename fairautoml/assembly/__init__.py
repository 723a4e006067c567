"""From the pool of trained models to the final classifier."""

from fairautoml.assembly.blend import Blend, Columns, models_of, scored_by
from fairautoml.assembly.chances import Chances, chances_on
from fairautoml.assembly.choice import Confidence, choose, clear_lead, lacks_evidence
from fairautoml.assembly.classifier import FairClassifier
from fairautoml.assembly.finish import HELD_OUT, Finish
from fairautoml.assembly.greedy import mean_shares, shares_by_fold, weighted_sums
from fairautoml.assembly.low_variance import (
    LOW_VARIANCE,
    QUIETED,
    low_variance_thresholds,
    shared_limits,
)
from fairautoml.assembly.mixture import PoolRule, pool_mixture
from fairautoml.assembly.offers import Assembled, Margin, Offers, PassedOver

__all__ = [
    "HELD_OUT",
    "LOW_VARIANCE",
    "Assembled",
    "Blend",
    "Chances",
    "Columns",
    "Confidence",
    "FairClassifier",
    "Finish",
    "Margin",
    "Offers",
    "QUIETED",
    "PassedOver",
    "PoolRule",
    "chances_on",
    "choose",
    "clear_lead",
    "lacks_evidence",
    "low_variance_thresholds",
    "mean_shares",
    "models_of",
    "pool_mixture",
    "scored_by",
    "shared_limits",
    "shares_by_fold",
    "weighted_sums",
]
