"""One leaderboard row, and the fitted rule behind it."""

from dataclasses import dataclass
from textwrap import shorten
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fairautoml.trials.records import Candidate

LONGEST_RULE = 100
"""Characters of a rule in the text of an entry."""


class Rule(Protocol):
    """A fitted post-processing: scores (and groups) to decisions."""

    @property
    def needs_sensitive(self) -> bool:
        """Whether ``decide`` reads the cells."""
        ...

    @property
    def randomized(self) -> bool:
        """Whether acceptance probabilities other than 0 and 1 occur."""
        ...

    def decide(
        self, scores: NDArray[np.floating], cells: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """Return the probability of acceptance of each row, shape (n_rows,).

        Of several classes the probability of each, shape (n_rows, n_classes); in regression the
        numbers that are answered.
        """
        ...

    def describe(self) -> str:
        """Return one line for people, for example the thresholds."""
        ...


@runtime_checkable
class BlindRule(Protocol):
    """A rule that reads how likely the groups of a row are, and not its group."""

    def decide_by(
        self, scores: NDArray[np.floating], membership: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Return the probability of acceptance of each row, shape (n_rows,)."""
        ...


def acceptance(
    rule: Rule,
    scores: NDArray[np.floating],
    cells: NDArray[np.integer],
    membership: NDArray[np.floating] | None,
) -> NDArray[np.float64]:
    """Return the probability of acceptance of each row under a rule, shape (n_rows,)."""
    if not isinstance(rule, BlindRule):
        return rule.decide(scores, cells)
    if membership is None:
        raise ValueError("a rule that reads the membership of rows was given none")
    return rule.decide_by(scores, membership)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A fairness metric on one group system, as measured for one entry."""

    metric: str  # registered name
    system: str  # group system
    value: float | None  # the metric, None when undefined
    gap: float  # distance from parity, ``inf`` when undefined
    limit: float  # largest gap allowed
    reason: str = ""  # why it is undefined, else empty


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """One classifier on the leaderboard: a trial's scores under one rule.

    Its figures are cross-fitted. Where the deployed rule is constant, or violates a constraint
    that the rules of the folds meet by more than one standard error, they are those of the
    deployed rule instead: that is the one that will decide.
    """

    trial_key: str  # whose fold models and scores: a trial, or ``"ensemble"``
    trial_number: int  # its turn; that of an ensemble comes after all trials
    candidate: Candidate  # what was trained
    mitigator: str  # post-processor that made the rule
    tolerance: float | None  # gap it was asked for, None for none
    rule: Rule  # the rule fitted on all search rows: what is deployed
    score: float  # objective in its natural direction
    value: float  # the same with greater = better
    measures: tuple[Measure, ...]  # one per constraint and group system
    # weight by finest cell, label and decision; in regression the sums of ``GroupValues.table``,
    # of shape (n_cells, n_columns)
    counts: NDArray[np.float64]  # shape (n_cells, n_classes, n_classes)
    # the same for the decisions of the deployed rule on the out-of-fold scores
    deployed: NDArray[np.float64]
    constant: bool  # all rows get the same decision, cross-fitted or from the deployed rule
    seconds: float  # training seconds of the trial, of an ensemble those of all members
    # keys of the trials whose mean is an ensemble's score, and their shares; empty for a trial
    members: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        """Return model and score, the worst gap against its limit, and the rule: three lines."""
        score = f"{self.name}: score {self.score:.4f} (cross-fitted)"
        rule = "rule: " + shorten(self.rule.describe(), LONGEST_RULE, placeholder=" ...")
        if not self.measures:
            return f"{score}\n{rule}"
        worst = max(self.measures, key=lambda measure: measure.gap - measure.limit)
        gap = f"undefined ({worst.reason})" if worst.value is None else f"{worst.gap:.4f}"
        return f"{score}\n{worst.metric}[{worst.system}]: gap {gap}, limit {worst.limit:g}\n{rule}"

    @property
    def name(self) -> str:
        """Learner, how many trials it averages, and mitigations, such as ``"lightgbm"``."""
        trials = f" of {len(self.members)} trials" if self.members else ""
        made = (self.candidate.learner + trials, self.candidate.mitigation, self.mitigator)
        return " with ".join(part for part in made if part != "none")

    @property
    def sources(self) -> tuple[str, ...]:
        """Keys of the trials whose fold models it takes."""
        return tuple(key for key, _ in self.members) if self.members else (self.trial_key,)

    @property
    def gap(self) -> float:
        """Largest gap over constraints and group systems; 0 without constraints."""
        return max((measure.gap for measure in self.measures), default=0.0)

    @property
    def excess(self) -> float:
        """Largest gap minus limit; at most 0 when every constraint is met."""
        return max((measure.gap - measure.limit for measure in self.measures), default=0.0)

    @property
    def n_undefined(self) -> int:
        """Number of constraints and group systems without a value."""
        return sum(measure.value is None for measure in self.measures)

    @property
    def known_excess(self) -> float:
        """Largest gap minus limit among the measures that have a value, 0 without any."""
        known = [m.gap - m.limit for m in self.measures if m.value is not None]
        return max(known, default=0.0)

    @property
    def accuracy(self) -> float:
        """Share of weight decided right, cross-fitted, whatever the objective is; 0 of numbers."""
        if self.counts.ndim == 2:
            return 0.0
        right = sum(self.counts[:, at, at].sum() for at in range(self.counts.shape[1]))
        return float(right / self.counts.sum())

    @property
    def feasible(self) -> bool:
        """Every constraint is met on the search rows, and not by one decision for all."""
        return self.excess <= 0 and (not self.constant or not self.measures)
