"""Parzen estimator for two objectives by Optuna: raise the value, lower the worst violation.

Ozaki et al. 2022 (JAIR 73, multiobjective TPE); Watanabe, arXiv 2304.11127 (constraints). The
constraints are told as well, so what meets them is preferred to all that does not.
"""

from collections.abc import Sequence

import optuna

from fairautoml.search.strategies._optuna import (
    StudyStrategy,
    new_study,
    parzen,
    value_and_violation,
)
from fairautoml.spaces import SearchSpace
from fairautoml.trials import Candidate


class OptunaMOTPE(StudyStrategy):
    """Searches the front of value and worst violation under constraints.

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
            # Optuna leaves "multivariate" off for two objectives, which is three times as slow.
            return new_study(parzen(seed + number), "maximize", "minimize")

        super().__init__(space, first, make_study, objectives=value_and_violation)


STRATEGY = OptunaMOTPE
