import math

import numpy as np
import pytest
from scipy.stats import norm

from fairautoml.data.read import ReadOptions, build_dataset
from fairautoml.metrics import METRICS, Constraint, bind_constraints
from fairautoml.metrics.tasks import TASKS
from fairautoml.selection.ensemble import select_greedily
from fairautoml.selection.margin import chances_on


def test_the_mean_of_opposite_errors_is_found_in_regression():
    rng = np.random.default_rng(0)
    y = 1e6 + rng.normal(size=500)
    error = rng.normal(size=500)
    columns = np.stack([y + error, y - error, y + 3 * error]).astype(np.float32)
    shares = select_greedily(columns, y, np.ones(500), most=None, task="regression")
    assert shares[:2] == pytest.approx([0.5, 0.5], abs=0.05)


def test_the_classes_that_each_model_knows_are_put_together():
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=600)
    sure, unsure = np.eye(3)[y] * 0.94 + 0.02, np.full((600, 3), 1 / 3)
    first = np.where((y == 0)[:, None], sure, unsure)
    second = np.where((y != 0)[:, None], sure, unsure)
    columns = np.stack([unsure, first, second]).astype(np.float32)
    shares = select_greedily(columns, y, np.ones(600), most=None, task="multiclass")
    # The first knows a third of the rows, the second two thirds: the best share solves
    # 0.94 - 0.607 a = 2 (0.333 + 0.607 a).
    assert shares == pytest.approx([0.0, 0.15, 0.85], abs=0.05)


def measured(task, metric, bound, n_rows, seed=0):
    """Return the chance of a rule whose gap is exactly what the data says."""
    rng = np.random.default_rng(seed)
    sex = np.where(np.arange(n_rows) % 2, "f", "m")
    y = rng.normal(size=n_rows) if task == "regression" else rng.integers(3, size=n_rows)
    data = build_dataset(
        rng.normal(size=(n_rows, 1)), y, {"sex": sex}, options=ReadOptions(task=task)
    )
    constraint = Constraint(metric=METRICS.get(metric), bound=bound)
    targets = bind_constraints((constraint,), data.systems)
    outcome = np.eye(3)[y] if task == "multiclass" else 0.5 * y
    tally = TASKS.get(task).tally(data.cells, data.y, outcome, data.weight, n_groups=2)
    gap = METRICS.get(metric).value(tally)
    return chances_on(data, targets, 0, audit_ratio=math.inf).met(tally.table), gap


@pytest.mark.parametrize(
    ("task", "metric"),
    [
        ("multiclass", "demographic_parity_difference"),
        ("regression", "mean_difference"),
        ("regression", "distribution_gap"),
        ("regression", "bounded_group_loss"),
    ],
)
def test_a_wide_bound_is_met_for_sure_and_a_narrow_one_hardly(task, metric):
    _, gap = measured(task, metric, 1.0, 2000)
    wide, _ = measured(task, metric, min(1.0, gap + 0.3), 2000)
    narrow, _ = measured(task, metric, max(0.0, gap - 0.02), 2000)
    assert wide > 0.99
    assert narrow < 0.5


def test_the_chance_of_a_mean_difference_is_that_of_its_normal_distribution():
    # Predictions have standard deviation 0.5: the difference of two means has 1 / sqrt(n).
    n_rows = 2500
    error = 1 / np.sqrt(n_rows)
    _, gap = measured("regression", "mean_difference", 1.0, n_rows)
    chance, _ = measured("regression", "mean_difference", gap + error, n_rows)
    assert chance == pytest.approx(norm.cdf(1) - norm.cdf(-1 - 2 * gap / error), abs=0.05)
