"""Small tables for the contract checks of plug-ins."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureSchema
from fairautoml.metrics import TaskName
from fairautoml.metrics.groups import GroupSystem
from fairautoml.mitigators import ScoreRows


def mixed_table(seed: int) -> tuple[NDArray[np.float32], NDArray[np.int8], FeatureSchema]:
    """Return 60 rows with two numbers, one with missing values, a constant and six categories.

    Parameters
    ----------
    seed : int
        Seed of the rows.

    Returns
    -------
    X : ndarray of float32, shape (60, 4)
    y : ndarray of int8, shape (60,)
    feature_schema : FeatureSchema
    """
    rng = np.random.default_rng(seed)
    y = np.tile(np.array([0, 1, 1], dtype=np.int8), 20)
    X = rng.normal(size=(60, 4)).astype(np.float32)
    X[:, 0] += 2 * y
    X[:, 2] = 1.0
    # Code 5 exists in the table but not in these rows.
    X[:, 3] = rng.integers(5, size=60)
    X[rng.uniform(size=60) < 0.2, 1] = np.nan
    X[rng.uniform(size=60) < 0.2, 3] = np.nan
    return X, y, FeatureSchema(n_features=4, categorical=(3,), cardinalities=(6,))


N_GROUPS, N_CLASSES = 3, 4

SYSTEM = GroupSystem(
    name="group",
    labels=tuple(f"group {cell}" for cell in range(N_GROUPS)),
    of_cell=np.arange(N_GROUPS, dtype=np.int32),
)


def scored(task: TaskName, seed: int, n_rows: int = 1200) -> ScoreRows:
    """Return scored rows of three unequal groups; no two scores are equal.

    Parameters
    ----------
    task : {"multiclass", "regression"}
        Kind of target.
    seed : int
        Seed of the rows.
    n_rows : int
        Number of rows.
    """
    rng = np.random.default_rng(seed)
    cells = rng.choice(N_GROUPS, size=n_rows, p=(0.5, 0.3, 0.2)).astype(np.int32)
    if task == "regression":
        scores = rng.normal(size=n_rows) * (1 + 0.3 * cells) + 0.7 * cells
        y: NDArray[Any] = scores + rng.normal(size=n_rows)
    else:
        worth = rng.normal(size=(n_rows, N_CLASSES)) + np.eye(N_GROUPS, N_CLASSES)[cells]
        scores = np.exp(worth) / np.exp(worth).sum(axis=1, keepdims=True)
        y = (scores.cumsum(axis=1) > rng.uniform(size=(n_rows, 1))).argmax(axis=1)
    return ScoreRows(
        scores=scores.astype(np.float32),
        y=y,
        weight=rng.uniform(0.9, 1.1, size=n_rows),
        cells=cells,
        n_cells=N_GROUPS,
    )


def other_table(
    task: TaskName, seed: int
) -> tuple[NDArray[np.float32], NDArray[Any], FeatureSchema]:
    """Return the small table of mixed columns with a target of another kind.

    Parameters
    ----------
    task : {"multiclass", "regression"}
        Kind of target: three classes, or numbers.
    seed : int
        Seed of the rows.
    """
    X, y, feature_schema = mixed_table(seed)
    if task == "regression":
        return X, 100.0 + 10.0 * X[:, 0].astype(np.float64), feature_schema
    codes = y + (np.arange(len(y)) % 2).astype(np.int8)
    return X, codes, feature_schema
