"""Cost-frugal search (CFO) by FLAML: one local random search at a time, from the best start.

Wu, Wang and Huang, "Frugal optimization for cost-related hyperparameters", AAAI 2021, arXiv
2005.01571. Proposals do not depend on the seconds of a trial, so runs are reproducible.
"""

from collections.abc import Sequence
from functools import partial

from fairautoml.records import Config
from fairautoml.search.space import SearchSpace
from fairautoml.search.strategies._flaml import FlamlCFO, FlamlSearch, started


class CFO(FlamlSearch):
    """FLAML's CFO over the whole space; the learner is one of the coordinates."""

    def __init__(self, space: SearchSpace, seed: int, first: Sequence[Config]) -> None:
        super().__init__(space, seed, first, partial(started, FlamlCFO))


STRATEGY = CFO
