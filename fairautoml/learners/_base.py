"""What a learner is, and the estimators that wrap its models."""

import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from fairautoml.data.dataset import FeatureSchema, TaskName, strata_of
from fairautoml.data.splits import holdout_split
from fairautoml.threads import one_thread

ParamValue = bool | int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """A family of models.

    Every learner takes the encoded matrix as it is: numbers, category codes in the columns that
    the layout names, NaN for missing. What a family cannot digest its ``build`` handles by a
    scikit-learn pipeline.

    Parameters
    ----------
    name : str
        Registered name; also the name of its search-space file.
    build : callable
        ``build(params, feature_schema, seed)`` returns an unfitted classifier with scikit-learn's
        ``fit(X, y, sample_weight=None)`` and ``predict_proba(X)``. It uses one thread.
    build_multiclass : callable, optional
        ``build_multiclass(params, feature_schema, seed, n_classes)``, the same for labels 0 ..
        n_classes - 1; ``predict_proba`` has a column for each, whatever labels the rows had.
    build_regressor : callable, optional
        ``build_regressor(params, feature_schema, seed)``, the same for numbers, with
        ``predict(X)``.
    handles_weights, handles_sparse : bool
        Whether ``fit`` honours ``sample_weight`` and takes CSR matrices.
    shares_rows : bool
        Whether ``fit`` takes the read-only matrix that other candidates train on too, to make use
        of what it knows of it; else it is given a writable copy.
    extra : str
        Optional extra of this package that brings the library; empty when it is a core one.
    opt_in : bool
        Whether it is used only when the user names it.
    space : str
        YAML text of the search space, for a plug-in that comes as a single file; a file of the
        same name in ``search_spaces/learners`` is used when this is empty.
    """

    name: str
    build: Callable[[Mapping[str, ParamValue], FeatureSchema, int], Any]
    build_multiclass: Callable[..., Any] | None = None
    build_regressor: Callable[..., Any] | None = None
    handles_weights: bool = True
    handles_sparse: bool = False
    shares_rows: bool = False
    extra: str = ""
    opt_in: bool = False
    space: str = ""

    @property
    def tasks(self) -> frozenset[TaskName]:
        """Kinds of target it can learn."""
        found: set[TaskName] = {"binary"}
        if self.build_multiclass is not None:
            found.add("multiclass")
        if self.build_regressor is not None:
            found.add("regression")
        return frozenset(found)

    def built(
        self,
        params: Mapping[str, ParamValue],
        feature_schema: FeatureSchema,
        seed: int,
        *,
        task: TaskName,
        n_classes: int,
    ) -> Any:
        """Return an unfitted estimator for a kind of target.

        Parameters
        ----------
        params, layout, seed
            As for ``build``.
        task : {"binary", "multiclass", "regression"}
            What is to be learned.
        n_classes : int
            Number of classes.

        Raises
        ------
        TypeError
            The learner cannot learn that.
        """
        if task == "multiclass" and self.build_multiclass is not None:
            return self.build_multiclass(params, feature_schema, seed, n_classes)
        if task == "regression" and self.build_regressor is not None:
            return self.build_regressor(params, feature_schema, seed)
        if task != "binary":
            raise TypeError(f"learner {self.name!r} cannot learn a {task} target")
        return self.build(params, feature_schema, seed)


class BinaryClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Binary classifier on the encoded matrix; a family says how to train and how to score.

    Training rows of one class only give a model that always says that class, since most
    libraries refuse them and a small fold may be so.
    """

    def __init__(
        self, params: Mapping[str, ParamValue], feature_schema: FeatureSchema, seed: int
    ) -> None:
        self.params = params
        self.feature_schema = feature_schema
        self.seed = seed

    def fit(self, X: Any, y: NDArray[Any], sample_weight: NDArray[Any] | None = None) -> Self:
        """Train; what was learned before is forgotten."""
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
            positive = np.asarray(self._positive(X), dtype=np.float64)
        return np.column_stack((1.0 - positive, positive))

    def predict(self, X: Any) -> NDArray[np.int8]:
        """Return the more probable class of each row, shape (n_rows,)."""
        positive: NDArray[np.int8] = (self.predict_proba(X)[:, 1] > 0.5).astype(np.int8)
        return positive

    @abstractmethod
    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        """Return a trained model; both classes occur."""

    @abstractmethod
    def _positive(self, X: Any) -> NDArray[np.floating]:
        """Return P(y = 1) by ``model_``, shape (n_rows,)."""


class EmptyColumns:
    """Remembers which columns of the training rows hold nothing, and makes them constant.

    A column may be empty in one fold only. Nothing was learned from it there, so whatever it
    holds later must not count: it becomes 0 in the new rows too.
    """

    def __init__(self, X: NDArray[np.floating]) -> None:
        self.at = np.flatnonzero(np.isnan(X).all(axis=0))

    def fill(self, X: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return ``X`` with 0 in those columns; a copy if there are any."""
        if self.at.size == 0:
            return X
        filled = X.copy()
        filled[:, self.at] = 0.0
        return filled


class MulticlassClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classifier of several classes on the encoded matrix.

    A family is trained on the labels that occur, renumbered without gaps: a fold of a small table
    may lack one, and most libraries need them all. What did not occur has probability 0.
    """

    def __init__(
        self,
        params: Mapping[str, ParamValue],
        feature_schema: FeatureSchema,
        seed: int,
        n_classes: int,
    ) -> None:
        self.params = params
        self.feature_schema = feature_schema
        self.seed = seed
        self.n_classes = n_classes

    def fit(self, X: Any, y: NDArray[Any], sample_weight: NDArray[Any] | None = None) -> Self:
        """Train; what was learned before is forgotten."""
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
        found[:, self.known_] = 1.0 if len(self.known_) == 1 else self._shares(X)
        return found

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Return the most probable class of each row, shape (n_rows,)."""
        chosen: NDArray[np.int64] = self.predict_proba(X).argmax(axis=1).astype(np.int64)
        return chosen

    @abstractmethod
    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        """Return a trained model; the labels 0, 1, ... all occur, at least two of them."""

    @abstractmethod
    def _shares(self, X: Any) -> NDArray[np.floating]:
        """Return the probabilities of the labels that occurred, shape (n_rows, n_known)."""


class Regressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Regressor on the encoded matrix.

    Families are trained on the standardised target, so that their regularisation means the same
    whatever unit it is in.
    """

    def __init__(
        self, params: Mapping[str, ParamValue], feature_schema: FeatureSchema, seed: int
    ) -> None:
        self.params = params
        self.feature_schema = feature_schema
        self.seed = seed

    def fit(self, X: Any, y: NDArray[Any], sample_weight: NDArray[Any] | None = None) -> Self:
        """Train; what was learned before is forgotten."""
        y = np.asarray(y, dtype=np.float64)
        self.n_features_in_ = X.shape[1]
        self.mean_ = float(np.average(y, weights=sample_weight))
        self.scale_ = float(np.sqrt(np.average((y - self.mean_) ** 2, weights=sample_weight)))
        # Below rounding there is nothing to learn; most libraries refuse a constant target.
        varies = self.scale_ > np.finfo(np.float64).eps * abs(self.mean_)
        standard = (y - self.mean_) / self.scale_ if varies else y
        self.model_: Any = self._train(X, standard, sample_weight) if varies else None
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the predicted numbers, shape (n_rows,)."""
        check_is_fitted(self, "mean_")
        if self.model_ is None:
            return np.full(X.shape[0], self.mean_)
        return self.mean_ + self.scale_ * np.asarray(self._numbers(X), dtype=np.float64)

    @abstractmethod
    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        """Return a trained model of a target of mean 0 and variance 1."""

    @abstractmethod
    def _numbers(self, X: Any) -> NDArray[np.floating]:
        """Return the predictions by ``model_``, shape (n_rows,)."""


class SklearnTraining:
    """Trains a scikit-learn estimator with one OpenMP and one BLAS thread."""

    model_: Any

    @abstractmethod
    def _estimator(self, n_rows: int) -> Any:
        """Return the unfitted estimator for so many training rows."""

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        with one_thread(), warnings.catch_warnings():
            # A model that stopped at its iteration limit is a candidate like any other.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return self._estimator(X.shape[0]).fit(X, y, **self._weight(weight))

    def _weight(self, weight: NDArray[Any] | None) -> dict[str, Any]:
        return {"sample_weight": weight}


class SklearnClassifier(SklearnTraining, BinaryClassifier):
    """A scikit-learn classifier of two classes."""

    def _positive(self, X: Any) -> NDArray[np.floating]:
        with one_thread():
            scores: NDArray[np.floating] = self.model_.predict_proba(X)[:, 1]
        return scores


class SklearnMulticlass(SklearnTraining, MulticlassClassifier):
    """A scikit-learn classifier of several classes."""

    def _shares(self, X: Any) -> NDArray[np.floating]:
        with one_thread():
            shares: NDArray[np.floating] = self.model_.predict_proba(X)
        return shares


class SklearnRegressor(SklearnTraining, Regressor):
    """A scikit-learn regressor."""

    def _numbers(self, X: Any) -> NDArray[np.floating]:
        with one_thread():
            numbers: NDArray[np.floating] = self.model_.predict(X)
        return numbers


STOPPING = "early_stopping_rounds"
"""Parameter: rounds without progress after which training stops; 0 = all rounds are run."""

STOPPING_SHARE = 0.12
"""Share of the training rows that are set aside for it."""


def stopping_parts(y: NDArray[Any], seed: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the training rows to learn from and those to stop by, the same share of each label.

    Both lie inside the rows that a fold trains on: the rows that score the fold have no say in
    the number of rounds.
    """
    parts = holdout_split(strata_of(y), np.zeros(len(y), dtype=np.int32), STOPPING_SHARE, seed)
    learned, held = (part.astype(np.int32) for part in parts)
    return learned, held
