"""ADMM without constraint terms, a baseline for comparisons with ``admm``.

The strategy optimises the objective alone; the result of a run is still the best feasible
evaluation in the log.
"""

from dataclasses import replace

from fairautoml.records import TrialResult
from fairautoml.search.strategies.admm import ADMM


class UnconstrainedADMM(ADMM):
    """``ADMM`` that ignores constraints."""

    def tell(self, scored: TrialResult) -> None:
        """Receive the objective of a trial; an unknown gap does not count as a failure."""
        super().tell(replace(scored, violations=(), limits=()))

    def revise(self, scored: TrialResult) -> None:
        """Ignore the gaps of a result on all folds."""


STRATEGY = UnconstrainedADMM
