import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from admm_cases import FIXED, GBM, LOSS, MEMBERS, RIDGE, SPACE, TINY, failed, place, scored

from fairautoml import FairAutoML
from fairautoml.plan import AUTO_STRATEGY
from fairautoml.records import Config, Fidelity, TrialState
from fairautoml.search.loop import Proposals
from fairautoml.search.space import Integer, ParamSpace, SearchSpace
from fairautoml.search.strategies._admm import (
    Arms,
    Bandit,
    HalfLocal,
    Splitting,
    Start,
    UnitHypercube,
)
from fairautoml.search.strategies.admm import ADMM, origins_of, outcome_of


def ask_all(strategy):
    """Ask until the strategy waits."""
    found = []
    while (config := strategy.ask()) is not None:
        found.append(config)
    return found


ONE_START = Splitting(evaluations=6, growth=3, most=10, pulls=4, starts=1)


def test_the_first_candidates_come_first_and_verbatim_also_one_outside_the_space():
    first = (*MEMBERS, Config(learner="unknown"))
    strategy = ADMM(SPACE, 0, first)
    assert [strategy.ask().key for _ in first] == [one.key for one in first]
    strategy.tell(scored(first[-1]))
    assert strategy.ask().learner in SPACE.learners


def test_starts_follow_the_first_candidates_then_the_order_of_the_space():
    cube = UnitHypercube(SPACE)
    origins = origins_of(cube, MEMBERS)
    assert [one.arms for one in origins] == [
        Arms("ridge", "target", "none"),
        Arms("gbm", "codes", "reweighing"),
        Arms("fixed", "codes", "none"),
    ]
    assert [one.config.key for one in origins[:2]] == [MEMBERS[0].key, MEMBERS[1].key]
    assert [one.arms.learner for one in origins_of(cube, ())] == ["gbm", "ridge", "fixed"]


def test_the_rest_of_a_phase_may_be_requested_and_the_next_phase_waits_for_its_results():
    strategy = ADMM(SPACE, 0, (), ONE_START)
    phase = ask_all(strategy)
    assert len(phase) == 6
    assert {one.learner for one in phase} == {"gbm"}
    assert phase[0].params == GBM.defaults()
    for config in phase[1:]:
        strategy.tell(scored(config, gap=(0.1,), limit=(0.05,)))
        assert strategy.ask() is None
    strategy.tell(scored(phase[0], gap=(0.1,), limit=(0.05,)))
    assert strategy.ask() is not None


def test_theta_min_grows_by_its_increment_up_to_the_most():
    strategy = ADMM(SearchSpace(learners={"ridge": RIDGE}), 0, (), ONE_START)
    sizes = []
    for _ in range(4):
        phase = ask_all(strategy)
        sizes.append(len(phase))
        for config in phase:
            strategy.tell(scored(config))
    # With a single learner the pulls of z-min are all known, so each ask is a whole theta-min.
    assert sizes == [6, 9, 10, 10]


def test_another_start_continues_while_the_first_one_waits():
    strategy = ADMM(SPACE, 0, (), replace(ONE_START, starts=2))
    assert Counter(one.learner for one in ask_all(strategy)) == {"gbm": 6, "ridge": 6}


def test_the_order_in_which_a_phase_is_reported_does_not_matter():
    spaces = SearchSpace(learners={"ridge": RIDGE})
    found = []
    for order in (1, -1):
        strategy = ADMM(spaces, 0, (), ONE_START)
        for config in ask_all(strategy)[::order]:
            strategy.tell(scored(config, 1 / (1 + config.params["c"])))
        found.append([one.key for one in ask_all(strategy)])
    assert found[0] == found[1]


def test_a_phase_of_failures_changes_neither_the_point_nor_the_duals():
    strategy = ADMM(SPACE, 0, (), ONE_START)
    start = strategy._starts[0]
    arms, point = start.arms, start.point
    statuses = [status for status in TrialState if status is not TrialState.SUCCESS]
    for number in range(40):
        strategy.tell(failed(strategy.ask(), statuses[number % len(statuses)]))
    assert start.iteration >= 2
    assert (start.arms, start.mu.tolist()) == (arms, 0.0)
    assert start.point is point
    assert start._bandit._wins[0].sum() == 0


def test_one_success_among_failures_is_where_theta_min_goes():
    strategy = ADMM(SearchSpace(learners={"ridge": RIDGE}), 0, (), ONE_START)
    phase = ask_all(strategy)
    for config in phase:
        good = config is phase[3]
        strategy.tell(scored(config, 0.1, (0.3,), (0.1,)) if good else failed(config))
    start = strategy._starts[0]
    assert strategy._cube.read(start.arms, start.point).config.key == phase[3].key


def test_a_known_point_is_answered_from_the_log():
    strategy = ADMM(SPACE, 0, MEMBERS)
    seen = set()
    for _ in range(80):
        config = strategy.ask()
        assert config.key not in seen
        seen.add(config.key)
        strategy.tell(scored(config, 0.7, (0.1,), (0.05,)))


