"""Seven mistakes of a new user: each is refused, or answered with the way out."""

import warnings

import numpy as np
import pandas as pd
import pytest

from fairautoml import FairAutoML, GroupPolicy
from fairautoml.exceptions import InputError, NoFeasibleModelWarning, SmallGroupWarning

BOUND = "demographic_parity_difference <= 0.05"


def model_of(constraint=BOUND, **parameters):
    quick = {"n_trials": 2, "learners": ["logistic_regression"], "random_state": 0, "cv": 3}
    return FairAutoML(constraint, **{**quick, **parameters})


def population(n_rows=1_500, seed=1):
    rng = np.random.default_rng(seed)
    sex = rng.choice(["Female", "Male"], n_rows, p=[0.4, 0.6]).astype(object)
    x = rng.normal(size=n_rows) + (sex == "Male")
    y = (x + rng.normal(size=n_rows) > 1).astype(int)
    table = pd.DataFrame({"x": x, "z": rng.normal(size=n_rows)})
    return table, y, pd.Series(sex, name="sex", dtype=object)


def test_spellings_of_labels_and_groups_are_refused_with_the_way_out_that_works():
    X, y, sex = population()
    labels = np.where(y == 1, "yes", "no").astype(object)
    labels[:3] = "yes "
    with pytest.raises(InputError, match=r"y holds values .*'yes ' \(3 rows\).*normalize=True"):
        model_of().fit(X, labels, sex)
    spelled = sex.mask(np.arange(len(sex)) < 4, "male ")
    with pytest.raises(InputError, match=r"'male ' \(4 rows\).*GroupPolicy\(normalize=True\)"):
        model_of().fit(X, y, spelled)
    merged = model_of(group_policy=GroupPolicy(normalize=True)).fit(X, labels, spelled)
    assert merged.classes_.tolist() == ["no", "yes"]
    assert merged.pool_.groups.systems[0].labels == ("Female", "Male")


@pytest.mark.filterwarnings("ignore:sensitive 'sex' holds 'Unknown'")
def test_a_group_of_one_row_is_outside_the_bound():
    X, y, sex = population()
    sex[7] = "Unknown"
    with pytest.warns(SmallGroupWarning, match=r"1 of 3 groups of 'sex' \(1 row\) is outside"):
        model = model_of(group_policy=GroupPolicy(min_size=50)).fit(X, y, sex)
    assert not model.best_entry_.constant
    assert len(model.predict(X, pd.Series(["Unknown"] * len(X), name="sex"))) == len(X)


def test_missing_groups_are_refused_with_the_choices():
    X, y, sex = population()
    sex[::50] = None
    with pytest.raises(InputError, match=r"30 missing value\(s\).*'own_group'.*'exclude'"):
        model_of().fit(X, y, sex)


def test_unseen_groups_at_predict_are_refused_with_the_choice():
    X, y, sex = population()
    new = sex.mask(np.arange(len(sex)) < 9, "Diverse")
    model = model_of(mitigators=["group_thresholds"]).fit(X, y, sex)
    with pytest.raises(InputError, match=r"9 row\(s\).*'Diverse'.*unseen='base_model'"):
        model.predict(X, new)
    lenient = model_of(
        mitigators=["group_thresholds"], group_policy=GroupPolicy(unseen="base_model")
    ).fit(X, y, sex)
    decided, scores = lenient.predict(X, new), lenient.predict_proba(X, new)[:, 1]
    np.testing.assert_array_equal(decided[:9], scores[:9] >= 0.5)


def test_rare_labels_with_accuracy_are_answered_with_another_objective():
    X, _, sex = population(3_000)
    rng = np.random.default_rng(0)
    y = (rng.random(len(X)) < 0.01 + 0.01 * (X["x"] > 1)).astype(int)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = model_of().fit(X, y, sex)
    said = " ".join(str(one.message) for one in caught)
    assert "balanced_accuracy" in said
    assert any(issubclass(one.category, NoFeasibleModelWarning) for one in caught)
    assert not model.feasible_


def test_thirty_groups_on_2_000_rows_cannot_be_judged_and_a_bound_that_can_is_named():
    X, y, _ = population(2_000, 3)
    district = pd.Series(
        np.random.default_rng(1).integers(0, 30, 2_000).astype(str), name="district"
    )
    with pytest.warns(SmallGroupWarning, match="Too few rows to judge") as caught:
        model = model_of().fit(X, y, district)
    assert any("groups of 'district'" in str(one.message) for one in caught)
    assert not model.pool_.groups.judged
    (judged,) = model.summary_["judgeability"]
    assert judged["smallest_bound"] > 0.1
    assert f"can be judged is {judged['smallest_bound']:g}" in model.notes_[0]


@pytest.mark.filterwarnings("ignore::fairautoml.exceptions.FairAutoMLWarning")
def test_a_bound_that_cannot_be_judged_is_said_with_one_that_can():
    X, y, sex = population(300, 4)
    strict = model_of("equalized_odds_difference <= 0.02").fit(X, y, sex)
    assert not strict.pool_.groups.judged
    assert strict.notes_[0].startswith(
        "Too few rows to judge equalized_odds_difference on 'sex' at 0.02: even a perfectly fair "
        "rule measures within the bound with probability 0."
    )
    (judged,) = strict.summary_["judgeability"]
    loose = model_of(f"equalized_odds_difference <= {judged['smallest_bound']}").fit(X, y, sex)
    assert loose.pool_.groups.judged
