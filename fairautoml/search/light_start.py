"""A first small model within a part of a short budget, trained on as many rows as that allows."""

from collections.abc import Callable
from dataclasses import replace

from fairautoml.trials import Allocator, Candidate, Terms, Told, Trial

ROWS_PER_SECOND = 100_000
"""Rows that a small model trains on in a second, all folds together."""

SHARE = 0.1
"""Of the budget, that the first model may take."""

FEWEST_ROWS = 2_000
"""Of a fold, that it is trained on at least."""

LARGEST = 0.5
"""With a larger share of the rows of a full trial there is no need for a lighter one."""


class LightStart:
    """Tries the baseline and a small candidate on few rows where a full trial would take too long.

    The allocator does not hear of these trials, nor the strategy of the small candidate; both
    begin as they would without. Without a time budget, and where a full
    trial is affordable, nothing is different.

    Parameters
    ----------
    allocator : Allocator
        Decides everything after.
    terms : Terms
        The full trial, and the number of training rows.
    small : Candidate or None
        Tried after the strategy's first proposal, the baseline; None = nothing is.
    seconds : float or None
        For the search; None = no limit.
    """

    def __init__(
        self,
        allocator: Allocator,
        terms: Terms,
        small: Candidate | None,
        seconds: float | None,
    ) -> None:
        self.mitigates = allocator.mitigates
        self._allocator = allocator
        self._full = terms.budget
        self._small = small
        self._fraction = None if seconds is None else _fraction(terms, seconds)
        self._last = 0 if small is None else 1

    def next_trial(
        self, ask: Callable[[], Candidate | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return a light trial, or what the allocator says."""
        if self._fraction is None or number > self._last:
            return self._allocator.next_trial(ask, number=number, seconds_left=seconds_left)
        candidate = self._small if number else ask()
        if candidate is None:
            return None
        budget = replace(self._full, sample_fraction=self._fraction)
        return Trial(number=number, candidate=candidate, budget=budget)

    def record(self, told: Told) -> None:
        """Pass on what the allocator has asked for."""
        if self._fraction is None or told.trial.number > self._last:
            self._allocator.record(told)


def _fraction(terms: Terms, seconds: float) -> float | None:
    """Return the share of the rows for a light trial, None where a full one is affordable."""
    affordable = SHARE * max(0.0, seconds) * ROWS_PER_SECOND / terms.budget.folds
    share = max(FEWEST_ROWS, affordable) / terms.n_train_rows
    return share if share < LARGEST * terms.budget.sample_fraction else None
