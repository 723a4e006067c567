"""TabM: many small networks that share their hidden layers and are averaged.

After Gorishniy, Kotelnikov and Babenko, "TabM: Advancing Tabular Deep Learning with
Parameter-Efficient Ensembling", ICLR 2025, arXiv 2410.24210; the variant TabM-mini, in which
members differ by a scale of each input and by their last layer.
"""

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


class _TabM(Network):
    name, recipe = "tabm", RECIPE


class TabMBinary(_TabM, NetworkBinary):
    """Binary classifier."""


class TabMMulticlass(_TabM, NetworkMulticlass):
    """Multiclass classifier."""


class TabMNumbers(_TabM, NetworkNumbers):
    """Regressor."""


def build(
    params: Mapping[str, ParamValue], feature_schema: FeatureSchema, seed: int
) -> TabMBinary:
    """Return an unfitted classifier; ``params`` as for ``Network``."""
    torch_for("tabm")
    return TabMBinary(params, feature_schema, seed)


LEARNER = Learner(
    name="tabm",
    build=build,
    build_multiclass=TabMMulticlass,
    build_regressor=TabMNumbers,
    extra="nn",
    most_rows=20_000,
    least_seconds=300.0,
)
