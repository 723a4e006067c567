"""Tree-structured Parzen estimator (TPE) by Optuna with constraints.

Bergstra et al. 2011; Watanabe, arXiv 2304.11127 (constraints, multivariate kernels).
"""

from collections.abc import Sequence

from fairautoml.records import Config
from fairautoml.search.space import SearchSpace
from fairautoml.search.strategies._optuna import ParzenStrategy, value_only


class OptunaTPE(ParzenStrategy):
    """Maximizes the value under the constraints."""

    def __init__(self, space: SearchSpace, seed: int, first: Sequence[Config]) -> None:
        super().__init__(space, seed, first, directions=("maximize",), objectives=value_only)


STRATEGY = OptunaTPE
