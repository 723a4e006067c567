"""Search: search space, loop, strategies and allocators."""
