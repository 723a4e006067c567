"""Frozen types that packages exchange, the order of entries, and the protocols of the plug-ins."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from textwrap import shorten
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

ParamValue = bool | int | float | str
ParamValues = Mapping[str, ParamValue]
Floats = NDArray[np.float64]


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
    """Component that created a trial."""

    SEARCH = "search"
    PROMOTION = "promotion"
    MITIGATION = "mitigation"


def _plain(value: object) -> object:
    """Return a value with its type, so that 1, 1.0 and True differ."""
    return [type(value).__name__, value]


class _Keyed:
    """Slot for a cached key; it is no dataclass field, so it is neither compared nor pickled."""

    __slots__ = ("_key",)
    _key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(_Keyed):
    """Learner, hyperparameters, encoding and training-time mitigation."""

    learner: str  # registered name
    # hyperparameters of the learner, plain Python values
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    encoding: str = "codes"  # how columns reach the learner, one of ``data.encoders.ENCODINGS``
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

    def flat(self) -> dict[str, ParamValue]:
        """Return all choices in one mapping, with names such as ``"lightgbm.num_leaves"``."""
        parts = ((self.learner, self.params), (self.mitigation, self.mitigation_params))
        return {
            "learner": self.learner,
            "encoding": self.encoding,
            "mitigation": self.mitigation,
            **{
                f"{part}.{name}": value for part, params in parts for name, value in params.items()
            },
        }

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


BASELINE = Config(learner="prior")
"""Needs no training, so there is a model from the start."""


def seed_of(root_seed: int, config: Config) -> int:
    """Return the seed of a configuration, from the root seed and its content only."""
    sequence = np.random.SeedSequence([root_seed, int(config.key, 16)])
    return int(sequence.generate_state(1, np.uint32)[0] >> 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """How much of the data a trial uses: training rows and folds of the cross-validation."""

    # rows that each model is trained on, as a share of the rows outside one fold, in (0, 1]
    rows: float = 1.0
    folds: int = 5  # the first so many folds are scored, each by a model of the other folds


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A configuration with a fidelity and a trial number."""

    number: int  # trial number in order of creation, from 0
    config: Config  # configuration to evaluate
    fidelity: Fidelity  # rows and folds
    max_seconds: float | None = None  # wall-clock limit of the trial; None = no limit
    origin: Origin = Origin.SEARCH  # SEARCH if the strategy proposed it and receives its result
    # key of the incumbent trial that it is compared with, fold by fold; empty = all folds are run
    rival: str = ""
    # key of the trial of lower fidelity that it promotes; models and scores of its ``n_taken``
    # first folds are taken over
    parent: str = ""
    n_taken: int = 0
    n_threads: int = 1  # threads that its learner may use

    @property
    def key(self) -> str:
        """Return the name of this trial's files: number and key of the configuration."""
        return f"{self.number:05d}-{self.config.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """Result of one trial; its scores and models are stored under ``trial.key``.

    The evaluation fills the last five fields after the best post-processing is known.
    """

    trial: Trial  # trial that was run
    status: TrialState  # how it ended; only SUCCESS has a value
    # out-of-fold log loss (natural logarithm, weighted mean per row), None unless SUCCESS; in
    # regression the mean squared error
    log_loss: float | None = None
    fold_log_loss: tuple[float, ...] = ()  # log loss of each fold, in fold order
    seconds: float = 0.0  # wall-clock seconds of training and scoring
    peak_memory_mb: float = 0.0  # peak resident memory of the process that ran it, MiB
    n_trees: int = 0  # trees of all fold models
    error: str = ""  # why it failed, empty on success
    # objective after the best post-processing, greater is better; None without one, as for trials
    # of some folds that are compared by log loss
    value: float | None = None
    # one per constraint: gap minus limit, at most 0 when met, ``inf`` when unknown
    violations: tuple[float, ...] = ()
    limits: tuple[float, ...] = ()  # limit of each constraint, in the order of ``violations``
    # objective of the scores at the default threshold, without post-processing; greater is
    # better, None when unknown
    plain_value: float | None = None
    plain_violations: tuple[float, ...] = ()  # violations without post-processing

    @property
    def gap(self) -> float | None:
        """Largest gap over constraints and groupings, ``inf`` if one is unknown; None without."""
        pairs = zip(self.violations, self.limits, strict=False)
        return max((over + limit for over, limit in pairs), default=None)


LONGEST_RULE = 100
"""Maximum number of characters of a rule in the text of an entry."""


class Rule(Protocol):
    """A fitted post-processing that turns scores (and groups) into decisions."""

    @property
    def needs_sensitive(self) -> bool:
        """Whether ``decide`` reads the groups."""

    @property
    def randomized(self) -> bool:
        """Whether probabilities other than 0 and 1 occur."""

    def decide(
        self, scores: NDArray[np.floating], cells: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """Return the probability of the positive class of each row, shape (n_rows,).

        With several classes, return the probability of each class, shape (n_rows, n_classes); in
        regression, return the predictions.
        """

    def describe(self) -> str:
        """Return a human-readable line, for example the thresholds."""


@runtime_checkable
class GroupUnawareRule(Protocol):
    """A rule that reads the group probabilities of a row instead of its group."""

    def decide_by(
        self, scores: NDArray[np.floating], membership: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Return the probability of the positive class of each row, shape (n_rows,)."""


