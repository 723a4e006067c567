"""Youden's J: true positive rate minus false positive rate."""

from fairautoml.metrics import Metric, Undefined


def value(counts):
    table = counts.pooled()
    if not table.sum(axis=1).all():
        return Undefined("one class only")
    true, false = table[1, 1] / table[1].sum(), table[0, 1] / table[0].sum()
    return float(true - false)


METRIC = Metric(
    name="informedness",
    kind="performance",
    on="decisions",
    value=value,
    greater_is_better=True,
)
