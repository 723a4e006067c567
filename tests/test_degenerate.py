"""Labels, groups and constraints for which there is no good answer: the run says so."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import DataConversionWarning

from fairautoml.exceptions import (
    DegradedWarning,
    FairAutoMLWarning,
    InputError,
    NoFeasibleModelError,
    NoFeasibleModelWarning,
    ResumeMismatchError,
)
from quick_fits import N_ROWS, few_individuals, quick


@pytest.fixture
def individuals():
    return few_individuals()


def test_one_class_can_give_a_constant_model(individuals):
    X, _, group = individuals
    with pytest.warns(DegradedWarning, match=r"only 1 class: 'yes'.*NOT_APPLICABLE"):
        model = quick(on_degenerate="constant").fit(X, ["yes"] * N_ROWS, group)
    assert model.predict(X).tolist() == ["yes"] * N_ROWS
    assert model.predict_proba(X).tolist() == [[1.0]] * N_ROWS
    assert model.classes_.tolist() == ["yes"]
    assert not model.feasible_
    assert "NOT_APPLICABLE" in model.notes_[-1]


@pytest.mark.parametrize("as_given", [lambda y: np.reshape(y, (-1, 1)), lambda y: {"y": y}])
def test_a_column_of_one_class_gives_a_constant_model_too(individuals, as_given):
    X, _, group = individuals
    y = as_given(["yes"] * N_ROWS)
    y = pd.DataFrame(y) if isinstance(y, dict) else y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataConversionWarning)
        with pytest.warns(DegradedWarning, match="only 1 class"):
            model = quick(on_degenerate="constant").fit(X, y, group)
    assert model.predict(X).tolist() == ["yes"] * N_ROWS


def test_a_constant_model_asks_for_no_column_that_is_no_feature(individuals):
    X, _, group = individuals
    with pytest.warns(DegradedWarning, match="only 1 class"):
        model = quick(on_degenerate="constant").fit(
            X.assign(person=np.arange(N_ROWS)), np.ones(N_ROWS), group, groups="person"
        )
    assert model.predict(X).tolist() == [1.0] * N_ROWS


def test_a_constant_model_still_checks_new_rows(individuals):
    X, _, group = individuals
    with pytest.warns(DegradedWarning, match="only 1 class"):
        model = quick(on_degenerate="constant").fit(X, np.ones(N_ROWS), group)
    with pytest.raises(InputError, match="'z'"):
        model.predict(X[["x"]])
    with pytest.raises(InputError, match="nothing to evaluate or to select"):
        model.select(max_gap=0.1)
    with pytest.raises(InputError, match="fit with rows of both classes"):
        model.evaluate(X, np.ones(N_ROWS), group)


def test_a_constant_model_has_no_page_and_looks_like_any_estimator_in_a_notebook(
    individuals, tmp_path
):
    X, _, group = individuals
    with pytest.warns(DegradedWarning, match="only 1 class"):
        model = quick(on_degenerate="constant").fit(X, np.ones(N_ROWS), group)
    with pytest.raises(InputError, match="nothing to show; give rows of both classes"):
        model.report(tmp_path / "page.html")
    with pytest.raises(InputError, match="nothing to show"):
        model.plot_history()
    assert "sk-" in model._repr_html_()


def test_a_constant_model_is_refused_when_strict(individuals):
    X, _, group = individuals
    model = quick(on_degenerate="constant", strict=True)
    with pytest.raises(NoFeasibleModelError, match="give rows of both classes"):
        model.fit(X, np.ones(N_ROWS), group)


def test_a_constant_model_is_forgotten_by_the_next_fit(individuals):
    X, y, group = individuals
    model = quick(on_degenerate="constant")
    with pytest.warns(DegradedWarning, match="only 1 class"):
        model.fit(X, np.ones(N_ROWS), group)
    model.fit(X, y, group)
    assert len(set(model.predict(X, group))) == 2


def test_a_constant_model_has_no_search_to_go_on_with(individuals, tmp_path):
    X, _, group = individuals
    kept = {"on_degenerate": "constant", "run_dir": tmp_path / "run"}
    with pytest.warns(DegradedWarning, match="only 1 class"):
        quick(**kept).fit(X, np.ones(N_ROWS), group)
    with pytest.raises(ResumeMismatchError, match=r"no search to continue.*overwrite=True"):
        quick(**kept, resume=True).fit(X, np.ones(N_ROWS), group)
    with pytest.warns(DegradedWarning, match="only 1 class"):
        quick(**kept, overwrite=True).fit(X, np.ones(N_ROWS), group)


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
def test_a_single_group_is_an_error_when_strict(individuals):
    X, y, _ = individuals
    with pytest.raises(NoFeasibleModelError, match="give rows of two groups or more"):
        quick(strict=True).fit(X, y, np.repeat("a", N_ROWS))


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


def test_an_infeasible_constraint_is_an_error_when_strict(individuals):
    model = quick("demographic_parity_difference <= 0.001", mitigators=["none"], strict=True)
    with pytest.raises(NoFeasibleModelError, match=r"demographic_parity_difference on 'sens"):
        model.fit(*individuals)


def test_a_constant_model_is_never_feasible(individuals):
    X, y, group = individuals
    with (
        pytest.warns(DegradedWarning, match="Only the baseline"),
        pytest.warns(NoFeasibleModelWarning, match="Only a constant predictor"),
    ):
        model = quick(n_trials=1, mitigators=["none"]).fit(X, y, group)
    assert model.best_entry_.constant
    assert not model.feasible_


@pytest.mark.filterwarnings("ignore:no model meets:fairautoml.exceptions.NoFeasibleModelWarning")
@pytest.mark.filterwarnings("ignore:Only the baseline:fairautoml.exceptions.DegradedWarning")
def test_a_ratio_of_nothing_is_undefined(individuals):
    X, _, group = individuals
    y = np.zeros(N_ROWS, dtype=int)
    y[::10] = 1
    model = quick("demographic_parity_ratio >= 0.8", n_trials=1, mitigators=["none"])
    with pytest.warns(NoFeasibleModelWarning, match="Only a constant predictor"):
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
    model = quick("demographic_parity_difference <= 0.3", n_folds=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FairAutoMLWarning)
        model.fit(x[:, None], y, g, sample_weight=weight)
    assert len(model.predict(x[:, None], g)) == 200
