"""Adds rows to small combinations of group and label.

New rows are copies, or interpolated between a row and one of its five nearest neighbours of the
same cell. Sources: Chawla, Bowyer, Hall and Kegelmeyer, "SMOTE: synthetic minority over-sampling
technique", JAIR 2002, section 4.2 and, for mixed columns, 6.1; for cells of group and label
Chakraborty, Majumder and Menzies, "Bias in machine learning software", 2021, arXiv 2105.12195.
Base rates change, so scores must be calibrated, or thresholds fitted, on the original rows.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fairautoml.data.splits import row_draws
from fairautoml.exceptions import DegradedWarning, warn
from fairautoml.mitigators._base import (
    FitBaseLearner,
    Mitigator,
    RateMetrics,
    ScoreModel,
    TrainRows,
)
from fairautoml.mitigators._training import RowGroups, refuse_sparse, row_groups
from fairautoml.records import Floats, ParamValues

NAME = "group_oversampling"

MOST_NEW = 5
"""Largest number of new rows per row of a cell; more would be mostly copies."""

NEIGHBOURS = 5
"""Number of nearest neighbours, as in SMOTE-NC."""

MAX_POOL = 1000
"""Rows of a cell searched for neighbours; bounds the time, linear in the cell's size."""

CHUNK = 1024
"""Rows whose distances are computed in one batch, to bound memory."""


def train(rows: TrainRows, fit_base: FitBaseLearner, params: ParamValues, seed: int) -> ScoreModel:
    """Train on original and new rows; a new row has group, label and weight of its source."""
    groups = row_groups(rows, NAME)
    groups.require_labels(NAME)
    known = np.flatnonzero(groups.of_row >= 0)
    slot = groups.of_row[known] * 2 + rows.y[known]
    counts = np.bincount(slot, minlength=2 * groups.system.n_groups).reshape(-1, 2)
    wanted = float(params["strength"]) * rows_to_add(counts, str(params["strategy"]))
    n_new = np.minimum(np.rint(wanted).astype(np.int64), MOST_NEW * counts)
    members = _members(rows, groups, seed)
    sources = {cell: np.resize(members[cell], n) for cell, n in np.ndenumerate(n_new) if n > 0}
    if not sources:
        return fit_base(rows)
    at = np.concatenate(list(sources.values()))
    if params["new_rows"] == "copies":
        return fit_base(_with(rows, rows.X[at], at))
    refuse_sparse(rows.feature_schema, f"{NAME} with new_rows='between'")
    columns = _Columns(rows)
    added = [
        _between(rows.X, columns, members[cell], source, np.random.default_rng([seed, cell[1]]))
        for cell, source in sources.items()
    ]
    return fit_base(_with(rows, np.concatenate(added), at))


def rows_to_add(counts: NDArray[np.integer], strategy: str) -> NDArray[np.int64]:
    """Return the rows to add to each cell, shape (n_groups, 2); 0 for groups without rows."""
    largest = {
        "max_cell": counts.max(keepdims=True),
        "balance_groups_within_label": counts.max(axis=0, keepdims=True),
        "balance_labels_within_group": counts.max(axis=1, keepdims=True),
    }[strategy]
    return np.where(counts.any(axis=1, keepdims=True), largest - counts, 0)


def _members(
    rows: TrainRows, groups: RowGroups, seed: int
) -> dict[tuple[int, ...], NDArray[np.int64]]:
    """Return the rows of each cell in an order that depends only on seed and content."""
    order = np.lexsort((rows.weight, row_draws(rows.X, seed)))
    of_group, label = groups.of_row[order], rows.y[order]
    return {
        (int(group), one): order[(of_group == group) & (label == one)]
        for group in groups.present
        for one in (0, 1)
    }


def _with(rows: TrainRows, X_new: Any, at: NDArray[np.int64]) -> TrainRows:
    both = (rows.X, X_new)
    sparse_rows = rows.feature_schema.sparse
    return replace(
        rows,
        X=sparse.vstack(both, format="csr") if sparse_rows else np.concatenate(both),
        y=np.concatenate((rows.y, rows.y[at])),
        weight=np.concatenate((rows.weight, rows.weight[at])),
        cells=np.concatenate((rows.cells, rows.cells[at])),
    )


