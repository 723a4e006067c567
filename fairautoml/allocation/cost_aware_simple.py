"""The simple rule: mitigate the best model when that costs no more than an improvement of it."""

from fairautoml.allocation._rules import Rules
from fairautoml.allocation.cost_aware import CostAware
from fairautoml.trials import Terms

SIMPLE_RULE = Rules(test="simple")


class CostAwareSimple(CostAware):
    """Compares seconds alone, where ``CostAware`` compares gain per second."""

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms, SIMPLE_RULE)


ALLOCATOR = CostAwareSimple
