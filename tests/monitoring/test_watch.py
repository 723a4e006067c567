"""Windows of decisions: what raises an alarm, and what is only shown."""

import json

import numpy as np
import pandas as pd
import pytest

from fairautoml.exceptions import InputError
from fairautoml.metrics import parse_constraints
from fairautoml.metrics.groups import GroupSystem
from fairautoml.monitoring.monitor import (
    WatchedRows,
    Windows,
    constraint_series,
    read_windows,
    reference_shares,
    watch,
)

HOSTILE = "<img src=x onerror=alert(1)>"
SEX = GroupSystem(name="sex", labels=(HOSTILE, "M"), of_cell=np.array([0, 1], dtype=np.int32))
MONTHS, N = 12, 600


def watched(rates, constraint="demographic_parity_difference <= 0.05", share=0.5, labels=False):
    """Watch a year with these selection rates of the two groups in each month."""
    rng = np.random.default_rng(3)
    window = np.repeat(np.arange(MONTHS), N)
    group = (rng.random(MONTHS * N) < share).astype(np.int32)
    by_month = np.broadcast_to(np.asarray(rates, dtype=float), (MONTHS, 2))
    decision = rng.random(MONTHS * N) < by_month[window, group]
    counts = np.array([[[3_500.0, 1_500.0], [0, 0]]] * 2)
    rows = WatchedRows(
        window=window, n_windows=MONTHS, cells=group, n_cells=2,
        decision=decision.astype(np.int8),
        y=rng.integers(2, size=len(group)).astype(np.int8) if labels else None,
    )  # fmt: skip
    targets = [bound for one in parse_constraints(constraint) for bound in one.bind([SEX])]
    names = tuple(f"2026-{month:02d}" for month in range(1, MONTHS + 1))
    return watch(
        rows, Windows(names=names, of_row=window), targets, [SEX],
        reference_shares(counts, counts.sum(axis=(1, 2)), [SEX]),
        source="training", delta=0.05, seed=0,
    )  # fmt: skip


def kinds_of_alarms(found):
    return {one.kind for one in found.series if one.alarm is not None}


def test_equal_rates_raise_no_alarm():
    found = watched([0.3, 0.3])
    assert not found.alarm
    assert "No alarm." in found.text() == repr(found)
    assert found.proposal == "No new fit is proposed."


def test_a_gap_beyond_the_bound_raises_an_alarm_that_names_bound_and_window():
    rates = [[0.3, 0.3]] * 4 + [[0.18, 0.42]] * 8
    found = watched(rates)
    series = found.series[0]
    assert series.alarm >= 4
    assert 0.05 < series.shown[-1] < 0.24
    assert list(filter(None, series.shown)) == sorted(filter(None, series.shown))
    window = found.windows[series.alarm]
    assert f"has exceeded 0.05 (alarm in window {window}" in found.alarms[0]
    assert window in found.proposal


def test_a_rate_below_its_minimum_raises_an_alarm_and_one_above_it_does_not():
    """Each group is tested by itself, in the direction in which less is worse."""
    found = watched([0.15, 0.45], "selection_rate >= 0.25")
    series = found.series[0]
    assert series.bounded_below
    assert series.values[0] < 0.25
    assert 0.15 < series.shown[-1] < 0.25
    assert "minimum_selection_rate[sex] has fallen below 0.25" in found.alarms[0]
    assert not kinds_of_alarms(watched([0.3, 0.29], "selection_rate >= 0.25"))


IDENTITY = GroupSystem(
    name="identity", labels=("black", "muslim"), of_cell=np.arange(4, dtype=np.int32),
    masks=np.array([[False, True, False, True], [False, False, True, True]]),
)  # fmt: skip


def watched_identities(constraint, muslim=0.45):
    """Watch a year of rows with none, either or both of two identities."""
    rng = np.random.default_rng(1)
    window = np.repeat(np.arange(MONTHS), N)
    cells = rng.integers(4, size=MONTHS * N).astype(np.int32)
    rate = np.where(IDENTITY.masks[1][cells], muslim, 0.45)
    targets = [bound for one in parse_constraints(constraint) for bound in one.bind([IDENTITY])]
    counts = np.array([[[5_500.0, 4_500.0], [0, 0]]] * 4)
    return watch(
        WatchedRows(
            window=window, n_windows=MONTHS, cells=cells, n_cells=4,
            decision=(rng.random(MONTHS * N) < rate).astype(np.int8),
        ),
        Windows(names=tuple(map(str, range(MONTHS))), of_row=window), targets, [IDENTITY],
        reference_shares(counts, counts.sum(axis=(1, 2)), [IDENTITY]),
        source="training", delta=0.05, seed=0,
    )  # fmt: skip


