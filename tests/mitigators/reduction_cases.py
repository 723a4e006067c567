"""Small tables and learners for the tests of the reductions."""

from dataclasses import dataclass, field

import numpy as np
from sklearn.linear_model import LogisticRegression

from fairautoml.data.dataset import FeatureSchema
from fairautoml.mitigators import TrainRows


def rows_of(X, y, cells, targets, weight=None, systems=()):
    X = np.asarray(X, dtype=np.float32)
    return TrainRows(
        X=X,
        y=np.asarray(y, dtype=np.int8),
        weight=np.ones(len(X)) if weight is None else np.asarray(weight, dtype=np.float64),
        cells=np.asarray(cells, dtype=np.int32),
        systems=systems,
        feature_schema=FeatureSchema(n_features=X.shape[1]),
        targets=targets,
    )


def unequal_table(seed=0, n_rows=600, n_cells=2):
    """Later cells have higher features and more labels 1, so plain models are unfair."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(n_cells, size=n_rows)
    # The last row has the last cell: fairlearn leaves out the group that appears last.
    cells[: n_cells + 1] = [*range(n_cells), n_cells - 1]
    X = rng.normal(size=(n_rows, 3)).astype(np.float32)
    X[:, 0] += 1.2 * cells / (n_cells - 1)
    noise = rng.logistic(size=n_rows)
    y = (1.5 * X[:, 0] + X[:, 1] - 1 + noise > 0).astype(np.int8)
    return X, y, cells.astype(np.int32)


@dataclass(frozen=True)
class Model:
    estimator: object

    def scores(self, X, cells):
        return self.estimator.predict_proba(X)[:, 1].astype(np.float32)


@dataclass
class Fits:
    """Trains a scikit-learn classifier, counts, and has a clock of its own."""

    make: object = LogisticRegression
    clock: object = None
    seen: list = field(default_factory=list)

    def __call__(self, rows):
        self.seen.append(rows)
        return Model(self.make().fit(rows.X, rows.y, sample_weight=rows.weight))

    def seconds_left(self):
        return None if self.clock is None else self.clock(len(self.seen))
