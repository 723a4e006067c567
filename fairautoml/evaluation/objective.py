"""Run one trial: K folds, out-of-fold scores, one honest result.

Holds the one broad ``except`` of the library: a failing candidate is a result.
"""

import resource
import time
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import joblib
import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import Dataset
from fairautoml.data.splits import stratified_folds
from fairautoml.evaluation.fitting import FittedModel, fit_candidate
from fairautoml.mitigators import Target
from fairautoml.trials import Artifacts, Candidate, Status, Trial, TrialResult, seed_of

LONGEST_ERROR = 2000
"""Characters kept of a learner's error message."""

SMALLEST_PROBABILITY = 1e-7
"""Scores are clipped to [1e-7, 1 - 1e-7] inside the log loss."""


class OutOfTimeError(TimeoutError):
    """The trial's seconds are used up."""


@dataclass(frozen=True)
class Objective:
    """What an executor runs: a trial in, a result out, scores and models in the artifacts.

    Parameters
    ----------
    data : Dataset or Path
        The search rows, or the file a worker maps them from.
    folds : ndarray of int, shape (n_rows,)
        Fold of each row.
    artifacts : Artifacts
        Where scores and models go.
    root_seed : int
        Seed of the run.
    targets : tuple of Target
        What the user wants equal, for training-time mitigations.
    """

    data: Dataset | Path
    folds: NDArray[np.integer]
    artifacts: Artifacts
    root_seed: int
    targets: tuple[Target, ...] = ()

    @cached_property
    def dataset(self) -> Dataset:
        """The search rows."""
        if isinstance(self.data, Dataset):
            return self.data
        loaded: Dataset = joblib.load(self.data, mmap_mode="r")
        return loaded

    def __call__(self, trial: Trial) -> TrialResult:
        """Return the result of a trial, whatever happens inside it.

        Parameters
        ----------
        trial : Trial
            Candidate and budget.
        """
        start = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = self._cross_validate(trial, start)
        except OutOfTimeError as exc:
            result = TrialResult(trial=trial, status=Status.TIMEOUT, error=str(exc))
        except MemoryError as exc:
            result = TrialResult(trial=trial, status=Status.MEMOUT, error=repr(exc))
        except (Exception, SystemExit) as exc:
            error = repr(exc)[:LONGEST_ERROR]
            result = TrialResult(trial=trial, status=Status.FAILED, error=error)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return replace(result, seconds=time.monotonic() - start, peak_memory_mb=peak)

    def _cross_validate(self, trial: Trial, start: float) -> TrialResult:
        seed = seed_of(self.root_seed, trial.candidate)
        scores = np.full(self.dataset.n_rows, np.nan, dtype=np.float32)
        models: list[FittedModel] = []
        for fold in range(trial.budget.folds):
            _check_time(trial, start, done=fold)
            held_out = np.flatnonzero(self.folds == fold)
            model = self._fit_fold(trial, fold, seed, _fold_deadline(trial, start, done=fold))
            part = self.dataset.take(held_out)
            scores[held_out] = model.scores(part.X, part.cells)
            models.append(model)
        self.artifacts.write_models(trial.key, tuple(models))
        self.artifacts.write_scores(trial.key, scores)
        losses = _row_losses(self.dataset.y, scores)
        weight = self.dataset.weight
        return TrialResult(
            trial=trial,
            status=Status.SUCCESS,
            log_loss=float(np.average(losses, weights=weight)),
            fold_log_loss=tuple(
                float(np.average(losses[self.folds == k], weights=weight[self.folds == k]))
                for k in range(trial.budget.folds)
            ),
        )

    def _fit_fold(self, trial: Trial, fold: int, seed: int, deadline: float | None) -> FittedModel:
        rows: NDArray[np.integer] = np.flatnonzero(self.folds != fold)
        fraction = trial.budget.sample_fraction
        if fraction < 1.0:
            rows = self._sample(rows, fraction, seed)
        return fit_candidate(
            trial.candidate,
            self.dataset.take(rows),
            seed + fold,
            targets=self.targets,
            deadline=deadline,
        )

    def _sample(
        self, rows: NDArray[np.integer], fraction: float, seed: int
    ) -> NDArray[np.integer]:
        """Return a share of the rows, stratified by label and cell."""
        parts = max(2, round(1.0 / fraction))
        part = self.dataset.take(rows)
        dealt = stratified_folds(part.y, part.cells, parts, seed)
        kept = max(1, round(fraction * parts))
        sampled: NDArray[np.integer] = rows[dealt < kept]
        return sampled


def refit(candidate: Candidate, dataset: Dataset, root_seed: int) -> tuple[FittedModel, ...]:
    """Train the candidate once on all rows, with the seed it had in the search.

    Parameters
    ----------
    candidate : Candidate
        What to train.
    dataset : Dataset
        All search rows.
    root_seed : int
        Seed of the run.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (fit_candidate(candidate, dataset, seed_of(root_seed, candidate)),)


def _check_time(trial: Trial, start: float, *, done: int) -> None:
    """Stop before a fold that will not end in time, judged by the folds done so far."""
    seconds = trial.budget.seconds
    if seconds is None:
        return
    used = time.monotonic() - start
    expected = used / done if done else 0.0
    if used + expected > seconds:
        msg = f"{done} of {trial.budget.folds} folds took {used:.1f} s of {seconds:.1f} s"
        raise OutOfTimeError(msg)


def _fold_deadline(trial: Trial, start: float, *, done: int) -> float | None:
    """Return when this fold should be done, if those left share the time that is left."""
    seconds = trial.budget.seconds
    if seconds is None:
        return None
    now = time.monotonic()
    return now + max(0.0, start + seconds - now) / (trial.budget.folds - done)


def _row_losses(y: NDArray[np.integer], scores: NDArray[np.floating]) -> NDArray[np.float64]:
    p = np.clip(scores.astype(np.float64), SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return -np.where(y == 1, np.log(p), np.log1p(-p))
