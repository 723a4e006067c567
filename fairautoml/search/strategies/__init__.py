"""Registry of search strategies; each file implements one strategy with ask and tell."""

from collections.abc import Callable, Sequence

from fairautoml.records import Config, SearchStrategy
from fairautoml.registry import Registry
from fairautoml.search.space import SearchSpace

MakeStrategy = Callable[[SearchSpace, int, Sequence[Config]], SearchStrategy]
"""``make(space, seed, first)``; ``first`` are the initial configurations."""

STRATEGIES: Registry[MakeStrategy] = Registry(
    "fairautoml.search.strategies",
    constant="STRATEGY",
    kind="strategy",
    group="fairautoml.strategies",
)

__all__ = ["STRATEGIES", "MakeStrategy"]
