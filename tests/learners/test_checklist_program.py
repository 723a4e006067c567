import numpy as np
import pytest
from checklist_cases import (
    fewest_mistakes,
    fitted,
    gaps_of,
    measured,
    rows_of,
    seeded,
    sixty_by_seven,
)

from fairautoml.exceptions import DegenerateGroupError, InputError
from fairautoml.learners import checklist
from fairautoml.learners.checklist import NoChecklistError, RateGap, Shape, fit_checklist
from fairautoml.metrics.rates import RATES


@pytest.mark.parametrize(
    ("rates", "mistakes"), [((), 9), (("tpr",), 14), (("tpr", "fpr"), 22)], ids=str
)
def test_the_optimum_is_the_known_one(rates, mistakes):
    table, y, groups = sixty_by_seven()
    found = fitted(table, y, gaps_of(groups, rates, 0.02))
    assert found.mistakes == mistakes
    assert found.optimal
    assert found.gap == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("y", "mistakes", "required"),
    [((0, 1, 1, 1), 0, 1), ((0, 0, 0, 1), 0, 2), ((0, 1, 1, 0), 1, 1)],
    ids=["boolean-or", "boolean-and", "boolean-xor"],
)
def test_or_and_are_learned_and_xor_cannot_be(y, mistakes, required):
    table = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    found = fitted(table, np.array(y))
    assert found.mistakes == mistakes
    assert found.required == required
    assert found.optimal


# Known answer: two_sided_twelve_seeds.
TWELVE = (12, 20, 10, 6, 11, 14, 19, 17, 10, 16, 14, 11)


@pytest.mark.parametrize("seed", range(0, 12, 3))
def test_a_gap_is_kept_by_the_decisions_and_not_on_paper(seed):
    table, y, groups = seeded(seed)
    gaps = gaps_of(groups, ("tpr",), 0.02)
    found = fitted(table, y, gaps)
    assert found.mistakes == TWELVE[seed]
    assert measured(found.accepts(table), y, gaps[0]) <= 0.02
    assert found.optimal


@pytest.mark.parametrize(
    ("rate", "form", "limit"),
    [
        ("selection", "difference", 0.1),
        ("accuracy", "difference", 0.1),
        ("selection", "ratio", 0.1),
        ("tpr", "ratio", 0.1),
        ("fpr", "ratio", 0.3),
        ("fpr", "ratio", 1.0),
    ],
)
@pytest.mark.parametrize("seed", [1, 5])
def test_three_weighted_groups_reach_what_exhaustive_search_reaches(rate, form, limit, seed):
    table, y, _ = seeded(seed)
    table, groups = table[:, :5], np.arange(60) % 4 - 1
    weight = np.random.default_rng(seed).integers(1, 4, 60).astype(float)
    gaps = gaps_of(groups, (rate,), limit, form)
    expected = fewest_mistakes(table, y, gaps, weight)
    found = fitted(table, y, gaps, weight=weight, most=5)
    assert found.mistakes == pytest.approx(expected)
    assert found.optimal


def test_the_solver_alone_finds_the_optimum_that_the_descents_miss(monkeypatch):
    monkeypatch.setattr("fairautoml.learners.checklist.descend", lambda *_, **__: None)
    table, y, groups = sixty_by_seven()
    found = fitted(table, y, gaps_of(groups, ("tpr",), 0.02), most=5)
    assert found.mistakes == 14
    assert found.optimal


def test_weight_two_is_the_row_twice():
    table, y, _ = seeded(3)
    weight = np.random.default_rng(0).integers(0, 4, 60)
    twice = np.repeat(np.arange(60), weight)
    weighted = fitted(table, y, weight=weight.astype(float))
    repeated = fitted(table[twice], y[twice])
    assert weighted.items == repeated.items
    assert weighted.required == repeated.required
    assert weighted.mistakes == repeated.mistakes


def test_the_unit_of_the_weights_changes_nothing():
    table, y, _ = seeded(3)
    small, large = (fitted(table, y, weight=np.full(60, unit)) for unit in (1e-6, 1e6))
    assert small.items == large.items
    assert small.optimal
    assert large.optimal


