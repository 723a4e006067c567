"""Who may spend what: one file per allocator."""

from typing import Protocol

from fairautoml.records import Allocator, Terms
from fairautoml.registry import Registry


class MakeAllocator(Protocol):
    """A class of allocators: what it is made from, and whether it decides on mitigations."""

    schedules_mitigation: bool

    def __call__(self, terms: Terms) -> Allocator:
        """Return a new allocator."""
        ...


ALLOCATORS: Registry[MakeAllocator] = Registry(
    "fairautoml.search.allocators",
    constant="ALLOCATOR",
    kind="allocator",
    group="fairautoml.allocators",
)

__all__ = ["ALLOCATORS", "MakeAllocator"]
