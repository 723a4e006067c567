"""The search: its space, its loop, strategies and allocators."""
