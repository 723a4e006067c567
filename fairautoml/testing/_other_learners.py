"""The contract of a learner of several classes, or of numbers."""

import io
from collections.abc import Mapping
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from fairautoml.learners import Learner
from fairautoml.metrics import TaskName
from fairautoml.spaces import ParamValue, load_space
from fairautoml.tasks import TASKS
from fairautoml.testing._other_tables import other_table
from fairautoml.testing._spaces import points

N_CLASSES = 4
"""One more than there are in the rows: a fold may lack one."""


def check_other_learner(learner: Learner, task: TaskName) -> None:
    """Check that a learner keeps the contract of ``fairautoml.learners`` for a kind of target.

    Scores are valid at the defaults and at sampled points of its space. It is deterministic
    under a seed, never modifies its input, forgets at a second fit, survives pickling, scores a
    row alike whatever rows come with it, and honours weights.

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
        raise AssertionError(f"{learner.name}: a constant target is not answered with itself")


def _fitted(
    learner: Learner, task: TaskName, params: Mapping[str, ParamValue], *, seed: int
) -> Any:
    X, y, layout = other_table(task, seed)
    return learner.built(params, layout, 7, task=task, n_classes=N_CLASSES).fit(X, y)


def _scores(task: TaskName, model: Any, X: NDArray[np.float32]) -> NDArray[np.float32]:
    kind = TASKS.get(task)
    return kind.checked(kind.scores(model, X, N_CLASSES))


def _check_repeatable(learner: Learner, task: TaskName, params: Mapping[str, ParamValue]) -> None:
    X, y, layout = other_table(task, seed=0)
    before = X.tobytes(), y.tobytes(), dict(params)
    model = learner.built(params, layout, 7, task=task, n_classes=N_CLASSES).fit(X, y)
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
    X, y, layout = other_table(task, seed=0)
    high = y >= np.median(y) if task == "regression" else y == 1
    means = []
    for weight in (np.where(high, 20.0, 1.0), np.where(high, 1.0, 20.0)):
        model = learner.built(params, layout, 0, task=task, n_classes=N_CLASSES)
        found = _scores(task, model.fit(X, y, sample_weight=weight), X)
        means.append(float(found.mean() if task == "regression" else found[:, 1].mean()))
    if not means[0] > means[1]:
        raise AssertionError(f"{learner.name}: more weight does not raise predictions")
