"""Features: any table becomes one float32 matrix, the same way at fit and later."""

import datetime as dt
import decimal
import io
import pickle
import re
import subprocess
import sys
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from fairautoml.data.dataset import FeatureSchema
from fairautoml.data.frames import read_table
from fairautoml.data.schema import fit_columns
from fairautoml.exceptions import DegradedWarning, InputError


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": [20, 30, 40, 50],
            "job": ["b", "a", None, "c"],
            "rich": [True, False, True, True],
        }
    )


def without_example(warned):
    """Return what is stored of a warning: no value of the rows."""
    return re.sub(r", for example .*?\)\. ", "). ", str(warned.message))


def fit_schema(X, drop=()):
    return fit_columns(read_table(X), drop=drop)[0]


def encoded(X):
    return fit_schema(X).transform(X)


def column(values, **options):
    """Encode one column beside one that is always usable."""
    table = pd.DataFrame({"c": values})
    table["other"] = np.arange(len(table))
    return encoded(table, **options)[:, 0].tolist()


def same(a, b) -> bool:
    return np.array_equal(a, b, equal_nan=True)


# --- what comes out ---------------------------------------------------------------------------


def test_a_frame_becomes_float32_with_codes_in_sorted_order_and_nan_for_missing():
    X = encoded(frame())
    assert X.dtype == np.float32
    assert X.flags.c_contiguous
    assert same(X, [[20, 1, 1], [30, 0, 0], [40, np.nan, 1], [50, 2, 1]])


def test_the_layout_names_the_category_columns_and_their_cardinalities():
    feature_schema = fit_schema(frame()).feature_schema
    assert feature_schema == FeatureSchema(n_features=3, categorical=(1,), cardinalities=(3,))


def test_the_schema_is_plain_data_that_survives_pickling():
    schema = fit_schema(frame())
    again = pickle.loads(pickle.dumps(schema))
    assert again == schema
    assert same(again.transform(frame()), schema.transform(frame()))
    assert again.columns[1].levels == (("str", "a"), ("str", "b"), ("str", "c"))


def test_column_names_with_special_characters_are_kept():
    names = ["[a]<b>", '{c}:"d,"', "größe"]
    X = pd.DataFrame([[1, 2, 3], [2, 3, 4]], columns=names)
    assert fit_schema(X).names == tuple(names)


# --- names ------------------------------------------------------------------------------------


def test_duplicate_names_are_refused_and_listed():
    X = pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"])
    with pytest.raises(InputError, match=r"several columns of one name: 'a'"):
        fit_schema(X)


def test_mixed_int_and_text_names_become_text():
    X = pd.DataFrame([[1, 2], [2, 3]], columns=[0, "a"])
    assert fit_schema(X).names == ("0", "a")


def test_names_that_are_equal_as_text_are_refused():
    X = pd.DataFrame([[1, 2], [2, 3]], columns=[0, "0"])
    with pytest.raises(InputError, match=r"several columns of one name: '0'"):
        fit_schema(X)


def test_permuted_columns_are_reordered_by_name_with_a_warning():
    schema = fit_schema(frame())
    expected = schema.transform(frame())
    with pytest.warns(DegradedWarning, match="reordered by name"):
        assert same(schema.transform(frame()[["rich", "age", "job"]]), expected)


def test_missing_columns_are_refused_by_name():
    with pytest.raises(InputError, match=r"lacks 1 column\(s\) that fit was given: \['job'\]"):
        fit_schema(frame()).transform(frame().drop(columns="job"))


def test_extra_columns_are_ignored_with_a_warning():
    schema = fit_schema(frame())
    with pytest.warns(DegradedWarning, match=r"ignored: \['new'\]"):
        X = schema.transform(frame().assign(new=1))
    assert same(X, schema.transform(frame()))


def test_a_column_that_was_dropped_at_fit_may_be_absent_later():
    schema = fit_schema(frame().assign(constant=1))
    assert schema.transform(frame()).shape == (4, 3)


def test_an_array_after_a_frame_is_read_by_position_with_one_warning():
    X = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 5.0]})
    schema = fit_schema(X)
    with pytest.warns(DegradedWarning, match="read by position") as caught:
        assert same(schema.transform(X.to_numpy()), X.to_numpy())
    assert len(caught) == 1


