"""Performance metrics of classification and regression, the choices of ``objective=``."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics._table import (
    ClassCounts,
    GroupCounts,
    GroupValues,
    Metric,
    TaskName,
    Undefined,
)
from fairautoml.records import Floats

FPR_LIMIT = 0.05
"""Largest false positive rate of ``recall_at_fpr``; the operating point of Jesus et al. (2022)."""

AT_K = re.compile(r"precision_at_(?P<k>\d+|\d+(?:\.\d+)?(?P<share>%))")
"""Names of precision at the best k rows, or at the best k % of them."""

EPS = float(np.finfo(np.float32).eps)
"""Clipping distance from 0 and 1: float32 scores are not more precise."""

Labels: TypeAlias = NDArray[np.integer]
Scores: TypeAlias = NDArray[np.floating]
Weight: TypeAlias = Floats
Pooled: TypeAlias = Floats


def accuracy(counts: GroupCounts | ClassCounts) -> float | Undefined:
    """Return the share of right decisions, in [0, 1]."""
    table = counts.pooled()
    total = table.sum()
    if total == 0:
        return Undefined("no rows")
    return float(np.trace(table) / total)


def balanced_accuracy(counts: GroupCounts | ClassCounts) -> float | Undefined:
    """Return the mean over the classes of the share predicted correctly, in [0, 1].

    References
    ----------
    Brodersen, Ong, Stephan, Buhmann, "The balanced accuracy and its posterior distribution",
    ICPR 2010.
    """
    table = counts.pooled()
    totals = table.sum(axis=1)
    if (totals == 0).any():
        return Undefined(f"no rows with label {int(totals.argmin())}")
    return float(np.mean(np.diagonal(table) / totals))


def f1(counts: GroupCounts) -> float | Undefined:
    """Return ``2 TP / (2 TP + FP + FN)``, in [0, 1]."""
    (_, false_positive), (false_negative, true_positive) = counts.pooled()
    if false_negative + true_positive == 0:
        return Undefined("no rows with label 1")
    right = 2 * true_positive
    return float(right / (right + false_positive + false_negative))


def f1_macro(counts: GroupCounts | ClassCounts) -> float | Undefined:
    """Return the mean of the classes' F1, as scikit-learn's ``f1_score(average="macro")``."""
    table = counts.pooled()
    labels, decisions = table.sum(axis=1), table.sum(axis=0)
    if (labels == 0).any():
        return Undefined(f"no rows with label {int(labels.argmin())}")
    return float(np.mean(2 * np.diagonal(table) / (labels + decisions)))


def f1_weighted(counts: GroupCounts | ClassCounts) -> float | Undefined:
    """Return the mean of the classes' F1, weighted by their shares of the labels."""
    table = counts.pooled()
    labels, decisions = table.sum(axis=1), table.sum(axis=0)
    if labels.sum() == 0:
        return Undefined("no rows")
    there = labels > 0
    of_class = 2 * np.diagonal(table)[there] / (labels + decisions)[there]
    return float(np.average(of_class, weights=labels[there]))


def precision(counts: GroupCounts) -> float | Undefined:
    """Return ``TP / (TP + FP)``, in [0, 1]; undefined where no row is accepted."""
    (_, false_positive), (_, true_positive) = counts.pooled()
    if false_positive + true_positive == 0:
        return Undefined("no accepted rows")
    return float(true_positive / (true_positive + false_positive))


def recall(counts: GroupCounts) -> float | Undefined:
    """Return ``TP / (TP + FN)``, in [0, 1]."""
    _, (false_negative, true_positive) = counts.pooled()
    if false_negative + true_positive == 0:
        return Undefined("no rows with label 1")
    return float(true_positive / (true_positive + false_negative))


def mcc(counts: GroupCounts | ClassCounts) -> float | Undefined:
    """Return the Matthews correlation coefficient, in [-1, 1]; 0 for a constant prediction.

    References
    ----------
    Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient",
    Computational Biology and Chemistry 2004.
    """
    table = counts.pooled()
    labels, decisions, total = table.sum(axis=1), table.sum(axis=0), table.sum()
    if (labels == total).any():
        return Undefined("all rows have one label")
    size = (total**2 - labels @ labels) * (total**2 - decisions @ decisions)
    covariance = np.trace(table) * total - labels @ decisions
    return float(covariance / np.sqrt(size)) if size > 0 else 0.0


def brier(y: Labels, scores: Scores, weight: Weight) -> float | Undefined:
    """Return the mean squared distance of P(y = 1) from the label, in [0, 1]."""
    if not weight.any():
        return Undefined("no rows")
    return float(np.average(np.square(y - scores.astype(np.float64)), weights=weight))


