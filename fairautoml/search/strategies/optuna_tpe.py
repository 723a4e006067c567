"""Tree-structured Parzen estimator (TPE) by Optuna with constraints.

Bergstra et al. 2011; Watanabe, arXiv 2304.11127 (constraints, multivariate kernels).
"""

from functools import partial

from fairautoml.search.strategies._optuna import ParzenStrategy, value_only

STRATEGY = partial(ParzenStrategy, directions=("maximize",), objectives=value_only)
"""Maximizes the value under the constraints."""
