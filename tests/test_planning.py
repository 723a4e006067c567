from fairautoml.planning import first_candidates
from fairautoml.spaces import ParamSpace, SearchSpace, load_space

LEARNERS = {name: load_space("learners", name) for name in ("lightgbm", "logistic_regression")}


def test_the_portfolio_comes_first_and_every_learner_has_its_turn():
    found = first_candidates(SearchSpace(learners=LEARNERS))
    assert {candidate.learner for candidate in found} == set(LEARNERS)
    assert {candidate.mitigation for candidate in found} == {"none"}
    assert len({candidate.key for candidate in found}) == len(found)


def test_a_cheap_mitigation_of_the_space_is_tried_early_and_a_costly_one_is_not():
    names = ("reweighing", "exponentiated_gradient")
    spaces = {name: load_space("mitigators", name) for name in names}
    spaces = {"none": ParamSpace(name="none"), **spaces}
    found = first_candidates(SearchSpace(learners=LEARNERS, mitigations=spaces))
    assert [candidate.mitigation for candidate in found[:3]] == ["none", "reweighing", "none"]
    assert found[1].params == found[0].params
    assert "exponentiated_gradient" not in {candidate.mitigation for candidate in found}
