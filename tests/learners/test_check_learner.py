"""``check_learner`` must find each broken promise."""

import itertools

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from fairautoml.learners import Learner
from fairautoml.testing import check_learner


class Stub(BaseEstimator):
    """Mean of the labels, moved by how far column 0 is from 0: enough to keep the contract."""

    def __init__(self, fault=""):
        self.fault = fault

    counter = itertools.count(1)

    def fit(self, X, y, sample_weight=None):
        weight = None if self.fault == "weights" else sample_weight
        old = getattr(self, "mean_", 0.0) if self.fault == "refit" else 0.0
        self.mean_ = np.average(y, weights=weight) * 0.9 + old / 100
        if self.fault == "seed":
            self.mean_ -= next(Stub.counter) / 1e6
        if self.fault == "input":
            X[:, 2] = 0.0
        return self

    def predict_proba(self, X):
        column = np.asarray(X[:, [0]].todense() if hasattr(X, "todense") else X[:, [0]])[:, 0]
        if self.fault == "rows":
            column = column - np.nanmean(column)
        shift = column if self.fault == "missing" else np.nan_to_num(column)
        positive = self.mean_ + 0.01 * np.tanh(shift) + (3.0 if self.fault == "range" else 0.0)
        return np.column_stack((1 - positive, positive))

    def __getstate__(self):
        lost = self.fault == "pickle"
        return {**self.__dict__, "mean_": 0.0} if lost else self.__dict__


def stub(fault=""):
    return Learner(
        name="stub",
        build=lambda params, feature_schema, seed: Stub(fault),
        handles_sparse=True,
        space="params: {depth: {type: integer, low: 1, high: 9, default: 3}}",
    )


def test_an_honest_learner_passes():
    check_learner(stub())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("range", "60 of 60 scores are not probabilities"),
        ("seed", "trained again with the same seed"),
        ("input", "modifies its input"),
        ("pickle", "after pickling"),
        ("refit", "fitted before to other rows"),
        ("rows", "for fewer rows"),
        ("missing", "not probabilities.*missing values"),
        ("weights", "more weight on class 1"),
    ],
)
def test_a_broken_promise_is_found(fault, message):
    with pytest.raises(AssertionError, match=f"stub: .*{message}"):
        check_learner(stub(fault))
