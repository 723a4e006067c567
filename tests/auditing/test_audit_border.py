import json

import numpy as np
import pandas as pd
import pytest
from audit_people import individuals, only, quick

from fairautoml.auditing.sections import printable
from fairautoml.exceptions import InputError, ParameterError

Y = [0, 1] * 20
D = [0, 0, 1, 1] * 10
G = ["a", "b"] * 10 + ["b", "a"] * 10


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"y_pred": None}, "y_pred is None"),
        ({"sensitive": None}, "an audit compares groups"),
        ({"y_pred": [0.2, 0.7] * 20}, "y_pred holds 40 number.s. with fractions"),
        ({"y_pred": ["0", "1"] * 20}, "4 labels in all, allowed are two"),
        ({"y_pred": [0, 2] * 20}, "3 labels in all"),
        ({"y_pred": D[:-1]}, "y_pred has 39 rows and y_true has 40"),
        ({"baseline": D[:-1]}, "baseline has 39 rows"),
        ({"y_true": None, "baseline": D[:-1]}, "baseline has 39 rows and y_pred has 40"),
        (
            {"y_true": Y[:-1], "y_pred": None, "y_score": D, "ranked": 5},
            "y_true has 39 rows and y_score has 40",
        ),
        ({"y_score": D[:-1]}, "y_score has 39 rows and y_true has 40"),
        ({"y_true": [0.5] * 40, "y_pred": D[:-1]}, "y_pred has 39 rows and y_true has 40"),
        ({"X": np.zeros((39, 2))}, "X has 39 rows and sensitive has 40"),
        (
            {
                "y_true": [0.5] * 40,
                "y_pred": [0.5] * 40,
                "X": np.zeros((39, 2)),
                "model": lambda X: X[:, 0],
                "blocks": {},
            },
            "X has 39 rows and y_true has 40",
        ),
        ({"sensitive": G[:-1]}, "sensitive has 39 rows"),
        ({"y_pred": [None, 1] * 20}, "y_pred: Input y contains NaN"),
        ({"sensitive": [None, *G[1:]]}, "1 missing value"),
        ({"sensitive": list(range(40)), "max_groups": 10}, "40 different values"),
        ({"sensitive": {"t": pd.DataFrame({"p": [0, 1] * 20})}}, "groups that may overlap"),
        ({"y_score": [np.nan, *D[1:]]}, "y_score has 1 value.s. that are missing"),
        ({"y_score": ["high"] * 40}, "y_score must hold numbers"),
        ({"sample_weight": [-1, *D[1:]]}, "NaN, infinite or negative"),
        ({"y_true": [1] * 40, "y_pred": [1] * 40}, "only 1 class"),
        ({"y_true": [], "y_pred": [], "sensitive": []}, "at least one row"),
        ({"pos_label": "yes"}, "pos_label='yes'"),
        ({"largest_weight": 2.0}, "largest_weight=2.0 requires sample_weight"),
        ({"sample_weight": [3.0] * 40, "largest_weight": 2.0}, "the largest weight is 3.0"),
    ],
)
def test_rows_that_cannot_be_audited_are_refused(change, match):
    given = {"y_true": Y, "y_pred": D, "sensitive": G} | change
    with pytest.raises(InputError, match=match):
        quick(given.pop("y_true"), given.pop("y_pred"), given.pop("sensitive"), **given)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"delta": 0.0}, r"delta=0.0 must be an error probability above 0 and below 0\.5"),
        ({"delta": "0.05"}, r"delta=.0\.05. must be an error probability"),
        ({"delta": 0.95}, r"confidence of 95 % is delta=0\.05"),
        ({"smallest_cell": -1}, "smallest_cell=-1"),
        ({"random_state": 0.5}, "random_state=0.5"),
        ({"model": print}, "model= needs X="),
        ({"noise": 0.1}, "noise= needs model="),
        ({"flips": "sex", "model": print, "X": [[1]] * 40}, "must be a list of columns"),
    ],
)
def test_parameters_out_of_range_are_refused(change, match):
    with pytest.raises(ParameterError, match=match):
        quick(Y, D, G, **change)


def test_different_indices_are_refused():
    y = pd.Series(Y, index=range(1, 41))
    with pytest.raises(InputError, match="y_true and y_pred have different pandas indices"):
        quick(y, pd.Series(D), G)
    with pytest.raises(InputError, match=r"y_true and sensitive\['g'\] have different pandas"):
        quick(y, D, {"g": pd.Series(G)})


def test_features_in_another_order_than_the_labels_are_refused():
    rows = individuals(200)
    y = pd.Series(rows.y)
    shuffled = rows.X.sample(frac=1.0, random_state=0)
    match = r"y_true and X have different pandas indices.*b\.loc\[a\.index\]"
    with pytest.raises(InputError, match=match):
        quick(y, rows.decision, rows.groups, X=shuffled)
    assert quick(y, rows.decision, rows.groups, X=shuffled.loc[y.index]).n_rows == 200


