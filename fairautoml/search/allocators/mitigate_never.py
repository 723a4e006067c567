"""Allocator that searches without expensive mitigations."""

from fairautoml.search.allocators.flat import Flat


class MitigateNever(Flat):
    """Gives every configuration a full trial; a reference for comparisons of allocators."""

    schedules_mitigation = True


ALLOCATOR = MitigateNever
