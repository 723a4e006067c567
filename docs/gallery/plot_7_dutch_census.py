"""
Dutch census: with and without reading the group
================================================

Who has a prestigious occupation (Netherlands, 2001)? A rule that may read the sex of a new
person uses one threshold per sex. A rule that must not read it estimates it from the other
columns, which costs more accuracy.
"""

import matplotlib.pyplot as plt

from fairautoml import FairAutoML
from fairautoml.data import load

census = load("dutch_census_2001")
rows = census.frame.sample(20_000, random_state=0)
X, y = rows.drop(columns=[census.target, *census.drop]), rows[census.target]

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
for axes, reads, title in ((left, True, "reads the sex"), (right, False, "does not read it")):
    model = FairAutoML(
        "demographic_parity_difference <= 0.05",
        sensitive_at_predict=reads,
        time_budget=10,
        random_state=0,
    )
    model.fit(X, y, sensitive="sex")
    model.plot_pareto(axes)
    axes.set_title(title)
    print(title, "->", model.summary_["headline"])
plt.show()
