"""Every candidate is trained under a costly mitigation; nothing plain is scored."""

from collections.abc import Callable

from fairautoml.records import Candidate, Terms, Told, Trial
from fairautoml.search.allocators._expected_gain import mitigated


class MitigateAlways:
    """A full mitigated trial of every candidate; the baseline of comparisons between allocators.

    Trial 0 is the run's baseline, which is there so that there is always a model, and is left as
    it is, as are candidates that bring a mitigation of their own.
    """

    mitigates = True

    def __init__(self, terms: Terms) -> None:
        self._terms = terms

    def next_trial(
        self, ask: Callable[[], Candidate | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return a full mitigated trial of the next candidate."""
        if seconds_left is not None and seconds_left <= 0:
            return None
        candidate = ask()
        if candidate is None:
            return None
        costly = self._terms.mitigations
        if number > 0 and costly and candidate.mitigation == "none":
            candidate = mitigated(candidate, costly[(number - 1) % len(costly)])
        return Trial(number=number, candidate=candidate, budget=self._terms.budget)

    def record(self, told: Told) -> None:
        """Learn nothing: the budget is flat."""


ALLOCATOR = MitigateAlways
