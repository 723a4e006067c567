"""What every mitigator that changes training rows does with groups that cannot be used."""

from dataclasses import replace

import numpy as np
import pytest
from pre_cases import Recorder, biased_rows, content, given, in_order, rows_of

from fairautoml.exceptions import DegenerateGroupError, MissingSensitiveError
from fairautoml.metrics import METRICS, BoundConstraint
from fairautoml.metrics.groups import GroupSystem
from fairautoml.mitigators import MITIGATORS
from fairautoml.mitigators._training import row_groups
from fairautoml.runtime._rules import groups_of
from fairautoml.search.space_files import load_space

CHANGE_ROWS = (
    "correlation_remover",
    "counterfactual_augmentation",
    "disparate_impact_remover",
    "fair_representation",
    "group_oversampling",
    "label_massaging",
    "reweighing",
    "suppression",
)
CHANGE_NUMBERS = ("correlation_remover", "disparate_impact_remover")
every = pytest.mark.parametrize("name", CHANGE_ROWS)


def train(name, rows, **params):
    mitigator = MITIGATORS.get(name)
    return mitigator.train(
        rows, Recorder(), {**load_space("mitigators", name).defaults(), **params}, 0
    )


@every
def test_it_is_used_only_when_named_and_costs_about_one_training(name):
    mitigator = MITIGATORS.get(name)
    assert (mitigator.stage, mitigator.cost, mitigator.opt_in) == ("pre", "cheap", True)
    assert mitigator.needs_sensitive_at_predict == (name in CHANGE_NUMBERS)


@every
def test_rows_without_groups_are_refused(name):
    rows = replace(biased_rows(), systems=())
    with pytest.raises(MissingSensitiveError, match=f"{name} needs the groups"):
        train(name, rows)


@every
def test_a_single_group_is_refused(name):
    rows = replace(biased_rows(), cells=np.zeros(240, dtype=np.int32))
    with pytest.raises(DegenerateGroupError, match=f"{name}: .* two groups or more, found: 'gr"):
        train(name, rows)


@every
def test_rows_of_unknown_group_only_are_refused(name):
    rows = replace(biased_rows(), cells=np.full(240, -1, dtype=np.int32))
    with pytest.raises(DegenerateGroupError, match="two groups or more, found: none"):
        train(name, rows)


@every
def test_a_group_whose_weights_are_all_zero_is_refused(name):
    rows = biased_rows()
    rows = replace(rows, weight=np.where(rows.cells == 1, 0.0, rows.weight))
    with pytest.raises(DegenerateGroupError, match="'group 1' of 'sex' have sample weight 0"):
        train(name, rows)


@pytest.mark.parametrize("name", ["group_oversampling", "reweighing"])
@pytest.mark.parametrize("label", [0, 1])
def test_a_group_with_one_label_is_refused_where_both_are_needed(name, label):
    rows = biased_rows()
    rows = replace(rows, y=np.where(rows.cells == 2, 1 - label, rows.y).astype(np.int8))
    with pytest.raises(
        DegenerateGroupError, match=f"'group 2' .* no training rows of label {label}"
    ):
        train(name, rows)


@pytest.mark.parametrize("name", sorted(set(CHANGE_ROWS) - {"group_oversampling", "reweighing"}))
def test_a_group_without_positives_is_no_obstacle_elsewhere(name):
    rows = biased_rows()
    rows = replace(rows, y=np.where(rows.cells == 2, 0, rows.y).astype(np.int8))
    scores = train(name, rows).scores(rows.X, rows.cells)
    assert np.isfinite(scores).all()


@every
def test_a_group_that_has_no_rows_here_is_left_alone(name):
    rows = biased_rows()
    params = load_space("mitigators", name).defaults()
    wider = GroupSystem(
        name="sex",
        labels=(*rows.systems[0].labels, "absent"),
        of_cell=np.arange(4, dtype=np.int32),
    )
    with_absent = given(MITIGATORS.get(name), replace(rows, systems=(wider,)), params)
    assert np.array_equal(content(with_absent), content(given(MITIGATORS.get(name), rows, params)))


@pytest.mark.parametrize("name", sorted(set(CHANGE_ROWS) - {"counterfactual_augmentation"}))
def test_strength_zero_changes_nothing(name):
    rows = biased_rows()
    params = {**load_space("mitigators", name).defaults(), "strength": 0.0}
    assert np.array_equal(content(given(MITIGATORS.get(name), rows, params)), content(rows))


@pytest.mark.parametrize("name", CHANGE_NUMBERS)
def test_a_table_of_categories_only_is_changed(name):
    rows = rows_of(np.array([[0], [1], [1], [0]]), [0, 1, 0, 1], [0, 0, 1, 1], None, (0,), (2,))
    assert np.isfinite(train(name, rows).scores(rows.X, rows.cells)).all()


@every
def test_the_same_seed_gives_the_same_rows(name):
    params = load_space("mitigators", name).defaults()
    first, second = (given(MITIGATORS.get(name), biased_rows(), params, seed=3) for _ in range(2))
    assert np.array_equal(first.X, second.X, equal_nan=True)
    assert np.array_equal(first.y, second.y)
    assert np.array_equal(first.weight, second.weight)


def test_the_system_of_the_first_target_is_worked_on():
    rows = biased_rows()
    other = GroupSystem(
        name="age", labels=("young", "old"), of_cell=np.array([0, 1, 1], dtype=np.int32)
    )
    metric = METRICS.get("demographic_parity_difference")
    aimed = replace(rows, targets=(BoundConstraint(metric=metric, system=other, limit=0.1),))
    assert row_groups(rows, "x").system.name == "sex"
    assert row_groups(aimed, "x").system.name == "age"
    assert np.array_equal(row_groups(aimed, "x").of_row, np.minimum(rows.cells, 1))


def test_cells_that_are_unknown_belong_to_no_group():
    of_cell = np.array([1, 0, -1], dtype=np.int32)
    found = groups_of(of_cell, np.array([0, 1, 2, -1, 7]))
    assert found.tolist() == [1, 0, -1, -1, -1]


def test_group_weights_do_not_depend_on_the_order_of_the_rows():
    rows = biased_rows()
    mixed = in_order(rows, np.arange(len(rows.y))[::-1])
    assert np.allclose(row_groups(rows, "x").mass, row_groups(mixed, "x").mass)
