"""How often guesses of a group are wrong: given, or told by how often three of them agree.

Source: Zhu, Yao, Sun, Li, Liu, *Weak Proxies are Sufficient and Preferable for Fairness with
Missing Sensitive Attributes*, ICML 2023, arXiv 2210.03175.
"""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency

from fairautoml.data._hoc import Consensus, consensus
from fairautoml.exceptions import InputError

Array = NDArray[np.float64]

BY_CHANCE = 0.1
"""Two proxies whose guesses would be as dependent by chance with this probability tell nothing."""


def check_identified(n_proxies: int, errors: Array | None) -> None:
    """Refuse all but one proxy with its errors, or three without."""
    if (n_proxies, errors is None) in {(1, False), (3, True)}:
        return
    msg = (
        f"proxies has {n_proxies} column(s) and errors is "
        f"{'not given' if errors is None else 'given'}: not identified. Give one proxy with its "
        "errors= (of fit: proxy_errors=), or three proxies without it, whose errors are then "
        "estimated from how often they agree"
    )
    raise InputError(msg)


def check_agreement(together: Array, proxies: tuple[str, ...]) -> None:
    """Refuse proxies of which two agree no more than by chance: from noise all can be inferred."""
    for at, (first, second) in zip((2, 1, 0), combinations(proxies, 2), strict=True):
        pair = together.sum(axis=at)
        seen = pair[pair.sum(axis=1) > 0][:, pair.sum(axis=0) > 0]
        if min(seen.shape) < 2 or chi2_contingency(seen, correction=False).pvalue > BY_CHANCE:
            msg = (
                f"proxies: {first!r} and {second!r} agree no more than by chance on "
                f"{together.sum():.0f} rows, so one of them is hardly better than chance and how "
                "often they are wrong cannot be told. Give better proxies or more rows"
            )
            raise InputError(msg)


def agreement(together: Array) -> Consensus:
    """Return what explains how often three proxies agree."""
    return consensus(together / together.sum())


def quick_agreement(together: Array) -> Array:
    """Return the errors of three proxies of two groups in closed form, for many tables at once.

    With d_i = P(i says 1 | A = 1) - P(i says 1 | A = 0) and p = P(A = 1), two proxies covary by
    d_i d_j p (1 - p), and the third central moment of all is d_1 d_2 d_3 p (1 - p) (1 - 2 p):
    that gives p, then each d_i. It is the least-squares fit of ``agreement`` wherever that lies
    inside [0, 1].
    """
    table = together / together.sum(axis=(-3, -2, -1), keepdims=True)
    means = [np.einsum(f"...ijl->...{axis}", table)[..., 1] for axis in "ijl"]
    a, b, c = (np.stack([-mean, 1 - mean], axis=-1) for mean in means)
    pairs = (
        np.einsum("...ijl,...j,...l->...", table, b, c),
        np.einsum("...ijl,...i,...l->...", table, a, c),
        np.einsum("...ijl,...i,...j->...", table, a, b),
    )
    together_all = np.einsum("...ijl,...i,...j,...l->...", table, a, b, c)
    with np.errstate(invalid="ignore", divide="ignore"):
        # As each proxy beats chance, all three covariances are positive.
        beat = np.min(pairs, axis=0) > 0
        product = np.where(beat, pairs[0] * pairs[1] * pairs[2], np.nan)
        lean = together_all / np.sqrt(product)
        share = (1 - lean / np.sqrt(4 + lean**2)) / 2
        apart = [np.sqrt(product / (share * (1 - share))) / pair for pair in pairs]
        found = [
            _matrix(mean - d * share, mean + d * (1 - share))
            for mean, d in zip(means, apart, strict=True)
        ]
    return np.stack(found)


def _matrix(of_first: Array, of_second: Array) -> Array:
    """Return error matrices from P(says the second group | first, second), kept in [0, 1]."""
    says = np.clip(np.stack([of_first, of_second], axis=-1), 0.0, 1.0)
    return np.stack([1.0 - says, says], axis=-1)
