import pickle

import numpy as np
import pytest

from fairautoml.search.space import Choice, Condition, Integer, ParamSpace, Real, SearchSpace


@pytest.fixture
def space():
    return ParamSpace(
        name="toy",
        ranges={
            "kind": Choice(values=("plain", "goss"), default="plain"),
            "rate": Real(low=0.1, high=0.5, default=0.2),
            "freq": Choice(values=(0, 1), default=1),
            "depth": Integer(low=1, high=9, default=3),
        },
        conditions={
            "rate": Condition(param="kind", values=("goss",)),
            "freq": Condition(param="kind", values=("plain",)),
            "depth": Condition(param="freq", values=(1,)),
        },
    )


def test_walk_asks_only_for_active_parameters_in_file_order(space):
    requested = []

    def suggest(param, allowed):
        requested.append(param)
        return "goss" if param == "kind" else allowed.default

    assert space.walk(suggest) == {"kind": "goss", "rate": 0.2}
    assert requested == ["kind", "rate"]


def test_a_parameter_whose_condition_is_itself_inactive_is_inactive(space):
    params = space.walk(lambda p, allowed: "goss" if p == "kind" else allowed.default)
    assert "depth" not in params


def test_the_defaults_are_a_point_of_the_space(space):
    assert space.defaults() == {"kind": "plain", "freq": 1, "depth": 3}
    assert space.contains(space.defaults())


def test_every_sampled_point_is_contained_and_both_branches_occur(space):
    rng = np.random.default_rng(0)
    points = [space.sample(rng) for _ in range(50)]
    assert all(space.contains(point) for point in points)
    assert {point["kind"] for point in points} == {"plain", "goss"}


@pytest.mark.parametrize(
    "params",
    [
        {"kind": "plain", "freq": 1},
        {"kind": "goss", "rate": 0.2, "freq": 1},
        {"kind": "goss", "rate": 0.9},
        {"kind": "other"},
        {"kind": "goss", "rate": 0.2, "new": 1},
        {"kind": "plain", "freq": True, "depth": 3},
        {},
    ],
    ids=["missing", "inactive", "outside", "choice", "unknown", "type", "empty"],
)
def test_an_incomplete_or_wrong_point_is_not_contained(space, params):
    assert not space.contains(params)


def test_a_space_without_parameters_has_one_empty_point():
    assert ParamSpace(name="none").defaults() == {}
    assert ParamSpace(name="none").contains({})


def test_spaces_can_be_sent_to_a_worker(space):
    whole = SearchSpace(learners={"toy": space})
    assert pickle.loads(pickle.dumps(whole)) == whole


def test_a_search_space_offers_codes_and_no_mitigation_unless_set_otherwise(space):
    whole = SearchSpace(learners={"toy": space})
    assert whole.encodings == ("codes",)
    assert whole.mitigations["none"].defaults() == {}