def test_true_and_false_are_one_and_zero():
    plain = quick(Y, D, G)
    assert quick(Y, np.array(D) == 1, G).rates == plain.rates
    assert quick(np.array(Y, float), D, G).rates == plain.rates


def test_the_positive_label_can_be_chosen():
    text = np.where(np.array(D) == 1, "no", "yes")
    found = quick(np.where(np.array(Y) == 1, "no", "yes"), text, G, pos_label="no")
    assert found.classes == ("yes", "no")
    assert [row.value for row in found.rates] == [row.value for row in quick(Y, D, G).rates]


def test_rows_of_unknown_groups_can_be_left_out():
    found = quick(Y, D, [None, None, *G[2:]], sensitive_missing="exclude", smallest_cell=0)
    assert sum(row.n for row in found.rates if row.rate == "selection") == 38
    assert any("2 row(s) are in no group of 'sensitive'" in note for note in found.notes)
    own = quick(Y, D, [None, None, *G[2:]], sensitive_missing="own_group", smallest_cell=0)
    assert only(own.rates, group="(missing)", rate="selection").n == 2


def test_small_groups_are_suppressed_with_all_that_gives_them_away():
    y, decision = [0, 1] * 60, [0, 0, 1, 1] * 30
    groups = ["big"] * 60 + ["mid"] * 55 + ["tiny"] * 5
    found = quick(
        y,
        decision,
        groups,
        baseline=y,
        constraint="demographic_parity_difference <= 0.2",
        independent=True,
    )
    hidden = {row.group for row in found.rates if row.suppressed}
    assert hidden == {"tiny", "mid"}
    assert all(row.n is row.events is row.value is None for row in found.rates if row.suppressed)
    assert all(row.value is None and row.at_most is None for row in found.gaps)
    assert only(found.verdicts, system="sensitive").measured is None
    assert all(row.value is None for row in found.changes if row.group in hidden)
    assert all(row.gap is None for row in found.levelling)
    assert only(found.rates, group="big", rate="selection").n == 60
    assert any("are suppressed" in note for note in found.notes)
    shown = quick(y, decision, groups, smallest_cell=0)
    assert only(shown.rates, group="tiny", rate="selection").n == 5


def test_a_note_counts_the_small_groups_that_it_does_not_name():
    groups = ["a"] * 60 + ["b"] * 60 + [f"g{at:02}" for at in range(12)]
    found = quick([0, 0, 1, 1] * 33, [0, 1] * 66, groups)
    note = next(note for note in found.notes if "with too few rows" in note)
    assert note.endswith("g06, g07 and 4 more.")


def test_the_intersection_is_shown_whole_or_not_at_all():
    rows = individuals(100)
    found = quick(rows.y, rows.decision, rows.groups)
    crossed = [row for row in found.rates if row.system == "sex & race"]
    assert all(row.suppressed for row in crossed)
    assert not any(row.suppressed for row in found.rates if row.system == "sex")


HOSTILE = [
    "\x1b[31mred\x1b[0m", "<script>alert(1)</script>", "a,b\n\"c\"", "=1+1", "\u202eabc",
    "x" * 500,
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_only_shown(name):
    groups = pd.DataFrame({name: [name if g == "a" else "b" for g in G]})
    found = quick(Y, D, groups, y_score=np.linspace(0, 1, 40), baseline=Y, smallest_cell=0)
    text, html = found.text(), found._repr_html_()
    assert all(line.isprintable() for line in text.splitlines())
    assert all(len(line) < 250 for line in text.splitlines())
    assert "<script" not in html
    assert all(part.isprintable() for part in html.split("\n"))
    assert {row["system"] for row in json.loads(found.to_json())["rates"]} == {name}


def test_long_names_are_cut_in_the_middle():
    assert printable("a" * 30) == "a" * 30
    assert len(printable("a" * 300 + "b")) <= 40
    assert printable("a" * 300 + "b").endswith("b")


def test_the_json_holds_everything_and_no_nan():
    rows = individuals()
    found = quick(rows.y, rows.decision, rows.groups, y_score=rows.score, baseline=rows.y)
    text = found.to_json()
    assert "NaN" not in text
    assert "Infinity" not in text
    content = json.loads(text)
    assert content["format"] == 2
    assert len(content["rates"]) == len(found.rates)
    assert content["gaps"][0]["value"] == found.gaps[0].value


def test_the_same_seed_gives_the_same_audit():
    rows = individuals()
    requested = {"y_score": rows.score, "random_state": 3}
    one, two = (quick(rows.y, rows.decision, rows.groups, **requested) for _ in range(2))
    assert one == two


def test_a_thousand_groups_are_audited():
    rng = np.random.default_rng(0)
    n = 10_000
    groups = rng.integers(0, 1000, n).astype(str)
    y, decision = rng.integers(0, 2, n), rng.integers(0, 2, n)
    found = quick(y, decision, groups, max_groups=1000, smallest_cell=0)
    row = only(found.gaps, metric="demographic_parity_difference")
    assert row.value > 0.5
    assert row.null_mean == pytest.approx(row.value, abs=0.15)
    assert "more rows" in found.text() == repr(found)
