"""Learners that the user brings: estimators and classes of scikit-learn, and ``Learner`` objects.

An estimator is trained with its own hyperparameters. It reads the encoded matrix; if it refuses
missing values, they are imputed and categories are one-hot encoded before it.
"""

import inspect
import pickle
import re
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from scipy.special import expit
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils import get_tags
from sklearn.utils.extmath import softmax
from sklearn.utils.validation import has_fit_parameter

from fairautoml.data.dataset import FeatureSchema
from fairautoml.exceptions import NotPortableError, ParameterError, UnknownNameError
from fairautoml.learners import LEARNERS, Learner
from fairautoml.learners._base import (
    MAX_CATEGORIES,
    EmptyColumns,
    SklearnClassifier,
    SklearnMulticlass,
    SklearnTraining,
)
from fairautoml.portable import Dump, Positions
from fairautoml.records import ParamValues
from fairautoml.registry import check_names
from fairautoml.threads import n_threads

UNPICKLABLE = (pickle.PicklingError, AttributeError, TypeError)
"""What pickle raises for an object that it cannot write."""


class _Own(SklearnTraining):
    """Trains a clone of the user's estimator."""

    empty_: EmptyColumns | None = None

    def __init__(
        self,
        own: Any,
        params: ParamValues,
        feature_schema: FeatureSchema,
        seed: int,
        n_classes: int = 2,
    ) -> None:
        super().__init__(params, feature_schema, seed, n_classes)
        self.own = own

    def _estimator(self, n_rows: int) -> Pipeline:
        del n_rows
        model = clone(self.own)
        found = model.get_params()
        ends = {name: name.rpartition("__")[2] for name in found}
        threads = {
            name: n_threads() for name, end in ends.items() if end == "n_jobs" and found[name]
        }
        seeds = {
            name: self.seed
            for name, end in ends.items()
            if end == "random_state" and found[name] is None
        }
        model.set_params(**threads, **seeds)
        return Pipeline([("columns", self._columns()), ("model", model)])

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        # Boosting of scikit-learn cannot bin an empty column.
        self.empty_ = None if issparse(X) else EmptyColumns(X)
        return super()._train(self.native_input(X), y, weight)

    def _predicted(self, X: Any) -> NDArray[np.floating]:
        return super()._predicted(self.native_input(X))

    def native_input(self, X: Any) -> Any:
        """Return the rows as the estimator takes them."""
        return X if self.empty_ is None else self.empty_.fill(X)

    def _columns(self) -> Any:
        schema = self.feature_schema
        if schema.sparse or get_tags(self.own).input_tags.allow_nan:
            return "passthrough"
        fill = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
        one_hot = OneHotEncoder(
            handle_unknown="infrequent_if_exist",
            max_categories=MAX_CATEGORIES,
            sparse_output=False,
        )
        parts = [
            ("numbers", fill, schema.numeric),
            ("categories", one_hot, list(schema.categorical)),
        ]
        return ColumnTransformer([part for part in parts if part[2]])

    def _weight(self, weight: NDArray[Any] | None) -> dict[str, Any]:
        return {} if weight is None else {f"model__{weight_argument(self.own)}": weight}

    def _dump(self, out: Dump, columns: Positions) -> int:
        raise NotPortableError(f"the learner {type(self.own).__name__} has no portable form")


class OwnClassifier(_Own, SklearnClassifier):
    """Two classes."""

    def _scores(self, X: Any) -> NDArray[np.floating]:
        if hasattr(self.own, "predict_proba"):
            return super()._scores(X)
        return expit(self.model_.decision_function(X))


class OwnMulticlass(_Own, SklearnMulticlass):
    """Several classes."""

    def _scores(self, X: Any) -> NDArray[np.floating]:
        if hasattr(self.own, "predict_proba"):
            return super()._scores(X)
        sums = self.model_.decision_function(X)
        # Of two known classes there is one column.
        both = np.column_stack([-sums / 2, sums / 2]) if sums.ndim == 1 else sums
        return softmax(both)


class OwnRegressor(_Own):
    """A number; the target keeps its unit, for which the hyperparameters were chosen."""

    def fit(
        self, X: Any, y: NDArray[Any], sample_weight: NDArray[Any] | None = None
    ) -> "OwnRegressor":
        """Train from scratch."""
        self.n_features_in_ = X.shape[1]
        self.model_ = self._train(X, y, sample_weight)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the predictions, shape (n_rows,)."""
        return np.asarray(self._predicted(X), dtype=np.float64)

    def _scores(self, X: Any) -> NDArray[np.floating]:
        return self.model_.predict(X)

    def dump(self, out: Dump, columns: Positions) -> int:
        """Raise ``NotPortableError``."""
        return self._dump(out, columns)


def weight_argument(estimator: Any) -> str:
    """Return the argument of ``fit`` for weights, empty if the estimator takes none."""
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        inner = weight_argument(last)
        return inner and f"{name}__{inner}"
    return "sample_weight" if has_fit_parameter(estimator, "sample_weight") else ""


def chosen_learners(
    given: Any, *, regression: bool
) -> tuple[tuple[str, ...] | None, dict[str, Learner]]:
    """Return the names of ``learners=``, and the learners that are the user's own by name."""
    if given is None:
        return None, {}
    if isinstance(given, str):
        return _registered(given), {}
    listed = list(given) if isinstance(given, Sequence) else [given]
    if not listed:
        check_names("learners", given, LEARNERS)  # which refuses an empty list
    names: list[str] = []
    own: dict[str, Learner] = {}
    for one in listed:
        if isinstance(one, str):
            names += _registered(one)
            continue
        learner = one if isinstance(one, Learner) else _of_estimator(one, own, regression)
        if isinstance(one, Learner):
            _check_name(one, own)
        names.append(learner.name)
        own[learner.name] = learner
    return tuple(dict.fromkeys(names)), own


