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


def seed_of(root_seed: int, candidate: Candidate) -> int:
    """Return the candidate's seed: from the root seed and its content, never from its turn."""
    sequence = np.random.SeedSequence([root_seed, int(candidate.key, 16)])
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
    candidate: Candidate  # what is tried
    budget: Budget  # what it may spend
    origin: Origin = Origin.SEARCH  # SEARCH when the strategy proposed it, and is told of it
    # key of the trial whose scores it must come near, fold by fold, or be stopped (PRUNED); empty
    # = all folds are run
    rival: str = ""

    @property
    def key(self) -> str:
        """Return the name of this trial's files: number and candidate."""
        return f"{self.number:05d}-{self.candidate.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """What came of a trial; its scores and models lie in the artifacts under ``trial.key``."""

    trial: Trial  # what was tried
    status: Status  # how it ended
    # out-of-fold log loss (natural logarithm, weighted mean per row), None unless SUCCESS; in
    # regression the mean squared error
    log_loss: float | None = None
    fold_log_loss: tuple[float, ...] = ()  # the same per fold, in fold order
    seconds: float = 0.0  # wall-clock seconds of training and scoring
    peak_memory_mb: float = 0.0  # peak resident memory of the process that ran it, MiB
    error: str = ""  # why it failed, empty on success


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a strategy learns of a trial: one number to raise, and the constraints."""

    trial: Trial  # what was tried
    status: Status  # how it ended; anything but SUCCESS has no value
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
