"""BlendSearch by FLAML: a global Parzen estimator that founds local random searches.

Wang, Wu, Huang and Saied, "Economical hyperparameter optimization with blended search strategy",
ICLR 2021. A global proposal is taken only inside the box that the local searches have reached, to
stay cheap, so short runs over many parameters are mostly local. Which thread is next depends on
measured seconds, so the load of the machine has a say.
"""

from collections.abc import Sequence
from typing import Any

from fairautoml.records import Config
from fairautoml.search.space import SearchSpace
from fairautoml.search.strategies._flaml import Begin, FlamlBlendSearch, FlamlSearch, started
from fairautoml.search.strategies._optuna import quiet


class BlendSearch(FlamlSearch):
    """FLAML's BlendSearch over the whole space."""

    def __init__(self, space: SearchSpace, seed: int, first: Sequence[Config]) -> None:
        super().__init__(space, seed, first, make_blendsearch)


def make_blendsearch(begin: Begin) -> Any:
    """Return FLAML's BlendSearch, told where to begin."""
    with quiet():
        return started(FlamlBlendSearch, begin)


STRATEGY = BlendSearch
