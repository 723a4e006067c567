"""Contract checks for metrics."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics import GroupCounts, Metric, Rate, Tally, TaskName, Undefined
from fairautoml.metrics.rates import values_of
from fairautoml.metrics.tasks import TASKS
from fairautoml.mitigators import ScoreRows
from fairautoml.mitigators._multiclass import one_hot
from fairautoml.testing._tables import N_GROUPS, scored

TOLERANCE = 1e-9
"""Largest difference by rounding of sums in another order."""

Evaluate = Callable[[ScoreRows], float]


def check_other_metric(metric: Metric, task: TaskName) -> None:
    """Check that a metric keeps the contract of ``fairautoml.metrics`` for a kind of target.

    As ``check_metric``; with ``form="level"`` the value need not be 0 on equal groups.

    Parameters
    ----------
    metric : Metric
        The metric to check.
    task : {"multiclass", "regression"}
        One of the kinds of target that the metric supports.

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
        msg = f"{metric.name}: greater_is_better={metric.greater_is_better} is wrong"
        raise AssertionError(msg)


def _check_fairness(metric: Metric, task: TaskName, rows: ScoreRows) -> None:
    same = rows.take(np.tile(np.flatnonzero(rows.cells == 0), N_GROUPS))
    duplicates = replace(
        same, cells=np.repeat(np.arange(N_GROUPS), len(same.y) // N_GROUPS).astype(np.int32)
    )
    found = defined(metric, metric.value(_tally(task, duplicates)))
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
    # In regression the table holds the distribution in 64 bins only.
    allowed = 0.05 * max(abs(exact), 1.0) if task == "regression" else TOLERANCE
    if np.abs(together - exact).max() > allowed:
        raise AssertionError(f"{metric.name}: {together}, not {exact}, of many tables at once")


def defined(metric: Metric, found: float | Undefined) -> float:
    """Return a value of a metric, which must be a finite number."""
    if isinstance(found, Undefined):
        raise AssertionError(f"{metric.name}: {found} on an example that has a value")
    if not isinstance(found, float) or not np.isfinite(found):
        raise AssertionError(f"{metric.name}: value is {found!r}, not a finite float")
    return found


def equal(metric: Metric, found: float, expected: float, case: str) -> None:
    """Check a value of a metric up to rounding."""
    if abs(found - expected) > TOLERANCE:
        raise AssertionError(f"{metric.name}: {found}, not {expected}, when {case}")


N_ROWS = 240
"""Rows of the examples, so that every group, label and decision occurs."""

N_BINARY_GROUPS = 3


def check_metric(metric: Metric) -> None:
    """Check that a metric keeps the contract of ``fairautoml.metrics``.

    Every metric ignores the order of rows, counts weight 2 like two rows, does not modify its
    input, and returns a finite float or ``Undefined``. A metric on decisions ignores the numbers
    of the groups. A fairness metric is at parity (0, or 1 for a ratio) on equal groups, is
    ``Undefined`` if a group has no rows or there is only one group, and is the disparity of the
    rates that it declares; a metric that compares groups with the overall rate may leave out
    groups without rows. A performance metric prefers right decisions to wrong ones. The same
    holds for several classes and for regression, if the metric supports them.

    Parameters
    ----------
    metric : Metric
        The metric to check.

    Raises
    ------
    AssertionError
        The contract is broken; the message says where.

    Examples
    --------
    >>> from fairautoml.metrics import METRICS
    >>> check_metric(METRICS.get("accuracy"))
    """
    if metric.kind == "fairness" and metric.on == "scores":
        raise AssertionError(f"{metric.name}: a fairness metric needs groups, so on='decisions'")
    if metric.degree:
        check_metric_on_numbers(metric)
        return
    if "binary" in metric.tasks:
        _check_binary(metric)
    for task in sorted(metric.tasks - {"binary"}):
        check_other_metric(metric, task)


def _check_binary(metric: Metric) -> None:
    value = _on_scores(metric) if metric.on == "scores" else _on_decisions(metric)
    _check_rows_binary(metric, value)
    _check_unmodified(metric)
    if metric.kind == "performance":
        _check_direction_binary(metric, value)
    else:
        _check_parity(metric)
        _check_empty_groups(metric)
        _check_stated_rates(metric)


NUMBERS = np.array([-1.0, 0.25, 2.0])
"""Values of the numeric attribute by group."""

REORDERED = np.array([2, 0, 1])


def check_metric_on_numbers(metric: Metric) -> None:
    """Check that a metric on a numeric attribute keeps the contract of ``fairautoml.metrics``.

    The metric ignores the order of rows and of values, counts weight 2 like two rows, does not
    modify its input, is 0 if decisions do not depend on the number, is ``Undefined`` for a single
    value or none, and gives the same values for many tables at once.

    Parameters
    ----------
    metric : Metric
        The metric to check; its ``degree`` is at least 1.

    Raises
    ------
    AssertionError
        The contract is broken; the message says where.
    """
    bound = metric.bound(NUMBERS)
    _check_rows_binary(bound, _on_decisions(bound))
    _check_unmodified(bound)
    counts = _counts(_example())
    expected = defined(bound, bound.value(counts))
    other = metric.bound(NUMBERS[REORDERED]).value(GroupCounts(counts.table[REORDERED]))
    equal(metric, defined(metric, other), expected, "the values are in another order")
    duplicates = np.array([[[21.0, 9], [9, 1]], [[15, 5], [15, 5]], [[10, 2], [20, 8]]])
    equal(metric, defined(bound, bound.value(GroupCounts(duplicates))), 0.0, "all rates are equal")
    if bound.many is not None:
        both = bound.many(np.stack([counts.table, counts.table]))
        equal(metric, float(np.abs(both - expected).max()), 0.0, "many tables differ from one")
    one = metric.bound(NUMBERS[:1]).value(GroupCounts(counts.table[:1]))
    for case, found in (("there is one value", one), ("no values", metric.value(counts))):
        if not isinstance(found, Undefined) or not found.reason:
            raise AssertionError(f"{metric.name}: {found} is not Undefined with a reason: {case}")


Rows = dict[str, NDArray[np.float64]]
EvaluateBinary = Callable[[Rows], float]


def _example(seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    scores = rng.uniform(size=N_ROWS).round(2)
    return {
        "groups": rng.integers(N_BINARY_GROUPS, size=N_ROWS).astype(np.float64),
        "y": (rng.uniform(size=N_ROWS) < (1 + scores) / 3).astype(np.float64),
        "scores": scores,
        "weight": rng.integers(1, 4, size=N_ROWS).astype(np.float64),
    }


def _counts(rows: Rows) -> GroupCounts:
    groups, y = rows["groups"].astype(np.int64), rows["y"].astype(np.int8)
    decision = (rows["scores"] > 0.5).astype(np.float64)
    return GroupCounts.from_rows(groups, y, decision, rows["weight"], n_groups=N_BINARY_GROUPS)


def _on_decisions(metric: Metric) -> EvaluateBinary:
    return lambda rows: defined(metric, metric.value(_counts(rows)))


def _on_scores(metric: Metric) -> EvaluateBinary:
    return lambda rows: defined(
        metric, metric.value(rows["y"].astype(np.int8), rows["scores"], rows["weight"])
    )


def _check_rows_binary(metric: Metric, value: EvaluateBinary) -> None:
    rows = _example()
    expected = value(rows)
    order = np.random.default_rng(1).permutation(N_ROWS)
    equal(metric, value(_take(rows, order)), expected, "the rows are in another order")
    twice = _take(rows, np.repeat(np.arange(N_ROWS), rows["weight"].astype(np.int64)))
    twice["weight"] = np.ones(len(twice["y"]))
    equal(metric, value(twice), expected, "a row of weight k is given k times")
    if metric.degree:
        return
    renamed = {**rows, "groups": (rows["groups"] + 1) % N_BINARY_GROUPS}
    equal(metric, value(renamed), expected, "the groups are renamed")


def _check_unmodified(metric: Metric) -> None:
    rows = _example()
    table, y = _counts(rows).table, rows["y"].astype(np.int8)
    given: list[NDArray[Any]] = (
        [table] if metric.on == "decisions" else [y, rows["scores"], rows["weight"]]
    )
    before = [array.copy() for array in given]
    if metric.on == "decisions":
        metric.value(GroupCounts(table))
    else:
        metric.value(y, rows["scores"], rows["weight"])
    if not all(np.array_equal(old, new) for old, new in zip(before, given, strict=True)):
        raise AssertionError(f"{metric.name}: value() modifies its input")


def _check_direction_binary(metric: Metric, value: EvaluateBinary) -> None:
    rows = _example()
    right, wrong = ({**rows, "scores": np.abs(rows["y"] - off)} for off in (0.1, 0.9))
    better = value(right) > value(wrong)
    if better != metric.greater_is_better:
        msg = (
            f"{metric.name}: greater_is_better={metric.greater_is_better}, but right decisions "
            f"have the value {value(right)} and wrong ones {value(wrong)}"
        )
        raise AssertionError(msg)


def _check_parity(metric: Metric) -> None:
    one = np.array([[30.0, 10.0], [5.0, 15.0]])
    # Powers of two keep the rates of the groups equal to the last bit.
    counts = GroupCounts(np.stack([one, 2 * one, 16 * one]))
    parity = 0.0 if metric.form == "difference" else 1.0
    equal(metric, defined(metric, metric.value(counts)), parity, "all groups are equal")


def _check_empty_groups(metric: Metric) -> None:
    table = _counts(_example()).table
    empty = table.copy()
    empty[1] = 0.0
    cases = [("a group has no rows", empty), ("there is one group", table[:1])]
    # A metric relative to the overall rate leaves out a group without rows.
    for case, broken in cases[bool(metric.to_overall) :]:
        found = metric.value(GroupCounts(broken))
        if not isinstance(found, Undefined):
            raise AssertionError(f"{metric.name}: value is {found}, not Undefined, when {case}")
        if not found.reason:
            raise AssertionError(f"{metric.name}: Undefined without a reason when {case}")


def _check_stated_rates(metric: Metric) -> None:
    counts = _counts(_example())
    if metric.to_overall:
        _check_anchored(metric, counts)
    if not metric.rates:
        return
    ends = [(rate.min(), rate.max()) for rate in map(counts.rates, metric.rates)]
    if metric.form == "difference":
        expected = max(high - low for low, high in ends)
    else:
        expected = min(low / high for low, high in ends)
    found = defined(metric, metric.value(counts))
    equal(metric, found, float(expected), f"computed from its rates {_names(metric.rates)}")


def _check_anchored(metric: Metric, counts: GroupCounts) -> None:
    overall = GroupCounts(counts.total[None])
    apart = [np.abs(counts.rates(r) - overall.rates(r)) for r in metric.to_overall]
    found = defined(metric, metric.value(counts))
    expected = max(getattr(each, metric.over_groups)() for each in apart)
    equal(metric, found, float(expected), f"computed from its rates {_names(metric.to_overall)}")


def _take(rows: Rows, at: NDArray[np.integer]) -> Rows:
    return {name: column[at] for name, column in rows.items()}


def _names(rates: Sequence[Rate]) -> str:
    return ", ".join(rate.name for rate in rates)