def test_an_object_array_after_a_frame_is_encoded_like_the_frame():
    schema = fit_schema(frame())
    with pytest.warns(DegradedWarning, match="read by position"):
        X = schema.transform(frame().to_numpy(dtype=object))
    assert same(X, schema.transform(frame()))


def test_a_plain_array_after_a_frame_with_number_categories_is_encoded_like_the_frame():
    X = pd.DataFrame({"a": pd.Categorical([7, 3, 7]), "b": [1, 2, 3]})
    schema = fit_schema(X)
    with pytest.warns(DegradedWarning, match="read by position"):
        found = schema.transform(np.array([[7, 1], [3, 2], [9, 3]]))
    assert same(found, [[1, 1], [0, 2], [np.nan, 3]])


def test_an_array_of_another_width_is_refused():
    with pytest.raises(InputError, match="X has 2 features, but FairAutoML is expecting 3 feat"):
        fit_schema(frame()).transform(np.ones((4, 2)))


def test_a_frame_after_an_array_is_read_by_position_with_a_warning():
    schema = fit_schema(np.array([[1.0, 2.0], [3.0, 4.0]]))
    with pytest.warns(DegradedWarning, match="had column no names at fit and has names now"):
        schema.transform(pd.DataFrame([[1.0, 2.0]], columns=["a", "b"]))


# --- shape ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "X", [np.arange(3.0), [1, 2, 3], pd.Series([1, 2]), np.ones((2, 2, 2)), np.array(1.0)]
)
def test_other_than_two_dimensions_are_refused(X):
    with pytest.raises(ValueError, match="Reshape your data"):
        fit_schema(X)


@pytest.mark.parametrize("X", [np.empty((0, 3)), pd.DataFrame({"a": [], "b": [], "c": []})])
def test_no_rows_are_refused(X):
    wanted = r"Found array with 0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 1 is required."
    with pytest.raises(ValueError, match=wanted):
        fit_schema(X)


@pytest.mark.parametrize("X", [np.empty((12, 0)), pd.DataFrame(index=range(12))])
def test_no_columns_are_refused(X):
    wanted = r"0 feature\(s\) \(shape=\(12, 0\)\) while a minimum of 1 is required."
    with pytest.raises(ValueError, match=wanted):
        fit_schema(X)


@pytest.mark.parametrize("X", [None, 3, "text", {"a": [1]}])
def test_what_is_no_table_is_refused(X):
    with pytest.raises(InputError, match=r"X (is None|must be a table)"):
        fit_schema(X)


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(InputError, match="X has rows of different lengths"):
        fit_schema([[1, 2], [3]])


# --- numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("kind", ["frame", "array", "sparse"])
def test_numbers_that_float32_cannot_hold_are_refused_with_column_and_count(bad, kind):
    array = np.array([[1.0, bad], [2.0, bad], [3.0, 4.0]])
    X = {"frame": pd.DataFrame(array, columns=["x0", "x1"]), "array": array}.get(
        kind, sp.csr_matrix(array)
    )
    with pytest.raises(
        InputError,
        match=r"infinity \(inf\).*'x1' \(2\).*X\.replace\(\[np\.inf, -np\.inf\], np\.nan\)",
    ):
        fit_schema(X).transform(X)


def test_infinities_in_later_tables_are_refused_too():
    array = np.array([[1.0], [2.0]])
    with pytest.raises(InputError, match=r"'x0' \(1\)"):
        fit_schema(array).transform(np.array([[np.inf]]))


@pytest.mark.parametrize(
    "X",
    [
        np.ones((3, 1)) * 1j,
        pd.DataFrame({"a": [1j, 2]}),
        pd.DataFrame({"a": pd.Series([1j, 2], dtype=object)}),
        sp.csr_matrix(np.eye(2) * 1j),
    ],
)
def test_complex_numbers_are_refused(X):
    with pytest.raises(ValueError, match="Complex data not supported"):
        fit_schema(X)


