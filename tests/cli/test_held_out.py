"""How the rows that judge the result are set aside before the search."""

import json
from datetime import date

import numpy as np
import pandas as pd
import pytest

from fairautoml import load_run
from fairautoml.certification.certificate import Certificate
from fairautoml.cli.main import _parser, main
from fairautoml.cli.tables import hold_out, open_source, request_of
from fairautoml.data.columns import ranks_of_times
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
    search, held = hold_out(whole, 0.3, 0, salt="0", whose="person")
    assert set(search.X["person"]).isdisjoint(held.X["person"])
    assert len(search.y) + len(held.y) == len(whole.y)
    assert held.X["person"].nunique() == pytest.approx(0.3 * N_INDIVIDUALS, abs=20)
    share = held.groups["sex"].eq("f").mean()
    assert share == pytest.approx(whole.groups["sex"].eq("f").mean(), abs=0.1)


def test_a_holdout_of_individuals_is_drawn_by_the_salt(visits):
    (_, first), (_, same), (_, other) = (
        hold_out(source(visits), 0.3, 0, salt=salt, whose="person") for salt in ("0", "0", "1")
    )
    pd.testing.assert_frame_equal(first.X, same.X)
    assert not first.X.equals(other.X)


def test_the_last_rows_are_held_out_where_a_column_says_when_they_were(visits):
    whole = source(visits)
    search, held = hold_out(whole, 0.3, 0, salt="0", when="day")
    assert days(whole, search).max() < days(whole, held).min()
    # It is no feature, and new rows may have it.
    assert "day" not in search.X
    assert "day" in search.roles.drop
    assert len(search.y) + len(held.y) == len(whole.y)
    # Rows of one day stay together, so that at most the share asked for is held out.
    assert 0.25 < len(held.y) / len(whole.y) <= 0.3


def days(whole, part):
    """Days of some rows, which are recognized by a feature."""
    return whole.X.set_index("x")["day"].loc[part.X["x"]]


def test_individuals_whose_last_row_is_late_are_held_out_with_all_their_rows(visits):
    whole = source(visits)
    search, held = hold_out(whole, 0.3, 0, salt="0", whose="person", when="day")
    assert set(search.X["person"]).isdisjoint(held.X["person"])
    last = days(whole, held).groupby(held.X["person"].to_numpy()).max()
    assert days(whole, search).max() < last.min()


def test_a_group_that_only_late_rows_have_is_in_the_search_too(tmp_path):
    path = tmp_path / "late.csv"
    table = {"when": np.arange(100), "sex": ["m"] * 90 + ["f"] * 10, "y": np.arange(100) % 2}
    pd.DataFrame({**table, "x": 1.0}).to_csv(path, index=False)
    search, held = hold_out(source(path), 0.3, 0, salt="0", when="when")
    assert search.groups["sex"].value_counts().to_dict() == {"m": 70, "f": 1}
    assert len(held.y) == 29


def test_the_command_line_holds_out_the_last_rows_by_its_time_column(visits):
    words = ["fit", str(visits), "--target", "y", "--sensitive", "sex", "--holdout", "0.3"]
    later = [*words, "--time-column", "day"]
    tables = request_of(_parser().parse_args(later)).open()
    whole = source(visits)
    assert days(whole, tables.search).max() < days(whole, tables.held).min()
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
        hold_out(source(visits), 0.3, 0, salt="0", **named)


def test_one_person_cannot_be_on_both_sides(tmp_path):
    path = tmp_path / "one.csv"
    pd.DataFrame({"person": [7] * 8, "sex": list("fm") * 4, "y": [0, 0, 1, 1] * 2}).to_csv(
        path, index=False
    )
    with pytest.raises(
        InputError, match=r"--holdout 0\.9 with --groups 'person': too few entities, or .* times"
    ):
        hold_out(source(path), 0.9, 0, salt="0", whose="person")


def test_rows_of_one_time_cannot_be_on_both_sides(tmp_path):
    path = tmp_path / "one.csv"
    pd.DataFrame({"day": ["2020-01-31"] * 8, "sex": list("fm") * 4, "y": [0, 0, 1, 1] * 2}).to_csv(
        path, index=False
    )
    with pytest.raises(
        InputError, match=r"--holdout 0\.3 with --time-column 'day': .* different times, for two"
    ):
        hold_out(source(path), 0.3, 0, salt="0", when="day")


