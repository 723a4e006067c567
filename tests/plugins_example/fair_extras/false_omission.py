from fairautoml.metrics import Rate, fairness_metric

# Cells are (label, decision): rejected rows with label 1, among all rejected rows.
FALSE_OMISSION_RATE = Rate(
    name="false_omission_rate",
    of=frozenset({(1, 0)}),
    among=frozenset({(0, 0), (1, 0)}),
    lacks="rejected rows",
    zero="no rejected row has label 1",
)
METRIC = fairness_metric(
    "false_omission_rate_difference",
    [FALSE_OMISSION_RATE],
    "difference",
    about="Largest gap in false omission rate.",
)
