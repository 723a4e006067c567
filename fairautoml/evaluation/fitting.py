"""Fit learners on folds, and cache the encoded rows.

Samples depend on the root seed and the fold only, so all configurations train on the same rows and
share the encoded matrices.
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
from fairautoml.data.encoders import BLOCK, Encoder, fit_encoding
from fairautoml.learners import LEARNERS, Learner
from fairautoml.learners._base import EmptyColumns, EncodedEstimator
from fairautoml.metrics import BoundConstraint
from fairautoml.metrics._table import TaskName
from fairautoml.metrics.tasks import TASKS
from fairautoml.mitigators import MITIGATORS, ScoreModel, TrainRows
from fairautoml.portable import Dump, Positions
from fairautoml.records import Config

Made = TypeVar("Made")

LONGEST_ERROR = 2000
"""Longest stored error message, in characters."""


def capture_failure(work: Callable[[], Made]) -> Made | Exception | SystemExit:
    """Return the result of ``work`` or its exception; a keyboard interrupt is raised."""
    try:
        return work()
    except (Exception, SystemExit) as exc:
        return exc


def error_text(error: BaseException) -> str:
    """Return an error as text of bounded length."""
    return repr(error)[:LONGEST_ERROR]


class Sized(Protocol):
    """Object that knows its size in memory."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""


Value = TypeVar("Value", bound=Sized)


class LruCache:
    """Cache of limited size that evicts the least recently used values.

    A value never evicts one that was used since the value itself was last used. So a cyclic access
    pattern that exceeds the size keeps some values; plain LRU would evict each just before use.

    A pickled cache is empty: its values are not shared between processes.
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
        """Bytes currently cached."""
        return sum(value.nbytes for value in self._values.values())

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of a key, and make it if it is not cached."""
        before = self._last_used.get(key, self._turn + 1)
        self._turn += 1
        self._last_used[key] = self._turn
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        made = make()
        leaving = self._leaving(made.nbytes, before)
        if leaving is not None:
            for other in leaving:
                del self._values[other]
            self._values[key] = made
        return made

    def _leaving(self, nbytes: int, before: int) -> list[Hashable] | None:
        """Return the keys to evict, last used before ``before``, or None for too little room."""
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
    """Score model of a fitted scikit-learn style estimator."""

    estimator: Any  # with ``predict_proba`` or ``predict``
    task: TaskName = "binary"  # {"binary", "multiclass", "regression"}: task it was trained for
    n_classes: int = 2  # number of classes
    empty: EmptyColumns | None = None  # columns that a plug-in was trained without

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the scores of encoded rows (``Task``)."""
        del cells
        task = TASKS.get(self.task)
        X = X if self.empty is None else self.empty.fill(X)
        # Some of scikit-learn's estimators refuse read-only rows that hold NaN.
        return task.checked(task.scores(self.estimator, writable(X), self.n_classes))

    def dump(self, out: Dump, columns: Positions) -> int:
        """Write the portable form and return its node."""
        columns = columns if self.empty is None else out.change(self.empty, columns)
        return out.node(TASKS.get(self.task).checks, {"of": out.model(self.estimator, columns)})


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

    def dump(self, out: Dump, columns: Positions) -> int:
        """Write the portable form and return its node."""
        of = out.model(self.model, out.change(self.encoder, columns))
        # The model has validated its scores; only shares are rounded once more by it.
        return out.node("shares", {"of": of}) if self.task == "multiclass" else of


@dataclass(frozen=True, slots=True)
class CVEnsemble:
    """Mean score of the fold models; this is deployed."""

    models: tuple[FittedModel, ...]

    def __len__(self) -> int:
        return len(self.models)

    def first(self, count: int) -> "CVEnsemble":
        """Return the mean of the first ``count`` models."""
        return CVEnsemble(self.models[:count])

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the mean of the scores over the models (``Task``)."""
        total = np.zeros(1)
        for model in self.models:
            total = total + model.scores(X, cells)
        return (total / len(self.models)).astype(np.float32)

    def dump(self, out: Dump, columns: Positions) -> int:
        """Write the portable form and return its node."""
        return out.node("mean", {"of": [out.model(model, columns) for model in self.models]})


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFit:
    """Train the learner of a configuration on rows that a mitigator may have changed."""

    config: Config  # defines the learner
    seed: int  # seed of the training
    deadline: float | None  # ``time.monotonic()`` at which the fold should be done

    def __call__(self, rows: TrainRows) -> ScoreModel:
        """Return a model trained on the given rows."""
        return _fit_learner(LEARNERS.get(self.config.learner), self.config, rows, self.seed)

    def seconds_left(self) -> float | None:
        """Return the seconds left for this fold, or None without a limit."""
        return None if self.deadline is None else self.deadline - time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoded:
    """Encoded training rows with their fitted encoder."""

    train: TrainRows  # the rows
    encoder: Encoder  # fitted on them

    @property
    def nbytes(self) -> int:
        """Bytes of memory of the rows."""
        rows = self.train
        return memory_of(rows.X) + rows.y.nbytes + rows.weight.nbytes + rows.cells.nbytes


