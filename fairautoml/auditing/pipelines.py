"""How noise on the columns of a table reaches the last step of a scikit-learn pipeline."""

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


class Unreadable(Exception):
    """The structure of this model is not known here; the message says which part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a column inside a pipeline is made of."""

    of: frozenset[str]  # columns of the table that it depends on
    slope: float | None = None  # it is this times one column plus a constant


def last_step(model: Any) -> Any:
    """Return the estimator at the end of a pipeline, or the model itself."""
    return model.steps[-1][1] if isinstance(model, Pipeline) else model


def slopes_of(model: Any, table: pd.DataFrame, noisy: Mapping[str, float]) -> NDArray[np.float64]:
    """Return how far each column that the last step sees moves with each noisy column."""
    origins = [Origin(of=frozenset([str(name)]), slope=1.0) for name in table.columns]
    if isinstance(model, Pipeline):
        for _, step in model.steps[:-1]:
            origins = _through(step, origins)
    found = np.zeros((len(origins), len(noisy)))
    for at, name in enumerate(noisy):
        for column, origin in enumerate(origins):
            if name in origin.of and origin.slope is None:
                msg = f"column {name!r} goes through a step that is no change of scale"
                raise Unreadable(msg)
            if name in origin.of and origin.slope is not None:
                found[column, at] = origin.slope
    return found


def prepared_values(model: Any, table: Any) -> NDArray[np.float64]:
    """Return rows as the last step sees them, as numbers."""
    values = model[:-1].transform(table) if _has_steps(model) else table
    if sparse.issparse(values):
        values = values.toarray()
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise Unreadable("the model takes columns that are no numbers") from None


def _has_steps(model: Any) -> bool:
    return isinstance(model, Pipeline) and len(model.steps) > 1


def _through(step: Any, origins: list[Origin]) -> list[Origin]:
    """Return what the columns behind a fitted step are made of."""
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
    """Return what a scaler multiplies each column by, None for another step."""
    if isinstance(step, MinMaxScaler):
        return None if step.clip else np.asarray(step.scale_)
    if isinstance(step, MaxAbsScaler) and getattr(step, "clip", False):
        return None
    if isinstance(step, StandardScaler | MaxAbsScaler | RobustScaler):
        scale = getattr(step, "scale_", None)
        return np.ones(n_columns) if scale is None else 1.0 / np.asarray(scale)
    return None


def _imputed(step: SimpleImputer, origins: list[Origin]) -> list[Origin]:
    if step.statistics_.dtype.kind == "f" and np.isnan(step.statistics_).any():
        return _opaque(step, origins)
    if not step.add_indicator:
        return origins
    # Noise does not make a value missing, so the flags stay as they are.
    return [*origins, *(Origin(of=frozenset()) for _ in step.indicator_.features_)]


def _columns(step: ColumnTransformer, origins: list[Origin]) -> list[Origin]:
    inputs = step._transformer_to_input_indices
    width = max(part.stop for part in step.output_indices_.values())
    found = [Origin(of=frozenset())] * width
    for name, inner, _ in step.transformers_:
        part = step.output_indices_.get(name, slice(0, 0))
        if part.stop == part.start or (isinstance(inner, str) and inner == "drop"):
            continue
        behind = _through(inner, [origins[at] for at in inputs[name]])
        size = part.stop - part.start
        found[part] = behind if len(behind) == size else _all_of(behind, size)
    return found


def _opaque(step: Any, origins: list[Origin]) -> list[Origin]:
    names = getattr(step, "get_feature_names_out", None)
    size = len(origins) if names is None else len(names())
    return _all_of(origins, size)


def _all_of(origins: list[Origin], size: int) -> list[Origin]:
    of = frozenset().union(*(origin.of for origin in origins))
    return [Origin(of=of)] * size
