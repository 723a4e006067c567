"""How likely a rule meets the constraints on people who were not counted.

A parametric bootstrap of the largest gap: the rates of every cell of groups are moved by the
noise of that many rows, jointly for all rates of a cell, and the limits are checked on what comes
out. The constraints will be counted on a finite sample of new people, whose noise comes on top.
The same draws serve all rules, so that rules are compared without noise. For choosing and
display, never a certificate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.assembly.chances_other import OtherChances, other_chances_on
from fairautoml.assembly.gaps import gaps_of
from fairautoml.data.dataset import Dataset
from fairautoml.metrics._effective import effective_rows
from fairautoml.mitigators import Target

DRAWS = 1000
"""Draws: the standard error of a probability is at most 0.016."""


@dataclass(frozen=True, slots=True, eq=False)
class Chances:
    """Draws of the noise of the rates, the same for all rules.

    Parameters
    ----------
    n_rows : ndarray of float64, shape (n_cells, 2)
        Effective rows by finest cell and label; with an audit, as many as have the noise of both
        samples together.
    noise : ndarray of float64, shape (n_draws, n_cells, 3)
        Standard normal: for the share of label 1 and for the acceptance of label 0 and label 1.
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
        counts : ndarray of float64, shape (n_cells, 2, 2)
            Weight by finest cell, label and decision.
        """
        tables = self._redrawn(counts)
        met = np.ones(len(tables), dtype=bool)
        for target in self.targets:
            met &= gaps_of(target, tables) <= target.limit
        return float(met.mean())

    def _redrawn(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return redrawn tables, shape (n_draws, n_cells, 2, 2), each cell at its own weight."""
        mass = counts.sum(axis=2)
        positive = _moved(
            mass[:, 1], mass.sum(axis=1), self.n_rows.sum(axis=1), self.noise[..., 0]
        )
        by_label = np.stack([1.0 - positive, positive], axis=2) * mass.sum(axis=1)[:, None]
        accepted = _moved(counts[:, :, 1], mass, self.n_rows, self.noise[..., 1:])
        tables: NDArray[np.float64] = np.stack(
            [by_label * (1.0 - accepted), by_label * accepted], axis=3
        )
        return tables


def _moved(
    part: NDArray[np.float64],
    whole: NDArray[np.float64],
    n_rows: NDArray[np.float64],
    noise: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return rates moved by the error of that many rows, kept in [0, 1]."""
    rate = np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
    # Half a row more on each side: a rate of 0 out of 10 is not known to be 0.
    smooth = (rate * n_rows + 0.5) / (n_rows + 1.0)
    error = np.sqrt(smooth * (1.0 - smooth) / np.maximum(n_rows, 1.0))
    moved: NDArray[np.float64] = np.clip(rate + error * noise, 0.0, 1.0)
    return moved


def chances_on(
    dataset: Dataset, targets: Sequence[Target], seed: int, *, audit_ratio: float
) -> Chances | OtherChances:
    """Return the draws for rules that are counted on the given rows.

    Parameters
    ----------
    dataset : Dataset
        The rows; their groups, labels and weights are read.
    targets : sequence of Target
        At least one.
    seed : int
        Root seed of the run.
    audit_ratio : float
        New people that the constraints will be counted on, in times of the rows here, above 0,
        groups and labels as here; ``inf`` = all people there are.
    """
    if dataset.task != "binary":
        return other_chances_on(dataset, targets, seed, audit_ratio=audit_ratio)
    n_cells = 1 if dataset.groups is None else dataset.groups.n_cells
    cell_and_label = dataset.cells.astype(np.int64) * 2 + dataset.y
    n_rows = effective_rows(cell_and_label, dataset.weight, 2 * n_cells).reshape(n_cells, 2)
    # Both errors are independent: r (1 - r) / n + r (1 - r) / (n ratio).
    n_rows /= 1.0 + 1.0 / audit_ratio
    rng = np.random.default_rng([seed, DRAWS])
    return Chances(n_rows, rng.standard_normal((DRAWS, n_cells, 3)), tuple(targets))
