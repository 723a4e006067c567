import numpy as np
import pytest

from common.population import Population
from fairautoml.metrics import Constraint, GroupCounts


@pytest.mark.parametrize("n_groups", [2, 5, 20])
def test_the_shares_of_all_kinds_of_individuals_add_up_to_one(n_groups):
    shares = Population(n_groups).shares
    assert shares.min() > 0
    assert shares.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "metric", ["demographic_parity_difference", "equal_opportunity_difference"]
)
def test_the_exact_gap_is_that_of_very_many_individuals(metric):
    population, constraint = Population(2), Constraint.parse(f"{metric} <= 0.1")
    kinds = population.kinds
    decisions = (kinds.X["income"] + kinds.X["savings"] > 0.3).to_numpy().astype(int)
    individuals = population.draw(400_000, np.random.default_rng(0))
    decided = (individuals.X["income"] + individuals.X["savings"] > 0.3).to_numpy().astype(int)
    codes = np.searchsorted(population.names, individuals.group)
    counts = GroupCounts.from_rows(codes, individuals.y, decided, n_groups=2)
    drawn = constraint.metric.value(counts)
    assert population.true_gap(decisions, constraint) == pytest.approx(drawn, abs=0.008)
    assert drawn > 0.15


def test_the_label_itself_as_a_decision_would_violate_in_every_population():
    for n_groups in (2, 5, 20):
        population = Population(n_groups)
        likely = (population.shares[:, 1] > population.shares[:, 0]).astype(int)
        constraint = Constraint.parse("demographic_parity_difference <= 0.2")
        assert population.true_gap(likely, constraint) > 0.2
