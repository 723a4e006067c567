"""Threshold rules: what threshold mitigators return."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Accept scores of at least ``threshold`` with probability ``share``."""

    threshold: float
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdRule:
    """Accept a row when its score reaches the threshold of its group."""

    # per group the thresholds and the probability of using each; one step of share 1 is a
    # deterministic threshold
    steps: tuple[tuple[Step, ...], ...]
    labels: tuple[str, ...]  # display name of each group
    group_of_cell: tuple[int, ...]  # group of each finest cell, -1 = none
    neutral: float  # threshold for rows without a group

    @property
    def needs_sensitive(self) -> bool:
        """True: the threshold depends on the group."""
        return True

    @property
    def randomized(self) -> bool:
        """Whether some group mixes two thresholds."""
        return any(step.share < 1.0 for steps in self.steps for step in steps)

    def decide(
        self, scores: NDArray[np.floating], cells: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """Return the probability of acceptance, shape (n_rows,)."""
        lookup = np.append(np.asarray(self.group_of_cell, dtype=np.int64), -1)
        group = lookup[cells]
        wide = scores.astype(np.float64)
        depth = max(len(steps) for steps in self.steps)
        accepted = np.zeros(len(wide))
        for level in range(depth):
            at = [s[level] if level < len(s) else Step(threshold=np.inf) for s in self.steps]
            cut = np.array([step.threshold for step in at] + [self.neutral])
            # Rows without a group take the neutral threshold once, at the first level.
            last = 1.0 if level == 0 else 0.0
            share = np.array([step.share for step in at] + [last])
            accepted += share[group] * (wide >= cut[group])
        return np.minimum(accepted, 1.0)

    def describe(self) -> str:
        """Return the thresholds by group in one line."""
        return ", ".join(
            f"{label}: " + " or ".join(_text(step) for step in steps)
            for label, steps in zip(self.labels, self.steps, strict=True)
        )


def _text(step: Step) -> str:
    if step.threshold == np.inf:
        cut = "nobody"
    elif step.threshold == -np.inf:
        cut = "everybody"
    else:
        cut = f">= {step.threshold:.4f}"
    return cut if step.share == 1.0 else f"{cut} (share {step.share:.3f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonRule:
    """Accept a row when its score reaches one threshold, the same for everybody."""

    threshold: float

    @property
    def needs_sensitive(self) -> bool:
        """False: groups are not read."""
        return False

    @property
    def randomized(self) -> bool:
        """False: decisions are 0 or 1."""
        return False

    def decide(
        self,
        scores: NDArray[np.floating],
        cells: NDArray[np.integer],
    ) -> NDArray[np.float64]:
        """Return 1.0 where the score reaches the threshold, else 0.0; shape (n_rows,)."""
        return (scores.astype(np.float64) >= self.threshold).astype(np.float64)

    def describe(self) -> str:
        """Return the threshold in one line."""
        return f"all: {_text(Step(threshold=self.threshold))}"
