"""A first small model within a part of a short budget, trained on as many rows as that allows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from fairautoml.trials import Allocator, Budget, Candidate, Terms, Told, Trial

ROWS_PER_SECOND = 100_000
"""Rows that a small model trains on in a second, all folds together."""

ROWS_PER_SECOND_UNKNOWN = 1_000
"""The same of a learner that may be slow, such as a forest."""

SHARE = 0.1
"""Of the budget, that the first model may take."""

FEWEST_ROWS = 2_000
"""That each is trained on at least, where a fold has as many."""

FEWEST_ROWS_UNKNOWN = 500
"""The same of a learner that may be slow."""

LARGEST = 0.5
"""With a larger share of the rows of a full trial there is no need for a lighter one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """What is tried on few rows before everything else.

    Parameters
    ----------
    candidate : Candidate or None
        Tried after the baseline; None = the baseline only.
    budget : Budget
        What both may spend; without a limit of time.
    here : bool
        Whether the candidate is trained in this process, while the first worker starts.
    """

    candidate: Candidate | None
    budget: Budget
    here: bool = False


class LightStart:
    """Tries the baseline and a small candidate on few rows where a full trial would take too long.

    The allocator does not hear of these trials, nor the strategy of the small candidate; both
    begin as they would without.

    Parameters
    ----------
    allocator : Allocator
        Decides everything after.
    light : Light
        What comes first; the strategy is asked for the baseline.
    """

    def __init__(self, allocator: Allocator, light: Light) -> None:
        self.mitigates = allocator.mitigates
        self._allocator = allocator
        self._light = light
        self._last = 0 if light.candidate is None else 1

    def next_trial(
        self, ask: Callable[[], Candidate | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return a light trial, or what the allocator says."""
        if number > self._last:
            return self._allocator.next_trial(ask, number=number, seconds_left=seconds_left)
        candidate = self._light.candidate if number else ask()
        if candidate is None:
            return None
        return Trial(number=number, candidate=candidate, budget=self._light.budget)

    def record(self, told: Told) -> None:
        """Pass on what the allocator has asked for."""
        if told.trial.number > self._last:
            self._allocator.record(told)


def light_fraction(terms: Terms, seconds: float, *, quick: bool = True) -> float | None:
    """Return the share of the rows for a light trial, None where a full one is affordable.

    Parameters
    ----------
    terms : Terms
        The full trial, and the number of training rows.
    seconds : float
        Time budget.
    quick : bool
        Whether the candidate is known to be small and fast.
    """
    pace, fewest = ROWS_PER_SECOND, FEWEST_ROWS
    if not quick:
        pace, fewest = ROWS_PER_SECOND_UNKNOWN, FEWEST_ROWS_UNKNOWN
    full = terms.budget
    affordable = SHARE * seconds * pace / full.models_of_a_sample
    share = max(fewest, affordable) / terms.n_train_rows
    return min(share, full.one_fold) if share < LARGEST * full.sample_fraction else None


def begun_with(planned: Light | None, full: Budget, past: Mapping[int, Trial]) -> Light | None:
    """Return what an earlier run began with, so that it is not run again, else what is planned.

    Parameters
    ----------
    planned : Light or None
        What this run would begin with.
    full : Budget
        Of a full trial.
    past : mapping of int to Trial
        The trials of the earlier run that have ended, by number.
    """
    if 0 not in past:
        return planned
    budget = replace(past[0].budget, seconds=None)
    if budget == full:
        return None
    candidate = None if planned is None else planned.candidate
    if 1 in past and past[1].budget.sample_fraction == budget.sample_fraction:
        candidate = past[1].candidate
    here = planned is not None and planned.here
    return Light(candidate=candidate, budget=budget, here=here)
