"""BlendSearch by FLAML: a global Parzen estimator that starts local random searches.

Wang, Wu, Huang and Saied, "Economical hyperparameter optimization with blended search strategy",
ICLR 2021. Short runs over many parameters are mostly local. Results depend on measured seconds.
"""

from collections.abc import Sequence
from typing import Any

from fairautoml.records import Config
from fairautoml.search.space import SearchSpace
from fairautoml.search.strategies._flaml import Begin, FlamlBlendSearch, FlamlSearch, started
from fairautoml.storage.study import quiet


class BlendSearch(FlamlSearch):
    """FLAML's BlendSearch over the whole space."""

    def __init__(self, space: SearchSpace, seed: int, first: Sequence[Config]) -> None:
        super().__init__(space, seed, first, make_blendsearch)


def make_blendsearch(begin: Begin) -> Any:
    """Return FLAML's BlendSearch with its initial state."""
    with quiet():
        return started(FlamlBlendSearch, begin)


STRATEGY = BlendSearch