def test_times_without_an_order_are_refused_before_rows_are_held_out(visits):
    whole = source(visits)
    whole.X["day"] = "31/01/2020"
    with pytest.raises(InputError, match=r"time='day' holds '31/01/2020'; texts must be dates"):
        hold_out(whole, 0.3, 0, salt="0", when="day")


def test_individuals_of_rare_groups_are_as_likely_in_the_holdout_as_others(tmp_path):
    path = tmp_path / "rare.csv"
    town = np.r_[np.zeros(200), 1 + np.arange(100)].astype(int)
    table = {"person": np.arange(300), "sex": town, "y": np.arange(300) % 2, "x": np.arange(300)}
    pd.DataFrame(table).to_csv(path, index=False)
    held = hold_out(source(path), 0.3, 0, salt="0", whose="person")[1]
    assert held.groups["sex"].gt(0).mean() == pytest.approx(1 / 3, abs=0.1)


def test_numbers_with_many_values_give_no_late_row_back(tmp_path):
    path = tmp_path / "wealth.csv"
    wealth = np.random.default_rng(0).normal(size=500).round(4)
    table = {"when": np.arange(500), "sex": wealth, "y": np.arange(500) % 2, "x": 1.0}
    pd.DataFrame(table).to_csv(path, index=False)
    search, held = hold_out(source(path, "when"), 0.2, 0, salt="0", when="when")
    assert (len(search.y), len(held.y)) == (400, 100)
    assert "when" not in held.X


def test_a_class_that_only_held_out_rows_have_is_refused_before_the_search(tmp_path, capsys):
    path = tmp_path / "new.csv"
    labels = np.where(np.arange(400) >= 390, "new", np.tile(["a", "b"], 200))
    table = {"when": np.arange(400), "sex": np.tile(["f", "f", "m", "m"], 100), "y": labels}
    pd.DataFrame({**table, "x": 1.0}).to_csv(path, index=False)
    words = ["fit", str(path), "--target", "y", "--sensitive", "sex", "--holdout", "0.2"]
    assert main([*words, "--time-column", "when", "--trials", "2"]) == 3
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
    late = ["--holdout", "0.2", "--time-column", "when"]
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
    assert "Served" in reported.out
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


def test_refits_and_grown_tables_hold_out_the_same_rows(visits, tmp_path):
    words = ["--target", "y", "--sensitive", "sex", "--holdout", "0.3"]

    def held(path):
        request = request_of(_parser().parse_args(["fit", str(path), *words])).open()
        return set(request.held.X["x"]), set(request.search.X["x"])

    first, table = held(visits), pd.read_csv(visits)
    assert held(visits) == first
    more = table.assign(x=table["x"] + 1)
    grown = tmp_path / "grown.csv"
    pd.concat([table, more]).sample(frac=1, random_state=0).to_csv(grown, index=False)
    then = held(grown)
    assert first[0] < then[0]
    assert first[1] < then[1]


def test_a_fit_with_held_out_rows_evaluates_and_certifies_on_them(tmp_path, capsys):
    rng = np.random.default_rng(0)
    x = rng.normal(size=1500)
    table = pd.DataFrame({"x": x, "sex": rng.choice(["f", "m"], 1500)})
    table["y"] = (x + rng.normal(size=1500) > 0).astype(int)
    path, run = tmp_path / "people.csv", tmp_path / "run"
    table.to_csv(path, index=False)
    words = ["fit", str(path), "--target", "y", "--sensitive", "sex", "--trials", "2"]
    words += ["--constraint", "demographic_parity_difference<=0.3", "--out", str(run)]
    words += ["--learner", "logistic_regression", "--holdout", "0.4", "--require-certified"]
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    n_held = result["holdout"]["n_rows"]
    assert 0.3 < n_held / 1500 < 0.5
    certificate = Certificate.from_bytes((run / "certificate.json").read_bytes())
    assert (certificate.verdict, certificate.opening.n_rows) == ("CERTIFIED", n_held)
    assert result["certificate"]["verdict"] == "CERTIFIED"
    assert load_run(run).certificate_ == certificate
    assert main(["report", str(run)]) == 0
    assert "CERTIFIED" in (run / "report.html").read_text()
    # The rows of the fit are among these, so that they are no rows to certify on.
    capsys.readouterr()
    assert main(["certify", str(run), str(path)]) == 3
    assert "equal training rows of this model" in capsys.readouterr().err


