"""What is said of a run must be what was measured, also where that is unwelcome."""

import multiprocessing
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fairautoml import FairAutoML
from fairautoml.exceptions import DegradedWarning, NoFeasibleModelWarning
from fairautoml.learners import LEARNERS, Learner
from fairautoml.mitigators._group_program import CommonRule
from fairautoml.plan import _executor
from fairautoml.records import Config, ConstraintResult, Entry
from fairautoml.report.summary import refused_headline
from fairautoml.selection.final import advice_on_refused, diagnose_run
from fairautoml.selection.leaderboard import TrialLog
from fairautoml.settings import validate_settings

QUICK = {"learners": ["logistic_regression"], "cv": 2, "random_state": 0}


def few_distinct_rows(n_rows=2000):
    rng = np.random.default_rng(0)
    group = rng.choice(["a", "b"], n_rows)
    X = pd.DataFrame({"f": rng.integers(0, 2, n_rows), "h": rng.integers(0, 3, n_rows)})
    logit = X["f"] * 1.5 + X["h"] * 0.7 - 1.5 + 1.2 * (group == "a")
    y = (rng.random(n_rows) < 1 / (1 + np.exp(-logit))).astype(int)
    return X, y, group


def ordinary(n_rows=600):
    rng = np.random.default_rng(1)
    group = rng.choice(["a", "b"], n_rows)
    X = pd.DataFrame({"x": rng.normal(size=n_rows), "z": rng.normal(size=n_rows)})
    y = (X["x"] + 0.5 * (group == "a") + 0.7 * rng.normal(size=n_rows) > 0).astype(int)
    return X, y.to_numpy(), group


@pytest.mark.filterwarnings("ignore::fairautoml.exceptions.NoFeasibleModelWarning")
def test_a_randomised_rule_is_judged_by_the_draws_that_it_will_make():
    X, y, group = few_distinct_rows()
    model = FairAutoML(
        "demographic_parity_difference <= 0.02",
        n_trials=2,
        mitigators=["randomized_thresholds"],
        **QUICK,
    ).fit(X, y, group)
    measured = model.evaluate(X, y, group)["gap"]
    # Six distinct rows in each group: equal rows get one draw, so shares cannot be realised.
    assert model.best_entry_.gap == pytest.approx(measured, abs=0.05)
    if model.feasible_:
        assert measured <= 0.02 + 0.05


def test_the_least_unfair_model_is_found_beside_a_group_without_positives():
    X, y, group = ordinary()
    other = np.where(np.arange(len(y)) < 8, "rare", "common")
    y = np.where(other == "rare", 0, y)
    sensitive = pd.DataFrame({"group": group, "other": other})
    with pytest.warns(NoFeasibleModelWarning, match=r"group '.*rare' has no rows with label 1"):
        model = FairAutoML(["equal_opportunity_difference <= 0.05"], n_trials=3, **QUICK).fit(
            X, y, sensitive
        )
    known = [m.gap for m in model.best_entry_.measures if m.value is not None]
    assert max(known) <= 0.05


def test_a_blind_winner_has_no_feature_that_is_the_sensitive_column():
    X, y, group = ordinary()
    X = X.assign(g=group)
    model = FairAutoML(
        "demographic_parity_difference <= 0.3", n_trials=2, sensitive_at_predict=False, **QUICK
    ).fit(X, y, X["g"])
    assert "g" not in model.model_.schema.names
    assert len(model.predict(X.drop(columns="g"))) == len(X)


def test_the_scale_of_weights_changes_nothing():
    X, y, _ = ordinary()
    weight = np.random.default_rng(2).exponential(size=len(y)) + 0.1
    losses = [
        FairAutoML(n_trials=2, learners=["xgboost"], cv=2, random_state=0)
        .fit(X, y, sample_weight=weight * scale)
        .trials_["log_loss"][1]
        for scale in (1.0, 1.0 / weight.sum(), 1000.0)
    ]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


def test_nothing_is_called_feasible_when_no_gap_was_measured():
    X, y, group = ordinary()
    model = FairAutoML(n_trials=2, **QUICK).fit(X, y, group)
    assert model.leaderboard_[["gap", "feasible"]].isna().all(axis=None)
    assert model.summary_["best"]["gap"] is None


def entry(value, gap, *, constant):
    measure = ConstraintResult(
        metric="demographic_parity_ratio", system="g", value=1 - gap, gap=gap, limit=0.2
    )
    return Entry(
        trial_key="00001-x",
        trial_number=1,
        config=Config(learner="lightgbm"),
        mitigator="none",
        tolerance=None,
        rule=CommonRule(threshold=0.5),
        score=value,
        value=value,
        measures=(measure,),
        # With one decision for everybody nobody is accepted.
        counts=np.ones((2, 2, 2)) * ([1, 0] if constant else [1, 1]),
        deployed=np.ones((2, 2, 2)) * ([1, 0] if constant else [1, 1]),
        constant=constant,
        seconds=1.0,
    )


