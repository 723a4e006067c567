"""
ACS income: several groups, and a ratio
=======================================

The American Community Survey of 2018, a modern successor of adult. The smallest selection rate
of a group must be at least 0.8 times the largest (the "four-fifths rule"), between the sexes,
between the groups of race, and between their combinations. A sample of 30,000 rows keeps the
example short.
"""

import matplotlib.pyplot as plt

from fairautoml import FairAutoML, GroupPolicy
from fairautoml.data import load

income = load("acs_income_2018")
rows = income.frame.sample(30_000, random_state=0)
X, y = rows.drop(columns=[income.target, *income.drop]), rows[income.target]

model = FairAutoML(
    "demographic_parity_ratio >= 0.8",
    group_policy=GroupPolicy(pool=True),
    time_budget=20,
    random_state=0,
)
model.fit(X, y, sensitive=["SEX", "RAC1P"])
print(model.summary_["headline"])
for note in model.notes_:
    print("note:", note)

# %%
# Groups with too few rows for the bound are compared as one, "(other)". The front of all
# classifiers:

model.plot_pareto()
plt.show()
