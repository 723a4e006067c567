"""
Adult: one search, a whole front
================================

Who earns more than 50,000 dollars a year (US census of 1994)? The shares of women and men that
are predicted to do so may differ by at most 0.05. One search yields every trade-off between
accuracy and this gap.
"""

from fairautoml import FairAutoML
from fairautoml.data import load

adult = load("adult")
X, y = adult.frame.drop(columns=[adult.target, *adult.drop]), adult.frame[adult.target]

model = FairAutoML("demographic_parity_difference <= 0.05", time_budget=20, random_state=0)
model.fit(X, y, sensitive="sex")
print(model.summary_["headline"])

# %%
# Each point is a classifier with its cross-fitted accuracy and gap. The diamond is the selected
# one. It is to the left of the bound, because the bound must also hold on new rows.

axes = model.plot_pareto()

# %%
# Selecting another point of the front needs no training.

stricter = model.select(max_gap=0.02)
print(f"accuracy {stricter.best_entry_.score:.3f} at a gap of {stricter.best_entry_.gap:.3f}")
