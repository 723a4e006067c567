import pickle
from itertools import pairwise

import pytest

from fairautoml.metrics import METRICS
from fairautoml.testing import check_metric


@pytest.mark.parametrize("name", METRICS.names())
def test_every_metric_keeps_the_contract(name):
    check_metric(METRICS.get(name))


@pytest.mark.parametrize("name", METRICS.names())
def test_every_metric_is_called_like_its_file(name):
    assert METRICS.get(name).name == name


@pytest.mark.parametrize("name", METRICS.names())
def test_every_metric_survives_pickling(name):
    metric = METRICS.get(name)
    assert pickle.loads(pickle.dumps(metric)) == metric


def test_the_listing_is_sorted_and_holds_both_kinds():
    names = METRICS.names()
    assert all(first < second for first, second in pairwise(names))
    assert {METRICS.get(name).kind for name in names} == {"performance", "fairness"}


@pytest.mark.parametrize("name", METRICS.names())
def test_every_fairness_metric_states_what_a_post_processor_has_to_equalise(name):
    metric = METRICS.get(name)
    if "regression" not in metric.tasks:
        assert bool(metric.compared or metric.degree) == (metric.kind == "fairness")
    assert not (metric.rates and metric.to_overall)
    losses = {"log_loss", "brier", "rmse", "mae"}
    assert metric.greater_is_better == (
        metric.bounded_below if metric.kind == "fairness" else name not in losses
    )
