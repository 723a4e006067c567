"""Every candidate gets a full trial, in the order asked."""

from collections.abc import Callable

from fairautoml.trials import Candidate, Terms, Told, Trial


class Flat:
    """The same budget for every candidate, cut to the seconds that are left.

    Parameters
    ----------
    terms : Terms
        What a trial may spend.
    """

    mitigates = False

    def __init__(self, terms: Terms) -> None:
        self._budget = terms.budget

    def next_trial(
        self, ask: Callable[[], Candidate | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return a full trial of the next candidate."""
        if seconds_left is not None and seconds_left <= 0:
            return None
        candidate = ask()
        if candidate is None:
            return None
        return Trial(number=number, candidate=candidate, budget=self._budget)

    def record(self, told: Told) -> None:
        """Learn nothing: the budget is flat."""


ALLOCATOR = Flat
