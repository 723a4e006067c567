"""Contract suites for plug-ins, also those of third parties.

Call one in a test of your plug-in::

    from fairautoml.testing import check_metric

    def test_my_metric_keeps_the_contract():
        check_metric(METRIC)
"""

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fairautoml.data.dataset import FeatureLayout
from fairautoml.learners import Learner
from fairautoml.metrics import GroupCounts, Metric, Undefined
from fairautoml.spaces import ParamSpace, ParamValue, load_space

__all__ = ["check_learner", "check_metric", "check_space"]

# ---------------------------------------------------------------------------------- metrics

TOLERANCE = 1e-9
"""Sums of weights in another order differ by rounding, not by more than this."""

N_ROWS = 240
"""Rows of the examples: every group, label and decision occurs."""

N_GROUPS = 3


def check_metric(metric: Metric) -> None:
    """Check that a metric keeps the contract of ``fairautoml.metrics``.

    Every metric ignores the order of rows, counts weight 2 like a row twice, never modifies what
    it is given, and returns a finite float or ``Undefined``. A metric on decisions ignores what
    the groups are called. A fairness metric is at parity (0, or 1 for a ratio) on equal groups,
    is ``Undefined`` when a group has no rows or there is only one, and is the disparity of the
    rates that it states. A performance metric prefers right decisions to wrong ones.

    Parameters
    ----------
    metric : Metric
        The metric to check.

    Raises
    ------
    AssertionError
        The contract is broken; the message says where.

    Examples
    --------
    >>> from fairautoml.metrics import METRICS
    >>> check_metric(METRICS.get("accuracy"))
    """
    if metric.kind == "fairness" and metric.on == "scores":
        raise AssertionError(f"{metric.name}: a fairness metric needs groups, so on='decisions'")
    value = _on_scores(metric) if metric.on == "scores" else _on_decisions(metric)
    _check_rows(metric, value)
    _check_unmodified(metric)
    if metric.kind == "performance":
        _check_direction(metric, value)
    else:
        _check_parity(metric)
        _check_empty_groups(metric)
        _check_stated_rates(metric)


Rows = dict[str, NDArray[np.float64]]
Evaluate = Callable[[Rows], float]


