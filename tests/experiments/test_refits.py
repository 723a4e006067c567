"""An analyst who fits the same rows again and again, on the edge of the constraint."""

import numpy as np
import pytest

from guarantee.checks import Result, checks_of
from guarantee.outcomes import CERTIFIER, Tally, tally
from guarantee.refits import FORGETFUL, REFITS, RefitCell

SEEDS = (0, 1)
"""Of the repetitions with searches, of 20 fits each."""


def test_what_refits_serve_lies_just_beyond_the_bound():
    for seed in range(2):
        cell = RefitCell(n_rows=600, n_refits=1)
        (found,) = cell.once(np.random.default_rng(seed))
        assert found.procedure == CERTIFIER
        assert found.excess == pytest.approx(1e-4)


def test_the_committed_cell_has_a_control():
    assert [cell.controlled for cell in REFITS] == [True]


def checked(certified, forgotten):
    """Which checks hold when so many of 40 repetitions are falsely certified."""
    results = [
        Result(
            cell=REFITS[0],
            run=0,
            tally=Tally(
                procedure=name, repetitions=40, certified=n, violations=n, truly_violating=40
            ),
        )
        for name, n in ((CERTIFIER, certified), (FORGETFUL, forgotten))
    ]
    return {one.name: one.passed for one in checks_of(results) if "VIOLATED" not in one.name}


def test_refits_are_checked_with_the_control_that_must_fail():
    checks = checked(2, 15)
    assert len(checks) == 3
    assert all(checks.values())
    assert not any(checked(15, 2).values())


@pytest.mark.slow
def test_twenty_refits_of_the_same_rows_through_fit_certify_nothing_false():
    """The experiment repeats this more often, next to an analyst without a ledger."""
    (found,) = tally(
        outcome for seed in SEEDS for outcome in RefitCell().once(np.random.default_rng(seed))
    )
    assert (found.repetitions, found.truly_violating) == (len(SEEDS), len(SEEDS))
    assert found.violations == 0
