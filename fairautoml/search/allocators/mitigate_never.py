"""Search only: costly mitigations are kept from the strategy, and never tried."""

from fairautoml.search.allocators.flat import Flat


class MitigateNever(Flat):
    """A full trial of every candidate; the baseline of comparisons between allocators."""

    schedules_mitigation = True


ALLOCATOR = MitigateNever
