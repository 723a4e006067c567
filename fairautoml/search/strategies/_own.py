"""Strategies from a sampler of Optuna or a searcher of FLAML that the user has made."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import optuna

from fairautoml.exceptions import MissingExtraError
from fairautoml.records import Config, SearchStrategy
from fairautoml.search.space import SearchSpace
from fairautoml.search.strategies._optuna import StudyStrategy, new_study, value_only


@dataclass(frozen=True, slots=True, eq=False)
class OwnStrategy:
    """Makes a strategy from a copy of the given sampler or searcher, which keeps its own seed."""

    given: Any

    @property
    def name(self) -> str:
        """Class of the sampler or searcher."""
        return type(self.given).__name__

    def __call__(self, space: SearchSpace, seed: int, first: Sequence[Config]) -> SearchStrategy:
        """Return the strategy over a space, beginning with the configurations ``first``."""
        given = copy.deepcopy(self.given)
        if isinstance(given, optuna.samplers.BaseSampler):
            study = new_study(given, "maximize")
            return StudyStrategy(space, first, study, objectives=value_only)
        from fairautoml.search.strategies._flaml import FlamlSearch

        def make(*, metric: str, mode: str, space: dict[str, Any], **_: Any) -> Any:
            given.set_search_properties(metric, mode, space)
            return given

        return FlamlSearch(space, seed, first, make)


NEEDED = {"GPSampler": "torch", "CmaEsSampler": "cmaes"}
"""Packages that samplers of Optuna import at their first proposal only, after the search began."""


def own_strategy(value: Any) -> OwnStrategy | None:
    """Return the strategy of a sampler or searcher, None for any other value."""
    if isinstance(value, optuna.samplers.BaseSampler):
        name = type(value).__name__
        package = NEEDED.get(name)
        if package is not None and find_spec(package) is None:
            raise MissingExtraError(f"strategy: {name} needs {package}; pip install {package}")
        return OwnStrategy(value)
    # FLAML is imported only where one of its objects can be meant.
    if not type(value).__module__.startswith("flaml."):
        return None
    from flaml.tune.searcher.suggestion import Searcher

    return OwnStrategy(value) if isinstance(value, Searcher) else None
