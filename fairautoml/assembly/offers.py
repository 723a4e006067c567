"""What can be served after a search, and how what is served keeps inside the limits."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

from fairautoml.assembly.choice import Confidence
from fairautoml.trials import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What can be served, before a margin is chosen.

    Parameters
    ----------
    usual : tuple of Entry
        Entries of the usual tolerances: of all trials, the ensemble, the mixture.
    fine : tuple of Entry
        Entries of the tolerances between, of the columns that a margin is chosen on.
    columns : frozenset of str
        Keys of those columns.
    """

    usual: tuple[Entry, ...]
    fine: tuple[Entry, ...]
    columns: frozenset[str]

    def only(self, keys: Collection[str]) -> "Offers":
        """Return what the columns of the given keys offer.

        Parameters
        ----------
        keys : collection of str
            Trials, ``"ensemble"`` or ``"mixture"``.
        """
        return replace(
            self,
            usual=tuple(entry for entry in self.usual if entry.trial_key in keys),
            fine=tuple(entry for entry in self.fine if entry.trial_key in keys),
            columns=self.columns & set(keys),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """The entry of the best score that meets the constraints on the search rows, not served.

    Parameters
    ----------
    score : float
        Objective, in its natural direction.
    probability : float
        That the constraints hold for it on a sample of new people, in [0, 1].
    reason : {"probability", "certificate", "noise"}
        It is less likely to meet the constraints; it is less likely to be certified; or it is a
        single trial whose lead over an ensemble is too small to count.
    """

    score: float
    probability: float
    reason: Literal["probability", "certificate", "noise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """How far the served entry stays inside the limits, why, and what that costs.

    Parameters
    ----------
    confidence : "auto", float or None
        What was asked for.
    probability : float
        That the constraints hold on a sample of new people, in [0, 1].
    margin : float
        Limit minus cross-fitted gap, the smallest over all constraints; negative when one is
        missed.
    price : float
        Objective lost against the best entry that meets the constraints on the search rows.
    insufficient_evidence : bool
        Whether it is less sure than was asked for; ``"auto"`` asks for even odds.
    audit_ratio : float
        Size of that sample, in times of the searched rows.
    kept : float or None
        Share of what the best entry is worth beyond one decision for everybody that the served one
        keeps, at most 1; None when there is no such worth.
    widest : float or None
        Excess over the limits of what would be served if a certificate were worth nothing; None
        when it is not weighed.
    passed_over : PassedOver or None
        The entry of a better score, and why it is not served; None when there is none.
    """

    confidence: Confidence
    probability: float
    margin: float
    price: float
    insufficient_evidence: bool
    audit_ratio: float = 1.0
    kept: float | None = None
    widest: float | None = None
    passed_over: PassedOver | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """What ``assemble`` returns.

    Parameters
    ----------
    entries : tuple of Entry
        Those of the search and those of the ensemble; of finer tolerances only what is served or
        on the front.
    best : Entry
        What is served.
    margin : Margin or None
        None when nothing is constrained.
    seconds : float
        What it took.
    outdone : Entry or None
        The model chosen, where the best constant is worth more and served instead.
    """

    entries: tuple[Entry, ...]
    best: Entry
    margin: Margin | None
    seconds: float
    outdone: Entry | None = None
