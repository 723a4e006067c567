"""Cost-frugal search by FLAML: one local random search at a time, from the best known start.

Wu, Wang and Huang, "Frugal optimization for cost-related hyperparameters", AAAI 2021, arXiv
2005.01571. A converged search is begun anew near the low-cost start. The seconds of a trial do not
change what is proposed, so the same results give the same search.
"""

from collections.abc import Sequence
from typing import Any

from fairautoml.records import Config
from fairautoml.search.space import SearchSpace
from fairautoml.search.strategies._flaml import Begin, FlamlCFO, FlamlSearch, started


class CFO(FlamlSearch):
    """FLAML's CFO over the whole space; the learner is a coordinate like any other."""

    def __init__(self, space: SearchSpace, seed: int, first: Sequence[Config]) -> None:
        super().__init__(space, seed, first, make_cfo)


def make_cfo(begin: Begin) -> Any:
    """Return FLAML's CFO, told where to begin."""
    return started(FlamlCFO, begin)


STRATEGY = CFO
