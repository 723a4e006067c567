"""The operator splitting of ``admm`` without constraint terms, to be compared with.

It hears of the objective alone, so no penalty, slack or dual of a constraint is ever in a value;
the answer of a run is still the best feasible evaluation of the log.
"""

from dataclasses import replace

from fairautoml.records import ScoredTrial
from fairautoml.search.strategies.admm import ADMM


class UnconstrainedADMM(ADMM):
    """``ADMM`` that is deaf to constraints."""

    def tell(self, scored: ScoredTrial) -> None:
        """Learn the objective of a trial; an unknown gap is no failure here."""
        super().tell(replace(scored, violations=(), limits=()))


STRATEGY = UnconstrainedADMM