def encode(
    encoding: str, rows: Dataset, seed: int, *, targets: tuple[BoundConstraint, ...] = ()
) -> Encoded:
    """Fit an encoding on training rows and encode them."""
    X, feature_schema, encoder = fit_encoding(
        encoding,
        rows.X,
        rows.y,
        rows.feature_schema,
        seed,
        rows.weight,
        group_columns=rows.group_columns,
        outside=rows.columns_outside(encoding.partition(BLOCK)[2]),
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
    """Train a configuration."""
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
    """Drop rows of weight 0, which bins and leaves would count, unless a class has no others."""
    counted = rows.weight > 0
    if counted.all():
        return rows
    whole = rows.task == "regression" or len(np.unique(rows.y[counted])) == len(np.unique(rows.y))
    return rows.take(np.flatnonzero(counted)) if whole and counted.any() else rows


def _fit_learner(learner: Learner, config: Config, rows: TrainRows, seed: int) -> LearnerModel:
    if rows.feature_schema.linear_only and not learner.linear:
        msg = f"learner {learner.name!r} is not linear, so it could restore the removed groups"
        raise TypeError(msg)
    rows = _that_count(rows)
    estimator = learner.built(
        config.params, rows.feature_schema, seed, task=rows.task, n_classes=rows.n_classes
    )
    X, y = (rows.X, rows.y) if learner.shares_rows else (writable(rows.X), writable(rows.y))
    empty = None
    if not isinstance(estimator, EncodedEstimator) and not rows.feature_schema.sparse:
        # A plug-in's: boosting of scikit-learn cannot bin the empty column of left-out groups.
        empty = EmptyColumns(X)
        X = empty.fill(X)
    if (rows.weight == rows.weight[0]).all():
        estimator.fit(X, y)
    elif learner.handles_weights:
        estimator.fit(X, y, sample_weight=writable(rows.weight))
    else:
        msg = f"learner {learner.name!r} cannot use sample weights"
        raise TypeError(msg)
    return LearnerModel(estimator, rows.task, rows.n_classes, empty)


MOST_BYTES = 256 * 2**20
"""Largest size of the encoded rows cached by one process, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Rows that a model is trained on; it scores the rows of its fold."""

    fold: int  # a fold
    fraction: float  # rows trained on, as a share of the rows outside that fold, in (0, 1]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """Rows that a model is scored on, from folds that it was not trained on."""

    rows: NDArray[np.int64]  # shape (n,): their positions among all rows, rising
    X: Any  # shape (n, n_features): encoded, read-only
    cells: NDArray[np.int32]  # shape (n,): finest group cells

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.rows.nbytes + memory_of(self.X) + self.cells.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    """Cached encoder; its size is negligible compared with encoded rows."""

    encoder: Encoder
    nbytes: int = 0


def sampling_places(
    y: NDArray[np.integer], cells: NDArray[np.integer], seed: int
) -> NDArray[np.float64]:
    """Return where each row stands in the order in which stratified samples take rows.

    Each stratum of label and group is shuffled and spread evenly: the k-th of n rows stands at
    (k + u) / n, u drawn once per stratum in [0, 1). So a sample holds every stratum's share to
    within one row or so, and smaller samples are part of larger ones. Each label comes once among
    the first rows, so that a sample of two rows has both.
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
    return place


def sampled(places: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """Return the first rows by their places, ascending."""
    return np.sort(np.argpartition(places, size - 1)[:size])


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldData:
    """Rows of the folds, encoded on demand and cached; all returned arrays are read-only."""

    dataset: Dataset  # the search rows
    folds: NDArray[np.integer]  # shape (n_rows,): fold of each row
    root_seed: int  # seed of the run
    targets: tuple[BoundConstraint, ...] = ()  # constraints for training-time mitigators
    most_bytes: int = MOST_BYTES  # size of the cache

    @cached_property
    def n_folds(self) -> int:
        """Number of folds."""
        return int(self.folds.max()) + 1

    @cached_property
    def kept(self) -> LruCache:
        """Cache of the encoded rows."""
        return LruCache(self.most_bytes)

    def train(self, part: Part, encoding: str) -> Encoded:
        """Return the training rows of a part."""
        found = self.kept.get(("train", part, encoding), lambda: self._train(part, encoding))
        self.kept.get(("encoder", part, encoding), lambda: _Fitted(found.encoder))
        return found

    def held_out(self, part: Part, encoding: str) -> HeldOut:
        """Return the rows of the fold, encoded like the training rows."""
        plain = self.kept.get(("held out", part.fold), lambda: self._held_out(part.fold))
        encoder = self._encoder(part, encoding)
        if encoder.is_identity:
            return plain

        def encoded() -> HeldOut:
            X = encoder.transform(plain.X)
            freeze(X)
            return replace(plain, X=X)

        return self.kept.get(("held out", part, encoding), encoded)

    def without_features(self) -> "FoldData":
        """Return the rows for a model that reads no feature."""
        X = np.empty((self.dataset.n_rows, 0), dtype=np.float32)
        schema = replace(self.dataset.schema, columns=())
        return replace(self, dataset=replace(self.dataset, X=X, schema=schema))

    def _encoder(self, part: Part, encoding: str) -> Encoder:
        return self.kept.get(
            ("encoder", part, encoding), lambda: _Fitted(self.train(part, encoding).encoder)
        ).encoder

    def _train(self, part: Part, encoding: str) -> Encoded:
        seed = fold_seed(self.root_seed, part.fold)
        rows = np.flatnonzero(self.folds != part.fold)
        size = max(1, round(part.fraction * len(rows)))
        if size < len(rows):
            places = self.kept.get(("places", part.fold), lambda: self._places(rows, seed))
            rows = rows[sampled(places, size)]
        made = encode(encoding, self.dataset.take(rows), seed, targets=self.targets)
        for array in (made.train.X, made.train.y, made.train.weight, made.train.cells):
            freeze(array)
        return made

    def _places(self, rows: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
        labels, cells = strata_of(self.dataset.y[rows]), self.dataset.cells[rows]
        return sampling_places(labels, cells, seed)

    def _held_out(self, fold: int) -> HeldOut:
        rows = np.flatnonzero(self.folds == fold)
        X = self.dataset.X[rows]
        freeze(X)
        return HeldOut(rows=rows, X=X, cells=self.dataset.cells[rows])


def fold_seed(root_seed: int, fold: int) -> int:
    """Return the seed of a fold, shared by all configurations."""
    return int(np.random.SeedSequence([root_seed, fold]).generate_state(1, np.uint32)[0] >> 1)
