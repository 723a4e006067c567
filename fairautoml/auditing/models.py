"""Adapters for models of any library: decisions, and linear structure of pipelines."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)

from fairautoml.auditing.rows import finite_numbers
from fairautoml.data.frames import frame_columns, is_frame
from fairautoml.data.groups import GroupSchema
from fairautoml.data.target import known_labels
from fairautoml.exceptions import InputError
from fairautoml.metrics.groups import SmallGroups


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearRule:
    """A rule that accepts when ``intercept + sum coefficient * column`` is above 0."""

    coefficients: Mapping[str, float]  # by numeric column; other columns have no effect
    intercept: float = 0.0

    def margin(self, table: pd.DataFrame) -> NDArray[np.float64]:
        """Return the value that is compared with 0, shape (n_rows,)."""
        found = np.full(len(table), float(self.intercept))
        for name, coefficient in self.coefficients.items():
            found += coefficient * table[name].to_numpy(dtype=np.float64)
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelAdapter:
    """A model with the format of its input and output."""

    model: Any  # estimator, function or ``LinearRule``
    classes: NDArray[Any]  # shape (2,): labels of 0 and 1; of a regression model none
    named: bool = True  # whether the model receives a DataFrame instead of an array
    # columns of the table that the model receives as a separate argument
    sensitive: tuple[str, ...] = ()

    def features(self, table: pd.DataFrame) -> Any:
        """Return the argument ``X`` of the model."""
        kept = table.drop(columns=list(self.sensitive))
        return kept if self.named else kept.to_numpy()

    def decide(self, table: pd.DataFrame) -> NDArray[Any]:
        """Return the decisions, 0 or 1, or the numbers of a regression model, shape (n_rows,)."""
        numbers = len(self.classes) == 0
        if isinstance(self.model, LinearRule):
            margin = self.model.margin(table)
            return margin if numbers else (margin > 0).astype(np.int8)
        predict = getattr(self.model, "predict", self.model)
        features = self.features(table)
        apart = (table[list(self.sensitive)],) if self.sensitive else ()
        answer = predict(features, *apart)
        if numbers:
            return finite_numbers(answer, "model: its predictions")
        try:
            return known_labels(_like(answer, self.classes), self.classes)
        except InputError as error:
            raise InputError(f"model: its predictions are not labels of y_true: {error}") from None


def check_predictions(given: NDArray[Any], made: NDArray[Any]) -> None:
    """Raise if the given predictions are not those of the model."""
    apart = int((~np.isclose(given, made, rtol=1e-4, atol=1e-6 * np.ptp(given))).sum())
    if apart:
        raise InputError(
            f"y_pred and model.predict(X) differ in {apart} of {len(given)} rows. Pass the "
            "predictions of this model on these rows."
        )


def _like(answer: Any, classes: NDArray[Any]) -> Any:
    """Write True and False as 1 and 0 where the labels are numbers."""
    values = np.asarray(answer)
    if values.dtype == np.bool_ and not isinstance(classes.tolist()[0], bool | str):
        return values.astype(np.int64)
    return answer


def adapter_of(
    model: Any, X: Any, sensitive: "Mapping[str, pd.Series[Any]]", classes: NDArray[Any]
) -> tuple[ModelAdapter, pd.DataFrame]:
    """Return the adapter of a model, and the table that the model predicts."""
    if not (callable(model) or hasattr(model, "predict") or isinstance(model, LinearRule)):
        raise InputError(
            f"model is of type {type(model).__name__}; allowed are an object with predict(X), a "
            "function of X, or a LinearRule."
        )
    named = is_frame(X)
    table = table_of(X)
    if isinstance(model, LinearRule):
        lacking = sorted(set(model.coefficients) - set(table.columns))
        if lacking:
            raise InputError(f"model: X has no column(s) {lacking}; it has {list(table.columns)}")
    apart: tuple[str, ...] = ()
    own = getattr(model, "model_", None)
    if getattr(own, "needs_sensitive", False):
        taken = getattr(getattr(own, "groups", None), "sensitive_from_X", ())
        apart = () if taken else tuple(name for name in sensitive if name not in table.columns)
    for name in apart:
        table[name] = sensitive[name].to_numpy()
    return ModelAdapter(model=model, classes=classes, named=named, sensitive=apart), table


def small_groups_of(model: Any) -> tuple[SmallGroups, ...]:
    """Return the groups that the constraints of a fitted ``FairAutoML`` leave out."""
    groups = getattr(getattr(model, "model_", None), "groups", None)
    return groups.small_groups if isinstance(groups, GroupSchema) else ()


def table_of(X: Any) -> pd.DataFrame:
    """Return X as a DataFrame with a plain index and text as names."""
    if isinstance(X, pd.DataFrame):
        table = X.reset_index(drop=True)
        table.columns = pd.Index([str(name) for name in X.columns])
        return table
    if is_frame(X):
        return pd.DataFrame(frame_columns(X, "X"))
    values = np.asarray(X)
    if values.ndim != 2:
        raise InputError(f"X must have two dimensions, found shape {values.shape}.")
    return pd.DataFrame(values, columns=[f"x{at}" for at in range(values.shape[1])])


class UnsupportedModel(Exception):
    """Raised if the structure of a model is unknown; the message names the part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origin:
    """Dependence of a column inside a pipeline on the columns of the table."""

    of: frozenset[str]  # columns of the table that the column depends on
    slope: float | None = None  # factor if the column is an affine function of one column


