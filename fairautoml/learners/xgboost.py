"""XGBoost: gradient boosted trees on histograms, with native categories up to 20."""

import json
import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.exceptions import NotPortableError
from fairautoml.learners._base import (
    BinaryClassifier,
    Binned,
    Learner,
    MulticlassClassifier,
    Regressor,
    RoundBooster,
    stopping_parts,
)
from fairautoml.portable import Dump, Positions, Sums, Tree
from fairautoml.registry import missing_library
from fairautoml.threads import n_threads

try:
    import xgboost
# Without OpenMP on macOS the import raises an XGBoostError, which is a ValueError.
except (ImportError, OSError, ValueError) as error:
    package = "xgboost" if sys.platform == "darwin" else "xgboost-cpu"
    raise missing_library("learner 'xgboost'", "xgboost", package, error) from error

_BINNED: Binned[xgboost.QuantileDMatrix] = Binned()


class _Booster(RoundBooster):
    """An XGBoost booster on category codes.

    The codes come from the feature schema, so that a table with fewer categories than the training
    table does not change their meaning.
    """

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> xgboost.Booster:
        fixed = {
            **self._objective(),
            "tree_method": "hist",
            "nthread": n_threads(),
            "verbosity": 0,
            "seed": self.seed,
        }
        given = self._given
        if given.get("grow_policy") == "lossguide":
            # Such trees are limited by their leaves, not by the default depth of 6.
            given.setdefault("max_depth", 0)
        params = {**given, **fixed}
        if self._patience == 0:
            return xgboost.train(params, self._rows(X, y, weight), self._rounds)
        learned, held = (
            self._matrix(X[part], y[part], None if weight is None else weight[part])
            for part in stopping_parts(y, self.seed)
        )
        model = xgboost.train(
            params,
            learned,
            self._rounds,
            evals=[(held, "held")],
            early_stopping_rounds=self._patience,
            verbose_eval=False,
        )
        return model[: model.best_iteration + 1]

    def _rows(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> xgboost.DMatrix:
        """Return the rows with these labels and weights, from the cache if possible.

        Weights change the bins, so weighted rows are binned for each training.
        """
        if weight is not None:
            return self._matrix(X, y, weight)
        bins = int(self.params.get("max_bin", 256))
        columns = self._columns()

        def make() -> xgboost.QuantileDMatrix:
            return xgboost.QuantileDMatrix(X, max_bin=bins, **columns)

        rows = _BINNED.get(X, (self.feature_schema.native, bins), make)
        rows.set_info(label=y)
        return rows

    def _matrix(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> xgboost.DMatrix:
        return xgboost.DMatrix(X, label=y, weight=weight, **self._columns())

    def _columns(self) -> dict[str, Any]:
        categorical = frozenset(self.feature_schema.native)
        return {
            "missing": np.nan,
            "feature_types": [
                "c" if at in categorical else "q" for at in range(self.feature_schema.n_features)
            ],
            "enable_categorical": True,
            "nthread": 1,
        }

    @property
    def n_trees_(self) -> int:
        """Number of trees."""
        if self.model_ is None:
            return 0
        return self.model_.num_boosted_rounds() * self._objective().get("num_class", 1)

    def _predicted(self, X: Any) -> NDArray[np.floating]:
        return self.model_.inplace_predict(X, missing=np.nan)

    def _dump(self, out: Dump, columns: Positions) -> int:
        # The absent values of a sparse matrix are missing to XGBoost.
        return dump_booster(self.model_, out, out.absent(columns))


class XGBoostBinary(_Booster, BinaryClassifier):
    """Binary classifier; ``params`` have XGBoost's names."""

    objective = "binary:logistic"


class XGBoostMulticlass(_Booster, MulticlassClassifier):
    """Multiclass classifier (softmax)."""

    objective = "multi:softprob"


class XGBoostNumbers(_Booster, Regressor):
    """Regressor with squared error."""

    objective = "reg:squarederror"


_LINKS = {
    "binary:logistic": "logistic32",
    "multi:softprob": "shares32",
    "reg:squarederror": "identity",
}


def dump_booster(booster: xgboost.Booster, out: Dump, columns: Positions) -> int:
    """Write the trees of a booster and return their node."""
    learner, trees = xgboost_trees(booster)
    objective = learner["objective"]["name"]
    if objective not in _LINKS:
        raise NotPortableError(f"XGBoost's objective {objective!r} has no portable form")
    starts = learner["learner_model_param"]["base_score"].strip("[]").split(",")
    sums = Sums(
        link=_LINKS[objective],
        n_classes=len(starts),
        before=tuple(_margin(np.float32(start), objective) for start in starts),
        single=True,
    )
    return out.trees(trees, columns, sums)


def xgboost_trees(booster: xgboost.Booster) -> tuple[dict[str, Any], list[Tree]]:
    """Return a model as XGBoost writes it, and its trees."""
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    model = learner["gradient_booster"]
    if model["name"] != "gbtree":
        raise NotPortableError(f"XGBoost's {model['name']} has no portable form")
    return learner, [_tree(tree) for tree in model["model"]["trees"]]


def _margin(start: np.float32, objective: str) -> float:
    """Return the start of the sums as XGBoost computes it."""
    if objective != "binary:logistic":
        return float(start)
    odds = np.float32(1) / start - np.float32(1)
    return -float(np.float32(math.log(odds)))


def _tree(found: Mapping[str, Any]) -> Tree:
    left, right = np.array(found["left_children"]), np.array(found["right_children"])
    values = np.array(found["split_conditions"], dtype=np.float32)
    default = np.array(found["default_left"], dtype=bool)
    categorical = np.array(found["split_type"], dtype=bool)
    # Codes of a set go right.
    left, right = np.where(categorical, right, left), np.where(categorical, left, right)
    sets = zip(found["categories_nodes"], found["categories_segments"],
               found["categories_sizes"], strict=True)  # fmt: skip
    return Tree(
        feature=np.array(found["split_indices"]),
        # Values below the threshold go left: values up to the number before it.
        threshold=np.nextafter(values, np.float32(-np.inf)),
        left=left,
        right=right,
        missing_left=np.where(categorical, ~default, default),
        value=values,
        categories={node: found["categories"][at : at + size] for node, at, size in sets},
    )


LEARNER = Learner(
    name="xgboost",
    build=XGBoostBinary,
    build_multiclass=XGBoostMulticlass,
    build_regressor=XGBoostNumbers,
    handles_sparse=True,
    shares_rows=True,
    native_categories=True,
)
