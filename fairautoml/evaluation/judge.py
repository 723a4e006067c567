"""Judge decisions on rows with known labels: scores, gaps and group rates."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import task_of
from fairautoml.data.groups import GroupSchema
from fairautoml.metrics import (
    METRICS,
    ClassCounts,
    Constraint,
    GroupCounts,
    GroupValues,
    Rate,
    Tally,
    TaskName,
    Undefined,
    bind_constraints,
    largest_defined,
)
from fairautoml.metrics._table import MASS
from fairautoml.metrics.rates import SHOWN as RATES_SHOWN
from fairautoml.metrics.rates import with_compared
from fairautoml.metrics.tasks import TASKS
from fairautoml.records import in_largest_gap

SHOWN: dict[TaskName, tuple[str, ...]] = {
    "binary": ("accuracy", "balanced_accuracy", "f1"),
    "multiclass": ("accuracy", "balanced_accuracy", "f1_macro"),
    "regression": ("rmse", "mae", "r2"),
}
"""Performance metrics of each kind of target."""

TWO_CLASSES = np.array([0, 1])


def judge(
    y: NDArray[Any],
    decisions: NDArray[Any],
    cells: NDArray[np.integer],
    *,
    groups: GroupSchema | None,
    constraints: tuple[Constraint, ...],
    weight: NDArray[np.float64] | None = None,
    classes: NDArray[Any] = TWO_CLASSES,
) -> dict[str, Any]:
    """Return scores, gaps and group rates as plain values; undefined ones are None."""
    task = task_of(classes)
    outcome = np.eye(len(classes))[decisions] if task == "multiclass" else decisions
    weights = np.ones(len(y)) if weight is None else weight
    tally = TASKS.get(task).tally
    one_group = np.zeros(len(y), dtype=np.int64)
    pooled = tally(one_group, y, outcome, weights, n_groups=1)
    found: dict[str, Any] = {
        "n_rows": len(y),
        "n_unknown_group": int(_outside(cells, groups).sum()),
        "majority": _majority(pooled),
        **{name: _plain(METRICS.get(name).value(pooled)) for name in SHOWN[task]},
    }
    if groups is None:
        return found
    counts = tally(cells, y, outcome, weights, n_groups=groups.n_cells)
    values: dict[str, float | None] = {}
    gaps: dict[str, float | None] = {}
    excess: list[float | None] = []
    results = []
    for target in bind_constraints(constraints, groups.systems, groups.small_groups):
        one = target.result(counts)
        gap = None if one.value is None else one.gap
        values[target.label], gaps[target.label] = one.value, gap
        excess.append(None if gap is None else gap - one.limit)
        results.append(one)
    shown_gaps = [None if one.value is None else one.gap for one in in_largest_gap(results)]
    found["gap"], found["excess"] = largest_defined(shown_gaps), largest_defined(excess)
    found["gaps"], found["values"] = gaps, values
    shown = with_compared(RATES_SHOWN, [constraint.metric for constraint in constraints])
    found["rates"] = {
        system.name: _rates(
            counts.merged(system.of_cell, system.n_groups, system.masks),
            system.labels,
            classes,
            shown,
        )
        for system in groups.systems
        if system.values is None
    }
    return found


def _outside(cells: NDArray[np.integer], groups: GroupSchema | None) -> NDArray[np.bool_]:
    """Return which rows have no group in at least one grouping."""
    found = cells < 0
    for system in () if groups is None else groups.systems:
        if not system.overlapping:
            found = found | (system.of_cell[cells] < 0)
    return found


def _majority(counts: Tally) -> float | None:
    if isinstance(counts, GroupValues):
        mass = counts.weight.sum()
        mean = np.average(counts.y, weights=counts.weight) if mass > 0 else 0.0
        spread = np.average((counts.y - mean) ** 2, weights=counts.weight) if mass > 0 else None
        return None if spread is None else float(np.sqrt(spread))
    by_label = counts.table.sum(axis=(0, 2))
    return float(by_label.max() / by_label.sum()) if by_label.sum() > 0 else None


def _plain(value: float | Undefined) -> float | None:
    return None if isinstance(value, Undefined) else float(value)


def _columns(
    counts: Tally, classes: NDArray[Any], shown: Sequence[Rate]
) -> dict[str, NDArray[np.float64]]:
    """Return the reported values by group, NaN where undefined."""
    if isinstance(counts, GroupValues):
        return {
            "mean_prediction": counts.means(counts.prediction),
            "mean_target": counts.means(counts.y),
            "rmse": np.sqrt(counts.means(counts.losses)),
        }
    if isinstance(counts, ClassCounts):
        names = [str(label) for label in classes.tolist()]
        found: dict[str, NDArray[np.float64]] = {}
        for rate in shown:
            values = counts.rates(rate)
            titles = [rate.name] if rate.classless else [f"{rate.name}[{name}]" for name in names]
            found |= dict(zip(titles, values, strict=True))
        return found
    plain = GroupCounts(counts.table)
    return {rate.name: plain.rates(rate) for rate in shown}


def _weights(counts: Tally) -> NDArray[np.float64]:
    table = counts.table
    return table[:, MASS] if table.ndim == 2 else table.sum(axis=(1, 2))


def _rates(
    counts: Tally, labels: tuple[str, ...], classes: NDArray[Any], shown: Sequence[Rate]
) -> dict[str, dict[str, float | None]]:
    table, weight = _columns(counts, classes, shown), _weights(counts)
    return {
        label: {
            "weight": float(weight[at]),
            **{r: None if np.isnan(v[at]) else float(v[at]) for r, v in table.items()},
        }
        for at, label in enumerate(labels)
    }
