"""Labels, groups and constraints for which there is no good answer: the run says so."""

import warnings

import numpy as np
import pandas as pd
import pytest

from fairautoml import load_run
from fairautoml.exceptions import (
    DegradedWarning,
    FairAutoMLWarning,
    InputError,
    NoFeasibleModelWarning,
)
from quick_fits import N_ROWS, few_individuals, quick


@pytest.fixture
def individuals():
    return few_individuals()


@pytest.mark.parametrize("y", [["yes"] * N_ROWS, np.ones(N_ROWS)])
def test_a_target_of_one_class_is_an_error_before_the_first_trial(individuals, tmp_path, y):
    X, _, group = individuals
    with pytest.raises(InputError, match=r"only 1 class.*Add rows of the other class"):
        quick(run_dir=tmp_path / "run").fit(X, y, group)
    assert not (tmp_path / "run").exists()


def test_a_single_group_is_no_pass(individuals):
    X, y, _ = individuals
    one = np.repeat("a", N_ROWS)
    with (
        pytest.warns(DegradedWarning, match=r"single group \('a'\).*does not apply"),
        pytest.warns(NoFeasibleModelWarning, match="does not apply: there is a single group"),
    ):
        model = quick().fit(X, y, one)
    assert not model.feasible_
    assert "NOT_APPLICABLE" in model.notes_[-1]
    assert (model.predict(X) == y).mean() > 0.7


@pytest.mark.filterwarnings("ignore:sensitive:fairautoml.exceptions.DegradedWarning")
def test_a_single_group_is_an_error_when_the_warning_is(individuals):
    X, y, _ = individuals
    warnings.simplefilter("error", NoFeasibleModelWarning)
    with pytest.raises(NoFeasibleModelWarning, match="Give rows of two groups or more"):
        quick().fit(X, y, np.repeat("a", N_ROWS))


def test_a_column_with_a_single_group_does_not_hide_the_other(individuals):
    X, y, group = individuals
    columns = pd.DataFrame({"sex": group, "country": "x"})
    with pytest.warns(DegradedWarning, match="'country' has a single group"):
        model = quick().fit(X, y, columns)
    assert {m.system for m in model.best_entry_.measures} == {"sex", "sex & country"}


def test_an_infeasible_constraint_keeps_the_least_unfair_model_and_says_so(individuals):
    X, y, group = individuals
    model = quick("demographic_parity_difference <= 0.001", mitigators=["none"])
    with pytest.warns(NoFeasibleModelWarning, match=r"no model meets.*least unfair.*Give more"):
        model.fit(X, y, group)
    assert not model.feasible_
    varied = model.leaderboard_[~model.leaderboard_["constant"]]
    assert model.best_entry_.gap == varied["gap"].min()
    assert model.predict(X).shape == (N_ROWS,)


def test_a_warning_turned_into_an_error_comes_after_attributes_and_folder(individuals, tmp_path):
    parameters = {"mitigators": ["none"], "run_dir": tmp_path / "run"}
    model = quick("demographic_parity_difference <= 0.001", **parameters)
    warnings.simplefilter("error", NoFeasibleModelWarning)
    with pytest.raises(NoFeasibleModelWarning, match=r"demographic_parity_difference on 'sens"):
        model.fit(*individuals)
    assert not model.feasible_
    X, _, group = individuals
    stored = load_run(tmp_path / "run")
    assert stored.predict(X, group).tolist() == model.predict(X, group).tolist()


def test_a_constant_model_is_never_feasible(individuals):
    X, y, group = individuals
    with (
        pytest.warns(DegradedWarning, match="Only the baseline"),
        pytest.warns(NoFeasibleModelWarning, match="Only a constant predictor"),
    ):
        model = quick(n_trials=1, mitigators=["none"]).fit(X, y, group)
    assert model.best_entry_.constant
    assert not model.feasible_


@pytest.mark.filterwarnings("ignore:Only the baseline:fairautoml.exceptions.DegradedWarning")
def test_a_ratio_of_nothing_is_undefined(individuals):
    X, _, group = individuals
    y = np.zeros(N_ROWS, dtype=int)
    y[::10] = 1
    model = quick("demographic_parity_ratio >= 0.8", n_trials=1, mitigators=["none"])
    with pytest.warns(NoFeasibleModelWarning, match="no model meets .* is undefined"):
        model.fit(X, y, group)
    measure = model.best_entry_.measures[0]
    assert measure.value is None
    assert measure.reason != ""
    assert model.leaderboard_["gap"].isna().all()


def test_a_group_without_positives_is_undefined_and_not_perfect(individuals):
    X, y, group = individuals
    y = ((group == "b") & (X["x"] > -0.8)).astype(int)
    with pytest.warns(NoFeasibleModelWarning, match="no model meets"):
        model = quick("equal_opportunity_difference <= 0.1", mitigators=["none"]).fit(X, y, group)
    assert model.best_entry_.measures[0].value is None


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_few_rows_of_any_weight_give_a_model(seed):
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=200), np.where(rng.random(200) < 0.5, "x", "y")
    y = (x + rng.normal(size=200) > 0).astype(int)
    weight = np.zeros(200)
    weight[np.random.default_rng(seed).choice(200, 8, replace=False)] = 1.0
    model = quick("demographic_parity_difference <= 0.3", cv=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FairAutoMLWarning)
        model.fit(x[:, None], y, g, sample_weight=weight)
    assert len(model.predict(x[:, None], g)) == 200
