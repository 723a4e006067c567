"""The ensemble and the margin, from fit to prediction."""

import copy
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from fairautoml import FairAutoML, GroupPolicy, RunStorage
from fairautoml.cli.text import result_of, result_text
from fairautoml.data import load
from fairautoml.exceptions import DegradedWarning, ParameterError, SmallGroupWarning
from fairautoml.mitigators._group_program import CommonRule
from fairautoml.records import GroupUnawareRule, best_of
from fairautoml.report.summary import margin_notes, probability_text
from fairautoml.selection.choice import ENSEMBLE, MIXTURE, Margin, SelectionOptions
from fairautoml.selection.ensemble import WeightedAverage
from fairautoml.selection.final import collect_candidates

CONSTRAINT = "demographic_parity_difference <= 0.1"


@pytest.fixture(scope="module")
def individuals():
    table = load("lending").frame.head(700)
    return table.drop(columns="repaid"), table["repaid"]


AT_RANDOM = ["common_threshold", "group_thresholds", "randomized_thresholds"]


def quick(constraint=CONSTRAINT, **parameters):
    settings = {
        "n_trials": 4,
        "cv": 3,
        "learners": ["logistic_regression", "lightgbm"],
        "random_state": 0,
    }
    return FairAutoML(constraint, **{**settings, **parameters})


@pytest.fixture(scope="module")
def fitted(individuals):
    return quick().fit(*individuals, "sex")


def mixed_entries(model):
    return [entry for entry in model.pool_.board.entries if entry.members]


def test_the_ensemble_is_on_the_leaderboard_with_what_its_members_cost(fitted):
    rows = fitted.leaderboard_[fitted.leaderboard_["learner"] == ENSEMBLE]
    entries = mixed_entries(fitted)
    assert len(rows) == len(entries) > 3
    assert (rows["n_models"] > 1).all()
    assert set(rows["trial"]).isdisjoint(fitted.trials_["trial"])
    seconds = fitted.trials_.set_index("trial")["seconds"]
    members = [int(key.split("-")[0]) for key, _ in entries[0].members]
    assert rows["seconds"].iloc[0] == pytest.approx(seconds[members].sum(), abs=0.01)


def test_the_shares_of_the_members_sum_to_one(fitted):
    for entry in mixed_entries(fitted):
        shares = [share for _, share in entry.members]
        assert sum(shares) == pytest.approx(1.0)
        assert min(shares) > 0


def test_an_ensemble_decides_by_the_weighted_mean_of_its_members(individuals, fitted):
    stored = set(fitted.pool_.bags)
    entry = next(e for e in mixed_entries(fitted) if stored.issuperset(e.sources))
    classifier = fitted.pool_.classifier(entry)
    X = np.zeros((5, len(individuals[0].columns)), dtype=np.float32)
    cells = np.zeros(5, dtype=np.int32)
    expected = sum(share * fitted.pool_.bags[key].scores(X, cells) for key, share in entry.members)
    assert isinstance(classifier.models, WeightedAverage)
    assert classifier.scores(X, cells) == pytest.approx(expected)


def test_every_point_of_the_front_can_be_served(individuals, fitted):
    X, _ = individuals
    for entry in fitted.pool_.board.pareto_front():
        assert set(entry.sources) <= set(fitted.pool_.bags)
    assert len(fitted.select(min_score=0.0).predict(X)) == len(X)


@pytest.mark.parametrize("parameters", [{"ensemble": 0}, {"refit": True}])
def test_without_assembly_one_trial_is_served(individuals, parameters):
    model = quick(**parameters).fit(*individuals, "sex")
    assert mixed_entries(model) == []
    assert ENSEMBLE not in set(model.leaderboard_["learner"])


def test_an_ensemble_has_no_more_models_than_allowed(individuals):
    model = quick(ensemble=2).fit(*individuals, "sex")
    entries = mixed_entries(model)
    assert entries
    assert {len(entry.members) for entry in entries} == {2}


@pytest.fixture(scope="module")
def without_confidence(individuals):
    return quick(confidence=None).fit(*individuals, "sex")


def test_without_confidence_the_best_on_the_search_rows_is_served(without_confidence):
    model = without_confidence
    assert model.best_entry_ is best_of(model.pool_.board.entries)
    margin = model.summary_["margin"]
    assert margin["price"] == 0.0
    assert margin["confidence"] is None
    assert margin["margin"] == pytest.approx(0.1 - model.best_entry_.gap)


