from mitigator_cases import DEMOGRAPHIC, counts_of, goal, rows_of

from fairautoml.metrics.rates import RATES
from fairautoml.mitigators import Goal
from fairautoml.mitigators.postprocessing.none import fit_rules


def test_it_decides_like_the_model_whatever_the_goal():
    rows = rows_of([0.5, 0.49, 0.8], [1, 1, 0], [0, 1, 1])
    for wanted in (Goal(targets=()), goal(DEMOGRAPHIC, 2)):
        ((tolerance, rule),) = fit_rules(rows, wanted, [0.0])
        assert tolerance is None
        assert rule.decide(rows.scores, rows.cells).tolist() == [1, 0, 1]
        assert counts_of(rule, rows).rates(RATES["selection"]).tolist() == [1.0, 0.5]
