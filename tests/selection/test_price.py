"""The price of a constraint is put down to the small group that causes it."""

import numpy as np
import pandas as pd
import pytest

from fairautoml import FairAutoML

FEW = 60


def table(n=1500, *, harmful=True, seed=0):
    """Return a table in which a group of few rows has other rates than the rest, or the same."""
    rng = np.random.default_rng(seed)
    group = rng.choice(["f", "m"], n).astype(object)
    group[:FEW] = "other"
    x = rng.normal(size=n)
    y = (x + 0.3 * rng.normal(size=n) > 0.3).astype(int)
    if harmful:
        x[:FEW] += 6
        y[:FEW] = 1
    return pd.DataFrame({"x": x, "z": rng.normal(size=n)}), y, pd.Series(group, name="sex")


def fitted(**parameters):
    model = FairAutoML(
        "demographic_parity_difference <= 0.1",
        n_trials=2,
        cv=3,
        learners=["logistic_regression"],
        mitigators=["group_thresholds"],
        ensemble=0,
        confidence=None,
        random_state=0,
    )
    return model.fit(*table(**parameters))


@pytest.fixture(scope="module")
def costly():
    return fitted()


def test_a_small_group_that_causes_the_price_is_named_with_its_rows(costly):
    found = costly.summary_["margin"]["costly_group"]
    assert (found["system"], found["label"], found["n_rows"]) == ("sex", "other", FEW)
    assert found["regained"] > 0
    cost = dict(costly.summary_["statement"])["Cost"]
    assert "of it because of 60 rows of 'other' in 'sex'" in cost


def test_no_group_is_named_where_the_price_is_noise():
    model = fitted(harmful=False)
    assert model.feasible_
    assert model.summary_["margin"]["costly_group"] is None
    assert "because of" not in dict(model.summary_["statement"])["Cost"]