def test_a_lost_trial_may_be_requested_again_and_a_failed_one_not():
    space = SearchSpace(
        learners={"a": ParamSpace(name="a", ranges={"n": Integer(low=1, high=3, default=2)})}
    )
    for status, again in ((TrialState.WORKER_LOST, True), (TrialState.CRASHED, False)):
        strategy = ADMM(space, 0, ())
        first = strategy.ask()
        strategy.tell(failed(first, status))
        later = []
        for _ in range(2):
            later.append(strategy.ask())
            strategy.tell(scored(later[-1]))
        assert (first in later) is again


def test_a_space_with_nothing_new_left_is_repeated_not_searched_forever():
    strategy = ADMM(SearchSpace(learners={"fixed": FIXED}), 0, ())
    for _ in range(3):
        config = strategy.ask()
        assert config == Config(learner="fixed")
        strategy.tell(scored(config))


def test_a_start_that_finds_nothing_new_begins_elsewhere_and_the_search_continues():
    space = SearchSpace(learners={"fixed": FIXED, "ridge": RIDGE})
    strategy = Proposals(ADMM(space, 0, ()))
    tried = Counter()
    for _ in range(60):
        config = strategy.ask()
        tried[config.learner] += 1
        strategy.tell(scored(config, 0.9 if config.learner == "fixed" else 0.2))
    assert tried == {"fixed": 1, "ridge": 59}


def test_a_small_space_is_searched_to_its_last_candidate():
    strategy = Proposals(ADMM(TINY, 0, ()))
    seen = set()
    while (config := strategy.ask()) is not None:
        seen.add(place(config))
        strategy.tell(scored(config, 1 - LOSS[place(config)]))
    assert len(seen) == 15


ONE_FOLD, ALL_FOLDS = Fidelity(folds=1), Fidelity(folds=5)


def at(fidelity, config, value, gap):
    result = scored(config, value, (gap,), (0.1,))
    return replace(result, trial=replace(result.trial, fidelity=fidelity))


def test_the_duals_of_the_constraints_follow_results_on_all_folds_alone():
    strategy = ADMM(SearchSpace(learners={"ridge": RIDGE}), 0, (), ONE_START)
    start = strategy._starts[0]
    for _ in range(20):
        config = strategy.ask()
        strategy.tell(at(ONE_FOLD, config, 0.8, 0.4))
    assert start.iteration >= 1
    assert start.mu.tolist() == 0.0
    strategy.revise(at(ALL_FOLDS, config, 0.7, 0.3))
    # The gap is 3 limits, so it exceeds the bound by 2 and the slack is 0.
    assert start.mu.tolist() == [pytest.approx(0.1 * 2)]


def test_a_result_on_all_folds_replaces_the_gap_of_one_fold_and_not_the_loss():
    strategy = ADMM(SearchSpace(learners={"ridge": RIDGE}), 0, (), ONE_START)
    configs = [strategy.ask() for _ in range(2)]
    for config in configs:
        strategy.tell(at(ONE_FOLD, config, 0.8, 0.05))
    strategy.revise(at(ALL_FOLDS, configs[1], 0.7, 0.3))
    assert [one.gap.tolist() for one in strategy._log] == [
        [pytest.approx(0.5)],
        [pytest.approx(3.0)],
    ]
    assert [one.loss for one in strategy._log] == pytest.approx([0.2, 0.2])
    before = list(strategy._log)
    strategy.revise(at(ALL_FOLDS, Config(learner="ridge", params={"c": 99.0}), 0.9, 0.3))
    strategy.revise(replace(failed(configs[0]), limits=(0.1,)))
    assert strategy._log == before


def test_a_result_that_was_not_requested_changes_nothing():
    strategy = ADMM(SPACE, 0, ())
    strategy.tell(scored(MEMBERS[0]))
    assert strategy._log == []


def test_every_start_sees_the_results_that_others_requested():
    cube = UnitHypercube(SPACE)
    heard = []

    class Spy(HalfLocal):
        def point(self, current, incumbent):
            heard.append(incumbent)
            return super().point(current, incumbent)

    rng = np.random.default_rng(0)
    arms = Arms("ridge", "codes", "none")
    bandit = Bandit(cube.modules, rng, 0.7)
    start = Start(cube, ONE_START, cube.read(arms, cube.middle()), [], Spy(rng), bandit)
    elsewhere = cube.locate(Config(learner="ridge", params={"c": 55.0}))
    foreign = cube.locate(MEMBERS[1])
    for reading, value in ((foreign, 0.9), (elsewhere, 0.8)):
        start.offer(outcome_of(scored(reading.config, value), reading))
    start.propose()
    assert heard[0] == pytest.approx(start._at_rest(elsewhere))


