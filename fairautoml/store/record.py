"""A trial that has ended, as the study of a run keeps it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from fairautoml.trials import Candidate, Entry, Origin, Status, Told, TrialResult

LITTLE = 1 / 6
"""Share of the time left below which no search trial of a run with so much of it is limited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A trial that has ended, with everything that came of it."""

    result: TrialResult  # how it ended
    told: Told  # what strategy and allocator learned of it
    entries: tuple[Entry, ...]  # its rows on the leaderboard
    seconds: float  # on the clock of the run, since the budget began
    # what the strategy has newly proposed since the record before, each by the digest of its
    # history until then; empty for a strategy that is asked again, and in records of versions
    # that did not keep it
    proposed: Mapping[str, Candidate] = field(default_factory=dict)
    # trials that might be asked for and not told at that time, from the result before to this
    # one; None in records of versions that did not keep it
    window: int | None = None

    @property
    def cut_off(self) -> bool:
        """Whether only the end of the run stopped the trial; with more time it may succeed."""
        status, limit = self.result.status, self.result.trial.budget.seconds
        return status is Status.STOPPED or (status is Status.TIMEOUT and limit is None)

    def has_more_time(self, budget: float | None) -> bool:
        """Whether time alone stopped the trial, and there is much more of it now."""
        trial, limit = self.result.trial, self.result.trial.budget.seconds
        if self.result.status is not Status.TIMEOUT or limit is None:
            return self.cut_off
        # What an allocator grants is its own matter; the search grants a share of what is left.
        left = math.inf if budget is None else budget - self.seconds
        return trial.origin is Origin.SEARCH and limit < LITTLE * left
