"""Evaluate one trial: fit its folds and store models and out-of-fold scores."""

import contextlib
import math
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import Dataset
from fairautoml.evaluation.fitting import (
    CVEnsemble,
    FittedModel,
    FoldData,
    Part,
    capture_failure,
    encode,
    error_text,
    fit_config,
)
from fairautoml.evaluation.membership import MEMBERSHIP, learn
from fairautoml.exceptions import ModelCorruptError, NotPortableError, StorageFullError
from fairautoml.inference.restore import stored_models
from fairautoml.learners import LEARNERS, Learner
from fairautoml.learners._base import count_trees
from fairautoml.metrics import BoundConstraint
from fairautoml.metrics.tasks import TASKS
from fairautoml.records import BASELINE, Config, Trial, TrialResult, TrialState, seed_of
from fairautoml.storage.artifacts import Artifacts
from fairautoml.threads import threads


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OofScores:
    """Out-of-fold scores and models, fold by fold."""

    dataset: Dataset  # the search rows
    folds: NDArray[np.integer]  # shape (n_rows,): fold of each row
    scores: NDArray[np.float32]  # score of each row, NaN without one
    models: list[FittedModel] = field(default_factory=list)  # of the first folds

    @classmethod
    def of(cls, dataset: Dataset, folds: NDArray[np.integer]) -> "OofScores":
        """Return empty scores."""
        scores = np.full(dataset.score_shape, np.nan, dtype=np.float32)
        return cls(dataset=dataset, folds=folds, scores=scores)

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Whether each row has a score."""
        return (self.folds >= 0) & (self.folds < len(self.models))

    def losses(self) -> NDArray[np.float64]:
        """Return the log loss (or squared error) of the rows with a score."""
        return TASKS.get(self.dataset.task).row_losses(
            self.dataset.y[self.scored], self.scores[self.scored]
        )

    def fold_losses(self) -> tuple[float, ...]:
        """Return the mean loss of each fold so far."""
        losses, of, weight = self.losses(), self.folds[self.scored], self.dataset.weight
        weight = weight[self.scored]
        return tuple(_mean(losses[of == k], weight[of == k]) for k in range(len(self.models)))


LATER_FOLDS = 0.8
"""Lower bound on the cost of a later fold, relative to the shortest one so far: folds differ, and
the first ones of an encoding also take, encode and bin the rows."""

FOLD_SHARE = 0.9
"""Share of a fold's time that a mitigator may use: it checks the clock only between trainings, and
a long last training must not shorten the last fold."""


def _peak_mb() -> float:
    """Return the peak memory of this process in MiB; 0 where it cannot be measured."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    # getrusage(2) counts in bytes on macOS and in KiB on Linux.
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


class OutOfTimeError(TimeoutError):
    """The trial's seconds are used up."""


Prune = Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], int], str]
"""Returns why a trial is pruned, or an empty string.

Arguments are the loss of each row so far, that of the incumbent on the same rows, their weights,
and the number of folds so far. It is sent to worker processes.
"""


