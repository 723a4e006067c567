"""Contract checks for learners."""

import io
from collections.abc import Mapping
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fairautoml.data.dataset import FeatureSchema
from fairautoml.learners import Learner
from fairautoml.metrics import TaskName
from fairautoml.metrics.tasks import TASKS
from fairautoml.search.space import ParamValue
from fairautoml.search.space_files import load_space
from fairautoml.testing._search import N_POINTS, points
from fairautoml.testing._tables import mixed_table, other_table

N_CLASSES = 4
"""One class more than in the rows, because a fold can lack a class."""


def check_other_learner(learner: Learner, task: TaskName) -> None:
    """Check that a learner keeps the contract of ``fairautoml.learners`` for a kind of target.

    The learner gives valid scores at the defaults and at sampled points of its space. It is
    deterministic under a seed, does not modify its input, keeps no state between fits, survives
    pickling, scores a row independently of the other rows in the batch, and uses weights.

    Parameters
    ----------
    learner : Learner
        The learner to check.
    task : {"multiclass", "regression"}
        One of the kinds of target that it learns.

    Raises
    ------
    AssertionError
        The contract is broken; the message says where.
    """
    space = load_space("learners", learner.name, learner.space)
    X, y, _ = other_table(task, seed=0)
    for params in points(space, n=2):
        found = _scores(task, _fitted(learner, task, params, seed=0), X)
        if task == "multiclass" and found[:, 3].any():
            raise AssertionError(f"{learner.name}: a class without rows has a probability")
    _check_repeatable(learner, task, space.defaults())
    if learner.handles_weights:
        _check_weights(learner, task, space.defaults())
    constant = learner.built(
        space.defaults(), other_table(task, 0)[2], 0, task=task, n_classes=N_CLASSES
    )
    same = _scores(task, constant.fit(X, np.full_like(y, 2)), X)
    expected = np.eye(N_CLASSES)[np.full(len(y), 2)] if task == "multiclass" else 2.0
    if not np.allclose(same, expected):
        raise AssertionError(f"{learner.name}: a constant target is not predicted")


def _fitted(
    learner: Learner, task: TaskName, params: Mapping[str, ParamValue], *, seed: int
) -> Any:
    X, y, feature_schema = other_table(task, seed)
    return learner.built(params, feature_schema, 7, task=task, n_classes=N_CLASSES).fit(X, y)


def _scores(task: TaskName, model: Any, X: NDArray[np.float32]) -> NDArray[np.float32]:
    kind = TASKS.get(task)
    return kind.checked(kind.scores(model, X, N_CLASSES))


def _check_repeatable(learner: Learner, task: TaskName, params: Mapping[str, ParamValue]) -> None:
    X, y, feature_schema = other_table(task, seed=0)
    before = X.tobytes(), y.tobytes(), dict(params)
    model = learner.built(params, feature_schema, 7, task=task, n_classes=N_CLASSES).fit(X, y)
    expected = _scores(task, model, X)
    if (X.tobytes(), y.tobytes(), dict(params)) != before:
        raise AssertionError(f"{learner.name}: fit or predict modifies its input")
    stored = io.BytesIO()
    joblib.dump(model, stored)
    stored.seek(0)
    few = np.array([41, 3, 17])
    refitted = _fitted(learner, task, params, seed=1).fit(X, y)
    for case, found, wanted in (
        ("when trained again", _scores(task, _fitted(learner, task, params, seed=0), X), expected),
        ("after pickling", _scores(task, joblib.load(stored), X), expected),
        ("when fitted before to other rows", _scores(task, refitted, X), expected),
        ("for fewer rows", _scores(task, model, X[few]), expected[few]),
    ):
        if not np.allclose(found, wanted, rtol=1e-6, atol=1e-6):
            raise AssertionError(f"{learner.name}: predictions differ {case}")


def _check_weights(learner: Learner, task: TaskName, params: Mapping[str, ParamValue]) -> None:
    X, y, feature_schema = other_table(task, seed=0)
    high = y >= np.median(y) if task == "regression" else y == 1
    means = []
    for weight in (np.where(high, 20.0, 1.0), np.where(high, 1.0, 20.0)):
        model = learner.built(params, feature_schema, 0, task=task, n_classes=N_CLASSES)
        found = _scores(task, model.fit(X, y, sample_weight=weight), X)
        means.append(float(found.mean() if task == "regression" else found[:, 1].mean()))
    if not means[0] > means[1]:
        raise AssertionError(f"{learner.name}: more weight does not raise predictions")