def without_objects(given: Any, *, regression: bool) -> Any:
    """Return ``learners=`` with the names of the user's own learners in their place."""
    many = isinstance(given, Sequence) and not isinstance(given, str)
    listed = given if many else [given]
    if all(one is None or isinstance(one, str) for one in listed):
        return given
    return list(chosen_learners(given, regression=regression)[0] or ())


def _registered(name: str) -> tuple[str, ...]:
    try:
        return check_names("learners", name, LEARNERS) or ()
    except UnknownNameError as error:
        msg = f"{error}; your own learners are given as objects, also to resume a run"
        raise UnknownNameError(msg) from None


def _check_name(learner: Learner, known: Collection[str]) -> None:
    if learner.name in known or learner.name in LEARNERS.names():
        msg = (
            f"learners: there is already a learner {learner.name!r}; give yours another name, or "
            "the name alone for the registered one"
        )
        raise ParameterError(msg)


def _of_estimator(given: Any, known: Collection[str], regression: bool) -> Learner:
    estimator = _instance(given)
    _check_estimator(estimator, regression)
    builds: dict[str, Any] = {"build": partial(OwnClassifier, estimator)}
    if regression:
        builds["build_regressor"] = partial(OwnRegressor, estimator)
    else:
        builds["build_multiclass"] = partial(OwnMulticlass, estimator)
    return Learner(
        name=_name_of(estimator, {*known, *LEARNERS.names()}),
        handles_weights=bool(weight_argument(estimator)),
        handles_sparse=bool(get_tags(estimator).input_tags.sparse),
        **builds,
    )


def _instance(given: Any) -> Any:
    """Return an unfitted estimator of the user's estimator or class."""
    try:
        made = given() if inspect.isclass(given) else clone(given)
        get_tags(made)
    except (TypeError, AttributeError) as error:
        why, names = str(error).rstrip("."), ", ".join(LEARNERS.names())
        msg = (
            f"learners: {given!r} is neither a registered name nor a Learner, nor an estimator of "
            f"scikit-learn or its class ({why}). Registered: {names}"
        )
        raise ParameterError(msg) from error
    return made


def _check_estimator(estimator: Any, regression: bool) -> None:
    fits = is_regressor(estimator) if regression else is_classifier(estimator)
    if not fits:
        wanted = "a regressor" if regression else "a classifier"
        other = "FairAutoML" if regression else "FairAutoMLRegressor"
        msg = f"learners: {estimator!r} is not {wanted}; give {wanted}, or use {other}"
        raise ParameterError(msg)
    if not regression and not any(
        hasattr(estimator, method) for method in ("predict_proba", "decision_function")
    ):
        msg = (
            f"learners: {estimator!r} has neither predict_proba nor decision_function, and rules "
            "need scores; set its option for probabilities, or wrap it in CalibratedClassifierCV"
        )
        raise ParameterError(msg)
    try:
        pickle.dumps(estimator)
    except UNPICKLABLE as error:
        msg = (
            f"learners: {estimator!r} cannot be pickled ({error}), so its models cannot be kept; "
            "define its class and its functions at the top level of a module"
        )
        raise ParameterError(msg) from error


def _name_of(estimator: Any, taken: Collection[str]) -> str:
    """Return a name that is not taken: the class in lower case, of a pipeline its last step."""
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    words = re.sub(
        r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(estimator).__name__
    )
    name, number = words.lower().strip("_"), 2
    found = name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def can_be_sent(own: Mapping[str, Learner]) -> bool:
    """Return whether another process can read the learners: it does not run the user's script."""
    try:
        return b"__main__" not in pickle.dumps(dict(own))
    except UNPICKLABLE:
        return False


def described(learner: Learner) -> str:
    """Return the class and all parameters of an own learner, equal in every process."""
    text, build = repr(learner), learner.build
    if isinstance(build, partial) and build.func is OwnClassifier:
        (own,) = build.args
        kind, params = type(own), sorted(own.get_params().items())
        text = f"{learner.name}: {kind.__module__}.{kind.__qualname__}{params}"
    return re.sub(r" at 0x[0-9a-f]+", "", text)