def log_loss(y: Labels, scores: Scores, weight: Weight) -> float | Undefined:
    """Return the mean negative log-likelihood in nats, from 0 to about 15.9.

    Probabilities are clipped to ``[eps, 1 - eps]`` of float32.
    """
    if scores.ndim == 2:
        return _log_loss_of_classes(y, scores, weight)
    undefined = _one_class(y, weight)
    if undefined is not None:
        return undefined
    # In float64: 1 - eps is a float32, but the logarithm of a float32 has 7 digits only.
    clipped = np.clip(np.asarray_chkfinite(scores, np.float64), EPS, 1 - EPS)
    return float(-np.average(np.log(np.where(y == 1, clipped, 1 - clipped)), weights=weight))


def _log_loss_of_classes(y: Labels, scores: Scores, weight: Weight) -> float | Undefined:
    mass = np.bincount(y, weights=weight, minlength=scores.shape[1])
    if not mass.all():
        return Undefined(f"no rows with label {int(mass.argmin())}")
    clipped = np.clip(scores.astype(np.float64), EPS, 1 - EPS)
    clipped /= clipped.sum(axis=1, keepdims=True)
    return float(-np.average(np.log(clipped[np.arange(len(y)), y]), weights=weight))


def roc_auc(y: Labels, scores: Scores, weight: Weight) -> float | Undefined:
    """Return the area under the ROC curve, in [0, 1]; ties count half."""
    from sklearn.metrics import roc_auc_score

    return _one_class(y, weight) or float(roc_auc_score(y, scores, sample_weight=weight))


def average_precision(y: Labels, scores: Scores, weight: Weight) -> float | Undefined:
    """Return ``sum_n (R_n - R_(n-1)) P_n`` over the distinct scores, in [0, 1]."""
    from sklearn.metrics import average_precision_score

    return _one_class(y, weight) or float(average_precision_score(y, scores, sample_weight=weight))


def recall_at_fpr(y: Labels, scores: Scores, weight: Weight) -> float | Undefined:
    """Return the largest recall at a false positive rate of at most 5 %, in [0, 1].

    Equal scores are accepted together; accepting no row is always possible.

    References
    ----------
    Jesus et al., "Turning the tables: biased, imbalanced, dynamic tabular datasets for ML
    evaluation", NeurIPS 2022.
    """
    undefined = _one_class(y, weight)
    if undefined is not None:
        return undefined
    from sklearn.metrics import roc_curve

    # drop_intermediate removes collinear points, and the best allowed one may be among them.
    fpr, tpr, _ = roc_curve(y, scores, sample_weight=weight, drop_intermediate=False)
    return float(tpr[fpr <= FPR_LIMIT].max())


def precision_at(name: str) -> Metric | None:
    """Return the metric ``precision_at_100`` or ``precision_at_10%``, None for another name."""
    found = AT_K.fullmatch(name)
    k = 0.0 if found is None else float(found["k"].removesuffix("%"))
    if found is None or k == 0 or (found["share"] and k >= 100):
        return None
    best = f"{k:g} % of the rows" if found["share"] else f"{k:g} rows"
    return Metric(
        name=name,
        about=f"Share of label 1 among the {best} with the highest scores.",
        kind="performance",
        on="scores",
        value=partial(_precision_at, k=k / 100 if found["share"] else k),
        greater_is_better=True,
    )


def _precision_at(y: Labels, scores: Scores, weight: Weight, *, k: float) -> float | Undefined:
    """Return the precision of the best rows, a share of them below 1; ties count in part."""
    n_rows = np.count_nonzero(weight)
    if k > n_rows or not n_rows:
        return Undefined(f"fewer than {max(k, 1):g} rows")
    wanted = weight.sum() * (k / n_rows if k >= 1 else k)
    values, at = np.unique(-scores, return_inverse=True)
    mass = np.bincount(at, weights=weight, minlength=len(values))
    right = np.bincount(at, weights=weight * y, minlength=len(values))
    kept = mass > 0
    mass, right = mass[kept], right[kept]
    taken = np.clip((wanted - (np.cumsum(mass) - mass)) / mass, 0.0, 1.0)
    return float(taken @ right / wanted)


def _one_class(y: Labels, weight: Weight) -> Undefined | None:
    for label in (0, 1):
        if not weight[y == label].any():
            return Undefined(f"no rows with label {label}")
    return None


def mae(values: GroupValues) -> float | Undefined:
    """Return the mean absolute error, in units of the target."""
    if not values.weight.any():
        return Undefined("no rows")
    return float(np.average(np.abs(values.y - values.prediction), weights=values.weight))