@runtime_checkable
class PortableRule(Protocol):
    """A rule that the runtime can evaluate."""

    def to_dict(self) -> dict[str, Any]:
        """Return the portable form: ``kind``, one that the runtime knows, numbers and arrays."""


def acceptance(
    rule: Rule,
    scores: NDArray[np.floating],
    cells: NDArray[np.integer],
    membership: NDArray[np.floating] | None,
) -> NDArray[np.float64]:
    """Return the probability of the positive class of each row under a rule, shape (n_rows,)."""
    # isinstance with a protocol takes longer than a decision of a few hundred rows.
    decide_by: Callable[..., NDArray[np.float64]] | None = getattr(rule, "decide_by", None)
    if decide_by is None:
        return rule.decide(scores, cells)
    if membership is None:
        raise ValueError("a rule that reads the membership of rows was given none")
    return decide_by(scores, membership)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstraintResult:
    """Value of a fairness metric for one grouping of one entry."""

    metric: str  # registered name
    system: str  # grouping
    value: float | None  # the metric, None when undefined
    # distance from parity, one minus a value that is bounded below; ``inf`` when undefined
    gap: float
    limit: float  # largest gap allowed
    reason: str = ""  # why it is undefined, else empty
    is_minimum: bool = False  # whether it is the smallest rate, not a gap between groups


def in_largest_gap(measures: Sequence[ConstraintResult]) -> tuple[ConstraintResult, ...]:
    """Return the measures that the largest gap is of: minimums only if there are no others."""
    between = tuple(measure for measure in measures if not measure.is_minimum)
    return between if between else tuple(measures)


