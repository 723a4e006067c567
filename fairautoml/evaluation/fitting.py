"""Train one candidate on given rows: encoding, training-time mitigation, learner."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import Dataset
from fairautoml.evaluation.encoding import Encoder, fit_encoding
from fairautoml.evaluation.kept import memory_of, writable
from fairautoml.learners import LEARNERS, Learner
from fairautoml.mitigators import MITIGATORS, ScoreModel, Target, TrainRows
from fairautoml.tasks import TASKS, TaskName
from fairautoml.trials import Candidate


@dataclass(frozen=True, slots=True)
class LearnerModel:
    """A fitted scikit-learn style estimator as a score model."""

    estimator: Any  # with ``predict_proba`` or ``predict``
    task: TaskName = "binary"  # {"binary", "multiclass", "regression"}: what it has learned
    n_classes: int = 2  # number of classes

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the scores of encoded rows (``Task``)."""
        del cells
        task = TASKS.get(self.task)
        # Some of scikit-learn's estimators refuse read-only rows that hold NaN.
        return task.checked(task.scores(self.estimator, writable(X), self.n_classes))


@dataclass(frozen=True, slots=True)
class FittedModel:
    """Encoder and model of one fold."""

    encoder: Encoder
    model: ScoreModel
    task: TaskName = "binary"

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the scores of rows of the dataset's matrix (``Task``)."""
        return self.scores_encoded(self.encoder.transform(X), cells)

    def scores_encoded(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the scores of rows that ``encoder`` has transformed (``Task``)."""
        return TASKS.get(self.task).checked(self.model.scores(X, cells))


@dataclass(frozen=True, slots=True)
class Bag:
    """The mean score of the fold models: what is deployed."""

    models: tuple[FittedModel, ...]

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the mean of the scores over the models (``Task``)."""
        total = np.zeros(1)
        for model in self.models:
            total = total + model.scores(X, cells)
        return (total / len(self.models)).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFit:
    """Trains the candidate's own learner on rows that a mitigator may have changed."""

    candidate: Candidate  # whose learner
    seed: int  # seed of the training
    deadline: float | None  # ``time.monotonic()`` at which the fold should be done

    def __call__(self, rows: TrainRows) -> ScoreModel:
        """Return the model of the given rows."""
        return _fit_learner(LEARNERS.get(self.candidate.learner), self.candidate, rows, self.seed)

    def seconds_left(self) -> float | None:
        """Return what is left for this fold, None without a limit."""
        return None if self.deadline is None else self.deadline - time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoded:
    """Encoded training rows, and how new rows are encoded alike."""

    train: TrainRows  # the rows
    encoder: Encoder  # fitted on them

    @property
    def nbytes(self) -> int:
        """Bytes of memory of the rows."""
        rows = self.train
        return memory_of(rows.X) + rows.y.nbytes + rows.weight.nbytes + rows.cells.nbytes


def encode(
    encoding: str, rows: Dataset, seed: int, *, targets: tuple[Target, ...] = ()
) -> Encoded:
    """Fit an encoding on training rows and encode them."""
    X, layout, encoder = fit_encoding(encoding, rows.X, rows.y, rows.layout, seed, rows.weight)
    train = TrainRows(
        X=X,
        y=rows.y,
        weight=rows.weight,
        cells=rows.cells,
        systems=rows.systems,
        layout=layout,
        targets=targets,
        task=rows.task,
        n_classes=len(rows.classes),
    )
    return Encoded(train=train, encoder=encoder)


def fit_candidate(
    candidate: Candidate, rows: Encoded, seed: int, *, deadline: float | None = None
) -> FittedModel:
    """Train a candidate."""
    fit_base = BaseFit(candidate=candidate, seed=seed, deadline=deadline)
    if candidate.mitigation == "none":
        return FittedModel(rows.encoder, fit_base(rows.train), rows.train.task)
    mitigator = MITIGATORS.get(candidate.mitigation)
    if mitigator.train is None:
        msg = f"mitigator {mitigator.name!r} has stage {mitigator.stage!r}; it cannot train"
        raise TypeError(msg)
    model = mitigator.train(rows.train, fit_base, candidate.mitigation_params, seed)
    return FittedModel(rows.encoder, model, rows.train.task)


def _that_count(rows: TrainRows) -> TrainRows:
    """Leave rows of weight 0 out: scalers, bins and smallest leaves do not look at weights.

    Not where a class would go with them.
    """
    counted = rows.weight > 0
    if counted.all():
        return rows
    whole = rows.task == "regression" or len(np.unique(rows.y[counted])) == len(np.unique(rows.y))
    return rows.take(np.flatnonzero(counted)) if whole and counted.any() else rows


def _fit_learner(
    learner: Learner, candidate: Candidate, rows: TrainRows, seed: int
) -> LearnerModel:
    rows = _that_count(rows)
    estimator = learner.built(
        candidate.params, rows.layout, seed, task=rows.task, n_classes=rows.n_classes
    )
    X, y = (rows.X, rows.y) if learner.shares_rows else (writable(rows.X), writable(rows.y))
    if (rows.weight == rows.weight[0]).all():
        estimator.fit(X, y)
    elif learner.handles_weights:
        estimator.fit(X, y, sample_weight=writable(rows.weight))
    else:
        msg = f"learner {learner.name!r} cannot use sample weights"
        raise TypeError(msg)
    return LearnerModel(estimator, rows.task, rows.n_classes)
