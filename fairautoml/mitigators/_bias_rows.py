"""Rows for the search of a blind rule: in an order that follows from their content, and fewer."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.mitigators._base import ScoreRows

FEW = 500
"""Rows of one cell and label of which none is left out when rows are thinned."""


def canonical(rows: ScoreRows) -> tuple[ScoreRows, NDArray[np.int64]]:
    """Return the rows and cells in an order that follows from their content.

    Sums are then the same to the last bit however rows are ordered and cells are numbered, so a
    search among nearly equal rules ends in the same one.
    """
    known = rows.cells >= 0
    count = np.bincount(rows.cells[known] * 2 + rows.y[known], minlength=2 * rows.n_cells)
    highest = np.zeros(rows.n_cells)
    np.maximum.at(highest, rows.cells[known], rows.scores[known])
    cells = np.lexsort((highest, count[1::2], count[::2]))
    new = np.append(np.argsort(cells), -1).astype(np.int32)[rows.cells]
    shares = rows.membership
    if shares is None:
        raise ValueError("rows.membership is None; post-hoc bias scoring reads P(cell, y | x)")
    order = np.lexsort((shares[:, cells[0], 1], rows.weight, rows.scores))
    # Small integers are sorted in one go over them.
    slot = (2 * new + rows.y.astype(np.int32)).astype(np.min_scalar_type(-2 * rows.n_cells - 2))
    order = order[np.argsort(slot[order], kind="stable")]
    moved = shares[order][:, cells]
    return replace(rows.take(order), cells=new[order], membership=moved), cells


def thinned(rows: ScoreRows, most: int) -> tuple[ScoreRows, NDArray[np.int64]]:
    """Return about ``most`` of the rows, or all, and which; cells and labels keep their weight.

    Every k-th row of a cell and label in the order of the scores; all of them where they are few.
    """
    every = -(-len(rows.y) // most)
    if every == 1:
        return rows, np.arange(len(rows.y))
    slot = (rows.cells.astype(np.int64) + 1) * 2 + rows.y
    count = np.bincount(slot)
    rank = np.arange(len(slot)) - (np.cumsum(count) - count)[slot]
    kept = np.flatnonzero((rank % every == 0) | (count[slot] <= FEW))
    full = np.bincount(slot, weights=rows.weight)
    left = np.bincount(slot[kept], weights=rows.weight[kept], minlength=len(full))
    ratio = np.divide(full, left, out=np.ones_like(full), where=left > 0)
    fewer = rows.take(kept)
    return replace(fewer, weight=fewer.weight * ratio[slot[kept]]), kept


def cell_weights(rows: ScoreRows) -> NDArray[np.float64]:
    """Return the weight of every cell and label, shape (2 * n_cells,)."""
    known = rows.cells >= 0
    at = rows.cells[known].astype(np.int64) * 2 + rows.y[known]
    weight = np.bincount(at, weights=rows.weight[known], minlength=2 * rows.n_cells)
    return weight.astype(np.float64, copy=False)