class Status(StrEnum):
    """Whether an entry may be called fair by the constraints."""

    FEASIBLE = "feasible"
    UNSURE = "unsure"
    INFEASIBLE = "infeasible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """Result of the feasibility check of an entry after the search."""

    status: Status
    reason: str  # why an entry that meets the bounds is not feasible, else empty
    probability: float | None  # that all bounds hold in the population; None for a constant
    gap_interval: tuple[float, float] | None  # 95 % interval of the largest gap in the population


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Entry:
    """One classifier on the leaderboard: a trial's scores under one rule.

    Scores and constraint values are cross-fitted. If the deployed rule is constant, or violates by
    more than one standard error a constraint that the rules of the folds meet, they are those of
    the deployed rule instead.
    """

    trial_key: str  # trial of the fold models and scores, or ``"ensemble"``
    trial_number: int  # number of the trial; an ensemble comes after all trials
    config: Config  # configuration that was trained
    mitigator: str  # post-processor that made the rule
    tolerance: float | None  # gap requested from the post-processor, None without one
    rule: Rule  # the deployed rule, fitted on all search rows
    score: float  # objective in its natural direction
    value: float  # objective, greater is better
    measures: tuple[ConstraintResult, ...]  # one per constraint and grouping
    # weight by intersectional group, label and decision; in regression the sums of
    # ``GroupValues.table``, of shape (n_cells, n_columns)
    counts: NDArray[np.float64]  # shape (n_cells, n_classes, n_classes)
    # the same table for the decisions of the deployed rule on the out-of-fold scores
    deployed: NDArray[np.float64]
    constant: bool  # all rows get the same decision, cross-fitted or from the deployed rule
    seconds: float  # training seconds of the trial, or of all members of an ensemble
    # keys and weights of the members of an ensemble; empty for a trial
    members: tuple[tuple[str, float], ...] = ()
    assessment: Assessment | None = None  # None during the search, and without constraints

    def __repr__(self) -> str:
        """Return three lines: model and score, the worst gap and its limit, and the rule."""
        score = f"{self.name}: score {self.score:.4f} (cross-fitted)"
        rule = "rule: " + shorten(self.rule.describe(), LONGEST_RULE, placeholder=" ...")
        if not self.measures:
            return f"{score}\n{rule}"
        worst = max(self.measures, key=lambda measure: measure.gap - measure.limit)
        minimum = worst.is_minimum
        found = worst.value if minimum else worst.gap
        shown = f"undefined ({worst.reason})" if worst.value is None else f"{found:.4f}"
        if minimum:
            about = f"{shown}, at least {1 - worst.limit:g}"
        else:
            about = f"gap {shown}, limit {worst.limit:g}"
        return f"{score}\n{worst.metric}[{worst.system}]: {about}\n{rule}"

    @property
    def name(self) -> str:
        """Learner, number of averaged trials and mitigations, such as ``"lightgbm"``."""
        trials = f" of {len(self.members)} trials" if self.members else ""
        made = (self.config.learner + trials, self.config.mitigation, self.mitigator)
        return " with ".join(part for part in made if part != "none")

    @property
    def sources(self) -> tuple[str, ...]:
        """Keys of the trials whose fold models the entry uses."""
        return tuple(key for key, _ in self.members) if self.members else (self.trial_key,)

    @property
    def gap(self) -> float:
        """Largest gap over constraints and groupings; 0 without constraints.

        Minimums count, as one minus the rate, only if nothing else is constrained.
        """
        return max((measure.gap for measure in in_largest_gap(self.measures)), default=0.0)

    @property
    def below_minimum(self) -> bool:
        """Whether a rate misses its minimum that is not part of ``gap``."""
        counted = in_largest_gap(self.measures)
        return any(m.gap > m.limit for m in self.measures if m not in counted)

    @property
    def excess(self) -> float:
        """Largest gap minus limit; at most 0 when every constraint is met."""
        return max((measure.gap - measure.limit for measure in self.measures), default=0.0)

    @property
    def n_undefined(self) -> int:
        """Number of constraints and groupings without a value."""
        return sum(measure.value is None for measure in self.measures)

    @property
    def known_excess(self) -> float:
        """Largest gap minus limit among the measures that have a value, 0 without any."""
        known = [m.gap - m.limit for m in self.measures if m.value is not None]
        return max(known, default=0.0)

    @property
    def accuracy(self) -> float:
        """Cross-fitted weighted accuracy, whatever the objective is; 0 in regression."""
        if self.counts.ndim == 2:
            return 0.0
        right = sum(self.counts[:, at, at].sum() for at in range(self.counts.shape[1]))
        return float(right / self.counts.sum())

    @property
    def meets(self) -> bool:
        """Whether every constraint is met on the search rows, by a model that is not constant."""
        return self.excess <= 0 and (not self.constant or not self.measures)

    @property
    def feasible(self) -> bool:
        """Whether the constraints are met and, after the search, the assessment agrees."""
        return self.meets and self._has(Status.FEASIBLE)

    @property
    def unsure(self) -> bool:
        """Whether the rows are too few to call an entry feasible that meets the constraints."""
        return self.meets and self.assessment is not None and self._has(Status.UNSURE)

    def _has(self, status: Status) -> bool:
        return self.assessment is None or self.assessment.status is status


def rank_key(entry: Entry) -> tuple[float | str, ...]:
    """Return a key that sorts better entries first.

    Feasible entries come first, the best objective first; then those with too few rows to be
    sure, in the same order; then the others, those with the fewest undefined gaps and of them the
    smallest excess over the limits first. Constant predictors come
    last: they meet most constraints but are useless. Ties go to the better accuracy (objectives on
    scores are the same for all rules of a trial), the smaller gap, the earlier trial, then to the
    mitigator's name and the smaller tolerance, so that the order does not depend on the input
    order.
    """
    if entry.feasible or entry.unsure:
        place = 0.0 if entry.feasible else 0.5
        return (place, -entry.value, -entry.accuracy, entry.gap, *tie(entry))
    if entry.constant and entry.measures:
        return (2.0, -entry.value, entry.gap, *tie(entry))
    missed = max(0.0, entry.known_excess)
    return (1.0, entry.n_undefined, missed, -entry.value, *tie(entry))


def tie(entry: Entry) -> tuple[int, str, float]:
    """Return the part of a key that decides between equal entries."""
    tolerance = -1.0 if entry.tolerance is None else entry.tolerance
    return (entry.trial_number, entry.mitigator, tolerance)


def order(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries, best first."""
    return sorted(entries, key=rank_key)


def best_of(entries: Iterable[Entry]) -> Entry | None:
    """Return the best entry, or None if there are no entries."""
    return min(entries, key=rank_key, default=None)


