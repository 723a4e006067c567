"""Allocator that trains every configuration under an expensive mitigation."""

from collections.abc import Callable

from fairautoml.records import Config
from fairautoml.search.allocators._expected_gain import mitigated
from fairautoml.search.allocators.flat import Flat


class MitigateAlways(Flat):
    """Gives every configuration a full mitigated trial; a reference for comparisons of allocators.

    The baseline, the first model and configurations with their own mitigation stay unchanged.
    """

    schedules_mitigation = True

    def proposal(self, ask: Callable[[], Config | None]) -> Config | None:
        """Return a new configuration under the next mitigation."""
        config, costly = ask(), self.terms.mitigations
        if config is None or not costly or config.mitigation != "none":
            return config
        return mitigated(config, costly[self.n_proposed % len(costly)])


ALLOCATOR = MitigateAlways
