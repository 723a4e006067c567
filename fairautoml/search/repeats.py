"""No candidate is run twice: a repeated proposal is answered with the result that is known."""

from collections import Counter

from fairautoml.trials import Candidate, SearchStrategy, Status, Told

TRIES = 32
"""Proposals that are listened to before the strategy counts as out of ideas for now."""


class WithoutRepeats:
    """Passes on proposals that are new, and answers the others itself.

    The seed of a trial comes from its candidate, so a second run would only give the same result
    again. It depends on the order of ``ask`` and ``tell`` only, never on the number of workers.
    """

    def __init__(self, strategy: SearchStrategy) -> None:
        self._strategy = strategy
        self._known: dict[str, Told] = {}
        self._waiting: Counter[str] = Counter()
        self._open: set[str] = set()

    def ask(self) -> Candidate | None:
        """Return the next new candidate; None when the strategy only repeats itself."""
        for _ in range(TRIES):
            candidate = self._strategy.ask()
            if candidate is None:
                return None
            key = candidate.key
            if key in self._known:
                self._strategy.tell(self._known[key])
            elif key in self._open:
                self._waiting[key] += 1
            else:
                self._open.add(key)
                return candidate
        return None

    def tell(self, told: Told) -> None:
        """Pass the result on, also to the repeated proposals that wait for it."""
        key = told.trial.candidate.key
        for _ in range(1 + self._waiting.pop(key, 0)):
            self._strategy.tell(told)
        self._open.discard(key)
        # A worker that was killed from outside says nothing about the candidate.
        if told.status is not Status.LOST:
            self._known[key] = told