def test_a_minimum_is_tested_in_groups_that_overlap():
    """A row counts in each of its groups; half of all rows are in each, a quarter in both."""
    found = watched_identities("selection_rate >= 0.3", muslim=0.2)
    assert "minimum_selection_rate[identity] has fallen below 0.3" in found.alarms[0]
    assert 0.2 < found.series[0].shown[-1] < 0.3
    shares = [one for one in found.series if one.kind == "share"]
    assert [one.reference for one in shares] == [0.5, 0.5]
    assert kinds_of_alarms(found) == {"constraint", "selection"}
    assert not watched_identities("selection_rate >= 0.3").alarm


def test_a_gap_between_groups_that_overlap_is_shown_and_not_tested():
    """Their rows are not independent, as a test of two rates needs."""
    found = watched_identities("demographic_parity_difference <= 0.05", muslim=0.2)
    assert (found.series[0].alarm, found.series[0].untested) == (None, "the groups overlap")
    assert found.series[0].values[0] > 0.05


def test_a_ratio_below_its_bound_raises_an_alarm_in_its_own_direction():
    found = watched([0.15, 0.45], "demographic_parity_ratio >= 0.8")
    series = found.series[0]
    assert series.bounded_below
    assert 1 / 3 < series.shown[-1] < 0.8
    assert "has fallen below 0.8" in found.alarms[0]
    assert not kinds_of_alarms(watched([0.3, 0.29], "demographic_parity_ratio >= 0.8"))


def test_later_windows_change_no_bet_on_earlier_ones():
    rng = np.random.default_rng(0)
    window = np.repeat(np.arange(MONTHS), N)
    group = (rng.random(MONTHS * N) < 0.3).astype(np.int32)
    decision = (rng.random(MONTHS * N) < np.array([0.2, 0.5])[group]).astype(np.int8)
    (constraint,) = parse_constraints("demographic_parity_difference <= 0.05")

    def shown(n_windows):
        known = window < n_windows
        rows = WatchedRows(
            window=window[known], n_windows=n_windows, cells=group[known], n_cells=2,
            decision=decision[known],
        )  # fmt: skip
        return constraint_series(rows, constraint.bind([SEX]), 0.05, seed=0)[0].shown

    assert shown(MONTHS)[:4] == shown(4)


def test_a_change_of_both_rates_or_of_the_shares_is_drift_and_no_violation():
    assert kinds_of_alarms(watched([0.5, 0.5])) == {"selection"}
    assert kinds_of_alarms(watched([0.3, 0.3], share=0.8)) == {"share"}


def test_without_labels_constraints_on_errors_are_named_as_untested():
    found = watched([0.3, 0.3], ["equalized_odds_difference <= 0.05"])
    assert not [one for one in found.series if one.kind == "constraint"]
    assert "equalized_odds_difference[sex] needs true labels" in found.notes[0]
    labelled = watched([0.3, 0.3], ["equalized_odds_difference <= 0.05"], labels=True)
    assert labelled.series[0].name == "equalized_odds_difference[sex]"


def test_the_result_is_json_and_a_page_on_which_names_stay_text():
    found = watched([[0.3, 0.3]] * 4 + [[0.1, 0.5]] * 8)
    plain = json.loads(found.to_json())
    assert plain["alarm"] is True
    assert plain["alarms"] == list(found.alarms)
    page = found.to_html()
    assert HOSTILE not in page
    assert "Alarm:" in page
    assert set(found.to_frame().columns) == {"kind", "series", "window", "value"}
    assert len(found.to_frame()) == len(found.series) * MONTHS


@pytest.mark.parametrize(
    ("times", "names"),
    [
        (["2026-02-03", "2026-01-31", "2026-02-01"], ("2026-01", "2026-02")),
        (["2026-01", "2026-02", "2026-01"], ("2026-01", "2026-02")),
        (np.array(["2026-03-01", "2026-01-01", "2026-01-02"], dtype="M8[D]"),
         ("2026-01", "2026-03")),
        ([10, 9, 10], ("9", "10")),
        (["b", "a", "b"], ("a", "b")),
        (pd.Categorical(["Feb", "Jan", "Feb"], ["Jan", "Feb"], ordered=True), ("Jan", "Feb")),
        (pd.Categorical(["b", "a", "b"], ["b", "a"]), ("a", "b")),
        (pd.Categorical([10, 9, 10]), ("9", "10")),
        (pd.Categorical(pd.to_datetime(["2026-02-03", "2026-01-31", "2026-02-01"]), ordered=True),
         ("2026-01", "2026-02")),
        (None, ("all rows",)),
    ],
)  # fmt: skip
def test_dates_are_grouped_by_month_and_other_values_are_the_windows(times, names):
    assert read_windows(times, 3).names == names


def test_missing_times_and_times_that_are_not_rounded_are_refused():
    with pytest.raises(InputError, match="1 missing value"):
        read_windows([1.0, np.nan], 2)
    with pytest.raises(InputError, match="300 distinct values"):
        read_windows(np.arange(300), 300)
