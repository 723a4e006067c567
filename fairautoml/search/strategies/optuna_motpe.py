"""Multi-objective TPE by Optuna: maximize the value and minimize the worst violation.

Ozaki et al. 2022 (JAIR 73, multiobjective TPE); Watanabe, arXiv 2304.11127 (constraints). Feasible
trials are preferred to infeasible ones.
"""

from functools import partial

from fairautoml.search.strategies._optuna import ParzenStrategy, value_and_violation

STRATEGY = partial(
    ParzenStrategy, directions=("maximize", "minimize"), objectives=value_and_violation
)
"""Searches the Pareto front of value and worst violation under constraints."""
