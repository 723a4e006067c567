"""RealMLP: a neural network with robust scaling, periodic embeddings and a tuned schedule.

After Holzmueller, Grinsztajn and Steinwart, "Better by Default: Strong Pre-Tuned MLPs and Boosted
Trees on Tabular Data", NeurIPS 2024, arXiv 2407.04491.
"""

# Differences from RealMLP-TD: no parametric activation, no label smoothing (scores have to be
# calibrated), biases begin at random, and the epoch is chosen by the log loss.

from collections.abc import Mapping

from fairautoml.data.dataset import FeatureSchema
from fairautoml.learners._base import Learner, ParamValue
from fairautoml.learners._network import (
    Network,
    NetworkBinary,
    NetworkMulticlass,
    NetworkNumbers,
    Recipe,
    torch_for,
)

RECIPE = Recipe(
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


class _RealMLP(Network):
    name, recipe = "realmlp", RECIPE


class RealMLPBinary(_RealMLP, NetworkBinary):
    """Binary classifier."""


class RealMLPMulticlass(_RealMLP, NetworkMulticlass):
    """Multiclass classifier."""


class RealMLPNumbers(_RealMLP, NetworkNumbers):
    """Regressor."""


def build(
    params: Mapping[str, ParamValue], feature_schema: FeatureSchema, seed: int
) -> RealMLPBinary:
    """Return an unfitted classifier; ``params`` as for ``Network``."""
    torch_for("realmlp")
    return RealMLPBinary(params, feature_schema, seed)


LEARNER = Learner(
    name="realmlp",
    build=build,
    build_multiclass=RealMLPMulticlass,
    build_regressor=RealMLPNumbers,
    extra="nn",
    most_rows=20_000,
    least_seconds=300.0,
)
