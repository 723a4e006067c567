"""Objectives that the user brings: a cost matrix, a function or a scorer of scikit-learn."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.exceptions import ParameterError
from fairautoml.metrics._registry import METRICS
from fairautoml.metrics._table import ClassCounts, GroupCounts, GroupValues, Metric, Undefined
from fairautoml.records import Floats

SKLEARN_NAMES = {
    "neg_log_loss": "log_loss",
    "neg_brier_score": "brier",
    "matthews_corrcoef": "mcc",
    "neg_mean_absolute_error": "mae",
    "neg_root_mean_squared_error": "rmse",
}
"""Scorer names of scikit-learn that differ from ours."""


@dataclass(frozen=True)
class CostMatrix:
    """Cost of each true and predicted class; the objective is minus the mean cost of a row.

    Thresholds and class factors of the post-processors are fitted to the costs: exactly of two
    classes, and of several where the cost of an error depends on the true class only; otherwise
    with the mean cost of the errors of each class.

    Parameters
    ----------
    costs : sequence of sequences of float, shape (n_classes, n_classes)
        ``costs[true][predicted]``, in the order of ``classes_``; of two classes the positive class
        is the second. Negative costs are gains.

    Raises
    ------
    ParameterError
        The matrix is not square, has fewer than two classes, or holds a value that is not finite.

    Examples
    --------
    >>> CostMatrix([[0, 1], [5, 0]])  # a false negative costs as much as five false positives
    CostMatrix(costs=((0.0, 1.0), (5.0, 0.0)))
    """

    costs: tuple[tuple[float, ...], ...]

    def __init__(self, costs: Sequence[Sequence[float]]) -> None:
        try:
            table = np.asarray(costs, dtype=np.float64)
        except (TypeError, ValueError):
            table = np.empty(0)
        square = table.ndim == 2 and table.shape[0] == table.shape[1] >= 2
        if not square or not np.isfinite(table).all():
            msg = (
                f"CostMatrix: costs={costs!r} must be a square table of finite numbers, "
                "costs[true class][predicted class], such as [[0, 1], [5, 0]]"
            )
            raise ParameterError(msg)
        object.__setattr__(self, "costs", tuple(map(tuple, table.tolist())))

    @property
    def metric(self) -> Metric:
        """The performance metric."""
        return Metric(
            name="neg_mean_cost",
            about=f"Minus the mean cost by {self}.",
            kind="performance",
            on="decisions",
            value=partial(_mean_cost, self.costs),
            greater_is_better=True,
            tasks=frozenset({"binary" if len(self.costs) == 2 else "multiclass"}),
        )


def _mean_cost(
    costs: tuple[tuple[float, ...], ...], counts: GroupCounts | ClassCounts
) -> float | Undefined:
    table = counts.pooled()
    if len(table) != len(costs):
        return Undefined(
            f"the CostMatrix has {len(costs)} classes and y has {len(table)}; give "
            f"{len(table)} rows of {len(table)} costs"
        )
    total = table.sum()
    return float(-(table * np.array(costs)).sum() / total) if total else Undefined("no rows")


def custom_metric(given: Callable[..., Any]) -> Metric:
    """Return the metric of a function ``(y_true, y_pred)`` or of a scorer; greater is better."""
    score: Any = getattr(given, "_score_func", given)
    is_scorer = score is not given
    inner = score.func if isinstance(score, partial) else score
    name = getattr(inner, "__name__", type(inner).__name__)
    if name in METRICS.names():  # whose direction reports would take
        name = f"custom_{name}"
    call = _Call(
        score=score,
        sign=float(getattr(given, "_sign", 1)),
        keywords=tuple(getattr(given, "_kwargs", {}).items()),
        weighted=_takes_weight(score),
    )
    by_scores = is_scorer and getattr(given, "_response_method", "predict") != "predict"
    return Metric(
        name=f"neg_{name}" if call.sign < 0 else name,
        about=repr(given) if is_scorer else f"{getattr(inner, '__module__', '')}.{name}",
        kind="performance",
        on="scores" if by_scores else "decisions",
        value=call.on_rows if by_scores else call.on_tally,
        greater_is_better=True,
        tasks=frozenset({"binary", "multiclass", *(() if by_scores else ("regression",))}),
    )


def _takes_weight(score: Callable[..., Any]) -> bool:
    try:
        return "sample_weight" in inspect.signature(score).parameters
    except (TypeError, ValueError):
        return False


@dataclass(frozen=True)
class _Call:
    """A call of the user's function."""

    score: Callable[..., Any]
    sign: float
    keywords: tuple[tuple[str, Any], ...]
    weighted: bool  # whether the function takes sample_weight

    def on_tally(self, tally: Any) -> float | Undefined:
        """Score decisions, given as counts or, in regression, as values."""
        if isinstance(tally, GroupValues):
            return self.on_rows(tally.y, tally.prediction, tally.weight)
        table = np.maximum(tally.pooled(), 0.0)
        y, decision = np.nonzero(table)
        return self.on_rows(y, decision, table[y, decision])

    def on_rows(self, y: NDArray[Any], values: NDArray[Any], weight: Floats) -> float | Undefined:
        """Score rows; without ``sample_weight`` a row of weight 3 is repeated three times."""
        more = dict(self.keywords)
        if self.weighted:
            more["sample_weight"] = weight
        else:
            times = np.rint(weight).astype(np.int64)
            if not np.allclose(times, weight, rtol=0, atol=1e-9):
                return Undefined("the function takes no sample_weight; weights are no integers")
            y, values = np.repeat(y, times), np.repeat(values, times)
        found = self.sign * float(self.score(y, values, **more))
        return found if np.isfinite(found) else Undefined("the function returned no finite number")