def test_a_number_and_auto_are_about_the_population_and_a_hold_out_is_stated_too(individuals):
    number, auto = (
        quick(confidence=c, n_trials=2).fit(*individuals, "sex") for c in (0.8, "auto")
    )
    for model in (number, auto):
        margin = model.summary_["margin"]
        assert margin["probability"] == model.best_entry_.assessment.probability
        assert margin["gap_interval"] == model.best_entry_.assessment.gap_interval
        assert margin["holdout_probability"] <= margin["probability"]
        assert margin["n_holdout"] == 300
        shown = " ".join(result_text(result_of(model), model.leaderboard_, 3).split())
        assert "the bound holds in the population with estimated probability" in shown
        assert "and as measured on a hold-out of 300 rows with" in shown
    assert number.summary_["margin"]["probability"] >= 0.8


def test_more_confidence_keeps_more_of_a_margin_at_a_price(individuals, without_confidence):
    more = quick(confidence=0.9).fit(*individuals, "sex")
    found = [model.summary_["margin"] for model in (without_confidence, more)]
    assert found[0]["probability"] < 0.9 <= found[1]["probability"]
    assert found[0]["margin"] < found[1]["margin"]
    assert found[1]["price"] > 0
    assert not found[1]["insufficient_evidence"]


def test_a_confidence_that_leaves_little_of_the_model_is_said(fitted):
    served = fitted.best_entry_
    costly = Margin(
        confidence=0.95,
        probability=0.96,
        holdout_probability=0.8,
        n_holdout=300,
        gap_interval=None,
        margin=0.05,
        price=0.1,
        insufficient_evidence=False,
        kept=0.2,
    )
    (note,) = margin_notes(served, costly)
    assert note.startswith("Only near-constant models meet the constraint with probability 0.95")
    assert "keeps 20% of the utility" in note
    assert margin_notes(served, replace(costly, kept=0.3)) == ()


def test_the_served_entry_comes_first_and_is_feasible(fitted):
    first = fitted.leaderboard_.iloc[0]
    assert first["rule"] == fitted.best_entry_.rule.describe()
    assert fitted.feasible_
    assert not fitted.best_entry_.constant
    margin = fitted.summary_["margin"]
    assert margin["confidence"] == "auto"
    assert margin["price"] >= 0
    best = max(e.value for e in fitted.pool_.board.entries if e.feasible)
    assert margin["price"] == pytest.approx(best - fitted.best_entry_.value)


def test_the_headline_states_price_and_probability_of_the_fit(fitted):
    margin, served = fitted.summary_["margin"], fitted.best_entry_
    best = max(entry.score for entry in fitted.pool_.board.entries)
    text = fitted.summary_["headline"]
    assert f"accuracy {served.score:.4f} ({100 * (best - served.score):.1f} points below" in text
    assert f"estimated probability {margin['probability']:.2f}" in text
    other = fitted.leaderboard_.iloc[1]
    assert other["accuracy"] > served.score
    passed = margin["passed_over"]
    assert passed["score"] == other["accuracy"]
    assert passed["probability"] < margin["probability"]
    assert f"accuracy {passed['score']:.4f} was not served because its probability is" in text
    assert f"is {passed['probability']:.2f}." in text


def test_a_selected_entry_has_a_headline_and_a_probability_of_its_own(fitted):
    other = fitted.select(max_gap=0.05)
    text, entry = other.summary_["headline"], other.best_entry_
    assert entry is not fitted.best_entry_
    assert f"accuracy {entry.score:.4f}" in text
    assert f"estimated probability {probability_text(entry.assessment.probability)}" in text
    assert "hold-out" not in text


def test_another_point_of_the_front_has_no_margin_of_its_own(fitted):
    assert fitted.select(max_gap=0.05).summary_["margin"] is None
    assert fitted.summary_["margin"] is not None


def test_too_few_rows_for_a_confidence_are_said(individuals):
    model = quick("equalized_odds_difference <= 0.1", n_trials=2, confidence=0.9999)
    with pytest.warns(DegradedWarning, match="insufficient evidence: no model meets the"):
        model.fit(*individuals, "sex")
    assert model.summary_["margin"]["insufficient_evidence"]
    assert any(note.startswith("insufficient evidence: no model") for note in model.notes_)


