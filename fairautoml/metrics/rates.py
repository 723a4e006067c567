"""Group rates, and the fairness metrics that compare them.

A new rate is a row of ``RATES``, a new metric a row of ``FAIRNESS``. Third-party packages use
``Rate`` and ``fairness_metric`` and register their metrics by an entry point.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fairautoml.exceptions import InputError
from fairautoml.metrics._table import (
    CELLS,
    ClassCounts,
    Form,
    GroupCounts,
    Metric,
    Rate,
    TaskName,
    Undefined,
)
from fairautoml.records import Floats

Compare = Literal["difference", "ratio", "minimum", "to_overall", "macro"]
"""Largest minus smallest rate; smallest over largest; smallest; distance from the rate of all
rows; mean over the classes of the difference."""

ALL = CELLS
POSITIVE, NEGATIVE = frozenset({(1, 0), (1, 1)}), frozenset({(0, 0), (0, 1)})
ACCEPTED, REJECTED = frozenset({(0, 1), (1, 1)}), frozenset({(0, 0), (1, 0)})
RIGHT = frozenset({(0, 0), (1, 1)})

_LACKS = {
    ALL: "rows",
    POSITIVE: "rows with label 1",
    NEGATIVE: "rows with label 0",
    ACCEPTED: "accepted rows",
    REJECTED: "rejected rows",
}
# Name, numerator, denominator, what it means that the rate is 0.
_ROWS = (
    ("selection", ACCEPTED, ALL, "no row is accepted"),
    ("tpr", POSITIVE & ACCEPTED, POSITIVE, "no row with label 1 is accepted"),
    ("fpr", NEGATIVE & ACCEPTED, NEGATIVE, "no row with label 0 is accepted"),
    ("tnr", NEGATIVE & REJECTED, NEGATIVE, "no row with label 0 is rejected"),
    ("fnr", POSITIVE & REJECTED, POSITIVE, "no row with label 1 is rejected"),
    ("ppv", POSITIVE & ACCEPTED, ACCEPTED, "no accepted row has label 1"),
    ("fdr", NEGATIVE & ACCEPTED, ACCEPTED, "no accepted row has label 0"),
    ("npv", NEGATIVE & REJECTED, REJECTED, "no rejected row has label 0"),
    ("for", POSITIVE & REJECTED, REJECTED, "no rejected row has label 1"),
    ("accuracy", RIGHT, ALL, "no decision is right"),
    ("error", ALL - RIGHT, ALL, "no decision is wrong"),
)
RATES: dict[str, Rate] = {
    name: Rate(name=name, of=of, among=among, lacks=_LACKS[among], zero=zero)
    for name, of, among, zero in _ROWS
}

SELECTION, TPR, FPR, TNR, FNR, PPV, FDR, NPV, FOR, ACCURACY, ERROR = RATES.values()
SHOWN = (SELECTION, TPR, FPR, ACCURACY)
"""Rates in tables of results."""


def with_compared(shown: Sequence[Rate], metrics: Iterable[Metric]) -> tuple[Rate, ...]:
    """Return the shown rates and, after them, those that the metrics compare."""
    return tuple(dict.fromkeys((*shown, *(rate for m in metrics for rate in m.compared))))


def worst(rates: Floats, form: Form) -> Floats:
    """Return the disparity, or the minimum, of the worst of several rates; NaN if undefined.

    ``rates`` has shape (n_rates, ..., n_groups); the result has the shape between.
    """
    low, high = rates.min(axis=-1), rates.max(axis=-1)
    if form == "minimum":
        return low.min(axis=0)
    if form == "difference":
        return (high - low).max(axis=0)
    undefined = np.full_like(high, np.nan)
    return np.divide(low, high, out=undefined, where=high > 0).min(axis=0)


ROUNDING = 1e-9
"""Largest rounding difference between two computations of a metric."""


def is_worst_of(metric: Metric, value: float, by_rate: Floats) -> bool:
    """Return whether a value of a metric is the worst disparity of its rates, or the minimum.

    ``by_rate`` are the rates, shape (n_rates, n_groups).
    """
    return bool(abs(float(worst(by_rate, metric.form)) - value) <= ROUNDING)


def known_disparity(counts: GroupCounts, rates: Sequence[Rate], form: Form) -> float | None:
    """Return the disparity over the groups that have the rate, to fit on a part of the rows."""
    found = []
    for rate in rates:
        values = counts.rates(rate)
        values = values[~np.isnan(values)]
        if len(values) >= 2:
            found.append(float(worst(values[None], form)))
    known = [one for one in found if not np.isnan(one)]
    if not known:
        return None
    return max(known) if form == "difference" else min(known)


def _reason(counts: GroupCounts, rates: Sequence[Rate], by_rate: Floats) -> str:
    empty = np.flatnonzero(~counts.table.any(axis=(1, 2)))
    if len(empty) > 0:
        return _lacking(empty, "rows")
    for rate, values in zip(rates, by_rate, strict=True):
        lacking = np.flatnonzero(np.isnan(values))
        if len(lacking) > 0:
            return _lacking(lacking, rate.lacks)
    zero = next(rate for rate, values in zip(rates, by_rate, strict=True) if values.max() == 0)
    constant = "" if counts.table[:, :, 1].any() else "constant predictor, "
    return f"{constant}0/0: {zero.zero} in any group"


def _lacking(groups: NDArray[np.integer], what: str) -> str:
    more = f" (and {len(groups) - 1} more such groups)" if len(groups) > 1 else ""
    return f"group {groups[0]} has no {what}{more}"


def values_of(metric: Metric, tables: Floats, overall: Floats | None = None) -> Floats:
    """Return a metric's value on each of many tables, NaN where it has none, shape (n_tables,).

    ``overall``, shape (n_tables, 2, 2), is the table of all rows; the sum over the groups if None.
    """
    if metric.many is not None:
        if overall is not None and metric.kind == "performance":
            tables = overall[:, None]
        return metric.many(tables)
    if metric.rates:
        # Treat all tables as additional groups.
        if tables.shape[-1] > 2:
            n_classes = tables.shape[-1]
            flat = ClassCounts(tables.reshape(-1, n_classes, n_classes)).stacked(metric.rates)
            return worst(flat.reshape(-1, *tables.shape[:2]), metric.form)
        return worst(np.stack([rate.values(tables) for rate in metric.rates]), metric.form)
    if metric.to_overall:
        return _to_overall_of_tables(metric, tables, overall)
    each = [None] * len(tables) if overall is None else list(overall)
    found = (metric.value(GroupCounts(t, o)) for t, o in zip(tables, each, strict=True))
    return np.array([np.nan if isinstance(value, Undefined) else value for value in found])


def _to_overall_of_tables(metric: Metric, tables: Floats, overall: Floats | None) -> Floats:
    together = tables.sum(axis=1) if overall is None else overall
    worst_of = np.zeros(len(tables))
    for rate in metric.to_overall:
        apart = np.abs(rate.values(tables) - rate.values(together[:, None]))
        lacking = np.isnan(apart)
        known = np.where(lacking, 0.0, apart)
        found = known.max(axis=1) if metric.over_groups == "max" else known.sum(axis=1)
        worst_of = np.maximum(worst_of, np.where(lacking.all(axis=1), np.nan, found))
    return worst_of


# Objects and not closures, so that metrics can be compared and pickled.
@dataclass(frozen=True, slots=True)
class _Disparity:
    """The disparity of the worst rate over the groups, in [0, 1], or why there is none.

    Of several classes each one's rates against all others are compared. A minimum is defined for
    a single group, too.
    """

    rates: tuple[Rate, ...]
    form: Literal["difference", "ratio", "minimum"]

    def __call__(self, counts: GroupCounts | ClassCounts) -> float | Undefined:
        present = np.count_nonzero(counts.table.any(axis=(1, 2)))
        if present < 2 and self.form != "minimum":
            return Undefined("single group: fewer than two groups have rows")
        if present == 0:
            return Undefined("no group has rows")
        if isinstance(counts, ClassCounts):
            reason = counts.lacking(self.rates)
            if reason:
                return Undefined(reason)
            found = float(worst(counts.stacked(self.rates), self.form))
            return Undefined("0/0: a rate is 0 in every group") if np.isnan(found) else found
        by_rate = np.stack([counts.rates(rate) for rate in self.rates])
        found = float(worst(by_rate, self.form))
        return Undefined(_reason(counts, self.rates, by_rate)) if np.isnan(found) else found


@dataclass(frozen=True, slots=True)
class _ToOverall:
    """How far the group rates are from the rates of all rows, or why there is no value.

    The groups may overlap. A group without the rows of a rate is left out of that rate.

    References
    ----------
    Borkan, Dixon, Sorensen, Thain, Vasserman, "Nuanced metrics for measuring unintended bias with
    real data for text classification", WWW 2019 companion; Gencoglu, "Cyberbullying detection
    with fairness constraints", IEEE Internet Computing 2021, arXiv 2005.06625, whose constraint
    is ``|rate_g - rate| <= t`` and whose FNED and FPED are the sums over ``g``.
    """

    rates: tuple[Rate, ...]
    over_groups: Literal["max", "sum"]

    def __call__(self, counts: GroupCounts) -> float | Undefined:
        present = np.count_nonzero(counts.table.any(axis=(1, 2)))
        if present == 0 or (present == 1 and counts.overall is None):
            return Undefined("single group: there is no other group to compare it with")
        found = 0.0
        for rate in self.rates:
            (overall,) = rate.values(counts.total[None])
            apart = np.abs(counts.rates(rate) - overall)
            known = apart[~np.isnan(apart)]
            if len(known) == 0:
                return Undefined(f"no group has {rate.lacks}")
            # An exact sum: the order of the groups must not show in the last bit.
            found = max(found, known.max() if self.over_groups == "max" else math.fsum(known))
        return float(found)


@dataclass(frozen=True, slots=True)
class _Macro:
    """The mean over the classes of the largest gap of the rates, or why there is none."""

    rates: tuple[Rate, ...]

    def __call__(self, counts: ClassCounts) -> float | Undefined:
        if np.count_nonzero(counts.table.any(axis=(1, 2))) < 2:
            return Undefined("single group: fewer than two groups have rows")
        reason = counts.lacking(self.rates)
        if reason:
            return Undefined(reason)
        return float(_MacroOfTables(self.rates)(counts.table[None])[0])


@dataclass(frozen=True, slots=True)
class _MacroOfTables:
    rates: tuple[Rate, ...]

    def __call__(self, tables: Floats) -> Floats:
        n_tables, n_groups, n_classes, _ = tables.shape
        flat = ClassCounts(tables.reshape(-1, n_classes, n_classes)).stacked(self.rates)
        by_group = flat.reshape(len(self.rates), n_classes, n_tables, n_groups)
        return np.ptp(by_group, axis=-1).max(axis=0).mean(axis=0)


def fairness_metric(
    name: str,
    rates: Sequence[Rate],
    compare: Compare,
    *,
    about: str = "",
    over_groups: Literal["max", "sum"] = "max",
    tasks: Sequence[TaskName] = ("binary",),
) -> Metric:
    """Return a fairness metric made from group rates.

    Parameters
    ----------
    name : str
        Registered name.
    rates : sequence of Rate
        The rates that should be equal, or large enough; the worst of them counts.
    compare : {"difference", "ratio", "minimum", "to_overall", "macro"}
        Largest minus smallest rate; smallest over largest; smallest rate, for groups that may
        overlap; distance from the rate of all rows, for groups that may overlap; mean over the
        classes of the difference, for several classes.
    about : str
        One line for lists of metrics.
    over_groups : {"max", "sum"}
        With ``"to_overall"``: whether the largest distance counts, or the sum over the groups.
    tasks : sequence of {"binary", "multiclass"}
        Kinds of target.

    Raises
    ------
    InputError
        There are no rates, or ``compare`` is not one of the five.

    Examples
    --------
    >>> metric = fairness_metric("for_difference", [FOR], "difference")
    >>> metric.value(GroupCounts(np.array([[[8, 0], [2, 0]], [[9, 0], [1, 0]]], float)))
    0.1
    >>> metric = fairness_metric("minimum_tpr", [TPR], "minimum")
    >>> metric.value(GroupCounts(np.array([[[8, 0], [1, 3]], [[9, 0], [1, 1]]], float)))
    0.5
    """
    compared = tuple(rates)
    if not compared:
        raise InputError(f"Metric {name!r}: rates is empty; give at least one Rate.")
    if compare not in get_args(Compare):
        allowed = ", ".join(map(repr, get_args(Compare)))
        raise InputError(f"Metric {name!r}: compare={compare!r} must be one of {allowed}.")
    metric = partial(
        Metric, name=name, about=about, kind="fairness", on="decisions", tasks=frozenset(tasks)
    )
    if compare == "to_overall":
        return metric(
            value=_ToOverall(compared, over_groups),
            greater_is_better=False,
            to_overall=compared,
            over_groups=over_groups,
        )
    if compare == "macro":
        return metric(
            value=_Macro(compared),
            many=_MacroOfTables(compared),
            greater_is_better=False,
            rates=compared,
        )
    return metric(
        value=_Disparity(compared, compare),
        greater_is_better=compare != "difference",
        rates=compared,
        form=compare,
    )


def comparison(metric: Metric) -> Compare | None:
    """Return how a metric compares its rates, None for one that is not made from rates alone."""
    made = metric.value
    if isinstance(made, _Disparity):
        return made.form
    if isinstance(made, _ToOverall):
        return "to_overall"
    return "macro" if isinstance(made, _Macro) else None


_BOTH: tuple[TaskName, ...] = ("binary", "multiclass")
_MULTICLASS: tuple[TaskName, ...] = ("multiclass",)

# Sources. Demographic parity: Dwork, Hardt, Pitassi, Reingold, Zemel, "Fairness through
# awareness", ITCS 2012; the ratio: Feldman et al., "Certifying and removing disparate impact",
# KDD 2015, and the four-fifths rule of 29 CFR 1607.4 D. Equal opportunity, equalized odds: Hardt,
# Price, Srebro, NeurIPS 2016, definitions 2.1 and 2.2; the larger gap counts, not the mean, so
# that a gap in one label cannot hide behind the other. Error rate balance, predictive parity:
# Chouldechova, Big Data 5(2), 2017; Corbett-Davies et al., KDD 2017. Accuracy and error rates:
# Berk, Heidari, Jabbari, Kearns, Roth, Sociological Methods & Research 50(1), 2021. To overall,
# FNED, FPED: see ``_ToOverall``; never report the sum of FNED and FPED alone, one of them can get
# worse while their sum falls. Macro: Denis, Elie, Hebiri, Hu, JMLR 25, 2024, arXiv 2109.13642;
# Rouzot, Ferry, Huguet, ICTAI 2022, arXiv 2304.05240. A minimum of each group's rate bounds the
# worst-off group, as minimax fairness does: Martinez, Bertran, Sapiro, ICML 2020, arXiv
# 2011.01821; Diana, Gill, Kearns, Kenthapadi, Roth, AIES 2021, arXiv 2011.03108. It does not
# compare groups, so levelling down cannot meet it.
# A gap in false negative rates is the gap in true positive rates, which is what a post-processor
# equalises.
FAIRNESS: tuple[Metric, ...] = (
    fairness_metric("demographic_parity_difference", [SELECTION], "difference", tasks=_BOTH,
        about="Largest gap in selection rate."),
    fairness_metric("demographic_parity_ratio", [SELECTION], "ratio",
        about="Smallest selection rate over the largest."),
    fairness_metric("demographic_parity_to_overall", [SELECTION], "to_overall",
        about="Largest distance of a group's selection rate from the overall one."),
    fairness_metric("demographic_parity_macro_difference", [SELECTION], "macro", tasks=_MULTICLASS,
        about="Mean over the classes of the gap in their share."),
    fairness_metric("equal_opportunity_difference", [TPR], "difference", tasks=_BOTH,
        about="Largest gap in true positive rate."),
    fairness_metric("equalized_odds_difference", [TPR, FPR], "difference", tasks=_BOTH,
        about="Larger of the gaps in true and false positive rate."),
    fairness_metric("equalized_odds_ratio", [TPR, FPR], "ratio",
        about="Smaller of the ratios of true and false positive rates."),
    fairness_metric("equalized_odds_to_overall", [TPR, FPR], "to_overall",
        about="Largest distance of a true or false positive rate from the overall one."),
    fairness_metric("equalized_odds_macro_difference", [TPR, FPR], "macro", tasks=_MULTICLASS,
        about="Mean over the classes of the larger gap in their rates."),
    fairness_metric("false_negative_rate_difference", [TPR], "difference",
        about="Largest gap in false negative rate."),
    fairness_metric("false_positive_rate_difference", [FPR], "difference",
        about="Largest gap in false positive rate (predictive equality)."),
    fairness_metric("false_negative_rate_to_overall", [TPR], "to_overall",
        about="Largest distance of a group's false negative rate from the overall one."),
    fairness_metric("false_positive_rate_to_overall", [FPR], "to_overall",
        about="Largest distance of a group's false positive rate from the overall one."),
    fairness_metric("fned", [TPR], "to_overall", over_groups="sum",
        about="False negative equality difference: distances from the overall rate, summed."),
    fairness_metric("fped", [FPR], "to_overall", over_groups="sum",
        about="False positive equality difference: distances from the overall rate, summed."),
    fairness_metric("predictive_parity_difference", [PPV], "difference",
        about="Largest gap in precision (positive predictive value)."),
    fairness_metric("accuracy_parity_difference", [ACCURACY], "difference", tasks=_BOTH,
        about="Largest gap in accuracy."),
    fairness_metric("error_rate_ratio", [ERROR], "ratio", tasks=_BOTH,
        about="Smallest error rate over the largest."),
    fairness_metric("minimum_recall", [TPR], "minimum", tasks=_BOTH,
        about="Smallest true positive rate of a group."),
    fairness_metric("minimum_true_negative_rate", [TNR], "minimum",
        about="Smallest true negative rate of a group."),
    fairness_metric("minimum_precision", [PPV], "minimum",
        about="Smallest precision (positive predictive value) of a group."),
    fairness_metric("minimum_negative_predictive_value", [NPV], "minimum",
        about="Smallest share of label 0 among the rejected rows of a group."),
    fairness_metric("minimum_selection_rate", [SELECTION], "minimum", tasks=_BOTH,
        about="Smallest selection rate of a group."),
    fairness_metric("minimum_accuracy", [ACCURACY], "minimum", tasks=_BOTH,
        about="Smallest accuracy of a group."),
)  # fmt: skip
