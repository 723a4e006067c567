"""Which entries a page compares, and the rates of their groups."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.certification.suppression import hidden_among
from fairautoml.data.dataset import GroupSystem
from fairautoml.leaderboard import Leaderboard
from fairautoml.metrics import METRICS, GroupCounts
from fairautoml.metrics.rates import SHOWN, with_compared
from fairautoml.trials import Entry

SMALLEST = 10
"""Rows of a label from which a group's rates are published, whatever they weigh."""


def describe_groups(board: Leaderboard, rows: NDArray[np.int64] | None) -> dict[str, Any]:
    """Return the front, the entry without regard to the constraint, and both entries' rates."""
    ordered = board.ordered
    rank = {id(entry): at + 1 for at, entry in enumerate(ordered)}
    reference = max(ordered, key=lambda entry: (entry.value, -rank[id(entry)]))
    shown = {id(entry): entry for entry in (ordered[0], reference)}
    return {
        "front": sorted(rank[id(entry)] for entry in board.pareto_front()),
        "reference": rank[id(reference)],
        "rates": {str(rank[key]): _rates(entry, board, rows) for key, entry in shown.items()},
    }


def _rates(entry: Entry, board: Leaderboard, rows: NDArray[np.int64] | None) -> dict[str, Any]:
    if entry.counts.shape[1:] != (2, 2):
        # More than two classes: there is no one rate of acceptance.
        return {}
    systems = [system for system in board.systems if system.values is None]
    sizes = {system.name: _sizes(system, rows) for system in systems}
    hidden = {name: hidden_among(n.min(axis=1).tolist(), SMALLEST) for name, n in sizes.items()}
    if len(systems) > 1 and any(any(flags) for flags in hidden.values()):
        # The cells of one system are sums of those of another.
        hidden = {system.name: (True,) * len(system.labels) for system in systems}
    return {
        system.name: _of_groups(entry, system, sizes[system.name], hidden[system.name])
        for system in systems
    }


def _sizes(system: GroupSystem, rows: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return the rows of each group by label, shape (n_groups, 2)."""
    if rows is None:
        return np.zeros((system.n_groups, 2), dtype=np.int64)
    found: NDArray[np.int64] = system.member.astype(np.int64) @ rows
    return found


def _of_groups(
    entry: Entry, system: GroupSystem, sizes: NDArray[np.int64], hidden: tuple[bool, ...]
) -> dict[str, dict[str, float | None]]:
    counts = GroupCounts(entry.counts).merged(system.of_cell, system.n_groups, system.masks)
    constrained = dict.fromkeys(measure.metric for measure in entry.measures)
    shown = with_compared(SHOWN, map(METRICS.get, constrained))
    rates = {rate: counts.rates(rate) for rate in shown}
    weight = counts.table.sum(axis=(1, 2))
    found: dict[str, dict[str, float | None]] = {}
    for at, label in enumerate(system.labels):
        if hidden[at]:
            found[label] = dict.fromkeys(("rows", "weight", *(rate.name for rate in shown)))
            continue
        own: dict[str, float | None] = {
            rate.name: None if np.isnan(v[at]) else float(v[at]) for rate, v in rates.items()
        }
        n_rows = int(sizes[at].sum())
        found[label] = {"rows": n_rows, "weight": float(weight[at]), **own}
    return found
