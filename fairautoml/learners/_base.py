"""The learner protocol, and base estimators of the model families."""

import math
import warnings
import weakref
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from fairautoml.data.dataset import FeatureSchema, strata_of
from fairautoml.data.splits import holdout_split
from fairautoml.exceptions import NotPortableError
from fairautoml.metrics import TaskName
from fairautoml.portable import Dump, Positions
from fairautoml.records import ParamValues
from fairautoml.threads import one_thread

MAX_CATEGORIES = 200
"""Largest number of one-hot columns per category column; rarer categories share one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """A model family.

    Every learner receives the encoded matrix: numbers, category codes in the columns given by the
    feature schema, NaN for missing values. ``build`` adds a scikit-learn pipeline for inputs that
    the library does not support.

    Parameters
    ----------
    name : str
        Registered name; also the name of its search-space file.
    build : callable
        ``build(params, feature_schema, seed)`` returns an unfitted classifier with scikit-learn's
        ``fit(X, y, sample_weight=None)`` and ``predict_proba(X)``. It uses one thread. With
        ``dump`` (``fairautoml.portable``) its models can be exported.
    build_multiclass : callable, optional
        ``build_multiclass(params, feature_schema, seed, n_classes)``, the same for labels 0 ..
        n_classes - 1; ``predict_proba`` has one column per class, even if a label did not occur.
    build_regressor : callable, optional
        ``build_regressor(params, feature_schema, seed)``, the same for regression, with
        ``predict(X)``.
    handles_weights, handles_sparse : bool
        Whether ``fit`` supports ``sample_weight`` and CSR matrices.
    shares_rows : bool
        Whether ``fit`` accepts the read-only matrix that is shared between configurations, in
        order to cache derived data; otherwise it receives a writable copy.
    native_categories : bool
        Whether the learner takes the columns ``feature_schema.native`` as categories.
    linear : bool
        Whether scores are a monotone function of a weighted sum of the columns, if the feature
        schema is ``linear_only``.
    extra : str
        Optional extra of this package that installs the library; empty for core dependencies.
    opt_in : bool
        Whether the learner is used only when the user names it.
    most_rows : int
        Rows of the table up to which an optional learner is searched by default.
    least_seconds : float
        Time budget in seconds from which an optional learner is searched by default, if its
        library is installed; infinite = only when the user names it.
    space : str
        YAML text of the search space, for a plug-in that is a single file; if empty, the file of
        the same name in ``search_spaces/learners`` is used.
    """

    name: str
    build: Callable[[ParamValues, FeatureSchema, int], Any]
    build_multiclass: Callable[..., Any] | None = None
    build_regressor: Callable[..., Any] | None = None
    handles_weights: bool = True
    handles_sparse: bool = False
    shares_rows: bool = False
    native_categories: bool = False
    linear: bool = False
    extra: str = ""
    opt_in: bool = False
    most_rows: int = 50_000
    least_seconds: float = math.inf
    space: str = ""

    @property
    def tasks(self) -> frozenset[TaskName]:
        """Supported types of the target."""
        found: set[TaskName] = {"binary"}
        if self.build_multiclass is not None:
            found.add("multiclass")
        if self.build_regressor is not None:
            found.add("regression")
        return frozenset(found)

    def built(
        self,
        params: ParamValues,
        feature_schema: FeatureSchema,
        seed: int,
        *,
        task: TaskName,
        n_classes: int,
    ) -> Any:
        """Return an unfitted estimator; raise TypeError for a task that is not supported."""
        if task == "multiclass" and self.build_multiclass is not None:
            return self.build_multiclass(params, feature_schema, seed, n_classes)
        if task == "regression" and self.build_regressor is not None:
            return self.build_regressor(params, feature_schema, seed)
        if task != "binary":
            raise TypeError(f"learner {self.name!r} cannot learn a {task} target")
        return self.build(params, feature_schema, seed)


class EncodedEstimator(BaseEstimator):  # type: ignore[misc]
    """Estimator on the encoded matrix; subclasses implement training and scoring."""

    model_: Any  # set by ``fit``

    def __init__(
        self, params: ParamValues, feature_schema: FeatureSchema, seed: int, n_classes: int = 2
    ) -> None:
        self.params = params
        self.feature_schema = feature_schema
        self.seed = seed
        self.n_classes = n_classes

    def _dump(self, out: Dump, columns: Positions) -> int:
        """Write ``model_`` and return its node."""
        raise NotPortableError(f"the learner {type(self).__name__} has no portable form")


class BinaryClassifier(ClassifierMixin, EncodedEstimator):  # type: ignore[misc]
    """Binary classifier.

    Trained on a single class, the model predicts that class; most libraries raise an error, and
    small folds may have one class only.
    """

    def fit(self, X: Any, y: NDArray[Any], sample_weight: NDArray[Any] | None = None) -> Self:
        """Train from scratch."""
        y = np.asarray(y)
        self.classes_ = np.array([0, 1], dtype=np.int8)
        self.n_features_in_ = X.shape[1]
        self.only_class_ = int(y[0]) if (y == y[0]).all() else None
        trains = self.only_class_ is None
        self.model_: Any = self._train(X, y, sample_weight) if trains else None
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probabilities of 0 and 1, shape (n_rows, 2)."""
        check_is_fitted(self, "classes_")
        if self.only_class_ is not None:
            positive = np.full(X.shape[0], float(self.only_class_))
        else:
            positive = np.asarray(self._predicted(X), dtype=np.float64)
        return np.column_stack((1.0 - positive, positive))

    def predict(self, X: Any) -> NDArray[np.int8]:
        """Return the more probable class of each row, shape (n_rows,)."""
        return (self.predict_proba(X)[:, 1] > 0.5).astype(np.int8)

    def dump(self, out: Dump, columns: Positions) -> int:
        """Write the portable form and return its node."""
        if self.only_class_ is not None:
            return out.node("constant", {"value": float(self.only_class_)})
        return self._dump(out, columns)

    @abstractmethod
    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        """Return a model trained on labels of both classes."""

    @abstractmethod
    def _predicted(self, X: Any) -> NDArray[np.floating]:
        """Return P(y = 1) by ``model_``, shape (n_rows,)."""


