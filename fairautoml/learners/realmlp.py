"""RealMLP: a neural network with robust scaling, periodic embeddings and a tuned schedule.

After Holzmueller, Grinsztajn and Steinwart, "Better by Default: Strong Pre-Tuned MLPs and Boosted
Trees on Tabular Data", NeurIPS 2024, arXiv 2407.04491.
"""

# Differences from RealMLP-TD: no parametric activation, no label smoothing (scores have to be
# calibrated), biases begin at random, and the epoch is chosen by the log loss.

from fairautoml.learners._network import Recipe, network_learner

RECIPE = Recipe(
    name="realmlp",
    activation="selu",
    tangent=True,
    random_signs=False,
    scale_rate=6.0,
    bias_rate=0.1,
    scheduled=True,
    betas=(0.9, 0.95),
    rate=0.04,
    n_members=1,
)

LEARNER = network_learner(RECIPE)
