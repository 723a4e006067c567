"""Exact shares of the classes: prices moved until as many rows as wanted choose each class."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_matrix, hstack, identity, kron, vstack

from fairautoml.mitigators._base import Target

MOST_ROUNDS = 60
"""Rounds over the classes; most cells need fewer than ten."""

FEWEST = 32
"""Rows that are sorted at the least."""

BEYOND = 1e-9
"""How far from the last row a cut is that leaves no row on a side."""


def nearest_shares(
    shares: NDArray[np.float64],
    mass: NDArray[np.float64],
    targets: Sequence[Target],
    limits: Sequence[float],
) -> NDArray[np.float64]:
    """Return the shares of the classes that are nearest to given ones and within the limits.

    Nearest by the weight of the rows that change their class (a linear program).
    """
    n_cells, n_classes = shares.shape
    size = shares.size
    n_levels = len(targets) * n_classes
    # Variables: shares, distances, and the lowest rate of each target and class.
    cost = np.concatenate([np.zeros(size), np.repeat(mass, n_classes), np.zeros(n_levels)])
    eye, free = identity(size), csr_matrix((size, n_levels))
    rows = [hstack([eye, -eye, free]), hstack([-eye, -eye, free])]
    bounds = [shares.ravel(), -shares.ravel()]
    for number, (target, limit) in enumerate(zip(targets, limits, strict=True)):
        part = target.system.member * mass
        total = part.sum(axis=1)
        there = total > 0
        rates = kron(csr_matrix(part[there] / total[there, None]), identity(n_classes))
        own = np.eye(1, len(targets), number)
        low = kron(np.ones((there.sum(), 1)), kron(own, identity(n_classes)))
        unused = csr_matrix(rates.shape)
        rows += [hstack([rates, unused, -low]), hstack([-rates, unused, low])]
        bounds += [np.full(rates.shape[0], limit), np.zeros(rates.shape[0])]
    each = kron(identity(n_cells), np.ones((1, n_classes)))
    solved = linprog(
        cost,
        A_ub=vstack(rows, format="csr"),
        b_ub=np.concatenate(bounds),
        A_eq=hstack([each, csr_matrix((n_cells, size + n_levels))], format="csr"),
        b_eq=np.ones(n_cells),
        bounds=(0.0, 1.0),
        method="highs",
    )
    if solved.x is None:
        return shares
    found: NDArray[np.float64] = solved.x[:size].reshape(shares.shape)
    return found


def cuts_for(
    worth: NDArray[np.float64],
    weight: NDArray[np.float64],
    wanted: NDArray[np.float64],
    start: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the cuts at which the rows of a cell choose each class as often as wanted.

    One class after the other gets the cut at which its share is right, given the others' cuts,
    until all are right up to one row.
    """
    cuts = start.copy()
    goal = wanted * weight.sum()
    best, fewest = cuts.copy(), np.inf
    for _ in range(MOST_ROUNDS):
        chosen = (worth - cuts).argmax(axis=1)
        held = np.bincount(chosen, weights=weight, minlength=len(cuts))
        off = np.abs(held - goal)
        if off.max() < fewest:
            best, fewest = cuts.copy(), off.max()
        if fewest <= weight.max() * 0.75:
            break
        at = int(off.argmax())
        cuts[at] = _cut(worth - cuts, cuts[at], weight, at, goal[at])
    return best


def _cut(
    left: NDArray[np.float64], cut: float, weight: NDArray[np.float64], at: int, goal: float
) -> float:
    """Return the cut of one class at which the weight that chooses it is next to the goal."""
    others = np.delete(left, at, axis=1).max(axis=1)
    ahead = left[:, at] + cut - others
    inside = ahead > cut
    held = float(weight[inside].sum())
    # Rows that change sides lie next to the cut, on the side that it moves to.
    side = np.flatnonzero(~inside if held < goal else inside)
    missing = abs(goal - held)
    near = _nearest(np.abs(ahead[side] - cut), weight[side], missing)
    moved = side[near]
    count = int(np.abs(np.concatenate([[0.0], np.cumsum(weight[moved])]) - missing).argmin())
    if count == 0:
        return cut
    last = float(ahead[moved[count - 1]])
    if count < len(moved):
        return (last + float(ahead[moved[count]])) / 2
    # All of that side: the cut lies beyond the last row.
    return last - BEYOND if held < goal else last + BEYOND


def _nearest(
    distance: NDArray[np.float64], weight: NDArray[np.float64], wanted: float
) -> NDArray[np.int64]:
    """Return the places of the nearest rows, nearest first, that hold the wanted weight and more.

    Sorting all rows would take most of the time; mostly few have to be looked at.
    """
    count = FEWEST + int(2 * wanted / max(float(weight.mean()), 1e-300)) if len(weight) else 0
    while count < len(distance):
        few = np.argpartition(distance, count)[: count + 1]
        few = few[np.lexsort((few, distance[few]))]
        # The last one may have equals outside.
        if weight[few[:-2]].sum() > wanted:
            return few[:-1]
        count *= 4
    return np.argsort(distance, kind="stable")
