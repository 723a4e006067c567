"""The share of positives as everybody's score: the floor that any model must beat.

Needs no training, so every run has a model from its first moment.
"""

from collections.abc import Mapping
from typing import Any

from sklearn.dummy import DummyClassifier

from fairautoml.data.dataset import FeatureLayout
from fairautoml.learners._base import Learner, ParamValue


def build(params: Mapping[str, ParamValue], layout: FeatureLayout, seed: int) -> Any:
    """Return a classifier that predicts the class shares of its training rows."""
    del params, layout, seed
    return DummyClassifier(strategy="prior")


LEARNER = Learner(name="prior", build=build, handles_sparse=True)
