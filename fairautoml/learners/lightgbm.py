"""LightGBM: gradient boosted trees grown leaf by leaf, with native categories up to 20."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureSchema
from fairautoml.exceptions import NotPortableError
from fairautoml.learners._base import (
    STOPPING,
    BinaryClassifier,
    Learner,
    MulticlassClassifier,
    ParamValue,
    Regressor,
    stopping_parts,
)
from fairautoml.learners._linear import Binned
from fairautoml.portable import Dump, Positions, Sums, Tree
from fairautoml.registry import missing_library

try:
    import lightgbm
# Without the system's OpenMP library the import raises an OSError.
except (ImportError, OSError) as error:
    raise missing_library("learner 'lightgbm'", "lightgbm", "lightgbm", error) from error

_BINNED: Binned[lightgbm.Dataset] = Binned()

_BINS = {
    # Otherwise features are dropped that a smaller min_data_in_leaf could still split.
    "feature_pre_filter": False,
    # Otherwise it follows the seed, and every configuration would sample other rows for its bins.
    "data_random_seed": 1,
}

_ROUNDS = frozenset({"n_estimators", STOPPING})

_TREES = frozenset(
    {
        "bagging_fraction",
        "bagging_freq",
        "boosting",
        "cat_l2",
        "cat_smooth",
        "data_sample_strategy",
        "extra_trees",
        "feature_fraction",
        "feature_fraction_bynode",
        "lambda_l1",
        "lambda_l2",
        "learning_rate",
        "max_cat_threshold",
        "max_cat_to_onehot",
        "max_depth",
        "min_data_in_leaf",
        "min_data_per_group",
        "min_gain_to_split",
        "min_sum_hessian_in_leaf",
        "num_leaves",
        "other_rate",
        "path_smooth",
        "scale_pos_weight",
        "top_rate",
    }
)
"""Parameters without effect on the bins; all others are part of the cache key."""


class _Booster:
    """A LightGBM booster on category codes.

    A category that is unknown at prediction is treated like the categories that no split names.
    """

    params: Mapping[str, ParamValue]
    feature_schema: FeatureSchema
    seed: int
    model_: Any

    def _objective(self, y: NDArray[Any]) -> dict[str, Any]:
        """Return the parameters of the objective for these labels."""
        del y
        return {"objective": "binary"}

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> lightgbm.Booster:
        fixed = {
            **self._objective(y),
            "num_threads": 1,
            "verbosity": -1,
            "seed": self.seed,
            "deterministic": True,
            # By default LightGBM times both layouts, and the sums differ in the last bits.
            "force_col_wise": True,
        }
        # Given as an argument, because LightGBM warns about it among the parameters.
        given = {key: value for key, value in self.params.items() if key not in _ROUNDS}
        rounds = int(self.params.get("n_estimators", 100))
        patience = int(self.params.get(STOPPING, 0))
        rows = self._rows(X, y, weight)
        params = {**_BINS, **given, **fixed}
        if patience == 0:
            return _trees(lightgbm.train(params, rows, num_boost_round=rounds))
        learned, held = (_part(rows, part, y, weight) for part in stopping_parts(y, self.seed))
        stop = lightgbm.early_stopping(patience, verbose=False)
        model = lightgbm.train(params, learned, rounds, valid_sets=[held], callbacks=[stop])
        return _trees(model, model.best_iteration)

    def _rows(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> lightgbm.Dataset:
        """Return the binned rows with these labels and weights, from the cache if possible."""
        given = {
            key: at for key, at in self.params.items() if key not in _TREES | {"n_estimators"}
        }
        bins = {**_BINS, **given}
        categorical = self.feature_schema.native

        def make() -> lightgbm.Dataset:
            return lightgbm.Dataset(
                X,
                label=y,
                categorical_feature=list(categorical),
                params={**bins, "num_threads": 1, "verbosity": -1, "force_col_wise": True},
                free_raw_data=True,
            ).construct()

        rows = _BINNED.get(X, (categorical, tuple(sorted(bins.items()))), make)
        _set(rows, y, weight)
        return rows

    def _predicted(self, X: Any) -> NDArray[np.floating]:
        # Prediction does not use the number of threads set for training.
        scores: NDArray[np.floating] = self.model_.predict(X, num_threads=1)
        return scores

    def _dump(self, out: Dump, columns: Positions) -> int:
        return dump_booster(self.model_, out, columns)


class LightGBMBinary(_Booster, BinaryClassifier):
    """Binary classifier."""

    def _positive(self, X: Any) -> NDArray[np.floating]:
        return self._predicted(X)


class LightGBMMulticlass(_Booster, MulticlassClassifier):
    """Multiclass classifier (softmax)."""

    def _objective(self, y: NDArray[Any]) -> dict[str, Any]:
        return {"objective": "multiclass", "num_class": int(y.max()) + 1}

    def _shares(self, X: Any) -> NDArray[np.floating]:
        return self._predicted(X)


class LightGBMNumbers(_Booster, Regressor):
    """Regressor with squared error."""

    def _objective(self, y: NDArray[Any]) -> dict[str, Any]:
        return {"objective": "regression"}

    def _numbers(self, X: Any) -> NDArray[np.floating]:
        return self._predicted(X)


def _trees(model: lightgbm.Booster, rounds: int | None = None) -> lightgbm.Booster:
    """Return the first rounds of a booster, or all, without its training state.

    A booster counts how often its binned rows received labels, so that pickles of equal models
    would depend on the earlier trainings of the process.
    """
    return lightgbm.Booster(model_str=model.model_to_string(num_iteration=rounds))


_LINKS = {"binary sigmoid:1": "logistic", "multiclass": "shares", "regression": "identity"}
"""Link of each objective, by the beginning of its line in a stored model."""


def dump_booster(
    booster: lightgbm.Booster, out: Dump, columns: Positions, sums: Sums | None = None
) -> int:
    """Write the trees of a booster and return their node; the link is that of its objective."""
    head, *blocks = booster.model_to_string(num_iteration=-1).split("\nTree=")
    about = dict(line.partition("=")[::2] for line in head.splitlines())
    if "average_output" in head:
        raise NotPortableError("a LightGBM model of averaged trees has no portable form")
    n_classes = int(about["num_tree_per_iteration"])
    if sums is None:
        objective = about["objective"]
        link = next((link for name, link in _LINKS.items() if objective.startswith(name)), None)
        if link is None:
            msg = f"the LightGBM objective {objective!r} has no portable form"
            raise NotPortableError(msg)
        sums = Sums(link=link, n_classes=n_classes, before=(0.0,) * n_classes)
    return out.trees([_tree(block) for block in blocks], columns, sums)


def _tree(block: str) -> Tree:
    """Return a tree of the text of a model; leaves are numbered after the inner nodes."""
    lines = block.partition("\n\n")[0].splitlines()
    text = dict(line.partition("=")[::2] for line in lines[1:])

    def numbers(name: str, kind: type) -> NDArray[Any]:
        return np.array(text.get(name, "").split(), dtype=kind)

    leaves = numbers("leaf_value", np.float64)
    if len(leaves) == 1:
        nothing = np.zeros(0, dtype=np.int64)
        features = kinds = left = right = nothing
    else:
        features, kinds = numbers("split_feature", np.int64), numbers("decision_type", np.int64)
        left, right = numbers("left_child", np.int64), numbers("right_child", np.int64)
    n_inner, ends = len(features), np.full(len(leaves), -1)
    cuts = numbers("threshold", np.float64)[:n_inner]
    categorical, missing = (kinds & 1).astype(bool), (kinds >> 2) & 3
    if (missing[~categorical] == 1).any() or text.get("is_linear", "0") != "0":
        raise NotPortableError(
            "a LightGBM model with linear leaves, or that takes zeros for missing values, has no "
            "portable form"
        )
    # Without missing values in training they are read as 0; of categories they go right.
    default = np.where(missing == 2, (kinds & 2) > 0, cuts >= 0) & ~categorical
    return Tree(
        feature=np.concatenate([features, ends]),
        threshold=np.concatenate([np.where(categorical, 0.0, cuts), np.zeros(len(leaves))]),
        left=np.concatenate([np.where(left < 0, n_inner + ~left, left), ends]),
        right=np.concatenate([np.where(right < 0, n_inner + ~right, right), ends]),
        missing_left=np.concatenate([default, np.zeros(len(leaves), dtype=bool)]),
        value=np.concatenate([np.zeros(n_inner), leaves]),
        categories={
            int(node): _codes(numbers, int(cuts[node])) for node in np.flatnonzero(categorical)
        },
    )


def _codes(numbers: Callable[[str, type], NDArray[Any]], which: int) -> list[int]:
    """Return the codes that go left at a split, one bit each in words of 32 bits."""
    edges = numbers("cat_boundaries", np.int64)
    words = numbers("cat_threshold", np.int64)[edges[which] : edges[which + 1]]
    bits = (words[:, None] >> np.arange(32)) & 1
    found: list[int] = np.flatnonzero(bits.ravel()).tolist()
    return found


def _part(
    rows: lightgbm.Dataset, part: NDArray[np.int32], y: NDArray[Any], weight: NDArray[Any] | None
) -> lightgbm.Dataset:
    """Return a subset of the binned rows, in the same bins."""
    some = rows.subset(part.tolist()).construct()
    _set(some, y[part], None if weight is None else weight[part])
    return some


def _set(rows: lightgbm.Dataset, y: NDArray[Any], weight: NDArray[Any] | None) -> None:
    rows.set_label(y)
    # Not set_weight: with None or only ones it keeps the weights of the last training.
    plain = weight is None or (weight == 1.0).all()
    rows.set_field("weight", None if plain else weight)


def build(
    params: Mapping[str, ParamValue], feature_schema: FeatureSchema, seed: int
) -> LightGBMBinary:
    """Return an unfitted binary classifier; ``params`` have LightGBM's names."""
    return LightGBMBinary(params, feature_schema, seed)


def build_multiclass(
    params: Mapping[str, ParamValue], feature_schema: FeatureSchema, seed: int, n_classes: int
) -> LightGBMMulticlass:
    """Return an unfitted multiclass classifier."""
    return LightGBMMulticlass(params, feature_schema, seed, n_classes)


def build_regressor(
    params: Mapping[str, ParamValue], feature_schema: FeatureSchema, seed: int
) -> LightGBMNumbers:
    """Return an unfitted regressor."""
    return LightGBMNumbers(params, feature_schema, seed)


LEARNER = Learner(
    name="lightgbm",
    build=build,
    build_multiclass=build_multiclass,
    build_regressor=build_regressor,
    handles_sparse=True,
    shares_rows=True,
)
