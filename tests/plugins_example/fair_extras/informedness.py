from fairautoml.metrics import Metric, Undefined


def value(counts):
    """Return Youden's J: true positive rate minus false positive rate."""
    table = counts.pooled()  # [label, decision]
    if not table.sum(axis=1).all():
        return Undefined("one class only")
    return float(table[1, 1] / table[1].sum() - table[0, 1] / table[0].sum())


METRIC = Metric(
    name="informedness",
    kind="performance",
    on="decisions",
    value=value,
    greater_is_better=True,
)
