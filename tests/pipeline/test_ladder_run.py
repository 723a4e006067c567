"""A whole fit with screening and promotions."""

import numpy as np
import pytest

from fairautoml import FairAutoML, RunStorage
from fairautoml.data import load
from fairautoml.search.allocators import ladder

N_TRIALS, N_ROWS = 12, 1_600


@pytest.fixture(scope="module", autouse=True)
def _screened():
    """Screen a table that is small enough for a quick test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ladder, "FEWEST_SCREENED", 1_000)
        yield


@pytest.fixture(scope="module")
def individuals():
    table = load("lending").frame.head(N_ROWS)
    return table.drop(columns="repaid"), table["repaid"]


def fitted(individuals, **parameters):
    settings = {
        "n_trials": N_TRIALS,
        "cv": 3,
        "learners": ["logistic_regression", "lightgbm"],
        "random_state": 0,
        "n_jobs": 1,
    }
    model = FairAutoML("demographic_parity_difference <= 0.1", **{**settings, **parameters})
    return model.fit(*individuals, sensitive="sex")


def content(model):
    board = model.leaderboard_.drop(columns="seconds")
    trials = model.trials_[["trial", "key", "origin", "folds", "status", "log_loss"]]
    return trials.to_json(), board.to_json()


@pytest.fixture(scope="module")
def whole(individuals):
    return fitted(individuals)


def test_proposals_are_screened_and_the_best_are_deployable(whole):
    trials = whole.trials_
    promoted = trials[trials["origin"] == "promotion"]
    assert (trials["origin"] == "search").sum() == N_TRIALS
    assert len(promoted) >= 4
    assert set(promoted["folds"]) == {3}
    assert promoted["key"].is_unique
    # The first proposal has all folds, so that there is a model from the start.
    known = set(promoted["trial"]) | {0, 1}
    assert set(whole.leaderboard_["trial"]) <= known | {trials["trial"].max() + 1}
    stages = {rung["stage"]: rung for rung in whole.summary_["rungs"]}
    assert stages["screened"]["trials"] == N_TRIALS - 2
    assert stages["screened"]["promoted"] == len(promoted)


def test_the_result_is_the_same_for_two_workers(individuals, whole):
    assert content(fitted(individuals, n_jobs=2, executor="local")) == content(whole)


def test_a_search_that_was_interrupted_is_continued_as_if_it_had_not(individuals, whole, tmp_path):
    def interrupt(progress):
        if progress.n_trials == 9:
            raise KeyboardInterrupt

    folder = tmp_path / "run"
    fitted(individuals, run_dir=folder, callbacks=[interrupt])
    again = fitted(individuals, run_dir=RunStorage(folder, "resume"))
    assert content(again) == content(whole)


def test_scores_of_all_rows_come_from_the_folds_of_both_trials(whole, individuals):
    assert np.isfinite(whole.predict_proba(individuals[0], individuals[0]["sex"])).all()
    assert whole.feasible_


def test_a_promotion_on_a_cluster_takes_the_folds_of_its_parent_over(individuals, whole):
    distributed = pytest.importorskip("distributed")
    with distributed.Client(
        processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None
    ):
        assert content(fitted(individuals, n_jobs=None, executor="dask")) == content(whole)
