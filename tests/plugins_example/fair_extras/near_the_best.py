import numpy as np

from fairautoml.records import TrialState
from fairautoml.search.loop import propose


class NearTheBest:
    """Change one choice of the best feasible candidate, or draw a new candidate."""

    def __init__(self, space, seed, first):
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._waiting = list(first)
        self._best = {}
        self._value = -np.inf

    def ask(self):
        if self._waiting:
            return self._waiting.pop(0)
        kept = dict(self._best) if self._rng.uniform() < 0.7 else {}
        if kept:
            del kept[self._rng.choice(sorted(kept))]

        def suggest(name, allowed):
            if name in kept and allowed.contains(kept[name]):
                return kept[name]
            return allowed.sample(self._rng)

        return propose(self._space, suggest)

    def tell(self, reported):
        feasible = reported.status is TrialState.SUCCESS and all(
            v <= 0 for v in reported.violations
        )
        if feasible and reported.value > self._value:
            self._best, self._value = reported.trial.config.flat(), reported.value


STRATEGY = NearTheBest
