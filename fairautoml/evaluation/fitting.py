"""Learners fitted on folds, with errors contained and models kept.

What is drawn here depends on the root seed and the fold, never on the candidate, so that all
candidates train on the same rows and the same matrix serves them all.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fairautoml.data.dataset import Dataset, strata_of
from fairautoml.data.encoders import Encoder, fit_encoding
from fairautoml.evaluation.tasks import TASKS
from fairautoml.learners import LEARNERS, Learner
from fairautoml.metrics._table import TaskName
from fairautoml.mitigators import MITIGATORS, ScoreModel, Target, TrainRows
from fairautoml.records import Config

Made = TypeVar("Made")

LONGEST_ERROR = 2000
"""Characters kept of an error message."""


def capture_failure(work: Callable[[], Made]) -> Made | Exception | SystemExit:
    """Return what the work returns, or what it raised; an interrupt by the user goes through."""
    try:
        return work()
    except (Exception, SystemExit) as exc:
        return exc


def error_text(error: BaseException) -> str:
    """Return an error as text of bounded length."""
    return repr(error)[:LONGEST_ERROR]


class Sized(Protocol):
    """Something that knows what it weighs."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        ...


Value = TypeVar("Value", bound=Sized)


class LruCache:
    """Values by key; when there is too much of them, those go that were asked for longest ago.

    A value never drives out what was asked for since it was asked for itself. So of values that
    are wanted in turn, again and again, and do not fit, some stay: if each drove out the oldest,
    which is the one that is wanted next, none would be found again.

    It is empty again after pickling: what was kept here is of no use in another process.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._last_used: dict[Hashable, int] = {}
        self._turn = 0

    def __reduce__(self) -> tuple[type["LruCache"], tuple[int]]:
        return LruCache, (self.most_bytes,)

    @property
    def nbytes(self) -> int:
        """Bytes that are kept now."""
        return sum(value.nbytes for value in self._values.values())

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of a key, made now when it is not kept."""
        before = self._last_used.get(key, self._turn + 1)
        self._turn += 1
        self._last_used[key] = self._turn
        if key in self._values:
            self._values.move_to_end(key)
            known: Value = self._values[key]
            return known
        made = make()
        leaving = self._leaving(made.nbytes, before)
        if leaving is not None:
            for other in leaving:
                del self._values[other]
            self._values[key] = made
        return made

    def _leaving(self, nbytes: int, before: int) -> list[Hashable] | None:
        """Return what has to go for a value of that size, None when it is not to be kept.

        Only what was last asked for before that turn may go.
        """
        found: list[Hashable] = []
        room = self.most_bytes - self.nbytes
        for other, value in self._values.items():
            if room >= nbytes or self._last_used[other] > before:
                break
            found.append(other)
            room += value.nbytes
        return found if room >= nbytes else None


def memory_of(X: Any) -> int:
    """Return the bytes of a dense or CSR matrix."""
    return sum(int(part.nbytes) for part in _parts(X))


def freeze(X: Any) -> None:
    """Make a dense or CSR matrix read-only, in place."""
    for part in _parts(X):
        part.flags.writeable = False


def writable(X: Any) -> Any:
    """Return an array or CSR matrix itself, or a copy when it is read-only."""
    return X if all(part.flags.writeable for part in _parts(X)) else X.copy()


def _parts(X: Any) -> tuple[Any, ...]:
    return (X.data, X.indices, X.indptr) if sparse.issparse(X) else (X,)


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
class CVEnsemble:
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

    config: Config  # whose learner
    seed: int  # seed of the training
    deadline: float | None  # ``time.monotonic()`` at which the fold should be done

    def __call__(self, rows: TrainRows) -> ScoreModel:
        """Return the model of the given rows."""
        return _fit_learner(LEARNERS.get(self.config.learner), self.config, rows, self.seed)

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
    X, feature_schema, encoder = fit_encoding(
        encoding, rows.X, rows.y, rows.feature_schema, seed, rows.weight
    )
    train = TrainRows(
        X=X,
        y=rows.y,
        weight=rows.weight,
        cells=rows.cells,
        systems=rows.systems,
        feature_schema=feature_schema,
        targets=targets,
        task=rows.task,
        n_classes=len(rows.classes),
    )
    return Encoded(train=train, encoder=encoder)


def fit_config(
    config: Config, rows: Encoded, seed: int, *, deadline: float | None = None
) -> FittedModel:
    """Train a candidate."""
    fit_base = BaseFit(config=config, seed=seed, deadline=deadline)
    if config.mitigation == "none":
        return FittedModel(rows.encoder, fit_base(rows.train), rows.train.task)
    mitigator = MITIGATORS.get(config.mitigation)
    if mitigator.train is None:
        msg = f"mitigator {mitigator.name!r} has stage {mitigator.stage!r}; it cannot train"
        raise TypeError(msg)
    model = mitigator.train(rows.train, fit_base, config.mitigation_params, seed)
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