def test_another_delta_for_opened_rows_is_refused_before_the_search(individuals_file, capsys):
    words = ["fit", str(individuals_file), "--target", "y", "--sensitive", "sex", "--trials", "2"]
    words += ["--constraint", "demographic_parity_difference<=0.4", "--holdout", "0.3"]
    assert main([*words, "--learner", "logistic_regression"]) == 0
    capsys.readouterr()
    assert main([*words, "--delta", "0.01"]) == 3
    reported = capsys.readouterr()
    assert "an opening of these rows with delta=0.05" in reported.err
    assert "Pass delta=0.05" in reported.err
    assert "trials" not in reported.err


def test_a_run_is_certified_later_on_new_rows(individuals_file, tmp_path, capsys):
    run = tmp_path / "run"
    words = ["fit", str(individuals_file), "--target", "y", "--sensitive", "sex", "--trials", "2"]
    words += ["--constraint", "demographic_parity_difference<=0.4", "--out", str(run)]
    assert main([*words, "--learner", "logistic_regression"]) == 0
    assert not (run / "certificate.json").exists()
    rng = np.random.default_rng(1)
    new = tmp_path / "new.csv"
    table = {"x": rng.normal(size=800), "sex": rng.choice(["f", "m"], 800)}
    pd.DataFrame(table).assign(y=rng.integers(2, size=800)).to_csv(new, index=False)
    capsys.readouterr()
    certify = ["certify", str(run), str(new), "--require-certified"]
    assert main(certify) == 0
    assert capsys.readouterr().out.startswith("CERTIFIED")
    first = (run / "certificate.json").read_bytes()
    assert main(certify) == 0
    assert (run / "certificate.json").read_bytes() == first
    assert not (run / "certificate.1.json").exists()
    assert main([*certify, "--later"]) == 9
    assert (run / "certificate.1.json").read_bytes() == first
    assert main(["certify", str(run), str(new), "--later", "--json"]) == 0
    shown = capsys.readouterr().out.splitlines()[-1]
    assert json.loads(shown)["verdict"] == "VALIDATED_ON_LATER_DATA"
    assert main(["verify", str(run / "certificate.json"), "--model", str(run)]) == 0
    # A continued run may select another model; the certificate of this one is kept.
    last = (run / "certificate.json").read_bytes()
    assert main(["resume", str(run)]) == 0
    assert not (run / "certificate.json").exists()
    assert last in [path.read_bytes() for path in run.glob("certificate.*.json")]


def test_a_certificate_of_entities_that_fit_did_not_know_is_verified(visits, tmp_path, capsys):
    run, table = tmp_path / "run", pd.read_csv(visits)
    table.iloc[:200].to_csv(tmp_path / "old.csv", index=False)
    new = tmp_path / "new.csv"
    table.iloc[200:].to_csv(new, index=False)
    words = ["fit", str(tmp_path / "old.csv"), "--target", "y", "--sensitive", "sex"]
    words += ["--constraint", "demographic_parity_difference<=0.9", "--trials", "2"]
    words += ["--learner", "logistic_regression", "--min-size", "1", "--out", str(run)]
    assert main(words) == 0
    assert main(["certify", str(run), str(new), "--groups", "person"]) == 0
    assert "entities of person" in capsys.readouterr().out
    verify = ["verify", str(run / "certificate.json"), "--model", str(run), "--data", str(new)]
    assert main([*verify, "--trust-pickle"]) == 0
    capsys.readouterr()
    ledger = ["--ledger", str(tmp_path / "other.jsonl")]
    assert main(["certify", str(run), str(new), "--groups", "person", *ledger]) == 0
    assert main([*verify, "--trust-pickle"]) != 0
    found = capsys.readouterr().out
    assert "WRONG: ledger: it does not hold the opening" in found
    assert "the counts give" not in found
    assert main([*verify, "--trust-pickle", *ledger]) == 0