def test_of_equal_mistakes_the_shorter_list_is_taken():
    table = np.array([[1, 1, 1], [1, 1, 0], [0, 0, 1], [0, 0, 0]])
    found = fitted(table, np.array([1, 1, 0, 0]))
    assert found.describe() == "at least 1 of 1: x0 >= 1"


def test_balanced_costs_do_not_give_up_a_rare_label():
    rng = np.random.default_rng(0)
    y = (np.arange(400) % 20 == 0).astype(int)
    table = (rng.random((400, 3)) < np.where(y == 1, 0.7, 0.25)[:, None]).astype(int)
    plain, balanced = (fitted(table, y, cost=cost) for cost in ("errors", "balanced"))
    found = [checklist.accepts(table)[y == 1].mean() for checklist in (plain, balanced)]
    assert found[0] < 0.5 < found[1]


def test_when_time_is_up_the_best_list_so_far_comes_with_its_gap():
    rng = np.random.default_rng(0)
    table = rng.integers(0, 2, (300, 40))
    y = rng.integers(0, 2, 300)
    groups = rng.integers(0, 2, 300)
    gaps = gaps_of(groups, ("tpr", "fpr"), 0.05)
    found = fitted(table, y, gaps, most=5, seconds=0.05)
    assert not found.optimal
    assert 0 < found.gap <= 1
    assert all(measured(found.accepts(table), y, gap) <= 0.05 for gap in gaps)
    assert found.mistakes < 150


def test_a_program_too_large_for_the_solver_is_left_to_the_descents(monkeypatch):
    monkeypatch.setattr(checklist, "MOST_ENTRIES", -1)
    monkeypatch.setattr(checklist, "milp", None)
    table, y, _ = sixty_by_seven()
    found = fitted(table, y)
    assert found.mistakes == 9
    assert not found.optimal


def test_limits_that_no_list_meets_are_named():
    table = np.array([[0], [1], [0], [1]])
    y, groups = np.array([0, 1, 0, 0]), np.array([0, 0, 1, 1])
    gaps = gaps_of(groups, ("accuracy",), 0.1)
    with pytest.raises(
        NoChecklistError, match=r"at most 1 items, at most 1 required has accuracy"
    ):
        fitted(table, y, gaps)


def test_a_list_not_found_in_time_is_reported_with_what_the_solver_said(monkeypatch):
    monkeypatch.setattr("fairautoml.learners.checklist.descend", lambda *_, **__: None)
    table, y, groups = sixty_by_seven()
    with pytest.raises(NoChecklistError, match=r"found in 1e-09 s \(the solver: not begun"):
        fitted(table, y, gaps_of(groups, ("tpr",), 0.02), seconds=1e-9)


def test_a_group_without_the_rows_of_a_rate_is_left_out_of_it():
    table, y, groups = sixty_by_seven()
    third = np.where((np.arange(60) % 3 == 0) & (y == 0), 2, groups)
    gap = RateGap(
        name="tpr", groups=third, n_groups=4, rate=RATES["tpr"], form="difference", limit=0.02
    )
    assert fitted(table, y, (gap,)).mistakes == 14


def test_limits_on_a_single_group_are_refused():
    table, y, groups = sixty_by_seven()
    with pytest.raises(DegenerateGroupError, match="fewer than two groups have rows for tpr"):
        fitted(table, y, gaps_of(np.zeros_like(groups), ("tpr",), 0.02))


@pytest.mark.parametrize("weight", [np.array([1.0, 0.0]), np.zeros(2)])
def test_rows_of_one_label_are_refused(weight):
    with pytest.raises(InputError, match="needs rows of both labels with weight, found"):
        fit_checklist(*rows_of([[0], [1]], [0, 1], weight), Shape())


def test_the_same_seed_gives_the_same_list():
    table, y, groups = seeded(7)
    gaps = gaps_of(groups, ("fpr",), 0.05)
    first, second = (fitted(table, y, gaps) for _ in range(2))
    assert first.items == second.items
    assert np.array_equal(first.log_odds, second.log_odds)
