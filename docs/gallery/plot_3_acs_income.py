"""
ACS income: several groups, and a ratio
=======================================

The American Community Survey of 2018, a modern successor of adult. The smallest selection rate of
a group must be at least 0.8 times the largest (the "four-fifths rule"), between the sexes, between
four groups of race, and between their combinations. A sample of 30,000 rows keeps the example
short.
"""

import matplotlib.pyplot as plt

from fairautoml import FairAutoML
from fairautoml.data import load

income = load("acs_income_2018")
large = income.frame["RAC1P"].isin(["1", "2", "6", "8"])  # white, Black, Asian, another race
rows = income.frame[large].sample(30_000, random_state=0)
X, y = rows.drop(columns=[income.target, *income.drop]), rows[income.target]

model = FairAutoML(
    "demographic_parity_ratio >= 0.8",
    time_budget=20,
    random_state=0,
)
model.fit(X, y, sensitive=["SEX", "RAC1P"])
print(model.summary_["headline"])

# %%
# The horizontal axis shows one minus the smallest ratio of all three comparisons.

model.plot_pareto()
plt.show()
