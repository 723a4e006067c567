"""The score that carries the rule: whoever thresholds it at one half keeps the rule."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from portable_cases import PLAIN, predictor_of
from sklearn.model_selection import cross_val_score

import fairautoml
from fairautoml import FairAutoML
from fairautoml.mitigators import MITIGATORS
from fairautoml.mitigators._group_program import CommonRule, Step, ThresholdRule
from fairautoml.mitigators._multiclass import MostLikely
from fairautoml.records import acceptance
from fairautoml.runtime._rules import fair_scores, row_thresholds
from fairautoml.testing import example_scores, goal_of

POST = [
    (name, task)
    for name in MITIGATORS.names()
    if MITIGATORS.get(name).stage == "post"
    for task in sorted(MITIGATORS.get(name).tasks - {"regression"})
    if name != "logit_adjustment"
]


@pytest.mark.parametrize(("name", "task"), POST)
def test_scores_of_every_rule_decide_like_the_rule(name, task):
    mitigator, goal = MITIGATORS.get(name), goal_of(MITIGATORS.get(name), task)
    rows, new = example_scores(task, 0), example_scores(task, 7)
    cells = np.where(np.arange(len(new.cells)) % 5, new.cells, -1)
    drawn = np.random.default_rng(0).uniform(size=len(cells))
    for _, rule in mitigator.fit_rules(rows, goal, (0.0, 0.05, 0.2)):
        if rule is None:
            continue
        accepted = acceptance(rule, new.scores, cells, new.membership)
        if task == "binary":
            chosen = (drawn < accepted if rule.randomized else accepted >= 0.5).astype(int)
        else:
            chosen = accepted.argmax(axis=1)
        given_draws = drawn if rule.randomized else None
        found = fair_scores(rule.to_dict(), new.scores, cells, chosen, given_draws)
        assert ((found >= 0) & (found <= 1)).all()
        if task == "binary":
            np.testing.assert_array_equal(found > 0.5, chosen == 1)
            np.testing.assert_array_equal(found >= 0.5, chosen == 1)
        else:
            np.testing.assert_array_equal(found.argmax(axis=1), chosen)
            np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-9)


scores = st.lists(st.floats(0, 1, width=32), min_size=2, max_size=30)
cuts = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0, np.inf, -np.inf]))


@given(scores=scores, cut=cuts)
def test_scores_of_one_threshold_keep_their_order(scores, cut):
    rising = np.sort(np.array(scores, dtype=np.float32))
    chosen = (rising.astype(np.float64) >= cut).astype(int)
    rule = CommonRule(threshold=cut).to_dict()
    found = fair_scores(rule, rising, np.zeros(len(rising), int), chosen, None)
    assert (np.diff(found) >= 0).all()
    np.testing.assert_array_equal(found > 0.5, chosen == 1)


def test_the_score_of_a_threshold_of_one_half_is_the_probability():
    given_scores = np.linspace(0, 1, 11, dtype=np.float32)
    chosen = (given_scores >= 0.5).astype(int)
    rule = CommonRule(threshold=0.5).to_dict()
    found = fair_scores(rule, given_scores, np.zeros(11, int), chosen, None)
    np.testing.assert_allclose(found, given_scores, atol=1e-7)


def test_the_log_odds_of_the_threshold_are_subtracted():
    def logit(p):
        return np.log(p / (1 - p))

    rule = CommonRule(threshold=0.8).to_dict()
    found = fair_scores(rule, np.array([0.9]), np.zeros(1, int), np.ones(1, int), None)
    assert logit(found[0]) == pytest.approx(logit(0.9) - logit(0.8))


@given(
    data=st.data(),
    shares=st.lists(st.floats(0.05, 1), min_size=1, max_size=3),
    drawn=st.floats(0, 1, exclude_max=True),
)
def test_a_mixture_decides_by_the_drawn_threshold(data, shares, drawn):
    shares = np.array(shares) / np.sum(shares)
    steps = tuple(Step(threshold=data.draw(cuts), share=float(share)) for share in shares)
    rule = ThresholdRule(steps=(steps,), labels=("a",), group_of_cell=(0,), neutral=0.5)
    found = np.linspace(0, 1, 21).astype(np.float32)
    cells = np.zeros(21, int)
    threshold = row_thresholds(rule.to_dict(), cells, np.full(21, drawn))
    accepted = rule.decide(found, cells)
    clear = np.abs(accepted - drawn) > 1e-9
    decided = found.astype(np.float64) >= threshold
    np.testing.assert_array_equal(decided[clear], (drawn < accepted)[clear])


def test_shares_without_prices_are_unchanged():
    shares = np.random.default_rng(0).dirichlet(np.ones(4), size=50)
    rule = MostLikely().to_dict()
    found = fair_scores(rule, shares, np.zeros(50, int), shares.argmax(axis=1), None)
    np.testing.assert_allclose(found, shares, atol=1e-12)


def individuals(n_rows=600, seed=0):
    rng = np.random.default_rng(seed)
    group = rng.choice(["a", "b"], n_rows)
    shift = np.where(group == "a", 0.8, -0.8)
    X = pd.DataFrame({"x": rng.normal(size=n_rows) + shift, "z": rng.normal(size=n_rows)})
    y = np.where(X["x"] + 0.5 * rng.normal(size=n_rows) > 0, "yes", "no")
    return X, y, pd.Series(group, name="group")


QUICK = {"n_trials": 2, "cv": 2, "random_state": 0, "learners": ["logistic_regression"],
         "n_jobs": 1}  # fmt: skip
PARITY = "demographic_parity_difference <= 0.1"


@pytest.fixture(scope="module", params=["yes", "no"])
def fitted(request):
    X, y, group = individuals()
    model = FairAutoML(PARITY, pos_label=request.param, **QUICK)
    return model.fit(X, y, group)


def test_an_argmax_of_the_estimators_scores_keeps_the_rule(fitted):
    X, _, group = individuals(seed=1)
    decided = fitted.predict(X, group)
    proba = fitted.predict_proba(X, group)
    np.testing.assert_array_equal(fitted.classes_[proba.argmax(axis=1)], decided)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    base = fitted.classes_[fitted.base_proba(X, group).argmax(axis=1)]
    assert (base != decided).any()


def test_the_decision_function_is_finite_and_has_the_sign_of_the_last_class(fitted):
    X, _, group = individuals(seed=1)
    found = fitted.decision_function(X, group)
    assert np.isfinite(found).all()
    assert (np.abs(found) <= 36).all()
    np.testing.assert_array_equal(found > 0, fitted.predict(X, group) == fitted.classes_[1])


def test_the_file_of_a_model_has_its_scores(fitted, tmp_path):
    X, _, group = individuals(seed=1)
    served = fairautoml.load_predictor(fitted.export(tmp_path / "m.fair"))
    np.testing.assert_array_equal(served.predict_proba(X, group), fitted.predict_proba(X, group))
    np.testing.assert_array_equal(served.base_proba(X, group), fitted.base_proba(X, group))
    expected = fitted.acceptance_proba(X, group)
    np.testing.assert_array_equal(served.acceptance_proba(X, group), expected)


def test_without_a_constraint_the_score_is_the_probability(tmp_path):
    X, y, _ = individuals()
    model = FairAutoML(objective="balanced_accuracy", **QUICK).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), model.base_proba(X))
    served = fairautoml.load_predictor(model.export(tmp_path / "m.fair"))
    np.testing.assert_array_equal(served.predict_proba(X), model.base_proba(X))


def test_a_ranking_metric_with_routed_groups_has_a_number_in_every_fold():
    X, y, group = individuals(300)
    X["group"] = group
    with sklearn.config_context(enable_metadata_routing=True):
        found = cross_val_score(
            FairAutoML(PARITY, **QUICK), X, y == "yes", cv=2, scoring="roc_auc",
            params={"sensitive": "group"}, error_score="raise",
        )  # fmt: skip
    assert np.isfinite(found).all()
    assert (found > 0.6).all()


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_rule_of_a_plug_in_has_the_mean_of_score_and_decision(task):
    class Model:
        def scores(self, X, cells):
            one = X[:, 0].astype(np.float32)
            return one if task == "binary" else np.stack([one, 1 - one, 0 * one], axis=1)

    class Own:
        needs_sensitive = randomized = False

        def decide(self, scores, cells):
            return PLAIN[task].decide(scores, cells)

    predictor = predictor_of(Model(), task, rule=Own())
    X = np.linspace(0.1, 0.9, 36, dtype=np.float32).reshape(9, 4)
    if task == "binary":
        found = predictor.fair_scores(X, np.zeros(9, int))
        np.testing.assert_allclose(found, (X[:, 0] + (X[:, 0] >= 0.5)) / 2, atol=1e-7)
    else:
        found = predictor.fair_scores(X, np.zeros(9, int))
        np.testing.assert_array_equal(found.argmax(axis=1), Model().scores(X, None).argmax(axis=1))
