"""
MEPS: margin and certificate
============================

Who uses much medical care (US survey of 2015)? A care programme should reach those who need it
equally often in both groups of race: equal opportunity. With few rows the question is whether
the bound holds in the population.
"""

import matplotlib.pyplot as plt
from sklearn.model_selection import train_test_split

from fairautoml import FairAutoML
from fairautoml.data import load

meps = load("meps_h181_subset")
X, y = meps.frame.drop(columns=[meps.target, *meps.drop]), meps.frame[meps.target]
X, X_new, y, y_new = train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)

model = FairAutoML(
    "equal_opportunity_difference <= 0.15",
    objective="balanced_accuracy",
    confidence=0.9,
    time_budget=15,
    random_state=0,
)
model.fit(X, y, sensitive="race")
print(model.summary_["headline"])

# %%
# The horizontal lines are bootstrap intervals of the gap. ``confidence=0.9`` selects a rule
# that meets the bound on new rows with an estimated probability of at least 0.9.

model.plot_pareto()
plt.show()

# %%
# The certificate tests the selected model on the rows that were held out.

certificate = model.certify(X_new, y_new)
print(certificate.verdict)
