"""Multi-objective TPE by Optuna: maximize the value and minimize the worst violation.

Ozaki et al. 2022 (JAIR 73, multiobjective TPE); Watanabe, arXiv 2304.11127 (constraints). Feasible
trials are preferred to infeasible ones.
"""

from collections.abc import Sequence

from fairautoml.records import Config
from fairautoml.search.space import SearchSpace
from fairautoml.search.strategies._optuna import ParzenStrategy, value_and_violation


class OptunaMOTPE(ParzenStrategy):
    """Searches the Pareto front of value and worst violation under constraints."""

    def __init__(self, space: SearchSpace, seed: int, first: Sequence[Config]) -> None:
        # Optuna leaves "multivariate" off for two objectives, which is three times as slow.
        super().__init__(
            space,
            seed,
            first,
            directions=("maximize", "minimize"),
            objectives=value_and_violation,
        )


STRATEGY = OptunaMOTPE
