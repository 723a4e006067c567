"""The frozen types that travel between packages, and the protocols."""

import hashlib
import json
from collections.abc import Callable, Mapping, Set
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from enum import StrEnum
from textwrap import shorten
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

ParamValue = bool | int | float | str


class TrialState(StrEnum):
    """How a trial ended."""

    SUCCESS = "success"
    FAILED = "failed"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "memout"
    CRASHED = "crashed"
    WORKER_LOST = "lost"
    STOPPED = "stopped"
    PRUNED = "pruned"
    DISK_FULL = "no_space"


class Origin(StrEnum):
    """Who wanted a trial."""

    SEARCH = "search"
    ROWS = "rows"
    MITIGATION = "mitigation"


def _plain(value: object) -> object:
    """Write a value with its type, so that 1, 1.0 and True are three things."""
    return [type(value).__name__, value]


class _Keyed:
    """Room for a key that is computed once; no field, so neither compared nor kept."""

    __slots__ = ("_key",)
    _key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(_Keyed):
    """Learner, hyperparameters, encoding and training-time mitigation."""

    learner: str  # registered name
    # hyperparameters of the learner, plain Python values
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    encoding: str = "codes"  # how categories reach the learner: ``"codes"`` or ``"target"``
    mitigation: str = "none"  # training-time (``pre`` or ``in``) mitigator, ``"none"`` without
    mitigation_params: Mapping[str, ParamValue] = field(default_factory=dict)  # its parameters

    @property
    def key(self) -> str:
        """Return the stable hash of the content, 16 hexadecimal digits."""
        try:
            return self._key
        except AttributeError:
            object.__setattr__(self, "_key", self._hashed())
            return self._key

    def _hashed(self) -> str:
        content = {
            "learner": self.learner,
            "params": {k: _plain(v) for k, v in sorted(self.params.items())},
            "encoding": self.encoding,
            "mitigation": self.mitigation,
            "mitigation_params": {k: _plain(v) for k, v in sorted(self.mitigation_params.items())},
        }
        text = json.dumps(content, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def seed_of(root_seed: int, config: Config) -> int:
    """Return the candidate's seed: from the root seed and its content, never from its turn."""
    sequence = np.random.SeedSequence([root_seed, int(config.key, 16)])
    return int(sequence.generate_state(1, np.uint32)[0] >> 1)


MODELS_OF_A_SAMPLE = 3
"""Trained where a sample fits into one fold. With fewer the scores are not yet means of nearly as
many models as the one that is served; each more costs a scoring of nearly all rows.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a trial may spend."""

    seconds: float | None = None  # wall-clock limit of the trial; None = no limit
    # rows that each model is trained on, as a share of the rows outside one fold, in (0, 1]
    sample_fraction: float = 1.0
    folds: int = 5  # models trained, at least 2

    @property
    def one_fold(self) -> float:
        """Share of the rows outside one fold that the fold itself has as many of."""
        return 1.0 / (self.folds - 1)

    @property
    def models_of_a_sample(self) -> int:
        """Models of a trial on a sample that one fold can hold; of two folds, as of all rows."""
        return max(2, min(MODELS_OF_A_SAMPLE, self.folds - 1))

    def on(self, fraction: float) -> "Budget":
        """Return what the same trial may spend on a sample, this budget being that of a full one.

        On as many rows as it has itself, it is itself.
        """
        if fraction == self.sample_fraction:
            return self
        folds = self.models_of_a_sample if fraction <= self.one_fold else self.folds
        return replace(self, sample_fraction=fraction, folds=folds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A candidate with a budget and its number in the order asked."""

    number: int  # turn in the order asked, from 0
    config: Config  # what is tried
    budget: Budget  # what it may spend
    origin: Origin = Origin.SEARCH  # SEARCH when the strategy proposed it, and is told of it
    # key of the trial whose scores it must come near, fold by fold, or be stopped (PRUNED); empty
    # = all folds are run
    rival: str = ""

    @property
    def key(self) -> str:
        """Return the name of this trial's files: number and candidate."""
        return f"{self.number:05d}-{self.config.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """What came of a trial; its scores and models lie in the artifacts under ``trial.key``."""

    trial: Trial  # what was tried
    status: TrialState  # how it ended
    # out-of-fold log loss (natural logarithm, weighted mean per row), None unless SUCCESS; in
    # regression the mean squared error
    log_loss: float | None = None
    fold_log_loss: tuple[float, ...] = ()  # the same per fold, in fold order
    seconds: float = 0.0  # wall-clock seconds of training and scoring
    peak_memory_mb: float = 0.0  # peak resident memory of the process that ran it, MiB
    error: str = ""  # why it failed, empty on success


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredTrial:
    """What a strategy learns of a trial: one number to raise, and the constraints."""

    trial: Trial  # what was tried
    status: TrialState  # how it ended; anything but SUCCESS has no value
    value: float | None  # objective after the best cheap mitigation, greater is better
    # one per constraint: gap minus limit, at most 0 when met, ``inf`` when unknown
    violations: tuple[float, ...]
    seconds: float  # what the trial cost
    limits: tuple[float, ...] = ()  # limit of each constraint, in the order of ``violations``
    # objective of the bare scores at their usual threshold, without any post-processing; greater
    # is better, None when unknown
    plain_value: float | None = None
    plain_violations: tuple[float, ...] = ()  # the violations of the same decisions
    log_loss: float | None = None  # out-of-fold log loss, None unless SUCCESS


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
class GroupUnawareRule(Protocol):
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
    if not isinstance(rule, GroupUnawareRule):
        return rule.decide(scores, cells)
    if membership is None:
        raise ValueError("a rule that reads the membership of rows was given none")
    return rule.decide_by(scores, membership)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstraintResult:
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
    config: Config  # what was trained
    mitigator: str  # post-processor that made the rule
    tolerance: float | None  # gap it was asked for, None for none
    rule: Rule  # the rule fitted on all search rows: what is deployed
    score: float  # objective in its natural direction
    value: float  # the same with greater = better
    measures: tuple[ConstraintResult, ...]  # one per constraint and group system
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
        made = (self.config.learner + trials, self.config.mitigation, self.mitigator)
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


class SearchStrategy(Protocol):
    """Decides what to try next; knows spaces and results, never a model."""

    def ask(self) -> Config | None:
        """Return the next candidate; None = nothing before the next result."""
        ...

    def tell(self, scored: ScoredTrial) -> None:
        """Learn what came of a candidate that was asked for, once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MitigationOption:
    """A training-time mitigation that an allocator may spend on.

    Parameters
    ----------
    name : str
        Registered name of the mitigator.
    params : mapping
        Its parameters.
    ratio : float
        Cost of a mitigated training in units of the plain one, positive; a guess made before
        anything is measured.
    """

    name: str
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an allocator may spend, and on what.

    Parameters
    ----------
    budget : Budget
        What a full trial may spend; its ``sample_fraction`` is the largest allowed.
    n_train_rows : int
        Rows that a fold trains on at ``sample_fraction`` 1.
    mitigations : tuple of MitigationOption
        Costly training-time mitigations; only for an allocator that ``schedules_mitigation``.
    row_cost : float
        What a row costs to train on or to ask for, in those of two classes and few columns.
    """

    budget: Budget
    n_train_rows: int
    mitigations: tuple[MitigationOption, ...] = ()
    row_cost: float = 1.0


class Allocator(Protocol):
    """Decides who may spend what.

    ``schedules_mitigation`` says that it decides itself when a costly training-time mitigation is
    tried; the strategy then searches without.
    """

    schedules_mitigation: bool

    def next_trial(
        self, ask: Callable[[], Config | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return the next spend; None = nothing now."""
        ...

    def record(self, scored: ScoredTrial) -> None:
        """Learn what a trial cost and brought."""
        ...


class Executor(Protocol):
    """Runs trials somewhere; the shape of ``concurrent.futures`` plus a clock and deadlines.

    ``n_workers`` trials run at the same time; ``queued`` more may be handed over in advance, so
    that no worker waits for the controller. Every trial ends ``spare`` seconds before the deadline
    of the run, or what comes of it could not be settled in time; the controller sets it.
    """

    n_workers: int
    queued: int
    spare: float

    def now(self) -> float:
        """Return the seconds on the clock of the run; it never goes back."""
        ...

    def submit(
        self, objective: Callable[[Trial], TrialResult], trial: Trial
    ) -> "Future[TrialResult]":
        """Start a trial; its ``budget.seconds`` is enforced."""
        ...

    def wait(
        self, running: "Set[Future[TrialResult]]", seconds: float
    ) -> "set[Future[TrialResult]]":
        """Return those of ``running`` that have ended, at the latest after ``seconds``."""
        ...

    def shutdown(self) -> None:
        """Stop everything that runs and leave no process behind."""
        ...