def test_a_bound_that_few_rows_cannot_judge_leaves_the_model_unsure(individuals):
    few = tuple(part.head(300) for part in individuals)
    model = quick("demographic_parity_difference <= 0.03", n_trials=2)
    with pytest.warns(SmallGroupWarning, match="insufficient evidence: the selected model meets"):
        model.fit(*few, "sex")
    margin = model.summary_["margin"]
    assert model.status_ == "unsure"
    assert not model.feasible_
    assert model.best_entry_.meets
    assert margin["insufficient_evidence"]
    assert margin["probability"] < 0.5
    assert any("so it is not called feasible" in note for note in model.notes_)
    shown = result_text(result_of(model), model.leaderboard_, 3)
    assert "Status       unsure: meets the constraint on the search rows" in shown


def test_without_constraints_there_is_an_ensemble_and_no_margin(individuals):
    model = quick(None).fit(*individuals)
    assert mixed_entries(model)
    assert model.summary_["margin"] is None
    assert model.best_entry_ is best_of(model.pool_.board.entries)


def test_an_objective_on_scores_is_not_given_up_for_the_margin(individuals):
    model = quick(objective="roc_auc").fit(*individuals, "sex")
    best = max(e.value for e in model.pool_.board.entries if e.feasible)
    assert model.best_entry_.value == best
    assert model.summary_["margin"]["price"] == 0.0


def test_the_same_seed_gives_the_same_ensemble_and_choice(individuals, fitted):
    again = quick().fit(*individuals, "sex")
    assert again.best_entry_.members == fitted.best_entry_.members
    assert again.best_entry_.rule == fitted.best_entry_.rule
    assert again.summary_["margin"] == fitted.summary_["margin"]


def test_no_time_left_leaves_the_answer_of_the_search(individuals, monkeypatch):
    monkeypatch.setattr(
        "fairautoml.pipeline.selection_options", lambda *_: SelectionOptions(end=0.0)
    )
    model = quick().fit(*individuals, "sex")
    assert mixed_entries(model) == []
    assert model.feasible_


def test_a_resumed_run_measures_anew_what_rules_take(individuals, tmp_path, monkeypatch):
    end = SelectionOptions(end=time.monotonic() + 1e5)
    monkeypatch.setattr("fairautoml.pipeline.selection_options", lambda *_: end)
    monkeypatch.setattr("fairautoml.selection.final._Work._measured", lambda _: 1e6)
    first = quick(run_dir=tmp_path / "run").fit(*individuals, "sex")
    assert mixed_entries(first)
    again = quick(run_dir=RunStorage(tmp_path / "run", "resume")).fit(*individuals, "sex")
    assert mixed_entries(again) == []


@pytest.mark.filterwarnings(
    "ignore::fairautoml.exceptions.DegradedWarning",
    # A busy machine ends few trials in that time; what they find does not matter here.
    "ignore::fairautoml.exceptions.NoFeasibleModelWarning",
)
def test_the_answer_may_not_take_longer_than_a_short_budget(individuals, monkeypatch):
    ends = []

    def look(problem, history, artifacts, options):
        ends.append(options.end)
        return collect_candidates(problem, history, artifacts, options)

    monkeypatch.setattr("fairautoml.pipeline.collect_candidates", look)
    monkeypatch.setattr("fairautoml.pipeline.time", SimpleNamespace(monotonic=lambda: 1e9))
    quick(n_trials=2, time_budget=3.0).fit(*individuals, "sex")
    # Three tenths of the budget from then on, however late that is.
    assert ends == [pytest.approx(1e9 + 0.9, rel=0, abs=1e-3)]


def test_a_member_that_reads_the_groups_makes_the_ensemble_read_them(fitted):
    entry = replace(mixed_entries(fitted)[0], rule=CommonRule(threshold=0.5))
    blind = fitted.pool_.classifier(entry)
    board = replace(fitted.pool_.board, readers=frozenset({entry.members[-1][0]}))
    reader = replace(fitted.pool_, board=board)
    assert not blind.needs_sensitive
    assert reader.classifier(entry).needs_sensitive


def test_a_blind_ensemble_needs_no_groups_of_new_rows(individuals):
    X, y = individuals
    features = X.drop(columns="sex")
    model = quick(sensitive_at_predict=False, group_policy=GroupPolicy(in_features="allow")).fit(
        features, y, X["sex"]
    )
    entries = [e for e in mixed_entries(model) if set(e.sources) <= set(model.pool_.bags)]
    assert any(isinstance(entry.rule, GroupUnawareRule) for entry in entries)
    for entry in entries:
        model._serve(model.pool_, entry)
        assert set(model.predict(features)) <= set(model.classes_)


