"""The contract of a metric."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics import GroupCounts, Metric, Rate, Undefined
from fairautoml.testing._other_metrics import check_other_metric, defined, equal

N_ROWS = 240
"""Rows of the examples: every group, label and decision occurs."""

N_GROUPS = 3


def check_metric(metric: Metric) -> None:
    """Check that a metric keeps the contract of ``fairautoml.metrics``.

    Every metric ignores the order of rows, counts weight 2 like a row twice, never modifies what
    it is given, and returns a finite float or ``Undefined``. A metric on decisions ignores what
    the groups are called. A fairness metric is at parity (0, or 1 for a ratio) on equal groups,
    is ``Undefined`` when a group has no rows or there is only one, and is the disparity of the
    rates that it states; one that compares groups with everybody may leave groups out that have
    no rows. A performance metric prefers right decisions to wrong ones. The same holds for several
    classes and for numbers, if it speaks about them.

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
    _check_rows(metric, value)
    _check_unmodified(metric)
    if metric.kind == "performance":
        _check_direction(metric, value)
    else:
        _check_parity(metric)
        _check_empty_groups(metric)
        _check_stated_rates(metric)


NUMBERS = np.array([-1.0, 0.25, 2.0])
"""The numbers behind the groups of the examples."""

REORDERED = np.array([2, 0, 1])


def check_metric_on_numbers(metric: Metric) -> None:
    """Check that a metric on a numeric attribute keeps the contract of ``fairautoml.metrics``.

    It ignores the order of rows and of values, counts weight 2 like a row twice, modifies
    nothing, is 0 where decisions do not depend on the number, is ``Undefined`` for one value or
    when it was given none, and says the same of many tables at once.

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
    _check_rows(bound, _on_decisions(bound))
    _check_unmodified(bound)
    counts = _counts(_example())
    expected = defined(bound, bound.value(counts))
    other = metric.bound(NUMBERS[REORDERED]).value(GroupCounts(counts.table[REORDERED]))
    equal(metric, defined(metric, other), expected, "the values are in another order")
    alike = np.array([[[21.0, 9], [9, 1]], [[15, 5], [15, 5]], [[10, 2], [20, 8]]])
    equal(metric, defined(bound, bound.value(GroupCounts(alike))), 0.0, "all are accepted alike")
    if bound.many is not None:
        both = bound.many(np.stack([counts.table, counts.table]))
        equal(metric, float(np.abs(both - expected).max()), 0.0, "many tables differ from one")
    one = metric.bound(NUMBERS[:1]).value(GroupCounts(counts.table[:1]))
    for case, found in (("there is one value", one), ("no values", metric.value(counts))):
        if not isinstance(found, Undefined) or not found.reason:
            raise AssertionError(f"{metric.name}: {found} is not Undefined with a reason: {case}")


Rows = dict[str, NDArray[np.float64]]
Evaluate = Callable[[Rows], float]


def _example(seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    scores = rng.uniform(size=N_ROWS).round(2)
    return {
        "groups": rng.integers(N_GROUPS, size=N_ROWS).astype(np.float64),
        "y": (rng.uniform(size=N_ROWS) < (1 + scores) / 3).astype(np.float64),
        "scores": scores,
        "weight": rng.integers(1, 4, size=N_ROWS).astype(np.float64),
    }


def _counts(rows: Rows) -> GroupCounts:
    groups, y = rows["groups"].astype(np.int64), rows["y"].astype(np.int8)
    decision = (rows["scores"] > 0.5).astype(np.float64)
    return GroupCounts.from_rows(groups, y, decision, rows["weight"], n_groups=N_GROUPS)


def _on_decisions(metric: Metric) -> Evaluate:
    return lambda rows: defined(metric, metric.value(_counts(rows)))


def _on_scores(metric: Metric) -> Evaluate:
    return lambda rows: defined(
        metric, metric.value(rows["y"].astype(np.int8), rows["scores"], rows["weight"])
    )


def _check_rows(metric: Metric, value: Evaluate) -> None:
    rows = _example()
    expected = value(rows)
    order = np.random.default_rng(1).permutation(N_ROWS)
    equal(metric, value(_take(rows, order)), expected, "the rows are in another order")
    twice = _take(rows, np.repeat(np.arange(N_ROWS), rows["weight"].astype(np.int64)))
    twice["weight"] = np.ones(len(twice["y"]))
    equal(metric, value(twice), expected, "a row of weight k is given k times")
    if metric.degree:
        return
    renamed = {**rows, "groups": (rows["groups"] + 1) % N_GROUPS}
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


def _check_direction(metric: Metric, value: Evaluate) -> None:
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
    # A metric that compares groups with everybody leaves a group without rows out.
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
    everybody = GroupCounts(counts.total[None])
    apart = [np.abs(counts.rates(r) - everybody.rates(r)) for r in metric.to_overall]
    found = defined(metric, metric.value(counts))
    expected = max(getattr(each, metric.over_groups)() for each in apart)
    equal(metric, found, float(expected), f"computed from its rates {_names(metric.to_overall)}")


def _take(rows: Rows, at: NDArray[np.integer]) -> Rows:
    return {name: column[at] for name, column in rows.items()}


def _names(rates: Sequence[Rate]) -> str:
    return ", ".join(rate.name for rate in rates)
