"""LightGBM: gradient boosted trees grown leaf by leaf, with native categories up to 20."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.learners._base import (
    BinaryClassifier,
    Binned,
    Learner,
    MulticlassClassifier,
    Regressor,
    RoundBooster,
    stopping_parts,
)
from fairautoml.learners._lightgbm import dump_booster
from fairautoml.portable import Dump, Positions
from fairautoml.registry import missing_library
from fairautoml.threads import n_threads

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


class _Booster(RoundBooster):
    """A LightGBM booster on category codes; unknown codes go where unnamed categories go."""

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> lightgbm.Booster:
        fixed = {
            **self._objective(),
            "num_threads": n_threads(),
            "verbosity": -1,
            "seed": self.seed,
            "deterministic": True,
            # By default LightGBM times both layouts, and the sums differ in the last bits.
            "force_col_wise": True,
        }
        rows = self._rows(X, y, weight)
        params = {**_BINS, **self._given, **fixed}
        if self._patience == 0:
            return _trees(lightgbm.train(params, rows, num_boost_round=self._rounds))
        learned, held = (_part(rows, part, y, weight) for part in stopping_parts(y, self.seed))
        stop = lightgbm.early_stopping(self._patience, verbose=False)
        model = lightgbm.train(params, learned, self._rounds, valid_sets=[held], callbacks=[stop])
        return _trees(model, model.best_iteration)

    def _rows(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> lightgbm.Dataset:
        """Return the binned rows with these labels and weights, from the cache if possible."""
        bins = {**_BINS, **{key: at for key, at in self._given.items() if key not in _TREES}}
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

    @property
    def n_trees_(self) -> int:
        """Number of trees."""
        return 0 if self.model_ is None else int(self.model_.num_trees())

    def _predicted(self, X: Any) -> NDArray[np.floating]:
        # Prediction does not use the number of threads set for training.
        return self.model_.predict(X, num_threads=n_threads())

    def _dump(self, out: Dump, columns: Positions) -> int:
        return dump_booster(self.model_, out, columns)


class LightGBMBinary(_Booster, BinaryClassifier):
    """Binary classifier; ``params`` have LightGBM's names."""

    objective = "binary"


class LightGBMMulticlass(_Booster, MulticlassClassifier):
    """Multiclass classifier (softmax)."""

    objective = "multiclass"


class LightGBMNumbers(_Booster, Regressor):
    """Regressor with squared error."""

    objective = "regression"


def _trees(model: lightgbm.Booster, rounds: int | None = None) -> lightgbm.Booster:
    """Return the first rounds of a booster, or all, without its training state.

    A booster counts how often its binned rows received labels, so that pickles of equal models
    would depend on the earlier trainings of the process.
    """
    return lightgbm.Booster(model_str=model.model_to_string(num_iteration=rounds))


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


LEARNER = Learner(
    name="lightgbm",
    build=LightGBMBinary,
    build_multiclass=LightGBMMulticlass,
    build_regressor=LightGBMNumbers,
    handles_sparse=True,
    shares_rows=True,
    native_categories=True,
)
