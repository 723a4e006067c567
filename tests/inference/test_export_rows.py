"""The file of a model reads new rows as the model does: values, types, names and groups."""

import datetime
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from portable_cases import reloaded

from fairautoml.data.frames import read_table
from fairautoml.data.groups import fit_groups
from fairautoml.data.options import ColumnOptions
from fairautoml.data.read import read_new_rows
from fairautoml.data.schema import fit_columns
from fairautoml.data.sensitive_numbers import NumberPolicy
from fairautoml.evaluation.fitting import LearnerModel
from fairautoml.exceptions import InputError
from fairautoml.inference.predictor import Predictor
from fairautoml.learners import LEARNERS
from fairautoml.mitigators._group_program import Step, ThresholdRule
from fairautoml.runtime import NewRowsError
from fairautoml.runtime._rows import Rows

pytestmark = pytest.mark.filterwarnings("ignore::fairautoml.exceptions.DegradedWarning")

JOBS = ["clerk", "nurse", "driver", "smith"]
SEEN = pd.DataFrame(
    {
        "age": np.linspace(18, 80, 60),
        "job": np.resize(np.array(JOBS, dtype=object), 60),
        "size": np.resize(np.array([1, 2, 3], dtype=object), 60),
        "member": np.resize([True, False, True], 60),
        "day": pd.date_range("2020-01-01", periods=60, freq="9D"),
        "spent": pd.to_timedelta(np.arange(60) * 3.5, unit="h"),
        "sex": np.resize(np.array(["f", "m", "m", "f", "m"], dtype=object), 60),
    }
).astype({"size": "category"})
Y = (np.arange(60) % 7 > 2).astype(np.int8)


def test_dates_that_gain_or_lose_their_time_zone_are_reported(tmp_path):
    aware = SEEN.assign(day=SEEN["day"].dt.tz_localize("Asia/Tokyo"))
    for then, now in ((SEEN, aware), (aware, SEEN)):
        served = reloaded(predictor_on(then, {"sex": then["sex"]}), tmp_path)
        served.predict(then, then["sex"])
        with pytest.warns(UserWarning, match="'day' of X held dates with .* time zone at fit"):
            served.predict(now, now["sex"])
    polars = pl.from_pandas(aware.drop(columns="size")).with_columns(size=pl.lit(1))
    served.predict(polars, aware["sex"])