@pytest.mark.parametrize(
    "dtype", [bool, "i1", "u8", "f2", "f4", "f8", "g", ">f8", ">i4", ">f4", object]
)
def test_every_number_type_of_numpy_gives_the_same_matrix(dtype):
    array = np.array([[0, 1], [1, 1], [1, 0]]).astype(dtype)
    before = array.tobytes()
    assert same(encoded(array), [[0, 1], [1, 1], [1, 0]])
    assert array.tobytes() == before


@pytest.mark.parametrize("order", ["fortran", "read-only", "strided", "matrix"])
def test_every_memory_layout_gives_the_same_matrix(order):
    base = np.arange(12.0).reshape(4, 3)
    array = base.copy()
    if order == "fortran":
        array = np.asfortranarray(base)
    elif order == "read-only":
        array.flags.writeable = False
    elif order == "strided":
        array = np.repeat(np.repeat(base, 2, axis=0), 3, axis=1)[::2, ::3]
    else:
        array = pd.DataFrame(base).to_numpy()
    X = encoded(array)
    assert same(X, base)
    assert X.flags.c_contiguous
    assert not np.shares_memory(X, array)


def test_the_input_frame_is_not_modified():
    X = frame()
    X["job"] = X["job"].astype("category")
    before = pickle.dumps(X)
    encoded(X)
    assert pickle.dumps(X) == before


def test_an_array_keeps_its_constant_columns():
    assert encoded(np.ones((3, 2))).shape == (3, 2)


def test_an_array_loses_its_all_missing_columns_with_a_warning():
    X = np.array([[1.0, np.nan], [2.0, np.nan]])
    with pytest.warns(DegradedWarning, match="without any value are not used: 'x1'"):
        schema = fit_schema(X)
    assert schema.names == ("x0",)
    assert same(schema.transform(np.array([[5.0, 7.0]])), [[5.0]])


def test_lists_of_lists_keep_the_type_of_every_value():
    X = [["a", 1.5], [None, 2.5], ["b", float("nan")]]
    assert same(encoded(X), [[0, 1.5], [np.nan, 2.5], [1, np.nan]])


# --- kinds of columns -------------------------------------------------------------------------

MISSING = float("nan")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.array([1, None, 3], dtype="Int64"), [1, MISSING, 3]),
        (pd.array([1.5, None, 3], dtype="Float32"), [1.5, MISSING, 3]),
        (pd.array([True, None, False], dtype="boolean"), [1, MISSING, 0]),
        (pd.array(["b", None, "a"], dtype="string"), [1, MISSING, 0]),
        (pd.Series(["b", pd.NA, "a"], dtype=object), [1, MISSING, 0]),
        (pd.Series([1, None, 2.5], dtype=object), [1, MISSING, 2.5]),
        (pd.Series([True, None, False], dtype=object), [1, MISSING, 0]),
        (pd.Series([decimal.Decimal("1.5"), None, 2], dtype=object), [1.5, MISSING, 2]),
        (pd.Series([1, "1", True, None], dtype=object), [1, 2, 0, MISSING]),
        (pd.Categorical(["b", None, "a"], categories=["z", "b", "a"]), [1, MISSING, 0]),
        (pd.Categorical([10, 2, None]), [1, 0, MISSING]),
        (pd.Series([1.5, 2.5]).astype("Sparse[float64]"), [1.5, 2.5]),
        (pd.cut(pd.Series([1, 5, 9]), [0, 3, 6, 9]), [0, 1, 2]),
    ],
)
def test_a_column_is_encoded_by_what_it_holds(values, expected):
    assert same(column(values), expected)


def days(values):
    return encoded(pd.DataFrame({"c": values}))[:, -1]


def test_dates_are_days_since_the_newest_day_of_fit_in_utc():
    naive = pd.to_datetime(pd.Series(["1970-01-02 00:00", None, "1970-01-11 12:00"]))
    assert same(days(naive), [-9, MISSING, 0.5])
    assert same(days(naive.dt.tz_localize("UTC")), [-9, MISSING, 0.5])
    aware = pd.Series(pd.to_datetime(["1970-01-02 01:00"])).dt.tz_localize("Europe/Paris")
    two = pd.concat([aware, aware + pd.Timedelta(days=1)], ignore_index=True)
    assert same(days(two), [-1, 0])
    assert same(days([dt.date(1970, 1, 3), None, dt.date(1970, 1, 4)]), [-1, MISSING, 0])