def count_trees(part: Any) -> int:
    """Return the number of trees of a model and of the models that it is made of."""
    found = getattr(part, "n_trees_", None)
    if found is not None:
        return int(found)
    if is_dataclass(part) and not isinstance(part, type):
        part = [getattr(part, field.name) for field in fields(part)]
    if isinstance(part, Mapping):
        part = list(part.values())
    return sum(map(count_trees, part)) if isinstance(part, tuple | list) else 0


class EmptyColumns:
    """Stores which columns are empty in the training rows, and sets them to a constant.

    A column may be empty in one fold only. The model has learned nothing about it, so its values
    in new rows are replaced by 0 as well.
    """

    def __init__(self, X: NDArray[np.floating]) -> None:
        self.at = np.flatnonzero(np.isnan(X).all(axis=0))

    def fill(self, X: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return ``X`` with 0 in the empty columns; a copy if there are any."""
        if self.at.size == 0:
            return X
        filled = X.copy()
        filled[:, self.at] = 0.0
        return filled

    def dump(self, out: Dump, columns: Positions) -> Positions:
        """Return the columns, the empty ones replaced by one of 0."""
        if self.at.size == 0:
            return columns
        filled = columns.copy()
        filled[self.at] = out.step("fixed", {"values": np.zeros(1, np.float32)}, 1)
        return filled


class MulticlassClassifier(ClassifierMixin, EncodedEstimator):  # type: ignore[misc]
    """Multiclass classifier on the encoded matrix.

    The model is trained on the observed labels, renumbered without gaps, because most libraries
    require all classes and a small fold may lack one. Unobserved classes have probability 0.
    """

    def fit(self, X: Any, y: NDArray[Any], sample_weight: NDArray[Any] | None = None) -> Self:
        """Train from scratch."""
        self.classes_ = np.arange(self.n_classes, dtype=np.int8)
        self.n_features_in_ = X.shape[1]
        self.known_, codes = np.unique(np.asarray(y), return_inverse=True)
        trains = len(self.known_) > 1
        self.model_: Any = self._train(X, codes, sample_weight) if trains else None
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class, shape (n_rows, n_classes)."""
        check_is_fitted(self, "classes_")
        found = np.zeros((X.shape[0], self.n_classes))
        found[:, self.known_] = 1.0 if len(self.known_) == 1 else self._predicted(X)
        return found

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Return the most probable class of each row, shape (n_rows,)."""
        return self.predict_proba(X).argmax(axis=1).astype(np.int64)

    def dump(self, out: Dump, columns: Positions) -> int:
        """Write the portable form and return its node."""
        if len(self.known_) == 1:
            known = np.arange(self.n_classes) == self.known_[0]
            return out.node("constant", {"value": known.astype(np.float64)})
        shares = self._dump(out, columns)
        if len(self.known_) == self.n_classes:
            return shares
        content = {"of": shares, "known": self.known_.astype(np.int32), "size": self.n_classes}
        return out.node("spread", content)

    @abstractmethod
    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        """Return a model trained on the labels 0, 1, ..., which all occur, at least two."""

    @abstractmethod
    def _predicted(self, X: Any) -> NDArray[np.floating]:
        """Return the probabilities of the observed labels, shape (n_rows, n_known)."""


class Regressor(RegressorMixin, EncodedEstimator):  # type: ignore[misc]
    """Regressor on the encoded matrix.

    The target is standardised, so that regularisation does not depend on its unit.
    """

    def fit(self, X: Any, y: NDArray[Any], sample_weight: NDArray[Any] | None = None) -> Self:
        """Train from scratch."""
        y = np.asarray(y, dtype=np.float64)
        self.n_features_in_ = X.shape[1]
        self.mean_ = float(np.average(y, weights=sample_weight))
        self.scale_ = float(np.sqrt(np.average((y - self.mean_) ** 2, weights=sample_weight)))
        # A target that is constant up to rounding; most libraries raise an error.
        varies = self.scale_ > np.finfo(np.float64).eps * abs(self.mean_)
        standard = (y - self.mean_) / self.scale_ if varies else y
        self.model_: Any = self._train(X, standard, sample_weight) if varies else None
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the predictions, shape (n_rows,)."""
        check_is_fitted(self, "mean_")
        if self.model_ is None:
            return np.full(X.shape[0], self.mean_)
        return self.mean_ + self.scale_ * np.asarray(self._predicted(X), dtype=np.float64)

    def dump(self, out: Dump, columns: Positions) -> int:
        """Write the portable form and return its node."""
        if self.model_ is None:
            return out.node("constant", {"value": self.mean_})
        of = self._dump(out, columns)
        return out.node("scaled", {"of": of, "mean": self.mean_, "scale": self.scale_})

    @abstractmethod
    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        """Return a model trained on a target of mean 0 and variance 1."""

    @abstractmethod
    def _predicted(self, X: Any) -> NDArray[np.floating]:
        """Return the predictions by ``model_``, shape (n_rows,)."""


class SklearnTraining(EncodedEstimator):
    """Trains a scikit-learn estimator with one OpenMP and one BLAS thread."""

    @abstractmethod
    def _estimator(self, n_rows: int) -> Any:
        """Return the unfitted estimator for this number of training rows."""

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        with one_thread(), warnings.catch_warnings():
            # A model that stopped at its iteration limit is still a valid configuration.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return self._estimator(X.shape[0]).fit(X, y, **self._weight(weight))

    def _weight(self, weight: NDArray[Any] | None) -> dict[str, Any]:
        return {"sample_weight": weight}

    def _predicted(self, X: Any) -> NDArray[np.floating]:
        direct = self._direct(X)
        if direct is not None:
            return direct
        with one_thread():
            return self._scores(X)

    @abstractmethod
    def _scores(self, X: Any) -> NDArray[np.floating]:
        """Return the scores that scikit-learn predicts."""

    def _direct(self, X: Any) -> NDArray[np.floating] | None:
        """Return the scores without scikit-learn's checks of the rows, None if that cannot be."""
        del X
        return None


class SklearnClassifier(SklearnTraining, BinaryClassifier):
    """A scikit-learn binary classifier."""

    def _scores(self, X: Any) -> NDArray[np.floating]:
        return self.model_.predict_proba(X)[:, 1]


class SklearnMulticlass(SklearnTraining, MulticlassClassifier):
    """A scikit-learn multiclass classifier."""

    def _scores(self, X: Any) -> NDArray[np.floating]:
        return self.model_.predict_proba(X)


class SklearnRegressor(SklearnTraining, Regressor):
    """A scikit-learn regressor."""

    def _scores(self, X: Any) -> NDArray[np.floating]:
        return self.model_.predict(X)


STOPPING = "early_stopping_rounds"
"""Parameter: rounds without improvement after which training stops; 0 = no early stopping."""

STOPPING_SHARE = 0.12
"""Share of the training rows held out for early stopping."""


def stopping_parts(y: NDArray[Any], seed: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the rows to train on and to stop on; both are training rows of the fold."""
    parts = holdout_split(strata_of(y), np.zeros(len(y), dtype=np.int32), STOPPING_SHARE, seed)
    learned, held = (part.astype(np.int32) for part in parts)
    return learned, held


class RoundBooster(EncodedEstimator):
    """Boosting by a library whose parameters it takes, with early stopping."""

    objective: ClassVar[str]  # the library's name

    def _objective(self) -> dict[str, Any]:
        if isinstance(self, MulticlassClassifier):
            return {"objective": self.objective, "num_class": len(self.known_)}
        return {"objective": self.objective}

    @property
    def _given(self) -> dict[str, Any]:
        """Parameters without those of the rounds, which libraries take as arguments."""
        return {
            key: value
            for key, value in self.params.items()
            if key not in {"n_estimators", STOPPING}
        }

    @property
    def _rounds(self) -> int:
        return int(self.params.get("n_estimators", 100))

    @property
    def _patience(self) -> int:
        return int(self.params.get(STOPPING, 0))


Rows = TypeVar("Rows")

MOST_BYTES = 128 * 2**20
"""Bytes of binned rows that one library caches per process."""

BYTES_PER_VALUE = 2
"""A bin takes one or two bytes, and a library may store it by row and by column."""


class Binned(Generic[Rows]):
    """Cache of binned rows, keyed by the matrix and the parameters that determine the bins.

    Binning takes a quarter to a half of a short training in boosting libraries.
    Only read-only matrices are cached, because a writable one may change. Entries are removed
    when their matrix is freed, or, least recently used first, when the cache is full.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, tuple[weakref.ref[Any], Rows, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, X: Any, bins: Hashable, make: Callable[[], Rows]) -> Rows:
        """Return the binned rows of a matrix, from the cache if possible."""
        if not _read_only(X):
            return make()
        key = (id(X), bins)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][1]
        made = make()
        size = BYTES_PER_VALUE * X.size
        if size <= self.most_bytes:
            # The id of a freed matrix may be reused, so its entry must be removed first.
            freed = weakref.ref(X, lambda _: self._kept.pop(key, None))
            self._kept[key] = (freed, made, size)
            while sum(entry[2] for entry in self._kept.values()) > self.most_bytes:
                self._kept.popitem(last=False)
        return made


def _read_only(X: Any) -> bool:
    values = X.data if sparse.issparse(X) else X
    return not values.flags.writeable
