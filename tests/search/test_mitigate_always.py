from allocator_cases import Asking, terms

from fairautoml.records import Config, Origin
from fairautoml.search.allocators.mitigate_always import MitigateAlways


def test_all_but_the_baseline_are_mitigated_in_turn():
    allocator, ask = MitigateAlways(terms(5.0, 7.0)), Asking()
    trials = [allocator.next_trial(ask, number=n, seconds_left=None) for n in range(4)]
    found = [trial.config.mitigation for trial in trials]
    assert found == ["none", "costly0", "costly1", "costly0"]
    assert {trial.origin for trial in trials} == {Origin.SEARCH}


def test_a_candidate_keeps_the_mitigation_it_brings():
    own = Config(learner="fake", mitigation="reweighing")
    trial = MitigateAlways(terms(5.0)).next_trial(lambda: own, number=3, seconds_left=1.0)
    assert trial.config == own


def test_without_costly_mitigations_it_is_flat():
    trial = MitigateAlways(terms()).next_trial(Asking(), number=3, seconds_left=1.0)
    assert trial.config.mitigation == "none"
