from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairautoml.metrics.groups import GroupSystem
from fairautoml.mitigators._group_program import CommonRule, Step, ThresholdRule
from fairautoml.records import (
    Assessment,
    Config,
    ConstraintResult,
    Entry,
    Status,
    best_of,
    order,
    pareto_front,
)
from fairautoml.selection.leaderboard import Leaderboard

SEX = GroupSystem(name="sex", labels=("f", "m"), of_cell=np.array([0, 1], dtype=np.int32))
COUNTS = np.array([[[40.0, 10.0], [20.0, 30.0]], [[30.0, 20.0], [10.0, 40.0]]])


def entry(score=0.8, gap=0.02, *, limit=0.05, number=0, rises=True, **other):
    measure = ConstraintResult(
        metric="demographic_parity_difference",
        system="sex",
        value=None if np.isinf(gap) else gap,
        gap=gap,
        limit=limit,
        reason="a group has no rows" if np.isinf(gap) else "",
    )
    fields = {
        "trial_key": f"{number:05d}-x",
        "trial_number": number,
        "config": Config(learner="lightgbm"),
        "mitigator": "common_threshold",
        "tolerance": 0.05,
        "rule": CommonRule(threshold=0.5),
        "score": score,
        "value": score if rises else -score,
        "measures": (measure,),
        "counts": COUNTS,
        "deployed": COUNTS,
        "constant": False,
        "seconds": 1.0,
    }
    return Entry(**{**fields, **other})


def board(*entries, objective="accuracy"):
    return Leaderboard(
        entries=entries, systems=(SEX,), objective=objective, n_rows=np.array([100.0, 100.0])
    )


def with_recall(score, gap, recall):
    """An entry under a bound on a gap and a recall of at least 0.6."""
    minimum = ConstraintResult(
        metric="minimum_recall", system="sex", value=recall, gap=1 - recall, limit=0.4,
        is_minimum=True,
    )  # fmt: skip
    made = entry(score, gap)
    return replace(made, measures=(*made.measures, minimum))


def test_a_minimum_beside_a_gap_is_not_part_of_the_largest_gap():
    """A rate is no gap: it decides feasibility, and select keeps to it."""
    fair, unfair = with_recall(0.7, 0.03, 0.7), with_recall(0.8, 0.02, 0.5)
    assert (fair.gap, unfair.gap) == (0.03, 0.02)
    assert fair.meets
    assert not unfair.meets
    assert (fair.below_minimum, unfair.below_minimum) == (False, True)
    found = board(fair, unfair)
    assert found.select(max_gap=0.05, min_score=None, trials={fair.trial_key}) is fair
    assert found.select(max_gap=0.02, min_score=None, trials={fair.trial_key}) is None
    assert "minimum_recall[sex]: 0.5000, at least 0.6" in repr(unfair)


def test_the_gap_under_minimums_alone_is_one_minus_the_smallest_rate():
    """Then select takes it as the gap."""
    alone = replace(with_recall(0.8, 0.0, 0.5), measures=with_recall(0.8, 0.0, 0.5).measures[1:])
    assert (alone.gap, alone.below_minimum) == (0.5, False)


def test_feasible_entries_come_first_and_one_decision_for_all_comes_last():
    best = entry(0.8, 0.01)
    second = entry(0.7, 0.05)
    nearly = entry(0.9, 0.06)
    far = entry(0.95, 0.3)
    unknown = entry(0.99, np.inf)
    constant = entry(0.97, 0.0, constant=True)
    found = order([constant, unknown, far, nearly, second, best])
    assert [id(e) for e in found] == [
        id(e) for e in (best, second, nearly, far, unknown, constant)
    ]


def test_an_undefined_metric_is_never_feasible():
    assert not entry(0.99, np.inf).feasible
    assert best_of([entry(0.99, np.inf), entry(0.5, 0.04)]).score == 0.5


def test_without_constraints_one_decision_for_all_counts_like_any_other():
    one_group = entry(0.9, constant=True, measures=())
    assert one_group.feasible
    assert best_of([entry(0.8, measures=()), one_group]) is one_group


def test_nothing_has_no_best_entry():
    assert best_of([]) is None


