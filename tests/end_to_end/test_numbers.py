"""A sensitive column of numbers, from fit to new rows: as a number, and cut into groups."""

import json
import pickle
import re

import numpy as np
import pandas as pd
import pytest

from fairautoml import FairAutoML, GroupPolicy
from fairautoml.cli.main import main
from fairautoml.cli.tables import hold_out, open_source
from fairautoml.data.schema import Roles
from fairautoml.exceptions import DegradedWarning, InputError

N_ROWS = 900


@pytest.fixture(scope="module")
def individuals():
    rng = np.random.default_rng(0)
    age = rng.integers(18, 80, N_ROWS).astype(float)
    skill = rng.normal(size=N_ROWS)
    chance = 1 / (1 + np.exp(-(skill + (age - 49) / 12)))
    X = pd.DataFrame({"skill": skill, "rank": age / 10 + rng.normal(size=N_ROWS) / 2})
    sex = rng.choice(["F", "M"], N_ROWS)
    return X, (rng.random(N_ROWS) < chance).astype(int), pd.DataFrame({"age": age, "sex": sex})


def searched(individuals, constraint, columns=("age",), **options):
    X, y, sensitive = individuals
    given = {"n_trials": 2, "cv": 3, "learners": ["logistic_regression"], "random_state": 0}
    return FairAutoML(constraint, **{**given, **options}).fit(X, y, sensitive[list(columns)])


@pytest.fixture(scope="module")
def fitted(individuals):
    return searched(individuals, "gedi[age] <= 0.05")


def test_the_leaderboard_shows_gedi_with_an_interval(fitted):
    served = fitted.leaderboard_.iloc[0]
    assert fitted.feasible_
    assert served["gedi[age]"] == served["gap"] <= 0.05
    assert served["gap_low"] <= served["gap"] <= served["gap_high"]
    assert set(fitted.leaderboard_["mitigator"]) <= {"gedi_projection", "common_threshold", "none"}
    assert any("gedi[age] is per standard deviation" in note for note in fitted.notes_)
    (left,) = (note for note in fitted.notes_ if "Left out" in note)
    assert re.search("gedi_projection.*Left out: .*group_thresholds.*: cannot serve gedi", left)


def test_it_is_worth_more_than_a_common_threshold(fitted):
    board = fitted.leaderboard_[fitted.leaderboard_["feasible"]]
    best = board.groupby("mitigator")["accuracy"].max()
    assert best["gedi_projection"] > best["common_threshold"] + 0.02


def test_what_is_measured_is_gedi_of_the_decisions(individuals, fitted):
    X, y, sensitive = individuals
    age = sensitive["age"].to_numpy()
    expected = abs(
        np.polyfit((age - age.mean()) / age.std(), fitted.predict(X, sensitive) == 1, 1)[0]
    )
    assert fitted.evaluate(X, y, sensitive)["gaps"] == {"gedi[age]": pytest.approx(expected)}


def test_new_numbers_and_missing_ones_are_decided(individuals):
    X, _, _ = individuals
    model = searched(
        individuals, "gedi[age] <= 0.05", group_policy=GroupPolicy(unseen="base_model")
    )
    new = pd.DataFrame({"age": [18.4, 120.0, np.nan]})
    assert set(model.predict(X.head(3), new)) <= {0, 1}
    stored = pickle.loads(pickle.dumps(model))
    assert stored.predict(X.head(3), new).tolist() == model.predict(X.head(3), new).tolist()


def test_the_number_moves_the_decision_of_one_and_the_same_score(individuals, fitted):
    X, _, sensitive = individuals
    young, old = (fitted.predict(X, sensitive.assign(age=age)).mean() for age in (20.0, 75.0))
    assert young > old + 0.1


def test_groups_and_a_number_are_constrained_together(individuals):
    requested = ["demographic_parity_difference[sex] <= 0.1", "gedi_2[age] <= 0.15"]
    model = searched(individuals, requested, columns=("age", "sex"))
    columns = {"demographic_parity_difference[sex]", "gedi_2[age]"}
    assert columns <= set(model.leaderboard_.columns)
    assert "gedi_projection" not in set(model.leaderboard_["mitigator"])


