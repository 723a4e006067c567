"""Small training rows for the tests of methods that change them, and a learner that only looks."""

import pickle
from dataclasses import replace

import numpy as np
from scipy import sparse

from fairautoml.data.dataset import FeatureSchema
from fairautoml.metrics.groups import GroupSystem
from fairautoml.mitigators import TrainRows


class Constant:
    """Scores every row one half."""

    def scores(self, X, cells):
        del cells
        return np.full(X.shape[0], 0.5, dtype=np.float32)


class Logistic:
    """P(y = 1) = sigmoid(X @ coefficients)."""

    def __init__(self, *coefficients):
        self.coefficients = np.array(coefficients)

    def scores(self, X, cells):
        del cells
        return (1 / (1 + np.exp(-np.nan_to_num(X) @ self.coefficients))).astype(np.float32)


class Recorder:
    """A learner that keeps what it was given."""

    def __init__(self, model=None):
        self.model = Constant() if model is None else model
        self.given = []

    def __call__(self, rows):
        self.given.append(rows)
        return self.model

    def seconds_left(self):
        return None

    @property
    def last(self):
        return self.given[-1]


class Watched:
    """A model that keeps the rows it scores."""

    def __init__(self):
        self.seen = []

    def scores(self, X, cells):
        self.seen.append(X)
        return Constant().scores(X, cells)


def rows_of(X, y, groups, weight=None, categorical=(), cardinalities=(), n_groups=None):
    """Return training rows whose finest cells are the groups; -1 = unknown group."""
    X = X.tocsr() if sparse.issparse(X) else np.asarray(X, dtype=np.float32)
    cells = np.asarray(groups, dtype=np.int32)
    n_groups = int(cells.max()) + 1 if n_groups is None else n_groups
    system = GroupSystem(
        name="sex",
        labels=tuple(f"group {g}" for g in range(n_groups)),
        of_cell=np.arange(n_groups, dtype=np.int32),
    )
    return TrainRows(
        X=X,
        y=np.asarray(y, dtype=np.int8),
        weight=np.ones(len(cells)) if weight is None else np.asarray(weight, dtype=np.float64),
        cells=cells,
        systems=(system,),
        feature_schema=FeatureSchema(
            n_features=X.shape[1],
            categorical=categorical,
            cardinalities=cardinalities,
            sparse=sparse.issparse(X),
        ),
    )


def biased_rows(seed=0, n_rows=240, n_groups=3):
    """Numbers, whole numbers and codes with gaps, that depend on group and label; weights."""
    rng = np.random.default_rng(seed)
    groups = rng.choice(n_groups, size=n_rows, p=[0.5, 0.3, 0.2][:n_groups])
    groups[: 2 * n_groups] = np.repeat(np.arange(n_groups), 2)
    y = (rng.uniform(size=n_rows) < 0.25 + 0.2 * groups).astype(np.int8)
    y[: 2 * n_groups] = np.tile([0, 1], n_groups)
    X = np.column_stack(
        (
            rng.normal(size=n_rows) + groups + y,
            rng.poisson(3 + groups).astype(float),
            rng.integers(4, size=n_rows).astype(float),
        )
    )
    X[rng.uniform(size=n_rows) < 0.1, 0] = np.nan
    X[rng.uniform(size=n_rows) < 0.1, 2] = np.nan
    weight = rng.uniform(0.5, 2.0, size=n_rows)
    return rows_of(X, y, groups, weight, categorical=(2,), cardinalities=(4,))


def in_order(rows, order):
    return replace(
        rows,
        X=rows.X[order],
        y=rows.y[order],
        weight=rows.weight[order],
        cells=rows.cells[order],
    )


def renamed(rows, to):
    """The same people, the group g now called to[g]."""
    to = np.asarray(to, dtype=np.int32)
    return replace(rows, cells=np.where(rows.cells < 0, rows.cells, to[rows.cells]))


def content(rows):
    """What a learner is given, whatever the order and the names of the groups."""
    X = rows.X.toarray() if sparse.issparse(rows.X) else rows.X
    whole = np.column_stack((X, rows.y, rows.weight)).astype(np.float64)
    whole = np.nan_to_num(whole, nan=-1e9)
    return whole[np.lexsort(whole.T)]


def given(mitigator, rows, params, seed=0, model=None):
    """The rows that the learner is finally given; the arrays handed over must not change."""
    recorder = Recorder(model)
    before = pickle.dumps(rows)
    mitigator.train(rows, recorder, params, seed)
    assert pickle.dumps(rows) == before
    return recorder.last


def same_rows_in_any_order(mitigator, rows, params, model=None):
    """Assert that neither the order of the rows nor the numbers of the groups matter."""
    expected = content(given(mitigator, rows, params, model=model))
    order = np.random.default_rng(5).permutation(len(rows.y))
    mixed = content(given(mitigator, in_order(rows, order), params, model=model))
    np.testing.assert_allclose(mixed, expected, rtol=0, atol=1e-5)
    n_groups = rows.systems[0].n_groups
    others = renamed(rows, (np.arange(n_groups) + 1) % n_groups)
    named = content(given(mitigator, others, params, model=model))
    np.testing.assert_allclose(named, expected, rtol=0, atol=1e-5)


def label_rates(rows, n_groups):
    total = np.bincount(rows.cells, weights=rows.weight, minlength=n_groups)
    return np.bincount(rows.cells, weights=rows.weight * rows.y, minlength=n_groups) / total