ENTRIES = st.lists(
    st.builds(
        entry,
        st.sampled_from([0.5, 0.6, 0.7, 0.8]),
        st.sampled_from([0.0, 0.01, 0.05, 0.1, np.inf]),
        number=st.integers(0, 3),
        constant=st.booleans(),
        mitigator=st.sampled_from(["none", "common_threshold"]),
        tolerance=st.sampled_from([None, 0.0, 0.1]),
    ),
    max_size=12,
)


def what(entries):
    return [
        (e.value, e.gap, e.constant, e.trial_number, e.mitigator, e.tolerance) for e in entries
    ]


@given(entries=ENTRIES, seed=st.integers(0, 99))
def test_no_order_depends_on_the_order_of_the_entries(entries, seed):
    shuffled = [entries[i] for i in np.random.default_rng(seed).permutation(len(entries))]
    assert what(order(shuffled)) == what(order(entries))
    assert what(pareto_front(shuffled)) == what(pareto_front(entries))


def dominates(one, other):
    at_least = one.value >= other.value and one.known_excess <= other.known_excess
    return at_least and (one.value > other.value or one.known_excess < other.known_excess)


def choices(entries):
    real = [e for e in entries if not (e.constant and e.measures)] or entries
    fewest = min((e.n_undefined for e in real), default=0)
    return [e for e in real if e.n_undefined == fewest]


def at(entry):
    return entry.known_excess, entry.value


def test_an_undefined_gap_does_not_hide_the_defined_ones():
    def mixed(score, gap):
        known = entry(gap=gap).measures
        return entry(score, measures=(*entry(gap=np.inf).measures, *known))

    unfair, fairer, fair = mixed(0.9, 0.4), mixed(0.8, 0.07), mixed(0.7, 0.02)
    assert order([unfair, fairer, fair]) == [fair, fairer, unfair]
    assert pareto_front([unfair, fairer, fair]) == [fair, fairer, unfair]
    assert not fair.feasible


def test_an_objective_on_scores_leaves_the_choice_to_accuracy_within_the_bound():
    better = np.array([[[45.0, 5.0], [10.0, 40.0]], [[40.0, 10.0], [5.0, 45.0]]])
    strict, accurate = entry(0.9, 0.0), entry(0.9, 0.04, counts=better)
    assert order([strict, accurate]) == [accurate, strict]


@given(entries=ENTRIES)
def test_the_pareto_front_holds_exactly_the_choices_that_no_other_dominates(entries):
    front = pareto_front(entries)
    points = {at(e) for e in front}
    real = choices(entries)
    assert points == {at(e) for e in real if not any(dominates(o, e) for o in real)}
    assert len(front) == len(points)


@given(entries=ENTRIES)
def test_the_pareto_front_goes_from_the_fairest_to_the_best_objective(entries):
    front = pareto_front(entries)
    assert [e.known_excess for e in front] == sorted(e.known_excess for e in front)
    assert [e.value for e in front] == sorted(e.value for e in front)


KEPT = {"00000-x", "00001-x"}
FAIR, GOOD, ELSEWHERE = entry(0.7, 0.01), entry(0.9, 0.2, number=1), entry(0.99, 0.0, number=2)
CONSTANT = entry(0.75, 0.0, constant=True)


@pytest.mark.parametrize(
    ("max_gap", "min_score", "expected"),
    [
        (0.05, None, FAIR),
        (0.2, None, GOOD),
        (None, None, GOOD),
        (None, 0.6, FAIR),
        (None, 0.8, GOOD),
        (0.05, 0.65, FAIR),
        (0.05, 0.8, None),
        (0.0, None, CONSTANT),
        (None, 0.95, None),
    ],
)
def test_select_serves_other_settings_from_the_trials_that_are_kept(max_gap, min_score, expected):
    shown = board(FAIR, GOOD, ELSEWHERE, CONSTANT)
    assert shown.select(max_gap=max_gap, min_score=min_score, trials=KEPT) is expected


@pytest.mark.parametrize("perfect", [0.0, 0.2])
def test_the_least_score_is_a_largest_one_where_less_is_better(perfect):
    good, bad = entry(perfect, 0.03, rises=False), entry(0.6, 0.01, rises=False, number=1)
    shown = board(good, bad, objective="log_loss")
    assert shown.select(max_gap=None, min_score=0.5, trials=KEPT) is good
    assert shown.select(max_gap=None, min_score=0.7, trials=KEPT) is bad


