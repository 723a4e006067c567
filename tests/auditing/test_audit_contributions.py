from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from audit_people import individuals, quick

from fairautoml.auditing import LinearRule
from fairautoml.auditing.contributions import contributions, mean_of, shapley_values
from fairautoml.exceptions import InputError, ParameterError

BLOCKS = {
    (): 0.0, (0,): 0.05, (1,): 0.12, (2,): 0.02, (0, 1): 0.15, (0, 2): 0.06, (1, 2): 0.1,
    (0, 1, 2): 0.18,
}  # fmt: skip
DUMMY = {
    (): 0.0, (0,): 0.1, (1,): 0.03, (2,): 0.0, (0, 1): 0.13, (0, 2): 0.1, (1, 2): 0.03,
    (0, 1, 2): 0.13,
}  # fmt: skip


def game(table):
    return lambda present: table[tuple(sorted(present))]


@pytest.mark.parametrize(
    ("table", "expected"),
    [(BLOCKS, [0.055, 0.11, 0.015]), (DUMMY, [0.1, 0.03, 0.0])],
    ids=["three_blocks", "dummy_and_additive"],
)
def test_shapley_values_give_the_known_answers(table, expected):
    found = shapley_values(3, game(table))
    assert found.values.tolist() == pytest.approx(expected, abs=1e-12)
    assert found.exact


# By order of the blocks fin, geo, job = 0, 1, 2: what each of them adds.
BY_ORDER = {
    (0, 1, 2): [0.05, 0.1, 0.03],
    (0, 2, 1): [0.05, 0.12, 0.01],
    (1, 0, 2): [0.03, 0.12, 0.03],
    (1, 2, 0): [0.08, 0.12, -0.02],
    (2, 0, 1): [0.04, 0.12, 0.02],
    (2, 1, 0): [0.08, 0.08, 0.02],
}


@pytest.mark.parametrize("order", BY_ORDER)
def test_every_single_order_adds_up_and_gives_the_known_answers(order):
    found = contributions(np.array(order), game(BLOCKS))
    assert found.sum() == pytest.approx(0.18, abs=1e-12)
    assert found.tolist() == pytest.approx(BY_ORDER[order], abs=1e-12)
    # In an additive game every order gives each block its own value, and a dummy 0.
    alone = contributions(np.array(order), game(DUMMY))
    assert alone.tolist() == pytest.approx([0.1, 0.03, 0.0], abs=1e-12)


def test_the_mean_over_all_orders_is_the_exact_value():
    rng = np.random.default_rng(0)
    table = {}

    def value(present):
        return table.setdefault(present, float(rng.normal()))

    exact = shapley_values(5, value).values
    orders = [contributions(np.array(order), value) for order in permutations(range(5))]
    assert exact.tolist() == pytest.approx(np.mean(orders, axis=0).tolist(), abs=1e-12)


def test_sampled_values_add_up_and_lie_within_their_errors():
    gains = np.arange(8) / 100

    def value(present):
        # Additive but for one pair, whose extra both share.
        return sum(gains[at] for at in present) + 0.1 * ({0, 1} <= present)

    found = shapley_values(8, value, seed=3)
    assert not found.exact
    truth = gains + np.array([0.05, 0.05, 0, 0, 0, 0, 0, 0])
    assert found.values.sum() == pytest.approx(truth.sum(), abs=1e-12)
    assert (np.abs(found.values - truth) <= 4 * found.standard_errors + 1e-12).all()
    assert shapley_values(8, value, seed=3).values.tolist() == found.values.tolist()


def test_the_gap_of_a_model_comes_from_the_feature_that_makes_it():
    rows = individuals(2000)
    rule = LinearRule(coefficients={"x1": 1.0, "x2": 1.0}, intercept=-0.5)
    found = quick(
        rows.y, rows.decision, rows.groups["sex"], X=rows.X, model=rule, blocks={}
    ).contributions
    share = {row.block: row.value for row in found.shares}
    assert (found.high, found.low, found.rate, found.exact) == ("M", "F", "selection", True)
    women = (rows.groups["sex"] == "F").to_numpy()
    assert found.total == pytest.approx(
        rows.decision[~women].mean() - rows.decision[women].mean(), abs=1e-12
    )
    assert sum(share.values()) == pytest.approx(found.total - found.without, abs=1e-12)
    assert share["x1"] == pytest.approx(found.total, abs=0.05)
    assert share["sex"] == 0.0


