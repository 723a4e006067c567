"""TabM: many small networks that share their hidden layers and are averaged.

After Gorishniy, Kotelnikov and Babenko, "TabM: Advancing Tabular Deep Learning with
Parameter-Efficient Ensembling", ICLR 2025, arXiv 2410.24210; the variant TabM-mini, in which
members differ by a scale of each input and by their last layer.
"""

from fairautoml.learners._network import Recipe, network_learner

RECIPE = Recipe(
    name="tabm",
    activation="relu",
    tangent=False,
    random_signs=True,
    scale_rate=1.0,
    bias_rate=1.0,
    scheduled=False,
    betas=(0.9, 0.999),
    rate=0.003,
    n_members=16,
)

LEARNER = network_learner(RECIPE)
