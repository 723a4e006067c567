"""Draw accuracy against the gap on held-out rows for this library and others.

``python docs/pictures/draw_systems.py`` reads ``results/main/cells.csv``. A run has a front of its
choices; each line is the mean over three seeds of the best accuracy within a gap.
"""

import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

mpl.rcParams.update({"svg.hashsalt": "fairautoml", "font.size": 10, "axes.spines.top": False})
mpl.rcParams.update({"axes.spines.right": False, "figure.facecolor": "white"})

HERE = Path(__file__).parent
CELLS = HERE.parents[1] / "results" / "main" / "cells.csv"
TASK, BOUND, LOWEST = "acs_income_dp", 0.05, 0.78
SYSTEMS = {
    "fairautoml": "fairautoml",
    "flaml_exact_thresholds": "FLAML + our thresholds",
    "flaml_threshold_optimizer": "FLAML + ThresholdOptimizer",
    "oxonfair_autogluon": "AutoGluon + OxonFair",
    "fairgbm_random_search": "FairGBM, random search",
    "optuna_expert": "Optuna, by an expert",
}
GAPS = np.linspace(0.0, 0.1, 201)


def best_within(front: str) -> NDArray[np.float64]:
    """Return the best accuracy of a front within each gap, NaN if it is below the picture."""
    accuracy, gap = np.array(json.loads(front)).T
    best = np.where(gap[:, None] <= GAPS, accuracy[:, None], 0.0).max(axis=0)
    return np.where(best < LOWEST, np.nan, best)


cells = pd.read_csv(CELLS)
cells = cells[cells["question"] == TASK]
figure = Figure(figsize=(7.5, 3.8), layout="constrained")
axes = figure.subplots()
for variant, label in SYSTEMS.items():
    fronts = cells.loc[cells["variant"] == variant, "holdout_front"].map(best_within)
    width = 2.6 if variant == "fairautoml" else 1.3
    axes.step(GAPS, np.mean(list(fronts), axis=0), where="post", label=label, linewidth=width)
axes.axvline(BOUND, color="grey", linestyle="--", linewidth=1)
axes.set_ylim(LOWEST, 0.815)
axes.set_xlabel("gap in selection rate between men and women, held-out rows")
axes.set_ylabel("accuracy, held-out rows")
axes.set_title("ACS income, 70,000 rows: 30 s and one core for each system", loc="left")
axes.legend(frameon=False, fontsize=9, loc="lower right")
figure.savefig(HERE / "systems.svg", metadata={"Date": None})
