"""A baseline before everything else, so that there is always a model."""

from fairautoml.trials import Candidate, SearchStrategy, Told


class BaselineFirst:
    """Proposes the baseline once, then whatever the strategy proposes."""

    def __init__(self, baseline: Candidate, strategy: SearchStrategy) -> None:
        self._baseline: Candidate | None = baseline
        self._key: str | None = baseline.key
        self._strategy = strategy

    def ask(self) -> Candidate | None:
        """Return the next candidate."""
        if self._baseline is not None:
            first, self._baseline = self._baseline, None
            return first
        return self._strategy.ask()

    def tell(self, told: Told) -> None:
        """Pass on everything but the first result of the baseline."""
        if self._key is not None and told.trial.candidate.key == self._key:
            self._key = None
        else:
            self._strategy.tell(told)