@pytest.mark.parametrize("confidence", ["high", 0.5, 1.0, True, float("nan")])
def test_a_confidence_that_is_none_is_refused(confidence):
    with pytest.raises(ParameterError, match="must be 'auto', None or a number"):
        FairAutoML(confidence=confidence).check_parameters()


@pytest.mark.parametrize("most", [1, -1, 2.5, True, False, None])
def test_an_ensemble_of_one_or_of_no_number_is_refused(most):
    with pytest.raises(ParameterError, match="at least 2, or 0 for a single trial"):
        FairAutoML(ensemble=most).check_parameters()


def mixtures(model):
    return [entry for entry in model.pool_.board.entries if entry.trial_key == MIXTURE]


@pytest.fixture(scope="module")
def at_random(individuals):
    return quick(mitigators=AT_RANDOM, ensemble=4).fit(*individuals, "sex")


def test_a_mixture_of_the_pool_is_offered_where_rules_may_decide_at_random(at_random, fitted):
    entries = mixtures(at_random)
    assert len(entries) > 3
    assert mixtures(fitted) == []
    for entry in entries:
        assert entry.config.learner == MIXTURE
        assert 0 < len(entry.members) <= 4
        assert sum(share for _, share in entry.members) == pytest.approx(1.0)


def test_a_served_mixture_gives_a_row_one_decision_in_any_company(individuals, at_random):
    X, _ = individuals
    entry = max(mixtures(at_random), key=lambda e: (e.rule.randomized, len(e.members)))
    assert entry.rule.randomized
    model = copy.copy(at_random)
    bags = {key: at_random.pool_.bags.get(key) for key in entry.sources}
    if None in bags.values():
        pytest.fail(f"models of {entry.sources} are not kept")
    model._serve(at_random.pool_, entry)
    decisions = model.predict(X)
    assert np.array_equal(model.predict(X.iloc[::-1])[::-1], decisions)
    assert np.array_equal(model.predict(X.iloc[:7]), decisions[:7])
    accepted = model.acceptance_proba(X)
    assert ((accepted == 0) | (accepted == 1) | entry.rule.randomized).all()
    assert (decisions[accepted == 1] == "yes").all()
    assert (decisions[accepted == 0] == "no").all()


def test_single_trials_ensemble_and_mixture_compete_by_cross_fitted_value(individuals):
    model = quick(mitigators=AT_RANDOM, confidence=None).fit(*individuals, "sex")
    offered = [e for e in model.pool_.board.entries if e.feasible]
    assert {"ensemble", MIXTURE} < {e.trial_key for e in offered}
    assert model.best_entry_.value == max(e.value for e in offered)


@pytest.mark.parametrize(
    "parameters",
    [{"ensemble": 0}, {"mitigators": ["group_thresholds"]}, {"objective": "roc_auc"}],
)
def test_there_is_no_mixture_that_was_not_requested(individuals, parameters):
    requested = {"mitigators": AT_RANDOM, "n_trials": 2, **parameters}
    assert mixtures(quick(**requested).fit(*individuals, "sex")) == []


def test_rows_of_few_individuals_ask_for_a_wider_margin():
    rng = np.random.default_rng(0)
    group = rng.choice(["a", "b"], 200)
    x = rng.normal(size=200) + np.where(group == "a", 0.8, -0.8)
    y = (x + 0.3 * rng.normal(size=200) > 0).astype(int)
    person = np.repeat(np.arange(200), 8)
    many = pd.DataFrame({"x": x[person], "z": rng.normal(size=1600)}), y[person], group[person]
    by_rows, by_individuals = (
        quick(
            "demographic_parity_difference <= 0.4",
            confidence=0.9,
            learners=["logistic_regression"],
            n_trials=2,
        ).fit(*many, groups=whose)
        for whose in (None, person)
    )
    margins = [model.summary_["margin"]["margin"] for model in (by_rows, by_individuals)]
    # Of 100 people a group a difference errs by .07, of 800 rows by .025.
    assert margins[0] < 0.06 < 0.08 < margins[1]
    assert sum(by_individuals.pool_.board.n_rows) == 200
    assert sum(by_rows.pool_.board.n_rows) == 1600
