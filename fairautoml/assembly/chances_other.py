"""The same chances for several classes and for numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.assembly.group_noise import (
    TargetNoise,
    drawn_groups,
    noise_of_groups,
    rows_of_groups,
)
from fairautoml.data.dataset import Dataset
from fairautoml.metrics._table import N_BINS, effective_rows, moved_shares, redrawn, weight_sums
from fairautoml.mitigators import Target

DRAWS = 500
"""Draws: the standard error of a probability is at most 0.022."""


@dataclass(frozen=True, slots=True, eq=False)
class OtherChances:
    """Draws of the noise of the tables, the same for all rules."""

    # each limit with rows of shape (n_drawn,) and noise of shape (n_draws, n_drawn, n_columns)
    by_target: tuple[TargetNoise, ...]

    def met(self, counts: NDArray[np.float64]) -> float:
        """Return the share of draws in which all limits are met, in [0, 1]."""
        met = [one.met(_moved(one, one.merged(counts))) for one in self.by_target]
        return float(np.all(met, axis=0).mean())


def _moved(drawn: TargetNoise, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return redrawn tables, shape (n_draws, n_drawn, ...), each group at its own weight."""
    if counts.ndim == 2:
        return redrawn(counts, drawn.n_rows, drawn.noise)
    flat = counts.reshape(len(counts), -1)
    mass = flat.sum(axis=1, keepdims=True)
    shares = np.divide(flat, mass, out=np.zeros_like(flat), where=mass > 0)
    tables = moved_shares(shares, drawn.n_rows, drawn.noise) * mass
    found: NDArray[np.float64] = tables.reshape(-1, *counts.shape)
    return found


def other_chances_on(
    dataset: Dataset,
    targets: Sequence[Target],
    seed: int,
    *,
    audit_ratio: float,
    entities: NDArray[np.integer] | None = None,
) -> OtherChances:
    """Return the draws for rules that are counted on the given rows."""
    n_cells = 1 if dataset.groups is None else dataset.groups.n_cells
    _, squares = weight_sums(dataset.cells, dataset.weight, n_cells, entities)
    width = 2 + N_BINS if dataset.task == "regression" else len(dataset.classes) ** 2
    rng = np.random.default_rng([seed, DRAWS])
    noise = rng.standard_normal((DRAWS, n_cells, width))
    found = []
    for target in targets:
        member = drawn_groups(target.system)
        rows, group = rows_of_groups(target.system, dataset.cells)
        whose = None if entities is None else entities[rows]
        n_rows = effective_rows(group, dataset.weight[rows], len(member), whose)
        found.append(
            TargetNoise(
                target=target,
                n_rows=n_rows / (1.0 + 1.0 / audit_ratio),
                noise=noise_of_groups(member, squares, noise),
            )
        )
    return OtherChances(tuple(found))
