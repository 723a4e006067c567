"""Rules that move predicted numbers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.mitigators._parts import Parts


@dataclass(frozen=True, slots=True)
class AsPredicted:
    """Answer with the prediction."""

    @property
    def needs_sensitive(self) -> bool:
        """False: groups are not read."""
        return False

    @property
    def randomized(self) -> bool:
        """False: the answer is certain."""
        return False

    def decide(
        self, scores: NDArray[np.floating], cells: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """Return the predictions, shape (n_rows,)."""
        return scores.astype(np.float64)

    def describe(self) -> str:
        """Return it in one line."""
        return "all: as predicted"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftRule:
    """Add a number that depends on the group."""

    shifts: tuple[float, ...]  # per part; rows of no part are not moved
    parts: Parts  # which cells make up each part

    @property
    def needs_sensitive(self) -> bool:
        """Whether any part is moved."""
        return any(self.shifts)

    @property
    def randomized(self) -> bool:
        """False: the answer is certain."""
        return False

    def decide(
        self, scores: NDArray[np.floating], cells: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """Return the moved predictions, shape (n_rows,)."""
        moved: NDArray[np.float64] = np.array([*self.shifts, 0.0])[self.parts.at(cells)]
        return scores.astype(np.float64) + moved

    def describe(self) -> str:
        """Return what is added by group in one line."""
        pairs = zip(self.parts.labels, self.shifts, strict=True)
        return ", ".join(f"{label}: {shift:+.4g}" for label, shift in pairs)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moves:
    """Where the full repair takes the predictions of each part; compared by identity."""

    # per part some predictions, rising, and how far each is moved
    knots: tuple[NDArray[np.float64], ...]
    steps: tuple[NDArray[np.float64], ...]
    parts: Parts  # which cells make up each part

    def full(self, scores: NDArray[np.float64], cells: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return how far each row is moved, shape (n_rows,); beyond the ends like the ends."""
        part = self.parts.at(cells)
        found = np.zeros(len(scores))
        for at, (knots, steps) in enumerate(zip(self.knots, self.steps, strict=True)):
            inside = part == at
            if len(knots):
                found[inside] = np.interp(scores[inside], knots, steps)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberRepair:
    """Move each prediction towards the common distribution of all groups."""

    strength: float  # part of the way, 0 to 1
    moves: Moves  # the whole way

    @property
    def needs_sensitive(self) -> bool:
        """Whether anything is moved."""
        return self.strength > 0

    @property
    def randomized(self) -> bool:
        """False: the answer is certain."""
        return False

    def decide(
        self, scores: NDArray[np.floating], cells: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """Return the moved predictions, shape (n_rows,)."""
        wide = scores.astype(np.float64)
        return wide + self.strength * self.moves.full(wide, cells)

    def describe(self) -> str:
        """Return the strength in one line."""
        return f"moved {self.strength:.3f} of the way to the common distribution of all groups"
