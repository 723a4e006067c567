"""Rules that choose one of several classes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.mitigators._parts import Parts

Numbers = tuple[tuple[float, ...], ...]


def one_hot(chosen: NDArray[np.integer], n_classes: int) -> NDArray[np.float64]:
    """Return 1.0 in the column of the chosen class, shape (n_rows, n_classes)."""
    found: NDArray[np.float64] = np.eye(n_classes)[chosen]
    return found


@dataclass(frozen=True, slots=True)
class MostLikely:
    """Choose the class of the largest probability, of equal ones the first."""

    @property
    def needs_sensitive(self) -> bool:
        """False: groups are not read."""
        return False

    @property
    def randomized(self) -> bool:
        """False: one class is certain."""
        return False

    def decide(
        self, scores: NDArray[np.floating], cells: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """Return 1.0 for the chosen class, else 0.0; shape (n_rows, n_classes)."""
        return one_hot(scores.argmax(axis=1), scores.shape[1])

    def describe(self) -> str:
        """Return it in one line."""
        return "all: the most likely class"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRule:
    """Choose the class whose probability, scaled and less its price, is largest."""

    slopes: Numbers  # factor and price of each class, per part
    cuts: Numbers
    neutral: tuple[float, ...]  # factor of each class for rows of no part; their prices are 0
    parts: Parts  # which cells make up each part

    @property
    def needs_sensitive(self) -> bool:
        """Whether any two parts, or a row of none, are decided differently."""
        nobody = tuple(0.0 for _ in self.neutral)
        return set(zip(self.slopes, self.cuts, strict=True)) != {(self.neutral, nobody)}

    @property
    def randomized(self) -> bool:
        """False: one class is certain."""
        return False

    def decide(
        self, scores: NDArray[np.floating], cells: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """Return 1.0 for the chosen class, else 0.0; shape (n_rows, n_classes)."""
        # The last row is what part -1 finds.
        slopes = np.array([*self.slopes, self.neutral])
        cuts = np.array([*self.cuts, tuple(0.0 for _ in self.neutral)])
        part = self.parts.at(cells)
        worth = slopes[part] * scores.astype(np.float64) - cuts[part]
        return one_hot(worth.argmax(axis=1), scores.shape[1])

    def describe(self) -> str:
        """Return the prices by group in one line."""
        found = []
        for label, slopes, cuts in zip(self.parts.labels, self.slopes, self.cuts, strict=True):
            each = [
                f"{-cut:+z.4f}" if slope == plain else f"x{slope:.3f}{-cut:+z.4f}"
                for slope, cut, plain in zip(slopes, cuts, self.neutral, strict=True)
            ]
            found.append(f"{label}: {' '.join(each)}")
        return ", ".join(found)
