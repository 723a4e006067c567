"""No file of a run holds a text of a single row."""

import io
import zipfile
import zlib

import numpy as np
import pandas as pd
import pytest

from fairautoml.data.read import build_dataset
from quick_fits import few_individuals, quick

ONCE, SELDOM = "person_000123", "village_7"


def content(path):
    """All bytes of a file, also of the compressed ones."""
    raw = path.read_bytes()
    if zipfile.is_zipfile(io.BytesIO(raw)):
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            return b"".join(archive.read(name) for name in archive.namelist())
    try:
        return zlib.decompress(raw)
    except zlib.error:
        return raw


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    X, y, group = few_individuals()
    n = len(X)
    often = np.array(["north", "south", "west"])[np.arange(n) % 3].astype(object)
    often[[5, 6]], often[7] = SELDOM, ONCE
    X = X.assign(
        often=often,
        identifier=[f"person_{row:06d}" for row in range(n)],
        number_as_text=[f"{row + 1},123" for row in range(n)],
        doctor=[f"person_{row:06d}" if row == 123 else f"d{row % 40}" for row in range(n)],
    )
    folder = tmp_path_factory.mktemp("personal") / "run"
    with pytest.warns(UserWarning, match="number_as_text"):
        model = quick(run_dir=folder).fit(X, y, group)
    model.report(folder / "page.html")
    return model, X, group, folder


@pytest.mark.parametrize("value", [ONCE, "person_000200", "123,123"])
def test_no_file_of_a_run_holds_a_text_of_one_row(run, value):
    _, _, _, folder = run
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path.name for path in files if value.encode() in content(path)] == []


def test_a_category_of_two_rows_is_kept_and_one_of_one_row_is_read_as_unseen(run):
    model, X, group, _ = run
    levels = {c.name: {value for _, value in c.levels} for c in model.model_.schema.columns}
    assert levels["often"] == {"north", "south", "west", SELDOM}
    once = X.iloc[[7, 8]]  # the other row has a common category
    unseen = once.assign(often=["nowhere", once["often"].iloc[1]])
    np.testing.assert_array_equal(
        model.predict_proba(once, group[[7, 8]]), model.predict_proba(unseen, group[[7, 8]])
    )


def test_a_column_in_which_no_category_occurs_twice_is_left_out():
    X = pd.DataFrame({"name": [f"n{row}" for row in range(30)], "age": range(30)})
    dataset = build_dataset(X, np.arange(30) % 2)
    assert dataset.schema.names == ("age",)
    assert dataset.notes == ("column 'name' of X is not used: no category occurs in two rows",)
