"""Metrics by group, and by control columns, with intervals."""

import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import get_scorer, get_scorer_names

from fairautoml.auditing.rates import AuditSample, RateCells, approximate
from fairautoml.auditing.result import Interval, ScoreRow
from fairautoml.auditing.rows import AuditRows
from fairautoml.data.groups import fit_groups
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.metrics import METRICS, GroupCounts, Metric, Undefined, bootstrap_interval
from fairautoml.metrics._table import Rate, effective_rows
from fairautoml.metrics.rates import ACCURACY, RATES
from fairautoml.registry import unknown_name

HIDDEN = "suppressed"
DRAWS = 100
MOST_GROUPS = 12
"""Most groups of a system with resampled metrics by group: a call takes milliseconds."""
MOST_RESAMPLED = 20_000
"""Most rows on which metrics of scores are resampled; with more, sampling error is small."""

GivenMetric = str | Callable[..., Any]
"""Name of a metric, a rate or a scikit-learn scorer; a scorer; or a function of labels and
decisions."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows on which metrics are computed."""

    sample: AuditSample
    here: NDArray[np.bool_]  # shape (n_rows,)
    few: bool  # whether there are so few groups that each metric can be resampled

    @property
    def rows(self) -> AuditRows:
        """All rows of the audit."""
        return self.sample.rows

    @property
    def y(self) -> NDArray[np.int8]:
        """Labels, or zeros without labels."""
        y = self.rows.y
        return np.zeros(int(self.here.sum()), dtype=np.int8) if y is None else y[self.here]

    @property
    def decision(self) -> NDArray[np.int8]:
        """Decisions."""
        return self.rows.decision[self.here]

    @property
    def weight(self) -> NDArray[np.float64] | None:
        """Weights, None without any."""
        return None if self.rows.weight is None else self.rows.weight[self.here]


_Measured = tuple[float | Undefined, Interval | None]
_Measure = Callable[[_Part], _Measured]


def score_rows(
    sample: AuditSample, *, metrics: Sequence[GivenMetric] | None = None, by: Any = None
) -> tuple[ScoreRow, ...]:
    """Return every metric on all rows and in every group, within each value of ``by``.

    By default all performance metrics, none without labels.
    """
    rows = sample.rows
    if metrics is None and rows.y is None:
        return ()
    measures = _measures(rows, metrics)
    found: list[ScoreRow] = []
    for stratum, inside in _strata(rows, by):
        for name, measure in measures:
            row = ScoreRow(system="", group="", by=stratum, metric=name, value=None)
            found.append(_with_value(row, measure, _Part(sample, inside, few=True)))
            for system in rows.systems:
                codes, few = rows.codes(system), system.n_groups <= MOST_GROUPS
                for at, label in enumerate(system.labels):
                    row = replace(row, system=system.name, group=label)
                    here = inside & (codes == at)
                    small = by is not None and here.sum() < sample.smallest
                    if sample.shown.hidden[system.name][at] or small:
                        found.append(replace(row, reason=HIDDEN))
                    else:
                        found.append(_with_value(row, measure, _Part(sample, here, few=few)))
    return tuple(found)