def test_the_table_has_a_row_per_entry_in_order():
    table = board(entry(0.7, 0.2), entry(0.8, 0.01, number=1)).frame()
    assert table.columns.tolist() == [
        "rank",
        "feasible",
        "status",
        "probability",
        "accuracy",
        "gap",
        "gap_low",
        "gap_high",
        "learner",
        "encoding",
        "mitigation",
        "mitigator",
        "tolerance",
        "needs_sensitive",
        "sensitive_read_by",
        "constant",
        "trial",
        "n_models",
        "seconds",
        "demographic_parity_difference[sex]",
        "rule",
    ]
    assert table["rank"].tolist() == [1, 2]
    assert table["feasible"].tolist() == [True, False]
    assert table["trial"].tolist() == [1, 0]


def test_the_table_says_what_of_an_entry_reads_the_sensitive_columns():
    steps = ((Step(threshold=0.4),), (Step(threshold=0.5),))
    rule = ThresholdRule(steps=steps, labels=("f", "m"), group_of_cell=(0, 1), neutral=0.5)
    trained, mixed = entry(number=1), entry(members=(("00000-x", 0.5), ("00001-x", 0.5)))
    entries = (entry(), entry(rule=rule), trained, mixed)
    shown = replace(board(*entries), readers=frozenset({trained.trial_key}))
    found = [shown.sensitive_read_by(one) for one in entries]
    assert found == ["nothing", "rule", "models", "models"]
    assert [shown.asks_groups(one) for one in entries] == [(), ("rule",), *[("models",)] * 2]
    aware = replace(shown, sensitive_features=("sex",)).frame()
    expected = ["features", "models + features", "models + features", "rule + features"]
    assert sorted(aware["sensitive_read_by"]) == expected
    assert aware["needs_sensitive"].sum() == 1


def test_the_rows_of_the_front_keep_their_ranks():
    shown = board(entry(0.7, 0.2), entry(0.8, 0.01, number=1), entry(0.9, 0.02, number=2))
    front = shown.front_of(shown.frame())
    assert front["trial"].tolist() == [1, 2]
    assert front["rank"].tolist() == [2, 1]


def test_what_is_served_comes_first_and_the_others_keep_their_order():
    better, served, worse = entry(0.8, 0.01), entry(0.7, 0.01, number=1), entry(0.6, 0.01)
    shown = Leaderboard(
        entries=(worse, better, served),
        systems=(SEX,),
        objective="accuracy",
        n_rows=np.array([100.0, 100.0]),
        served=served,
    )
    assert shown.frame()["accuracy"].tolist() == [0.7, 0.8, 0.6]
    assert shown.pareto_front() == (better,)


def test_an_ensemble_can_be_selected_where_all_its_members_are_kept():
    mixed = entry(0.9, 0.01, trial_key="ensemble", members=(("00000-x", 0.5), ("00001-x", 0.5)))
    shown = board(entry(0.7, 0.01), mixed)
    whole = shown.select(max_gap=0.05, min_score=None, trials={"00000-x", "00001-x"})
    assert whole is mixed
    partly = shown.select(max_gap=0.05, min_score=None, trials={"00000-x"})
    assert partly.score == 0.7
    assert shown.frame()["n_models"].tolist() == [2, 1]


def test_undefined_values_are_missing_in_the_table():
    table = board(entry(0.7, np.inf)).frame()
    columns = ["gap", "gap_low", "gap_high", "demographic_parity_difference[sex]"]
    assert table[columns].isna().all(axis=None)


def test_status_probability_and_interval_are_those_of_the_assessment():
    assessment = Assessment(
        status=Status.UNSURE, reason="few rows", probability=0.4, gap_interval=(0.01, 0.09)
    )
    assessed, other = entry(0.7, 0.02, assessment=assessment), entry(0.6, 0.02, number=1)
    first, last = board(assessed, other).frame().sort_values("trial").to_dict("records")
    assert not first["feasible"]
    assert first["status"] == "unsure"
    assert first["probability"] == 0.4
    assert (first["gap_low"], first["gap_high"]) == (0.01, 0.09)
    assert board(other).gap_interval(other) == (None, None)
    assert pd.isna(last["status"])


def test_without_constraints_there_is_no_gap_to_bound():
    free = entry(0.7, measures=())
    assert board(free).gap_interval(free) == (None, None)
    assert board(free).frame()[["gap", "feasible"]].isna().all(axis=None)
