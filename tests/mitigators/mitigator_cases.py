"""Small cases for the tests of mitigators, and the brute force that they are compared with."""

import itertools

import numpy as np

from fairautoml.metrics import METRICS, BoundConstraint, GroupCounts, Undefined
from fairautoml.metrics.groups import GroupSystem
from fairautoml.mitigators import Goal, ScoreRows

DEMOGRAPHIC = "demographic_parity_difference"
OPPORTUNITY = "equal_opportunity_difference"
ODDS = "equalized_odds_difference"
SERVED = (
    "accuracy_parity_difference",
    DEMOGRAPHIC,
    "demographic_parity_ratio",
    OPPORTUNITY,
    ODDS,
    "equalized_odds_ratio",
    "error_rate_ratio",
    "false_negative_rate_difference",
    "false_positive_rate_difference",
)


ANCHORED = (
    "demographic_parity_to_overall",
    "equalized_odds_to_overall",
    "false_negative_rate_to_overall",
    "false_positive_rate_to_overall",
    "fned",
    "fped",
)


MINIMUMS = (
    "minimum_accuracy",
    "minimum_negative_predictive_value",
    "minimum_precision",
    "minimum_recall",
    "minimum_selection_rate",
    "minimum_true_negative_rate",
)


def overlapping(masks, name="identity"):
    """Groups as rows of booleans over the cells."""
    masks = np.asarray(masks, dtype=bool)
    labels = tuple(f"{name} {g}" for g in range(len(masks)))
    ungrouped = np.full(masks.shape[1], -1, dtype=np.int32)
    return GroupSystem(name=name, labels=labels, of_cell=ungrouped, masks=masks)


def system(of_cell, name="group"):
    of_cell = np.asarray(of_cell, dtype=np.int32)
    labels = tuple(f"{name} {g}" for g in range(int(of_cell.max()) + 1))
    return GroupSystem(name=name, labels=labels, of_cell=of_cell)


def target(metric, groups, limit=0.05):
    return BoundConstraint(metric=METRICS.get(metric), system=groups, limit=limit)


def goal(metric, n_cells, limit=0.05, *, objective="accuracy", randomized=False):
    targets = (target(metric, system(np.arange(n_cells)), limit),)
    return Goal(targets=targets, objective=METRICS.get(objective), randomized=randomized)


def rows_of(scores, y, cells, weight=None, n_cells=None):
    scores = np.asarray(scores)
    cells = np.asarray(cells, dtype=np.int32)
    return ScoreRows(
        scores=scores if scores.dtype.kind == "f" else scores.astype(np.float64),
        y=np.asarray(y, dtype=np.int8),
        weight=np.ones(len(scores)) if weight is None else np.asarray(weight, dtype=np.float64),
        cells=cells,
        n_cells=int(cells.max()) + 1 if n_cells is None else n_cells,
    )


def random_rows(seed, n_cells, n_rows, decimals=None):
    """Groups with other base rates and sizes; few decimals make ties."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(n_cells, size=n_rows, p=_sizes(n_cells))
    # Every group has both labels, so that every rate has a value.
    cells[: 2 * n_cells] = np.repeat(np.arange(n_cells), 2)
    true = rng.beta(2, 1 + cells % 3 + 1, size=n_rows)
    y = (rng.uniform(size=n_rows) < true).astype(np.int8)
    y[: 2 * n_cells] = np.tile([0, 1], n_cells)
    scores = np.clip(true + rng.normal(0, 0.1, size=n_rows), 0, 1)
    if decimals is not None:
        scores = scores.round(decimals)
    return rows_of(scores.astype(np.float32), y, cells, n_cells=n_cells)


def _sizes(n_cells):
    share = 1.0 / (1.0 + np.arange(n_cells))
    return share / share.sum()


def counts_of(rule, rows):
    decision = rule.decide(rows.scores, rows.cells)
    return GroupCounts.from_rows(rows.cells, rows.y, decision, rows.weight, n_groups=rows.n_cells)


def gap_of(counts, one):
    groups = one.system
    value = one.metric.value(counts.merged(groups.of_cell, groups.n_groups, groups.masks))
    return np.inf if isinstance(value, Undefined) else one.metric.gap(value)


def worth(counts, gain=(1.0, 1.0)):
    pooled = counts.pooled()
    return gain[0] * pooled[1, 1] - gain[1] * pooled[0, 1]


def all_choices(cuts):
    """Every combination of one cut per group with the counts that it leads to."""
    totals = np.array([cut.totals for cut in cuts])
    for choice in itertools.product(*(range(len(cut.thresholds)) for cut in cuts)):
        accepted = np.array([cut.accepted[at] for cut, at in zip(cuts, choice, strict=True)])
        yield choice, GroupCounts(np.stack([totals - accepted, accepted], axis=2))


def brute_force(cuts, targets, tolerance, gain=(1.0, 1.0)):
    """Largest gain over all combinations of cuts within the tolerance, -inf without any."""
    return max(
        (
            worth(counts, gain)
            for _, counts in all_choices(cuts)
            if all(gap_of(counts, one) <= tolerance + 1e-12 for one in targets)
        ),
        default=-np.inf,
    )


def chosen_counts(cuts, choice):
    totals = np.array([cut.totals for cut in cuts])
    accepted = np.array([cut.accepted[at] for cut, at in zip(cuts, choice, strict=True)])
    return GroupCounts(np.stack([totals - accepted, accepted], axis=2))