def test_without_groups_at_predict_one_threshold_is_left(individuals):
    model = searched(individuals, "gedi[age] <= 0.1", sensitive_at_predict=False)
    assert set(model.leaderboard_["mitigator"]) <= {"common_threshold", "none"}
    assert model.predict(individuals[0]).shape == (N_ROWS,)


def test_a_mitigator_of_groups_is_refused_by_name(individuals):
    with pytest.raises(InputError, match="mitigators: 'group_thresholds' cannot serve gedi"):
        searched(individuals, "gedi[age] <= 0.1", mitigators=["group_thresholds"])
    with pytest.raises(InputError, match="mitigators: 'suppression' cannot serve gedi"):
        searched(individuals, "gedi[age] <= 0.1", mitigators=["suppression"])


def test_groups_of_a_number_are_refused_with_both_ways_out(individuals):
    with pytest.raises(InputError, match=r"62 different values.*gedi\[age\].*GroupPolicy\(bins="):
        searched(individuals, "demographic_parity_difference[age] <= 0.05")
    both = ["gedi[age] <= 0.1", "demographic_parity_difference[age] <= 0.05"]
    with pytest.raises(
        InputError, match=r"taken as a number.*gedi alone.*GroupPolicy\(bins=.*--bins"
    ):
        searched(individuals, both)


def test_gedi_of_categories_is_refused(individuals):
    with pytest.raises(InputError, match=r"'sex' must hold numbers .*constrained by gedi"):
        searched(individuals, "gedi[sex] <= 0.1", columns=("sex",))
    with pytest.raises(InputError, match="needs a sensitive column of numbers"):
        searched(individuals, "gedi <= 0.1", columns=("sex",))


def test_a_degree_beyond_the_values_is_lowered_with_a_warning(individuals):
    X, y, sensitive = individuals
    three = pd.DataFrame({"age": np.digitize(sensitive["age"], [35, 60])})
    with pytest.warns(DegradedWarning, match=r"gedi_5\[age\]: the number has 3 values, so degree"):
        model = searched((X, y, three), "gedi_5[age] <= 0.2")
    assert any("degree 2 is used" in note for note in model.notes_)


def test_bins_make_groups_that_serve_any_constraint(individuals):
    requested = "demographic_parity_difference[age] <= 0.1"
    model = searched(individuals, requested, group_policy=GroupPolicy(bins={"age": [35, 60]}))
    X, y, sensitive = individuals
    assert set(model.evaluate(X, y, sensitive)["rates"]["age"]) == {
        "age<=35", "35<age<=60", "age>60"
    }  # fmt: skip
    assert model.feasible_


@pytest.mark.parametrize(
    ("flags", "key"),
    [
        (["--constraint", "gedi[age]<=0.05"], "gedi[age]"),
        (
            ["--bins", "age:quantiles", "--constraint", "demographic_parity_difference<=0.2"],
            "demographic_parity_difference[age]",
        ),
    ],
)
def test_the_command_line_takes_numbers_and_bins(individuals, tmp_path, capsys, flags, key):
    X, y, sensitive = individuals
    csv = tmp_path / "people.csv"
    X.assign(age=sensitive["age"], hired=y).to_csv(csv, index=False)
    run = tmp_path / "run"
    fit = ["fit", str(csv), "--target", "hired", "--sensitive", "age", "--holdout", "0.3"]
    fit += ["--trials", "2", "--learner", "logistic_regression", "--json", "--out", str(run)]
    assert main([*fit, *flags]) == 0
    assert key in json.dumps(json.loads(capsys.readouterr().out))
    assert main(["predict", str(run), str(csv)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == N_ROWS + 1


# --- on a real table --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def adult(data_home):
    return hold_out(open_source("adult", Roles(target=None, sensitive=("age",))), 0.5, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "least"), [("gedi", 0.845), ("gedi_2", 0.82)])
def test_incomes_depend_on_age_no_more_than_requested(adult, metric, least):
    train, test = adult
    rows = train.take(np.arange(0, len(train.y), 2))
    model = FairAutoML(
        f"{metric}[age] <= 0.03",
        n_trials=2,
        learners=["lightgbm"],
        pos_label=train.positive_label,
        random_state=0,
    ).fit(rows.X, rows.y, "age")
    found = model.evaluate(test.X, test.y)
    assert model.feasible_
    assert found["accuracy"] > least
    assert found["gap"] < 0.035
