"""Bound the decisions of linear models, trees and forests under noise."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.tree import DecisionTreeClassifier

from fairautoml.auditing.models import UnsupportedModel, last_step
from fairautoml.evaluation.fitting import CVEnsemble, FittedModel, LearnerModel
from fairautoml.exceptions import NotPortableError
from fairautoml.inference.predictor import Predictor
from fairautoml.learners._forest import sklearn_tree
from fairautoml.learners._lightgbm import lightgbm_trees
from fairautoml.learners.hist_gradient_boosting import MOST_CATEGORIES, histogram_tree
from fairautoml.mitigators import ScoreModel
from fairautoml.mitigators._group_program import CommonRule, ThresholdRule
from fairautoml.portable import Tree
from fairautoml.selection.ensemble import WeightedAverage
from fairautoml.settings import check_group_policy


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forest:
    """A sum of trees whose sign is the decision."""

    trees: tuple[Tree, ...]
    offset: float = 0.0  # added to the sum; the decision is 1 if the result is above 0
    single: bool = False  # values are rounded to float32 first
    rounding: float = 1e-12  # of the scores of the model, relative to the sizes of its leaves

    def bounds(
        self, low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the smallest and the largest sum of leaves that a box can reach, per row.

        These are the sums of the smallest and the largest reachable leaf of each tree. The true
        range may be smaller, because trees may not reach these leaves at a common point.
        """
        if self.single:
            low, high = low.astype(np.float32), high.astype(np.float32)
        least, most = np.full(len(low), self.offset), np.full(len(low), self.offset)
        for tree in self.trees:
            leaves = np.flatnonzero(tree.left < 0)
            reached = self._reached(tree, low, high)[:, leaves]
            values = tree.value[leaves]
            least += np.where(reached, values, np.inf).min(axis=1)
            most += np.where(reached, values, -np.inf).max(axis=1)
        return least, most

    def _reached(self, tree: Tree, low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which nodes each box reaches, shape (n_rows, n_nodes)."""
        found = np.zeros((len(low), len(tree.feature)), dtype=np.bool_)
        found[:, 0] = True
        nodes = np.flatnonzero(tree.left[:1] >= 0)
        while nodes.size:
            left, right = self._sides(tree, nodes, low, high)
            here = found[:, nodes]
            found[:, tree.left[nodes]] = here & left
            found[:, tree.right[nodes]] = here & right
            below = np.concatenate((tree.left[nodes], tree.right[nodes]))
            nodes = below[tree.left[below] >= 0]
        return found

    def _sides(
        self, tree: Tree, nodes: NDArray[np.integer], low: NDArray[Any], high: NDArray[Any]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which boxes reach the left and the right child of each node."""
        a, b = low[:, tree.feature[nodes]], high[:, tree.feature[nodes]]
        cut, absent = tree.threshold[nodes], np.isnan(a)
        left, right = a <= cut, b > cut
        for at in np.flatnonzero(np.isin(nodes, list(tree.categories))):
            inside = np.isin(a[:, at], list(tree.categories[int(nodes[at])]))
            moves = a[:, at] < b[:, at]
            left[:, at], right[:, at] = inside | moves, ~inside | moves
        default = tree.missing_left[nodes]
        return np.where(absent, default, left), np.where(absent, ~default, right)


Inside = Callable[[NDArray[Any]], NDArray[np.float64]]


def forest_of(
    estimator: Any, values: NDArray[Any], inside: Inside | None = None
) -> tuple[Forest, float]:
    """Return the trees of a fitted classifier, and the tolerance of their scores.

    The sums are compared with the scores of the model on the given rows; a mismatch raises
    ``UnsupportedModel``.
    """
    try:
        forest, raw = _read(estimator, values, coded=inside is not None)
    except NotPortableError as error:
        raise UnsupportedModel(str(error)) from error
    seen = values if inside is None else inside(values)
    sums = forest.bounds(seen, seen)[0]
    offset = float(np.median(raw - sums))
    apart = float(np.abs(raw - sums - offset).max())
    size = sum(float(np.abs(tree.value[tree.left < 0]).max()) for tree in forest.trees)
    size += abs(offset)
    if apart > 1e-5 * (1 + size):
        raise UnsupportedModel("the sums of the trees are not the scores of the model")
    return replace(forest, offset=offset), 4 * apart + forest.rounding * (1 + size)


def _read(
    estimator: Any, values: NDArray[Any], *, coded: bool
) -> tuple[Forest, NDArray[np.float64]]:
    """Return a forest without offset, and the scores of the model for the positive class."""
    if len(getattr(estimator, "classes_", (0, 1))) != 2:
        raise UnsupportedModel("the model does not decide between two classes")
    if isinstance(estimator, DecisionTreeClassifier):
        return _scaled([estimator], 1, 1.0), estimator.predict_proba(values)[:, 1] - 0.5
    if isinstance(estimator, RandomForestClassifier | ExtraTreesClassifier):
        forest = _scaled(estimator.estimators_, 1, 1 / len(estimator.estimators_))
        return forest, estimator.predict_proba(values)[:, 1] - 0.5
    if isinstance(estimator, GradientBoostingClassifier):
        forest = _scaled(estimator.estimators_[:, 0], 0, estimator.learning_rate)
        return forest, estimator.decision_function(values)
    if isinstance(estimator, HistGradientBoostingClassifier):
        return _histogram(estimator, coded=coded), estimator.decision_function(values)
    booster = getattr(estimator, "booster_", estimator)
    if hasattr(booster, "dump_model") and hasattr(booster, "num_trees"):
        return _lightgbm(booster), np.asarray(booster.predict(values, raw_score=True))
    if hasattr(estimator, "get_booster") or hasattr(estimator, "get_dump"):
        return _xgboost(estimator, values)
    raise UnsupportedModel(f"{type(estimator).__name__} is not a supported tree ensemble")


def _scaled(estimators: Sequence[Any], output: int, factor: float) -> Forest:
    trees = [sklearn_tree(estimator.tree_, output) for estimator in estimators]
    scaled = tuple(replace(tree, value=factor * tree.value) for tree in trees)
    return Forest(trees=scaled, single=True)


def _histogram(estimator: HistGradientBoostingClassifier, *, coded: bool) -> Forest:
    if getattr(estimator, "is_categorical_", None) is not None and not coded:
        raise UnsupportedModel("HistGradientBoostingClassifier with category columns")
    codes = [np.arange(float(MOST_CATEGORIES))] * estimator.n_features_in_
    return Forest(trees=tuple(histogram_tree(trees[0], codes) for trees in estimator._predictors))


def _lightgbm(booster: Any) -> Forest:
    about, trees = lightgbm_trees(booster, None)
    if about["num_tree_per_iteration"] != "1":
        raise UnsupportedModel("a LightGBM model of several scores per row")
    return Forest(trees=tuple(trees))


def _xgboost(estimator: Any, values: NDArray[np.float64]) -> tuple[Forest, NDArray[np.float64]]:
    from fairautoml.learners.xgboost import xgboost_trees

    get = getattr(estimator, "get_booster", None)
    booster = estimator if get is None else get()
    raw = booster.inplace_predict(values, predict_type="margin", validate_features=False)
    forest = Forest(trees=tuple(xgboost_trees(booster)[1]), single=True, rounding=1e-7)
    return forest, np.asarray(raw, dtype=np.float64)


SLACK = 1e-6
"""Widening of the range of scores, which have single precision."""

Scores = NDArray[np.float64]
Ends = tuple[Scores, Scores]
Link = Callable[[Scores], Scores]
Range = Callable[[Scores, Scores, Scores], Ends]
Box = tuple[Scores, Scores, Scores]
"""Smallest, given and largest values of encoded rows."""


Reach = Callable[[pd.DataFrame], Ends]
"""Maps rows to their smallest and largest score; the decision boundary is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _NoiseQuestion:
    """The classifier, and the settings for reading rows."""

    classifier: Predictor
    unseen: Any
    sensitive: tuple[str, ...]
    noise: dict[str, float]

    def read(self, rows: pd.DataFrame) -> tuple[Scores, NDArray[np.int32]]:
        """Return the encoded matrix and the cells, as in ``predict``."""
        apart = rows[list(self.sensitive)] if self.sensitive else None
        features = rows.drop(columns=list(self.sensitive))
        matrix, cells = self.classifier.read(features, apart, unseen=self.unseen)
        if not isinstance(matrix, np.ndarray):
            raise UnsupportedModel("a sparse matrix")
        return matrix, cells

    def box(self, rows: pd.DataFrame) -> tuple[Box, NDArray[np.int32]]:
        """Return the encoded rows with the ends of their noise."""
        matrix, cells = self.read(rows)
        low, high = (
            self.read(rows.assign(**{n: rows[n] + side * r for n, r in self.noise.items()}))[0]
            for side in (-1.0, 1.0)
        )
        moved = np.flatnonzero(((low != high) & ~np.isnan(matrix)).any(axis=0))
        apart = np.isnan(matrix) != np.isnan(low)
        ordered = (low <= matrix) & (matrix <= high) | np.isnan(matrix)
        categorical = set(self.classifier.schema.feature_schema.categorical)
        if apart.any() or not ordered.all() or categorical & set(moved.tolist()):
            raise UnsupportedModel("a column with noise is not read as a number")
        return (low, matrix, high), cells


def own_range(
    model: Any, rows: pd.DataFrame, noise: dict[str, float], sensitive: tuple[str, ...]
) -> tuple[Reach, str]:
    """Return the range of the decisions of a fitted estimator of this library under noise.

    The scores are decisions minus 0.5; the text names members that are bounded by [0, 1] only.
    Trees are bounded separately and linear models exactly. The mean of the ranges contains the
    range of the mean, which is sound but not tight. Decisions are monotone in the score, so the
    ends of the range suffice. The structure read is verified against the scores of the model.
    """
    classifier = model.model_
    rule = getattr(classifier, "rule", None)
    if not isinstance(rule, CommonRule | ThresholdRule) or rule.randomized:
        raise UnsupportedModel("the decision is not a threshold on a score")
    _refuse_moves_between_groups(classifier, {*noise}, {*sensitive})
    request = _NoiseQuestion(
        classifier=classifier,
        unseen=check_group_policy(model.group_policy).unseen,
        sensitive=sensitive,
        noise=noise,
    )
    box, cells = request.box(rows)
    members: list[tuple[_Member | None, float]] = []
    unread: list[tuple[str, float]] = []
    for fitted, share in _members(classifier.models):
        try:
            members.append((_Member(fitted, box, cells), share))
        except UnsupportedModel as reason:
            members.append((None, share))
            unread.append((str(reason), share))

    def reach(changed: pd.DataFrame) -> Ends:
        inside, of = request.box(changed)
        low, high = np.zeros(len(changed)), np.zeros(len(changed))
        for member, share in members:
            least, most = (0.0, 1.0) if member is None else member.range(inside)
            low += share * least
            high += share * most
        return rule.decide(low - SLACK, of) - 0.5, rule.decide(high + SLACK, of) - 0.5

    return reach, _said(unread)


def _refuse_moves_between_groups(classifier: Predictor, noisy: set[str], apart: set[str]) -> None:
    if not classifier.needs_sensitive or classifier.groups is None:
        return
    moved = noisy & (apart | {*classifier.groups.sensitive_from_X})
    if moved:
        columns = ", ".join(map(repr, sorted(moved)))
        raise UnsupportedModel(f"noise on {columns} may move rows to another group")


def _said(unread: list[tuple[str, float]]) -> str:
    if not unread:
        return ""
    share = sum(part for _, part in unread)
    reasons = "; ".join(sorted({reason for reason, _ in unread}))
    return f"models with {share:.0%} of the weight are bounded by [0, 1] only ({reasons})"


def _members(models: ScoreModel) -> Iterator[tuple[FittedModel, float]]:
    """Yield the fold models and their weights, which sum to 1."""
    parts = models.members if isinstance(models, WeightedAverage) else ((models, 1.0),)
    for bag, share in parts:
        if not isinstance(bag, CVEnsemble):
            raise UnsupportedModel(f"{type(bag).__name__} is not a mean of models")
        for fitted in bag.models:
            yield fitted, share / len(bag.models)


class _Member:
    """Range of the score of one fold model in a box."""

    def __init__(self, fitted: FittedModel, box: Box, cells: NDArray[np.int32]) -> None:
        if not isinstance(fitted.model, LearnerModel):
            raise UnsupportedModel(f"{type(fitted.model).__name__} is not one model of a learner")
        self._encoder = fitted.encoder
        estimator, empty = fitted.model.estimator, fitted.model.empty
        self._empty = getattr(estimator, "empty_", None) if empty is None else empty
        self._inner = getattr(estimator, "model_", None)
        self._range: Range
        own = fitted.scores(box[1], cells).astype(np.float64)
        values = self._values(box[1])
        if self._inner is None or isinstance(self._inner, float):
            self._range = partial(_same, score=float(own[0]))
        elif hasattr(self._inner, "steps"):
            self._range = partial(_additive, self._inner, _knots(self._inner))
        else:
            forest, tolerance = forest_of(self._inner, values, self._inside)
            link = _half if hasattr(self._inner, "estimators_") else expit
            self._range = partial(self._sums, forest, tolerance, link)
        least, most = self.range((box[1],) * 3)
        if not ((least - SLACK <= own) & (own <= most + SLACK)).all():
            raise UnsupportedModel("the ranges read do not hold the scores of the model")

    def range(self, box: Box) -> Ends:
        """Return the smallest and the largest score of each row."""
        low, middle, high = (self._values(end) for end in box)
        return self._range(low, middle, high)

    def _values(self, matrix: Scores) -> Scores:
        """Return the input of the inner estimator for encoded rows."""
        values = self._encoder.transform(matrix)
        return np.asarray(values if self._empty is None else self._empty.fill(values))

    def _inside(self, values: Scores) -> Scores:
        """Return the input of the trees."""
        if isinstance(self._inner, HistGradientBoostingClassifier):
            values = self._inner._preprocess_X(values, reset=False)
        return np.asarray(values, dtype=np.float64)

    def _sums(
        self, forest: Forest, tolerance: float, link: Link, low: Scores, _: Scores, high: Scores
    ) -> Ends:
        least, most = forest.bounds(self._inside(low), self._inside(high))
        return link(least - tolerance), link(most + tolerance)


def _half(sums: Scores) -> Scores:
    """Return the share of trees that predict the positive class, from their sum around 0."""
    return sums + 0.5


def _same(low: Scores, middle: Scores, high: Scores, *, score: float) -> Ends:
    """Return a constant score."""
    del low, high
    same = np.full(len(middle), score)
    return same, same


def _knots(pipeline: Any) -> dict[int, Scores]:
    """Return the knots of each numeric column in a piecewise linear score."""
    columns = pipeline.steps[0][1]
    if not isinstance(columns, ColumnTransformer) or not hasattr(last_step(pipeline), "coef_"):
        raise UnsupportedModel("a pipeline that is no linear model on single columns")
    found = {}
    for name, inner, at in columns.transformers_:
        if name == "numbers":
            parts = getattr(last_step(inner), "transformer_list", [])
            edges = [part.edges_ for _, part in parts if hasattr(part, "edges_")]
            for place, column in enumerate(at):
                found[column] = np.concatenate([one[place] for one in edges] or [np.empty(0)])
    return found


def _additive(
    pipeline: Any, knots: dict[int, Scores], low: Scores, middle: Scores, high: Scores
) -> Ends:
    """Return the exact range of a sum of piecewise linear functions of single columns."""
    margin = np.asarray(pipeline.decision_function(middle), dtype=np.float64)
    rounding = SLACK * (1.0 + np.abs(margin))
    least, most = margin - rounding, margin + rounding
    for column, bends in knots.items():
        a, b = low[:, column], high[:, column]
        if not (a < b).any():
            continue
        inside = [_near(knot) for knot in bends if ((a < knot) & (knot < b)).any()]
        near_knots = [[np.minimum(np.maximum(a, x), b) for x in three] for three in inside]
        effects: list[Scores] = []
        # A call of a pipeline takes milliseconds for any number of rows, so points share calls.
        for points in ([a, b], *near_knots):
            moved = np.tile(middle, (len(points), 1))
            moved[:, column] = np.concatenate(points)
            scores = np.asarray(pipeline.decision_function(moved), dtype=np.float64)
            effects += list(scores.reshape(len(points), -1) - margin)
        least = least + np.minimum.reduce(effects)
        most = most + np.maximum.reduce(effects)
    return expit(least), expit(most)


def _near(knot: float) -> tuple[np.float32, ...]:
    """Return the single-precision numbers next to a knot."""
    at = np.float32(knot)
    return np.nextafter(at, np.float32(-np.inf)), at, np.nextafter(at, np.float32(np.inf))