def test_a_gap_that_cannot_be_taken_apart_is_said_to_be_none():
    rows = individuals()
    rule = LinearRule(coefficients={"x1": 1.0, "x2": 1.0}, intercept=-0.5)
    found = quick(
        rows.y,
        rows.decision,
        rows.groups["sex"],
        X=rows.X,
        model=rule,
        blocks={},
        constraint="equalized_odds_to_overall <= 0.1",
    )
    assert found.contributions is None
    assert any(note.startswith("blocks: no gap was decomposed") for note in found.notes)


def test_categories_of_a_block_stay_categories():
    rows = individuals()
    X = rows.X.assign(job=pd.Categorical(np.where(rows.X["x1"] > 0, "clerk", "cook")))

    class Model:
        def predict(self, table):
            assert isinstance(table["job"].dtype, pd.CategoricalDtype)
            return (table["job"] == "clerk").to_numpy().astype(int)

    decision = Model().predict(X)
    found = quick(rows.y, decision, rows.groups["sex"], X=X, model=Model(), blocks={})
    assert "job" in {share.block for share in found.contributions.shares}


def test_columns_of_no_block_are_a_block_of_their_own():
    rows = individuals()
    rule = LinearRule(coefficients={"x1": 1.0, "x2": 1.0}, intercept=-0.5)
    found = quick(
        rows.y, rows.decision, rows.groups["sex"], X=rows.X, model=rule, blocks={"one": ["x1"]}
    ).contributions
    assert [row.columns for row in found.shares] == [("x1",), ("x2", "sex")]


def test_the_gap_of_the_constraint_is_the_one_that_is_taken_apart():
    rows = individuals()
    rule = LinearRule(coefficients={"x1": 1.0, "x2": 1.0}, intercept=-0.5)
    found = quick(
        rows.y,
        rows.decision,
        rows.groups,
        X=rows.X,
        model=rule,
        blocks={},
        constraint="equal_opportunity_difference[race] <= 0.1",
    ).contributions
    assert (found.system, found.rate) == ("race", "tpr")


def test_blocks_that_cannot_be_are_refused():
    rows = individuals()
    rule = LinearRule(coefficients={"x1": 1.0, "x2": 1.0}, intercept=-0.5)
    requested = {"X": rows.X, "model": rule}
    for blocks in ({"a": ["x9"]}, {"a": ["x1"], "b": ["x1"]}):
        with pytest.raises(InputError, match="each in one block"):
            quick(rows.y, rows.decision, rows.groups["sex"], blocks=blocks, **requested)
    with pytest.raises(ParameterError, match="blocks= needs model="):
        quick(rows.y, rows.decision, rows.groups["sex"], blocks={})


def test_decisions_of_another_model_are_refused():
    rows = individuals()
    rule = LinearRule(coefficients={"x1": -1.0})
    with pytest.raises(InputError, match="differ in"):
        quick(rows.y, rows.decision, rows.groups["sex"], X=rows.X, model=rule, blocks={})


def test_the_callers_table_stays_as_it_is():
    rows = individuals()
    before = rows.X.copy()
    rule = LinearRule(coefficients={"x1": 1.0, "x2": 1.0}, intercept=-0.5)
    quick(rows.y, rows.decision, rows.groups, X=rows.X, model=rule, blocks={}, noise=0.1)
    pd.testing.assert_frame_equal(rows.X, before)


def test_the_error_of_a_few_permutations_is_stated_though_all_orders_were_computed():
    games = [
        shapley_values(2, game({(): 0.0, (0,): a, (1,): 0.1, (0, 1): 0.3})) for a in (0.1, 0.2)
    ]
    found = mean_of(games)
    assert found.exact
    assert found.values.tolist() == pytest.approx([0.175, 0.125])
    assert found.standard_errors.tolist() == pytest.approx([0.025, 0.025])
