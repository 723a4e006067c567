import numpy as np
import pandas as pd
import pytest

from fairautoml.bench.peers import Offer, Question
from fairautoml.cli.peer import at_gaps
from fairautoml.data.groups import fit_groups
from fairautoml.metrics import Constraint
from fairautoml.threads import threads
from peers._boosted import (
    FEW_ROWS,
    HELD,
    Codes,
    lightgbm_of,
    parts_of,
    random_search,
)


def requested(n_rows):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"group": rng.choice(["a", "b"], n_rows), "x": rng.random(n_rows)})
    schema, _ = fit_groups(table[["group"]], n_rows=n_rows)
    return Question(
        X=table,
        y=(table["x"] > 0.5).to_numpy(dtype=np.int8),
        groups=schema,
        constraints=(Constraint.parse("demographic_parity_difference<=0.05"),),
        seconds=None,
        n_trials=2,
        seed=0,
    )


def test_few_rows_are_compared_on_folds_and_many_on_a_quarter():
    few, many = (requested(n) for n in (300, FEW_ROWS))
    folds, quarter = (parts_of(one, Codes(one.X)) for one in (few, many))
    assert sorted(folds.compared.tolist()) == list(range(300))
    assert len(quarter.splits) == 1
    assert len(quarter.compared) == pytest.approx(HELD * FEW_ROWS, abs=4)
    for parts in (folds, quarter):
        for learned, held in parts.splits:
            assert not set(learned.tolist()) & set(held.tolist())
            assert len(learned) + len(held) == len(parts.y)


def test_what_was_compared_is_served_and_nothing_is_trained_again():
    question, trained = requested(300), []

    def train(parts, rows, rng):
        cut = len(trained) % 2  # every second model accepts everybody
        trained.append(len(rows))
        return [lambda X: (X[:, 1] > 0.5 * cut).astype(float)]

    answer = random_search(question, Codes(question.X), train, learner="rule")
    assert len(trained) == 2 * 5
    first, second = answer.offers
    decided = [one.decide(question.X).mean() for one in (first, second)]
    assert len(trained) == 2 * 5
    # Of five models three accept everybody in the first trial, and two in the second one.
    assert decided[0] == 1.0
    assert decided[1] == pytest.approx(question.y.mean())


def test_lightgbm_is_reported_which_columns_are_categories():
    table = pd.DataFrame({"x": np.arange(400.0), "kind": ["p", "q", "r", "s"] * 100})
    codes = Codes(table)
    y = table["kind"].isin(["p", "r"]).to_numpy().astype(int)
    model = lightgbm_of(codes, {"n_estimators": 1, "min_child_samples": 5})
    model.fit(codes.matrix(table), y)
    assert "==" in {
        node["decision_type"] for node in _splits(model.booster_.dump_model()["tree_info"])
    }


def test_lightgbm_uses_the_cores_of_the_question():
    codes = Codes(pd.DataFrame({"x": [0.0, 1.0]}))
    assert lightgbm_of(codes, {}).n_jobs == 1
    with threads(2):
        assert lightgbm_of(codes, {}).n_jobs == 2


def _splits(trees):
    waiting = [tree["tree_structure"] for tree in trees]
    while waiting:
        node = waiting.pop()
        if "decision_type" in node:
            yield node
            waiting += [node["left_child"], node["right_child"]]


def test_the_points_of_a_front_are_what_would_be_chosen_for_each_gap():
    front = [
        Offer(
            decide=lambda X: np.zeros(len(X)), learner="rule", score=score, gap=gap,
            feasible=True, seconds=1.0,
        )
        for score, gap in ((0.7, 0.005), (0.8, 0.025), (0.81, 0.035), (0.82, 0.038), (0.9, 0.12))
    ]  # fmt: skip
    assert [one.score for one in at_gaps(front)] == [0.7, 0.8, 0.82, 0.9]
    assert at_gaps(()) == ()
