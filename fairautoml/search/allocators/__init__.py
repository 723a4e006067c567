"""Registry of allocators, which decide the fidelity of trials; one file per allocator."""

from typing import Protocol

from fairautoml.records import Allocator, Terms
from fairautoml.registry import Registry


class MakeAllocator(Protocol):
    """Factory of an allocator."""

    schedules_mitigation: bool

    def __call__(self, terms: Terms) -> Allocator:
        """Return a new allocator."""


ALLOCATORS: Registry[MakeAllocator] = Registry(
    "fairautoml.search.allocators",
    constant="ALLOCATOR",
    kind="allocator",
    group="fairautoml.allocators",
)

__all__ = ["ALLOCATORS", "MakeAllocator"]
