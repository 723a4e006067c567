"""BlendSearch by FLAML: a global Parzen estimator that starts local random searches.

Wang, Wu, Huang and Saied, "Economical hyperparameter optimization with blended search strategy",
ICLR 2021. Short runs over many parameters are mostly local. Results depend on measured seconds.
"""

from functools import partial
from typing import Any

from fairautoml.search.strategies._flaml import Begin, FlamlBlendSearch, FlamlSearch, started
from fairautoml.storage.study import quiet


def make_blendsearch(begin: Begin) -> Any:
    """Return FLAML's BlendSearch with its initial state."""
    with quiet():
        return started(FlamlBlendSearch, begin)


STRATEGY = partial(FlamlSearch, make=make_blendsearch)
"""FLAML's BlendSearch over the whole space."""
