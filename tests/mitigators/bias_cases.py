"""Populations whose groups can be guessed from the features, for the tests of bias scores."""

from dataclasses import replace

import numpy as np
from mitigator_cases import DEMOGRAPHIC, ODDS, OPPORTUNITY, gap_of, rows_of

from fairautoml.metrics import GroupCounts
from fairautoml.records import acceptance

POSITIVES = "false_positive_rate_difference"
CRITERIA = {DEMOGRAPHIC: "dp", OPPORTUNITY: "eop", POSITIVES: "fpr", ODDS: "eo"}


def population(seed, n_groups, n_atoms):
    """Return P(group, y | x) of atoms of equal mass, shape (n_atoms, n_groups, 2)."""
    rng = np.random.default_rng(seed)
    of_x, of_y, by_group = (rng.normal(size=n) for n in ((4, n_groups), 4, n_groups))
    x = rng.normal(size=(n_atoms, 4))
    hint = x @ of_x * 0.75 - np.log(1.0 + np.arange(n_groups))
    of_group = np.exp(hint) / np.exp(hint).sum(axis=1, keepdims=True)
    margin = (x @ of_y)[:, None] + by_group
    positive = 1 / (1 + np.exp(-margin))
    return np.stack([of_group * (1 - positive), of_group * positive], axis=2)


def with_membership(rows, shares):
    return replace(rows, membership=np.asarray(shares, dtype=np.float32))


def whole(shares):
    """One weighted row per atom, group and label: counting gives the population's own rates."""
    n, n_groups, _ = shares.shape
    rows = rows_of(
        np.repeat(shares[:, :, 1].sum(axis=1), 2 * n_groups),
        np.tile([0, 1], n * n_groups),
        np.tile(np.repeat(np.arange(n_groups), 2), n),
        shares.ravel(),
        n_cells=n_groups,
    )
    return with_membership(rows, shares.repeat(2 * n_groups, axis=0))


def sampled(seed, n_groups, n_rows, *, noise=0.0, weight=None):
    """Draw people; with noise the membership is off by that factor, as a model's is."""
    rng = np.random.default_rng(1000 + seed)
    shares = population(seed, n_groups, n_rows)
    drawn = rng.uniform(size=n_rows)[:, None] > shares.reshape(n_rows, -1).cumsum(axis=1)
    at = np.minimum(drawn.sum(axis=1), 2 * n_groups - 1)
    # Every group has both labels, so that every rate has a value.
    at[: 2 * n_groups] = np.arange(2 * n_groups)
    off = shares * np.exp(noise * rng.normal(size=shares.shape))
    rows = rows_of(shares[:, :, 1].sum(axis=1), at % 2, at // 2, weight, n_cells=n_groups)
    return with_membership(rows, off / off.sum(axis=(1, 2), keepdims=True))


def decided(rule, rows):
    return acceptance(rule, rows.scores, rows.cells, rows.membership)


def outcome(rule, rows, targets):
    """Return accuracy and the largest gap."""
    counts = GroupCounts.from_rows(
        rows.cells, rows.y, decided(rule, rows), rows.weight, n_groups=rows.n_cells
    )
    pooled = counts.pooled()
    accuracy = (pooled[0, 0] + pooled[1, 1]) / pooled.sum()
    return accuracy, max(gap_of(counts, one) for one in targets)
