"""
COMPAS: errors by race
======================

Who is arrested again within two years (Broward County, Florida)? Here the positive label is the
*unfavourable* one: a false positive is a person who is rated as a risk and is not arrested
again. Equalized odds bounds the gaps in both error rates. The label is an arrest, not a crime,
and reflects policing as well as conduct.
"""

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.model_selection import train_test_split

from fairautoml import FairAutoML
from fairautoml.data import load

compas = load("compas_two_years")
rows = compas.frame[compas.frame["race"].isin(["African-American", "Caucasian"])]
scored = [*compas.drop, "decile_score", "score_text", "c_charge_desc"]
scored += ["name", "first", "last", "dob"]
X = rows.drop(columns=[c for c in (*scored, compas.target) if c in rows])
X, X_new, y, y_new = train_test_split(X, rows[compas.target], test_size=0.4, random_state=0)

rates = {}
for name, constraint in {"plain": None, "fair": "equalized_odds_difference <= 0.1"}.items():
    model = FairAutoML(constraint, time_budget=10, random_state=0)
    model.fit(X, y, sensitive="race")
    decided = model.predict(X_new)
    by_race = pd.DataFrame({"race": X_new["race"], "label": y_new, "high risk": decided})
    rates[name] = by_race.groupby(["label", "race"])["high risk"].mean()

# %%
# Rates on rows that the search has not seen: among those who are not arrested again (label 0,
# false positives) and those who are (label 1, true positives).

axes = pd.DataFrame(rates).plot.barh(xlabel="share rated as high risk")
axes.figure.tight_layout()
plt.show()