@dataclass(frozen=True)
class TrialEvaluator:
    """Evaluate trials; scores and models are written to the artifacts."""

    data: Dataset | Path  # the search rows, or the file a worker maps them from
    folds: NDArray[np.integer]  # shape (n_rows,): fold of each row, -1 = a row that is not scored
    artifacts: Artifacts  # where scores and models go
    root_seed: int  # seed of the run
    targets: tuple[BoundConstraint, ...] = ()  # constraints for training-time mitigators
    prune: Prune | None = None  # decides between folds whether a trial continues; None = always
    portable: bool = False  # whether models are also stored in a form that another process reads
    learners: Mapping[str, Learner] = field(default_factory=dict)  # the user's own ones

    def __getstate__(self) -> dict[str, object]:
        """Drop cached properties: the receiving process maps the rows itself."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @cached_property
    def dataset(self) -> Dataset:
        """The search rows."""
        if isinstance(self.data, Dataset):
            return self.data
        return joblib.load(self.data, mmap_mode="r")

    @cached_property
    def rows(self) -> FoldData:
        """Rows of the folds, cached across trials."""
        return FoldData(
            dataset=self.dataset,
            folds=self.folds,
            root_seed=self.root_seed,
            targets=self.targets,
        )

    @cached_property
    def held_out(self) -> NDArray[np.bool_]:
        """Whether each row is in a fold; only the scores of these rows are stored."""
        return self.folds >= 0

    @cached_property
    def trained(self) -> set[str]:
        """Learners that have trained in this process."""
        return set()

    def __call__(self, trial: Trial) -> TrialResult:
        """Return the result of a trial; failures are captured."""
        start = time.monotonic()
        found = capture_failure(partial(self._trained, trial, start))
        result = found if isinstance(found, TrialResult) else _failed(trial, found)
        return replace(result, seconds=time.monotonic() - start, peak_memory_mb=_peak_mb())

    def _trained(self, trial: Trial, start: float) -> TrialResult:
        own = LEARNERS.adding(self.learners)
        with warnings.catch_warnings(), threads(trial.n_threads), own:
            warnings.simplefilter("ignore")
            if trial.config == MEMBERSHIP:
                return self._learn_membership(trial, start)
            return self._cross_validate(trial, start)

    def _learn_membership(self, trial: Trial, start: float) -> TrialResult:
        """Learn groups and labels jointly in place of y."""
        pace = FoldPacer(trial, start, cold=True)
        found, model = learn(self.rows, trial.fidelity.rows, pace.check)
        self._write_models(trial, model, model)
        self.artifacts.write_scores(trial.key, found[self.held_out])
        return TrialResult(trial=trial, status=TrialState.SUCCESS)

    def _cross_validate(self, trial: Trial, start: float) -> TrialResult:
        rival = self._rival(trial)
        known = self._taken_over(trial)
        pace = FoldPacer(
            trial,
            start,
            cold=trial.config.learner not in self.trained,
            first=len(known.models),
        )
        for fold in range(len(known.models), trial.fidelity.folds):
            pace.check(fold)
            self._fit_and_score(trial, fold, start, known)
            self.trained.add(trial.config.learner)
            reason = "" if rival is None else self._too_far(known, rival, trial)
            if reason:
                return TrialResult(
                    trial=trial,
                    status=TrialState.PRUNED,
                    fold_log_loss=known.fold_losses(),
                    error=reason,
                )
        self._write_models(trial, tuple(known.models), CVEnsemble(tuple(known.models)))
        self.artifacts.write_scores(trial.key, known.scores[self.held_out])
        return TrialResult(
            trial=trial,
            status=TrialState.SUCCESS,
            log_loss=_mean(known.losses(), self.dataset.weight[known.scored]),
            fold_log_loss=known.fold_losses(),
            n_trees=count_trees(known.models),
        )

    def _write_models(self, trial: Trial, models: Any, deployed: Any) -> None:
        self.artifacts.write_models(trial.key, models)
        # Models of some of the folds only are never served.
        if self.portable and trial.fidelity.folds == self.rows.n_folds:
            width, sparse = self.dataset.X.shape[1], self.dataset.schema.sparse
            # A plug-in without a portable form is trained again when the run is resumed.
            with contextlib.suppress(NotPortableError):
                content = stored_models(deployed, width, sparse=sparse)
                self.artifacts.write_portable(trial.key, content)

    def _taken_over(self, trial: Trial) -> OofScores:
        """Return the folds of the parent; they are trained again if its files are lost."""
        known = OofScores.of(self.dataset, self.folds)
        if not trial.n_taken:
            return known
        try:
            models = self.artifacts.models(trial.parent)
            scores = self.artifacts.scores(trial.parent)
        except (FileNotFoundError, ModelCorruptError):
            return known
        known.models.extend(models[: trial.n_taken])
        known.scores[known.scored] = scores[known.scored[self.held_out]]
        return known

    def _fit_and_score(self, trial: Trial, fold: int, start: float, known: OofScores) -> None:
        """Fit the model of a fold, and add it and its scores of the held-out rows."""
        config, part = trial.config, Part(fold=fold, fraction=trial.fidelity.rows)
        rows = self.rows
        if config == BASELINE:
            # Neither a sample nor encoded rows are made for it: the first model waits for it.
            rows, part = rows.without_features(), Part(fold=fold, fraction=1.0)
        model = fit_config(
            config,
            rows.train(part, config.encoding),
            seed_of(self.root_seed, config) + fold,
            deadline=_fold_deadline(trial, start, done=fold),
        )
        held_out = rows.held_out(part, config.encoding)
        known.scores[held_out.rows] = model.scores_encoded(held_out.X, held_out.cells)
        known.models.append(model)

    def _rival(self, trial: Trial) -> NDArray[np.float64] | None:
        """Return the loss of each scored row by the incumbent, or None if it is not stored."""
        if not trial.rival or self.prune is None:
            return None
        try:
            scores = self.artifacts.scores(trial.rival)
            return TASKS.get(self.dataset.task).row_losses(self.dataset.y[self.held_out], scores)
        except FileNotFoundError:
            return None

    def _too_far(self, known: OofScores, rival: NDArray[np.float64], trial: Trial) -> str:
        """Return the reason to prune the trial after these folds, or an empty string."""
        done, rows = len(known.models), known.scored
        if self.prune is None or done == trial.fidelity.folds:
            return ""
        same = rival[rows[self.held_out]]
        reason = self.prune(known.losses(), same, self.dataset.weight[rows], done)
        return reason and f"stopped after {done} of {trial.fidelity.folds} folds: {reason}"


def _failed(trial: Trial, error: Exception | SystemExit) -> TrialResult:
    """Return the result of a trial that raised."""
    if isinstance(error, OutOfTimeError):
        return TrialResult(trial=trial, status=TrialState.TIMEOUT, error=str(error))
    if isinstance(error, StorageFullError):
        return TrialResult(trial=trial, status=TrialState.DISK_FULL, error=str(error))
    status = TrialState.OUT_OF_MEMORY if isinstance(error, MemoryError) else TrialState.FAILED
    return TrialResult(trial=trial, status=status, error=error_text(error))


def refit(
    config: Config, dataset: Dataset, root_seed: int, targets: tuple[BoundConstraint, ...] = ()
) -> tuple[FittedModel, ...]:
    """Train the configuration on all rows, with the seed of its trial."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seed = seed_of(root_seed, config)
        rows = encode(config.encoding, dataset, seed, targets=targets)
        return (fit_config(config, rows, seed),)


