"""The same chances for several classes and for numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.assembly.gaps import gaps_of
from fairautoml.data.dataset import Dataset
from fairautoml.metrics._effective import effective_rows
from fairautoml.metrics._redraw import moved_shares
from fairautoml.metrics._values import N_BINS, redrawn
from fairautoml.mitigators import Target

DRAWS = 500
"""Draws: the standard error of a probability is at most 0.022."""


@dataclass(frozen=True, slots=True, eq=False)
class OtherChances:
    """Draws of the noise of the tables, the same for all rules.

    Parameters
    ----------
    n_rows : ndarray of float64, shape (n_cells,)
        Effective rows by finest cell.
    noise : ndarray of float64, shape (n_draws, n_cells, n_columns)
        Standard normal.
    targets : tuple of Target
        The limits.
    """

    n_rows: NDArray[np.float64]
    noise: NDArray[np.float64]
    targets: tuple[Target, ...]

    def met(self, counts: NDArray[np.float64]) -> float:
        """Return the share of draws in which all limits are met, in [0, 1].

        Parameters
        ----------
        counts : ndarray of float64
            ``Entry.counts``: by label and decision, shape (n_cells, n_classes, n_classes), or the
            sums of numbers, shape (n_cells, n_columns).
        """
        if counts.ndim == 2:
            tables = redrawn(counts, self.n_rows, self.noise)
        else:
            tables = self._of_classes(counts)
        met = np.ones(len(tables), dtype=bool)
        for target in self.targets:
            met &= gaps_of(target, tables) <= target.limit
        return float(met.mean())

    def _of_classes(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = counts.reshape(len(counts), -1)
        mass = flat.sum(axis=1, keepdims=True)
        shares = np.divide(flat, mass, out=np.zeros_like(flat), where=mass > 0)
        tables = moved_shares(shares, self.n_rows, self.noise) * mass
        found: NDArray[np.float64] = tables.reshape(-1, *counts.shape)
        return found


def other_chances_on(
    dataset: Dataset, targets: Sequence[Target], seed: int, *, audit_ratio: float
) -> OtherChances:
    """Return the draws for rules that are counted on the given rows.

    Parameters
    ----------
    dataset, targets, seed, audit_ratio
        As for ``chances_on``.
    """
    n_cells = 1 if dataset.groups is None else dataset.groups.n_cells
    n_rows = effective_rows(dataset.cells, dataset.weight, n_cells)
    n_rows /= 1.0 + 1.0 / audit_ratio
    width = 2 + N_BINS if dataset.task == "regression" else len(dataset.classes) ** 2
    rng = np.random.default_rng([seed, DRAWS])
    return OtherChances(n_rows, rng.standard_normal((DRAWS, n_cells, width)), tuple(targets))
