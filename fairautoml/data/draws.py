"""One number per row, from the row's content: how a randomised rule decides once and for all."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def row_draws(X: Any, salt: int) -> NDArray[np.float64]:
    """Return one number in [0, 1) per row, from the row's content and the salt alone.

    Equal rows get equal numbers, so nobody can try again with another draw.
    """
    rng = np.random.default_rng(salt)
    if isinstance(X, np.ndarray):
        clean = np.where(np.isnan(X), np.float32(np.inf), X) + np.float32(0.0)
        bits = clean.astype(np.float32).view(np.uint32).astype(np.uint64)
        odd = rng.integers(0, 2**63, size=X.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(
            1
        )
        mixed = _scrambled(bits * odd).sum(axis=1, dtype=np.uint64)
    else:
        projected = np.asarray(X @ rng.standard_normal(X.shape[1])).ravel()
        mixed = projected.astype(np.float64).view(np.uint64)
    share: NDArray[np.float64] = np.multiply(_scrambled(mixed) >> np.uint64(11), 2.0**-53)
    return share


def _scrambled(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix bits by the finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
