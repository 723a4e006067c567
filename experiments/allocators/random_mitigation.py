"""The baseline that decides by dice; for simulations only."""

from collections.abc import Callable

import numpy as np

from fairautoml.records import Config, Terms, Trial, TrialResult
from fairautoml.search.allocators._expected_gain import AllocatorState

FIRST_SEED = 10**6
"""Added to the seed of the world, so that its draws and these are different ones."""


class RandomMitigation:
    """At each step, mitigates a random unfair model with a fixed probability."""

    schedules_mitigation = True

    def __init__(self, terms: Terms, *, probability: float, seed: int) -> None:
        self._full = terms.fidelity
        self._memory = AllocatorState(terms.mitigations, terms.fidelity)
        self._probability = probability
        self._draws = np.random.default_rng(FIRST_SEED + seed)

    def next_trial(
        self, ask: Callable[[], Config | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return a full trial of the next candidate, or a mitigation of a known one."""
        if seconds_left is not None and seconds_left <= 0:
            return None
        if self._draws.random() < self._probability:
            pairs = self._memory.pairs(prune=False)
            if pairs:
                pair = pairs[int(self._draws.integers(len(pairs)))]
                return self._memory.start(pair, number)
        config = ask()
        if config is None:
            return None
        return Trial(number=number, config=config, fidelity=self._full)

    def record(self, scored: TrialResult) -> None:
        """Learn which models are unfair."""
        self._memory.record(scored)
