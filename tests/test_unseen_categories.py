"""Cross-fitted scores are those of new rows, also where these bring new categories."""

import warnings

import numpy as np
import pandas as pd
import pytest

from fairautoml import FairAutoML


def applications(n_rows, seed):
    """People with a time of application, as text: of new people nearly all are new texts."""
    draws = np.random.default_rng(seed)
    day, sex = draws.integers(0, 2000, n_rows), draws.choice(["f", "m"], n_rows)
    z = 3 * np.sin(day / 250.0) + 0.6 * (sex == "m") + draws.normal(0, 0.5, n_rows)
    minutes = day * 1440 + draws.integers(0, 1440, n_rows)
    applied = pd.Timestamp("2015-01-01") + pd.to_timedelta(minutes, unit="min")
    X = pd.DataFrame(
        {
            "applied": applied.strftime("%Y-%m-%d %H:%M"),
            "age": draws.integers(18, 80, n_rows),
            "sex": sex,
        }
    )
    return X, (z > 0).astype(int)


@pytest.mark.parametrize(
    "learner", ["extra_trees", "random_forest", "hist_gradient_boosting", "lightgbm", "xgboost"]
)
def test_a_column_of_texts_that_do_not_come_again_promises_nothing(learner):
    X, y = applications(1_200, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = FairAutoML(
            "demographic_parity_difference<=0.2",
            n_trials=2,
            learners=[learner],
            executor="serial",
            cv=3,
            ensemble=0,
            random_state=0,
        ).fit(X, y, "sex")
        new, truth = applications(3_000, 2)
        accuracy = np.mean(model.predict(new) == truth)
    # Of new rows a learner may guess more than of a fold, as its models disagree on the unknown.
    assert model.best_entry_.score < accuracy + 0.05
