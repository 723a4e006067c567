"""Contract checks for plug-ins, including those of third parties.

Call one in a test of your plug-in::

    from fairautoml.testing import check_metric

    def test_my_metric_keeps_the_contract():
        check_metric(METRIC)
"""

from fairautoml.testing._learners import check_learner
from fairautoml.testing._metrics import check_metric
from fairautoml.testing._mitigators import check_mitigator
from fairautoml.testing._search import check_space, check_strategy

__all__ = ["check_learner", "check_metric", "check_mitigator", "check_space", "check_strategy"]
