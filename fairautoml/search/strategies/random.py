"""Random search (Bergstra and Bengio 2012): independent draws from the space."""

from collections.abc import Sequence

import numpy as np

from fairautoml.records import Config, TrialResult
from fairautoml.search.loop import propose
from fairautoml.search.space import SearchSpace


class RandomSearch:
    """Proposes the initial configurations, then independent draws from the space."""

    def __init__(self, space: SearchSpace, seed: int, first: Sequence[Config]) -> None:
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._waiting = list(first)

    def ask(self) -> Config:
        if self._waiting:
            return self._waiting.pop(0)
        return propose(self._space, lambda _, allowed: allowed.sample(self._rng))

    def tell(self, scored: TrialResult) -> None:
        """Ignore the result."""


STRATEGY = RandomSearch
