"""Evaluate one trial: fit its folds and store models and out-of-fold scores."""

import math
import resource
import sys
import time
import warnings
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from pathlib import Path

import joblib
import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import Dataset
from fairautoml.evaluation.fitting import (
    FittedModel,
    FoldData,
    Part,
    capture_failure,
    encode,
    error_text,
    fit_config,
)
from fairautoml.evaluation.membership import MEMBERSHIP, learn
from fairautoml.exceptions import StorageFullError
from fairautoml.metrics import BoundConstraint
from fairautoml.metrics.tasks import TASKS
from fairautoml.records import BASELINE, Config, Trial, TrialResult, TrialState, seed_of
from fairautoml.search.allocators._base import ENOUGH_ROWS, FEWEST_FOLDS, should_prune
from fairautoml.storage.artifacts import Artifacts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OofScores:
    """Out-of-fold scores, accumulated model by model."""

    dataset: Dataset  # the search rows
    total: NDArray[np.float32]  # sum of the scores of each row
    count: NDArray[np.float32]  # shape (n_rows,): models that have scored it

    @classmethod
    def of(cls, dataset: Dataset) -> "OofScores":
        """Return empty scores."""
        total = np.zeros(dataset.score_shape, dtype=np.float32)
        return cls(dataset=dataset, total=total, count=np.zeros(len(total), dtype=np.float32))

    def add(self, rows: NDArray[np.int64], found: NDArray[np.float32]) -> None:
        """Add the scores of a model."""
        self.total[rows] += found
        self.count[rows] += 1

    def scores(self) -> NDArray[np.float32]:
        """Return the mean score of each row; NaN without a score."""
        count = np.where(self.count == 0, np.nan, self.count).astype(np.float32)
        return self.total / (count if self.total.ndim == 1 else count[:, None])

    def losses(self) -> NDArray[np.float64]:
        """Return the log loss (or squared error) of each row; NaN without a score."""
        losses = np.full(len(self.count), np.nan)
        known = self.count > 0
        found = TASKS.get(self.dataset.task).row_losses(
            self.dataset.y[known], self.scores()[known]
        )
        losses[known] = found
        return losses


LATER_FOLDS = 0.8
"""Lower bound on the cost of a later fold, relative to the shortest one so far: folds differ, and
the first ones of an encoding also take, encode and bin the rows."""

FOLD_SHARE = 0.9
"""Share of a fold's time that a mitigator may use: it checks the clock only between trainings, and
a long last training must not shorten the last fold."""


def _peak_mb() -> float:
    """Return the peak memory of this process in MiB."""
    # getrusage(2) counts in bytes on macOS and in KiB on Linux.
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


class OutOfTimeError(TimeoutError):
    """The trial's seconds are used up."""


