"""From what proxies say to the groups themselves: the inverse of how the proxies err.

Source: Zhu, Yao, Sun, Li, Liu, *Weak Proxies are Sufficient and Preferable for Fairness with
Missing Sensitive Attributes*, ICML 2023, arXiv 2210.03175.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.exceptions import InputError

Array = NDArray[np.float64]

SUM_SLACK = 1e-6
"""How far rows of an error matrix may be from 1 in sum."""

LEAST_DETERMINANT = 0.05
"""Below it a proxy is hardly better than chance, and its correction is noise."""


def hidden_rates(joint: Array, errors: Array) -> tuple[Array, Array]:
    """Return rates and shares of the hidden groups from all proxies, by least squares.

    One proxy: ``H[:, k] = diag(p)^-1 (T_k')^-1 (pt o Ht[:, k])`` with ``p`` what the same matrices
    make of ``pt``. Several: each is a measurement of the same people, and what they say together
    is a linear function of P(A = a, decision k).
    """
    by_decision = errors if errors.ndim == 4 else np.stack([errors, errors], axis=1)
    hidden = np.stack(
        [
            np.linalg.lstsq(_design(by_decision[:, at]), joint[at].ravel(), rcond=None)[0]
            for at in range(2)
        ],
        axis=1,
    )
    return _rates_of(hidden)


def _design(errors: Array) -> Array:
    """Return P(the proxies say ... | A = a), shape (all that they can say, n_groups)."""
    together = errors[0]
    for matrix in errors[1:]:
        together = (together[:, :, None] * matrix[:, None, :]).reshape(len(matrix), -1)
    design: Array = together.T
    return design


def _rates_of(hidden: Array) -> tuple[Array, Array]:
    shares: Array = hidden.sum(axis=1)
    if not (shares > 0).all():
        msg = (
            f"errors: they imply group shares of {np.round(shares, 4).tolist()}; a share must be "
            "positive. The proxy is too weak for these rows, or errors= is not its matrix: give "
            "more rows, a better proxy or its measured errors"
        )
        raise InputError(msg)
    return hidden / shares[:, None], shares


def check_errors(errors: Any, n_groups: int) -> Array:
    """Return an error matrix as an array."""
    found = np.asarray(errors, dtype=np.float64)
    if found.shape not in {(n_groups, n_groups), (2, n_groups, n_groups)}:
        msg = (
            f"errors has shape {found.shape}; allowed are {(n_groups, n_groups)}, row a for the "
            f"true group and column b for what the proxy says, or {(2, n_groups, n_groups)}, one "
            "such matrix for decision 0 and one for decision 1"
        )
        raise InputError(msg)
    if (found < 0).any() or (np.abs(found.sum(axis=-1) - 1) > SUM_SLACK).any():
        msg = (
            f"errors: the rows must be shares that add up to 1, found sums "
            f"{found.sum(axis=-1).tolist()}; row a holds P(proxy says b | true group a)"
        )
        raise InputError(msg)
    check_strength(found)
    return found


def check_strength(errors: Array) -> None:
    """Refuse proxies that are hardly better than chance."""
    strength = float(np.abs(np.linalg.det(errors)).min())
    if strength < LEAST_DETERMINANT:
        msg = (
            f"proxies: the error matrix has determinant {strength:.3f}, so the proxy is hardly "
            f"better than chance; at least {LEAST_DETERMINANT} is needed for a correction. Give a "
            "better proxy"
        )
        raise InputError(msg)
