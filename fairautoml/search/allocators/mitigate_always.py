"""Every candidate is trained under a costly mitigation; nothing plain is scored."""

from collections.abc import Callable

from fairautoml.records import Config, ScoredTrial, Terms, Trial
from fairautoml.search.allocators._expected_gain import mitigated


class MitigateAlways:
    """A full mitigated trial of every candidate; the baseline of comparisons between allocators.

    Trial 0 is the run's baseline, which is there so that there is always a model, and is left as
    it is, as are candidates that bring a mitigation of their own.
    """

    schedules_mitigation = True

    def __init__(self, terms: Terms) -> None:
        self._terms = terms

    def next_trial(
        self, ask: Callable[[], Config | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return a full mitigated trial of the next candidate."""
        if seconds_left is not None and seconds_left <= 0:
            return None
        config = ask()
        if config is None:
            return None
        costly = self._terms.mitigations
        if number > 0 and costly and config.mitigation == "none":
            config = mitigated(config, costly[(number - 1) % len(costly)])
        return Trial(number=number, config=config, budget=self._terms.budget)

    def record(self, scored: ScoredTrial) -> None:
        """Learn nothing: the budget is flat."""


ALLOCATOR = MitigateAlways
