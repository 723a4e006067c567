"""A CSV of later rows is read as the table of the fit was, whatever file that was."""

import numpy as np
import pandas as pd
import pytest

from fairautoml.data.files import read_later
from fairautoml.data.frames import read_table
from fairautoml.data.groups import fit_groups
from fairautoml.data.schema import fit_columns
from fairautoml.exceptions import DegradedWarning


def learned(X, sensitive=None):
    schema, matrix = fit_columns(read_table(X), drop=())
    groups = None if sensitive is None else fit_groups(sensitive, n_rows=len(X))
    return schema, matrix, groups


@pytest.mark.parametrize("words", [("True", "False"), ("true", "false"), ("1", "0")])
def test_truth_values_of_a_group_are_read_as_they_are_written(tmp_path, words):
    table = pd.DataFrame({"x": np.arange(4.0), "veteran": [True, False, True, False]})
    schema, _, (groups, cells) = learned(table[["x"]], table[["veteran"]])
    written = table.assign(veteran=[words[0] if value else words[1] for value in table.veteran])
    written.to_csv(tmp_path / "new.csv", index=False)
    read = read_later(tmp_path / "new.csv", schema=schema, groups=groups)
    assert groups.encode(read[["veteran"]]).tolist() == cells.tolist()


def test_dates_of_a_zone_are_read_across_the_change_of_clocks(tmp_path):
    days = pd.date_range("2026-03-27", periods=6, tz="Europe/Berlin")
    table = pd.DataFrame({"day": days, "x": np.arange(6.0)})
    schema, matrix, _ = learned(table)
    table.to_csv(tmp_path / "new.csv", index=False)
    read = read_later(tmp_path / "new.csv", schema=schema, groups=None)
    np.testing.assert_allclose(schema.transform(read), matrix)


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_dates_of_a_file_have_a_zone_if_they_are_written_with_one(tmp_path, zone):
    days = pd.date_range("2026-03-27", periods=6, tz=zone)
    table = pd.DataFrame({"day": days, "x": np.arange(6.0)})
    schema, _, _ = learned(table)
    table.to_csv(tmp_path / "new.csv", index=False)
    schema.transform(read_later(tmp_path / "new.csv", schema=schema, groups=None))
    other = table.assign(day=days.tz_localize("UTC") if zone is None else days.tz_localize(None))
    other.to_csv(tmp_path / "new.csv", index=False)
    read = read_later(tmp_path / "new.csv", schema=schema, groups=None)
    with pytest.warns(DegradedWarning, match="time zone at fit"):
        schema.transform(read)


def test_categories_that_look_missing_are_the_categories_of_fit(tmp_path):
    table = pd.DataFrame({"pool": ["NA", "Good", "NA", "Good", None], "x": np.arange(5.0)})
    schema, matrix, _ = learned(table)
    table.to_csv(tmp_path / "new.csv", index=False)
    read = read_later(tmp_path / "new.csv", schema=schema, groups=None)
    np.testing.assert_array_equal(schema.transform(read), matrix)
    assert np.isnan(matrix[:, 0]).tolist() == [False] * 4 + [True]


@pytest.mark.parametrize("empty", [np.nan, None])
def test_a_column_without_a_value_is_of_any_kind(empty):
    days = pd.DataFrame({"day": pd.date_range("2026-03-27", periods=6), "x": np.arange(6.0)})
    schema, _, _ = learned(days)
    new = pd.DataFrame({"day": [empty], "x": [1.0]})
    found = schema.transform(new)
    assert np.isnan(found[0, :-1]).all()
    assert found[0, -1] == 1.0