def pareto_front(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries that are not dominated in objective and excess over the limits.

    They are sorted from the fairest to the best objective. Of equal entries the one of the earlier
    trial stays. Constant predictors are excluded unless all entries are constant, and so are
    entries with more undefined gaps than others.
    """
    every = list(entries)
    varied = [e for e in every if not (e.constant and e.measures)]
    choices = varied if varied else every
    fewest = min((e.n_undefined for e in choices), default=0)
    real = [e for e in choices if e.n_undefined == fewest]
    front: list[Entry] = []
    for entry in sorted(real, key=lambda e: (e.known_excess, -e.value, *tie(e))):
        if not front or entry.value > front[-1].value:
            front.append(entry)
    return front


LITTLE = 0.1
"""Share of the time left; time limits of search trials are never below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """What is kept of a trial that has ended."""

    result: TrialResult  # result of the trial, with its value
    entries: tuple[Entry, ...]  # its entries on the leaderboard
    seconds: float  # on the clock of the run, since the budget began
    # proposals of the strategy since the previous record, in order; empty for a strategy that
    # cannot take them back
    proposals: tuple[Config, ...] = ()
    window: int | None = None  # maximum number of pending trials then, None if unknown

    @property
    def cut_off(self) -> bool:
        """Whether the end of the run stopped the trial, which may succeed with more time."""
        status, limit = self.result.status, self.result.trial.max_seconds
        return status is TrialState.STOPPED or (status is TrialState.TIMEOUT and limit is None)

    def has_more_time(self, budget: float | None) -> bool:
        """Return whether a time limit stopped the trial and much more time is available now."""
        trial, limit = self.result.trial, self.result.trial.max_seconds
        if self.result.status is not TrialState.TIMEOUT or limit is None:
            return self.cut_off
        # The limits of allocators are kept; those of the search are a share of the time left.
        left = math.inf if budget is None else budget - self.seconds
        return trial.origin is Origin.SEARCH and limit < LITTLE * left


class SearchStrategy(Protocol):
    """Proposes configurations from a search space and the results of earlier trials."""

    def ask(self) -> Config | None:
        """Return the next configuration, or None if the strategy needs another result first."""

    def tell(self, scored: TrialResult) -> None:
        """Receive the result of a configuration that ``ask`` returned.

        Where configurations are compared by log loss, ``value`` is minus the loss and
        ``violations`` is empty.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class MitigationOption:
    """A training-time mitigation that an allocator may schedule."""

    name: str  # registered name of the mitigator
    params: Mapping[str, ParamValue] = field(default_factory=dict)  # its parameters
    # cost of a mitigated training in units of the plain one, positive; a prior estimate that
    # measurements replace
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an allocator knows of a run."""

    fidelity: Fidelity  # of a full trial: all folds, and the largest share of the rows
    n_train_rows: int  # rows that a fold trains on at ``rows`` 1
    # expensive ones, used only by an allocator that ``schedules_mitigation``
    mitigations: tuple[MitigationOption, ...] = ()
    # of a row in training or prediction, relative to a row of a binary task with few columns
    row_cost: float = 1.0
    # configurations of the first models, tried on few rows if all of them take long; empty = the
    # first proposal of the strategy
    first: tuple[Config, ...] = ()
    quick: bool = False  # whether the first of ``first`` is known to be fast
    n_trials: int | None = None  # trials that are not promotions, None under a time budget
    n_workers: int = 1  # trials that run at the same time
    stoppable: bool = True  # whether the executor can stop a trial within a fold
    screens: bool = True  # whether one fold has rows enough of every class to rank configurations


class Allocator(Protocol):
    """Decides which trial runs next, and its fidelity.

    With ``schedules_mitigation`` the allocator decides when an expensive training-time mitigation
    is run; the strategy then searches without mitigations.
    """

    schedules_mitigation: bool

    def next_trial(
        self, ask: Callable[[], Config | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return the next trial, or None if there is none now."""

    def record(self, scored: TrialResult) -> None:
        """Receive the cost and the result of a trial."""


RunTrial = Callable[[Trial], TrialResult]
"""What an executor runs: a function that trains and scores a trial."""


class Executor(Protocol):
    """Runs trials; like ``concurrent.futures.Executor`` with a clock and deadlines.

    ``n_workers`` trials run at the same time; ``queued`` more may be submitted in advance, so that
    no worker is idle. Every trial ends ``spare`` seconds before the deadline of the run, so that
    its result can be scored in time; the search loop sets ``spare``.
    """

    n_workers: int
    queued: int
    spare: float

    def now(self) -> float:
        """Return the seconds on the monotonic clock of the run."""

    def submit(self, objective: RunTrial, trial: Trial) -> "Future[TrialResult]":
        """Start a trial; its ``max_seconds`` is enforced."""

    def wait(
        self, running: "Set[Future[TrialResult]]", seconds: float
    ) -> "set[Future[TrialResult]]":
        """Return the futures of ``running`` that have ended; wait at most ``seconds``."""

    def shutdown(self) -> None:
        """Stop all running trials and end every worker process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Argument of a progress callback, called after each result."""

    result: TrialResult  # the newest result
    best: Entry | None  # best entry so far
    n_trials: int  # results so far
    seconds_left: float | None  # until the deadline
    n_folds: int = 1  # folds of a trial that is not a screening trial


OnProgress = Callable[[Progress], None]
"""A callback; its method ``on_fit_end(model)``, if it has one, ends a fit (``running.ending``)."""
