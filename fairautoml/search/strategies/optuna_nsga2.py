"""NSGA-II by Optuna: maximize the value and minimize the worst violation.

Deb et al. 2002 (IEEE TEC 6), with constrained domination. Suited to many inexpensive trials, as a
population needs several generations.
"""

from collections.abc import Sequence

import optuna

from fairautoml.records import Config
from fairautoml.search.space import SearchSpace
from fairautoml.search.strategies._optuna import StudyStrategy, new_study, value_and_violation

POPULATION = 12
"""Configurations per generation; with Optuna's 50, 100 trials would be only two generations."""


class OptunaNSGA2(StudyStrategy):
    """Evolves configurations as points of the flat space.

    NSGA-II crosses only parameters that every trial has, so inactive parameters are included.
    """

    def __init__(self, space: SearchSpace, seed: int, first: Sequence[Config]) -> None:
        sampler = optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed)
        study = new_study(sampler, "maximize", "minimize")
        super().__init__(space, first, study, objectives=value_and_violation)


STRATEGY = OptunaNSGA2
