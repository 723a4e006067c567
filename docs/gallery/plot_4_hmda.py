"""
HMDA: missing groups
====================

Which mortgages are high-priced (US, 2018)? Being accepted is bad for the borrower here, and
many did not state their race. By default missing groups are refused; here "not stated" is a
group of its own.
"""

import matplotlib.pyplot as plt

from fairautoml import FairAutoML, GroupPolicy, audit
from fairautoml.data import load

hmda = load("hmda_2018_high_priced")
rows = hmda.frame.sample(40_000, random_state=0)
train, new = rows[:25_000], rows[25_000:]
features = rows.columns.drop([hmda.target, *hmda.drop])
print(train["race"].value_counts(dropna=False))

model = FairAutoML(
    "demographic_parity_difference <= 0.05",
    objective="balanced_accuracy",
    group_policy=GroupPolicy(missing="own_group", pool=True),
    time_budget=20,
    random_state=0,
)
model.fit(train[features], train[hmda.target], sensitive="race")

# %%
# An audit on new rows whose race is known, with exact intervals of the share of loans that are
# predicted to be high-priced:

new = new[new["race"].notna()]
found = audit(
    new[hmda.target],
    model.predict(new[features]),
    new["race"],
    constraint="demographic_parity_difference <= 0.05",
    independent=True,
)
found.plot("race")
plt.show()