class _Columns:
    """Column statistics for interpolation between two rows."""

    def __init__(self, rows: TrainRows) -> None:
        self.categorical = np.array(rows.feature_schema.categorical, dtype=np.int64)
        self.numeric = np.array(rows.feature_schema.numeric, dtype=np.int64)
        numbers = rows.X[rows.weight > 0][:, self.numeric]
        self.mean, self.scale = _moments(numbers)
        # Columns of integers.
        self.whole = (np.isnan(numbers) | (np.rint(numbers) == numbers)).all(axis=0)

    def comparable(self, X: NDArray[np.floating]) -> tuple[Floats, Floats]:
        """Return scaled numbers, 0 where missing, and codes, -1 where missing."""
        numbers = np.nan_to_num((X[:, self.numeric] - self.mean) / self.scale)
        return numbers, np.nan_to_num(X[:, self.categorical].astype(np.float64), nan=-1.0)


def _between(
    table: NDArray[np.floating],
    columns: _Columns,
    members: NDArray[np.int64],
    sources: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Return one new row per source, shape (n_sources, n_features).

    Numbers are interpolated between row and neighbour with one random fraction per new row, and
    rounded in integer columns; if either is missing, the row's value is kept. Categories,
    including missing ones, are taken from the row or the neighbour at random.
    """
    X: NDArray[np.float32] = table[sources].astype(np.float32)
    if len(members) == 1:
        warn(
            f"group_oversampling: one label of a group has a single row; it is copied "
            f"{len(sources)} times",
            DegradedWarning,
        )
        return X
    distinct = members[: len(sources)]
    near = _nearest(table, columns, distinct, members[:MAX_POOL])
    pick = rng.integers(near.shape[1], size=len(sources))
    neighbour = table[near[np.arange(len(sources)) % len(distinct), pick]]
    way = rng.uniform(size=(len(sources), 1))
    codes, numbers = columns.categorical, columns.numeric
    coin = rng.uniform(size=(len(sources), len(codes))) < 0.5
    X[:, codes] = np.where(coin, X[:, codes], neighbour[:, codes])
    X[:, numbers] = interpolated(X[:, numbers], neighbour[:, numbers], way, columns.whole)
    return X


def interpolated(
    x: NDArray[np.floating],
    neighbour: NDArray[np.floating],
    way: Floats,
    whole: NDArray[np.bool_],
) -> Floats:
    """Return ``x + way (neighbour - x)``, or ``x`` where either is missing."""
    new = x + way * (neighbour.astype(np.float64) - x)
    new = np.where(whole, np.rint(new), new)
    # Rounding of the product may overshoot the neighbour.
    new = np.clip(new, np.minimum(x, neighbour), np.maximum(x, neighbour))
    return np.where(np.isnan(new), x, new)


def _nearest(
    table: NDArray[np.floating],
    columns: _Columns,
    queries: NDArray[np.int64],
    pool: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the nearest rows of the pool for each query, shape (n_queries, at most 5).

    Numbers are in units of their standard deviation, with the mean for missing ones; a different
    category counts as one standard deviation (SMOTE-NC).
    """
    n = min(NEIGHBOURS, len(pool) - 1)
    near = np.empty((len(queries), n), dtype=np.int64)
    numbers, codes = columns.comparable(table[pool])
    for start in range(0, len(queries), CHUNK):
        part = queries[start : start + CHUNK]
        own, own_codes = columns.comparable(table[part])
        apart = (own**2).sum(axis=1)[:, None] - 2 * own @ numbers.T + (numbers**2).sum(axis=1)
        for column in range(codes.shape[1]):
            apart += own_codes[:, column, None] != codes[:, column]
        apart[part[:, None] == pool] = np.inf
        near[start : start + CHUNK] = pool[np.argsort(apart, axis=1, kind="stable")[:, :n]]
    return near


def _moments(X: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of each column; 1 for a constant column."""
    found = ~np.isnan(X)
    n = np.maximum(found.sum(axis=0), 1)
    values = np.where(found, X, 0.0).astype(np.float64)
    mean = values.sum(axis=0) / n
    spread = np.sqrt((np.where(found, values - mean, 0.0) ** 2).sum(axis=0) / n)
    return mean, np.where(spread > 0, spread, 1.0)


MITIGATOR = Mitigator(
    name=NAME,
    stage="pre",
    needs_sensitive_at_predict=False,
    serves=RateMetrics(difference="acceptance", ratio="acceptance"),
    cost="cheap",
    opt_in=True,
    ratio=2.0,
    train=train,
)
