from dataclasses import replace

import pytest

from fairautoml.metrics import METRICS
from fairautoml.mitigators import MITIGATORS
from fairautoml.testing import _PostCheck, check_mitigator, goal_of, served_metrics


@pytest.mark.parametrize("name", MITIGATORS.names())
def test_every_mitigator_keeps_the_contract(name):
    check_mitigator(MITIGATORS.get(name))


POST = [name for name in MITIGATORS.names() if MITIGATORS.get(name).stage == "post"]
OTHER_GOALS = [
    (name, task, metric)
    for name in POST
    for task in sorted(MITIGATORS.get(name).tasks - {"binary"})
    for metric in served_metrics(MITIGATORS.get(name), task)
]


@pytest.mark.parametrize(("name", "task", "metric"), OTHER_GOALS)
def test_every_post_processor_keeps_the_contract_for_each_metric_that_it_serves(
    name, task, metric
):
    mitigator = MITIGATORS.get(name)
    _PostCheck(mitigator, goal_of(mitigator, task, metric)).run()


@pytest.mark.parametrize("constrained", [True, False])
@pytest.mark.parametrize(
    "name", [name for name in POST if "multiclass" in MITIGATORS.get(name).tasks]
)
def test_every_post_processor_keeps_the_contract_when_classes_weigh_the_same(name, constrained):
    # Some rules exist only for an objective that weights all classes equally.
    mitigator = MITIGATORS.get(name)
    goal = replace(goal_of(mitigator, "multiclass"), objective=METRICS.get("balanced_accuracy"))
    _PostCheck(mitigator, goal if constrained else replace(goal, targets=())).run()


@pytest.mark.parametrize("name", MITIGATORS.names())
def test_every_mitigator_is_called_like_its_file(name):
    assert MITIGATORS.get(name).name == name


def test_the_threshold_rules_are_listed():
    assert set(MITIGATORS.names()) >= {"common_threshold", "group_thresholds", "none"}
