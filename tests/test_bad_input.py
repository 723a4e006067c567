"""Input that cannot be used is refused before any training, or the run says what it did."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.exceptions import DataConversionWarning

from fairautoml import FairAutoMLRegressor, GroupPolicy
from fairautoml.exceptions import (
    DegradedWarning,
    InputError,
    MissingSensitiveError,
    ParameterError,
    UnknownNameError,
)
from quick_fits import N_ROWS, few_individuals, quick


@pytest.fixture
def individuals():
    return few_individuals()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"time_budget": 0}, "time_budget=0 must be a number of seconds above 0 and at most"),
        ({"time_budget": float("nan")}, "time_budget=nan must be a number of seconds"),
        ({"time_budget": float("inf")}, "time_budget=inf must be a number of seconds"),
        ({"time_budget": "60"}, "time_budget='60' must be a number of seconds"),
        ({"n_trials": 0}, "n_trials=0 must be a whole number of at least 1"),
        ({"n_trials": 2.5}, r"n_trials=2\.5 must be a whole number"),
        ({"n_trials": True}, "n_trials=True must be a whole number"),
        ({"cv": 1}, "cv=1 must be .*a whole number of at least 2"),
        ({"n_jobs": 0}, "n_jobs=0 must be a positive whole number, or -1"),
        ({"random_state": -1}, "random_state=-1 must be a whole number of at least 0"),
        ({"random_state": "x"}, "random_state='x' must be a whole number"),
        ({"objective": "demographic_parity_difference"}, "is no performance metric; choose one"),
        ({"learners": []}, r"learners=\[\] must be None or a list of names out of"),
        ({"learners": 3}, "learners: 3 is neither a registered name nor"),
        ({"strategy": None}, "strategy=None must be 'auto' or one of"),
        ({"ensemble": 1}, "ensemble=1 must be the largest number of trials in the ensemble"),
        ({"ensemble": True}, "ensemble=True must be the largest number .* or 0 for a single"),
        ({"group_policy": {"missing": "exclude"}}, "must be None or a GroupPolicy, for example"),
        ({"sensitive_at_predict": "False"}, "sensitive_at_predict='False' must be True or False"),
        ({"refit": 1}, "refit=1 must be True or False"),
        (
            {"callbacks": 5},
            "callbacks=5 must be None, a function of one argument, an object such as",
        ),
        ({"run_dir": 5}, "run_dir=5 must be None, the path of a folder or a RunStorage"),
        ({"constraint": "f1 <= 0.1"}, "constraint needs a fairness metric"),
        ({"constraint": "demographic_parity_difference = 0.1"}, "constraint"),
        ({"constraint": 0.05}, "constraint"),
        ({"time_budget": 1e12}, "at most 2592000 .30 days."),
        ({"pos_label": [1]}, r"pos_label=\[1\] is of type list; it must be one label of y"),
        ({"run_dir": "a\0b"}, "has a null byte; leave it out"),
        ({"constraint": "demographic_parity_difference <= 1.5"}, r"\[0, 1\]"),
    ],
)
def test_a_wrong_parameter_is_refused_with_name_found_and_allowed(
    individuals, parameters, message
):
    with pytest.raises(ParameterError, match=message):
        quick(**parameters).fit(*individuals)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"objective": "acuracy"}, "'acuracy' is no performance metric; did you mean accuracy"),
        ({"learners": ["lightgmb"]}, "'lightgmb'; did you mean lightgbm"),
        ({"mitigators": ["group_threshold"]}, "'group_threshold'; did you mean group_thresholds"),
        ({"strategy": "optunna"}, "'optunna'; did you mean optuna"),
        ({"constraint": "demographic_parity_diff <= 0.1"}, "demographic_parity_difference"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_nearest(individuals, parameters, message):
    with pytest.raises((UnknownNameError, ParameterError), match=message):
        quick(**parameters).fit(*individuals)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("missing", "missing='guess' must be one of 'error', 'own_group', 'exclude'"),
        ("unseen", "unseen='guess' must be one of 'error', 'base_model'"),
        ("in_features", "in_features='guess' must be one of 'warn', 'drop', 'allow'"),
        ("min_size", "min_size='guess' must be 'auto' or a whole number of at least 1"),
        ("max_groups", "max_groups='guess' must be a whole number"),
        ("bins", "bins is 'guess'"),
    ],
)
def test_a_wrong_option_of_the_group_policy_is_refused(option, message):
    with pytest.raises(InputError, match=message):
        GroupPolicy(**{option: "guess"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X.assign(x=np.inf), "x"),
        (lambda X: X.assign(x=1e300), "x"),
        (lambda X: X.set_axis(["x", "x"], axis=1), "x"),
        (lambda X: X.astype(complex).to_numpy(), "Complex data not supported"),
        (lambda X: X.iloc[:0], "0 sample"),
        (lambda X: X.iloc[:, :0], "0 feature"),
        (lambda X: X.assign(x=1.0, z=2.0), "constant|no usable"),
        (lambda X: X.iloc[:-1], "inconsistent numbers of samples"),
        (lambda X: X.set_axis([1, "1"], axis=1), "1"),
    ],
)
def test_features_that_cannot_be_used_are_refused(individuals, change, message):
    X, y, group = individuals
    with pytest.raises(InputError, match=message):
        quick().fit(change(X), y, group)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: np.zeros(N_ROWS), "y has only 1 class"),
        (lambda y: np.arange(N_ROWS) % 60, "60 different values .*FairAutoMLRegressor"),
        (lambda y: np.linspace(0, 1, N_ROWS), "continuous"),
        (lambda y: np.where(y == 1, np.nan, 0.0), "Input y contains NaN"),
        (lambda y: np.column_stack([y, y]), "y should be a 1d array"),
        (lambda y: y[:-1], "inconsistent numbers of samples"),
        (lambda y: None, "y cannot be None|y is None|requires y"),
    ],
)
def test_targets_that_cannot_be_used_are_refused(individuals, change, message):
    X, y, group = individuals
    with pytest.raises(InputError, match=message):
        quick().fit(X, change(y), group)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s[:-1], "sensitive"),
        (lambda s: np.where(np.arange(N_ROWS) < 3, None, s), "missing"),
        (lambda s: np.linspace(0, 1, N_ROWS), "bin"),
        (lambda s: np.arange(N_ROWS), "max_groups|bin"),
        (lambda s: "sexx", "sensitive='sexx' must name columns of X"),
        (lambda s: [[]], "sensitive"),
    ],
)
def test_groups_that_cannot_be_used_are_refused(individuals, change, message):
    X, y, group = individuals
    with pytest.raises(InputError, match=message):
        quick().fit(X, y, change(group))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.full(N_ROWS, np.nan), "sample_weight"),
        (-np.ones(N_ROWS), "sample_weight"),
        (np.zeros(N_ROWS), "sample_weight: every weight is zero"),
        (np.ones(3), "sample_weight has 3"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(individuals, weight, message):
    with pytest.raises(InputError, match=message):
        quick().fit(*individuals, sample_weight=weight)


def test_a_group_without_weight_is_refused_by_name(individuals):
    X, y, group = individuals
    with pytest.raises(InputError, match=r"zero for all rows of group\(s\) 'a'"):
        quick().fit(X, y, group, np.where(group == "a", 0.0, 1.0))


def test_shuffled_indices_are_refused_with_the_way_out(individuals):
    X, y, group = individuals
    shuffled = pd.Series(group, name="sex").sample(frac=1, random_state=0)
    with pytest.raises(InputError, match=r"for example y\.loc\[X\.index\]"):
        quick().fit(X, pd.Series(y), shuffled)
    by_index = quick().fit(X, pd.Series(y), shuffled.loc[X.index])
    straight = quick().fit(X, y, group)
    assert by_index.best_entry_.score == straight.best_entry_.score


def test_a_constraint_without_groups_is_refused_with_both_ways_out(individuals):
    X, y, _ = individuals
    with pytest.raises(MissingSensitiveError, match=r"needs the groups: fit.*constraint=None"):
        quick().fit(X, y)


def test_a_constraint_on_groups_that_do_not_exist_is_refused(individuals):
    with pytest.raises(InputError, match="names the groups 'race'; known are 'sensitive'"):
        quick("demographic_parity_difference[race] <= 0.1").fit(*individuals)


def test_names_with_any_character_are_kept(individuals):
    X, y, group = individuals
    odd = X.set_axis(['[<{"x": é,}>]', "=cmd|' /C calc'!A0"], axis=1)
    model = quick(learners=["lightgbm", "xgboost"], n_trials=4).fit(odd, y, group)
    assert set(model.trials_["status"]) == {"success"}
    assert list(model.feature_names_in_) == list(odd.columns)
    plain = quick(learners=["lightgbm", "xgboost"], n_trials=4).fit(X, y, group)
    assert (model.predict(odd, group) == plain.predict(X, group)).all()


def test_names_of_two_types_become_text(individuals):
    X, y, group = individuals
    model = quick().fit(X.set_axis([0, "z"], axis=1), y, group)
    assert list(model.feature_names_in_) == ["0", "z"]


@pytest.mark.parametrize(
    "labels", [(1, 2), (-1, 1), ("n", "y"), (False, True), (0.0, 1.0), ("z", "a")]
)
def test_labels_of_any_type_come_back(individuals, labels):
    X, y, group = individuals
    own = np.array(labels, dtype=object)[y] if isinstance(labels[0], str) else np.array(labels)[y]
    model = quick(pos_label=labels[1]).fit(X, own, group)
    assert model.classes_.tolist() == sorted(labels)
    assert (model.predict(X, group) == own).mean() > 0.8


def test_a_column_vector_is_ravelled_with_the_warning_of_scikit_learn(individuals):
    X, y, group = individuals
    with pytest.warns(DataConversionWarning, match="column-vector"):
        model = quick().fit(X, y.reshape(-1, 1), group)
    assert len(model.classes_) == 2


@pytest.mark.parametrize("kind", ["polars", "nullable", "categories", "sparse", "float16"])
def test_tables_of_every_kind_are_fitted(individuals, kind):
    X, y, group = individuals
    tables = {
        "polars": lambda: pl.from_pandas(X),
        "nullable": lambda: X.astype("Float64").where(X["x"] < 2, pd.NA),
        "categories": lambda: X.assign(town=pd.Categorical(group, categories=["b", "c", "a"])),
        "sparse": lambda: sparse.csr_matrix(X.to_numpy()),
        "float16": lambda: np.asfortranarray(X.to_numpy(dtype=np.float16)),
    }
    table = tables[kind]()
    model = quick(group_policy=GroupPolicy(in_features="allow")).fit(table, y, group)
    assert (model.predict(table, group) == y).mean() > 0.7


def test_few_rows_of_a_class_reduce_the_folds_with_a_warning(individuals):
    X, _, group = individuals
    y = np.zeros(N_ROWS, dtype=int)
    y[::60] = 1
    with (
        pytest.warns(DegradedWarning, match="4 folds are used instead of 5"),
        pytest.warns(DegradedWarning, match="No trial beats the baseline"),
    ):
        model = quick(None, cv=5).fit(X, y, group)
    assert len(model.pool_.bags[model.best_entry_.trial_key].models) == 4


def test_a_feature_that_is_the_target_is_named(individuals):
    X, y, group = individuals
    with pytest.warns(DegradedWarning, match="'leak' of X are identical to y"):
        quick().fit(X.assign(leak=y), y, group)


def test_a_feature_that_gives_the_group_away_is_named(individuals):
    X, y, group = individuals
    with pytest.warns(DegradedWarning, match="'proxy' of X give away sensitive"):
        quick().fit(X.assign(proxy=group == "a"), y, group)


def test_rows_of_missing_groups_can_be_left_out_of_the_constraint(individuals):
    X, y, group = individuals
    gaps = group.astype(object)
    gaps[:10] = None
    model = quick(group_policy=GroupPolicy(missing="exclude")).fit(X, y, gaps)
    assert set(model.pool_.groups.systems[0].labels) == {"a", "b"}
    assert model.predict(X, gaps).shape == (N_ROWS,)


def test_the_name_of_the_target_is_refused_with_the_way_out(individuals):
    X, y, group = individuals
    reported = r"^y='good' is one text, .* y=X\['good'\], with X.drop\(columns='good'\) as X\.$"
    with pytest.raises(InputError, match=reported):
        quick().fit(X.assign(good=y), "good", group)
    with pytest.raises(InputError, match=reported):
        FairAutoMLRegressor(n_trials=2).fit(X.assign(good=y), "good")


class NoHash:
    def __hash__(self):
        raise RuntimeError("no hash")


def test_values_without_a_hash_are_refused_with_their_column(individuals):
    X, y, group = individuals
    odd = X.assign(odd=[NoHash() for _ in range(len(X))])
    with pytest.raises(InputError, match="'odd' of X holds values that cannot be categories"):
        quick().fit(odd, y, group)


def test_weights_whose_sum_overflows_are_refused(individuals):
    X, y, group = individuals
    with pytest.raises(InputError, match=r"too large for a float\. Divide all weights"):
        quick().fit(X, y, group, sample_weight=np.full(len(X), 1e307))


def test_a_column_of_identifiers_is_left_out_with_a_note(individuals):
    X, y, group = individuals
    named = X.assign(key=[f"{at * 7919:x}" for at in range(len(X))])
    model = quick(n_trials=2).fit(named, y, group)
    assert any("'key' of X is not used" in note for note in model.notes_)
    assert "key" not in model.model_.schema.names


def test_a_sparse_table_with_missing_values_trains_a_linear_model():
    X = sparse.random(N_ROWS, 5, 0.5, format="csr", random_state=0)
    y = (X.toarray()[:, 0] > 0).astype(int)
    X.data[-5:] = np.nan
    model = quick(None).fit(X, y)
    assert set(model.trials_["status"]) == {"success"}
