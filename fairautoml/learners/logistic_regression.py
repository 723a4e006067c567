"""Logistic and ridge regression on one-hot categories and scaled or piecewise linear numbers."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder, StandardScaler
from sklearn.utils.extmath import softmax

from fairautoml.learners._base import (
    MAX_CATEGORIES,
    Learner,
    SklearnClassifier,
    SklearnMulticlass,
    SklearnRegressor,
    SklearnTraining,
)
from fairautoml.portable import Dump, Positions
from fairautoml.records import ParamValue
from fairautoml.runtime._scores import linear_sums


class PiecewiseLinearEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Encodes a number by its relative position in each of its quantile bins.

    Component t of a number x is ``clip((x - b[t-1]) / (b[t] - b[t-1]), 0, 1)`` for bin edges b
    at quantiles: Gorishniy, Rubachev and Babenko (2022), "On Embeddings for Numerical Features in
    Tabular Deep Learning", equation 1, clipped at both ends. Half the edges are quantiles of the
    rows, half of the distinct values, so that a column that is mostly 0 has edges in its tail.
    """

    def __init__(self, n_bins: int = 12) -> None:
        self.n_bins = n_bins

    def fit(self, X: NDArray[np.floating], y: Any = None) -> Self:
        """Fit the bin edges."""
        shares = np.linspace(0.0, 1.0, self.n_bins + 1)
        self.edges_ = [_edges(column, shares) for column in np.asarray(X, dtype=np.float64).T]
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the components of all columns, shape (n_rows, total number of bins)."""
        parts = [
            np.clip((X[:, [at]] - edges[:-1]) / np.diff(edges), 0.0, 1.0)
            for at, edges in enumerate(self.edges_)
        ]
        return np.concatenate(parts, axis=1, dtype=np.float64)


def _edges(column: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    of_rows = np.quantile(column, shares)
    of_values = np.quantile(np.unique(column), shares)
    return np.unique(np.concatenate((of_rows, of_values)))


def _numbers(numeric: ParamValue) -> Pipeline:
    scaled = StandardScaler()
    steps = {
        "scaled": scaled,
        "piecewise": FeatureUnion([("scaled", scaled), ("bent", PiecewiseLinearEncoder())]),
    }
    fill = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    return Pipeline([("fill", fill), ("numbers", steps[str(numeric)])])


def _portable(model: Pipeline, *, multiclass: bool) -> dict[str, Any]:
    """Return a fitted pipeline of dense rows as the content of a node of the runtime."""
    last = model.named_steps["model"]
    coef = np.atleast_2d(last.coef_)
    intercept = np.broadcast_to(last.intercept_, coef.shape[:1])
    if multiclass and len(coef) == 1:
        # Two of the classes are known: the softmax needs a sum for each.
        coef, intercept = (np.concatenate([0 * one, one]) for one in (coef, intercept))
    encoders = model.named_steps["columns"].transformers_
    fitted = {name: (part, at) for name, part, at in encoders}
    tables: list[dict[str, Any]] = []
    n_numbers = coef.shape[1]
    if "categories" in fitted:
        encoder, places = fitted["categories"]
        n_numbers -= int(sum(encoder._n_features_outs))
        tables = _tables(encoder, coef[:, n_numbers:], places)
    return {
        "numbers": _of_numbers(*fitted["numbers"]) if "numbers" in fitted else None,
        "categories": tables,
        "coef": coef[:, :n_numbers].copy(),
        "intercept": intercept,
    }


def _of_numbers(pipeline: Pipeline, columns: Sequence[int]) -> dict[str, Any]:
    fill, scaled = pipeline.named_steps["fill"], pipeline.named_steps["numbers"]
    edges: list[NDArray[np.float64]] = []
    if isinstance(scaled, FeatureUnion):
        (_, scaled), (_, bent) = scaled.transformer_list
        edges = bent.edges_
    return {
        "columns": np.array(columns),
        "fill": np.nan_to_num(fill.statistics_.astype(np.float32)),
        "flags": fill.indicator_.features_.astype(np.int32),
        "mean": scaled.mean_.astype(np.float32),
        "scale": scaled.scale_.astype(np.float32),
        "edges": edges,
    }


def _moved(content: dict[str, Any], columns: Positions) -> dict[str, Any]:
    """Return the content for a matrix in which the features have other positions."""
    numbers = content["numbers"]
    if numbers is not None:
        numbers = {**numbers, "columns": columns[numbers["columns"]]}
    tables = [{**table, "column": columns[table["column"]]} for table in content["categories"]]
    return {**content, "numbers": numbers, "categories": tables}


def _tables(
    encoder: OneHotEncoder, coef: NDArray[np.float64], places: Sequence[int]
) -> list[dict[str, Any]]:
    """Return what each code of each category column adds, the last entry for missing."""
    n_codes = max(int(np.nanmax(known, initial=-1)) for known in encoder.categories_) + 1
    codes = np.append(np.arange(n_codes, dtype=np.float32), np.float32(np.nan))
    grid = np.repeat(codes[:, None], len(places), axis=1)
    shown = encoder.transform(grid).toarray()
    edges = np.cumsum([0, *encoder._n_features_outs])
    return [
        {"column": place, "values": shown[:, a:b] @ coef[:, a:b].T}
        for place, a, b in zip(places, edges[:-1], edges[1:], strict=True)
    ]


BLOCK_ROWS = 8_192
"""Rows that are scored at once, so that their intermediate values stay in the cache."""


class _Linear(SklearnTraining):
    """L2-regularised linear model; missing values are a category, or imputed with an indicator."""

    direct_: dict[str, Any] | None = None

    def _estimator(self, n_rows: int) -> Pipeline:
        return Pipeline([("columns", self._columns()), ("model", self._model())])

    def _model(self) -> Any:
        return LogisticRegression(
            C=self.params.get("C", 1.0), max_iter=self.params.get("max_iter", 200)
        )

    def _columns(self) -> Any:
        if self.feature_schema.sparse:
            # Centring would make a sparse matrix dense.
            # A missing value is read like an absent one.
            fill = SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True)
            return Pipeline([("fill", fill), ("scale", MaxAbsScaler())])
        schema = self.feature_schema
        scaling = "scaled" if schema.linear_only else self.params.get("numeric", "scaled")
        categories = OneHotEncoder(
            handle_unknown="infrequent_if_exist",
            min_frequency=self.params.get("min_frequency", 10),
            max_categories=MAX_CATEGORIES,
        )
        encoders = [
            ("numbers", _numbers(scaling), schema.numeric),
            ("categories", categories, list(schema.categorical)),
        ]
        return ColumnTransformer([encoder for encoder in encoders if encoder[2]])

    def _weight(self, weight: NDArray[Any] | None) -> dict[str, Any]:
        return {"model__sample_weight": weight}

    link = "logistic"

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Pipeline:
        fitted: Pipeline = super()._train(X, y, weight)
        last = fitted.named_steps["model"]
        # In float32 the rounding of a row would depend on the number of rows.
        last.coef_ = np.asarray(last.coef_, dtype=np.float64)
        last.intercept_ = np.asarray(last.intercept_, dtype=np.float64)
        if not self.feature_schema.sparse:
            self.direct_ = _portable(fitted, multiclass=self.link == "softmax")
        return fitted

    def _direct(self, X: Any) -> NDArray[np.floating] | None:
        if self.direct_ is None:
            return None
        starts = range(0, max(len(X), 1), BLOCK_ROWS)
        sums = [linear_sums(self.direct_, X[at : at + BLOCK_ROWS]) for at in starts]
        return self._linked(np.concatenate(sums))

    def _linked(self, sums: NDArray[np.floating]) -> NDArray[np.floating]:
        return expit(sums[:, 0])

    def _dump(self, out: Dump, columns: Positions) -> int:
        if self.direct_ is not None:
            return out.node("linear", {**_moved(self.direct_, columns), "link": self.link})
        encoders, last = self.model_.named_steps["columns"], self.model_.named_steps["model"]
        coef = np.atleast_2d(last.coef_)
        content = {
            "columns": columns,
            "factor": 1.0 / encoders.named_steps["scale"].scale_,
            "coef": coef,
            "intercept": np.broadcast_to(last.intercept_, coef.shape[:1]),
            "link": self.link,
        }
        return out.node("sparse", content)


class LogisticRegressionBinary(_Linear, SklearnClassifier):
    """L2-regularised logistic regression.

    ``params`` are ``C``, ``max_iter``, ``min_frequency`` (rows below which a category is rare)
    and ``numeric`` (``"scaled"`` or ``"piecewise"``).
    """


class LogisticRegressionMulticlass(_Linear, SklearnMulticlass):
    """L2-regularised multinomial logistic regression."""

    link = "softmax"

    def _linked(self, sums: NDArray[np.floating]) -> NDArray[np.floating]:
        return softmax(sums, copy=False)


class RidgeNumbers(_Linear, SklearnRegressor):
    """Ridge regression; ``C`` is the weight of half the squared errors against the penalty."""

    link = "identity"

    def _linked(self, sums: NDArray[np.floating]) -> NDArray[np.floating]:
        return sums[:, 0]

    def _model(self) -> Any:
        # LSQR supports sparse one-hot columns and does not depend on their order.
        return Ridge(alpha=1.0 / float(self.params.get("C", 1.0)), solver="lsqr", tol=1e-6)


LEARNER = Learner(
    name="logistic_regression",
    build=LogisticRegressionBinary,
    build_multiclass=LogisticRegressionMulticlass,
    build_regressor=RidgeNumbers,
    handles_sparse=True,
    linear=True,
)
