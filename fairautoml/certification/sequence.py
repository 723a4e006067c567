"""The sequence of candidates for a certificate, fixed at ``fit``."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from fairautoml.certification.ledger import chain_hash
from fairautoml.exceptions import InputError
from fairautoml.records import Entry

FAIRER, BOLDER = 2, 4
"""Largest number of candidates before and after the served one. Candidates after it cost no error
probability, because they are tested only after it has passed, but each loosens the printed bound,
which holds for all of them jointly."""

WORTH = 0.75
"""Least share of the served model's gain over a constant predictor that a fairer candidate keeps:
a certificate of a nearly constant predictor has no value."""


class Front(Protocol):
    """The leaderboard, as far as the sequence depends on it."""

    @property
    def entries(self) -> Sequence[Entry]:
        """All entries."""

    def pareto_front(self) -> Sequence[Entry]:
        """Return the entries on the Pareto front."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CandidateSequence:
    """Entries in the order in which they are tested, with a hash of this order."""

    entries: tuple[Entry, ...]  # fairest first
    sha256: str

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Self:
        """Return the sequence of these entries."""
        return cls(entries=tuple(entries), sha256=_hash(entries))

    def checked(self, served: Entry) -> tuple[Entry, ...]:
        """Return the entries; raise if they changed since ``fit``, or lack the served one."""
        if _hash(self.entries) != self.sha256:
            raise InputError(
                "candidates='front': the order of the candidates is not the one that fit fixed. "
                "Fit again, or leave candidates out."
            )
        if not any(entry is served for entry in self.entries):
            raise InputError(
                "candidates='front': the selected model is not one of the candidates that fit "
                "fixed. Certify the estimator that fit returned, or leave candidates out."
            )
        return self.entries


def freeze(front: Front, served: Entry, stored: Collection[str]) -> CandidateSequence:
    """Return some fairer entries, the served entry, and some more accurate ones."""
    others = [
        entry
        for entry in front.pareto_front()
        if entry is not served and not entry.constant and set(entry.sources) <= set(stored)
    ]
    constants = [entry.value for entry in front.entries if entry.constant]
    gain = max(0.0, served.value - max(constants)) if constants else 0.0
    least = served.value - (1 - WORTH) * gain if constants else served.value
    # By violation, not by gap, because constraints may have different limits.
    before = [e for e in others if e.excess <= served.excess and e.value >= least]
    after = [e for e in others if e.excess > served.excess and e.feasible]
    after = [e for e in after if e.value > served.value]
    return CandidateSequence.of((*_spread(before, FAIRER), served, *_spread(after, BOLDER)))


def _spread(entries: Sequence[Entry], most: int) -> list[Entry]:
    """Return at most ``most`` evenly spaced entries, including both ends."""
    places = np.linspace(0, len(entries) - 1, min(len(entries), most)).round().astype(int)
    return [entries[at] for at in dict.fromkeys(places.tolist())]


def _hash(entries: Sequence[Entry]) -> str:
    described = [
        [entry.trial_key, entry.mitigator, entry.tolerance, repr(entry.members), repr(entry.rule)]
        for entry in entries
    ]
    return chain_hash(described)