def predictor_on(frame, sensitive, *, columns=None, **options):
    table = read_table(frame)
    schema, matrix = fit_columns(table, drop=(), options=columns or ColumnOptions())
    groups, _ = fit_groups(sensitive, n_rows=len(frame), **options)
    model = LEARNERS.get("lightgbm").build(
        {"n_estimators": 20, "min_data_in_leaf": 2}, schema.feature_schema, 0
    )
    model.fit(matrix, Y)
    cuts = np.linspace(0.2, 0.8, groups.n_cells)
    rule = ThresholdRule(
        steps=tuple((Step(threshold=float(cut)),) for cut in cuts),
        labels=groups.cell_labels,
        group_of_cell=tuple(range(groups.n_cells)),
        neutral=0.5,
    )
    return Predictor(
        models=LearnerModel(model),
        rule=rule,
        schema=schema,
        groups=groups,
        classes=np.array(["no", "yes"]),
        needs_sensitive=True,
        salt=0,
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    predictor = predictor_on(SEEN, {"sex": SEEN["sex"]})
    return predictor, reloaded(predictor, tmp_path_factory.mktemp("rows"))


def read_by(predictor, X, sensitive, unseen="base_model"):
    return read_new_rows(
        X, sensitive, schema=predictor.schema, groups=predictor.groups, unseen=unseen
    )


def assert_read_the_same(both, X, sensitive, given=None):
    predictor, served = both
    matrix, cells = read_by(predictor, X, sensitive)
    found, found_cells = served._read(X if given is None else given, sensitive)
    np.testing.assert_array_equal(found, matrix)
    np.testing.assert_array_equal(found_cells, cells)
    decided = predictor.classes[predictor.decisions(matrix, cells)]
    np.testing.assert_array_equal(
        served.predict(X if given is None else given, sensitive), decided
    )


values = {
    "age": st.one_of(st.none(), st.floats(-100, 100), st.integers(-100, 100)),
    "job": st.one_of(st.none(), st.sampled_from([*JOBS, "unseen", ""])),
    "size": st.one_of(st.none(), st.sampled_from([1, 2, 3, 4, 2.0])),
    "member": st.one_of(st.none(), st.booleans()),
    "day": st.one_of(st.none(), st.datetimes(datetime.datetime(1950, 1, 1))),
    "spent": st.one_of(st.none(), st.timedeltas(datetime.timedelta(0), datetime.timedelta(999))),
    "sex": st.sampled_from(["f", "m"]),
}
rows = st.lists(st.fixed_dictionaries(values), min_size=1, max_size=5)


@settings(max_examples=40)
@given(rows=rows, order=st.permutations(list(values)))
def test_any_rows_are_read_like_the_model_reads_them(both, rows, order):
    frame = pd.DataFrame(rows, columns=order).astype(object)
    sensitive = {"sex": [row["sex"] for row in rows]}
    columns = {name: [row[name] for row in rows] for name in order}
    for form in (frame, columns, rows):
        assert_read_the_same(both, frame, sensitive, form)


@given(rows=rows)
def test_a_row_alone_is_decided_like_among_others(both, rows):
    _, served = both
    together = served.predict(rows)
    assert [served.predict_one(row) for row in rows] == together.tolist()


@pytest.mark.parametrize(
    "changed",
    [
        {"age": "float32"},
        {"age": "int64"},
        {"age": "Float64"},
        {"age": "Int16"},
        {"age": "object"},
        {"job": "category"},
        {"job": "string"},
        {"job": "object"},
        {"size": "int8"},
        {"size": "float64"},
        {"size": "Int64"},
        {"member": "boolean"},
        {"member": "float32"},
        {"member": "object"},
        {"day": "datetime64[s]"},
        {"day": "datetime64[ns]"},
        {"day": "object"},
        {"spent": "timedelta64[ms]"},
        {"age": "double[pyarrow]", "job": "string[pyarrow]", "member": "bool[pyarrow]"},
    ],
    ids=str,
)
def test_other_types_of_the_same_values_are_read_the_same(both, changed):
    frame = SEEN.iloc[::3].copy()
    if "age" in changed:
        frame["age"] = frame["age"].round()
    frame = frame.astype(changed)
    assert_read_the_same(both, frame, frame["sex"])


def test_dates_as_whole_numbers_are_read_the_same(tmp_path):
    frame = SEEN.assign(day=SEEN["day"].dt.strftime("%Y%m%d").astype("int64"))
    columns = ColumnOptions(dates={"day": "%Y%m%d"})
    predictor = predictor_on(frame, {"sex": frame["sex"]}, columns=columns)
    served = reloaded(predictor, tmp_path)
    for kind in (int, float, str):
        new = frame.assign(day=frame["day"].astype(kind))
        assert_read_the_same((predictor, served), new, frame["sex"])


def test_whole_numbers_are_no_dates_of_a_format_with_marks(tmp_path):
    frame = SEEN.assign(day=SEEN["day"].dt.strftime("%Y-%m-%d"))
    columns = ColumnOptions(dates={"day": "%Y-%m-%d"})
    served = reloaded(predictor_on(frame, {"sex": frame["sex"]}, columns=columns), tmp_path)
    with pytest.raises(NewRowsError, match="'day' of X held dates as text and holds numbers now"):
        served.predict(frame.assign(day=20240131), frame["sex"])


@pytest.mark.filterwarnings("ignore:column 'day' of X held dates with no time zone")
def test_dates_of_a_time_zone_are_read_the_same(both):
    frame = SEEN.assign(day=SEEN["day"].dt.tz_localize("Europe/Berlin"))
    assert_read_the_same(both, frame, frame["sex"])


def test_tables_of_polars_and_arrow_are_read_the_same(both):
    frame = SEEN.astype({"size": "int64"})
    for table in (pl.from_pandas(frame), pl.from_pandas(frame).to_arrow()):
        assert_read_the_same(both, table, {"sex": SEEN["sex"]})


def test_missing_categories_of_arrow_are_missing(both):
    jobs = SEEN["job"].where(SEEN.index % 4 > 0)
    frame = SEEN.assign(job=jobs.astype("category"), size=SEEN["size"].astype("int64"))
    table = pa.Table.from_pandas(frame, preserve_index=False)
    assert pa.types.is_dictionary(table.schema.field("job").type)
    assert_read_the_same(both, table, {"sex": SEEN["sex"]})


def test_missing_groups_of_arrow_are_refused(tmp_path):
    served = reloaded(predictor_on(SEEN, {"sex": SEEN["sex"]}), tmp_path, unseen="error")
    groups = pa.chunked_array([["f", None] * 30]).dictionary_encode()
    with pytest.raises(NewRowsError, match="sensitive 'sex' has missing values"):
        served.predict(SEEN, groups)


def test_dates_of_arrow_keep_their_time_zone(tmp_path):
    aware = SEEN.assign(day=SEEN["day"].dt.tz_localize("Asia/Tokyo"), size=1)
    predictor = predictor_on(aware, {"sex": aware["sex"]})
    table = pa.Table.from_pandas(aware, preserve_index=False)
    # A warning of a lost time zone would be an error.
    assert_read_the_same((predictor, reloaded(predictor, tmp_path)), table, aware["sex"])


def test_missing_values_of_pandas_are_missing(both):
    frame = SEEN.head(8).astype({"age": "Float64", "job": "string", "member": "boolean"})
    frame.iloc[::2, :4] = pd.NA
    frame.loc[1, "day"] = pd.NaT
    assert_read_the_same(both, frame, frame["sex"])


@pytest.mark.parametrize("name", ["age", "job", "size", "member"])
def test_missing_dates_are_missing_values_of_any_column(both, name):
    empty = np.array(["NaT"] * len(SEEN), dtype="M8[ns]")
    assert_read_the_same(both, SEEN.assign(**{name: empty}), SEEN["sex"])


@pytest.mark.parametrize("unit", ["ns", "us"])
def test_dates_are_no_categories_and_no_numbers_of_groups(both, tmp_path, unit):
    days = SEEN["day"].astype(f"datetime64[{unit}]")
    with pytest.raises(NewRowsError, match="'size' of X held categories of type int and holds"):
        both[1].predict(SEEN.assign(size=days), SEEN["sex"])
    bins = NumberPolicy(bins={"age": [30, 50]})
    served = reloaded(predictor_on(SEEN, {"age": SEEN["age"]}, numbers=bins), tmp_path)
    with pytest.raises(NewRowsError, match=r"sensitive 'age' holds .*; give numbers"):
        served.predict(SEEN, {"age": days})


def test_further_columns_are_ignored(both):
    assert_read_the_same(both, SEEN.assign(more=1), SEEN["sex"])


def test_the_groups_of_the_columns_of_X_are_used_without_sensitive(both):
    _, served = both
    np.testing.assert_array_equal(served.predict(SEEN), served.predict(SEEN, SEEN["sex"]))
    np.testing.assert_array_equal(served.predict(SEEN, "sex"), served.predict(SEEN, SEEN["sex"]))


def test_groups_in_a_column_of_polars_without_a_name_are_used(both):
    assert_read_the_same(both, SEEN, pl.Series(SEEN["sex"].tolist()))


def test_the_names_of_the_columns_of_X_that_hold_the_groups_can_be_listed(tmp_path):
    found = predictor_on(SEEN, {"sex": SEEN["sex"]})
    predictor = replace(found, groups=replace(found.groups, sensitive_from_X=("sex",)))
    served = reloaded(predictor, tmp_path)
    for rows in (SEEN, SEEN.head(1)):
        assert_read_the_same((predictor, served), rows, ["sex"])


def test_no_rows_get_no_predictions(both):
    assert both[1].predict(SEEN.head(0)).shape == (0,)
    assert both[1].base_proba(SEEN.head(0)).shape == (0, 2)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"job": None}, "X lacks the column"),
        ({**SEEN.iloc[0].to_dict(), "age": "old"}, "'age' of X held numbers and holds text"),
        ({**SEEN.iloc[0].to_dict(), "age": np.inf}, "'age' of X holds infinity"),
        ({**SEEN.iloc[0].to_dict(), "age": 1e300}, "'age' of X holds infinity"),
        ({**SEEN.iloc[0].to_dict(), "age": 10**400}, "'age' of X holds infinity"),
        ({**SEEN.iloc[0].to_dict(), "age": 1j}, "complex"),
        ({**SEEN.iloc[0].to_dict(), "job": 3}, "'job' of X held categories of type str"),
        ({**SEEN.iloc[0].to_dict(), "day": 3.0}, "'day' of X held dates"),
        ({**SEEN.iloc[0].to_dict(), "sex": "x"}, "holds the group 'x'; the model knows 'f', 'm'"),
        ({**SEEN.iloc[0].to_dict(), "sex": None}, "sensitive 'sex' has missing values"),
        ({**SEEN.iloc[0].to_dict(), "sex": 1}, "'sex' of X held categories of type str"),
        ([[1, 2]], "X has 2 columns and the model reads 7"),
        (np.zeros(7), "must be a table of two dimensions"),
        ([{"age": 1}, {"job": "x"}], "the rows have different names"),
    ],
)
def test_rows_that_cannot_be_read_are_refused(tmp_path, row, message):
    served = reloaded(predictor_on(SEEN, {"sex": SEEN["sex"]}), tmp_path, unseen="error")
    with pytest.raises(NewRowsError, match=message):
        served.predict(row)


