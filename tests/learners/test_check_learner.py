"""``check_learner`` must find each broken promise."""

import itertools
from dataclasses import replace

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
        if self.fault == "sparse" and hasattr(X, "todense"):
            return np.full((X.shape[0], 2), np.nan)
        positive = self.mean_ + 0.01 * np.tanh(shift) + (3.0 if self.fault == "range" else 0.0)
        rest = 0.0 if self.fault == "sum" else 1 - positive
        return np.column_stack((np.broadcast_to(rest, positive.shape), positive))

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
        ("sum", "does not sum to 1"),
        ("sparse", "trained on a CSR matrix"),
    ],
)
def test_a_broken_promise_is_found(fault, message):
    with pytest.raises(AssertionError, match=f"stub: .*{message}"):
        check_learner(stub(fault))


class Shares(BaseEstimator):
    """Shares of the classes, one of which need not have rows."""

    def __init__(self, n_classes=4, fault=""):
        self.n_classes = n_classes
        self.fault = fault

    def fit(self, X, y, sample_weight=None):
        counts = np.bincount(y, weights=sample_weight, minlength=self.n_classes)
        if self.fault == "constant" and (counts > 0).sum() == 1:
            counts = counts * 0 + 1.0
        smallest = 0.1 if self.fault == "empty" else 0.0
        self.shares_ = (counts + smallest) / (counts + smallest).sum()
        return self

    def predict_proba(self, X):
        n_classes = self.n_classes - (self.fault == "classes")
        return np.tile(self.shares_[:n_classes], (len(X), 1))

    def predict(self, X):
        return np.full((len(X), 1), self.shares_[0])


def shares(fault):
    return replace(
        stub(),
        build_multiclass=lambda params, schema, seed, n_classes: Shares(n_classes, fault),
    )


def test_an_honest_learner_of_several_classes_passes():
    check_learner(shares(""))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("classes", r"shape \(60, 3\), expected \(60, 4\)"),
        ("empty", "a class without rows has a probability"),
        ("constant", "a constant target is not predicted"),
    ],
)
def test_a_broken_promise_about_several_classes_is_found(fault, message):
    with pytest.raises(AssertionError, match=f"stub: .*{message}"):
        check_learner(shares(fault))


class Column(Shares):
    """Numbers in a column instead of a vector."""

    def fit(self, X, y, sample_weight=None):
        self.shares_ = [float(np.average(y, weights=sample_weight))]
        return self


def test_numbers_of_another_shape_are_found():
    learner = replace(stub(), build_regressor=lambda params, schema, seed: Column())
    with pytest.raises(AssertionError, match=r"stub: predict returned shape \(60, 1\)"):
        check_learner(learner)
