from copy import copy

import pytest

from fairautoml import FairAutoML
from fairautoml.cli.tables import open_source
from fairautoml.cli.text import GAPS, held_front
from fairautoml.data import load
from fairautoml.data.schema import Roles
from fairautoml.exceptions import InputError


@pytest.fixture(scope="module")
def held():
    return open_source("lending", Roles(target=None, sensitive=("sex",))).draw(600, 1)


@pytest.fixture(scope="module")
def model():
    individuals = load("lending").frame.iloc[:1500]
    return FairAutoML("demographic_parity_difference <= 0.05", n_trials=5, random_state=0).fit(
        individuals.drop(columns="repaid"), individuals["repaid"], "sex"
    )


@pytest.mark.filterwarnings("ignore:Only a constant predictor")
def test_the_front_is_what_select_serves_on_the_held_out_rows(model, held):
    expected = []
    for gap in GAPS:
        try:
            judged = held.judge(model.select(max_gap=gap))
        except InputError:
            continue
        point = [judged["accuracy"], judged["gap"]]
        if point not in expected:
            expected.append(point)
    found = held_front(model, held)
    assert len(found) > 1
    assert [point for at, point in enumerate(found) if point not in found[:at]] == expected


def test_every_model_scores_the_held_out_rows_once(model, held):
    calls = []

    class Counted:
        def __init__(self, key, bag):
            self.key, self.bag = key, bag

        def scores(self, X, cells):
            calls.append(self.key)
            return self.bag.scores(X, cells)

    counting = copy(model)
    bags = {key: Counted(key, bag) for key, bag in model.pool_.bags.items()}
    counting.pool_ = copy(model.pool_)
    object.__setattr__(counting.pool_, "bags", bags)
    assert len(held_front(counting, held)) > 1
    assert calls
    assert sorted(calls) == sorted(set(calls))