def test_a_model_without_names_reads_by_position(tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 3))
    predictor = predictor_on(X, SEEN["sex"].to_numpy())
    served = reloaded(predictor, tmp_path)
    sensitive = SEEN["sex"].to_numpy()
    for form in (X, X.astype(np.float32), X.tolist(), pd.DataFrame(X), X.astype(object)):
        assert_read_the_same((predictor, served), X, sensitive, form)


@pytest.mark.parametrize("kind", [np.float64, np.int64])
def test_masked_values_of_an_array_are_missing(tmp_path, kind):
    X = np.random.default_rng(0).integers(-9, 9, (60, 3)).astype(kind)
    sensitive = SEEN["sex"].to_numpy()
    predictor = predictor_on(X, sensitive)
    masked = np.ma.masked_less(X, -5)
    assert_read_the_same((predictor, reloaded(predictor, tmp_path)), masked, sensitive)


def test_masked_arrays_of_floats_stay_floats():
    X = np.ma.masked_less(np.arange(6.0).reshape(3, 2), 2.0)
    (first, _), (same, _) = Rows.of(X).columns, Rows.of(np.ma.array(X.data)).columns
    np.testing.assert_array_equal(first, np.array([np.nan, 2.0, 4.0]))
    assert first.dtype == same.dtype == np.float64


