"""No encoding of texts, dates or categories carries labels of rows to rows that it scores."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from fairautoml import FairAutoML
from fairautoml.data.encoders import ENCODINGS, fit_design, fit_encoding
from fairautoml.data.read import build_dataset
from fairautoml.evaluation import fitting

N_ROWS = 300
NOISE = 0.12
"""Three standard errors or so of the AUC of that many rows without a signal."""


def words(rng, owners):
    """Return texts, each different, of words that two rows share: those of one owner."""
    return [
        f"k{owner} m{owner} o{owner} w{rng.integers(30)} w{rng.integers(30)} {at}"
        for at, owner in enumerate(owners)
    ]


@pytest.fixture(scope="module")
def rows():
    """Return rows whose words, shops and days tell the label, and others where they do not."""
    rng = np.random.default_rng(0)
    # Both rows of an owner have one label, and in the other rows any.
    owners = np.repeat(np.arange(N_ROWS // 2), 2)
    y = np.repeat(rng.integers(0, 2, N_ROWS // 2), 2)
    fresh_y = rng.integers(0, 2, N_ROWS)
    order = rng.permutation(N_ROWS)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(owners, unit="D")
    X = pd.DataFrame({
        "said": words(rng, owners),
        "shop": [f"shop {owner}" for owner in owners],
        "when": days.strftime("%d.%m.%Y"),
    })  # fmt: skip
    fresh = X.iloc[order].assign(said=words(rng, owners[order]))
    return X, y, fresh, fresh_y


def encoded(name, dataset, train, *others):
    """Return numbers of the rows of the encoding fitted on ``train``, and of other matrices."""
    known, schema, encoder = fit_encoding(
        name, dataset.X[train], dataset.y[train], dataset.feature_schema, 0
    )
    design = fit_design(known, schema)
    return [design.matrix(known), *(design.matrix(encoder.transform(X)) for X in others)]


def scores(known, y, new):
    model = LogisticRegression(C=0.1, max_iter=300).fit(known, y)
    return model.decision_function(new)


@pytest.mark.parametrize("name", ENCODINGS)
def test_what_tells_the_label_in_the_training_rows_alone_gives_no_gain_on_fresh_rows(rows, name):
    X, y, fresh, fresh_y = rows
    dataset = build_dataset(X, y)
    assert dataset.feature_schema.texts
    every = np.arange(N_ROWS)
    known, new = encoded(name, dataset, every, dataset.schema.transform(fresh))
    assert abs(roc_auc_score(fresh_y, scores(known, y, new)) - 0.5) < NOISE


@pytest.mark.parametrize("name", ENCODINGS)
def test_noise_gives_no_gain_in_cross_validation(rows, name):
    X = rows[0]
    y = np.random.default_rng(1).integers(0, 2, N_ROWS)
    dataset = build_dataset(X, y)
    found = np.zeros(N_ROWS)
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(X, y):
        known, new = encoded(name, dataset, train, dataset.X[test])
        found[test] = scores(known, y[train], new)
    assert roc_auc_score(y, found) < 0.5 + NOISE


def test_the_check_notices_an_encoder_that_has_seen_the_labels(rows):
    X, y, fresh, fresh_y = rows
    dataset = build_dataset(X, y)
    new = dataset.schema.transform(fresh)
    both = np.concatenate([dataset.X, new])
    labels = np.concatenate([y, fresh_y])
    _, schema, encoder = fit_encoding("target", both, labels, dataset.feature_schema, 0)
    seen = encoder.transform(new)  # not cross-fitted: the labels of these rows are in it
    score = seen[:, schema.n_features - 1]
    assert roc_auc_score(fresh_y, score) > 0.5 + 2 * NOISE


def test_encodings_see_the_rows_of_the_training_folds_alone(rows, monkeypatch):
    X, y, _, _ = rows
    seen = []

    def spy(name, matrix, *given, **named):
        seen.append(len(matrix))
        return fit_encoding(name, matrix, *given, **named)

    monkeypatch.setattr(fitting, "fit_encoding", spy)
    model = FairAutoML(
        None, n_trials=3, cv=3, executor="serial", n_jobs=1, random_state=0, ensemble=0,
        learners=["logistic_regression"],
    )  # fmt: skip
    model.fit(X, y)
    assert seen
    assert max(seen) <= N_ROWS * 2 // 3 + 1
