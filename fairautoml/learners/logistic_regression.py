"""Logistic and ridge regression on one-hot categories and scaled or piecewise linear numbers."""

from collections.abc import Mapping
from typing import Any

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
            fill = SimpleImputer(strategy="mean", keep_empty_features=True)
            return Pipeline([("fill", fill), ("scale", MaxAbsScaler())])
        categorical = list(self.feature_schema.categorical)
        numeric = [
            at for at in range(self.feature_schema.n_features) if at not in set(categorical)
        ]
        encoders = [
            ("numbers", _numbers(self.params.get("numeric", "scaled")), numeric),
            ("categories", _categories(self.params.get("min_frequency", 10)), categorical),
        ]
        return ColumnTransformer([encoder for encoder in encoders if encoder[2]])

    def _weight(self, weight: NDArray[Any] | None) -> dict[str, Any]:
        return {"model__sample_weight": weight}


class LogisticRegressionBinary(_Linear, SklearnClassifier):
    """L2-regularised logistic regression.

    ``params`` are ``C``, ``max_iter``, ``min_frequency`` (rows below which a category is rare)
    and ``numeric`` (``"scaled"`` or ``"piecewise"``).
    """


class LogisticRegressionMulticlass(_Linear, SklearnMulticlass):
    """L2-regularised multinomial logistic regression."""


class RidgeNumbers(_Linear, SklearnRegressor):
    """Ridge regression; ``C`` is the weight of half the squared errors against the penalty."""

    def _model(self) -> Any:
        # LSQR supports sparse one-hot columns and does not depend on their order.
        return Ridge(alpha=1.0 / float(self.params.get("C", 1.0)), solver="lsqr", tol=1e-6)


LEARNER = Learner(
    name="logistic_regression",
    build=LogisticRegressionBinary,
    build_multiclass=LogisticRegressionMulticlass,
    build_regressor=RidgeNumbers,
    handles_sparse=True,
)
