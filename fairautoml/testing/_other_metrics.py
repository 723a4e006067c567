"""The contract of a metric of several classes, or of numbers."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics import Metric, Tally, TaskName, Undefined
from fairautoml.metrics.rates import values_of
from fairautoml.mitigators import ScoreRows
from fairautoml.mitigators._class_rules import one_hot
from fairautoml.tasks import TASKS
from fairautoml.testing._other_tables import N_GROUPS, scored

TOLERANCE = 1e-9
"""Sums of weights in another order differ by rounding, not by more than this."""

Evaluate = Callable[[ScoreRows], float]


def check_other_metric(metric: Metric, task: TaskName) -> None:
    """Check that a metric keeps the contract of ``fairautoml.metrics`` for a kind of target.

    As ``check_metric``; a level (``form="level"``) is no gap and need not be 0 on equal groups.

    Parameters
    ----------
    metric : Metric
        The metric to check.
    task : {"multiclass", "regression"}
        One of the kinds that it speaks about.

    Raises
    ------
    AssertionError
        The contract is broken; the message says where.
    """

    def value(rows: ScoreRows) -> float:
        if metric.on == "scores":
            return defined(metric, metric.value(rows.y, rows.scores, rows.weight))
        return defined(metric, metric.value(_tally(task, rows)))

    rows = _weighted(task)
    before = rows.scores.tobytes(), np.asarray(rows.y).tobytes(), rows.weight.tobytes()
    expected = value(rows)
    after = rows.scores.tobytes(), np.asarray(rows.y).tobytes(), rows.weight.tobytes()
    if after != before:
        raise AssertionError(f"{metric.name}: value() modifies its input")
    _check_rows(metric, value, rows, expected)
    if metric.kind == "performance":
        _check_direction(metric, task, value)
    else:
        _check_fairness(metric, task, rows)


def _weighted(task: TaskName) -> ScoreRows:
    rows = scored(task, seed=0, n_rows=240)
    weight = np.random.default_rng(3).integers(1, 4, size=240).astype(np.float64)
    return replace(rows, weight=weight)


def _outcome(task: TaskName, scores: NDArray[np.floating]) -> NDArray[np.float64]:
    if task == "regression":
        return scores.astype(np.float64)
    return one_hot(scores.argmax(axis=1), scores.shape[1])


def _tally(task: TaskName, rows: ScoreRows) -> Tally:
    outcome = _outcome(task, rows.scores)
    return TASKS.get(task).tally(rows.cells, rows.y, outcome, rows.weight, n_groups=N_GROUPS)


def _check_rows(metric: Metric, value: Evaluate, rows: ScoreRows, expected: float) -> None:
    order = np.random.default_rng(1).permutation(len(rows.y))
    equal(metric, value(rows.take(order)), expected, "the rows are in another order")
    twice = rows.take(np.repeat(np.arange(len(rows.y)), rows.weight.astype(np.int64)))
    twice = replace(twice, weight=np.ones(len(twice.y)))
    equal(metric, value(twice), expected, "a row of weight k is given k times")
    renamed = replace(rows, cells=(rows.cells + 1) % N_GROUPS)
    equal(metric, value(renamed), expected, "the groups are renamed")


def _check_direction(metric: Metric, task: TaskName, value: Evaluate) -> None:
    rows = _weighted(task)
    if task == "regression":
        right, wrong = rows.y + 0.01, -3.0 * rows.y
    else:
        right = 0.9 * np.eye(rows.scores.shape[1])[rows.y] + 0.1 / rows.scores.shape[1]
        wrong = np.roll(right, 1, axis=1)
    better = value(replace(rows, scores=right)) > value(replace(rows, scores=wrong))
    if better != metric.greater_is_better:
        msg = f"{metric.name}: greater_is_better={metric.greater_is_better}, but it is not so"
        raise AssertionError(msg)


def _check_fairness(metric: Metric, task: TaskName, rows: ScoreRows) -> None:
    same = rows.take(np.tile(np.flatnonzero(rows.cells == 0), N_GROUPS))
    alike = replace(
        same, cells=np.repeat(np.arange(N_GROUPS), len(same.y) // N_GROUPS).astype(np.int32)
    )
    found = defined(metric, metric.value(_tally(task, alike)))
    if metric.form != "level":
        parity = 0.0 if metric.form == "difference" else 1.0
        equal(metric, found, parity, "all groups are equal")
    tally = _tally(task, rows)
    one = tally.merged(np.zeros(N_GROUPS, dtype=np.int64), 1)
    without = _tally(task, rows.take(rows.cells != 1))
    for case, broken in (("a group has no rows", without), ("there is one group", one)):
        value = metric.value(broken)
        if not isinstance(value, Undefined) or not value.reason:
            raise AssertionError(f"{metric.name}: {value} is not Undefined when {case}")
    exact = defined(metric, metric.value(tally))
    together = values_of(metric, np.stack([tally.table, tally.table]))
    # Of numbers the table holds the distribution in 64 bins only.
    allowed = 0.05 * max(abs(exact), 1.0) if task == "regression" else TOLERANCE
    if np.abs(together - exact).max() > allowed:
        raise AssertionError(f"{metric.name}: {together}, not {exact}, of many tables at once")


def defined(metric: Metric, found: float | Undefined) -> float:
    """Return what a metric found, which must be a finite number."""
    if isinstance(found, Undefined):
        raise AssertionError(f"{metric.name}: {found} on an example that has a value")
    if not isinstance(found, float) or not np.isfinite(found):
        raise AssertionError(f"{metric.name}: value is {found!r}, not a finite float")
    return found


def equal(metric: Metric, found: float, expected: float, case: str) -> None:
    """Check what a metric found up to rounding."""
    if abs(found - expected) > TOLERANCE:
        raise AssertionError(f"{metric.name}: {found}, not {expected}, when {case}")
