from fairautoml.metrics import RATES, fairness_metric

# Conditional use accuracy equality: Berk, Heidari, Jabbari, Kearns and Roth 2021.
METRIC = fairness_metric(
    "use_accuracy_difference",
    [RATES["ppv"], RATES["npv"]],
    "difference",
    about="Larger of the gaps in positive and negative predictive value.",
)
