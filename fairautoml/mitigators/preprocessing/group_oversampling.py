"""Adds rows to small combinations of group and label.

New rows are copies, or interpolated between a row and one of its five nearest neighbours of the
same cell. Sources: Chawla, Bowyer, Hall and Kegelmeyer, "SMOTE: synthetic minority over-sampling
technique", JAIR 2002, section 4.2 and, for mixed columns, 6.1; for cells of group and label
Chakraborty, Majumder and Menzies, "Bias in machine learning software", 2021, arXiv 2105.12195.
Base rates change, so scores must be calibrated, or thresholds fitted, on the original rows.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fairautoml.data.splits import row_draws
from fairautoml.mitigators._base import (
    FitBaseLearner,
    Mitigator,
    RateMetrics,
    ScoreModel,
    TrainRows,
)
from fairautoml.mitigators._training import (
    RowGroups,
    between,
    columns_of,
    refuse_sparse,
    row_groups,
    share,
)
from fairautoml.records import ParamValue

NAME = "group_oversampling"

MOST_NEW = 5
"""Largest number of new rows per row of a cell; more would be mostly copies."""


def train(
    rows: TrainRows, fit_base: FitBaseLearner, params: Mapping[str, ParamValue], seed: int
) -> ScoreModel:
    """Train on original and new rows; a new row has group, label and weight of its source."""
    groups = row_groups(rows, NAME)
    groups.require_labels(NAME)
    known = np.flatnonzero(groups.of_row >= 0)
    slot = groups.of_row[known] * 2 + rows.y[known]
    counts = np.bincount(slot, minlength=2 * groups.system.n_groups).reshape(-1, 2)
    wanted = share(params["strength"]) * rows_to_add(counts, str(params["strategy"]))
    n_new = np.minimum(np.rint(wanted).astype(np.int64), MOST_NEW * counts)
    members = _members(rows, groups, seed)
    sources = {cell: np.resize(members[cell], n) for cell, n in np.ndenumerate(n_new) if n > 0}
    if not sources:
        return fit_base(rows)
    at = np.concatenate(list(sources.values()))
    if params["new_rows"] == "copies":
        return fit_base(_with(rows, rows.X[at], at))
    refuse_sparse(rows.feature_schema, f"{NAME} with new_rows='between'")
    columns = columns_of(rows)
    added = [
        between(rows.X, columns, members[cell], source, np.random.default_rng([seed, cell[1]]))
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
