"""The allocator that mitigates one model after the other at the end; for simulations only."""

from fairautoml.records import Trial
from fairautoml.search.allocators.mitigate_after import MitigateAfter


class RetryingMitigateAfter(MitigateAfter):
    """Mitigates further models while there is time, where ``MitigateAfter`` mitigates one."""

    def _begun(self, number: int, left: float | None) -> Trial | None:
        return None if self._memory.mitigating else self._best_in_time(number, left, prune=True)
