"""Who may spend what: one file per allocator."""

from collections.abc import Callable

from fairautoml.registry import Registry
from fairautoml.trials import Allocator, Budget

MakeAllocator = Callable[[Budget], Allocator]
"""``make(budget)``: ``budget`` is what a full trial may spend."""

ALLOCATORS: Registry[MakeAllocator] = Registry(
    "fairautoml.allocation", constant="ALLOCATOR", kind="allocator"
)

__all__ = ["ALLOCATORS", "MakeAllocator"]
