import numpy as np
import pytest

from fairautoml.exceptions import InputError
from fairautoml.metrics import METRICS, Constraint, GroupCounts, Undefined, mcnemar
from fairautoml.metrics.rates import RATES, values_of

TO_OVERALL = {
    "demographic_parity_to_overall": (RATES["selection"],),
    "equalized_odds_to_overall": (RATES["tpr"], RATES["fpr"]),
    "false_negative_rate_to_overall": (RATES["tpr"],),
    "false_positive_rate_to_overall": (RATES["fpr"],),
}
SUMS = {"fned": (RATES["tpr"],), "fped": (RATES["fpr"],)}

# Known answers fned_fped_<data>_<base or constrained>.
# Printed rates of Gencoglu, arXiv 2005.06625, with the sums that were printed beside them.
PUBLISHED = {
    "gab, base": (
        (0.354232, [0.2589, 0.2517, 0.3165], 0.235596, 0.2356),
        (0.103889, [0.5094, 0.5603, 0.2097], 0.967733, 0.9678),
    ),
    "gab, constrained": (
        (0.520376, [0.4107, 0.4286, 0.4937], 0.228128, 0.2282),
        (0.046985, [0.3113, 0.3448, 0.129], 0.644145, 0.6442),
    ),
    "twitter, base": (
        (0.206976, [0.1603, 0.3916, 0.75, 0.6458, 0.2868], 1.292972, 1.2929),
        (0.11215, [0.1019, 0.2382, 0.0377, 0.1261, 0.3756], 0.48815, 0.4881),
    ),
    "twitter, constrained": (
        (0.302699, [0.2502, 0.5723, 0.7905, 0.6667, 0.4449], 1.316103, 1.3161),
        (0.063336, [0.0597, 0.1098, 0.0175, 0.0588, 0.2258], 0.262936, 0.263),
    ),
    "jigsaw, base": (
        (0.254512, [0.2373, 0.2683], 0.031, 0.031),
        (0.151589, [0.2143, 0.2048], 0.115922, 0.1159),
    ),
    "jigsaw, constrained": (
        (0.507018, [0.5071, 0.5066], 0.0005, 0.0005),
        (0.044822, [0.0657, 0.0548], 0.030856, 0.0308),
    ),
    "wiki, base": (
        (0.176782, [0.1892, 0.176], 0.0132, 0.0132),
        (0.082026, [0.078, 0.0823], 0.0043, 0.0043),
    ),
    "wiki, constrained": (
        (0.216701, [0.2162, 0.2167], 0.000502, 0.0005),
        (0.020669, [0.0203, 0.0207], 0.0004, 0.0004),
    ),
}


def table_of(fnr, fpr):
    """Groups of weight 1 per label; the last axis is refused, accepted."""
    fnr, fpr = np.asarray(fnr, dtype=float), np.asarray(fpr, dtype=float)
    return np.stack([np.stack([1 - fpr, fpr], -1), np.stack([fnr, 1 - fnr], -1)], -2)


@pytest.mark.parametrize("case", PUBLISHED)
def test_fned_and_fped_are_the_published_sums(case):
    (fnr, group_fnr, fned, printed_fned), (fpr, group_fpr, fped, printed_fped) = PUBLISHED[case]
    counts = GroupCounts(table_of(group_fnr, group_fpr), table_of(fnr, fpr))
    found = [METRICS.get(name).value(counts) for name in ("fned", "fped")]
    assert found == pytest.approx([fned, fped], abs=1e-9)
    assert found == pytest.approx([printed_fned, printed_fped], abs=3e-4)


def test_the_largest_distance_is_that_of_the_group_farthest_from_all_rows():
    counts = GroupCounts(table_of([0.1, 0.4], [0.3, 0.2]), table_of(0.3, 0.2))
    found = {name: METRICS.get(name).value(counts) for name in TO_OVERALL}
    assert found == pytest.approx(
        {
            "demographic_parity_to_overall": 0.15,
            "equalized_odds_to_overall": 0.2,
            "false_negative_rate_to_overall": 0.2,
            "false_positive_rate_to_overall": 0.1,
        }
    )


def test_a_group_without_the_rows_of_a_rate_is_left_out():
    table = table_of([0.1, 0.4], [0.3, 0.2])
    table[1, 1] = 0.0
    counts = GroupCounts(table, table_of(0.3, 0.2))
    assert METRICS.get("fned").value(counts) == pytest.approx(0.2)


def test_without_any_group_that_has_the_rate_it_is_undefined():
    table = table_of([0.1, 0.4], [0.3, 0.2])
    table[:, 1] = 0.0
    found = METRICS.get("fned").value(GroupCounts(table, table_of(0.3, 0.2)))
    assert found == Undefined("no group has rows with label 1")


@pytest.mark.parametrize("name", [*TO_OVERALL, *SUMS])
def test_one_group_is_compared_with_all_rows_but_not_with_itself(name):
    table = table_of([0.1], [0.3])
    assert METRICS.get(name).value(GroupCounts(table, table_of(0.3, 0.2))) > 0
    assert isinstance(METRICS.get(name).value(GroupCounts(table)), Undefined)


@pytest.mark.parametrize("name", [*TO_OVERALL, *SUMS])
def test_many_tables_at_once_give_the_values_of_each(name):
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 9, size=(40, 4, 2, 2)).astype(float)
    masks = np.array([[True, True, False, False], [False, True, True, False]])
    merged = [GroupCounts(t).merged(np.full(4, -1), 2, masks) for t in cells]
    each = [METRICS.get(name).value(counts) for counts in merged]
    tables = np.stack([counts.table for counts in merged])
    found = values_of(METRICS.get(name), tables, np.stack([c.total for c in merged]))
    assert found.tolist() == pytest.approx(
        [np.nan if isinstance(value, Undefined) else value for value in each], nan_ok=True
    )


def test_overlapping_groups_share_cells_and_all_rows_count_once():
    table = np.arange(12, dtype=float).reshape(3, 2, 2)
    masks = np.array([[True, True, False], [False, True, False]])
    merged = GroupCounts(table).merged(np.full(3, -1), 2, masks)
    assert merged.table.tolist() == [(table[0] + table[1]).tolist(), table[1].tolist()]
    assert merged.total.tolist() == table.sum(axis=0).tolist()


def test_a_sum_over_groups_may_be_bounded_above_one():
    assert Constraint.parse("fned <= 1.5").bound == 1.5
    with pytest.raises(InputError, match=r"must be a number in \[0, 1\]"):
        Constraint.parse("demographic_parity_to_overall <= 1.5")


@pytest.mark.parametrize("bound", ["inf", "nan", "-0.1"])
def test_a_sum_over_groups_needs_a_finite_bound_of_at_least_zero(bound):
    with pytest.raises(InputError, match=r"must be a number at least 0"):
        Constraint.parse(f"fned <= {bound}")


@pytest.mark.parametrize(
    ("only_second", "only_first", "p"),
    [
        (222, 57, 3.639461124586104e-24),
        (758, 539, 1.3013848399949728e-09),
        (768, 299, 4.1468906490768866e-48),
    ],
    ids=["mcnemar_gab", "mcnemar_twitter", "mcnemar_wiki"],
)
def test_mcnemar_gives_the_published_p_values(only_second, only_first, p):
    assert mcnemar(only_first, only_second) == pytest.approx(p, rel=1e-6)


def test_classifiers_that_are_right_on_the_same_rows_do_not_differ():
    assert mcnemar(0, 0) == 1.0
