"""The simple rule: mitigate the best model when that costs no more than an improvement of it."""

from fairautoml.records import Terms
from fairautoml.search.allocators._expected_gain import Rules
from fairautoml.search.allocators.cost_aware import CostAware

SIMPLE_RULE = Rules(test="simple")


class CostAwareSimple(CostAware):
    """Compares seconds alone, where ``CostAware`` compares gain per second."""

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms, SIMPLE_RULE)


ALLOCATOR = CostAwareSimple
