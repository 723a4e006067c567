"""The worst gap under reweighting equals a linear program over the rows."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog

from fairautoml.auditing.rates import Tables
from fairautoml.auditing.rows import AuditReadOptions, Given, read_rows
from fairautoml.auditing.shift import shift_rows, shifted
from fairautoml.exceptions import ParameterError
from fairautoml.metrics import METRICS

DP, DPR, EO = (
    METRICS.get(name)
    for name in (
        "demographic_parity_difference", "demographic_parity_ratio", "equalized_odds_difference",
    )
)  # fmt: skip


def people(seed, n=300, n_groups=3):
    rng = np.random.default_rng(seed)
    group = rng.integers(n_groups, size=n)
    y = rng.random(n) < 0.5
    decision = rng.random(n) < rng.uniform(0.1, 0.9, n_groups)[group] * 0.7 + 0.3 * y
    given = Given(y_true=y.astype(int), y_pred=decision.astype(int), sensitive=group.astype(str))
    return read_rows(given, AuditReadOptions())


def worst_of(rows, metric, factor):
    (row,) = shift_rows(Tables.count(rows), rows.systems, [metric], 0.05, factor=factor)
    return row


def by_program(event, factor, sign):
    """Return the extreme mean of 0/1 events over weights in the box with mean 1, by HiGHS."""
    n = len(event)
    found = linprog(
        -sign * event / n,
        A_eq=np.ones((1, n)) / n,
        b_eq=[1.0],
        bounds=(1 / factor, factor),
        method="highs",
    )
    return -sign * found.fun


@pytest.mark.parametrize("seed", range(20))
def test_the_worst_gap_equals_the_linear_program_of_highs(seed):
    rows = people(seed)
    factor = 1.0 + np.random.default_rng(seed).uniform(0.0, 2.0)
    codes = rows.codes(rows.systems[0])
    among = {"selection": rows.y >= 0, "tpr": rows.y == 1, "fpr": rows.y == 0}
    ends = {
        rate: [
            [by_program(rows.decision[here & (codes == g)].astype(float), factor, sign)
             for g in range(3)]
            for sign in (-1, 1)
        ]
        for rate, here in among.items()
    }  # fmt: skip
    gaps = {
        rate: max(high[h] - low[g] for g in range(3) for h in range(3) if g != h)
        for rate, (low, high) in ends.items()
    }
    low, high = ends["selection"]
    ratio = min(low[g] / high[h] for g in range(3) for h in range(3) if g != h)
    assert worst_of(rows, DP, factor).worst == pytest.approx(gaps["selection"], abs=1e-9)
    assert worst_of(rows, DPR, factor).worst == pytest.approx(ratio, abs=1e-9)
    assert worst_of(rows, EO, factor).worst == pytest.approx(max(gaps["tpr"], gaps["fpr"]), 1e-9)


def test_the_known_answer_of_the_box():
    """Rates .5 and .3 with weights in [.5, 2] can be .75 and .15."""
    least, most = shifted(np.array([0.5, 0.3]), 2.0)
    assert most[0] - least[1] == pytest.approx(0.60)


def test_a_factor_of_one_changes_nothing_and_a_larger_one_never_helps():
    rows = people(0)
    plain = worst_of(rows, DP, 1.0)
    assert plain.worst == pytest.approx(plain.value)
    assert plain.bound > plain.worst
    worst = [worst_of(rows, DP, factor).worst for factor in (1.0, 1.2, 1.5, 2.0)]
    assert worst == sorted(worst)


def test_groups_without_a_selected_row_have_the_ratio_zero_and_no_error():
    given = Given(y_true=None, y_pred=[0, 0, 1, 1, 0], sensitive=pd.Series(list("aabbb")))
    rows = read_rows(given, AuditReadOptions())
    assert worst_of(rows, DPR, 1.5).worst == 0.0


def test_a_factor_below_one_is_refused():
    with pytest.raises(ParameterError, match="at least 1"):
        worst_of(people(0), DP, 0.9)
