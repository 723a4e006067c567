"""Ways to decide what to try next; one file each, all by ask and tell."""

from collections.abc import Callable, Sequence

from fairautoml.registry import Registry
from fairautoml.spaces import SearchSpace
from fairautoml.trials import Candidate, SearchStrategy

MakeStrategy = Callable[[SearchSpace, int, Sequence[Candidate]], SearchStrategy]
"""``make(space, seed, first)``: ``first`` are the candidates to propose before any other."""

STRATEGIES: Registry[MakeStrategy] = Registry(
    "fairautoml.search.strategies",
    constant="STRATEGY",
    kind="strategy",
    group="fairautoml.strategies",
)

__all__ = ["STRATEGIES", "MakeStrategy"]
