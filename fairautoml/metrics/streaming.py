"""Representative rows under bounds on the groups' shares, selected in one pass."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairautoml.exceptions import InputError, ParameterError
from fairautoml.metrics.selected import Bounds, coded_groups
from fairautoml.records import Floats

REFERENCE = 256
"""Rows that the selected ones are to represent, if none are given."""
SWAP = 2.0
"""Factor by which the gain of a row must exceed that of the row that it replaces."""
BLOCK = 4096
"""Rows whose distances are computed at once."""
FEWEST = 16
"""Rows whose gains are computed at once after a change of the selection."""


def select_representative(
    X: ArrayLike,
    k: int,
    groups: ArrayLike,
    bounds: Bounds = (0.0, 1.0),
    *,
    reference: ArrayLike | None = None,
    random_state: int = 0,
) -> NDArray[np.intp]:
    """Return k rows that represent the others, in one pass over the rows.

    The utility of a selection is by how much the squared distance of the reference rows from their
    nearest selected row is below that from the mean of the reference rows. It is at least a
    quarter of the best one under the bounds.

    Parameters
    ----------
    X : numbers, shape (n_rows, n_features)
        Finite; in units that make distances meaningful, such as standard deviations.
    k : int
        Number of rows to select, from 1 to n_rows.
    groups : labels, shape (n_rows,)
        Group of each row.
    bounds : (float, float) or dict of label -> (float, float)
        Lowest and highest share of the selected rows, as in ``select_top_k``.
    reference : numbers, shape (n_reference, n_features), optional
        Rows to represent; None = 256 rows at random.
    random_state : int
        Seed of the reference rows.

    Returns
    -------
    ndarray of int, shape (k,)
        Positions of the rows, in increasing order.

    Raises
    ------
    InputError
        ``X`` or ``groups`` are invalid, or no k rows meet the bounds.
    ParameterError
        ``k`` or a bound is outside its range, or a bound names a group without rows.

    References
    ----------
    El Halabi, Mitrovic, Norouzi-Fard, Tardos, Tarnawski, "Fairness in streaming submodular
    maximization: algorithms and hardness", NeurIPS 2020: the sets that can be extended to meet the
    bounds form a matroid. The rule for swaps and its guarantee: Chakrabarti, Kale, "Submodular
    maximization meets streaming", IPCO 2014.
    """
    rows, labels = np.asarray(X, dtype=np.float32), np.asarray(groups)
    if rows.ndim != 2 or not np.isfinite(rows).all() or labels.shape != rows.shape[:1]:
        raise InputError("X must be a table of finite numbers, and groups one label per row.")
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= len(rows):
        raise ParameterError(f"k={k!r} must be a whole number from 1 to {len(rows)} rows.")
    codes, least, most = coded_groups(labels, k, bounds)
    if reference is None:
        rng = np.random.default_rng(random_state)
        drawn = rng.choice(len(rows), min(len(rows), REFERENCE), replace=False)
        points = rows[drawn]
    else:
        points = np.asarray(reference, dtype=np.float32)
    selection = _Selection(k, least, most, points)
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        selection.offer(start, codes[start : start + BLOCK], selection.distances(block))
    return _filled_up(selection, codes)


class _Selection:
    """The selected rows so far; places from ``size`` on are free."""

    def __init__(
        self, k: int, least: NDArray[np.intp], most: NDArray[np.intp], points: NDArray[np.float32]
    ) -> None:
        self.k, self.least, self.most, self.points = k, least, most, points
        # Squared distances of the points from their mean and from the selection.
        self.start = np.square(points - points.mean(axis=0)).sum(axis=1)
        self.nearest = self.start.copy()
        self.size = 0
        self.rows, self.group = np.empty(k, dtype=np.intp), np.empty(k, dtype=np.intp)
        self.gain = np.empty(k)  # of each row when it was added
        self.to_points = np.empty((k, len(points)), dtype=np.float32)

    def distances(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return squared distances from the reference rows, shape (n_block, n_reference)."""
        squares = np.square(block).sum(axis=1)[:, None] + np.square(self.points).sum(axis=1)
        return np.maximum(squares - 2 * block @ self.points.T, 0.0)

    def offer(self, start: int, codes: NDArray[np.intp], distances: NDArray[np.float32]) -> None:
        """Add the rows of a block that fit, or whose gain is twice that of one they replace."""
        at, width, (needed, out) = 0, FEWEST, self._needed()
        while at < len(codes):
            ahead = slice(at, at + width)
            gains = np.maximum(self.nearest - distances[ahead], 0.0).sum(axis=1)
            found = np.flatnonzero(gains >= needed[codes[ahead]])
            if not len(found):
                at, width = at + width, 2 * width
                continue
            row = at + int(found[0])
            group = int(codes[row])
            self._put(int(out[group]), start + row, group, float(gains[found[0]]), distances[row])
            at, width, (needed, out) = row + 1, FEWEST, self._needed()

    def _put(
        self, place: int, row: int, group: int, gain: float, distances: NDArray[np.float32]
    ) -> None:
        self.rows[place], self.group[place], self.gain[place] = row, group, gain
        self.to_points[place] = distances
        if place == self.size:
            self.size += 1
            self.nearest = np.minimum(self.nearest, distances)
        else:
            self.nearest = np.minimum(self.start, self.to_points[: self.size].min(axis=0))

    def _needed(self) -> tuple[Floats, NDArray[np.intp]]:
        """Return for each group the gain that a row needs, and the place that it takes."""
        n_groups = len(self.least)
        counts = np.bincount(self.group[: self.size], minlength=n_groups)
        reserved = int(np.maximum(counts, self.least).sum())
        lowest, place = np.full(n_groups, np.inf), np.full(n_groups, self.size)
        for group in range(n_groups):
            mine = np.flatnonzero(self.group[: self.size] == group)
            if len(mine):
                place[group] = mine[self.gain[mine].argmin()]
                lowest[group] = self.gain[place[group]]
        spare = np.where(counts > self.least, lowest, np.inf)
        least = int(spare.argmin())
        full = counts >= self.most
        fits = ~full & ((counts < self.least) | (reserved < self.k))
        other = ~full & (spare[least] < lowest)
        out = np.where(fits, self.size, np.where(other, place[least], place))
        replaced = np.where(other, spare[least], lowest)
        # A gain of 0 never replaces another one.
        needed = np.maximum(SWAP * replaced, np.finfo(np.float64).tiny)
        return np.where(fits, -np.inf, needed), out


def _filled_up(selection: _Selection, codes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the selection with the first rows of the groups that lack some."""
    chosen = np.zeros(len(codes), dtype=np.bool_)
    chosen[selection.rows[: selection.size]] = True
    counts = np.bincount(codes[chosen], minlength=len(selection.least))

    def add(missing: Any, group: int) -> None:
        free = np.flatnonzero(~chosen & (codes == group))[: max(0, int(missing))]
        chosen[free] = True
        counts[group] += len(free)

    for group, least in enumerate(selection.least):
        add(least - counts[group], group)
    for group, most in enumerate(selection.most):
        add(min(most - counts[group], selection.k - counts.sum()), group)
    return np.flatnonzero(chosen)
