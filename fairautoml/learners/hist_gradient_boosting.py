"""scikit-learn's histogram gradient boosting, with fast prediction of few rows.

scikit-learn checks and encodes the rows of every call through a ColumnTransformer and joblib,
which for one row takes several times as long as the trees.
"""

from abc import abstractmethod
from collections.abc import Sequence, Sized
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from fairautoml.exceptions import NotPortableError
from fairautoml.learners._base import (
    EmptyColumns,
    Learner,
    SklearnClassifier,
    SklearnMulticlass,
    SklearnRegressor,
    SklearnTraining,
)
from fairautoml.portable import Dump, Positions, Sums, Tree
from fairautoml.threads import one_thread

N_COMPARED = 50
"""Training rows on which the sums are checked against scikit-learn's."""

FEW_ROWS = 16
"""Most rows that walk all trees at once; more are faster one tree after the other."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DirectTrees:
    """Sums of the trees, bitwise equal to scikit-learn's."""

    # columns in the order of the trees, categories first
    order: NDArray[np.intp]  # shape (n_features,)
    # per category column the position of each code, NaN for an unknown code; the last entry is
    # that of missing values
    positions: tuple[NDArray[np.float64], ...]
    baseline: NDArray[np.float64]  # shape (1, n_sums): initial value of the sums
    trees: tuple[tuple[Any, ...], ...]  # one tree per sum for each iteration
    bins: Any  # scikit-learn's bin mapper; trees walk bytes faster than numbers

    def sums(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the raw predictions, shape (n_rows, n_sums), on one thread."""
        rows = np.take(X, self.order, axis=1).astype(np.float64)
        for at, positions in enumerate(self.positions):
            codes, last = rows[:, at], len(positions) - 1
            # NaN compares false and gets the last entry, that of missing values.
            rows[:, at] = positions[np.where(codes < last, codes, last).astype(np.intp)]
        binned, missing = self.bins.transform(rows), self.bins.missing_values_bin_idx_
        if 0 < len(rows) <= FEW_ROWS:
            return self._few_sums(binned, missing)
        found = np.zeros((len(rows), self.baseline.shape[1]), order="F")
        found += self.baseline
        for iteration in self.trees:
            for at, tree in enumerate(iteration):
                found[:, at] += tree.predict_binned(binned, missing, 1)
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Drop the cached arrays."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @cached_property
    def _joined(self) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[Any], NDArray[np.int64]]:
        """Nodes of all trees, the first node of each, and the same of the category sets."""
        trees = [tree for iteration in self.trees for tree in iteration]
        nodes = [tree.nodes for tree in trees]
        sets = [tree.binned_left_cat_bitsets for tree in trees]
        return np.concatenate(nodes), _starts(nodes), np.concatenate(sets), _starts(sets)

    def _few_sums(self, binned: NDArray[np.uint8], missing: int) -> NDArray[np.float64]:
        nodes, starts, sets, set_starts = self._joined
        n_rows, n_sums = len(binned), self.baseline.shape[1]
        start, first_set = np.repeat(starts, n_rows), np.repeat(set_starts, n_rows)
        row, at = np.tile(np.arange(n_rows), len(starts)), start
        while True:
            node = nodes[at]
            leaf = node["is_leaf"] != 0
            if leaf.all():
                break
            value = binned[row, node["feature_idx"]]
            left = value <= node["bin_threshold"]
            if len(sets):
                split = np.flatnonzero(node["is_categorical"])
                code = value[split]
                bits = sets[first_set[split] + node["bitset_idx"][split], code >> 5]
                left[split] = (bits >> (code & 31)) & 1
            left = np.where(value == missing, node["missing_go_to_left"] != 0, left)
            at = np.where(leaf, at, start + np.where(left, node["left"], node["right"]))
        values = node["value"].reshape(-1, n_sums, n_rows)
        # Accumulated, as scikit-learn adds one tree after the other.
        each = np.concatenate([self.baseline.T.repeat(n_rows, axis=1)[None], values])
        return np.add.accumulate(each, axis=0)[-1].T


def _starts(parts: Sequence[Sized]) -> NDArray[np.int64]:
    """Return the position of each part in all parts joined."""
    return np.cumsum([0, *(len(part) for part in parts[:-1])])


def direct_trees(model: Any, X: NDArray[np.floating]) -> DirectTrees | None:
    """Return the trees of a fitted booster, None if scikit-learn's format is unknown."""
    try:
        trees = _read(model)
        same = np.array_equal(trees.sums(X[:N_COMPARED]), model._raw_predict(X[:N_COMPARED]))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None
    return trees if same else None


def _read(model: Any) -> DirectTrees:
    categorical = np.zeros(model.n_features_in_, dtype=np.bool_)
    positions: tuple[NDArray[np.float64], ...] = ()
    if model._preprocessor is not None:
        categorical = model.is_categorical_
        encoder = model._preprocessor.named_transformers_["encoder"]
        positions = tuple(_positions(codes) for codes in encoder.categories_)
    return DirectTrees(
        order=np.argsort(~categorical, kind="stable"),
        positions=positions,
        baseline=model._baseline_prediction,
        trees=tuple(tuple(iteration) for iteration in model._predictors),
        bins=model._bin_mapper,
    )


def _positions(codes: NDArray[np.floating]) -> NDArray[np.float64]:
    codes = codes[~np.isnan(codes)].astype(np.intp)
    found = np.full(codes.max(initial=-1) + 2, np.nan)
    found[codes] = np.arange(len(codes))
    return found


def _known(positions: NDArray[np.float64], n_codes: int) -> NDArray[np.float64]:
    """Return the position of each code, NaN for one that is read as missing."""
    codes = np.minimum(np.arange(n_codes), len(positions) - 1)
    return positions[codes]


def histogram_tree(tree: Any, known: Sequence[NDArray[np.float64]]) -> Tree:
    """Return a tree; ``known`` holds the position of each code of each categorical feature."""
    nodes, bits = tree.nodes, tree.raw_left_cat_bitsets
    leaf, missing = nodes["is_leaf"].astype(bool), nodes["missing_go_to_left"].astype(bool)
    categories = {
        int(node): _left_codes(
            known[int(nodes["feature_idx"][node])], bits[nodes["bitset_idx"][node]], missing[node]
        )
        for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf)
    }
    return Tree(
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"],
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        missing_left=missing,
        value=nodes["value"],
        categories=categories,
    )


