from dataclasses import replace

import numpy as np
import pytest

from fairautoml.certification.certify import Terms, certify
from fairautoml.exceptions import InputError
from guarantee.boundary import BoundaryCell, full_grid, selected_grid
from guarantee.controls import BestOnValidation, FirstPass, ReleasedNumbers
from guarantee.limits import cell_limit, least_answers, pooled_limit
from guarantee.outcomes import Outcome, tally
from guarantee.planned import PlannedCell

PLAIN = BoundaryCell(300, 1, 0.3, 2, "parity", 1, 1)


def played(cell, repetitions, **options):
    return tally(
        outcome
        for number in range(repetitions)
        for outcome in cell.once(np.random.default_rng(number), **options)
    )


def careless(subject, read, ledger, keys, terms):
    """A certifier that spends six times what it may."""
    loose = Terms(delta=6 * terms.delta)
    return certify(subject, read, ledger, keys, loose)


def deaf(subject, read, ledger, keys, terms):
    """A certifier that never says yes."""
    return certify(subject, read, ledger, keys, Terms(delta=1e-12))


@pytest.mark.parametrize(
    ("repetitions", "limit"), [(100, 13), (200, 21), (500, 41), (1000, 73), (2000, 131)]
)
def test_the_limit_of_a_cell_is_the_known_one(repetitions, limit):
    assert cell_limit(repetitions) == limit


@pytest.mark.parametrize(
    ("repetitions", "limit"), [(100, 9), (200, 15), (500, 33), (1000, 62), (2000, 116)]
)
def test_the_pooled_limit_is_the_known_one(repetitions, limit):
    assert pooled_limit(repetitions) == limit


def test_the_least_answers_lie_three_standard_errors_below_the_promise():
    assert least_answers(0.8, 1000) == pytest.approx(0.762, abs=1e-3)


def test_the_grid_has_all_combinations_once():
    assert len({cell.key for cell in full_grid()}) == 648


def test_the_selection_is_fixed_and_has_every_level_of_every_factor():
    cells = list(selected_grid())
    assert len(cells) == 123
    for name in ("smallest", "rate", "n_groups", "claim", "times", "n_candidates", "n_openings"):
        levels = {getattr(cell, name) for cell in full_grid()}
        shares = [sum(getattr(cell, name) == level for cell in cells) for level in levels]
        assert min(shares) >= len(cells) / len(levels) / 1.5
    assert sum(cell.is_informative for cell in cells) == 4


@pytest.mark.parametrize("claim", ["parity", "odds"])
@pytest.mark.parametrize("rate", [0.02, 0.3, 0.95])
@pytest.mark.parametrize("n_groups", [2, 5, 20])
def test_the_true_difference_lies_just_beyond_the_bound(claim, rate, n_groups):
    cell = replace(PLAIN, claim=claim, rate=rate, n_groups=n_groups)
    rates = cell.rates(1e-4)
    assert np.ptp(rates) - cell.constraint.bound == pytest.approx(1e-4)
    assert rates.min() >= 0
    assert rates.max() <= 1


def test_the_true_ratio_lies_just_beyond_the_bound():
    cell = replace(PLAIN, claim="ratio", n_groups=5)
    rates = cell.rates(1e-4)
    assert cell.constraint.bound - rates.min() / rates.max() == pytest.approx(1e-4)


def test_the_certifier_keeps_its_limit_at_the_boundary_and_does_certify_there():
    certifier, within = played(PLAIN, 100)
    assert 2 <= certifier.violations <= cell_limit(100)
    assert certifier.violations == certifier.certified
    assert within.violations == 0
    assert within.certified > 0
    assert within.false_claims <= cell_limit(100)


def test_a_certifier_that_spends_too_much_exceeds_the_limit():
    certifier, _ = played(PLAIN, 60, certifier=careless)
    assert certifier.violations > cell_limit(60)


def test_a_certifier_that_never_certifies_is_no_error_but_gives_no_answers():
    certifier, _ = played(PLAIN, 100, certifier=deaf)
    assert certifier.violations == 0
    assert certifier.certified == 0


@pytest.mark.parametrize(("m", "openings"), [(10, 1), (1, 5), (10, 5)])
def test_more_candidates_and_openings_do_not_add_errors(m, openings):
    cell = replace(PLAIN, n_candidates=m, n_openings=openings)
    certifier, _ = played(cell, 40)
    assert certifier.violations <= cell_limit(40)


def test_trying_candidates_until_one_passes_exceeds_the_limit():
    (found,) = played(FirstPass(), 60)
    assert found.violations > cell_limit(60)


def test_the_best_on_validation_rows_exceeds_the_limit():
    (found,) = played(BestOnValidation(), 200)
    assert found.violations > cell_limit(200)


@pytest.mark.slow
def test_a_ledger_that_shows_its_numbers_exceeds_the_limit():
    (found,) = played(ReleasedNumbers(), 20)
    assert found.violations > cell_limit(20)


@pytest.mark.slow
def test_the_planners_rows_give_the_promised_answers():
    (found,) = played(PlannedCell(0.2, 0.0, 2), 100)
    assert found.certified >= least_answers(0.8, 100) * 100
    assert found.violations == 0


def test_the_planner_cannot_plan_for_a_gap_at_the_bound():
    with pytest.raises(InputError, match=r"gap=0\.1: must lie below bound=0\.1"):
        _ = PlannedCell(0.1, 0.1, 2).rows


def test_outcomes_are_counted_by_procedure():
    said = [
        Outcome(procedure="a", certified=True, claimed=False, excess=0.1),
        Outcome(procedure="b", certified=False, claimed=True, excess=-0.1),
        Outcome(procedure="a", certified=True, claimed=False, excess=-0.1),
        Outcome(procedure="a", certified=False, claimed=True, excess=0.2),
    ]
    a, b = tally(said)
    assert (a.repetitions, a.certified, a.violations, a.claims) == (3, 2, 1, 1)
    assert (a.false_claims, a.truly_violating, a.excess) == (0, 2, 0.1)
    assert (b.repetitions, b.claims, b.false_claims) == (1, 1, 1)
