"""New rows that cannot be decided are refused, and the ones that can are never misread."""

import numpy as np
import pandas as pd
import pytest

from fairautoml import FairAutoML, GroupPolicy
from fairautoml.exceptions import (
    DegradedWarning,
    InputError,
    MissingSensitiveError,
    NoFeasibleModelWarning,
    ParameterError,
)
from quick_fits import N_ROWS, few_individuals, quick


@pytest.fixture
def individuals():
    return few_individuals()


@pytest.fixture
def fitted(individuals):
    X, y, group = individuals
    model = quick(mitigators=["group_thresholds"]).fit(X, y, group)
    assert model.best_entry_.rule.needs_sensitive
    return model, X, group


def test_a_group_that_was_not_seen_is_refused(fitted):
    model, X, group = fitted
    new = np.where(np.arange(N_ROWS) < 5, "c", group)
    with pytest.raises(InputError, match=r"'c'"):
        model.predict(X, new)


def test_a_group_that_was_not_seen_can_get_the_common_threshold(individuals):
    X, y, group = individuals
    model = quick(
        mitigators=["group_thresholds"], group_policy=GroupPolicy(unseen="base_model")
    ).fit(X, y, group)
    new = np.where(np.arange(N_ROWS) < 5, "c", group)
    old = model.predict(X, group)
    assert (model.predict(X, new)[5:] == old[5:]).all()


def test_groups_of_another_type_are_refused(individuals):
    X, y, group = individuals
    numbers = np.where(group == "a", 0, 1)
    model = quick(mitigators=["group_thresholds"]).fit(X, y, numbers)
    with pytest.raises(InputError, match="type"):
        model.predict(X, numbers.astype(str))
    assert (model.predict(X, numbers.astype(np.int8)) == model.predict(X, numbers)).all()


def test_missing_groups_are_refused_with_the_way_out(fitted):
    model, X, _ = fitted
    with pytest.raises(MissingSensitiveError, match="sensitive_at_predict=False"):
        model.predict(X)


def test_groups_of_another_length_are_refused(fitted):
    model, X, group = fitted
    with pytest.raises(InputError, match=f"sensitive has {N_ROWS - 1} rows and X has {N_ROWS}"):
        model.predict(X, group[:-1])


def test_a_column_of_groups_that_is_gone_is_refused(individuals):
    X, y, group = individuals
    table = X.assign(sex=group)
    model = quick(
        mitigators=["group_thresholds"], group_policy=GroupPolicy(in_features="drop")
    ).fit(table, y, "sex")
    assert (model.predict(table) == model.predict(X, group)).all()
    with pytest.raises(
        MissingSensitiveError, match=r"no column\(s\) 'sex' .* from; .* Give predict"
    ):
        model.predict(X)
    near = r"from; did you mean 'Sex'\? Give predict"
    renamed = table.rename(columns={"sex": "Sex"})
    with (
        pytest.warns(DegradedWarning, match="not there at fit"),
        pytest.raises(MissingSensitiveError, match=near),
    ):
        model.predict(renamed)
    with (
        pytest.warns(DegradedWarning, match="position"),
        pytest.raises(MissingSensitiveError, match=r"X has no column names\. Give predict"),
    ):
        model.predict(X.assign(sex=0).to_numpy())


def test_without_groups_at_predict_the_winner_does_not_read_them(individuals):
    X, y, group = individuals
    model = quick(sensitive_at_predict=False).fit(X.assign(sex=group), y, "sex")
    assert not model.leaderboard_["needs_sensitive"].any()
    assert model.predict(X).shape == (N_ROWS,)


def test_a_mitigator_that_reads_groups_is_refused_when_they_are_not_there(individuals):
    model = quick(mitigators=["group_thresholds"], sensitive_at_predict=False)
    with pytest.raises(InputError, match=r"needs the sensitive column at predict.*leave it out"):
        model.fit(*individuals)


def test_permuted_columns_are_reordered_by_name(fitted):
    model, X, group = fitted
    with pytest.warns(DegradedWarning, match="order"):
        permuted = model.predict(X[["z", "x"]], group)
    assert (permuted == model.predict(X, group)).all()


def test_missing_columns_are_refused_by_name(fitted):
    model, X, group = fitted
    with pytest.raises(InputError, match="'z'"):
        model.predict(X[["x"]], group)


def test_extra_columns_are_ignored_with_a_warning(fitted):
    model, X, group = fitted
    with pytest.warns(DegradedWarning, match="extra"):
        extra = model.predict(X.assign(extra=0), group)
    assert (extra == model.predict(X, group)).all()


def test_an_array_after_a_table_is_read_by_position_with_a_warning(fitted):
    model, X, group = fitted
    with pytest.warns(DegradedWarning, match="position"):
        by_position = model.predict(X.to_numpy(), group)
    assert (by_position == model.predict(X, group)).all()


def test_an_array_of_another_width_is_refused(fitted):
    model, _, group = fitted
    with pytest.raises(InputError, match="feature"):
        model.predict(np.ones((N_ROWS, 3)), group)


