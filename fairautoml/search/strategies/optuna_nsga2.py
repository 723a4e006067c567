"""NSGA-II by Optuna: a population that raises the value and lowers the worst violation.

Deb et al. 2002 (IEEE TEC 6, constrained domination included). For many cheap trials; a
population learns little from fewer than a few generations.
"""

from collections.abc import Sequence

import optuna

from fairautoml.records import Config
from fairautoml.search.space import SearchSpace
from fairautoml.search.strategies._optuna import StudyStrategy, new_study, value_and_violation

POPULATION = 12
"""Candidates per generation; Optuna's 50 would leave runs of 100 trials a single step."""


class OptunaNSGA2(StudyStrategy):
    """Evolves candidates as points of the flat space.

    NSGA-II crosses only parameters that every trial has, so absent ones are carried along as
    genes that rest.
    """

    def __init__(self, space: SearchSpace, seed: int, first: Sequence[Config]) -> None:
        sampler = optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed)
        study = new_study(sampler, "maximize", "minimize")
        super().__init__(space, first, study, objectives=value_and_violation)


STRATEGY = OptunaNSGA2