def test_a_run_with_a_column_of_times_is_verified_and_resumed_with_its_table(visits, tmp_path):
    run = tmp_path / "run"
    words = ["fit", str(visits), "--target", "y", "--sensitive", "sex", "--trials", "2"]
    words += ["--constraint", "demographic_parity_difference<=0.9", "--out", str(run)]
    words += ["--learner", "logistic_regression", "--holdout", "0.4", "--time-column", "day"]
    assert main(words) == 0
    verify = ["verify", str(run / "certificate.json"), "--model", str(run), "--trust-pickle"]
    assert main([*verify, "--data", str(visits)]) == 0
    assert main(["resume", str(run), "--trials", "3"]) == 0
    new = tmp_path / "new.csv"
    pd.read_csv(visits).assign(x=lambda table: table["x"] + 9).to_csv(new, index=False)
    assert main(["certify", str(run), str(new)]) == 0
    assert main([*verify, "--data", str(new)]) == 0


def test_the_card_does_not_publish_the_salt_of_the_ledger(individuals_file, tmp_path, capsys):
    run = tmp_path / "run"
    words = ["fit", str(individuals_file), "--target", "y", "--sensitive", "sex", "--trials", "2"]
    words += ["--constraint", "demographic_parity_difference<=0.4", "--out", str(run)]
    assert main([*words, "--learner", "logistic_regression", "--holdout", "0.3"]) == 0
    salt = json.loads((run / "source.json").read_text())["salt"]
    capsys.readouterr()
    for options in ([], ["--json"]):
        assert main(["card", str(run), *options]) == 0
        shown = capsys.readouterr().out
        assert "holdout" in shown
        assert salt not in shown


@pytest.mark.parametrize("option", [["--require-certified"], ["--time-column", "x"]])
def test_options_of_held_out_rows_need_such_rows(individuals_file, option, capsys):
    words = ["fit", str(individuals_file), "--target", "y", "--sensitive", "sex"]
    assert main([*words, "--trials", "2", *option]) == 2
    assert "--holdout" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S+02:00"])
def test_dates_that_are_texts_are_sorted_as_dates(form):
    # By letters 2022/01/01 is later than 2022-12-31.
    dates = pd.date_range("2019-11-20", periods=1200)[::-1]
    assert latest([*dates[:300].strftime(form), *dates[300:].strftime("%Y/%m/%d")])


def latest(when):
    """Whether the first quarter of these times is the latest."""
    ranks = ranks_of_times(pd.Series(when), "time")
    return set(np.argsort(ranks)[-300:]) == set(range(300))


def test_hours_are_compared_across_time_zones_and_dates_with_texts():
    early, late = "2024-07-01T12:00:00+09:00", "2024-07-01T11:00:00+02:00"
    for later in (late, date(2024, 7, 2)):
        assert latest([later] * 300 + [early] * 900)


@pytest.mark.parametrize("odd", ["31/01/2020", "Jan 2020", "12", 7])
def test_texts_whose_order_in_time_is_not_known_are_refused(odd):
    match = (
        rf"^time='day' holds {odd!r}; texts must be dates.*such as 2020-01-31.*or give numbers$"
    )
    with pytest.raises(InputError, match=match):
        ranks_of_times(pd.Series(["2020-02-01"] * 1199 + [odd], dtype=object), "time='day'")


def test_the_order_of_ordered_categories_is_that_of_the_user():
    seasons = ["winter", "spring", "autumn"]
    when = pd.Categorical(np.repeat(seasons[::-1], 400), categories=seasons, ordered=True)
    assert ranks_of_times(pd.Series(when), "time")[:400].min() > 0


def test_rows_that_are_only_evaluated_are_drawn_by_label_and_group_and_seed(visits):
    whole = source(visits)
    search, held = hold_out(whole, 0.3, 5)
    # The draw that every sweep and every kept run was made with.
    cells = pd.factorize(whole.groups["sex"])[0]
    kept, drawn = holdout_split(strata_of_column(whole.y, 2), cells, 0.3, 5)
    pd.testing.assert_frame_equal(search.X, whole.take(kept).X)
    pd.testing.assert_frame_equal(held.X, whole.take(drawn).X)


def test_without_a_certificate_no_ledger_is_used(individuals_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAIRAUTOML_STATE_HOME", str(tmp_path / "state"))
    words = ["fit", str(individuals_file), "--target", "y", "--sensitive", "sex", "--trials", "2"]
    words += ["--constraint", "demographic_parity_difference<=0.4", "--holdout", "0.2"]
    assert main([*words, "--learner", "logistic_regression", "--no-certificate", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["holdout"]["n_rows"], result["certificate"]) == (60, None)
    assert not (tmp_path / "state").exists()
