"""Cost-frugal search (CFO) by FLAML: one local random search at a time, from the best start.

Wu, Wang and Huang, "Frugal optimization for cost-related hyperparameters", AAAI 2021, arXiv
2005.01571. Proposals do not depend on the seconds of a trial, so runs are reproducible.
"""

from functools import partial

from fairautoml.search.strategies._flaml import FlamlCFO, FlamlSearch

STRATEGY = partial(FlamlSearch, make=FlamlCFO)
"""FLAML's CFO over the whole space; the learner is one of the coordinates."""
