import copy
import logging
import sys

import joblib
import numpy as np
import pandas as pd
import pytest

from fairautoml import FairAutoML, GroupPolicy, RunStorage, load_run
from fairautoml.data import load
from fairautoml.evaluation import evaluate
from fairautoml.exceptions import DegradedWarning, InputError, NoModelError, RunFolderExistsError
from fairautoml.storage.run_folder import read_json

CONSTRAINT = "demographic_parity_difference <= 0.1"


@pytest.fixture(scope="module")
def individuals():
    table = load("lending").frame.head(800)
    return table.drop(columns="repaid"), table["repaid"]


def quick(constraint=CONSTRAINT, **parameters):
    settings = {
        "n_trials": 3,
        "cv": 3,
        "learners": ["logistic_regression", "lightgbm"],
        "random_state": 0,
    }
    return FairAutoML(constraint, **{**settings, **parameters})


@pytest.fixture(scope="module")
def fitted(individuals):
    return quick().fit(*individuals, "sex")


def no_seconds(board):
    return board.drop(columns="seconds")


def test_fit_leaves_what_the_documentation_promises(fitted):
    assert fitted.feasible_
    assert not fitted.interrupted_
    assert fitted.seed_ == 0
    assert len(fitted.trials_) == 3
    assert fitted.leaderboard_["rank"].is_monotonic_increasing
    assert fitted.best_entry_.gap <= 0.1
    assert fitted.leaderboard_.iloc[0]["accuracy"] == fitted.best_entry_.score


def test_the_front_rises_in_accuracy_and_in_gap(fitted):
    front = fitted.pareto_front_
    assert front["accuracy"].is_monotonic_increasing
    assert front["gap"].is_monotonic_increasing
    assert len(front) > 2


def test_the_baseline_runs_first(fitted):
    first = fitted.trials_.iloc[0]
    assert (first["learner"], first["trial"]) == ("prior", 0)


def test_without_a_constraint_nothing_is_measured_on_groups(individuals):
    free = quick(None).fit(*individuals)
    assert free.best_entry_.measures == ()
    assert free.feasible_
    assert not free.leaderboard_["needs_sensitive"].any()


def test_a_sensitive_column_that_is_a_feature_is_said_to_be_read(individuals):
    X, y = individuals
    free = quick(None).fit(X, y, "sex")
    assert set(free.leaderboard_["sensitive_read_by"]) == {"features"}
    assert free.summary_["best"]["sensitive_read_by"] == "features"
    assert not free.summary_["best"]["needs_sensitive"]
    assert "sensitive column(s) 'sex' of X are also features" in free.summary_["notes"]
    with pytest.raises(InputError, match="'sex'"):
        free.predict(X.drop(columns="sex"))
    blind = quick(None, group_policy=GroupPolicy(in_features="drop")).fit(X, y, "sex")
    assert set(blind.leaderboard_["sensitive_read_by"]) == {"nothing"}
    assert len(blind.predict(X.drop(columns="sex"))) == len(X)


def test_models_whose_training_removed_the_groups_are_said_to_read_them(individuals):
    mitigators = ["none", "correlation_remover"]
    constraint = "demographic_parity_difference <= 0.15"
    model = quick(
        constraint,
        mitigators=mitigators,
        n_trials=5,
        group_policy=GroupPolicy(in_features="drop"),
        ensemble=0,
    )
    board = model.fit(*individuals, "sex").leaderboard_
    reads = board["sensitive_read_by"].str.contains("models")
    assert reads.any()
    assert (reads == (board["mitigation"] == "correlation_remover")).all()


def test_the_budget_that_was_used_is_in_the_summary(individuals):
    given = quick(time_budget=50).fit(*individuals, "sex").summary_
    assert (given["time_budget"], given["max_trials"]) == (50.0, 3)
    assert FairAutoML().check_parameters().time_budget == 60.0
    assert FairAutoML(n_trials=5).check_parameters().time_budget is None


def test_the_summary_counts_what_happened(fitted):
    summary = fitted.summary_
    assert (summary["n_trials"], summary["n_failed"], summary["n_cut_off"]) == (3, 0, 0)
    assert summary["n_entries"] == len(fitted.leaderboard_)
    assert 0 <= summary["overhead_fraction"] <= 1
    assert summary["best"]["score"] == fitted.best_entry_.score


def test_another_point_of_the_front_needs_no_training(individuals, fitted, monkeypatch):
    def train(*_, **__):
        raise AssertionError("something is trained")

    monkeypatch.setattr("fairautoml.evaluation.fitting.fit_config", train)
    X, _ = individuals
    before = fitted.predict(X)
    fairer = fitted.select(max_gap=0.02)
    assert fairer.best_entry_.gap <= 0.02 < fitted.best_entry_.gap
    assert (fairer.predict(X) != before).any()
    assert (fitted.predict(X) == before).all()


