"""Shared parts of allocators: cost model, pruning, ranks of results."""

import math
from collections import defaultdict, deque
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from fairautoml.records import Fidelity, Origin, Trial, TrialResult, TrialState


def fair(violations: tuple[float, ...]) -> bool:
    """Return whether every constraint is met."""
    return all(violation <= 0 for violation in violations)


def is_baseline(scored: TrialResult) -> bool:
    """Return whether the trial is the baseline, a constant predictor without training."""
    return scored.trial.number == 0 and all(math.isinf(v) for v in scored.violations)


def bare(scored: TrialResult) -> tuple[float, tuple[float, ...]]:
    """Return loss (1 - value) and violations without post-processing."""
    value = scored.value if scored.plain_value is None else scored.plain_value
    violations = scored.violations if scored.plain_value is None else scored.plain_violations
    return (math.inf if value is None else 1.0 - value), violations


def merit(scored: TrialResult) -> tuple[bool, float]:
    """Return the rank key of a result: feasible first by value, then by violation."""
    if scored.value is None:
        return False, -math.inf
    if fair(scored.violations):
        return True, scored.value
    return False, -max(scored.violations)


# The pruning test uses paired differences of the per-row log loss, a racing rule as in Maron and
# Moore (1994), "Hoeffding Races", with a standard error instead of their bound.
FEWEST_FOLDS = 2
"""Minimum number of folds before a trial may be pruned."""

ENOUGH_ROWS = 2000
"""Rows of the first fold from which one fold is enough: the standard error is then small relative
to the margin (on 6,800 rows of Adult 0.002 and 0.015)."""

MARGIN = 0.05
"""Share of the incumbent's log loss by which a trial may be worse without being pruned.

The lowest log loss is not the best fair accuracy: of 40 configurations on Adult the best one under
equalized odds was 0.5 % worse, and the best five under a limit of 0.01 up to 4 %.
"""

STANDARD_ERRORS = 2.0
"""Standard errors that are subtracted from the mean difference."""


def should_prune(
    losses: NDArray[np.float64],
    rival: NDArray[np.float64],
    weight: NDArray[np.float64],
    n_folds: int,
) -> str:
    """Return the reason to prune a trial after some folds, or an empty string.

    With d the weighted mean of the per-row differences to the incumbent and s its standard error,
    the trial should be pruned if ``d - 2 s`` exceeds 5 % of the incumbent's log loss.
    """
    few = n_folds < FEWEST_FOLDS and len(losses) < ENOUGH_ROWS
    if few or not weight.any():  # Rows without weight do not count.
        return ""
    share = weight / weight.sum()
    difference = losses - rival
    mean = float(share @ difference)
    error = float(np.sqrt(share**2 @ (difference - mean) ** 2))
    best = float(share @ rival)
    if mean - STANDARD_ERRORS * error <= MARGIN * best:
        return ""
    return (
        f"its loss {best + mean:.4f} is above the best one's {best:.4f} on the same rows by "
        f"{mean:.4f} with standard error {error:.4f}; the margin is {MARGIN * best:.4f}"
    )


FIXED_SECONDS, FIXED_SHARE = 1.0, 0.5
"""Largest part of a fold, in seconds and as a share, that does not grow with the training rows,
such as loading a library and scoring."""

RECENT = 8
"""Trials of a learner from which its costs are estimated, and the longest one is taken."""

UNTRIED = 3.0
"""Cost of an untried learner relative to the slowest known one."""

CUT = 8
"""Divisor of the rows of a learner after a trial that exceeded its time or memory; a success
allows as many times more than its own."""

TOO_MUCH = frozenset({TrialState.TIMEOUT, TrialState.OUT_OF_MEMORY})
"""Failures that fewer rows may prevent."""

_Kind = tuple[str, str]


def _kind(trial: Trial) -> _Kind:
    """Return learner and mitigation; a mitigation that the allocator added counts as none."""
    plain = trial.origin is Origin.MITIGATION
    return trial.config.learner, "none" if plain else trial.config.mitigation


@dataclass(frozen=True, slots=True)
class _Cost:
    """Measured seconds of a fold; ``fixed`` of them do not grow with the rows."""

    rows: float
    seconds: float
    fixed: float

    def at(self, fidelity: Fidelity, n_taken: int = 0) -> float:
        """Return the expected seconds of a trial."""
        growing = (self.seconds - self.fixed) * fidelity.rows / self.rows
        return (fidelity.folds - n_taken) * (self.fixed + growing)


class CostModel:
    """Expected seconds of a trial, and the rows that a learner can have.

    A configuration is estimated from its own trial, else from recent trials of its learner. A
    trial that exceeded its time or memory limits the rows of its learner.
    """

    def __init__(self) -> None:
        self._own: dict[str, _Cost] = {}
        self._recent: defaultdict[_Kind, deque[_Cost]] = defaultdict(lambda: deque(maxlen=RECENT))
        self._most_rows: dict[_Kind, float] = {}

    def learn(self, scored: TrialResult, *, growing: float = math.inf, times: float = 1.0) -> None:
        """Record the cost of a trial.

        At most ``growing`` seconds of a fold grow with its rows, and they are so many ``times``
        higher for other configurations of the learner.
        """
        trial = scored.trial
        if trial.origin is Origin.MITIGATION or is_baseline(scored):
            return
        kind, rows = _kind(trial), trial.fidelity.rows
        if scored.status is TrialState.SUCCESS:
            seconds = scored.seconds / (trial.fidelity.folds - trial.n_taken)
            fixed = max(min(FIXED_SHARE * seconds, FIXED_SECONDS), seconds - growing)
            cost = _Cost(rows, seconds, fixed)
            self._own[trial.config.key] = cost
            more = fixed + times * (seconds - fixed)
            self._recent[kind].append(_Cost(rows, more, fixed))
            if kind in self._most_rows:
                self._most_rows[kind] = max(self._most_rows[kind], CUT * rows)
        elif scored.status in TOO_MUCH:
            self._most_rows[kind] = min(self._most_rows.get(kind, math.inf), rows / CUT)

    def most_rows(self, trial: Trial) -> float:
        """Return the largest share of the rows that its learner can have."""
        return self._most_rows.get(_kind(trial), math.inf)

    def seconds(self, trial: Trial) -> float | None:
        """Return the expected seconds of a trial, None for an untried learner."""
        own = self._own.get(trial.config.key)
        if own is not None:
            return own.at(trial.fidelity, trial.n_taken)
        recent = self._recent.get(_kind(trial))
        return median(cost.at(trial.fidelity) for cost in recent) if recent else None

    def untried(self, trial: Trial) -> float:
        """Return the seconds that even a slow untried learner may take, 0 without any trial."""
        known = [cost.at(trial.fidelity) for costs in self._recent.values() for cost in costs]
        return UNTRIED * max(known, default=0.0)
