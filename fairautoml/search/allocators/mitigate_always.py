"""Allocator that trains every configuration under an expensive mitigation."""

from collections.abc import Callable

from fairautoml.records import Config, Terms, Trial, TrialResult
from fairautoml.search.allocators._expected_gain import mitigated


class MitigateAlways:
    """Gives every configuration a full mitigated trial; a reference for comparisons of allocators.

    Trial 0, the baseline of the run, and configurations with their own mitigation stay unchanged.
    """

    schedules_mitigation = True

    def __init__(self, terms: Terms) -> None:
        self._terms = terms

    def next_trial(
        self, ask: Callable[[], Config | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return a full mitigated trial of the next configuration."""
        if seconds_left is not None and seconds_left <= 0:
            return None
        config = ask()
        if config is None:
            return None
        costly = self._terms.mitigations
        if number > 0 and costly and config.mitigation == "none":
            config = mitigated(config, costly[(number - 1) % len(costly)])
        return Trial(number=number, config=config, budget=self._terms.budget)

    def record(self, scored: TrialResult) -> None:
        """Ignore the result: the budget is constant."""


ALLOCATOR = MitigateAlways
