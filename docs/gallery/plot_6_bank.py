"""
Bank marketing: ages, and a rare label
======================================

Who subscribes to a deposit after a call (Portugal, 2008 to 2010)? One call in nine succeeds, so
balanced accuracy is the objective. Age is a number: it is cut into three groups.
"""

import matplotlib.pyplot as plt

from fairautoml import FairAutoML, GroupPolicy
from fairautoml.data import load

bank = load("bank_marketing_full")
X, y = bank.frame.drop(columns=[bank.target, *bank.drop]), bank.frame[bank.target]

model = FairAutoML(
    "demographic_parity_difference <= 0.05",
    objective="balanced_accuracy",
    group_policy=GroupPolicy(bins={"age": [30, 60]}),
    time_budget=20,
    random_state=0,
)
model.fit(X, y, sensitive="age")
print(model.summary_["headline"])

# %%
# The price of the bound: balanced accuracy against the gap between the groups of age.

model.plot_pareto()
plt.show()