def test_dates_also_become_the_parts_that_vary():
    moments = ["2024-12-31 13:00:00", None, "2023-02-27 23:59:59.9"]
    dates = pd.to_datetime(pd.Series(moments), format="ISO8601")
    schema = fit_schema(pd.DataFrame({"d": dates}))
    parts = ("year", "month", "day", "weekday", "hour", "days")
    assert schema.labels == tuple(f"d ({part})" for part in parts)
    assert schema.names == ("d",) * 6
    found = schema.transform(pd.DataFrame({"d": dates}))
    assert same(found[:, :5], [[2024, 12, 31, 1, 13], [MISSING] * 5, [2023, 2, 27, 0, 23]])
    day = fit_schema(pd.DataFrame({"d": pd.to_datetime(["2024-03-01", "2024-04-01"])}))
    assert day.labels == ("d (month)", "d (weekday)", "d (days)")


def test_dates_that_gain_or_lose_their_time_zone_are_reported():
    naive = pd.DataFrame({"d": pd.to_datetime(["2020-01-02 03:00", None, "2020-02-02 00:00"])})
    aware = naive.assign(d=naive["d"].dt.tz_localize("Asia/Tokyo"))
    python = aware.astype({"d": object})
    for then, now in ((naive, aware), (naive, python), (aware, naive), (python, naive)):
        schema = fit_schema(then)
        schema.transform(then)
        with pytest.warns(DegradedWarning, match="'d' of X held dates with .* time zone at fit"):
            schema.transform(now)
    assert same(fit_schema(aware).transform(python), fit_schema(python).transform(aware))


def test_durations_are_days():
    assert same(column(pd.to_timedelta(["1D", None, "36h"])), [1, MISSING, 1.5])
    assert same(column(pd.Series([dt.timedelta(2), None], dtype=object)), [2, MISSING])


def test_values_that_cannot_be_categories_are_refused():
    with pytest.raises(InputError, match=r"column 'c' of X holds values that cannot be categor"):
        column(pd.Series([[1], [2]], dtype=object))


def test_a_whole_number_beyond_any_float_is_refused():
    with pytest.raises(InputError, match="column 'c' of X holds a number too large for a float"):
        column(pd.Series([10**400, 1], dtype=object))


def test_codes_do_not_depend_on_the_category_order_or_unused_levels_of_the_frame():
    a = pd.Categorical(["x", "y", "x"], categories=["y", "unused", "x"])
    b = pd.Categorical(["x", "y", "x"], categories=["x", "y"])
    assert column(a) == column(b) == column(["x", "y", "x"]) == [0, 1, 0]


def test_re_inferred_categories_and_a_csv_round_trip_keep_their_codes():
    values = np.array(list("abcdef") * 5)
    full = pd.DataFrame({"c": pd.Categorical(values), "n": np.arange(30)})
    schema = fit_schema(full)
    rows = full["c"].isin(["b", "f"])
    few = full[rows]
    expected = schema.transform(full)[rows]
    again = few.assign(c=few["c"].astype(str).astype("category"))
    assert same(schema.transform(again), expected)
    read = pd.read_csv(io.StringIO(few.to_csv(index=False)))
    assert same(schema.transform(read), expected)


def test_an_unseen_category_is_missing():
    schema = fit_schema(frame())
    new = frame().assign(job=["a", "new", "c", None])
    assert same(schema.transform(new)[:, 1], [0, MISSING, 2, MISSING])


def test_a_category_column_of_another_type_is_refused():
    schema = fit_schema(frame())
    with pytest.raises(InputError, match="categories of type str at fit and of type int now"):
        schema.transform(frame().assign(job=[1, 2, 3, 4]))


def test_a_number_column_that_holds_text_later_is_refused():
    schema = fit_schema(frame())
    with pytest.raises(InputError, match="'age' of X held numbers at fit and holds text"):
        schema.transform(frame().assign(age=list("abcd")))


