from dataclasses import replace

import numpy as np
import pytest

from fairautoml.metrics import METRICS, Metric, Undefined
from fairautoml.metrics.rates import RATES
from fairautoml.testing import check_metric

ACCURACY = METRICS.get("accuracy")
PARITY = METRICS.get("demographic_parity_difference")
AUC = METRICS.get("roc_auc")
TO_OVERALL = METRICS.get("demographic_parity_to_overall")
GEDI = METRICS.get("gedi")
MACRO = METRICS.get("demographic_parity_macro_difference")


def without_values(counts, values=None):
    return GEDI.value(counts, np.array([-1.0, 0.25, 2.0])[: len(counts.table)])


def of_accepted(counts, values=None):
    found = GEDI.value(counts, values)
    return found if isinstance(found, Undefined) else found + 0.5


def always(counts, values=None):
    return GEDI.value(counts, np.array([-1.0, 0.25, 2.0]) if values is None else values)


def of_class_counts(counts):
    found = MACRO.value(counts)
    if isinstance(found, Undefined):
        return found
    sizes = counts.table.sum(axis=(1, 2))
    return float(sizes.max() - sizes.min())


def of_the_first_group(counts):
    return float(counts.table[0, 0, 0] / counts.table[0].sum())


def clearing(counts):
    found = ACCURACY.value(counts)
    counts.table[:] = 0
    return found


def without_weights(y, scores, weight):
    return AUC.value(y, scores, np.ones(len(y)))


def of_the_first_rows(y, scores, weight):
    return AUC.value(y[:99], scores[:99], weight[:99])


def mean_absolute_gap(counts):
    rates = counts.rates(RATES["selection"])
    return float(np.abs(rates - rates.mean()).mean())


def dropping_empty_groups(counts):
    rates = counts.rates(RATES["selection"])
    rates = rates[~np.isnan(rates)]
    return float(rates.max() - rates.min())


def without_a_reason(counts):
    found = PARITY.value(counts)
    return Undefined("") if isinstance(found, Undefined) else found


@pytest.mark.parametrize(
    ("metric", "match"),
    [
        (replace(ACCURACY, value=of_the_first_group), "when the groups are renamed"),
        (replace(ACCURACY, value=clearing), "modifies its input"),
        (replace(ACCURACY, greater_is_better=False), "greater_is_better=False, but right"),
        (replace(ACCURACY, value=lambda counts: float("nan")), "nan, not a finite float"),
        (replace(ACCURACY, value=lambda counts: 1), "value is 1, not a finite float"),
        (replace(ACCURACY, value=lambda counts: Undefined("no")), "an example that has a value"),
        (replace(AUC, value=without_weights), "when a row of weight k is given k times"),
        (replace(AUC, value=of_the_first_rows), "when the rows are in another order"),
        (replace(AUC, kind="fairness"), "a fairness metric needs groups"),
        (replace(PARITY, form="ratio"), r"not 1\.0, when all groups are equal"),
        (replace(PARITY, value=dropping_empty_groups), "not Undefined, when a group has no rows"),
        (replace(PARITY, value=without_a_reason), "Undefined without a reason"),
        (replace(PARITY, rates=(RATES["tpr"],)), r"when computed from its rates tpr"),
        (replace(TO_OVERALL, to_overall=(RATES["tpr"],)), r"when computed from its rates tpr"),
        (replace(PARITY, many=lambda tables: np.zeros(len(tables))), "of many tables at once"),
        (replace(GEDI, value=without_values), "the groups are renamed"),
        (replace(GEDI, value=of_accepted), "not 0.0, when all rates are equal"),
        (replace(GEDI, value=always), "not Undefined, when no values are given"),
        (replace(MACRO, value=of_class_counts), "not 0.0, when all groups are equal"),
    ],
)
def test_a_broken_metric_is_found_out(metric, match):
    with pytest.raises(AssertionError, match=f"^{metric.name}: .*{match}"):
        check_metric(metric)


def test_a_fairness_metric_without_stated_rates_is_taken_as_it_is():
    def value(counts):
        found = PARITY.value(counts)
        return found if isinstance(found, Undefined) else mean_absolute_gap(counts)

    metric = Metric(
        name="mean_gap", kind="fairness", on="decisions", value=value, greater_is_better=False
    )
    assert check_metric(metric) is None