def test_the_least_unfair_model_of_a_quality_can_be_chosen(fitted):
    least = fitted.best_entry_.score
    chosen = fitted.select(min_score=least)
    assert chosen.best_entry_.score >= least
    assert chosen.best_entry_.gap <= fitted.best_entry_.gap


def test_evaluate_judges_the_decisions(individuals, fitted):
    X, y = individuals
    found = fitted.evaluate(X, y)
    assert found["accuracy"] == (fitted.predict(X) == y).mean()
    rates = found["rates"]["sex"]
    gap = abs(rates["female"]["selection"] - rates["male"]["selection"])
    assert found["gap"] == pytest.approx(gap)
    assert found["gaps"] == {"demographic_parity_difference[sex]": pytest.approx(gap)}
    assert found["values"] == found["gaps"]


def test_evaluate_gives_a_ratio_as_the_leaderboard_does_and_its_gap_beside_it(individuals):
    X, y = individuals
    model = quick("demographic_parity_ratio >= 0.8", n_trials=2).fit(X, y, "sex")
    found, name = model.evaluate(X, y), "demographic_parity_ratio[sex]"
    rates = [group["selection"] for group in found["rates"]["sex"].values()]
    assert found["values"][name] == pytest.approx(min(rates) / max(rates))
    assert found["gaps"][name] == found["gap"] == pytest.approx(1 - found["values"][name])
    assert model.leaderboard_[name].iloc[0] == pytest.approx(1 - model.best_entry_.gap)


def test_evaluate_counts_individuals_of_unknown_groups(individuals, fitted):
    X, y = individuals
    lenient = FairAutoML.__new__(FairAutoML)
    lenient.__dict__.update(fitted.__dict__, group_policy=GroupPolicy(unseen="base_model"))
    found = lenient.evaluate(X.assign(sex=X["sex"].where(X.index > 9, "other")), y)
    assert found["n_unknown_group"] == 10


def test_several_columns_are_met_together_with_their_intersection(individuals):
    model = quick(n_trials=2).fit(*individuals, ["sex", "age_band"])
    systems = {measure.system for measure in model.best_entry_.measures}
    assert systems == {"sex", "age_band", "sex & age_band"}
    assert all(measure.gap <= measure.limit for measure in model.best_entry_.measures)


def test_a_refitted_winner_is_one_model(individuals):
    model = quick(refit=True).fit(*individuals, "sex")
    assert not hasattr(model.pool_.bags[model.best_entry_.trial_key].models, "models")
    assert model.evaluate(*individuals)["accuracy"] > 0.7


@pytest.mark.parametrize("refit", [False, True])
def test_the_run_folder_holds_the_run_and_a_model_that_decides_the_same(
    individuals, tmp_path, refit
):
    X, _ = individuals
    model = quick(run_dir=tmp_path / "run", refit=refit).fit(*individuals, "sex")
    kept = load_run(tmp_path / "run")
    assert (kept.predict(X) == model.predict(X)).all()
    assert kept.callbacks is None
    assert read_json(tmp_path / "run", "config.json")["seed"] == 0
    assert read_json(tmp_path / "run", "summary.json")["n_trials"] == 3
    rows = read_json(tmp_path / "run", "leaderboard.json")
    assert len(rows) == len(model.leaderboard_)
    assert len(pd.read_csv(tmp_path / "run" / "leaderboard.csv")) == len(rows)


def test_models_that_can_not_be_chosen_any_more_are_not_kept(individuals, tmp_path, monkeypatch):
    # What is good enough for the ensemble of a longer run is kept; here that is next to nothing.
    monkeypatch.setattr("fairautoml.selection.selectable.LIBRARY", 1)
    monkeypatch.setattr("fairautoml.selection.selectable.SINGLES", 1)
    model = quick(n_trials=5, run_dir=tmp_path / "run").fit(*individuals, "sex")
    stored = {path.stem for path in (tmp_path / "run" / "models").iterdir()}
    baseline = next(key for key in stored if key.startswith("00000-"))
    # Models of the front stay too, though a finer tolerance of another model may beat them.
    assert {*model.pool_.bags, baseline} <= stored
    assert len(stored) < 5
    assert len(list((tmp_path / "run" / "scores").iterdir())) == 5


def test_a_folder_is_not_used_twice_without_a_request(individuals, tmp_path):
    quick(n_trials=2, run_dir=tmp_path / "run").fit(*individuals, "sex")
    with pytest.raises(RunFolderExistsError, match="if_exists='overwrite'"):
        quick(n_trials=2, run_dir=tmp_path / "run").fit(*individuals, "sex")
    quick(n_trials=2, run_dir=RunStorage(tmp_path / "run", "overwrite")).fit(*individuals, "sex")


