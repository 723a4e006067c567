"""Candidate, budget, trial and result: frozen, hashable by content, free of models."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

ParamValue = bool | int | float | str


class Status(StrEnum):
    """How a trial ended."""

    SUCCESS = "success"
    FAILED = "failed"
    TIMEOUT = "timeout"
    MEMOUT = "memout"
    CRASHED = "crashed"
    LOST = "lost"
    STOPPED = "stopped"
    PRUNED = "pruned"
    NO_SPACE = "no_space"


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
class Candidate(_Keyed):
    """Learner, hyperparameters, encoding and training-time mitigation.

    Parameters
    ----------
    learner : str
        Registered name.
    params : mapping of str to bool, int, float or str
        Hyperparameters of the learner, plain Python values.
    encoding : str
        How categories reach the learner: ``"codes"`` or ``"target"``.
    mitigation : str
        Training-time (``pre`` or ``in``) mitigator, ``"none"`` without.
    mitigation_params : mapping
        Its parameters.
    """

    learner: str
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    encoding: str = "codes"
    mitigation: str = "none"
    mitigation_params: Mapping[str, ParamValue] = field(default_factory=dict)

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


def seed_of(root_seed: int, candidate: Candidate) -> int:
    """Return the candidate's seed: from the root seed and its content, never from its turn.

    Parameters
    ----------
    root_seed : int
        Seed of the run, non-negative.
    candidate : Candidate
        What is seeded.
    """
    sequence = np.random.SeedSequence([root_seed, int(candidate.key, 16)])
    return int(sequence.generate_state(1, np.uint32)[0] >> 1)


MODELS_OF_A_SAMPLE = 3
"""Trained where a sample fits into one fold. With fewer the scores are not yet means of nearly as
many models as the one that is served; each more costs a scoring of nearly all rows.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a trial may spend.

    Parameters
    ----------
    seconds : float or None
        Wall-clock limit of the trial; None = no limit.
    sample_fraction : float
        Rows that each model is trained on, as a share of the rows outside one fold, in (0, 1].
    folds : int
        Models trained, at least 2. As many as there are folds: each on the other folds, to score
        the rows of its own, as in cross-validation. Fewer, for a sample that one fold can hold:
        each on rows of its own fold, to score all others. The mean of all models is served, and
        the scores are then means as well; single models that saw few rows are bolder than
        their mean, and thresholds for the ones would be wrong for the other.
    """

    seconds: float | None = None
    sample_fraction: float = 1.0
    folds: int = 5

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

        Parameters
        ----------
        fraction : float
            Share of the rows outside one fold, in (0, 1].
        """
        if fraction == self.sample_fraction:
            return self
        folds = self.models_of_a_sample if fraction <= self.one_fold else self.folds
        return replace(self, sample_fraction=fraction, folds=folds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A candidate with a budget and its number in the order asked.

    Parameters
    ----------
    number : int
        Turn in the order asked, from 0.
    candidate : Candidate
        What is tried.
    budget : Budget
        What it may spend.
    origin : Origin
        SEARCH when the strategy proposed it, and is told of it; ROWS or MITIGATION when the
        allocator wanted a known candidate on more rows or under a training-time mitigation.
    rival : str
        Key of the trial whose scores it must come near, fold by fold, or be stopped (PRUNED);
        empty = all folds are run.
    """

    number: int
    candidate: Candidate
    budget: Budget
    origin: Origin = Origin.SEARCH
    rival: str = ""

    @property
    def key(self) -> str:
        """Return the name of this trial's files: number and candidate."""
        return f"{self.number:05d}-{self.candidate.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """What came of a trial; its scores and models lie in the artifacts under ``trial.key``.

    Parameters
    ----------
    trial : Trial
        What was tried.
    status : Status
        How it ended.
    log_loss : float or None
        Out-of-fold log loss (natural logarithm, weighted mean per row), None unless SUCCESS; in
        regression the mean squared error.
    fold_log_loss : tuple of float
        The same per fold, in fold order.
    seconds : float
        Wall-clock seconds of training and scoring.
    peak_memory_mb : float
        Peak resident memory of the process that ran it, MiB.
    error : str
        Why it failed, empty on success.
    """

    trial: Trial
    status: Status
    log_loss: float | None = None
    fold_log_loss: tuple[float, ...] = ()
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a strategy learns of a trial: one number to raise, and the constraints.

    Parameters
    ----------
    trial : Trial
        What was tried.
    status : Status
        How it ended; anything but SUCCESS has no value.
    value : float or None
        Objective after the best cheap mitigation, greater is better.
    violations : tuple of float
        One per constraint: gap minus limit, at most 0 when met, ``inf`` when unknown.
    seconds : float
        What the trial cost.
    limits : tuple of float
        Limit of each constraint, in the order of ``violations``; empty when not given.
    plain_value : float or None
        Objective of the bare scores at their usual threshold, without any post-processing;
        greater is better, None when unknown.
    plain_violations : tuple of float
        The violations of the same decisions; empty when unknown.
    log_loss : float or None
        Out-of-fold log loss, None unless SUCCESS.
    """

    trial: Trial
    status: Status
    value: float | None
    violations: tuple[float, ...]
    seconds: float
    limits: tuple[float, ...] = ()
    plain_value: float | None = None
    plain_violations: tuple[float, ...] = ()
    log_loss: float | None = None
