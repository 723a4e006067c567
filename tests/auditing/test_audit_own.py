"""Individual fairness of this library's own classifiers: bounded, not only sampled."""

import re

import numpy as np
import pandas as pd
import pytest
from audit_people import individuals

from fairautoml import FairAutoML, GroupPolicy
from fairautoml.auditing import individual
from fairautoml.auditing import noise as own
from fairautoml.auditing.individual import individual_fairness, similar_of
from fairautoml.auditing.models import UnsupportedModel, adapter_of
from fairautoml.exceptions import InputError

LEARNERS = (
    "extra_trees",
    "hist_gradient_boosting",
    "lightgbm",
    "logistic_regression",
    "random_forest",
    "xgboost",
)
NOISE = {"x1": 0.02, "x2": 0.01}


def table(n_rows):
    rows = individuals(n_rows)
    rng = np.random.default_rng(5)
    towns = pd.Series(rng.choice(list("abcd"), n_rows), dtype="category")
    X = rows.X.assign(town=towns)
    X.loc[rng.random(n_rows) < 0.1, "x2"] = np.nan
    return X, rows.y, rows.groups["sex"]


def fitted(learners, n_trials, X, y, **options):
    model = FairAutoML(
        constraint="demographic_parity_difference <= 0.1",
        n_trials=n_trials,
        random_state=0,
        learners=list(learners),
        group_policy=GroupPolicy(in_features="allow"),
        **options,
    )
    return model.fit(X, y, "sex")


def judged(model, X, sex, flips=("sex",), noise=None):
    decider, rows = adapter_of(model, X, {"sex": sex}, model.classes_)
    similar = similar_of(flips, NOISE if noise is None else noise, rows)
    return individual_fairness(decider, rows, similar, seed=0)


def stays(model, X, n_tries=60, flips=True):
    """Rows whose decision no flip and none of many perturbations has changed."""
    rng = np.random.default_rng(1)
    tries = []
    for turn in range(n_tries):
        shift = rng.uniform(-1, 1, (2, len(X)))
        shift = np.sign(shift) if turn % 2 else shift
        moved = X.assign(
            x1=X["x1"] + NOISE["x1"] * shift[0],
            x2=X["x2"] + NOISE["x2"] * shift[1],
            sex="FM"[turn // 2 % 2] if flips else X["sex"],
        )
        tries.append(moved)
    after = model.predict(pd.concat(tries, ignore_index=True)).reshape(n_tries, len(X))
    return (after == model.predict(X)).all(axis=0)


@pytest.mark.parametrize("learner", LEARNERS)
def test_models_of_every_learner_are_bounded_and_no_perturbation_refutes_a_certificate(learner):
    X, y, sex = table(150)
    model = fitted([learner], 2, X, y, cv=3)
    found = judged(model, X, sex)
    assert (found.level, found.notes) == ("sound, ensemble", ())
    assert 0 < found.n_certified <= stays(model, X).sum()
    assert found.n_certified + found.n_refuted <= found.n_rows


def test_an_ensemble_is_certified_row_by_row(monkeypatch):
    X, y, sex = table(150)
    model = fitted(["lightgbm", "logistic_regression"], 6, X, y)
    assert model.best_entry_.members
    same = stays(model, X, flips=False)
    # Samples can only refute, and the rows are sampled above.
    monkeypatch.setattr(individual, "TRIES", 2)
    alone = [judged(model, X.iloc[[at]], sex.iloc[[at]], flips=()).n_certified for at in range(6)]
    assert sum(alone) > 1
    assert all(same[at] for at in range(6) if alone[at])


def test_no_noise_keeps_exactly_what_flips_keep():
    X, y, sex = table(200)
    model = fitted(["lightgbm"], 2, X, y)
    tiny = judged(model, X, sex, noise={"x1": 1e-12})
    assert tiny.level == "sound, ensemble"
    assert tiny.n_certified == judged(model, X, sex, noise={}).n_certified == tiny.n_flip_stable


def test_members_that_cannot_be_read_count_as_any_score_and_are_reported(monkeypatch):
    X, y, sex = table(200)
    model = fitted(["lightgbm"], 2, X, y)
    whole = judged(model, X, sex)
    real, seen = own.forest_of, []

    def sometimes(*arguments):
        seen.append(1)
        if len(seen) == 1:
            raise UnsupportedModel("a strange tree")
        return real(*arguments)

    monkeypatch.setattr(own, "forest_of", sometimes)
    found = judged(model, X, sex)
    assert re.fullmatch(
        r"models with \d+% of the weight are bounded by \[0, 1\] only \(a strange tree\)",
        found.notes[0],
    )
    assert found.n_certified < whole.n_certified


def test_noise_on_codes_of_categories_is_refused():
    X, y, sex = table(200)
    codes = X["town"].cat.codes.astype("int64")
    model = fitted(["lightgbm"], 2, X.assign(town=codes.astype("category")), y)
    with pytest.raises(InputError, match="held categories of type int at fit"):
        judged(model, X.assign(town=codes), sex, noise={"town": 1.0})


def test_nothing_is_proved_where_noise_may_move_individuals_to_another_group():
    X, y, _ = table(400)
    model = FairAutoML(
        constraint="demographic_parity_difference <= 0.3",
        n_trials=2,
        random_state=0,
        learners=["logistic_regression"],
        mitigators=["group_thresholds"],
        group_policy=GroupPolicy(bins={"x1": [0.5]}),
    ).fit(X, y, "x1")
    model = model.select(max_gap=0.3)
    assert model.model_.needs_sensitive
    with pytest.raises(UnsupportedModel, match="noise on 'x1' may move rows to another group"):
        own.own_range(model, X, {"x1": 0.02}, ())
    assert own.own_range(model, X, {"x2": 0.02}, ())[1] == ""