def test_a_first_candidate_that_is_reported_late_still_counts():
    first = [Config(learner="ridge", params={"c": c}) for c in (0.07, 2.5)]
    strategy = ADMM(SearchSpace(learners={"ridge": RIDGE}), 0, first, ONE_START)
    pending = ask_all(strategy)
    assert len(pending) == 2 + 6
    for config in pending:
        strategy.tell(scored(config, 0.9 if config == first[1] else 0.1))
    start = strategy._starts[0]
    assert strategy._cube.read(start.arms, start.point).config == first[1]


def test_two_starts_take_turns():
    strategy = ADMM(SPACE, 0, (), replace(ONE_START, starts=2))
    for _ in range(60):
        strategy.tell(scored(strategy.ask(), 0.7, (0.1,), (0.05,)))
    one, other = (start.iteration for start in strategy._starts)
    assert one >= 2
    assert abs(one - other) <= 1


def test_arms_that_are_worse_than_the_ones_at_hand_are_not_taken():
    cube = UnitHypercube(SPACE)

    class Elsewhere:
        bound = 0.7

        def pull(self):
            return Arms("gbm", "target", "none")

        def learn(self, arms, value):
            pass

    at_hand = Arms("ridge", "codes", "none")
    points = HalfLocal(np.random.default_rng(0))
    start = Start(cube, ONE_START, cube.read(at_hand, cube.middle()), [], points, Elsewhere())
    while start.iteration == 0:
        reading = start.propose()
        value = 0.8 if reading.arms == at_hand else 0.6
        start.accept(reading, outcome_of(scored(reading.config, value), reading))
    assert start.arms == at_hand


def test_arms_without_parameters_need_a_single_evaluation():
    assert len(ask_all(ADMM(SearchSpace(learners={"fixed": FIXED}), 0, ()))) == 1


def test_a_known_result_counts_at_the_point_where_it_was_requested(monkeypatch):
    heard = []
    accept = Start.accept

    def spy(self, reading, outcome):
        heard.append((reading.point.tolist(), outcome.reading.point.tolist()))
        accept(self, reading, outcome)

    monkeypatch.setattr(Start, "accept", spy)
    strategy = ADMM(TINY, 0, ())
    for _ in range(15):
        config = strategy.ask()
        strategy.tell(scored(config, 1 - LOSS[place(config)]))
    assert len(heard) > 15
    assert all(pending == known for pending, known in heard)


def test_an_outcome_is_measured_in_units_of_the_limits():
    reading = UnitHypercube(SPACE).locate(MEMBERS[0])
    found = outcome_of(scored(MEMBERS[0], 0.8, (0.43, 0.0), (0.1, 0.05)), reading)
    assert found.loss == pytest.approx(0.2)
    assert found.gap == pytest.approx([4.3, 0.0])
    assert found.limit.tolist() == [1.0, 1.0]


def test_without_limits_a_violation_counts_as_a_gap_that_must_vanish():
    reading = UnitHypercube(SPACE).locate(MEMBERS[0])
    result = replace(scored(MEMBERS[0]), violations=(0.03, -0.2))
    found = outcome_of(result, reading)
    assert found.gap == pytest.approx([3.0, 0.0])
    assert found.limit.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "changes",
    [
        {"status": TrialState.TIMEOUT},
        {"value": None},
        {"value": math.nan},
        {"violations": (math.inf,)},
    ],
)
def test_a_failure_or_an_unknown_gap_is_no_outcome(changes):
    result = replace(scored(MEMBERS[0], 0.8, (0.1,), (0.05,)), **changes)
    assert outcome_of(result, UnitHypercube(SPACE).locate(MEMBERS[0])) is None


def test_a_loss_above_the_bound_raises_it_so_that_arms_can_be_distinguished():
    strategy = ADMM(SPACE, 0, (), ONE_START)
    for number in range(40):
        strategy.tell(scored(strategy.ask(), -1.0 - number / 100))
    assert 2.0 < strategy._starts[0]._bandit.bound < 2.4


def test_a_whole_run_with_admm_receives_the_limits_and_gives_a_model(monkeypatch):
    heard = []
    tell = ADMM.tell

    def spy(self, result):
        heard.append(result)
        tell(self, result)

    monkeypatch.setattr(ADMM, "tell", spy)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    sensitive = rng.choice(["a", "b"], size=400)
    y = (X[:, 0] + 0.8 * (sensitive == "a") + rng.normal(size=400) > 0).astype(int)
    model = FairAutoML(
        constraint="demographic_parity_difference <= 0.1",
        learners=["logistic_regression", "extra_trees"],
        strategy="admm",
        n_trials=12,
        time_budget=None,
        n_jobs=1,
        random_state=0,
    )
    model.fit(X, y, sensitive=sensitive)
    assert set(model.predict(X[:20], sensitive=sensitive[:20])) <= {0, 1}
    assert len(heard) >= 11
    # The limit of the search may be tighter than the user's: it leaves room for new rows.
    assert all(len(one.limits) == 1 and 0 < one.limits[0] <= 0.1 for one in heard)


def test_auto_never_chooses_admm():
    assert AUTO_STRATEGY != "admm"
