"""Bound the effect of noise on the decisions of classifiers of this library."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier

from fairautoml.auditing.forests import Forest, forest_of
from fairautoml.auditing.models import UnsupportedModel, last_step
from fairautoml.evaluation.fitting import CVEnsemble, FittedModel, LearnerModel
from fairautoml.inference.predictor import Predictor
from fairautoml.mitigators import ScoreModel
from fairautoml.mitigators._group_program import CommonRule, ThresholdRule
from fairautoml.selection.ensemble import WeightedAverage
from fairautoml.settings import check_group_policy

SLACK = 1e-6
"""Widening of the range of scores, which have single precision."""

Scores = NDArray[np.float64]
Ends = tuple[Scores, Scores]
Link = Callable[[Scores], Scores]
Range = Callable[[Scores, Scores, Scores], Ends]
Box = tuple[Scores, Scores, Scores]
"""Smallest, given and largest values of encoded rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseRange:
    """Range of the decision of a fitted classifier of this library."""

    # maps rows to the smallest and the largest decision minus 0.5: below 0 = negative
    reach: Callable[[pd.DataFrame], tuple[Scores, Scores]]
    unread: str  # members that are bounded by [0, 1] only, with the reason


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
) -> NoiseRange:
    """Return the range of the decisions of a fitted estimator of this library under noise.

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

    def reach(changed: pd.DataFrame) -> tuple[Scores, Scores]:
        inside, of = request.box(changed)
        low, high = np.zeros(len(changed)), np.zeros(len(changed))
        for member, share in members:
            least, most = (0.0, 1.0) if member is None else member.range(inside)
            low += share * least
            high += share * most
        return rule.decide(low - SLACK, of) - 0.5, rule.decide(high + SLACK, of) - 0.5

    return NoiseRange(reach=reach, unread=_said(unread))


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
        self._estimator = fitted.model.estimator
        self._inner = getattr(self._estimator, "model_", None)
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
        empty = getattr(self._estimator, "empty_", None)
        return np.asarray(values if empty is None else empty.fill(values))

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
