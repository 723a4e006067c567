"""Estimate the probability that a constraint holds on new rows, by a parametric bootstrap.

The rates of all groups are redrawn jointly, with the noise of the search rows and of a finite
sample of new rows, and the limits are checked on the result. All rules share the same draws. The
noise is added to the compared groups, not to the finest groups, whose rates are often 0 or 1 and
would be biased by clipping; groups that share rows share noise. Not a certificate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import Dataset
from fairautoml.metrics import BoundConstraint
from fairautoml.metrics._table import N_BINS, effective_rows, moved_shares, redrawn, weight_sums
from fairautoml.metrics.groups import GroupSystem
from fairautoml.metrics.rates import values_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TargetNoise:
    """Draws of the noise of the groups of one target."""

    target: BoundConstraint  # the limit
    # effective rows behind each redrawn quantity, by group of ``drawn_groups``
    n_rows: NDArray[np.float64]  # shape (n_drawn, ...)
    noise: NDArray[np.float64]  # shape (n_draws, n_drawn, ...): standard normal

    def merged(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the table of the groups, shape (n_drawn, ...), from that of the finest groups."""
        member = drawn_groups(self.target.system).astype(np.float64)
        return np.tensordot(member, counts, 1)

    def first(self, n_draws: int) -> "TargetNoise":
        """Return the first draws."""
        return replace(self, noise=self.noise[:n_draws])


