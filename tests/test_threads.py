import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from fairautoml import threads
from fairautoml.data.dataset import FeatureSchema
from fairautoml.learners import LEARNERS
from fairautoml.threads import n_threads, one_limit, one_thread


@pytest.fixture
def limits(monkeypatch):
    found = []

    def counted(limits):
        found.append(limits)
        return threadpool_limits(limits=limits)

    monkeypatch.setattr(threads, "threadpool_limits", counted)
    return found


def test_a_limit_inside_a_limit_is_not_set_again(limits):
    with one_thread(), one_thread():
        pass
    assert limits == [1]


def test_limits_that_follow_each_other_in_one_call_are_set_once(limits):
    with one_limit():
        for _ in range(3):
            with one_thread():
                pass
    assert limits == [1]


def test_a_call_that_needs_no_limit_sets_none(limits):
    with one_limit(), one_limit():
        pass
    assert limits == []


def test_after_a_limit_the_next_one_is_set_anew_also_when_the_first_failed(limits):
    for _ in range(2):
        with pytest.raises(ValueError, match="inside"), one_thread():
            raise ValueError("inside")
    assert limits == [1, 1]


def test_each_thread_has_limits_of_its_own(limits):
    def other():
        with one_thread():
            pass

    with one_thread():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert limits == [1, 1]


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "extra_trees", "random_forest"])
def test_a_learner_uses_the_threads_of_its_trial_and_learns_the_same(name):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 5)).astype(np.float32)
    y = (X[:, 0] + rng.normal(size=1000) > 0).astype(np.int8)
    schema = FeatureSchema(n_features=5)
    found = []
    for count in (1, 2):
        with threads.threads(count):
            assert n_threads() == count
            model = LEARNERS.get(name).build({"n_estimators": 20}, schema, 0)
            found.append(model.fit(X, y).predict_proba(X))
    assert n_threads() == 1
    assert found[0] == pytest.approx(found[1], abs=1e-5)
