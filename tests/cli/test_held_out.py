"""How the rows that judge the result are set aside before the search."""

import numpy as np
import pandas as pd
import pytest

from fairautoml.cli.main import _parser, main
from fairautoml.cli.tables import hold_out, open_source, request_of
from fairautoml.data.dataset import strata_of_column
from fairautoml.data.schema import Roles
from fairautoml.data.splits import holdout_split
from fairautoml.exceptions import InputError, ParameterError

N_INDIVIDUALS = 150


@pytest.fixture
def visits(tmp_path):
    """A file of 150 people with one to four rows each, on 40 days in no order."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(N_INDIVIDUALS), rng.integers(1, 5, size=N_INDIVIDUALS))
    rng.shuffle(person)
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(40, size=len(person)), "D")
    table = pd.DataFrame(
        {
            "person": person,
            "day": days.strftime("%Y-%m-%d"),
            "sex": np.where(person % 3 == 0, "f", "m"),
            "x": rng.normal(size=len(person)),
            "y": rng.integers(2, size=len(person)),
        }
    )
    path = tmp_path / "visits.csv"
    table.to_csv(path, index=False)
    return path


def source(path, *extra):
    named = extra or ("person", "day")
    return open_source(str(path), Roles(target="y", sensitive=("sex",)), named)


def test_no_individual_has_rows_both_in_the_search_and_in_the_holdout(visits):
    whole = source(visits)
    search, held = hold_out(whole, 0.3, 0, whose="person")
    assert set(search.X["person"]).isdisjoint(held.X["person"])
    assert len(search.y) + len(held.y) == len(whole.y)
    assert held.X["person"].nunique() == pytest.approx(0.3 * N_INDIVIDUALS, abs=3)
    share = held.groups["sex"].eq("f").mean()
    assert share == pytest.approx(whole.groups["sex"].eq("f").mean(), abs=0.1)


def test_a_holdout_of_individuals_is_drawn_by_the_seed(visits):
    (_, first), (_, same), (_, other) = (
        hold_out(source(visits), 0.3, seed, whose="person") for seed in (0, 0, 1)
    )
    pd.testing.assert_frame_equal(first.X, same.X)
    assert not first.X.equals(other.X)


def test_without_individuals_and_times_the_rows_themselves_are_drawn_by_label_and_group(visits):
    whole = source(visits)
    search, held = hold_out(whole, 0.3, 5)
    # The draw that every sweep and every kept run was made with.
    cells = pd.factorize(whole.groups["sex"])[0]
    kept, drawn = holdout_split(strata_of_column(whole.y, 2), cells, 0.3, 5)
    pd.testing.assert_frame_equal(search.X, whole.take(kept).X)
    pd.testing.assert_frame_equal(held.X, whole.take(drawn).X)
    assert not set(search.X["person"]).isdisjoint(held.X["person"])


def test_the_last_rows_are_held_out_where_a_column_says_when_they_were(visits):
    whole = source(visits)
    search, held = hold_out(whole, 0.3, 0, when="day")
    assert search.X["day"].max() < held.X["day"].min()
    assert len(search.y) + len(held.y) == len(whole.y)
    # Rows of one day stay together, so that at most the share asked for is held out.
    assert 0.25 < len(held.y) / len(whole.y) <= 0.3


def test_the_last_rows_do_not_depend_on_the_seed(visits):
    (_, one), (_, other) = (hold_out(source(visits), 0.3, seed, when="day") for seed in (0, 1))
    pd.testing.assert_frame_equal(one.X, other.X)


def test_individuals_whose_last_row_is_late_are_held_out_with_all_their_rows(visits):
    search, held = hold_out(source(visits), 0.3, 0, whose="person", when="day")
    assert set(search.X["person"]).isdisjoint(held.X["person"])
    last = held.X.groupby("person")["day"].max()
    assert search.X["day"].max() < last.min()


def test_a_group_that_only_late_rows_have_is_in_the_search_too(tmp_path):
    path = tmp_path / "late.csv"
    table = {"when": np.arange(100), "sex": ["m"] * 90 + ["f"] * 10, "y": np.arange(100) % 2}
    pd.DataFrame({**table, "x": 1.0}).to_csv(path, index=False)
    search, held = hold_out(source(path), 0.3, 0, when="when")
    assert search.groups["sex"].value_counts().to_dict() == {"m": 70, "f": 1}
    assert len(held.y) == 29


def test_the_command_line_holds_out_the_last_rows_by_its_time_column(visits):
    words = ["fit", str(visits), "--target", "y", "--sensitive", "sex", "--holdout", "0.3"]
    later = [*words, "--split", "time", "--time-column", "day"]
    tables = request_of(_parser().parse_args(later)).open()
    assert tables.search.X["day"].max() < tables.held.X["day"].min()
    together = request_of(_parser().parse_args([*later, "--groups", "person"])).open()
    assert set(together.search.X["person"]).isdisjoint(together.held.X["person"])


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"whose": "persn"}, r"--groups: no column 'persn' .* did you mean 'person'"),
        ({"when": "dya"}, r"--time-column: no column 'dya' .* did you mean 'day'"),
    ],
)
def test_a_column_of_individuals_or_times_that_is_not_there_is_named(visits, named, message):
    with pytest.raises(ParameterError, match=message):
        hold_out(source(visits), 0.3, 0, **named)


def test_one_person_cannot_be_on_both_sides(tmp_path):
    path = tmp_path / "one.csv"
    pd.DataFrame({"person": [7] * 8, "sex": list("fm") * 4, "y": [0, 0, 1, 1] * 2}).to_csv(
        path, index=False
    )
    with pytest.raises(
        InputError, match=r"--holdout 0\.9 with --groups 'person': too few entities, or .* times"
    ):
        hold_out(source(path), 0.9, 0, whose="person")


def test_rows_of_one_time_cannot_be_on_both_sides(tmp_path):
    path = tmp_path / "one.csv"
    pd.DataFrame({"day": ["2020-01-31"] * 8, "sex": list("fm") * 4, "y": [0, 0, 1, 1] * 2}).to_csv(
        path, index=False
    )
    with pytest.raises(
        InputError, match=r"--holdout 0\.3 with --time-column 'day': .* different times, for two"
    ):
        hold_out(source(path), 0.3, 0, when="day")


def test_times_without_an_order_are_refused_before_rows_are_held_out(visits):
    whole = source(visits)
    whole.X["day"] = "31/01/2020"
    with pytest.raises(InputError, match=r"time='day' holds '31/01/2020'; texts must be dates"):
        hold_out(whole, 0.3, 0, when="day")


def test_individuals_of_rare_groups_are_as_likely_in_the_holdout_as_others(tmp_path):
    path = tmp_path / "rare.csv"
    town = np.r_[np.zeros(200), 1 + np.arange(100)].astype(int)
    table = {"person": np.arange(300), "sex": town, "y": np.arange(300) % 2, "x": np.arange(300)}
    pd.DataFrame(table).to_csv(path, index=False)
    held = hold_out(source(path), 0.3, 0, whose="person")[1]
    assert held.groups["sex"].gt(0).mean() == pytest.approx(1 / 3, abs=0.03)


def test_numbers_with_many_values_give_no_late_row_back(tmp_path):
    path = tmp_path / "wealth.csv"
    wealth = np.random.default_rng(0).normal(size=500).round(4)
    table = {"when": np.arange(500), "sex": wealth, "y": np.arange(500) % 2, "x": 1.0}
    pd.DataFrame(table).to_csv(path, index=False)
    search, held = hold_out(source(path, "when"), 0.2, 0, when="when")
    assert (len(search.y), len(held.y)) == (400, 100)
    assert search.X["when"].max() < held.X["when"].min()


def test_a_class_that_only_held_out_rows_have_is_refused_before_the_search(tmp_path, capsys):
    path = tmp_path / "new.csv"
    labels = np.where(np.arange(400) >= 390, "new", np.tile(["a", "b"], 200))
    table = {"when": np.arange(400), "sex": np.tile(["f", "f", "m", "m"], 100), "y": labels}
    pd.DataFrame({**table, "x": 1.0}).to_csv(path, index=False)
    words = ["fit", str(path), "--target", "y", "--sensitive", "sex", "--holdout", "0.2"]
    assert main([*words, "--split", "time", "--time-column", "when", "--trials", "2"]) == 3
    reported = capsys.readouterr().err
    assert "--holdout: class(es) 'new' of the target are only among the held-out rows" in reported


@pytest.mark.parametrize(
    ("column", "value", "found"),
    [("y", "", "missing label"), ("x", "inf", "x"), ("w", "", "sample_weight")],
)
def test_late_rows_that_cannot_be_judged_are_refused_before_the_search(
    tmp_path, capsys, column, value, found
):
    path = tmp_path / "late.csv"
    table = pd.DataFrame(
        {"when": np.arange(400), "sex": np.tile(["f", "f", "m", "m"], 100), "x": 1.0, "w": 1.0}
    )
    table["y"] = np.tile(["a", "b"], 200)
    table = table.astype(str)
    table.loc[395, column] = value
    table.to_csv(path, index=False)
    words = ["fit", str(path), "--target", "y", "--sensitive", "sex", "--weight", "w"]
    late = ["--holdout", "0.2", "--split", "time", "--time-column", "when"]
    assert main([*words, *late, "--trials", "2"]) == 3
    reported = capsys.readouterr()
    assert "--holdout: the held-out rows cannot be evaluated" in reported.err
    assert found in reported.err
    assert "trials" not in reported.err


def test_what_was_found_is_shown_though_the_held_out_rows_fail(
    individuals_file, capsys, monkeypatch
):
    def fail(*_):
        raise InputError("no such group")

    monkeypatch.setattr("fairautoml.cli.tables.Source.judge", fail)
    words = [
        "fit",
        str(individuals_file),
        "--target",
        "y",
        "--sensitive",
        "sex",
        "--holdout",
        "0.2",
    ]
    assert main([*words, "--trials", "2", "--learner", "logistic_regression"]) == 3
    reported = capsys.readouterr()
    assert "logistic_regression" in reported.out
    assert "no such group" in reported.err


@pytest.fixture
def individuals_file(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    sex = rng.choice(["f", "m"], 300)
    y = (x + rng.normal(size=300) > 0).astype(int)
    path = tmp_path / "people.csv"
    pd.DataFrame({"x": x, "sex": sex, "y": y}).to_csv(path, index=False)
    return path
