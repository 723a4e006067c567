"""Allocator that mitigates the best model when that costs no more than the next improvement."""

from fairautoml.records import Terms
from fairautoml.search.allocators._expected_gain import Rules
from fairautoml.search.allocators.cost_aware import CostAware

SIMPLE_RULE = Rules(test="simple")


class CostAwareSimple(CostAware):
    """Compares expected seconds, where ``CostAware`` compares expected gain per second."""

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms, SIMPLE_RULE)


ALLOCATOR = CostAwareSimple
