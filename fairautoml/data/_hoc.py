"""How often proxies are wrong, from their agreement alone.

Three proxies of an attribute that nobody recorded, each wrong independently of the others given
the attribute, agree more often the better they are. Source: Zhu, Yao, Sun, Li, Liu, *Weak Proxies
are Sufficient and Preferable for Fairness with Missing Sensitive Attributes*, ICML 2023,
arXiv 2210.03175 (HOC: high-order consensus). Ours: a matrix of errors for each proxy in place of
one for all, fitted to the whole table of three by least squares.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import log_softmax, softmax

Array = NDArray[np.float64]

START = 0.731
"""Diagonal that the search starts from: it settles which hidden group is which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consensus:
    """What the agreement of three proxies says about them."""

    shares: Array  # shape (n_groups,): P(A = a) of the hidden attribute
    # ``errors[i, a, b]`` is P(proxy i says b | A = a)
    errors: Array  # shape (3, n_groups, n_groups)
    residual: Array  # shape (n_groups, n_groups, n_groups): observed less fitted table


def consensus(table: Array) -> Consensus:
    """Return shares and errors that explain how often three proxies say what together.

    Solves ``P(i, j, l) = sum_a p_a T1[a, i] T2[a, j] T3[a, l]`` by least squares. Assumes that
    errors are independent given the attribute, and that each proxy beats chance: a start with
    large diagonals picks among the solutions that differ by the names of the groups only.
    """
    k = len(table)
    found = least_squares(
        lambda x: (_expected(*_unpacked(x, k)) - table).ravel(),
        _start(k),
        xtol=1e-12,
        ftol=1e-12,
        gtol=1e-12,
        max_nfev=2_000,
    )
    shares, errors = _unpacked(found.x, k)
    return Consensus(shares=shares, errors=errors, residual=table - _expected(shares, errors))


def _expected(shares: Array, errors: Array) -> Array:
    first, second, third = errors
    found: Array = np.einsum("a,ai,aj,al->ijl", shares, first, second, third)
    return found


def _unpacked(x: Array, k: int) -> tuple[Array, Array]:
    """Return shares and matrices; each row has its own softmax, with the last logit at 0."""
    logits = np.append(x.reshape(-1, k - 1), np.zeros((3 * k + 1, 1)), axis=1)
    rows = softmax(logits, axis=1)
    return rows[0], rows[1:].reshape(3, k, k)


def _start(k: int) -> Array:
    matrix = np.full((k, k), (1 - START) / (k - 1))
    np.fill_diagonal(matrix, START)
    rows = np.vstack([np.full((1, k), 1 / k), np.tile(matrix, (3, 1))])
    logits = log_softmax(np.log(rows), axis=1)
    start: Array = (logits - logits[:, -1:])[:, :-1].ravel()
    return start