def _strata(rows: AuditRows, by: Any) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Return name and rows of each combination of values of the control columns."""
    if by is None:
        yield "", np.ones(len(rows.decision), dtype=np.bool_)
        return
    schema, cells = fit_groups(by, n_rows=len(rows.decision), missing="own_group")
    finest = schema.systems[-1]
    of_row = finest.of_cell[cells]
    for at, label in enumerate(finest.labels):
        yield label, of_row == at


def _with_value(row: ScoreRow, measure: _Measure, part: _Part) -> ScoreRow:
    value, interval = measure(part) if part.here.any() else (Undefined("no rows"), None)
    if isinstance(value, Undefined):
        return replace(row, reason=value.reason)
    return replace(row, value=value, interval=interval)


def _measures(
    rows: AuditRows, metrics: Sequence[GivenMetric] | None
) -> list[tuple[str, _Measure]]:
    if metrics is None:
        every = map(METRICS.get, METRICS.names())
        return [
            (metric.name, _of_metric(metric))
            for metric in every
            if metric.kind == "performance" and "binary" in metric.tasks
        ]
    if isinstance(metrics, str) or not isinstance(metrics, Sequence):
        msg = f"metrics={metrics!r} must be a list of metrics, such as ['balanced_accuracy']."
        raise ParameterError(msg)
    return [_measure(rows, metric) for metric in metrics]


RATE_NAMES = {
    "selection_rate": "selection",
    "true_positive_rate": "tpr",
    "false_positive_rate": "fpr",
    "true_negative_rate": "tnr",
    "false_negative_rate": "fnr",
    "precision": "ppv",
    "recall": "tpr",
}
"""Usual names of rates."""


def _measure(rows: AuditRows, given: GivenMetric) -> tuple[str, _Measure]:
    """Return name and function of a metric."""
    if callable(given):
        name, measure = getattr(given, "__name__", str(given)), _of_callable(given)
        needs = True
    elif RATE_NAMES.get(given, given) in RATES:
        rate = RATES[RATE_NAMES.get(given, given)]
        name, measure, needs = given, _of_rate(rate), rate.needs_labels
    elif given in METRICS.names() and METRICS.get(given).kind == "performance":
        name, measure, needs = given, _of_metric(METRICS.get(given)), True
    elif given in get_scorer_names():
        name, measure, needs = given, _of_callable(get_scorer(given)), True
    else:
        known = (*RATES, *RATE_NAMES, *METRICS.names(), *get_scorer_names())
        raise ParameterError(f"metrics: {unknown_name('metric', given, known)}")
    if needs and rows.y is None:
        raise InputError(f"metrics: {name!r} needs true labels, and none were given. Pass y_true.")
    return name, measure


def _of_rate(rate: Rate) -> _Measure:
    def measure(part: _Part) -> _Measured:
        mass, top = rate.shares(part.y, part.decision)
        inside = mass > 0
        weight = np.ones(len(mass)) if part.weight is None else part.weight
        if not (weight * inside).any():
            return Undefined(f"no {rate.lacks}"), None
        share = float((weight * top).sum() / (weight * inside).sum())
        effective = np.array([weight[inside].sum() ** 2 / (weight[inside] ** 2).sum()])
        weighted = part.weight is not None
        cells = RateCells(
            rate=rate,
            events=share * effective if weighted else np.rint(share * effective),
            mass=effective,
            n=np.array([inside.sum()]),
            effective=effective,
            weighted=weighted,
        )
        return share, cells.intervals(part.sample.level)[0]

    return measure


def _of_metric(metric: Metric) -> _Measure:
    if metric.name == "accuracy":
        return _of_rate(ACCURACY)
    return partial(_on_decisions if metric.on == "decisions" else _on_scores, metric)


def _on_decisions(metric: Metric, part: _Part) -> _Measured:
    """Return a metric with its bootstrap interval, of few groups only."""
    one = np.zeros(len(part.decision), dtype=np.int64)
    counts = GroupCounts.from_rows(one, part.y, part.decision, part.weight, n_groups=1)
    value = metric.value(counts)
    if not part.few:
        return value, None
    worth = None if part.weight is None else effective_rows(one, part.weight, 1)
    ends = bootstrap_interval(
        metric, counts.table, n_rows=worth, level=1 - part.sample.level, seed=part.sample.seed
    )
    return value, approximate(ends)


def _on_scores(metric: Metric, part: _Part) -> _Measured:
    every = part.rows.score
    if every is None:
        return Undefined("needs y_score"), None
    score, y = every[part.here], part.y
    if metric.name == "log_loss" and not ((every >= 0) & (every <= 1)).all():
        return Undefined("the scores are not probabilities in [0, 1]"), None
    weight = np.ones(len(y)) if part.weight is None else part.weight
    value = metric.value(y, score, weight)
    if isinstance(value, Undefined):
        return value, None
    if metric.name == "roc_auc" and part.weight is None and min(np.bincount(y)) > 1:
        return value, auc_interval(score, y == 1, part.sample.level)[1]
    # A call takes milliseconds for any number of rows, so groups are not resampled.
    if not part.here.all():
        return value, None

    def of_draw(at: NDArray[np.int64]) -> float | Undefined:
        times = np.bincount(at, minlength=len(y))
        return metric.value(y, score, weight * times)

    return value, _resampled(of_draw, part)


def _resampled(
    of_draw: Callable[[NDArray[np.int64]], float | Undefined], part: _Part
) -> Interval | None:
    """Return the percentile bootstrap interval, or None if a draw is undefined."""
    n = len(part.decision)
    if n > MOST_RESAMPLED:
        return None
    rng = np.random.default_rng(part.sample.seed)
    drawn = [of_draw(rng.integers(0, n, n)) for _ in range(DRAWS)]
    known = [float(value) for value in drawn if not isinstance(value, Undefined)]
    if len(known) < DRAWS:
        return None
    low, high = np.quantile(known, [part.sample.level / 2, 1 - part.sample.level / 2])
    return approximate((float(low), float(high)))


class _Given(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classifier with known predictions, as scorers call it; ``X`` are positions of rows."""

    def __init__(self, decision: NDArray[np.int8], score: NDArray[np.float64] | None) -> None:
        self.decision = decision
        self.score_ = score
        self.classes_ = np.array([0, 1])

    def predict(self, X: NDArray[np.int64]) -> NDArray[np.int8]:
        """Return the decisions."""
        return self.decision[X]

    def decision_function(self, X: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the scores."""
        if self.score_ is None:
            raise InputError("metrics: a scorer needs scores, and none were given. Pass y_score.")
        return self.score_[X]

    def predict_proba(self, X: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the scores as probabilities of both classes."""
        score = self.decision_function(X)
        return np.stack([1 - score, score], axis=1)


def _of_callable(metric: Callable[..., Any]) -> _Measure:
    """Return the measure of a scorer, or of a function of labels and decisions."""
    scorer = next(iter(inspect.signature(metric).parameters), "") == "estimator"

    def measure(part: _Part) -> _Measured:
        y, decision = part.y, part.decision
        score = None if part.rows.score is None else part.rows.score[part.here]
        model = _Given(decision, score)

        def of_draw(at: NDArray[np.int64]) -> float | Undefined:
            weight = {} if part.weight is None else {"sample_weight": part.weight[at]}
            given = (model, at, y[at]) if scorer else (y[at], decision[at])
            with warnings.catch_warnings():
                # Small groups and draws may have one label only.
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", UndefinedMetricWarning)
                try:
                    found = float(metric(*given, **weight))
                except (ValueError, UndefinedMetricWarning) as error:
                    return Undefined(str(error).splitlines()[0])
            return Undefined("not a number") if math.isnan(found) else found

        value = of_draw(np.arange(len(y)))
        undefined = isinstance(value, Undefined) or not part.few
        return value, None if undefined else _resampled(of_draw, part)

    return measure


def auc_interval(
    score: NDArray[np.floating], s: NDArray[np.bool_], level: float
) -> tuple[float, Interval]:
    """Return the AUC of a score as predictor of ``s`` (ties count half), with its interval.

    References
    ----------
    DeLong, DeLong, Clarke-Pearson, "Comparing the areas under two or more correlated receiver
    operating characteristic curves", Biometrics 44 (1988); by ranks: Sun, Xu, 2014. For perfect
    separation: Hanley, McNeil, Radiology 143 (1982), at an AUC half a pair closer to one half.
    """
    yes, no = score[s], score[~s]
    pooled = rankdata(np.concatenate((yes, no)))
    above_no = (pooled[: len(yes)] - rankdata(yes)) / len(no)
    above_yes = 1.0 - (pooled[len(yes) :] - rankdata(no)) / len(yes)
    auc = float(above_no.mean())
    spread = math.sqrt(above_no.var(ddof=1) / len(yes) + above_yes.var(ddof=1) / len(no))
    if spread == 0.0:
        return auc, _without_a_fault(auc, len(yes), len(no), level)
    half = float(ndtri(1 - level / 2)) * spread
    ends = Interval(
        low=max(0.0, auc - half), high=min(1.0, auc + half), method="delong (approximate)"
    )
    return auc, ends


def _without_a_fault(auc: float, n_yes: int, n_no: int, level: float) -> Interval:
    """Return the interval of the AUC of perfectly separated groups, where DeLong's error is 0."""
    # The interval is that of an AUC half a pair closer to one half.
    pairs = n_yes * n_no
    near = (auc * pairs + 0.5) / (pairs + 1)
    both_yes, both_no = near / (2 - near), 2 * near**2 / (1 + near)
    variance = near * (1 - near)
    variance += (n_yes - 1) * (both_yes - near**2) + (n_no - 1) * (both_no - near**2)
    half = float(ndtri(1 - level / 2)) * math.sqrt(variance / pairs)
    return Interval(
        low=max(0.0, min(auc, near - half)),
        high=min(1.0, max(auc, near + half)),
        method="hanley-mcneil (approximate)",
    )