def _left_codes(known: NDArray[np.float64], bits: NDArray[np.uint32], missing: bool) -> list[int]:
    """Return the codes that go left; unknown ones go where missing values go."""
    absent = np.isnan(known)
    at = np.where(absent, 0, known).astype(np.int64)
    inside = ((bits[at // 32] >> (at % 32).astype(np.uint32)) & 1).astype(bool)
    return np.flatnonzero(np.where(absent, missing, inside)).tolist()


MOST_CATEGORIES = 255
"""Most categories of a categorical feature that scikit-learn accepts."""


class _Boosting(SklearnTraining):
    """Histogram gradient boosting on category codes."""

    trees_: DirectTrees | None
    kind: type[Any] = HistGradientBoostingClassifier
    link = "logistic"

    def _estimator(self, n_rows: int) -> Any:
        schema = self.feature_schema
        few = [at for at in schema.native if schema.n_codes[at] <= MOST_CATEGORIES]
        categorical = np.zeros(schema.n_features, dtype=bool)
        categorical[few] = True
        return self.kind(
            **self.params,
            categorical_features=categorical,
            early_stopping=False,
            random_state=self.seed,
        )

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Any:
        self.empty_ = EmptyColumns(X)
        filled = self.empty_.fill(X)
        model = super()._train(filled, y, weight)
        with one_thread():
            self.trees_ = direct_trees(model, filled)
        return model

    def _direct(self, X: Any) -> NDArray[np.floating] | None:
        return None if self.trees_ is None else self._linked(self.trees_.sums(self.empty_.fill(X)))

    @abstractmethod
    def _linked(self, sums: NDArray[np.float64]) -> NDArray[np.floating]:
        """Return the scores."""

    @property
    def n_trees_(self) -> int:
        """Number of trees."""
        return 0 if self.model_ is None else sum(map(len, self.model_._predictors))

    def _dump(self, out: Dump, columns: Positions) -> int:
        # Trees never split on an empty column.
        if self.trees_ is None:
            msg = "this version of scikit-learn's HistGradientBoosting has no portable form"
            raise NotPortableError(msg)
        direct, sizes = self.trees_, self.feature_schema.n_codes
        known = [
            _known(positions, sizes[int(column)])
            for positions, column in zip(direct.positions, direct.order, strict=False)
        ]
        trees = [histogram_tree(tree, known) for iteration in direct.trees for tree in iteration]
        before = tuple(direct.baseline[0].tolist())
        sums = Sums(link=self.link, n_classes=len(before), before=before)
        return out.trees(trees, columns[direct.order], sums)


class HistGradientBoostingBinary(_Boosting, SklearnClassifier):
    """Binary classifier; ``params`` have scikit-learn's names."""

    def _linked(self, sums: NDArray[np.float64]) -> NDArray[np.floating]:
        return self.model_._loss.predict_proba(sums)[:, 1]


class HistGradientBoostingMulticlass(_Boosting, SklearnMulticlass):
    """Multiclass classifier."""

    link = "softmax"

    def _linked(self, sums: NDArray[np.float64]) -> NDArray[np.floating]:
        return self.model_._loss.predict_proba(sums)


class HistGradientBoostingNumbers(_Boosting, SklearnRegressor):
    """Regressor with squared error."""

    kind = HistGradientBoostingRegressor
    link = "identity"

    def _linked(self, sums: NDArray[np.float64]) -> NDArray[np.floating]:
        return sums[:, 0]


LEARNER = Learner(
    name="hist_gradient_boosting",
    build=HistGradientBoostingBinary,
    build_multiclass=HistGradientBoostingMulticlass,
    build_regressor=HistGradientBoostingNumbers,
    native_categories=True,
)