@dataclass(slots=True)
class FoldPacer:
    """Stop a trial that is not expected to finish in time.

    The cost of later folds is estimated by the shortest one so far, except for mitigators, which
    adapt to the time of a fold.
    """

    trial: Trial  # what runs
    start: float  # ``time.monotonic()`` at which it began
    # the learner has not trained in this process before: the first fold includes the import of a
    # library and therefore predicts the next fold only
    cold: bool
    first: int = 0  # folds before this one were taken over from another trial
    _last: float = 0.0
    _shortest: float = math.inf

    def check(self, done: int) -> None:
        """Raise if the next or a later fold is not expected to finish in time."""
        used = time.monotonic() - self.start
        if done > self.first:
            self._shortest = min(self._shortest, used - self._last)
        self._last = used
        seconds = self.trial.max_seconds
        if seconds is not None and used + self._expected(done) > seconds:
            msg = (
                f"{done} of {self.trial.fidelity.folds} folds took {used:.1f} s of {seconds:.1f} s"
            )
            raise OutOfTimeError(msg)

    def _expected(self, done: int) -> float:
        """Return a lower bound on the seconds of the other folds."""
        if done == self.first or self.trial.config.mitigation != "none":
            return 0.0
        to_come = 1 if self.cold and done == self.first + 1 else self.trial.fidelity.folds - done
        # Expect at least the full cost of the next fold: not every executor can interrupt it.
        return self._shortest * max(1.0, LATER_FOLDS * to_come)


def _fold_deadline(trial: Trial, start: float, *, done: int) -> float | None:
    """Return the deadline of this fold if the remaining folds share the time left."""
    seconds = trial.max_seconds
    if seconds is None:
        return None
    now = time.monotonic()
    return now + FOLD_SHARE * max(0.0, start + seconds - now) / (trial.fidelity.folds - done)


def _mean(losses: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """Return the weighted mean, unweighted if all weights are zero."""
    return float(np.average(losses, weights=weight if weight.any() else None))
