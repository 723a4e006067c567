from types import SimpleNamespace

import numpy as np
import pytest
from mitigator_cases import system, target

from fairautoml import FairAutoML
from fairautoml.data.dataset import FeatureSchema
from fairautoml.exceptions import DegenerateGroupError, InputError
from fairautoml.learners.checklist import NoChecklistError
from fairautoml.metrics import GroupCounts
from fairautoml.mitigators import MITIGATORS, TrainRows
from fairautoml.search.space_files import load_space

MITIGATOR = MITIGATORS.get("checklist")
SYSTEM = system([0, 1])


def rows(metric="demographic_parity_difference", limit=0.1, n_rows=160, **changed):
    """The label follows a number that is higher in group 1, and two others that are not."""
    rng = np.random.default_rng(0)
    cells = rng.integers(2, size=n_rows).astype(np.int32)
    X = rng.normal(size=(n_rows, 3)).astype(np.float32)
    X[:, 0] += 1.5 * cells
    y = (2 * X[:, 0] + X[:, 1] + X[:, 2] + rng.normal(size=n_rows) > 1.5).astype(np.int8)
    found = {
        "X": X,
        "y": y,
        "weight": np.ones(n_rows),
        "cells": cells,
        "systems": (SYSTEM,),
        "feature_schema": FeatureSchema(n_features=3),
        "targets": () if metric is None else (target(metric, SYSTEM, limit),),
    }
    return TrainRows(**{**found, **changed})


def train(trained, *, left=None, **params):
    defaults = {
        **load_space("mitigators", "checklist").defaults(),
        "seconds": 60.0,
        "complements": False,
    }
    fit_base = SimpleNamespace(seconds_left=lambda: left)
    return MITIGATOR.train(trained, fit_base, {**defaults, **params}, 0).checklist


def gap(checklist, trained):
    measured = trained.targets[0].metric
    counts = GroupCounts.from_rows(
        trained.cells, trained.y, checklist.accepts(trained.X), trained.weight, n_groups=2
    )
    return measured.gap(measured.value(counts))


@pytest.mark.parametrize("metric", sorted(MITIGATOR.serves))
def test_the_gap_of_the_training_rows_is_within_the_limit(metric):
    trained = rows(metric)
    assert gap(train(trained), trained) <= 0.1


def test_a_limit_costs_accuracy_and_a_loose_one_costs_nothing():
    loose, strict = (train(rows(limit=limit)) for limit in (1.0, 0.02))
    assert gap(loose, rows()) > 0.3
    assert gap(strict, rows()) <= 0.02
    assert loose.mistakes < strict.mistakes


def test_a_share_of_the_limit_leaves_room_for_new_rows():
    trained = rows(limit=0.2)
    assert gap(train(trained, limit_share=0.25), trained) <= 0.05


def test_all_targets_are_met_together():
    both = (
        target("demographic_parity_difference", SYSTEM, 0.1),
        target("equal_opportunity_difference", SYSTEM, 0.05),
    )
    found = train(rows(targets=both))
    for one in both:
        trained = rows(one.metric.name, one.limit)
        assert gap(found, trained) <= one.limit


def test_the_time_that_is_left_is_the_limit():
    found = train(rows(limit=0.05), left=-1.0)
    assert not found.optimal
    assert gap(found, rows()) <= 0.05


def test_scores_do_not_need_the_groups():
    trained = rows()
    model = MITIGATOR.train(
        trained,
        SimpleNamespace(seconds_left=lambda: 5.0),
        {"limit_share": 1.0, "complements": False},
        0,
    )
    scores = model.scores(trained.X, np.full(len(trained.y), -1))
    assert scores.dtype == np.float32
    assert np.array_equal(scores > 0.5, model.checklist.accepts(trained.X))


def test_without_a_constraint_there_is_nothing_to_mitigate():
    with pytest.raises(InputError, match="there is no constraint to meet"):
        train(rows(None))


def test_a_metric_that_is_not_linear_in_the_decisions_cannot_be_bounded():
    assert "predictive_parity_difference" not in MITIGATOR.serves


def test_a_single_group_is_refused():
    with pytest.raises(
        DegenerateGroupError, match="fewer than two groups have rows for selection"
    ):
        train(rows(cells=np.zeros(160, dtype=np.int32)))


def test_a_limit_that_no_list_meets_is_named():
    # One item, and it is the group itself.
    cells = np.arange(160, dtype=np.int32) % 2
    trained = rows(
        cells=cells,
        X=cells[:, None].astype(np.float32),
        feature_schema=FeatureSchema(n_features=1),
    )
    with pytest.raises(NoChecklistError, match=r"has selection on 'group' within 0\.1"):
        train(trained)


def test_a_search_that_names_it_gets_a_fair_checklist():
    trained = rows(n_rows=200)
    model = FairAutoML(
        "demographic_parity_difference <= 0.15",
        learners=["logistic_regression"],
        mitigators=["none", "checklist"],
        n_trials=4,
        cv=2,
        random_state=0,
    ).fit(trained.X, trained.y, np.where(trained.cells == 1, "a", "b"))
    assert "checklist" in set(
        model.trials_.loc[model.trials_["status"] == "success", "mitigation"]
    )
    assert model.feasible_