def gaps_of(target: BoundConstraint, tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the gap of each table, infinite where undefined, shape (n_draws,)."""
    overlapping = target.system.overlapping
    groups, overall = (tables[:, :-1], tables[:, -1]) if overlapping else (tables, None)
    gaps = target.metric.gap(values_of(target.metric, groups, overall))
    return np.where(np.isnan(gaps), np.inf, gaps)


def drawn_groups(system: GroupSystem) -> NDArray[np.bool_]:
    """Return which finest groups make up each drawn group, shape (n_drawn, n_cells).

    If groups overlap, all rows are an additional last group; otherwise the overall table is the
    sum over the groups, without the rows that belong to none.
    """
    member = system.member
    if not system.overlapping:
        return member
    return np.concatenate([member, np.ones((1, member.shape[1]), dtype=bool)])


def rows_of_groups(
    system: GroupSystem, cells: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row and the drawn group of every membership, sorted by row."""
    if system.overlapping:
        rows, groups = np.nonzero(drawn_groups(system).T[cells])
        return rows, groups
    group = system.of_cell[cells].astype(np.int64)
    rows = np.flatnonzero(group >= 0)
    return rows, group[rows]


def noise_of_groups(
    member: NDArray[np.bool_], squares: NDArray[np.float64], noise: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the standard normal noise of groups from that of their finest groups.

    The error of a weighted mean is the sum of the errors of its parts in proportion to
    ``sqrt(sum w^2)``, and so is its noise.
    """
    parts = member * squares
    # An empty group gets the noise of its parts in equal shares.
    parts = np.where(parts.any(axis=1, keepdims=True), parts, member)
    total = np.maximum(parts.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return np.matmul(np.sqrt(parts / total), noise)


DRAWS, OTHER_DRAWS = 1000, 500
"""Draws for two classes, and otherwise: the standard errors of a probability are at most 0.016 and
0.022."""

MOST_NUMBERS, FEWEST_DRAWS = 100_000, 500
"""Random numbers from which there are fewer draws, and their least number."""


def n_draws(usual: int, n_numbers: int) -> int:
    """Return the number of draws of ``n_numbers`` random numbers each."""
    return min(usual, max(FEWEST_DRAWS, MOST_NUMBERS // n_numbers))


@dataclass(frozen=True, slots=True, eq=False)
class BoundProbability:
    """Draws of the noise of the tables, the same for all rules.

    With an audit the rows are as many as have the noise of both samples together.
    """

    # For two classes each limit has rows of shape (n_drawn, 3) and noise of shape
    # (n_draws, n_drawn, 3): for the share of label 1 and for the acceptance of label 0 and
    # label 1. Otherwise rows of shape (n_drawn,) and noise of shape (n_draws, n_drawn, n_columns)
    by_target: tuple[TargetNoise, ...]

    def first(self, n_draws: int) -> "BoundProbability":
        """Return the first draws."""
        return BoundProbability(tuple(one.first(n_draws) for one in self.by_target))

    def gaps(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gap of each target in each draw, shape (n_targets, n_draws)."""
        return np.array(
            [gaps_of(one.target, _redrawn(one, one.merged(counts))) for one in self.by_target]
        )

    def share_met(self, gaps: NDArray[np.float64]) -> float:
        """Return the share of draws in which all limits are met, in [0, 1]."""
        limits = np.array([[one.target.limit] for one in self.by_target])
        return float((gaps <= limits).all(axis=0).mean())

    def met(self, counts: NDArray[np.float64]) -> float:
        """Return the probability that all limits are met, in [0, 1]."""
        return self.share_met(self.gaps(counts))


def _redrawn(drawn: TargetNoise, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return redrawn tables, shape (n_draws, n_drawn, ...), each group at its own weight."""
    if counts.ndim == 2:
        return redrawn(counts, drawn.n_rows, drawn.noise)
    if counts.shape[1] == 2:
        return _of_two_classes(drawn, counts)
    flat = counts.reshape(len(counts), -1)
    mass = flat.sum(axis=1, keepdims=True)
    shares = np.divide(flat, mass, out=np.zeros_like(flat), where=mass > 0)
    tables = moved_shares(shares, drawn.n_rows, drawn.noise) * mass
    return tables.reshape(-1, *counts.shape)


def _of_two_classes(drawn: TargetNoise, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    mass = counts.sum(axis=2)
    total = mass.sum(axis=1)
    positive = total * _moved_shares(mass[:, 1], total, drawn.n_rows[:, 0], drawn.noise[..., 0])
    accepted = [
        _moved_shares(counts[:, y, 1], mass[:, y], drawn.n_rows[:, 1 + y], drawn.noise[..., 1 + y])
        for y in (0, 1)
    ]
    # Metrics add up single cells of all tables, so each cell is contiguous.
    cells = np.empty((2, 2, *positive.shape))
    for y, by_label in enumerate((total - positive, positive)):
        cells[y, 1] = by_label * accepted[y]
        cells[y, 0] = by_label - cells[y, 1]
    return cells.transpose(2, 3, 0, 1)


def noise_by_label(
    member: NDArray[np.bool_], squares: NDArray[np.float64], noise: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the noise of groups; squared weights by cell and label, shape (n_cells, 2)."""
    columns = (squares.sum(axis=1), squares[:, 0], squares[:, 1])
    return np.concatenate(
        [noise_of_groups(member, part, noise[..., [at]]) for at, part in enumerate(columns)],
        axis=2,
    )


def _moved_shares(
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
    return np.clip(rate + error * noise, 0.0, 1.0)


def chances_on(
    dataset: Dataset,
    targets: Sequence[BoundConstraint],
    seed: int,
    *,
    audit_ratio: float,
    entities: NDArray[np.integer] | None = None,
) -> BoundProbability:
    """Return the draws for rules that are counted on the given rows."""
    n_cells, cells = dataset.n_cells, dataset.cells.astype(np.int64)
    binary = dataset.task == "binary"
    width = 2 + N_BINS if dataset.task == "regression" else len(dataset.classes) ** 2
    usual, width = (DRAWS, 3) if binary else (OTHER_DRAWS, width)
    slot, n_slots = (cells * 2 + dataset.y, 2 * n_cells) if binary else (cells, n_cells)
    _, squares = weight_sums(slot, dataset.weight, n_slots, entities)
    rng = np.random.default_rng([seed, usual])
    noise = rng.standard_normal((n_draws(usual, n_cells * width), n_cells, width))
    # Both errors are independent: r (1 - r) / n + r (1 - r) / (n ratio).
    worse = 1.0 + 1.0 / audit_ratio
    found = []
    for target in targets:
        member = drawn_groups(target.system)
        if binary:
            n_rows = _rows_by_label(dataset, target, worse, entities)
            moved = noise_by_label(member, squares.reshape(n_cells, 2), noise)
        else:
            rows, group = rows_of_groups(target.system, dataset.cells)
            whose = None if entities is None else entities[rows]
            n_rows = effective_rows(group, dataset.weight[rows], len(member), whose) / worse
            moved = noise_of_groups(member, squares, noise)
        found.append(TargetNoise(target=target, n_rows=n_rows, noise=moved))
    return BoundProbability(tuple(found))


def _rows_by_label(
    dataset: Dataset,
    target: BoundConstraint,
    worse: float,
    entities: NDArray[np.integer] | None,
) -> NDArray[np.float64]:
    """Return the effective rows behind share and acceptances of each group."""
    n_drawn = len(drawn_groups(target.system))
    rows, group = rows_of_groups(target.system, dataset.cells)
    label, weight = group * 2 + dataset.y[rows], dataset.weight[rows]
    if entities is None:
        by_label = effective_rows(label, weight, 2 * n_drawn).reshape(n_drawn, 2) / worse
        return np.column_stack([by_label.sum(axis=1), by_label])
    whose = entities[rows]
    by_label = effective_rows(label, weight, 2 * n_drawn, whose).reshape(n_drawn, 2)
    rates = target.metric.compared
    if not rates or any(rate.label is None for rate in rates):
        # An individual with rows of both labels changes both rates, which are drawn separately.
        # Both get more noise so that their sum has the right variance.
        apart = weight_sums(label, weight, 2 * n_drawn, whose)[1].reshape(n_drawn, 2).sum(axis=1)
        together = weight_sums(group, weight, n_drawn, whose)[1]
        by_label *= (apart / np.maximum(together, np.finfo(np.float64).tiny))[:, None]
    return np.column_stack([effective_rows(group, weight, n_drawn, whose), by_label]) / worse
