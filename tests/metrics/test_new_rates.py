from itertools import combinations

import pytest

from fairautoml.exceptions import InputError
from fairautoml.metrics import RATES, Rate, fairness_metric
from fairautoml.testing import check_metric

CELLS = ((0, 0), (0, 1), (1, 0), (1, 1))


def rate(of, among):
    return Rate(
        name="new_rate", of=frozenset(of), among=frozenset(among), lacks="such rows", zero="none"
    )


def parts(cells):
    """Return all subsets but the empty one and the whole."""
    return [part for n in range(1, len(cells)) for part in combinations(cells, n)]


POSSIBLE = [rate(of, among) for among in [*parts(CELLS), CELLS] for of in parts(among)]


def test_there_are_fifty_rates_and_all_registered_ones_are_among_them():
    assert len(POSSIBLE) == 50
    possible = {(one.of, one.among) for one in POSSIBLE}
    assert {(one.of, one.among) for one in RATES.values()} <= possible


def test_the_expected_share_is_the_mass_of_the_cells_of_the_denominator():
    positives, accepted = 0.3, 0.6
    mass = {(y, d): (0.7, 0.3)[y] * (0.4, 0.6)[d] for y, d in CELLS}
    for one in POSSIBLE:
        share = one.expected_share(positives, accepted)
        assert share == pytest.approx(sum(mass[cell] for cell in one.among))
    assert RATES["ppv"].expected_share(positives, accepted) == accepted
    assert RATES["for"].expected_share(positives, accepted) == 1 - accepted


@pytest.mark.parametrize("compare", ["difference", "ratio", "to_overall"])
def test_a_metric_of_any_possible_rate_keeps_the_contract(compare):
    for one in POSSIBLE:
        check_metric(fairness_metric("new_metric", [one], compare))


@pytest.mark.parametrize("compare", ["difference", "macro"])
def test_a_metric_of_a_new_rate_keeps_the_contract_for_several_classes(compare):
    omitted = rate({(1, 0)}, {(0, 0), (1, 0)})
    check_metric(fairness_metric("new_metric", [omitted], compare, tasks=["multiclass"]))


@pytest.mark.parametrize(
    ("of", "among", "message"),
    [
        (set(), CELLS, r"Rate 'new_rate': of=set\(\) must be some, but not all"),
        (CELLS, CELLS, "always 0 or always 1"),
        ({(0, 1)}, {(1, 0), (1, 1)}, r"of=\{\(0, 1\)\} must be some"),
        ({(1, 0)}, set(), r"among=set\(\) must be one or more of the cells"),
        ({(1, 0)}, {(1, 0), (2, 0)}, "must be one or more of the cells"),
    ],
)
def test_a_rate_that_cannot_exist_is_refused_when_it_is_defined(of, among, message):
    with pytest.raises(InputError, match=message):
        rate(of, among)


def test_a_fairness_metric_without_rates_or_with_an_unknown_form_is_refused():
    with pytest.raises(InputError, match="Metric 'none': rates is empty"):
        fairness_metric("none", [], "difference")
    with pytest.raises(InputError, match="compare='gap' must be one of 'difference', 'ratio'"):
        fairness_metric("other", [RATES["for"]], "gap")