def test_the_first_value_that_is_no_number_is_shown_with_its_row():
    schema = fit_schema(frame())
    wrong = r"holds text or categories now: 2 value\(s\) are no number, first '4O' in row 1 \("
    with pytest.raises(InputError, match=wrong):
        schema.transform(frame().assign(age=["40", "4O", None, "?"]))
    with pytest.raises(InputError, match=r"numbers as text, which pandas\.to_numeric reads"):
        schema.transform(frame().assign(age=["40", "41", None, "1e3"]))


def test_a_number_column_that_is_all_missing_later_is_missing():
    schema = fit_schema(frame())
    later = schema.transform(frame().assign(age=pd.Series([None] * 4, dtype=object)))
    assert np.isnan(later[:, 0]).all()


def test_a_number_column_that_comes_as_categories_of_numbers_is_read():
    schema = fit_schema(frame())
    later = schema.transform(frame().assign(age=pd.Categorical([20, 30, 40, 50])))
    assert same(later, schema.transform(frame()))


# --- texts that look like numbers -------------------------------------------------------------


WRITTEN = {
    "thousands or decimals": lambda n: f"{n + 1},250",
    "dots of thousands or decimals": lambda n: f"{n + 1}.250",
    "two units": lambda n: f"{n} {'%' if n % 2 else 'EUR'}",
    "one cell of junk": lambda n: "unknown" if n == 0 else str(n),
    "numbers between texts": lambda n: "unknown" if n == 0 else n,
}


@pytest.mark.parametrize("write", [lambda n: f"{n * 2**52 + 11:015x}", lambda n: str(10**29 + n)])
@pytest.mark.filterwarnings("ignore:columns of X are text although they look like numbers")
def test_hex_and_thirty_digit_identifiers_are_left_out_with_a_note(write):
    schema = fit_schema(pd.DataFrame({"id": [write(n) for n in range(60)], "u": range(60)}))
    assert schema.names == ("u",)
    reason = "60 different values in 60 rows, such as an identifier has"
    assert schema.notes[-1].startswith(f"column 'id' of X is not used: {reason}")


@pytest.mark.parametrize("write", WRITTEN.values(), ids=WRITTEN)
def test_texts_that_look_like_numbers_stay_categories_with_a_warning_and_a_note(write):
    X = pd.DataFrame({"price": [write(n) for n in range(30)], "u": range(30)}, dtype=object)
    reported = (
        rf"look like numbers: 'price' .*example {re.escape(repr(write(0)))}.*astype\('category'\)"
    )
    with pytest.warns(DegradedWarning, match=reported) as warned:
        schema = fit_schema(X)
    assert len(warned) == 1
    assert [column.kind for column in schema.columns] == ["category", "number"]
    assert schema.notes == (without_example(warned[0]),)


NO_NUMBERS = {
    "few values": [f"{n % 19},5" for n in range(40)],
    "codes of one length": [str(4000 + n % 15) for n in range(40)],
    "codes with zeros": [f"{n:05d}" for n in range(40)],
    "codes of which few begin with zero": [f"{n:05d}" for n in range(9_998, 10_038)],
    "lists": [f"{n},{n + 1},{n + 2}" for n in range(10, 50)],
    "a tenth and more of text": [str(n) if n % 8 else f"V{n}" for n in range(40)],
    "declared categories": pd.Categorical([f"{n},5" for n in range(40)]),
}


