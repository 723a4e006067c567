"""Flipped labels: what they do to the gap of a pipeline that is trained again."""

import numpy as np
import pandas as pd
import pytest
from audit_people import individuals
from sklearn.linear_model import LogisticRegression

from fairautoml import FairAutoML
from fairautoml.auditing.leakage import Features
from fairautoml.auditing.rows import AuditReadOptions, Given, read_rows
from fairautoml.auditing.stability import retrained, stability_rows
from fairautoml.data.dataset import FeatureSchema
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.metrics import METRICS

DP = METRICS.get("demographic_parity_difference")


def logistic_world(seed, n=8_000):
    """Two normal features, of which the second differs by group; labels from a probit model."""
    rng = np.random.default_rng(seed)
    group = rng.integers(2, size=n)
    x = rng.normal(size=(n, 2))
    x[:, 1] += np.where(group == 1, 0.5, -0.5)
    y = (x[:, 0] + 0.3 * x[:, 1] + rng.normal(size=n) > 0).astype(int)
    given = Given(y_true=y, y_pred=y, sensitive=group.astype(str))
    return read_rows(given, AuditReadOptions()), x


def flipped_gaps(seed, shares=(0.1,)):
    rows, x = logistic_world(seed)

    def retrain(train, y, test):
        model = LogisticRegression(C=1 / (1e-3 * len(train)))
        return model.fit(x[train], y).predict(x[test]).astype(np.int8)

    features = Features(matrix=x, feature_schema=FeatureSchema(n_features=2))
    systems = rows.systems
    return stability_rows(rows, features, [DP], systems, retrain, shares=shares, seed=seed)


def test_influence_raises_the_gap_and_random_flips_do_not():
    """The acceptance of the known answer: 10 % of the labels, mean of five seeds."""
    found = [flipped_gaps(seed) for seed in range(5)]
    gap = {
        flips: np.mean([row.value for rows in found for row in rows if row.flips == flips])
        for flips in ("none", "random", "influence")
    }
    assert gap["none"] == pytest.approx(0.112, abs=0.02)
    assert gap["influence"] - gap["none"] >= 0.10
    assert abs(gap["random"] - gap["none"]) < 0.03


def test_rows_name_share_and_number_of_flips():
    rows = flipped_gaps(0, shares=[0.01, 0.05])
    assert [(row.flips, row.n_flipped) for row in rows] == [
        ("none", 0), ("random", 40), ("influence", 40), ("random", 200), ("influence", 200),
    ]  # fmt: skip
    assert rows[0].accuracy > rows[-1].accuracy - 0.01


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_shares_outside_zero_and_a_half_are_refused(share):
    with pytest.raises(ParameterError, match=r"above 0 and below 0\.5"):
        flipped_gaps(0, shares=[share])


@pytest.mark.filterwarnings("ignore::fairautoml.exceptions.DegradedWarning")
def test_the_selected_configuration_of_a_fit_is_trained_again_without_a_search():
    given = individuals(n=800)
    model = FairAutoML(
        "demographic_parity_difference <= 0.1", n_trials=3, ensemble=0, n_jobs=1, random_state=0
    ).fit(given.X, given.y, sensitive="sex")
    again = retrained(model, given.X, given.y, None)
    assert (again.predict(given.X) == model.predict(given.X)).mean() > 0.97
    other = retrained(model, given.X, 1 - given.y, None)
    assert (other.predict(given.X) == model.predict(given.X)).mean() < 0.5


def test_a_function_cannot_be_trained_again():
    with pytest.raises(InputError, match="without fit"):
        retrained(lambda X: X, pd.DataFrame(), [], None)