def rmse(values: GroupValues) -> float | Undefined:
    """Return the root mean squared error, in units of the target."""
    if not values.weight.any():
        return Undefined("no rows")
    return float(np.sqrt(np.average(values.losses, weights=values.weight)))


def r2(values: GroupValues) -> float | Undefined:
    """Return ``1 - mean((y - prediction)^2) / var(y)``, at most 1."""
    if not values.weight.any():
        return Undefined("no rows")
    mean = np.average(values.y, weights=values.weight)
    spread = np.average(np.square(values.y - mean), weights=values.weight)
    if spread == 0:
        return Undefined("all true values are equal")
    return float(1.0 - np.average(values.losses, weights=values.weight) / spread)


# The bootstrap evaluates hundreds of tables: the same metrics of stacked pooled tables
# ``[..., label, decision]``, NaN where they are undefined.


def _recalls(table: Pooled) -> Pooled:
    return np.diagonal(table, axis1=-2, axis2=-1) / table.sum(axis=-1)


def _f1s(table: Pooled) -> Pooled:
    labels, right = table.sum(axis=-1), np.diagonal(table, axis1=-2, axis2=-1)
    return np.where(labels > 0, 2 * right / (labels + table.sum(axis=-2)), np.nan)


def _f1_weighted_of(table: Pooled) -> Pooled:
    labels = table.sum(axis=-1)
    return np.nansum(_f1s(table) * labels, axis=-1) / labels.sum(axis=-1)


def _mcc_of(table: Pooled) -> Pooled:
    labels, decisions, total = table.sum(axis=-1), table.sum(axis=-2), table.sum(axis=(-2, -1))
    size = (total**2 - (labels**2).sum(axis=-1)) * (total**2 - (decisions**2).sum(axis=-1))
    covariance = np.trace(table, axis1=-2, axis2=-1) * total - (labels * decisions).sum(axis=-1)
    found = np.where(size > 0, covariance / np.sqrt(size), 0.0)
    return np.where((labels == total[..., None]).any(axis=-1), np.nan, found)


OF_POOLED: dict[str, Callable[[Pooled], Pooled]] = {
    "balanced_accuracy": lambda table: _recalls(table).mean(axis=-1),
    "f1": lambda table: _f1s(table)[..., 1],
    "f1_macro": lambda table: _f1s(table).mean(axis=-1),
    "f1_weighted": _f1_weighted_of,
    "precision": lambda table: _recalls(table.swapaxes(-2, -1))[..., 1],
    "recall": lambda table: _recalls(table)[..., 1],
    "mcc": _mcc_of,
}


@dataclass(frozen=True, slots=True)
class _OfTables:
    """A metric of many tables at once, by name, so that metrics can be compared and pickled."""

    name: str

    def __call__(self, tables: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return OF_POOLED[self.name](tables.sum(axis=1))


def _metric(value: Any, on: Any, about: str, *tasks: TaskName, greater: bool = True) -> Metric:
    return Metric(
        name=value.__name__,
        about=about,
        kind="performance",
        on=on,
        value=value,
        many=_OfTables(value.__name__) if value.__name__ in OF_POOLED else None,
        greater_is_better=greater,
        tasks=frozenset(tasks),
    )


PERFORMANCE: tuple[Metric, ...] = (
    _metric(accuracy, "decisions", "Share of right decisions.", "binary", "multiclass"),
    _metric(balanced_accuracy, "decisions", "Mean recall of the classes.", "binary", "multiclass"),
    _metric(f1, "decisions", "Harmonic mean of precision and recall.", "binary"),
    _metric(f1_macro, "decisions", "Mean of the classes' F1.", "binary", "multiclass"),
    _metric(f1_weighted, "decisions", "Mean F1, by class share.", "binary", "multiclass"),
    _metric(precision, "decisions", "Share of label 1 among accepted rows.", "binary"),
    _metric(recall, "decisions", "Share accepted of the rows with label 1.", "binary"),
    _metric(mcc, "decisions", "Matthews correlation coefficient.", "binary", "multiclass"),
    _metric(brier, "scores", "Mean squared error of P(y = 1).", "binary", greater=False),
    _metric(
        log_loss, "scores", "Mean negative log-likelihood.", "binary", "multiclass", greater=False
    ),
    _metric(roc_auc, "scores", "Area under the ROC curve.", "binary"),
    _metric(average_precision, "scores", "Area under the precision-recall steps.", "binary"),
    _metric(recall_at_fpr, "scores", "Recall at a false positive rate of at most 5 %.", "binary"),
    _metric(mae, "decisions", "Mean absolute error.", "regression", greater=False),
    _metric(rmse, "decisions", "Root mean squared error.", "regression", greater=False),
    _metric(r2, "decisions", "Coefficient of determination.", "regression"),
)