def some_missing(frame):
    return {"sex": frame["sex"].where(frame["age"] > 30)}


GROUPINGS = {
    "two columns": (lambda f: {"sex": f["sex"], "job": f["job"]}, {}),
    "missing as a group": (
        lambda f: {"sex": f["sex"].where(f["age"] > 30)},
        {"missing": "own_group"},
    ),
    "missing outside": (some_missing, {"missing": "exclude"}),
    "bins": (lambda f: {"age": f["age"]}, {"numbers": NumberPolicy(bins={"age": [30, 50]})}),
    "a scale": (lambda f: {"age": f["age"]}, {"numbers": NumberPolicy(scales=("age",))}),
    "a scale and a column": (
        lambda f: {"age": f["age"], "sex": f["sex"]},
        {"numbers": NumberPolicy(scales=("age",))},
    ),
    "overlapping": (
        lambda f: {"is": pd.DataFrame({"f": f["sex"] == "f", "old": f["age"] > 40})},
        {},
    ),
    "numbers": (lambda f: {"size": f["size"].astype(int)}, {}),
    "booleans": (lambda f: {"member": f["member"]}, {}),
}


@pytest.mark.parametrize("name", GROUPINGS)
@pytest.mark.parametrize("unseen", ["error", "base_model"])
def test_groups_of_every_kind_are_read_the_same(tmp_path, name, unseen):
    groups_of, options = GROUPINGS[name]
    predictor = predictor_on(SEEN, groups_of(SEEN), **options)
    served = reloaded(predictor, tmp_path, unseen=unseen)
    new = SEEN.assign(age=SEEN["age"] * 1.3 - 7)
    new.loc[5:9, "sex"] = [" F ", "M", "x", None, "f"]
    new.loc[10, "job"] = "unseen"
    for rows in np.array_split(np.arange(60), 30):
        given = groups_of(new.iloc[rows])
        try:
            _, cells = read_by(predictor, new.iloc[rows], given, unseen)
        except InputError:
            with pytest.raises(NewRowsError):
                served._read(new.iloc[rows], given)
        else:
            np.testing.assert_array_equal(served._read(new.iloc[rows], given)[1], cells)
