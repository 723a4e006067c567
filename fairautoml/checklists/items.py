"""Yes-or-no items out of columns of numbers and category codes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureLayout
from fairautoml.exceptions import InputError

Test = Literal[">=", "<", "is", "is not", "is missing", "is given"]

FEW_VALUES = 10
"""A number with at most so many distinct values is cut at each of them."""

MOST_LEVELS = 30
"""Items per category column: its most frequent codes."""


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a checklist: a test of one column.

    A missing value checks no item but ``is missing``.
    """

    column: int  # position of the column
    test: Test  # {">=", "<", "is", "is not", "is missing", "is given"}: what is asked
    value: float = 0.0  # cut or category code; unused by the last two

    def checked(self, X: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return whether each row checks the item, shape (n_rows,)."""
        # Cuts are kept in double precision: between two float32 values there may be one.
        values = X[:, self.column].astype(np.float64)
        missing = np.isnan(values)
        answers: dict[Test, NDArray[np.bool_]] = {
            ">=": values >= self.value,
            "<": values < self.value,
            "is": values == self.value,
            "is not": ~missing & (values != self.value),
            "is missing": missing,
            "is given": ~missing,
        }
        return answers[self.test]

    def describe(self, names: Sequence[str] | None = None) -> str:
        """Return the item in words."""
        name = f"x{self.column}" if names is None else names[self.column]
        if self.test in ("is missing", "is given"):
            return f"{name} {self.test}"
        return f"{name} {self.test} {self.value:.6g}"


def find_items(
    X: NDArray[np.floating], layout: FeatureLayout, *, cuts: int, complements: bool
) -> tuple[tuple[Item, ...], NDArray[np.bool_]]:
    """Return the items of a table and which row checks which.

    Numbers are cut at evenly spaced quantiles, or at each value when there are few; categories
    give one item per level; a column with gaps one more. Items that all rows or none check, and
    copies of an earlier item, are left out.
    """
    if layout.sparse:
        raise InputError("checklist: X is sparse, and items are made of dense columns; densify X")
    kept: list[Item] = []
    columns: list[NDArray[np.bool_]] = []
    seen: set[bytes] = set()
    for item in _candidates(X, layout, cuts, complements):
        checked = item.checked(X)
        key = np.packbits(checked).tobytes()
        if key not in seen and checked.any() and not checked.all():
            seen.add(key)
            kept.append(item)
            columns.append(checked)
    if not kept:
        msg = (
            f"checklist: the {X.shape[1]} columns of X are all constant on the {X.shape[0]} "
            "training rows, so there is no item to check; give columns that vary"
        )
        raise InputError(msg)
    return tuple(kept), np.stack(columns, axis=1)


def _candidates(X: Any, layout: FeatureLayout, cuts: int, complements: bool) -> list[Item]:
    categorical = frozenset(layout.categorical)
    found: list[Item] = []
    for at in range(layout.n_features):
        values = X[:, at].astype(np.float64)
        values = values[~np.isnan(values)]
        plain: tuple[Test, Test] = ("is", "is not") if at in categorical else (">=", "<")
        points = _levels(values) if at in categorical else _cuts(values, cuts)
        found += [Item(at, plain[0], point) for point in points]
        found.append(Item(at, "is missing"))
        if complements:
            found += [Item(at, plain[1], point) for point in points]
            found.append(Item(at, "is given"))
    return found


def _levels(values: NDArray[np.float64]) -> list[float]:
    codes, counts = np.unique(values, return_counts=True)
    frequent = np.argsort(-counts, kind="stable")[:MOST_LEVELS]
    return sorted(codes[frequent].tolist())


def _cuts(values: NDArray[np.float64], cuts: int) -> list[float]:
    distinct = np.unique(values)
    few = len(distinct) <= FEW_VALUES
    shares = np.arange(1, cuts + 1) / (cuts + 1)
    points: list[float] = (
        distinct[1:] if few else np.unique(np.quantile(values, shares))
    ).tolist()
    return points
