"""A fitted checklist: its items, how many of them are required, and a score."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import isotonic_regression

from fairautoml.checklists.items import Item

LEAST_STEP = 1e-3
"""Log-odds between neighbouring counts, at the least: more items never mean a lower score."""

MARGIN = 0.1
"""Share of the step from M - 1 to M items that is kept between a score and one half."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checklist:
    """A list of N items, of which at least M must be checked."""

    items: tuple[Item, ...]  # the N items
    required: int  # m
    log_odds: NDArray[np.float64]  # shape (N + 1,): score of each number of checked items, rising
    mistakes: float  # weight of the training rows decided wrongly
    # optimality gap in [0, 1]: by what share of its value a better list might still be lower
    gap: float
    optimal: bool  # whether it is known that no list is better; else the time was up

    def counts(self, X: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return how many items each row checks, shape (n_rows,)."""
        total = np.zeros(X.shape[0], dtype=np.int64)
        for item in self.items:
            total += item.checked(X)
        return total

    def accepts(self, X: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which rows check at least M items, shape (n_rows,)."""
        return self.counts(X) >= self.required

    def scores(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return P(y = 1) by the number of checked items, shape (n_rows,); above 0.5 from M on."""
        by_count: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-self.log_odds))
        return by_count[self.counts(X)]

    def describe(self, names: Sequence[str] | None = None) -> str:
        """Return the checklist in words, one line."""
        listed = "; ".join(item.describe(names) for item in self.items)
        return f"at least {self.required} of {len(self.items)}: {listed}"


def fit_log_odds(
    counts: NDArray[np.integer],
    y: NDArray[np.integer],
    weight: NDArray[np.float64],
    *,
    n_items: int,
    required: int,
) -> NDArray[np.float64]:
    """Return the log-odds of label 1 by number of checked items.

    The shares of label 1, made monotone. Costs or limits may put M where the share of label 1
    does not cross one half; then all log-odds are moved by the least that puts one half between
    M - 1 and M items, as another base rate would, so that decisions at one half are the list's.
    """
    # Counts in rows: the prior below is one row.
    rows = weight * (len(y) / weight.sum())
    total = np.bincount(counts, weights=rows, minlength=n_items + 1)
    ones = np.bincount(counts, weights=rows * y, minlength=n_items + 1)
    base_rate = ones.sum() / total.sum()
    share = isotonic_regression((ones + base_rate) / (total + 1), sample_weight=total + 1)
    log_odds = np.log(share) - np.log1p(-share)
    log_odds += LEAST_STEP * np.arange(n_items + 1)
    below, above = log_odds[required - 1], log_odds[required]
    kept = MARGIN * (above - below)
    moved: NDArray[np.float64] = log_odds - np.clip(0.0, below + kept, above - kept)
    return moved
