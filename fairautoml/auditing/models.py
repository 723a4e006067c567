"""Any model as something that decides rows of a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data._frames import frame_columns, is_frame
from fairautoml.data.groups import GroupSchema
from fairautoml.data.small_groups import SmallGroups
from fairautoml.data.target import known_labels
from fairautoml.exceptions import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearRule:
    """A rule that accepts when ``intercept + sum coefficient * column`` is above 0."""

    coefficients: Mapping[str, float]  # by column of numbers; other columns do not matter
    intercept: float = 0.0  # constant

    def margin(self, table: pd.DataFrame) -> NDArray[np.float64]:
        """Return the value that is compared with 0, shape (n_rows,)."""
        found = np.full(len(table), float(self.intercept))
        for name, coefficient in self.coefficients.items():
            found += coefficient * table[name].to_numpy(dtype=np.float64)
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decider:
    """A model with the way to ask it."""

    model: Any  # what decides
    classes: NDArray[Any]  # shape (2,): labels of 0 and 1
    named: bool = True  # it is given a DataFrame; else an array
    # columns of the table that it is given apart from the features
    sensitive: tuple[str, ...] = ()

    def features(self, table: pd.DataFrame) -> Any:
        """Return what the model takes for ``X``."""
        kept = table.drop(columns=list(self.sensitive))
        return kept if self.named else kept.to_numpy()

    def decide(self, table: pd.DataFrame) -> NDArray[np.int8]:
        """Return the decisions, 0 or 1, shape (n_rows,)."""
        if isinstance(self.model, LinearRule):
            return (self.model.margin(table) > 0).astype(np.int8)
        ask = getattr(self.model, "predict", self.model)
        features = self.features(table)
        answer = ask(features, table[list(self.sensitive)]) if self.sensitive else ask(features)
        try:
            return known_labels(_like(answer, self.classes), self.classes)
        except InputError as error:
            raise InputError(f"model: its predictions are no labels of y_true: {error}") from None


def _like(answer: Any, classes: NDArray[Any]) -> Any:
    """Write True and False as 1 and 0 where the labels are numbers."""
    values = np.asarray(answer)
    if values.dtype == np.bool_ and not isinstance(classes.tolist()[0], bool | str):
        return values.astype(np.int64)
    return answer


def decider_of(
    model: Any, X: Any, sensitive: "Mapping[str, pd.Series[Any]]", classes: NDArray[Any]
) -> tuple[Decider, pd.DataFrame]:
    """Return a model that can be asked, and the table that it is asked about."""
    if not (callable(model) or hasattr(model, "predict") or isinstance(model, LinearRule)):
        msg = (
            f"model is of type {type(model).__name__}; allowed are an object with predict(X), a "
            "function of X, or a LinearRule"
        )
        raise InputError(msg)
    named = is_frame(X)
    table = _table(X)
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
    return Decider(model=model, classes=classes, named=named, sensitive=apart), table


def small_groups_of(model: Any) -> tuple[SmallGroups, ...]:
    """Return the groups that the constraints of a fitted ``FairAutoML`` leave out."""
    groups = getattr(getattr(model, "model_", None), "groups", None)
    return groups.small_groups if isinstance(groups, GroupSchema) else ()


def _table(X: Any) -> pd.DataFrame:
    if isinstance(X, pd.DataFrame):
        table = X.reset_index(drop=True)
        table.columns = pd.Index([str(name) for name in X.columns])
        return table
    if is_frame(X):
        return pd.DataFrame(frame_columns(X, "X"))
    values = np.asarray(X)
    if values.ndim != 2:
        raise InputError(f"X must have two dimensions, found shape {values.shape}; give a table")
    return pd.DataFrame(values, columns=[f"x{at}" for at in range(values.shape[1])])