def test_without_a_folder_nothing_stays_on_the_disk(individuals, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    quick(n_trials=2).fit(*individuals, "sex")
    assert list(tmp_path.iterdir()) == []


def test_progress_is_reported_after_each_trial(individuals):
    seen = []
    quick(callbacks=seen.append).fit(*individuals, "sex")
    assert [progress.n_trials for progress in seen] == [1, 2, 3]
    assert all(progress.seconds_left is None for progress in seen)


def test_an_interrupted_fit_keeps_the_best_model_so_far(individuals, tmp_path):
    def interrupt(progress):
        if progress.n_trials == 2:
            raise KeyboardInterrupt

    model = quick(n_trials=50, callbacks=interrupt, run_dir=tmp_path / "run")
    model.fit(*individuals, "sex")
    assert model.interrupted_
    assert len(model.trials_) == 2
    assert model.best_entry_.trial_number == 1
    assert load_run(tmp_path / "run").interrupted_
    note = "The search was interrupted after 2 trials; the best model so far is selected"
    assert any(one.startswith(note) for one in model.notes_)
    assert model.evaluate(*individuals)["accuracy"] > 0.7


def test_a_callback_that_raises_is_not_called_again_and_loses_nothing(individuals):
    called = []

    def broken(progress):
        called.append(progress.n_trials)
        raise KeyError("mine")

    with pytest.warns(DegradedWarning, match=r"a callback raised KeyError\('mine'\)"):
        model = quick(n_trials=3, callbacks=broken).fit(*individuals, "sex")
    assert called == [1]
    assert len(model.trials_) == 3
    assert not model.interrupted_


def test_a_callback_may_end_the_program(individuals):
    with pytest.raises(SystemExit):
        quick(n_trials=3, callbacks=lambda _: sys.exit(3)).fit(*individuals, "sex")


def test_an_interrupt_before_the_first_model_continues(individuals, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("fairautoml.evaluation.evaluate.TrialEvaluator.__call__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        quick().fit(*individuals, "sex")


def test_no_model_at_all_is_an_error_with_the_failures(individuals, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no luck")

    monkeypatch.setattr("fairautoml.evaluation.evaluate.fit_config", fail)
    message = r"All 2 trials failed \(prior: failed RuntimeError.*no luck.*Increase time_budget"
    with pytest.raises(NoModelError, match=message):
        quick(n_trials=2).fit(*individuals, "sex")


def test_a_failing_learner_costs_its_own_trial_only(individuals, monkeypatch):
    real = evaluate.fit_config

    def fail(config, *rest, **named):
        if config.learner == "lightgbm":
            raise RuntimeError("no luck")
        return real(config, *rest, **named)

    monkeypatch.setattr(evaluate, "fit_config", fail)
    model = quick(n_trials=6).fit(*individuals, "sex")
    assert model.best_entry_.config.learner == "logistic_regression"
    failed = model.trials_[model.trials_["status"] == "failed"]
    assert set(failed["learner"]) == {"lightgbm"}
    assert failed["error"].str.contains("no luck").all()
    assert model.summary_["n_failed"] == len(failed) > 0


def test_only_the_baseline_is_said(individuals):
    with pytest.warns(DegradedWarning, match="Only the baseline"):
        quick(None, n_trials=1).fit(*individuals)


def test_the_worker_count_does_not_change_the_leaderboard(individuals):
    one = quick(n_trials=4, n_jobs=1).fit(*individuals, "sex")
    two = quick(n_trials=4, n_jobs=2).fit(*individuals, "sex")
    pd.testing.assert_frame_equal(no_seconds(one.leaderboard_), no_seconds(two.leaderboard_))


def test_renamed_groups_and_a_longer_row_order_change_no_decision(individuals):
    X, y = individuals
    sex = X["sex"].to_numpy()
    plain = X.drop(columns="sex")
    renamed = np.where(sex == "male", "m", "f")
    one, two = (quick(n_trials=2).fit(plain, y, group) for group in (sex, renamed))
    assert (one.predict(plain, sex) == two.predict(plain, renamed)).all()


def test_the_model_survives_joblib(individuals, fitted, tmp_path):
    joblib.dump(fitted, tmp_path / "m")
    assert (
        joblib.load(tmp_path / "m").predict(individuals[0]) == fitted.predict(individuals[0])
    ).all()


def test_nothing_is_printed_or_logged(individuals, capfd, caplog):
    with caplog.at_level(logging.WARNING):
        quick().fit(*individuals, "sex")
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_another_point_of_the_front_describes_itself(fitted):
    before = copy.deepcopy(fitted.summary_)
    fairer = fitted.select(max_gap=0.01)
    assert fairer.summary_["best"]["gap"] == fairer.best_entry_.gap
    assert fairer.summary_["best"]["rule"] == fairer.best_entry_.rule.describe()
    assert fairer.summary_["best"] != before["best"]
    assert fairer.summary_["n_trials"] == before["n_trials"]
    assert fitted.summary_ == before


def test_no_gap_can_be_chosen_where_none_was_measured(individuals):
    free = quick(None, n_trials=2).fit(*individuals)
    with pytest.raises(InputError, match=r"no gap was measured.*use min_score="):
        free.select(max_gap=0.1)
    with pytest.raises(InputError, match="no gap was measured"):
        free.select(max_gap=0.1, min_score=0.5)
    assert free.select(min_score=0.5).best_entry_.score >= 0.5
