"""BlendSearch by FLAML: a global Parzen estimator that starts local random searches.

Wang, Wu, Huang and Saied, "Economical hyperparameter optimization with blended search strategy",
ICLR 2021. Short runs over many parameters are mostly local. Results depend on measured seconds.
"""

from functools import partial
from typing import Any

from fairautoml.search.strategies._flaml import FlamlBlendSearch, FlamlSearch
from fairautoml.storage.study import quiet


def _make(**begin: Any) -> Any:
    with quiet():
        return FlamlBlendSearch(**begin)


STRATEGY = partial(FlamlSearch, make=_make)
"""FLAML's BlendSearch over the whole space."""
