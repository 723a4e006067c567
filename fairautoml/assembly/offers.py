"""What can be served after a search, and how what is served keeps inside the limits."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

from fairautoml.assembly.choice import Confidence
from fairautoml.trials import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What can be served, before a margin is chosen."""

    # entries of the usual tolerances: of all trials, the ensemble, the mixture
    usual: tuple[Entry, ...]
    # entries of the tolerances between, of the columns that a margin is chosen on
    fine: tuple[Entry, ...]
    columns: frozenset[str]  # keys of those columns

    def only(self, keys: Collection[str]) -> "Offers":
        """Return what the columns of the given keys offer."""
        return replace(
            self,
            usual=tuple(entry for entry in self.usual if entry.trial_key in keys),
            fine=tuple(entry for entry in self.fine if entry.trial_key in keys),
            columns=self.columns & set(keys),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """The entry of the best score that meets the constraints on the search rows, not served."""

    score: float  # objective, in its natural direction
    probability: float  # that the constraints hold for it on a sample of new people, in [0, 1]
    # it is less likely to meet the constraints; it is less likely to be certified; or it is a
    # single trial whose lead over an ensemble is too small to count
    reason: Literal["probability", "certificate", "noise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """How far the served entry stays inside the limits, why, and what that costs."""

    confidence: Confidence  # what was asked for
    probability: float  # that the constraints hold on a sample of new people, in [0, 1]
    margin: float  # limit minus cross-fitted gap, the smallest over all constraints
    # objective lost against the best entry that meets the constraints on the search rows
    price: float
    insufficient_evidence: bool  # whether it is less sure than was asked for
    audit_ratio: float = 1.0  # size of that sample, in times of the searched rows
    # share of what the best entry is worth beyond one decision for everybody that the served one
    # keeps, at most 1; None when there is no such worth
    kept: float | None = None
    # excess over the limits of what would be served if a certificate were worth nothing; None
    # when it is not weighed
    widest: float | None = None
    passed_over: PassedOver | None = None  # the entry of a better score, and why it is not served


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """What ``assemble`` returns."""

    entries: tuple[Entry, ...]  # those of the search and those of the ensemble
    best: Entry  # what is served
    margin: Margin | None  # None when nothing is constrained
    seconds: float  # what it took
    # the model chosen, where the best constant is worth more and served instead
    outdone: Entry | None = None
