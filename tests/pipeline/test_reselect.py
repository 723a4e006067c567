"""Another constraint on the trials of a finished run."""

import warnings

import numpy as np
import pytest

from fairautoml import FairAutoML, load_run
from fairautoml.exceptions import NoFeasibleModelWarning, ParameterError

OTHER = "equalized_odds_difference <= 0.6"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    rng = np.random.default_rng(1)
    sex = rng.choice(["a", "b"], 300)
    X = rng.normal(size=(300, 3)) + (sex == "a")[:, None] * 0.5
    y = (X[:, 0] + rng.normal(size=300) > 0.5).astype(int)
    model = FairAutoML(
        "demographic_parity_difference <= 0.1", n_trials=3, n_jobs=1, cv=3, random_state=0,
        learners=["logistic_regression"], run_dir=tmp_path_factory.mktemp("runs") / "run",
    )  # fmt: skip
    return model.fit(X, y, sex), X, sex


def test_another_constraint_is_met_without_training_and_the_first_model_stays(fitted):
    model, X, sex = fitted
    other = model.reselect(OTHER)
    (measure,) = other.best_entry_.measures
    assert (measure.metric, measure.limit) == ("equalized_odds_difference", 0.6)
    assert other.feasible_
    assert measure.gap <= 0.6
    assert other.best_entry_.score >= model.best_entry_.score
    assert other.constraint == OTHER
    assert "0.6" in str(other.summary_)
    assert model.best_entry_.measures[0].metric == "demographic_parity_difference"
    assert len(other.predict(X, sex)) == 300


def test_a_loaded_run_reselects_the_same_model(fitted):
    model, X, sex = fitted
    loaded = load_run(model.run_dir).reselect(OTHER)
    np.testing.assert_array_equal(loaded.predict(X, sex), model.reselect(OTHER).predict(X, sex))


def test_the_page_says_how_to_get_each_row_of_the_new_front_that_is_stored(fitted):
    other = fitted[0].reselect(OTHER)
    for row in other._view().front:
        entry = other.pool_.board.ordered[row.rank - 1]
        assert row.stored == (set(entry.sources) <= set(other.pool_.bags))
        if row.how.startswith("model.select(max_gap="):
            gap = float(row.how.removeprefix("model.select(max_gap=").removesuffix(")"))
            assert other.select(max_gap=gap).best_entry_ is entry


def test_groups_that_only_the_first_constraint_left_out_are_not_reported_again():
    rng = np.random.default_rng(1)
    sex = np.where(np.arange(300) < 12, "c", rng.choice(["a", "b"], 300))
    X = rng.normal(size=(300, 3)) + (sex == "a")[:, None] * 0.5
    y = np.where(sex == "c", np.arange(300) % 2, X[:, 0] + rng.normal(size=300) > 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = FairAutoML(
            "demographic_parity_difference <= 0.1", n_trials=2, n_jobs=1, cv=3, random_state=0,
            learners=["logistic_regression"],
        ).fit(X, y, sex)  # fmt: skip
        other = model.reselect("equalized_odds_difference <= 1.0")
        direct, back = (
            one.reselect("demographic_parity_difference <= 0.1") for one in (model, other)
        )
    assert back.notes_ == direct.notes_
    found, expected = ([e.measures for e in m.pool_.board.entries] for m in (back, direct))
    assert found == expected
    sentence = "outside the bound of demographic_parity_difference: 'c' (n=12)"
    for one, expected in ((model, True), (other, False)):
        summary = one.summary_
        for notes in (one.notes_, summary["notes"], summary["headlines"]):
            assert any(sentence in note for note in notes) is expected
        assert bool(one._view().outside) is bool(one._view().judgeability) is expected
        assert bool(summary["judgeability"]) is expected


def test_a_constraint_that_no_stored_model_meets_is_told(fitted):
    with pytest.warns(NoFeasibleModelWarning, match="No stored model meets"):
        other = fitted[0].reselect("equalized_odds_difference <= 0.0")
    assert not other.feasible_


@pytest.mark.parametrize("constraint", [None, "equalized_odds_difference[age] <= 0.1"])
def test_no_constraint_or_unknown_groups_are_refused(fitted, constraint):
    with pytest.raises(ParameterError):
        fitted[0].reselect(constraint)
