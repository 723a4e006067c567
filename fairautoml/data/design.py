"""Encoded rows as plain numbers: scaled columns, flags of gaps, one column per category level."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureLayout

MOST_LEVELS = 50
"""Columns per category column; rows of a rarer level have 0 in all of them."""

FARTHEST = 5.0
"""Standard deviations from the mean at which numbers are cut: one outlier must not decide."""

MISSING = -1
"""Stands for NaN among the levels of a category column."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Design:
    """How encoded rows become the matrix that methods made of linear algebra work on."""

    numeric: NDArray[np.int64]  # shape (n_numeric,): positions of the columns that hold numbers
    # weighted mean and standard deviation of the values present; 0 and 1 without any
    mean: NDArray[np.float64]  # shape (n_numeric,)
    scale: NDArray[np.float64]  # shape (n_numeric,)
    # positions of the numeric columns that had gaps, which get a 0/1 column
    flagged: NDArray[np.int64]  # shape (n_flags,)
    categorical: tuple[int, ...]  # positions of the category columns
    # the codes of each category column that get a 0/1 column, -1 for missing
    levels: tuple[NDArray[np.int64], ...]

    @property
    def source(self) -> NDArray[np.int64]:
        """Position of the feature that each column of the matrix is made of."""
        of_levels = [
            np.full(len(codes), at)
            for at, codes in zip(self.categorical, self.levels, strict=True)
        ]
        found = np.concatenate((self.numeric, self.flagged, *of_levels))
        return found.astype(np.int64, copy=False)

    def matrix(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the rows as numbers without gaps, shape (n_rows, n_columns).

        A missing number is the mean, a level without a column has 0 in all columns.
        """
        scaled = (X[:, self.numeric].astype(np.float64) - self.mean) / self.scale
        scaled = np.clip(np.nan_to_num(scaled, nan=0.0), -FARTHEST, FARTHEST)
        flags = np.isnan(X[:, self.flagged]).astype(np.float64)
        parts = [
            (_codes(X[:, at])[:, None] == codes).astype(np.float64)
            for at, codes in zip(self.categorical, self.levels, strict=True)
        ]
        return np.concatenate((scaled, flags, *parts), axis=1)


def fit_design(
    X: NDArray[np.floating], layout: FeatureLayout, weight: NDArray[np.float64] | None = None
) -> Design:
    """Learn a design from rows."""
    weight = np.ones(X.shape[0]) if weight is None else np.asarray(weight, dtype=np.float64)
    numeric = np.setdiff1d(np.arange(layout.n_features), layout.categorical).astype(np.int64)
    values = X[:, numeric].astype(np.float64)
    gaps = np.isnan(values)
    mean, scale = _moments(values, gaps, weight)
    return Design(
        numeric=numeric,
        mean=mean,
        scale=scale,
        flagged=numeric[gaps.any(axis=0) & ~gaps.all(axis=0)],
        categorical=layout.categorical,
        levels=tuple(_frequent(_codes(X[:, at]), weight) for at in layout.categorical),
    )


def _moments(
    values: NDArray[np.float64], gaps: NDArray[np.bool_], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mass = np.where(gaps, 0.0, weight[:, None])
    total = mass.sum(axis=0)
    filled = np.where(gaps, 0.0, values)
    mean = _ratio((mass * filled).sum(axis=0), total)
    apart = np.where(gaps, 0.0, values - mean)
    scale = np.sqrt(_ratio((mass * apart**2).sum(axis=0), total))
    # A deviation that is rounding of a large constant would blow it up.
    constant = scale <= 1e-9 * np.maximum(np.abs(mean), 1e-300)
    return mean, np.where(constant, 1.0, scale)


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return found


def _codes(column: NDArray[np.floating]) -> NDArray[np.int64]:
    return np.where(np.isnan(column), MISSING, column).astype(np.int64)


def _frequent(codes: NDArray[np.int64], weight: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the levels of most weight, rising."""
    found, at = np.unique(codes, return_inverse=True)
    mass = np.bincount(at, weights=weight, minlength=len(found))
    return np.sort(found[np.argsort(-mass, kind="stable")[:MOST_LEVELS]])
