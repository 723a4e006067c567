"""Dates and numbers as text: what is read, what is named and left, and what a file reads."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairautoml import ColumnOptions, FairAutoML, load_predictor
from fairautoml.data.files import read_later
from fairautoml.data.frames import read_table
from fairautoml.data.read import ReadOptions, build_dataset
from fairautoml.data.schema import fit_columns
from fairautoml.exceptions import DegradedWarning, InputError, NotPortableError, ParameterError
from fairautoml.runtime._written import (
    CLEAR,
    DAY_FIRST,
    DIGITS,
    MARKS,
    MONTH_FIRST,
    read_date,
    read_moment,
    read_number,
)

N_ROWS = 120
DAYS = pd.date_range("2022-01-03", periods=N_ROWS, freq="41h")
ALL_PARTS = ("year", "month", "day", "weekday", "hour", "days")


def fit_schema(X, **options):
    return fit_columns(read_table(X), drop=(), options=ColumnOptions(**options))[0]


def learned(values, name="c", **options):
    X = pd.DataFrame({name: values, "u": range(len(values))})
    return fit_schema(X, **options)


SPELLINGS = {
    "2022-01-03": ("%Y-%m-%d", CLEAR),
    "2022/01/03 05:00:00": ("%Y/%m/%d %H:%M:%S", CLEAR),
    "2022-01-03T05:00:00.000": ("%Y-%m-%dT%H:%M:%S.000", CLEAR),
    "03.01.2022": ("%d.%m.%Y", CLEAR),
    "03-Jan-2022": ("%d-%b-%Y", CLEAR),
    "January 3, 2022 05:00 AM": ("%B %d, %Y %I:%M %p", CLEAR),
    "20220103": ("%Y%m%d", DIGITS),
    "01/03/2022": ("%m/%d/%Y", MONTH_FIRST),
    "03/01/2022": ("%d/%m/%Y", DAY_FIRST),
    "03-01-2022 05:00": ("%d-%m-%Y %H:%M", DAY_FIRST),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_dates_as_text_are_the_features_that_typed_dates_are(spelling):
    form, found = SPELLINGS[spelling]
    texts = DAYS.strftime(form)
    schema = learned(texts)
    assert {column.form for column in schema.columns if column.name == "c"} == {found}
    typed = pd.DataFrame({"c": pd.to_datetime(texts, format=form), "u": range(N_ROWS)})
    expected = fit_schema(typed)
    assert schema.labels == expected.labels
    new = pd.DataFrame({"c": texts, "u": range(N_ROWS)})
    np.testing.assert_array_equal(schema.transform(new), expected.transform(typed))
    np.testing.assert_array_equal(schema.transform(typed), expected.transform(typed))


def test_dates_of_a_zone_are_read_in_utc_and_a_lost_zone_is_reported():
    texts = pd.Series([f"{day:%Y-%m-%d %H:%M}+02:00" for day in DAYS])
    schema = learned(texts)
    days = schema.transform(pd.DataFrame({"c": texts, "u": 0}))[:, -2]
    utc = (DAYS - pd.Timedelta(hours=2) - DAYS[-1].floor("D")) / pd.Timedelta(days=1)
    np.testing.assert_allclose(days, utc, atol=1e-5)
    with pytest.warns(DegradedWarning, match="'c' of X held dates with a time zone at fit"):
        schema.transform(pd.DataFrame({"c": texts.str[:16], "u": 0}))


NO_DATES = ["1234.5", "2019-13-01", "2023-02-29", "31/31/2024", "5 Foo 2024", "12:30", "2024",
            "01.13.2024", "2024-1", "1/2/3/2024", "2024-01-01 25:00", "99999999", ""]  # fmt: skip


@pytest.mark.parametrize("text", NO_DATES)
def test_what_is_no_date_is_not_read_as_one(text):
    for form in (CLEAR, DAY_FIRST, MONTH_FIRST, DIGITS):
        assert math.isnan(read_date(text, form)[0])


@settings(max_examples=100)
@given(st.text(max_size=70), st.sampled_from([CLEAR, MONTH_FIRST, DIGITS, "%d.%m", "%"]))
def test_any_text_is_a_date_or_none(text, form):
    days, zoned = read_date(text, form)
    assert isinstance(days, float | int)
    assert not (math.isnan(days) and zoned)


def test_an_order_of_day_and_month_that_is_not_clear_is_named_with_the_way_out():
    texts = [f"{n % 12 + 1:02d}/{n % 5 + 1:02d}/2023" for n in range(N_ROWS)]
    said = "'c' .100% of the values; the day or the month could come first.*ColumnOptions.dates"
    with pytest.warns(DegradedWarning, match=said):
        schema = learned(texts)
    assert schema.columns[0].kind == "category"
    month = learned(texts, dates={"c": "%m/%d/%Y"})
    found = month.transform(pd.DataFrame({"c": ["02/11/2023", "13/01/2023"], "u": 0}))
    assert month.labels[:2] == ("c (month)", "c (day)")
    np.testing.assert_array_equal(found[:, :2], [[2, 11], [np.nan, np.nan]])
    with pytest.raises(InputError, match="'c', in which the day or the month could come first"):
        learned(texts, dates="c")


@pytest.mark.parametrize("form", ["%d.%m.%y", "%m/%d/%y %H:%M", "%y-%m-%d", "%d-%b-%y"])
def test_a_year_of_two_digits_is_named_because_its_century_is_open(form):
    """A column of birthdays would otherwise be of people who are not yet born."""
    texts = [*DAYS[:60].strftime(form)] * 2
    said = "'c' .100% of the values; a year of two digits could be of either century.*%y"
    with pytest.warns(DegradedWarning, match=said):
        assert learned(texts).columns[0].kind == "category"
    assert learned(texts, dates={"c": form}).columns[0].kind == "datetime"
    with pytest.raises(InputError, match=r"no date in a known form.*'c': '%d.%m.%y'"):
        learned(texts, dates="c")


def test_versions_and_other_codes_are_no_dates_with_a_short_year():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learned([f"{n % 3}.{n % 4}.10" for n in range(N_ROWS)])
        learned([f"{n:02d}-34-56" for n in range(N_ROWS)])


WRITTEN = {
    "1.200,50": ("1.234,5", "", 1200.5),
    "1,200.50": ("1,234.5", "", 1200.5),
    "1\u00a0200,5": ("1 234,5", "", 1200.5),
    "1'200": ("1'234.5", "", 1200),
    "-0,5": ("1234,5", "", -0.5),
    "35 %": ("1234.5", "%", 35),
    "$ 12": ("1234.5", "$", 12),
    "-$1,200.50": ("1,234.5", "$", -1200.5),
    "1.200,50 EUR": ("1.234,5", "EUR", 1200.5),
    "1e3": ("1234.5", "", 1000),
    ".5": ("1234.5", "", 0.5),
}


@pytest.mark.parametrize("text", WRITTEN)
def test_a_number_is_read_in_its_form_and_unit_alone(text):
    form, unit, value = WRITTEN[text]
    assert read_number(text, form, unit) == value
    assert math.isnan(read_number(text, form, "CHF"))
    others = {read_number(text, other, unit) for other in MARKS}
    assert {one for one in others if not math.isnan(one)} == {value}


@pytest.mark.parametrize("text", ["007", "1,2,3", "1.20.000,5", "12 34", "1_000", "--5", "5%%",
                                  "1e999", "$5$", "nan", "inf", "", "ABC 5"])  # fmt: skip
def test_what_is_no_number_is_not_read_as_one(text):
    assert all(math.isnan(read_number(text, form, unit)) for form in MARKS for unit in ("", "$"))


COLUMNS = {
    "a German price": (lambda n: f"{n + 1}.200,5", lambda n: (n + 1) * 1000 + 200.5),
    "an English price": (lambda n: f"{n + 1},200.5", lambda n: (n + 1) * 1000 + 200.5),
    "a percentage of few values": (lambda n: f"{n % 5} %", lambda n: n % 5),
    "an amount": (lambda n: f"${n}", lambda n: n),
    "powers": (lambda n: f"{n}e2", lambda n: 100 * n),
    "counts": (lambda n: str(n % 40 + 80), lambda n: n % 40 + 80),
    "numbers between texts": (lambda n: n % 30 if n % 3 else str(n % 30), lambda n: n % 30),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_numbers_as_text_is_numbers(name):
    write, value = COLUMNS[name]
    X = pd.DataFrame({"c": [*map(write, range(50)), None], "u": range(51)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schema = fit_schema(X)
    expected = np.array([*map(value, range(50)), np.nan], dtype=np.float32)
    np.testing.assert_array_equal(schema.transform(X)[:, 0], expected)
    assert "'c' (numbers" in schema.notes[-1]


def test_an_ambiguous_mark_is_no_silent_guess():
    with pytest.warns(DegradedWarning, match="look like numbers: 'c'.*example '1,500'"):
        schema = learned([f"{n % 30 + 1},500" for n in range(60)])
    assert schema.columns[0].kind == "category"


def test_new_values_in_another_form_are_missing_and_reported():
    when = DAYS.strftime("%d.%m.%Y")
    X = pd.DataFrame({"price": [f"{n},5 %" for n in range(N_ROWS)], "when": when})
    schema = fit_schema(X)
    new = pd.DataFrame({"price": ["1.200 %", "3,5 %", None], "when": ["31.12.2024", "soon", None]})
    with pytest.warns(DegradedWarning, match=r"are no dates .*: 'price' \(50%.*'when' \(50%"):
        found = schema.transform(new, warns=True)
    np.testing.assert_array_equal(found[:, 0], np.float32([np.nan, 3.5, np.nan]))
    assert not np.isnan(found[0, 1:]).any()
    assert np.isnan(found[1:, 1:]).all()


def test_typed_numbers_after_local_ones_are_refused_and_after_plain_ones_read():
    # pandas reads "1.200" as 1.2.
    local = learned([f"{n}.200,0" for n in range(1, 40)])
    with pytest.raises(InputError, match="held numbers as text at fit and holds numbers now"):
        local.transform(pd.DataFrame({"c": [1.2], "u": [0]}))
    plain = learned([str(n % 40 + 80) for n in range(60)])
    assert plain.transform(pd.DataFrame({"c": [1.5], "u": [0]}))[0, 0] == 1.5


def test_a_csv_of_later_rows_is_read_as_text_where_fit_read_text(tmp_path):
    X = pd.DataFrame({
        "price": [f"{n + 1}.200,{n % 7}" for n in range(60)],
        "when": DAYS.strftime("%Y%m%d")[:60],
    })  # fmt: skip
    schema = fit_schema(X)
    later = X[:1].assign(price="1.200")
    later.to_csv(tmp_path / "new.csv", index=False)
    read = read_later(tmp_path / "new.csv", schema=schema, groups=None)
    np.testing.assert_array_equal(schema.transform(read), schema.transform(later))
    assert schema.transform(read)[0, 0] == 1200


def test_the_user_says_otherwise_than_what_is_found():
    X = pd.DataFrame({
        "note": [f"w{n % 7} w{n % 5} w{n % 3} v{n} {n}" for n in range(N_ROWS)],
        "code": [str(n % 40 + 80) for n in range(N_ROWS)],
        "when": [*DAYS.strftime("%d.%m.%y")[:-1], "never"],
        "id": [f"shop{n % 4}-{n}" for n in range(N_ROWS)],
        "extra": range(N_ROWS),
    })  # fmt: skip
    found = fit_schema(
        X, text=["id"], dates={"when": "%d.%m.%y"}, categories=["note", "code"], drop="extra"
    ).described()
    kinds = found.set_index("column")["kind"].to_dict()
    assert kinds["id"] == "text"
    assert kinds["when"] == "datetime"
    assert kinds["code"] == "category"
    assert kinds["extra"] == "left out"
    assert "identifier" in found.set_index("column").loc["note", "encoding"]
    with pytest.warns(DegradedWarning, match="'when' .99% of the values; a year of two digits"):
        found = fit_schema(X).described().set_index("column")
    assert found.loc["id", "kind"] == "left out"


def test_values_that_are_no_dates_are_missing_where_the_user_says_dates():
    schema = learned([*DAYS.strftime("%Y-%m-%d")[:-6], *["never"] * 6], dates=["c"])
    found = schema.transform(pd.DataFrame({"c": ["2024-12-31", "never"], "u": 0}))
    assert not np.isnan(found[0]).any()
    assert np.isnan(found[1, :-1]).all()


def test_whole_numbers_are_dates_of_a_format_that_begins_with_the_year():
    texts = pd.DataFrame({"c": DAYS.strftime("%Y%m%d"), "u": range(N_ROWS)})
    whole = texts.astype({"c": "int64"})
    found = fit_schema(whole, dates={"c": "%Y%m%d"}).transform(whole)
    np.testing.assert_array_equal(found, fit_schema(texts).transform(texts))


def test_whole_numbers_are_no_dates_of_a_format_with_marks():
    texts = pd.DataFrame({"c": DAYS.strftime("%Y-%m-%d"), "u": range(N_ROWS)})
    schema = fit_schema(texts, dates={"c": "%Y-%m-%d"})
    with pytest.raises(InputError, match="'c' of X held dates as text at fit and holds numbers"):
        schema.transform(texts.assign(c=20240131))


@pytest.mark.parametrize("number", [pytest.param(10**5000, id="long"), np.inf, 2024.5])
def test_numbers_that_are_no_dates_are_missing(number):
    assert np.isnan(read_moment(number, "%Y%m%d")[0])


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"text": ["a"], "drop": ["a"]}, ParameterError, "names column 'a' twice"),
        ({"text": 3}, ParameterError, "ColumnOptions.text=3 must be the name of a column"),
        ({"dates": {"a": "d/m/y"}}, ParameterError, "must be a format as of datetime.strptime"),
        ({"text": ["cc"]}, InputError, "names 'cc', which is no column of X; did you mean 'c'"),
        ({"text": ["u"]}, InputError, "text names 'u', which has no word"),
        ({"dates": ["c"]}, InputError, "dates names 'c', which has no date in a known form"),
        ({"dates": {"c": "%d.%m"}}, InputError, "'c', which has no date of the format '%d.%m'"),
        ({"dates": {"c": "%d %d"}}, InputError, "'c', which has no date of the format '%d %d'"),
    ],
)
def test_column_options_that_cannot_be_met_are_refused(options, error, said):
    with pytest.raises(error, match=said):
        learned(["a", "b", "c"] * 10, **options)


def test_fit_takes_column_options_alone():
    with pytest.raises(ParameterError, match=r"columns=.* must be None or ColumnOptions"):
        FairAutoML(n_trials=1).fit(pd.DataFrame({"x": [1, 2]}), [0, 1], columns={"text": "x"})


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, N_ROWS)
    X = pd.DataFrame({
        "when": DAYS.strftime("%d/%m/%Y %H:%M"),
        "typed": DAYS,
        "share": [f"{n},5 %" for n in rng.integers(0, 40, N_ROWS) + 40 * y],
        "number": rng.normal(size=N_ROWS),
    })  # fmt: skip
    X.loc[3, ["when", "typed", "share"]] = None
    return X, y, rng.choice(["a", "b"], N_ROWS)


@pytest.fixture(scope="module")
def model(table):
    X, y, groups = table
    model = FairAutoML(
        "demographic_parity_difference <= 0.3", n_trials=2, n_jobs=1, random_state=0, cv=2,
        learners=["lightgbm"],
    )  # fmt: skip
    return model.fit(X, y, groups)


@pytest.mark.filterwarnings("ignore:columns of X hold values that are no dates")
def test_an_exported_model_reads_dates_and_numbers_alike_row_by_row(table, model, tmp_path):
    X, _, groups = table
    model.export(tmp_path / "m.fair")
    portable = load_predictor(tmp_path / "m.fair")
    for frame in (X, X.assign(when="31/12/2023", share="1 %"), X[:50].assign(when="x", share="x")):
        expected = model.predict_proba(frame, groups[: len(frame)])
        found = portable.predict_proba(frame, groups[: len(frame)])
        np.testing.assert_array_equal(found, expected)
        one = portable.predict_proba(frame.iloc[[5]].to_dict("records"), groups[[5]])
        np.testing.assert_array_equal(one[0], expected[5])
    assert len(set(portable.feature_names)) == len(portable.feature_names)


def test_features_of_one_column_have_names_of_their_own(table, model):
    names = model.members_[0].feature_names
    assert len(set(names)) == len(names)
    assert "when (hour)" in names
    found = model.columns_.set_index("column")
    assert found.loc["when", "encoding"].startswith("text read as dates, day first: ")
    assert found.loc["share", "encoding"] == "text read as numbers, 1234,5 %"


def test_rows_with_dates_are_recognized_in_a_ledger(table):
    from fairautoml.certification.rows import features_read

    X, y, _ = table
    rows = build_dataset(X, y)
    assert features_read(rows.schema, rows.X, y).shape[1] == rows.schema.width + 1


@pytest.mark.parametrize("column", ["typed", "when", "share"])
def test_a_model_of_dates_or_numbers_as_text_has_no_onnx_form_and_says_so(table, tmp_path, column):
    pytest.importorskip("onnx")
    from fairautoml.inference.onnx_graph import _feature, _Graph

    rows = build_dataset(table[0][[column, "number"]], table[1])
    from fairautoml.inference.export import _schema

    with pytest.raises(NotPortableError, match=f"column '{column}' holds"):
        _feature(_Graph(), _schema(rows.schema)["columns"][0])


def test_a_date_that_tells_the_group_is_named_and_dropped_with_all_its_parts(table):
    X, y, _ = table
    groups = np.where(DAYS[60] > DAYS, "old", "new")
    X = X.drop(columns="typed").assign(when=DAYS.strftime("%Y-%m-%d"))
    with pytest.warns(DegradedWarning, match="'when' of X give"):
        build_dataset(X, y, groups)
    dropped = build_dataset(X, y, groups, options=ReadOptions(sensitive_in_X="drop"))
    assert "when" not in dropped.schema.names
    assert dropped.X.shape[1] == dropped.schema.width


def test_whole_numbers_as_text_that_recur_are_codes_in_the_order_of_the_numbers():
    labels = [str(number) for number in (*range(9, 29), 100, 4700)]
    schema = learned(labels * 20)
    assert schema.columns[0].levels == tuple(("str", label) for label in labels)
    assert schema.feature_schema.numbered == (0,)
    assert learned(labels * 19).columns[0].kind == "number"


def test_categories_with_names_among_them_are_not_in_the_order_of_numbers():
    labels = [*map(str, range(25)), *"abcdef"]
    schema = learned(labels * 20)
    assert schema.columns[0].kind == "category"
    assert schema.feature_schema.numbered == ()
