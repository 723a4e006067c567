"""How decisions fare on rows with known labels: accuracy, constraints, rates by group."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.groups import GroupSchema
from fairautoml.evaluation.problem import targets_of
from fairautoml.metrics import METRICS, Constraint, GroupCounts, Undefined
from fairautoml.metrics._base import Rate

SHOWN_RATES: tuple[Rate, ...] = ("selection", "tpr", "fpr", "accuracy")


def judge(
    y: NDArray[np.integer],
    decisions: NDArray[np.integer],
    cells: NDArray[np.integer],
    *,
    groups: GroupSchema | None,
    constraints: tuple[Constraint, ...],
    weight: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """Return what the decisions are worth, as plain values; undefined ones are None.

    Parameters
    ----------
    y, decisions : ndarray of int, shape (n_rows,)
        Labels and decisions, 0 or 1.
    cells : ndarray of int, shape (n_rows,)
        Finest cells, -1 = a group that is not known.
    groups : GroupSchema or None
        What the cells mean.
    constraints : tuple of Constraint
        What is measured.
    weight : ndarray of float64, shape (n_rows,), optional
        Sample weights.

    Returns
    -------
    dict
        ``accuracy``, ``balanced_accuracy``, ``f1``; ``majority``, the accuracy of giving
        everybody the commoner label; ``gap``, the largest over all constraints, and ``excess``,
        the largest gap minus limit, at most 0 when every constraint is met; ``gaps`` by metric
        and group system; ``rates`` by group system, group and rate.
    """
    everybody = np.zeros(len(y), dtype=np.int64)
    pooled = GroupCounts.from_rows(everybody, y, decisions, weight, n_groups=1)
    found: dict[str, Any] = {
        "n_rows": len(y),
        "n_unknown_group": int((cells < 0).sum()),
        "majority": _majority(pooled),
        **{
            name: _plain(METRICS.get(name).value(pooled))
            for name in ("accuracy", "balanced_accuracy", "f1")
        },
    }
    if groups is None:
        return found
    counts = GroupCounts.from_rows(cells, y, decisions, weight, n_groups=groups.n_cells)
    gaps: dict[str, float | None] = {}
    excess: list[float | None] = []
    for target in targets_of(constraints, groups.systems):
        merged = counts.merged(target.system.of_cell, target.system.n_groups)
        value = target.metric.value(merged)
        gap = value if isinstance(value, Undefined) else target.metric.gap(value)
        plain = gaps[f"{target.metric.name}[{target.system.name}]"] = _plain(gap)
        excess.append(None if plain is None else plain - target.limit)
    found["gap"], found["excess"] = _largest(list(gaps.values())), _largest(excess)
    found["gaps"] = gaps
    found["rates"] = {
        system.name: _rates(counts.merged(system.of_cell, system.n_groups), system.labels)
        for system in groups.systems
    }
    return found


def _majority(counts: GroupCounts) -> float | None:
    by_label = counts.table.sum(axis=(0, 2))
    return float(by_label.max() / by_label.sum()) if by_label.sum() > 0 else None


def _largest(values: Sequence[float | None]) -> float | None:
    """Return the largest, None when one of them is undefined or there is none."""
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


def _plain(value: float | Undefined) -> float | None:
    return None if isinstance(value, Undefined) else float(value)


def _rates(counts: GroupCounts, labels: tuple[str, ...]) -> dict[str, dict[str, float | None]]:
    table = {rate: counts.rates(rate) for rate in SHOWN_RATES}
    return {
        label: {
            "weight": float(counts.table[at].sum()),
            **{r: None if np.isnan(v[at]) else float(v[at]) for r, v in table.items()},
        }
        for at, label in enumerate(labels)
    }