@pytest.mark.parametrize("values", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_texts_that_are_no_numbers_are_categories_without_a_word(values):
    schema = fit_schema(pd.DataFrame({"code": values, "u": range(40)}))
    assert schema.columns[0].kind == "category"
    assert schema.notes == ()


@pytest.mark.parametrize(
    ("needed", "example", "texts"),
    [
        ("thousands=','", "1,234", ["1,234", "999"]),
        ("decimal=',', thousands='.'", "1.234", ["1.234"]),
    ],
)
def test_the_way_out_reads_the_example_as_the_number_that_it_is(needed, example, texts):
    X = pd.DataFrame({"c": [*texts, *map(str, range(30))], "u": range(len(texts) + 30)})
    with pytest.warns(DegradedWarning) as warned:
        fit_schema(X)
    assert f"example {example!r}, which needs {needed})" in str(warned[0].message)
    options = eval(f"dict({needed})")
    read = pd.read_csv(io.StringIO(f"c;u\n{example};1\n"), sep=";", **options)
    assert pd.api.types.is_numeric_dtype(read["c"])


def test_one_local_number_among_many_texts_is_the_example():
    texts = ["1,234", *map(str, range(1, 1501))]
    X = pd.DataFrame({"c": texts * 2, "u": range(2 * len(texts))})
    with pytest.warns(DegradedWarning, match="example '1,234', which needs thousands=','"):
        fit_schema(X)


def test_a_number_of_three_decimals_among_texts_is_reported():
    X = pd.DataFrame({"c": [1.125, *map(str, range(5, 35))], "u": range(31)}, dtype=object)
    with pytest.warns(DegradedWarning, match=r"example '10', which pandas\.to_numeric reads"):
        fit_schema(X)


def test_a_cell_that_is_no_number_is_named():
    X = pd.DataFrame({"c": ["unknown", *map(str, range(30))], "u": range(31)})
    with pytest.warns(DegradedWarning, match="example 'unknown', which is no number"):
        fit_schema(X)


DAYS = pd.date_range("2019-01-01", periods=40)
DATES = {
    "day or month first": [f"{n % 12 + 1}/{n % 11 + 1}/2019" for n in range(40)],
    "some with a zone": [
        day.strftime("%Y-%m-%d %H:%M") + "+01:00" * (day.day % 2) for day in DAYS
    ],
    "some other text": [*DAYS.strftime("%Y-%m-%d")[:38], "soon", "never"],
    "periods": pd.period_range("2019-01", periods=40, freq="M"),
    "dates among texts": [*DAYS[:38], "soon", "never"],
}


@pytest.mark.parametrize("values", DATES.values(), ids=DATES)
def test_dates_that_are_read_as_categories_are_reported(values):
    X = pd.DataFrame({"when": values, "u": range(40)})
    reported = r"look like dates .*: 'when' \(\d+% .*example '.*2019.*pandas\.to_datetime.*--drop"
    with pytest.warns(DegradedWarning, match=reported) as warned:
        schema = fit_schema(X)
    assert len(warned) == 1
    assert schema.columns[0].kind == "category"
    assert schema.notes == (without_example(warned[0]),)


NO_DATES = {
    "few days": [f"2019-01-{n % 19 + 1:02d}" for n in range(40)],
    "years": [str(1960 + n) for n in range(40)],
    "codes": [f"2019-{n:03d}" for n in range(40)],
    "no months": [f"20{n}-{n}" for n in range(13, 53)],
    "declared categories": pd.Categorical(DAYS.strftime("%Y-%m-%d")),
    "dates": DAYS,
}


@pytest.mark.parametrize("name", NO_DATES)
def test_what_is_no_text_of_a_date_is_not_reported_as_one(name):
    with warnings.catch_warnings(record=True) as reported:
        warnings.simplefilter("always")
        fit_schema(pd.DataFrame({"when": NO_DATES[name], "u": range(40)}))
    assert not [one for one in reported if "dates" in str(one.message)]


def test_many_columns_that_look_like_numbers_are_reported_in_one_warning():
    X = pd.DataFrame({f"c{at}": [f"{n + 1},500" for n in range(30)] for at in range(8)})
    with pytest.warns(DegradedWarning, match="'c4' .*, and 3 more") as warned:
        fit_schema(X)
    assert len(warned) == 1


# --- columns that are not used ----------------------------------------------------------------


def test_all_missing_and_constant_columns_of_a_frame_are_dropped_and_noted():
    X = frame().assign(empty=np.nan, none=None, constant="k", half=[1, 1, np.nan, 1])
    with pytest.warns(DegradedWarning, match="without any value are not used: 'empty', 'none'$"):
        schema = fit_schema(X)
    assert schema.names == ("age", "job", "rich", "half")
    assert schema.notes == (
        "column 'empty' of X is not used: all values are missing",
        "column 'none' of X is not used: all values are missing",
        "column 'constant' of X is not used: all values are equal",
    )


def test_a_frame_without_a_usable_column_is_refused():
    X = pd.DataFrame({"a": [1, 1], "b": [None, None]})
    with pytest.raises(InputError, match=r"no usable column left: .*'a'.*equal; .*'b'.*missing"):
        fit_schema(X)


def test_an_array_of_missing_values_only_is_refused():
    with pytest.raises(InputError, match="no usable column left"):
        fit_schema(np.full((3, 2), np.nan))


def test_columns_are_dropped_on_demand():
    schema = fit_schema(frame(), drop=["job"])
    assert schema.names == ("age", "rich")
    assert schema.notes == ("column 'job' of X is not used: listed in drop",)


def test_dropping_an_unknown_or_every_column_is_refused():
    with pytest.raises(InputError, match=r"drop names columns that X does not have: \['no'\]"):
        fit_schema(frame(), drop=["no"])
    with pytest.raises(InputError, match="no usable column left"):
        fit_schema(frame(), drop=["age", "job", "rich"])


def test_leaving_out_every_kept_column_is_refused():
    schema = fit_schema(frame())
    assert schema.without(["job"], "because").notes == ("column 'job' of X is not used: because",)
    with pytest.raises(InputError, match="no usable column left"):
        schema.without(schema.names, "because")


# --- sparse -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [sp.csr_matrix, sp.csc_matrix, sp.coo_matrix, sp.csr_array])
def test_a_sparse_matrix_stays_sparse(make):
    dense = np.array([[0, 1.5], [2, 0], [0, 0]])
    X = make(dense)
    schema = fit_schema(X)
    found = schema.transform(X)
    assert sp.issparse(found)
    assert found.format == "csr"
    assert found.dtype == np.float32
    assert schema.feature_schema == FeatureSchema(n_features=2, sparse=True)
    assert same(found.toarray(), dense)
    assert same(X.toarray(), dense)


def test_a_sparse_matrix_can_lose_columns_and_meet_dense_tables_later():
    dense = np.array([[0, 1.5, 3], [2, 0, 4]])
    schema = fit_schema(sp.csr_matrix(dense), drop=["x1"])
    assert same(schema.transform(sp.csr_matrix(dense)).toarray(), dense[:, [0, 2]])
    assert same(schema.transform(dense).toarray(), dense[:, [0, 2]])
    with pytest.warns(DegradedWarning, match="read by position"):
        later = schema.transform(pd.DataFrame(dense))
    assert same(later.toarray(), dense[:, [0, 2]])


def test_columns_of_a_sparse_matrix_without_a_value_are_left_out_and_noted():
    X = sp.csr_matrix(([1.0, 2.0, 3.0], ([0, 1, 1], [5, 2, 5])), shape=(3, 1_000_000))
    schema = fit_schema(X)
    assert schema.names == ("x2", "x5")
    assert len(schema.names_in) == 1_000_000
    assert schema.notes == (
        "999,998 of 1,000,000 columns of the sparse X are not used: no row has a value in them",
    )
    assert same(schema.transform(X).toarray(), X[:, [2, 5]].toarray())
    with pytest.raises(InputError, match="no usable column left"):
        fit_schema(sp.csr_matrix((3, 4)))


def test_reading_a_wide_sparse_matrix_costs_as_much_as_its_values():
    narrow, wide = (sp.eye_array(1000, width, format="csr") for width in (1000, 2_000_000))
    for X in (narrow, wide):
        tracemalloc.start()
        schema = fit_schema(X)
        pickled, peak = pickle.dumps(schema), tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(pickled) < 20_000
        assert peak < 200_000 + 20 * X.shape[1]  # arrays over the columns, no objects


def test_a_sparse_matrix_after_a_dense_table_is_refused():
    with pytest.raises(InputError, match=r"was a dense table at fit.*X\.toarray\(\)"):
        fit_schema(np.eye(2)).transform(sp.csr_matrix(np.eye(2)))


def test_a_sparse_matrix_of_objects_is_refused():
    X = sp.csr_matrix((2, 2), dtype=np.float32)
    X.data = np.array([], dtype=object)
    with pytest.raises(InputError, match="only numbers and booleans can be sparse"):
        fit_schema(X)


# --- other libraries --------------------------------------------------------------------------

DATA = {
    "i": [1, 2, None, 4],
    "f": [1.5, None, 2.5, 3.5],
    "s": ["b", "a", None, "c"],
    "b": [True, None, False, True],
    "d": [dt.datetime(1970, 1, 2), None, dt.datetime(1970, 1, 3), dt.datetime(1970, 1, 4)],
    "t": [dt.timedelta(1), None, dt.timedelta(2), dt.timedelta(3)],
}
EXPECTED = [
    [1, 1.5, 1, 1, 2, 4, -2, 1],
    [2, MISSING, 0, MISSING, MISSING, MISSING, MISSING, MISSING],
    [MISSING, 2.5, MISSING, 0, 3, 5, -1, 2],
    [4, 3.5, 2, 1, 4, 6, 0, 3],
]


@pytest.fixture(params=["pandas", "polars", "polars-lazy", "arrow", "pandas-arrow"])
def table(request):
    if request.param == "pandas":
        return pd.DataFrame(DATA)
    if request.param.startswith("polars"):
        polars = pytest.importorskip("polars", reason="polars is not installed")
        made = polars.DataFrame(DATA)
        return made.lazy() if request.param == "polars-lazy" else made
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    made = arrow.table(DATA)
    return made if request.param == "arrow" else made.to_pandas(types_mapper=pd.ArrowDtype)


def test_every_library_gives_the_same_matrix(table):
    schema = fit_schema(table)
    assert tuple(dict.fromkeys(schema.names)) == tuple(DATA)
    assert same(schema.transform(table), EXPECTED)


def test_every_library_can_follow_a_pandas_fit(table):
    assert same(fit_schema(pd.DataFrame(DATA)).transform(table), EXPECTED)


def test_polars_categories_are_encoded_like_text():
    pl = pytest.importorskip("polars", reason="polars is not installed")
    values = ["b", "a", None, "c"]
    text = pl.Series("c", values)
    levels = pl.Enum(["c", "b", "a", "z"])
    made = pl.DataFrame({"c": text.cast(pl.Categorical), "e": text.cast(levels)})
    assert same(encoded(made), [[1, 1], [0, 0], [MISSING, MISSING], [2, 2]])


def test_polars_is_read_without_pyarrow():
    pytest.importorskip("polars", reason="polars is not installed")
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "import polars as pl\n"
        "from fairautoml.data.frames import read_table\n"
        "from fairautoml.data.schema import fit_columns\n"
        "X = pl.DataFrame({'s': ['b', None, 'a'], 'i': [1, None, 3]})\n"
        "print(fit_columns(read_table(X), drop=())[1].tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[[1.0, 1.0], [nan, nan], [0.0, 3.0]]"


# --- properties -------------------------------------------------------------------------------

cells = st.one_of(st.none(), st.sampled_from(["a", "b", "c", "&", "nan", ""]))
tables = st.lists(
    st.tuples(cells, st.integers(-9, 9), st.booleans(), st.floats(width=16, allow_infinity=False)),
    min_size=3,
    max_size=30,
).map(lambda rows: pd.DataFrame(rows, columns=["s", "i", "b", "f"]).assign(k=range(len(rows))))


@pytest.mark.filterwarnings("ignore::fairautoml.exceptions.DegradedWarning")
@settings(max_examples=40)
@given(X=tables, order=st.permutations(range(5)))
def test_the_order_of_new_columns_does_not_matter(X, order):
    schema = fit_schema(X)
    assert same(schema.transform(X.iloc[:, list(order)]), schema.transform(X))


@pytest.mark.filterwarnings("ignore::fairautoml.exceptions.DegradedWarning")
@settings(max_examples=40)
@given(X=tables, levels=st.permutations(["a", "b", "c", "&", "nan", "", "unused"]))
def test_the_order_of_declared_categories_does_not_matter(X, levels):
    declared = X.assign(s=pd.Categorical(X["s"], categories=levels))
    assert same(encoded(declared), encoded(X))


@pytest.mark.filterwarnings("ignore::fairautoml.exceptions.DegradedWarning")
@settings(max_examples=40)
@given(X=tables, seed=st.integers(0, 9))
def test_rows_are_encoded_one_by_one(X, seed):
    schema = fit_schema(X)
    rows = np.random.default_rng(seed).permutation(len(X))[: max(1, len(X) // 2)]
    assert same(schema.transform(X.iloc[rows]), schema.transform(X)[rows])
