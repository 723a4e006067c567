import numpy as np
import pandas as pd
import pytest

from fairautoml import FairAutoML
from fairautoml.data.border import build_dataset
from fairautoml.evaluation.evidence import thin_groups
from fairautoml.evaluation.problem import targets_of
from fairautoml.exceptions import SmallGroupWarning
from fairautoml.metrics import parse_constraints


def table(n_small, n_small_positive):
    rng = np.random.default_rng(0)
    n_large = 300
    group = np.array(["large"] * n_large + ["small"] * n_small)
    y = np.concatenate([np.arange(n_large) % 2, np.arange(n_small) < n_small_positive]).astype(int)
    return pd.DataFrame({"x": rng.normal(size=len(y)) + y}), y, pd.Series(group, name="g")


def thin(constraint, *sizes):
    dataset = build_dataset(*table(*sizes))
    return thin_groups(dataset, targets_of(parse_constraints(constraint), dataset.systems))


def test_a_rate_over_labels_needs_twenty_rows_of_that_label():
    assert thin("equal_opportunity_difference <= 0.1", 60, 20) == ()
    assert thin("equal_opportunity_difference <= 0.1", 60, 19) == (
        "'small' of 'g': 19 rows of class 1",
    )
    assert thin("false_positive_rate_difference <= 0.1", 60, 45) == (
        "'small' of 'g': 15 rows of class 0",
    )


def test_a_rate_over_everybody_needs_twenty_rows():
    assert thin("demographic_parity_difference <= 0.1", 20, 1) == ()
    assert thin("demographic_parity_difference <= 0.1", 19, 9) == ("'small' of 'g': 19 rows",)


def test_a_fit_with_a_small_group_warns_and_keeps_the_note():
    X, y, groups = table(12, 6)
    model = FairAutoML("demographic_parity_difference <= 0.2", n_trials=2, random_state=0)
    with pytest.warns(SmallGroupWarning, match="insufficient evidence.*'small' of 'g': 12 rows"):
        model.fit(X, y, groups)
    assert any("insufficient evidence" in note for note in model.notes_)