def test_a_randomised_rule_decides_a_row_once_and_for_all(individuals):
    X, y, group = individuals
    model = quick("equalized_odds_difference <= 0.001", mitigators=["randomized_thresholds"])
    with pytest.warns(NoFeasibleModelWarning, match="no model meets"):
        model.fit(X, y, group)
    assert model.best_entry_.rule.randomized
    once = model.predict(X, group)
    backwards = model.predict(X[::-1].reset_index(drop=True), group[::-1])
    assert (model.predict(X, group) == once).all()
    assert (backwards[::-1] == once).all()


@pytest.mark.parametrize("wrong", [-0.1, 1.5, float("nan"), "0.1", True])
def test_select_refuses_a_gap_that_is_none(fitted, wrong):
    with pytest.raises(ParameterError, match=r"max_gap=.* must be a number in"):
        fitted[0].select(max_gap=wrong)


def test_select_needs_an_argument(fitted):
    with pytest.raises(InputError, match=r"give max_gap= .--max-gap., min_score="):
        fitted[0].select()


def test_select_says_how_far_the_front_reaches(fitted):
    with pytest.raises(InputError, match="no entry fits; the front goes from accuracy"):
        fitted[0].select(min_score=1.0)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["0"] * N_ROWS, "neither .*0.* nor .*1"),
        ([0.5] * N_ROWS, "neither .*0.* nor .*1"),
        ([np.nan] * N_ROWS, "contains NaN"),
    ],
)
def test_labels_of_another_type_are_not_judged(fitted, labels, message):
    model, X, group = fitted
    with pytest.raises(InputError, match=message):
        model.evaluate(X, labels, group)


ANSWERS = {
    "predict": lambda model, X, y, group: model.predict(X, group),
    "predict_proba": lambda model, X, y, group: model.predict_proba(X, group),
    "evaluate": lambda model, X, y, group: model.evaluate(X, y, group)["accuracy"],
    "score": lambda model, X, y, group: model.score(X, y, group),
}
JUDGES = [FairAutoML.evaluate, FairAutoML.score]
BY_JUDGE = pytest.mark.parametrize("judged", JUDGES, ids=lambda judged: judged.__name__)


@pytest.fixture
def shuffled(individuals):
    _, y, group = individuals
    order = np.random.default_rng(2).permutation(N_ROWS)
    return pd.Series(y)[order], pd.Series(group)[order], pd.Series(np.arange(N_ROWS) + 1.0)[order]


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_groups_in_another_order_than_the_rows_are_refused(fitted, individuals, shuffled, answer):
    model, X, _ = fitted
    with pytest.raises(InputError, match="X and sensitive have different pandas indices"):
        answer(model, X, individuals[1], shuffled[1])


@BY_JUDGE
def test_labels_and_weights_in_another_order_are_refused(fitted, individuals, shuffled, judged):
    model, X, group = fitted
    _, y, _ = individuals
    with pytest.raises(InputError, match="X and y have different pandas indices"):
        judged(model, X, shuffled[0], group)
    with pytest.raises(InputError, match="X and sample_weight have different pandas indices"):
        judged(model, X, y, group, shuffled[2])


@BY_JUDGE
def test_labels_of_another_length_are_not_judged(fitted, individuals, judged):
    model, X, group = fitted
    with pytest.raises(InputError, match=f"X has {N_ROWS} rows and y has {N_ROWS - 1}"):
        judged(model, X, individuals[1][:-1], group)


@BY_JUDGE
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(N_ROWS - 1), f"X has {N_ROWS} rows and sample_weight has {N_ROWS - 1}"),
        (-np.ones(N_ROWS), f"sample_weight has {N_ROWS} value.*at least 0"),
        ([np.nan] + [1.0] * (N_ROWS - 1), r"sample_weight has 1 value.*NaN"),
        (["heavy"] * N_ROWS, "sample_weight must hold numbers"),
        (np.zeros(N_ROWS), "every weight is zero"),
        (np.ones((N_ROWS, 2)), "sample_weight should be a 1d array"),
    ],
)
def test_weights_that_fit_refuses_are_not_judged_by(fitted, individuals, judged, weight, message):
    model, X, group = fitted
    with pytest.raises(InputError, match=message):
        judged(model, X, individuals[1], group, weight)


def test_a_model_that_reads_no_groups_still_needs_them_to_be_judged_by(individuals):
    X, y, group = individuals
    model = quick(sensitive_at_predict=False).fit(X, y, group)
    with pytest.raises(
        MissingSensitiveError, match=r"sensitive is None.*evaluate\(X, y, sensitive\)"
    ):
        model.evaluate(X, y)
    assert model.score(X, y) == model.evaluate(X, y, group)["accuracy"]


@BY_JUDGE
def test_no_labels_are_not_judged(fitted, judged):
    model, X, group = fitted
    with pytest.raises(InputError, match="the target y is None"):
        judged(model, X, None, group)


@pytest.mark.parametrize("name", ["score", "evaluate"])
def test_the_name_of_the_target_is_not_judged_by(fitted, name):
    model, X, group = fitted
    with pytest.raises(InputError, match=r"^y='good' is one text, .* y=X\['good'\]"):
        getattr(model, name)(X, "good", group)