def last_step(model: Any) -> Any:
    """Return the estimator at the end of a pipeline, or the model itself."""
    return model.steps[-1][1] if isinstance(model, Pipeline) else model


def slopes_of(model: Any, table: pd.DataFrame, noisy: Mapping[str, float]) -> NDArray[np.float64]:
    """Return the slope of each input column of the last step in each noisy column."""
    origins = [_Origin(of=frozenset([str(name)]), slope=1.0) for name in table.columns]
    if isinstance(model, Pipeline):
        for _, step in model.steps[:-1]:
            origins = _through(step, origins)
    found = np.zeros((len(origins), len(noisy)))
    for at, name in enumerate(noisy):
        for column, origin in enumerate(origins):
            if name in origin.of and origin.slope is None:
                msg = f"column {name!r} goes through a step that is not a linear scaler"
                raise UnsupportedModel(msg)
            if name in origin.of and origin.slope is not None:
                found[column, at] = origin.slope
    return found


def prepared_values(model: Any, table: Any) -> NDArray[np.float64]:
    """Return the numeric input of the last step."""
    several = isinstance(model, Pipeline) and len(model.steps) > 1
    values = model[:-1].transform(table) if several else table
    if sparse.issparse(values):
        values = values.toarray()
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UnsupportedModel("the model takes columns that are no numbers") from None


def _through(step: Any, origins: list[_Origin]) -> list[_Origin]:
    """Return the dependence of the output columns of a fitted step."""
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return origins
    if isinstance(step, FunctionTransformer) and step.func is None:
        return origins
    if isinstance(step, Pipeline):
        for _, inner in step.steps:
            origins = _through(inner, origins)
        return origins
    if isinstance(step, ColumnTransformer):
        return _columns(step, origins)
    if isinstance(step, SimpleImputer):
        return _imputed(step, origins)
    factors = _factors(step, len(origins))
    if factors is None:
        return _opaque(step, origins)
    return [
        origin if origin.slope is None else replace(origin, slope=origin.slope * float(factor))
        for origin, factor in zip(origins, factors, strict=True)
    ]


def _factors(step: Any, n_columns: int) -> NDArray[np.float64] | None:
    """Return the factor of a scaler for each column, or None for another step."""
    if isinstance(step, MinMaxScaler):
        return None if step.clip else np.asarray(step.scale_)
    if isinstance(step, MaxAbsScaler) and getattr(step, "clip", False):
        return None
    if isinstance(step, StandardScaler | MaxAbsScaler | RobustScaler):
        scale = getattr(step, "scale_", None)
        return np.ones(n_columns) if scale is None else 1.0 / np.asarray(scale)
    return None


def _imputed(step: SimpleImputer, origins: list[_Origin]) -> list[_Origin]:
    if step.statistics_.dtype.kind == "f" and np.isnan(step.statistics_).any():
        return _opaque(step, origins)
    if not step.add_indicator:
        return origins
    # Noise does not make a value missing, so the indicators are constant.
    return [*origins, *(_Origin(of=frozenset()) for _ in step.indicator_.features_)]


def _columns(step: ColumnTransformer, origins: list[_Origin]) -> list[_Origin]:
    inputs = step._transformer_to_input_indices
    width = max(part.stop for part in step.output_indices_.values())
    found = [_Origin(of=frozenset())] * width
    for name, inner, _ in step.transformers_:
        part = step.output_indices_.get(name, slice(0, 0))
        if part.stop == part.start or (isinstance(inner, str) and inner == "drop"):
            continue
        behind = _through(inner, [origins[at] for at in inputs[name]])
        size = part.stop - part.start
        found[part] = behind if len(behind) == size else _all_of(behind, size)
    return found


def _opaque(step: Any, origins: list[_Origin]) -> list[_Origin]:
    names = getattr(step, "get_feature_names_out", None)
    size = len(origins) if names is None else len(names())
    return _all_of(origins, size)


def _all_of(origins: list[_Origin], size: int) -> list[_Origin]:
    of = frozenset().union(*(origin.of for origin in origins))
    return [_Origin(of=of)] * size