def check_learner(learner: Learner) -> None:
    """Check that a learner keeps the contract of ``fairautoml.learners``.

    The learner gives valid probabilities at the defaults and at sampled points of its space. It
    is deterministic under a seed, does not modify its input, keeps no state between fits,
    survives pickling, scores a row independently of the other rows in the batch, accepts missing
    values and categories that the training rows lack, uses weights, and accepts CSR matrices if
    it declares so.

    Parameters
    ----------
    learner : Learner
        The learner to check; its space is loaded by name, as in the search.

    Raises
    ------
    AssertionError
        The contract is broken; the message says where.
    """
    for task in sorted(learner.tasks - {"binary"}):
        check_other_learner(learner, task)
    space = load_space("learners", learner.name, learner.space)
    X, y, feature_schema = mixed_table(seed=0)
    for params in points(space, n=N_POINTS):
        model = learner.build(params, feature_schema, 0).fit(X, y)
        _check_proba(learner, model.predict_proba(X), f"trained with {params}")
    _check_repeatable_binary(learner, space.defaults())
    _check_new_rows(learner, space.defaults())
    if learner.handles_weights:
        _check_weights_binary(learner, space.defaults())
    if learner.handles_sparse:
        rows = sparse.csr_matrix(np.where(np.nan_to_num(X) > 0, np.nan_to_num(X), 0))
        flat = FeatureSchema(n_features=X.shape[1], sparse=True)
        model = learner.build(space.defaults(), flat, 0).fit(rows, y)
        _check_proba(learner, model.predict_proba(rows), "trained on a CSR matrix")


def _check_proba(learner: Learner, proba: NDArray[Any], case: str, n_rows: int = 60) -> None:
    valid = proba.shape == (n_rows, 2) and bool(np.all((proba >= 0) & (proba <= 1)))
    if not valid or not np.allclose(proba.sum(axis=1), 1.0):
        msg = f"{learner.name}: predict_proba is not ({n_rows}, 2) in [0, 1] with sums 1, {case}"
        raise AssertionError(msg)


def _check_repeatable_binary(learner: Learner, params: Mapping[str, ParamValue]) -> None:
    X, y, feature_schema = mixed_table(seed=0)
    before = X.tobytes(), y.tobytes(), dict(params)
    model = learner.build(params, feature_schema, 7).fit(X, y)
    expected = model.predict_proba(X)
    if (X.tobytes(), y.tobytes(), dict(params)) != before:
        raise AssertionError(f"{learner.name}: fit or predict_proba modifies its input")
    again = learner.build(params, feature_schema, 7).fit(X, y).predict_proba(X)
    _same(learner, again, expected, "when trained again with the same seed")
    stored = io.BytesIO()
    joblib.dump(model, stored)
    stored.seek(0)
    _same(learner, joblib.load(stored).predict_proba(X), expected, "after pickling")
    other, other_y, _ = mixed_table(seed=1)
    refitted = learner.build(params, feature_schema, 7).fit(other, 1 - other_y).fit(X, y)
    _same(learner, refitted.predict_proba(X), expected, "when fitted before to other rows")


def _check_new_rows(learner: Learner, params: Mapping[str, ParamValue]) -> None:
    X, y, feature_schema = mixed_table(seed=0)
    model = learner.build(params, feature_schema, 0).fit(X, y)
    few = np.array([41, 3, 17])
    _same(learner, model.predict_proba(X[few]), model.predict_proba(X)[few], "for fewer rows")
    strange = np.full((2, 4), np.nan, dtype=np.float32)
    strange[1, 3] = 5.0
    case = "for rows of missing values and of a category not trained on"
    _check_proba(learner, model.predict_proba(strange), case, n_rows=2)


def _check_weights_binary(learner: Learner, params: Mapping[str, ParamValue]) -> None:
    X, y, feature_schema = mixed_table(seed=0)
    means = [
        learner.build(params, feature_schema, 0)
        .fit(X, y, sample_weight=w)
        .predict_proba(X)[:, 1]
        .mean()
        for w in (np.where(y == 1, 20.0, 1.0), np.where(y == 1, 1.0, 20.0))
    ]
    if not means[0] > means[1]:
        raise AssertionError(f"{learner.name}: more weight on class 1 does not raise its scores")


def _same(learner: Learner, found: NDArray[Any], expected: NDArray[Any], case: str) -> None:
    if not np.array_equal(found, expected):
        gap = float(np.abs(found - expected).max())
        raise AssertionError(f"{learner.name}: predictions differ by up to {gap} {case}")
