"""
German credit: what 1,000 rows can show
=======================================

Who repays a loan (Germany, 1994)? With 1,000 rows, 310 of them of women, every gap is uncertain.
The printed sentences give the interval of the gap, and the estimated probability that the bound
holds in the population and on a hold-out: compare a bound of 0.05 with one of 0.15.
"""

import warnings

import matplotlib.pyplot as plt

from fairautoml import FairAutoML
from fairautoml.data import load
from fairautoml.exceptions import FairAutoMLWarning

credit = load("german_credit")
X, y = credit.frame.drop(columns=[credit.target, *credit.drop]), credit.frame[credit.target]

figure, both = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
for axes, bound in zip(both, (0.05, 0.15), strict=True):
    model = FairAutoML(f"demographic_parity_difference <= {bound}", time_budget=8, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FairAutoMLWarning)
        model.fit(X, y, sensitive="sex")
    model.plot_pareto(axes)
    axes.set_title(f"bound {bound}: {model.status_}")
    print(model.summary_["headline"])
plt.show()