@dataclass(frozen=True)
class TrialEvaluator:
    """Evaluate trials; scores and models are written to the artifacts."""

    data: Dataset | Path  # the search rows, or the file a worker maps them from
    folds: NDArray[np.integer]  # shape (n_rows,): fold of each row
    artifacts: Artifacts  # where scores and models go
    root_seed: int  # seed of the run
    targets: tuple[BoundConstraint, ...] = ()  # constraints for training-time mitigators

    def __getstate__(self) -> dict[str, object]:
        """Drop cached properties: the receiving process maps the rows itself."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @cached_property
    def dataset(self) -> Dataset:
        """The search rows."""
        if isinstance(self.data, Dataset):
            return self.data
        loaded: Dataset = joblib.load(self.data, mmap_mode="r")
        return loaded

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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if trial.config == MEMBERSHIP:
                return self._learn_membership(trial, start)
            return self._cross_validate(trial, start)

    def _learn_membership(self, trial: Trial, start: float) -> TrialResult:
        """Learn groups and labels jointly in place of y."""
        pace = FoldPacer(trial, start, cold=True)
        found, model = learn(self.rows, trial.budget.sample_fraction, pace.check)
        self.artifacts.write_models(trial.key, model)
        self.artifacts.write_scores(trial.key, found)
        return TrialResult(trial=trial, status=TrialState.SUCCESS)

    def _cross_validate(self, trial: Trial, start: float) -> TrialResult:
        n_folds = self.rows.n_folds
        known = OofScores.of(self.dataset)
        # A low-fidelity trial is not pruned: its scores average a growing number of models.
        own = trial.budget.folds < n_folds
        rival = None if own else self._rival(trial)
        models: list[FittedModel] = []
        pace = FoldPacer(trial, start, cold=trial.config.learner not in self.trained)
        for fold in range(trial.budget.folds):
            pace.check(fold)
            part = Part(fold=fold, fraction=trial.budget.sample_fraction, own=own)
            models.append(self._fit_and_score(trial, part, start, known))
            self.trained.add(trial.config.learner)
            reason = "" if rival is None else self._too_far(known, rival, trial, done=fold + 1)
            if reason:
                return TrialResult(
                    trial=trial,
                    status=TrialState.PRUNED,
                    fold_log_loss=self._fold_losses(known.losses(), fold + 1),
                    error=reason,
                )
        self.artifacts.write_models(trial.key, tuple(models))
        self.artifacts.write_scores(trial.key, known.scores())
        losses = known.losses()
        return TrialResult(
            trial=trial,
            status=TrialState.SUCCESS,
            log_loss=float(np.average(losses, weights=self.dataset.weight)),
            fold_log_loss=self._fold_losses(losses, n_folds),
        )

    def _fit_and_score(
        self, trial: Trial, part: Part, start: float, known: OofScores
    ) -> FittedModel:
        """Fit the model of a part, and add its scores of the held-out rows."""
        config = trial.config
        model = fit_config(
            config,
            self.rows.train(part, config.encoding),
            seed_of(self.root_seed, config) + part.fold,
            deadline=_fold_deadline(trial, start, done=part.fold),
        )
        if config == BASELINE:
            held_out = self.rows.held_out_without_features(part)
        else:
            held_out = self.rows.held_out(part, config.encoding)
        known.add(held_out.rows, model.scores_encoded(held_out.X, held_out.cells))
        return model

    def _fold_losses(self, losses: NDArray[np.float64], done: int) -> tuple[float, ...]:
        inside = [self.folds == k for k in range(done)]
        return tuple(_mean(losses[rows], self.dataset.weight[rows]) for rows in inside)

    def _rival(self, trial: Trial) -> NDArray[np.float64] | None:
        """Return the loss of each row by the incumbent, or None if it is not stored."""
        if not trial.rival:
            return None
        try:
            scores = self.artifacts.scores(trial.rival)
            return TASKS.get(self.dataset.task).row_losses(self.dataset.y, scores)
        except FileNotFoundError:
            return None

    def _too_far(
        self, known: OofScores, rival: NDArray[np.float64], trial: Trial, *, done: int
    ) -> str:
        """Return the reason to prune the trial after these folds, or an empty string."""
        rows = self.folds < done
        too_early = done < FEWEST_FOLDS and rows.sum() < ENOUGH_ROWS
        if too_early or done == trial.budget.folds:
            return ""
        reason = should_prune(known.losses()[rows], rival[rows], self.dataset.weight[rows])
        return reason and f"stopped after {done} of {trial.budget.folds} folds: {reason}"


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
    _last: float = 0.0
    _shortest: float = math.inf

    def check(self, done: int) -> None:
        """Raise if the next or a later fold is not expected to finish in time."""
        used = time.monotonic() - self.start
        if done:
            self._shortest = min(self._shortest, used - self._last)
        self._last = used
        seconds = self.trial.budget.seconds
        if seconds is not None and used + self._expected(done) > seconds:
            msg = f"{done} of {self.trial.budget.folds} folds took {used:.1f} s of {seconds:.1f} s"
            raise OutOfTimeError(msg)

    def _expected(self, done: int) -> float:
        """Return a lower bound on the seconds of the other folds."""
        if not done or self.trial.config.mitigation != "none":
            return 0.0
        to_come = 1 if self.cold and done == 1 else self.trial.budget.folds - done
        # Expect at least the full cost of the next fold: not every executor can interrupt it.
        return self._shortest * max(1.0, LATER_FOLDS * to_come)


def _fold_deadline(trial: Trial, start: float, *, done: int) -> float | None:
    """Return the deadline of this fold if the remaining folds share the time left."""
    seconds = trial.budget.seconds
    if seconds is None:
        return None
    now = time.monotonic()
    return now + FOLD_SHARE * max(0.0, start + seconds - now) / (trial.budget.folds - done)


def _mean(losses: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """Return the weighted mean, unweighted if all weights are zero."""
    return float(np.average(losses, weights=weight if weight.any() else None))
