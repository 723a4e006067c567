"""Draw the picture of README and start page: ``make pictures``, in about half a minute.

It needs the extra ``plot``, and ``adult``: see ``fairautoml.data.load``.
"""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from fairautoml import FairAutoML
from fairautoml.data import load

mpl.rcParams.update({"svg.hashsalt": "fairautoml", "font.size": 10, "axes.spines.top": False})
mpl.rcParams.update({"axes.spines.right": False, "figure.facecolor": "white"})

adult = load("adult")
X = adult.frame.drop(columns=[adult.target, *adult.drop])
model = FairAutoML("demographic_parity_difference <= 0.05", n_trials=20, random_state=0)
model.fit(X, adult.frame[adult.target], sensitive="sex")

figure = Figure(figsize=(7.5, 3.6), layout="constrained")
axes = model.plot_pareto(figure.subplots())
axes.set_title("adult: predicted income above 50,000, gap between women and men", loc="left")
figure.savefig(Path(__file__).with_name("adult_front.svg"), metadata={"Date": None})