def _example(seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    scores = rng.uniform(size=N_ROWS).round(2)
    return {
        "groups": rng.integers(N_GROUPS, size=N_ROWS).astype(np.float64),
        "y": (rng.uniform(size=N_ROWS) < (1 + scores) / 3).astype(np.float64),
        "scores": scores,
        "weight": rng.integers(1, 4, size=N_ROWS).astype(np.float64),
    }


def _counts(rows: Rows) -> GroupCounts:
    groups, y = rows["groups"].astype(np.int64), rows["y"].astype(np.int8)
    decision = (rows["scores"] > 0.5).astype(np.float64)
    return GroupCounts.from_rows(groups, y, decision, rows["weight"], n_groups=N_GROUPS)


def _on_decisions(metric: Metric) -> Evaluate:
    return lambda rows: _defined(metric, metric.value(_counts(rows)))


def _on_scores(metric: Metric) -> Evaluate:
    return lambda rows: _defined(
        metric, metric.value(rows["y"].astype(np.int8), rows["scores"], rows["weight"])
    )


def _check_rows(metric: Metric, value: Evaluate) -> None:
    rows = _example()
    expected = value(rows)
    order = np.random.default_rng(1).permutation(N_ROWS)
    _equal(metric, value(_take(rows, order)), expected, "the rows are in another order")
    twice = _take(rows, np.repeat(np.arange(N_ROWS), rows["weight"].astype(np.int64)))
    twice["weight"] = np.ones(len(twice["y"]))
    _equal(metric, value(twice), expected, "a row of weight k is given k times")
    renamed = {**rows, "groups": (rows["groups"] + 1) % N_GROUPS}
    _equal(metric, value(renamed), expected, "the groups are renamed")


def _check_unmodified(metric: Metric) -> None:
    rows = _example()
    table, y = _counts(rows).table, rows["y"].astype(np.int8)
    given: list[NDArray[Any]] = (
        [table] if metric.on == "decisions" else [y, rows["scores"], rows["weight"]]
    )
    before = [array.copy() for array in given]
    if metric.on == "decisions":
        metric.value(GroupCounts(table))
    else:
        metric.value(y, rows["scores"], rows["weight"])
    if not all(np.array_equal(old, new) for old, new in zip(before, given, strict=True)):
        raise AssertionError(f"{metric.name}: value() modifies its input")


def _check_direction(metric: Metric, value: Evaluate) -> None:
    rows = _example()
    right, wrong = ({**rows, "scores": np.abs(rows["y"] - off)} for off in (0.1, 0.9))
    better = value(right) > value(wrong)
    if better != metric.greater_is_better:
        msg = (
            f"{metric.name}: greater_is_better={metric.greater_is_better}, but right decisions "
            f"have the value {value(right)} and wrong ones {value(wrong)}"
        )
        raise AssertionError(msg)


def _check_parity(metric: Metric) -> None:
    one = np.array([[30.0, 10.0], [5.0, 15.0]])
    # Powers of two keep the rates of the groups equal to the last bit.
    counts = GroupCounts(np.stack([one, 2 * one, 16 * one]))
    parity = 0.0 if metric.form == "difference" else 1.0
    _equal(metric, _defined(metric, metric.value(counts)), parity, "all groups are equal")


def _check_empty_groups(metric: Metric) -> None:
    table = _counts(_example()).table
    empty = table.copy()
    empty[1] = 0.0
    for case, broken in (("a group has no rows", empty), ("there is one group", table[:1])):
        found = metric.value(GroupCounts(broken))
        if not isinstance(found, Undefined):
            raise AssertionError(f"{metric.name}: value is {found}, not Undefined, when {case}")
        if not found.reason:
            raise AssertionError(f"{metric.name}: Undefined without a reason when {case}")


def _check_stated_rates(metric: Metric) -> None:
    if not metric.rates:
        return
    counts = _counts(_example())
    ends = [(rate.min(), rate.max()) for rate in map(counts.rates, metric.rates)]
    if metric.form == "difference":
        expected = max(high - low for low, high in ends)
    else:
        expected = min(low / high for low, high in ends)
    found = _defined(metric, metric.value(counts))
    _equal(metric, found, float(expected), f"computed from its rates {metric.rates}")


def _take(rows: Rows, at: NDArray[np.integer]) -> Rows:
    return {name: column[at] for name, column in rows.items()}


def _defined(metric: Metric, found: float | Undefined) -> float:
    if isinstance(found, Undefined):
        raise AssertionError(f"{metric.name}: {found} on an example that has a value")
    if not isinstance(found, float) or not np.isfinite(found):
        raise AssertionError(f"{metric.name}: value is {found!r}, not a finite float")
    return found


def _equal(metric: Metric, found: float, expected: float, case: str) -> None:
    if abs(found - expected) > TOLERANCE:
        raise AssertionError(f"{metric.name}: {found}, not {expected}, when {case}")


# ---------------------------------------------------------------- search spaces and learners

N_POINTS = 5
"""Points drawn from a search space, besides its defaults."""


def check_space(name: str, space: ParamSpace) -> None:
    """Check that a search space keeps the contract of ``fairautoml.spaces``.

    Its defaults and every sampled point lie in it, are plain Python values that survive JSON, and
    the same seed draws the same point.

    Parameters
    ----------
    name : str
        What the space should be called: the learner or mitigator.
    space : ParamSpace
        The space to check.

    Raises
    ------
    AssertionError
        The contract is broken; the message says where.
    """
    if space.name != name:
        raise AssertionError(f"the space of {name} is called {space.name!r}")
    for params in _points(space, n=20 * N_POINTS):
        if not space.contains(params):
            raise AssertionError(f"{name}: its own point {params} lies outside the space")
        again = json.loads(json.dumps(params, allow_nan=False))
        if not space.contains(again) or again != params:
            raise AssertionError(f"{name}: {params} becomes {again} in JSON")
    first, second = (space.sample(np.random.default_rng(3)) for _ in range(2))
    if first != second:
        raise AssertionError(f"{name}: one seed draws {first} and {second}")


def check_learner(learner: Learner) -> None:
    """Check that a learner keeps the contract of ``fairautoml.learners``.

    Probabilities are valid at the defaults and at sampled points of its space. It is
    deterministic under a seed, never modifies its input, forgets at a second fit, survives
    pickling, scores a row alike whatever rows come with it, takes missing values and categories
    that the training rows lack, honours weights, and takes CSR matrices if it says so.

    Parameters
    ----------
    learner : Learner
        The learner to check; its space is looked up like the search does.

    Raises
    ------
    AssertionError
        The contract is broken; the message says where.
    """
    space = load_space("learners", learner.name, learner.space)
    X, y, layout = _table(seed=0)
    for params in _points(space, n=N_POINTS):
        model = learner.build(params, layout, 0).fit(X, y)
        _check_proba(learner, model.predict_proba(X), f"trained with {params}")
    _check_repeatable(learner, space.defaults())
    _check_new_rows(learner, space.defaults())
    if learner.handles_weights:
        _check_weights(learner, space.defaults())
    if learner.handles_sparse:
        rows = sparse.csr_matrix(np.where(np.nan_to_num(X) > 0, np.nan_to_num(X), 0))
        flat = FeatureLayout(n_features=X.shape[1], sparse=True)
        model = learner.build(space.defaults(), flat, 0).fit(rows, y)
        _check_proba(learner, model.predict_proba(rows), "trained on a CSR matrix")


def _points(space: ParamSpace, n: int) -> list[dict[str, ParamValue]]:
    rng = np.random.default_rng(0)
    return [space.defaults(), *(space.sample(rng) for _ in range(n))]


def _table(seed: int) -> tuple[NDArray[np.float32], NDArray[np.int8], FeatureLayout]:
    """Return 60 rows: two numbers, one of them with gaps, a constant, and six category codes."""
    rng = np.random.default_rng(seed)
    y = np.tile(np.array([0, 1, 1], dtype=np.int8), 20)
    X = rng.normal(size=(60, 4)).astype(np.float32)
    X[:, 0] += 2 * y
    X[:, 2] = 1.0
    # Code 5 exists in the table but not in these rows.
    X[:, 3] = rng.integers(5, size=60)
    X[rng.uniform(size=60) < 0.2, 1] = np.nan
    X[rng.uniform(size=60) < 0.2, 3] = np.nan
    return X, y, FeatureLayout(n_features=4, categorical=(3,), cardinalities=(6,))


def _check_proba(learner: Learner, proba: NDArray[Any], case: str, n_rows: int = 60) -> None:
    valid = proba.shape == (n_rows, 2) and bool(np.all((proba >= 0) & (proba <= 1)))
    if not valid or not np.allclose(proba.sum(axis=1), 1.0):
        msg = f"{learner.name}: predict_proba is not ({n_rows}, 2) in [0, 1] with sums 1, {case}"
        raise AssertionError(msg)


def _check_repeatable(learner: Learner, params: Mapping[str, ParamValue]) -> None:
    X, y, layout = _table(seed=0)
    before = X.tobytes(), y.tobytes(), dict(params)
    model = learner.build(params, layout, 7).fit(X, y)
    expected = model.predict_proba(X)
    if (X.tobytes(), y.tobytes(), dict(params)) != before:
        raise AssertionError(f"{learner.name}: fit or predict_proba modifies its input")
    again = learner.build(params, layout, 7).fit(X, y).predict_proba(X)
    _same(learner, again, expected, "when trained again with the same seed")
    stored = io.BytesIO()
    joblib.dump(model, stored)
    stored.seek(0)
    _same(learner, joblib.load(stored).predict_proba(X), expected, "after pickling")
    other, other_y, _ = _table(seed=1)
    refitted = learner.build(params, layout, 7).fit(other, 1 - other_y).fit(X, y)
    _same(learner, refitted.predict_proba(X), expected, "when fitted before to other rows")


def _check_new_rows(learner: Learner, params: Mapping[str, ParamValue]) -> None:
    X, y, layout = _table(seed=0)
    model = learner.build(params, layout, 0).fit(X, y)
    few = np.array([41, 3, 17])
    _same(learner, model.predict_proba(X[few]), model.predict_proba(X)[few], "for fewer rows")
    strange = np.full((2, 4), np.nan, dtype=np.float32)
    strange[1, 3] = 5.0
    case = "for rows of missing values and of a category not trained on"
    _check_proba(learner, model.predict_proba(strange), case, n_rows=2)


def _check_weights(learner: Learner, params: Mapping[str, ParamValue]) -> None:
    X, y, layout = _table(seed=0)
    means = [
        learner.build(params, layout, 0).fit(X, y, sample_weight=w).predict_proba(X)[:, 1].mean()
        for w in (np.where(y == 1, 20.0, 1.0), np.where(y == 1, 1.0, 20.0))
    ]
    if not means[0] > means[1]:
        raise AssertionError(f"{learner.name}: more weight on class 1 does not raise its scores")


def _same(learner: Learner, found: NDArray[Any], expected: NDArray[Any], case: str) -> None:
    if not np.array_equal(found, expected):
        gap = float(np.abs(found - expected).max())
        raise AssertionError(f"{learner.name}: predictions differ by up to {gap} {case}")