def test_a_constant_worth_more_than_the_model_chosen_leads_with_both_scores():
    poor, constant = entry(0.43, 0.1, constant=False), entry(0.76, 0.0, constant=True)
    better = entry(0.8, 0.4, constant=False)
    advice = advice_on_refused(poor, constant, [poor, constant, better], "accuracy")
    said = refused_headline(poor, constant, advice)
    assert said.startswith(
        "The best model that meets the constraint (score 0.4300) is not clearly"
    )
    assert "prediction, so the best constant (score 0.7600) is served; give a looser" in said
    assert "fair or not" in advice_on_refused(poor, constant, [poor, constant], "accuracy")
    unfair = entry(0.43, 0.5, constant=False)
    assert refused_headline(unfair, constant, advice).startswith("The least unfair model (score")


def of_which(accepted, positive, value=0.9):
    """Return a feasible entry that accepts some of a thousand, of whom some are positive."""
    right = min(accepted, positive)
    table = [[1000 - positive - accepted + right, accepted - right], [positive - right, right]]
    counts = np.array([table], dtype=float)
    return replace(entry(value, 0.1, constant=False), counts=counts)


def test_where_a_label_is_rare_the_objective_is_to_blame_and_not_the_bound():
    poor, constant = of_which(1, 20, value=0.97), entry(0.98, 0.0, constant=True)
    unfair = entry(0.99, 0.5, constant=False)
    news = advice_on_refused(poor, constant, [poor, constant, unfair], "accuracy")
    assert news.startswith("98.0% of the rows have the same label")
    assert "give objective='balanced_accuracy' or 'f1' (--objective)" in news
    assert "looser bound" not in news
    assert "looser bound" in advice_on_refused(poor, constant, [poor, constant, unfair], "f1")


@pytest.mark.parametrize(
    ("accepted", "positive", "said"),
    [
        (1, 20, "The model accepts 0.10% of the rows, but 2.00% have the positive"),
        (999, 970, "The model rejects 0.10% of the rows, but 3.00% have the negative"),
        (3, 20, None),
        (970, 970, None),
        (10, 300, None),
    ],
)
def test_a_decision_that_is_hardly_ever_made_is_said_under_accuracy(accepted, positive, said):
    served = of_which(accepted, positive)
    news = diagnose_run(TrialLog(entries=[served]), served, "accuracy")
    assert len(news) == (said is not None)
    assert all(said in one and "objective='balanced_accuracy' or 'f1'" in one for one in news)
    assert diagnose_run(TrialLog(entries=[served]), served, "balanced_accuracy") == []


def test_the_reason_of_a_failure_is_reported_when_only_the_baseline_is_left(monkeypatch):
    class Broken:
        def fit(self, X, y, sample_weight=None):
            raise ValueError("boom")

    learner = Learner(name="logistic_regression", build=lambda *_: Broken())
    monkeypatch.setitem(LEARNERS._loaded, "logistic_regression", learner)
    X, y, _ = ordinary()
    with pytest.warns(DegradedWarning, match=r"1 of 2 trials failed.*ValueError\('boom'\)"):
        FairAutoML(n_trials=2, **QUICK).fit(X, y)


@pytest.mark.parametrize(
    ("budget", "shape", "n_jobs", "expected"),
    [
        ({"n_trials": 5}, (100_000, 9), 1, "serial"),
        ({"time_budget": 5}, (500, 9), 1, "serial"),
        ({"time_budget": 5}, (50_000, 9), 1, "local"),
        ({"time_budget": 9}, (5_000, 3_000), 1, "local"),
        ({"time_budget": 1}, (50_000, 9), 1, "serial"),
        ({"time_budget": 60}, (500, 9), 1, "local"),
        ({"n_trials": 5}, (500, 9), 2, "local"),
    ],
)
def test_a_deadline_or_several_workers_need_child_processes(budget, shape, n_jobs, expected):
    settings = validate_settings(FairAutoML(**budget, n_jobs=n_jobs))
    assert _executor(settings, *shape) == expected


@pytest.mark.parametrize("executor", ["auto", "local"])
def test_a_worker_of_a_pool_runs_its_trials_itself(executor, monkeypatch):
    process = multiprocessing.current_process()
    monkeypatch.setitem(process._config, "daemon", True)
    X, y, _ = ordinary()
    model = FairAutoML(executor=executor, n_jobs=2, n_trials=2, **QUICK)
    with pytest.warns(DegradedWarning, match="this process is a daemon"):
        model.fit(X, y)
    assert model.summary_["n_workers"] == 1