def _fit_learner(learner: Learner, config: Config, rows: TrainRows, seed: int) -> LearnerModel:
    rows = _that_count(rows)
    estimator = learner.built(
        config.params, rows.feature_schema, seed, task=rows.task, n_classes=rows.n_classes
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


MOST_BYTES = 256 * 2**20
"""Bytes of encoded rows that one process keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Which rows a model is trained on; all rows of other folds are there to score it."""

    fold: int  # a fold
    # rows trained on, as a share of the rows outside that fold (outside a fold of mean size where
    # they are its own), in (0, 1]
    fraction: float
    own: bool = False  # they are rows of the fold itself; otherwise of all other folds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """The rows that a model is scored on: none is of a fold that it was trained on."""

    rows: NDArray[np.int64]  # shape (n,): their positions among all rows, rising
    X: Any  # shape (n, n_features): encoded, read-only
    cells: NDArray[np.int32]  # shape (n,): finest group cells

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.rows.nbytes + memory_of(self.X) + self.cells.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    """The encoder of training rows that may not be kept; next to rows it weighs nothing."""

    encoder: Encoder
    nbytes: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldData:
    """Takes and encodes the rows of folds, and keeps what it made.

    Everything that it returns is read-only.
    """

    dataset: Dataset  # the search rows
    folds: NDArray[np.integer]  # shape (n_rows,): fold of each row
    root_seed: int  # seed of the run
    targets: tuple[Target, ...] = ()  # what the user wants equal, for training-time mitigations
    most_bytes: int = MOST_BYTES  # bytes to keep at the most

    @cached_property
    def n_folds(self) -> int:
        """Number of folds."""
        return int(self.folds.max()) + 1

    @cached_property
    def kept(self) -> LruCache:
        """What was made so far."""
        return LruCache(self.most_bytes)

    def train(self, part: Part, encoding: str) -> Encoded:
        """Return the training rows of a part."""
        found = self.kept.get(("train", part, encoding), lambda: self._train(part, encoding))
        self.kept.get(("encoder", part, encoding), lambda: _Fitted(found.encoder))
        return found

    def held_out(self, part: Part, encoding: str) -> HeldOut:
        """Return the rows that are not of the folds trained on, encoded like those that are."""
        key = ("held out", part.fold, part.own)
        plain = self.kept.get(key, lambda: self._held_out(part))
        encoder = self._encoder(part, encoding)
        if encoder.is_identity:
            return plain

        def encoded() -> HeldOut:
            X = encoder.transform(plain.X)
            freeze(X)
            return replace(plain, X=X)

        return self.kept.get(("held out", part, encoding), encoded)

    def _encoder(self, part: Part, encoding: str) -> Encoder:
        return self.kept.get(
            ("encoder", part, encoding), lambda: _Fitted(self.train(part, encoding).encoder)
        ).encoder

    def _train(self, part: Part, encoding: str) -> Encoded:
        seed = fold_seed(self.root_seed, part.fold)
        inside, n_rows = self.folds == part.fold, len(self.folds)
        # Persons with many rows make folds of unequal size.
        usual = n_rows - n_rows / self.n_folds
        size = max(1, round(part.fraction * (usual if part.own else np.count_nonzero(~inside))))
        rows = np.flatnonzero(inside == part.own)
        if size < len(rows):
            labels, cells = strata_of(self.dataset.y[rows]), self.dataset.cells[rows]
            rows = rows[nested_sample(labels, cells, seed, size)]
        made = encode(encoding, self.dataset.take(rows), seed, targets=self.targets)
        for array in (made.train.X, made.train.y, made.train.weight, made.train.cells):
            freeze(array)
        return made

    def _held_out(self, part: Part) -> HeldOut:
        rows = np.flatnonzero((self.folds == part.fold) != part.own)
        X = self.dataset.X[rows]
        freeze(X)
        return HeldOut(rows=rows, X=X, cells=self.dataset.cells[rows])


def fold_seed(root_seed: int, fold: int) -> int:
    """Return the seed of what is drawn once per fold for all candidates."""
    return int(np.random.SeedSequence([root_seed, fold]).generate_state(1, np.uint32)[0] >> 1)


def nested_sample(
    y: NDArray[np.integer], cells: NDArray[np.integer], seed: int, size: int
) -> NDArray[np.int64]:
    """Return rows, ascending, that are a sample stratified by label and group.

    Each stratum of n rows is shuffled and spread evenly: its k-th row stands at (k + u) / n, u
    drawn once per stratum in [0, 1), and the sample is what stands first. So it holds every
    stratum's share to within one row or so, and a smaller sample is part of every larger one.
    Each label comes once among the first rows, so that a sample of two rows has both.
    """
    rng = np.random.default_rng(seed)
    place = np.empty(len(y))
    own = cells - cells.min()
    strata = (y - y.min()).astype(np.int64) * (int(own.max()) + 1) + own
    # Integers of at most 16 bits are sorted ten times faster than others.
    strata = strata.astype(np.min_scalar_type(int(strata.max())))
    order = np.argsort(strata, kind="stable")
    for stratum in np.split(order, np.flatnonzero(np.diff(strata[order])) + 1):
        place[stratum] = (rng.permutation(len(stratum)) + rng.random()) / len(stratum)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        place[rows[np.argmin(place[rows])]] -= 1.0
    return np.sort(np.argpartition(place, size - 1)[:size])
