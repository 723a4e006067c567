"""Logistic and ridge regression on one-hot categories and scaled or piecewise linear numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder, StandardScaler

from fairautoml.data.dataset import FeatureSchema
from fairautoml.learners._base import (
    Learner,
    ParamValue,
    SklearnClassifier,
    SklearnMulticlass,
    SklearnRegressor,
    SklearnTraining,
)
from fairautoml.learners._linear import PiecewiseLinearEncoder
from fairautoml.portable import Dump, Positions

MAX_CATEGORIES = 200
"""Largest number of one-hot columns per category column; rarer categories share one."""


def _numbers(numeric: ParamValue) -> Pipeline:
    scaled = StandardScaler()
    steps = {
        "scaled": scaled,
        "piecewise": FeatureUnion([("scaled", scaled), ("bent", PiecewiseLinearEncoder())]),
    }
    fill = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    return Pipeline([("fill", fill), ("numbers", steps[str(numeric)])])


def _categories(min_frequency: ParamValue) -> OneHotEncoder:
    return OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        min_frequency=min_frequency,
        max_categories=MAX_CATEGORIES,
    )


class _Linear(SklearnTraining):
    """L2-regularised linear model; missing values are a category, or imputed with an indicator."""

    params: Mapping[str, ParamValue]
    feature_schema: FeatureSchema

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
        categorical = list(self.feature_schema.categorical)
        numeric = [
            at for at in range(self.feature_schema.n_features) if at not in set(categorical)
        ]
        bent = not self.feature_schema.linear_only
        encoders = [
            (
                "numbers",
                _numbers(self.params.get("numeric", "scaled") if bent else "scaled"),
                numeric,
            ),
            ("categories", _categories(self.params.get("min_frequency", 10)), categorical),
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
        return fitted

    def _dump(self, out: Dump, columns: Positions) -> int:
        model: Pipeline = self.model_
        encoders, last = model.named_steps["columns"], model.named_steps["model"]
        coef = np.atleast_2d(last.coef_)
        intercept = np.broadcast_to(last.intercept_, coef.shape[:1]).astype(coef.dtype)
        about = {"intercept": intercept, "link": self.link}
        if self.feature_schema.sparse:
            scale = 1.0 / encoders.named_steps["scale"].scale_
            return out.node("sparse", {**about, "columns": columns, "factor": scale, "coef": coef})
        parts = {name: (fitted, np.array(at)) for name, fitted, at in encoders.transformers_}
        numbers, codes = parts.get("numbers"), parts.get("categories")
        content: dict[str, Any] = {**about, "numbers": None, "categories": []}
        n_numbers = coef.shape[1]
        if codes is not None:
            encoder, at = codes
            n_numbers -= int(sum(encoder._n_features_outs))
            content["categories"] = _tables(encoder, coef[:, n_numbers:], columns[at])
        if numbers is not None:
            pipeline, at = numbers
            content["numbers"] = {**_scaling(pipeline), "columns": columns[at]}
        return out.node("linear", {**content, "coef": coef[:, :n_numbers]})


def _scaling(pipeline: Pipeline) -> dict[str, Any]:
    """Return how numbers are filled, scaled and cut into pieces."""
    fill, scaled = pipeline.named_steps["fill"], pipeline.named_steps["numbers"]
    edges: list[NDArray[np.float64]] = []
    if isinstance(scaled, FeatureUnion):
        both = dict(scaled.transformer_list)
        scaled, edges = both["scaled"], both["bent"].edges_
    return {
        "fill": np.nan_to_num(fill.statistics_.astype(np.float32)),
        "flags": fill.indicator_.features_.astype(np.int32),
        "mean": scaled.mean_.astype(np.float32),
        "scale": scaled.scale_.astype(np.float32),
        "edges": edges,
    }


def _tables(
    encoder: OneHotEncoder, coef: NDArray[Any], columns: Positions
) -> list[dict[str, Any]]:
    """Return what each code of each column adds to the sums; the last entry is that of missing."""
    n_codes = max(int(np.nanmax(known, initial=-1)) for known in encoder.categories_) + 1
    codes = np.append(np.arange(n_codes, dtype=np.float32), np.float32(np.nan))
    grid = np.repeat(codes[:, None], len(columns), axis=1)
    shown = encoder.transform(grid).toarray()
    edges = np.cumsum([0, *encoder._n_features_outs])
    return [
        {"column": column, "values": shown[:, a:b] @ coef[:, a:b].T.astype(np.float64)}
        for column, a, b in zip(columns, edges[:-1], edges[1:], strict=True)
    ]


class LogisticRegressionBinary(_Linear, SklearnClassifier):
    """L2-regularised logistic regression.

    ``params`` are ``C``, ``max_iter``, ``min_frequency`` (rows below which a category is rare)
    and ``numeric`` (``"scaled"`` or ``"piecewise"``).
    """


class LogisticRegressionMulticlass(_Linear, SklearnMulticlass):
    """L2-regularised multinomial logistic regression."""

    link = "softmax"


class RidgeNumbers(_Linear, SklearnRegressor):
    """Ridge regression; ``C`` is the weight of half the squared errors against the penalty."""

    link = "identity"

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
