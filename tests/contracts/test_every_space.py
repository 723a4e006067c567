from pathlib import Path

import pytest

from fairautoml.learners import LEARNERS
from fairautoml.search.space import SearchSpace
from fairautoml.search.space_files import (
    find_space,
    load_space,
    read_param_space,
    read_portfolio,
)
from fairautoml.testing import check_space


def files(folder):
    _, origin = find_space("learners", "lightgbm")
    return sorted((Path(origin).parents[1] / folder).glob("*.yaml"), key=lambda file: file.name)


ALL = [(kind, file) for kind in ("learners", "mitigators") for file in files(kind)]


@pytest.mark.parametrize(("kind", "file"), ALL, ids=[f"{kind}-{file.stem}" for kind, file in ALL])
def test_every_space_file_keeps_the_contract(kind, file):
    check_space(file.stem, load_space(kind, file.stem))


@pytest.mark.parametrize("name", LEARNERS.names())
def test_every_learner_has_a_space_that_keeps_the_contract(name):
    check_space(name, load_space("learners", name, LEARNERS.get(name).space))


def test_every_learner_space_belongs_to_a_learner():
    assert {file.stem for file in files("learners")} <= set(LEARNERS.names())


@pytest.mark.parametrize("file", files("portfolios"), ids=lambda file: file.stem)
def test_every_portfolio_keeps_all_its_members_when_all_learners_are_there(file):
    whole = SearchSpace(
        learners={name: load_space("learners", name) for name in LEARNERS.names()},
        encodings=("codes", "target"),
    )
    text, origin = find_space("portfolios", file.stem)
    members = read_portfolio(text, origin, whole)
    assert len(members) == text.count("learner:") > 0
    assert all(whole.learners[m.learner].contains(m.params) for m in members)


def test_a_space_whose_name_is_not_its_learners_breaks_the_contract():
    space = read_param_space("params: {}", "x.yaml", "other")
    with pytest.raises(AssertionError, match="the space of tree is called 'other'"):
        check_space("tree", space)
