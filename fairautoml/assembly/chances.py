"""How likely a rule meets the constraints on people who were not counted.

A parametric bootstrap of the largest gap: the rates of every group are moved by the noise of that
many rows, jointly for all rates of all groups, and the limits are checked on what comes out. The
constraints will be counted on a finite sample of new people, whose noise comes on top. The same
draws serve all rules, so that rules are compared without noise. For choosing and display, never a
certificate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.assembly.chances_other import OtherChances, other_chances_on
from fairautoml.assembly.group_noise import (
    TargetNoise,
    drawn_groups,
    noise_of_groups,
    rows_of_groups,
)
from fairautoml.data.dataset import Dataset
from fairautoml.metrics._table import effective_rows, weight_sums
from fairautoml.mitigators import Target

DRAWS = 1000
"""Draws: the standard error of a probability is at most 0.016."""


@dataclass(frozen=True, slots=True, eq=False)
class Chances:
    """Draws of the noise of the rates, the same for all rules."""

    # each limit with rows of shape (n_drawn, 3) and noise of shape (n_draws, n_drawn, 3): for the
    # share of label 1 and for the acceptance of label 0 and label 1. With an audit the rows are
    # as many as have the noise of both samples together
    by_target: tuple[TargetNoise, ...]

    @classmethod
    def of_rows(
        cls,
        n_rows: NDArray[np.float64],
        noise: NDArray[np.float64],
        targets: Sequence[Target],
    ) -> "Chances":
        """Return the draws for independent rows that all weigh the same."""
        found = []
        for target in targets:
            member = drawn_groups(target.system)
            rows = member.astype(np.float64) @ n_rows
            found.append(
                TargetNoise(
                    target=target,
                    n_rows=np.column_stack([rows.sum(axis=1), rows]),
                    noise=_joined(member, n_rows, noise),
                )
            )
        return cls(tuple(found))

    def met(self, counts: NDArray[np.float64]) -> float:
        """Return the share of draws in which all limits are met, in [0, 1]."""
        met = [one.met(_redrawn(one, one.merged(counts))) for one in self.by_target]
        return float(np.all(met, axis=0).mean())


def _redrawn(drawn: TargetNoise, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return redrawn tables, shape (n_draws, n_drawn, 2, 2), each group at its own weight."""
    mass = counts.sum(axis=2)
    positive = _moved(mass[:, 1], mass.sum(axis=1), drawn.n_rows[:, 0], drawn.noise[..., 0])
    by_label = np.stack([1.0 - positive, positive], axis=2) * mass.sum(axis=1)[:, None]
    accepted = _moved(counts[:, :, 1], mass, drawn.n_rows[:, 1:], drawn.noise[..., 1:])
    tables: NDArray[np.float64] = np.stack(
        [by_label * (1.0 - accepted), by_label * accepted], axis=3
    )
    return tables


def _joined(
    member: NDArray[np.bool_], squares: NDArray[np.float64], noise: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the noise of groups; squared weights by cell and label, shape (n_cells, 2)."""
    columns = (squares.sum(axis=1), squares[:, 0], squares[:, 1])
    return np.concatenate(
        [noise_of_groups(member, part, noise[..., [at]]) for at, part in enumerate(columns)],
        axis=2,
    )


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
    dataset: Dataset,
    targets: Sequence[Target],
    seed: int,
    *,
    audit_ratio: float,
    entities: NDArray[np.integer] | None = None,
) -> Chances | OtherChances:
    """Return the draws for rules that are counted on the given rows."""
    if dataset.task != "binary":
        return other_chances_on(dataset, targets, seed, audit_ratio=audit_ratio, entities=entities)
    n_cells = 1 if dataset.groups is None else dataset.groups.n_cells
    cell_and_label = dataset.cells.astype(np.int64) * 2 + dataset.y
    _, squares = weight_sums(cell_and_label, dataset.weight, 2 * n_cells, entities)
    rng = np.random.default_rng([seed, DRAWS])
    noise = rng.standard_normal((DRAWS, n_cells, 3))
    return Chances(
        tuple(
            TargetNoise(
                target=target,
                n_rows=_rows_behind(dataset, target, audit_ratio, entities),
                noise=_joined(drawn_groups(target.system), squares.reshape(n_cells, 2), noise),
            )
            for target in targets
        )
    )


def _rows_behind(
    dataset: Dataset,
    target: Target,
    audit_ratio: float,
    entities: NDArray[np.integer] | None,
) -> NDArray[np.float64]:
    """Return the effective rows behind share and acceptances of each group."""
    n_drawn = len(drawn_groups(target.system))
    rows, group = rows_of_groups(target.system, dataset.cells)
    label, weight = group * 2 + dataset.y[rows], dataset.weight[rows]
    # Both errors are independent: r (1 - r) / n + r (1 - r) / (n ratio).
    worse = 1.0 + 1.0 / audit_ratio
    if entities is None:
        by_label = effective_rows(label, weight, 2 * n_drawn).reshape(n_drawn, 2) / worse
        return np.column_stack([by_label.sum(axis=1), by_label])
    whose = entities[rows]
    by_label = effective_rows(label, weight, 2 * n_drawn, whose).reshape(n_drawn, 2)
    rates = target.metric.compared
    if not rates or any(rate.label is None for rate in rates):
        # A person with rows of both labels moves both acceptances, which are drawn apart: that
        # their sum moves as it should, both move more.
        apart = weight_sums(label, weight, 2 * n_drawn, whose)[1].reshape(n_drawn, 2).sum(axis=1)
        together = weight_sums(group, weight, n_drawn, whose)[1]
        by_label *= (apart / np.maximum(together, np.finfo(np.float64).tiny))[:, None]
    return np.column_stack([effective_rows(group, weight, n_drawn, whose), by_label]) / worse
