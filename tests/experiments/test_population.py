import numpy as np
import pytest

from fairautoml.metrics import Constraint, GroupCounts
from guarantee.end_to_end import EndToEndCell, end_to_end_cells
from guarantee.population import Population


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


def test_there_are_the_fifteen_cells_requested():
    cells = end_to_end_cells()
    assert len({cell.key for cell in cells}) == 15
    assert {(cell.n_rows, cell.n_groups) for cell in cells} == {
        (2_000, 2),
        (2_000, 5),
        (20_000, 2),
        (20_000, 5),
        (20_000, 20),
    }


def test_the_same_chance_gives_the_same_search_and_verdict():
    cell = EndToEndCell(400, 2, "parity", 0.2)
    one, two = (cell.once(np.random.default_rng(5)) for _ in range(2))
    assert one == two
    assert [outcome.procedure for outcome in one] == ["certifier", "naive"]


@pytest.mark.slow
def test_a_search_is_certified_without_error_where_the_naive_choice_errs():
    cell = EndToEndCell(2_000, 2, "parity", 0.2)
    played = [cell.once(np.random.default_rng(number)) for number in range(30)]
    certified, naive = zip(*played, strict=True)
    assert sum(one.wrong for one in certified) <= 1
    assert sum(one.certified for one in certified) >= 3
    assert sum(one.wrong for one in naive) >= 6
