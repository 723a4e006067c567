"""Tree-structured Parzen estimator by Optuna, constrained, multivariate, grouped.

Bergstra et al. 2011; Watanabe, arXiv 2304.11127 (constraints, multivariate kernels). ``group``
makes conditional spaces work, ``constant_liar`` concurrent trials.
"""

from collections.abc import Sequence

import optuna

from fairautoml.search.strategies._optuna import StudyStrategy, new_study, parzen, value_only
from fairautoml.spaces import SearchSpace
from fairautoml.trials import Candidate


class OptunaTPE(StudyStrategy):
    """One value to raise, n constraints.

    Parameters
    ----------
    space : SearchSpace
        What may be chosen.
    seed : int
        Seed of the sampler.
    first : sequence of Candidate
        Proposed first, in order.
    """

    def __init__(self, space: SearchSpace, seed: int, first: Sequence[Candidate]) -> None:
        def make_study(number: int) -> optuna.Study:
            return new_study(parzen(seed + number), "maximize")

        super().__init__(space, first, make_study, objectives=value_only)


STRATEGY = OptunaTPE
