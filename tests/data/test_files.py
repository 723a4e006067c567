import gzip
import importlib.util
import io
import os

import numpy as np
import pandas as pd
import pytest

from fairautoml.data.files import read_table, write_csv
from fairautoml.exceptions import DegradedWarning, InputError, MissingExtraError

TEXT = "name,age,sex\nana,30,F\nbo,41,M\n"
EXPECTED = pd.DataFrame({"name": ["ana", "bo"], "age": [30, 41], "sex": ["F", "M"]})


def saved(folder, content, name="people.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_every_delimiter_line_end_and_byte_order_mark_is_read(tmp_path, delimiter, end, mark):
    text = TEXT.replace(",", delimiter).replace("\n", end)
    found = read_table(saved(tmp_path, mark + text.encode()))
    pd.testing.assert_frame_equal(found, EXPECTED)


@pytest.mark.parametrize(
    ("first", "delimiter"), [("sep=;", ";"), ('"SEP=^"', "^"), ("sep=,", ",")]
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_first_line_may_say_the_delimiter(tmp_path, first, delimiter, end):
    text = end.join([first, *TEXT.replace(",", delimiter).splitlines(), ""])
    pd.testing.assert_frame_equal(read_table(saved(tmp_path, text)), EXPECTED)


def test_lines_are_counted_as_in_the_file_when_the_first_says_the_delimiter(tmp_path):
    with pytest.raises(InputError, match="line 4: 2 values, not 3"):
        read_table(saved(tmp_path, "sep=;\nname;age;sex\nana;30;F\nbo;41\n"))


@pytest.mark.parametrize("name", ["people.csv.gz", "people.tsv.gz", "PEOPLE.CSV.GZ"])
def test_a_compressed_file_is_read(tmp_path, name):
    found = read_table(saved(tmp_path, gzip.compress(TEXT.encode()), name))
    pd.testing.assert_frame_equal(found, EXPECTED)


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
def test_an_arrow_file_is_read(tmp_path, suffix):
    path = tmp_path / f"people.{suffix}"
    getattr(EXPECTED, f"to_{suffix}")(path)
    pd.testing.assert_frame_equal(read_table(path), EXPECTED)


@pytest.mark.parametrize("names", [["name"], ["name", "age"], ["name", "age", "sex"]])
def test_named_indexes_of_a_parquet_file_come_back_as_columns(tmp_path, names):
    EXPECTED.set_index(names).to_parquet(tmp_path / "p.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "p.parquet"), EXPECTED)


def test_an_index_that_repeats_a_column_or_has_no_name_is_left_out(tmp_path):
    EXPECTED.set_index("name", drop=False).to_parquet(tmp_path / "p.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "p.parquet"), EXPECTED)
    EXPECTED.set_index(pd.Index(["p", "q"])).to_parquet(tmp_path / "p.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "p.parquet"), EXPECTED)


def test_an_index_that_differs_from_the_column_of_its_name_is_reported(tmp_path):
    frame = EXPECTED.set_index("name", drop=False)
    frame.iloc[::-1].assign(name=EXPECTED["name"].to_numpy()).to_parquet(tmp_path / "p.parquet")
    with pytest.warns(DegradedWarning, match="index and a column .* both called 'name'"):
        read_table(tmp_path / "p.parquet")


def test_two_levels_of_an_index_with_one_name_are_refused(tmp_path):
    frame = EXPECTED.set_index(["name", "age"]).rename_axis(["id", "id"])
    frame.to_parquet(tmp_path / "p.parquet")
    with pytest.raises(InputError, match="names a column twice: id"):
        read_table(tmp_path / "p.parquet")


def test_whole_numbers_that_name_columns_are_texts(tmp_path):
    pd.DataFrame({0: [1, 2], 1: [3, 4]}).to_parquet(tmp_path / "n.parquet")
    assert read_table(tmp_path / "n.parquet").columns.tolist() == ["0", "1"]


@pytest.mark.parametrize(
    "text",
    [
        "id;income, EUR\n1;2,5\n",
        "id;income, EUR;city, zip\n1;2,5;Bonn, 3\n",
        '"id";"income, EUR"\n1;2,5\n',
    ],
)
def test_commas_within_names_do_not_cut_them(tmp_path, text):
    assert read_table(saved(tmp_path, text)).columns[:2].tolist() == ["id", "income, EUR"]


def test_quoted_cells_hold_delimiters_quotes_and_line_ends(tmp_path):
    found = read_table(saved(tmp_path, 'a,b\n"x, y","say ""no""\nnow"\nz,w\n'))
    assert found.to_numpy().tolist() == [["x, y", 'say "no"\nnow'], ["z", "w"]]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_what_spreadsheets_save_as_unicode_is_read(tmp_path, encoding):
    found = read_table(saved(tmp_path, "name,age\nJosé,3\nÅsa,4\n".encode(encoding)))
    assert found["name"].tolist() == ["José", "Åsa"]


def test_bytes_that_are_no_text_are_refused(tmp_path):
    with pytest.raises(InputError, match="save it as UTF-8"):
        read_table(saved(tmp_path, "name,age\nJosé,3\n".encode("utf-16-le")))


def test_latin_1_is_read_with_a_warning_when_it_is_no_utf_8(tmp_path):
    with pytest.warns(DegradedWarning, match="is not UTF-8 and is read as Latin-1"):
        found = read_table(saved(tmp_path, "name,age\nJosé,3\n".encode("latin-1")))
    assert found["name"].tolist() == ["José"]


def test_one_column_is_a_table(tmp_path):
    assert read_table(saved(tmp_path, "a\n1\n2\n"))["a"].tolist() == [1, 2]


@pytest.mark.parametrize("name", ["NA", "None", "nan", "null", "N/A", "?", "NULL"])
def test_labels_and_groups_that_look_missing_stay_text(tmp_path, name):
    path = saved(tmp_path, f"group,other\n{name},{name}\nb,c\n,d\n")
    found = read_table(path, text_columns=["group", "not there"])
    assert found["group"].iloc[0] == name
    assert found["other"].isna().tolist() == [True, False, False]
    assert found["group"].isna().tolist() == [False, False, True]


def test_numbers_are_numbers_in_text_columns_as_in_others_however_they_are_written(tmp_path):
    texts = ["1", "-2.5e-05", ".5", "5.", "+3", "1E3"]
    path = saved(tmp_path, "\n".join(["a,b", *(f"{text},{text}" for text in texts)]) + "\n")
    found = read_table(path, text_columns=["a"])
    assert found["a"].tolist() == found["b"].tolist() == [float(text) for text in texts]


def test_codes_keep_their_zeros_in_text_columns_only(tmp_path):
    path = saved(tmp_path, "zip,other\n007,007\n010,010\n")
    found = read_table(path, text_columns=["zip"])
    assert found["zip"].tolist() == ["007", "010"]
    assert found["other"].tolist() == [7, 10]


def test_a_text_column_of_numbers_is_numeric(tmp_path):
    found = read_table(saved(tmp_path, "age,x\n30,1\n,2\n4.5,3\n"), text_columns=["age"])
    np.testing.assert_array_equal(found["age"], [30, np.nan, 4.5])


def test_a_code_is_one_value_however_far_down_the_first_text_of_its_column_is(tmp_path):
    # pandas guesses types anew every 512 rows of so many columns.
    others = ",0" * 1_023
    names = ",".join(f"x{at}" for at in range(1_023))
    rows = "".join(f"{code}{others}\n" for code in ["1"] * 512 + ["V1", "1"])
    found = read_table(saved(tmp_path, f"code,{names}\n{rows}"))
    assert set(found["code"]) == {"1", "V1"}
    assert found["x0"].tolist() == [0] * 514


def test_true_and_false_stay_text_in_text_columns(tmp_path):
    found = read_table(saved(tmp_path, "y,x\nTrue,1\nFalse,2\n"), text_columns=["y"])
    assert found["y"].tolist() == ["True", "False"]


@pytest.mark.parametrize("line", ["cy,5", "cy,5,F,extra"])
def test_a_ragged_line_is_refused_with_its_number(tmp_path, line):
    with pytest.raises(InputError, match=r"line 4: \d values, not 3"):
        read_table(saved(tmp_path, TEXT + line + "\n"))


@pytest.mark.parametrize("content", ["", " \n\n", "\ufeff", "sep=;\n"])
def test_an_empty_file_is_refused(tmp_path, content):
    with pytest.raises(InputError, match="is empty"):
        read_table(saved(tmp_path, content))


def test_a_file_of_names_only_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds column names and no rows"):
        read_table(saved(tmp_path, "a,b\n"))


def test_an_empty_parquet_file_is_refused(tmp_path):
    EXPECTED.iloc[:0].to_parquet(tmp_path / "people.parquet")
    with pytest.raises(InputError, match="holds column names and no rows"):
        read_table(tmp_path / "people.parquet")


def test_a_table_without_rows_is_read_where_it_is_allowed(tmp_path):
    EXPECTED.iloc[:0].to_parquet(tmp_path / "people.parquet")
    saved(tmp_path, "name,age,sex\n")
    for name in ("people.parquet", "people.csv"):
        found = read_table(tmp_path / name, allow_empty=True)
        assert found.shape == (0, 3)
        assert found.columns.tolist() == ["name", "age", "sex"]


def test_doubled_column_names_are_refused(tmp_path):
    with pytest.raises(InputError, match="names a column twice: a;"):
        read_table(saved(tmp_path, "a,b,a\n1,2,3\n"))


def test_a_missing_file_is_refused_with_near_names(tmp_path):
    saved(tmp_path, TEXT)
    with pytest.raises(InputError, match=r"no such file; did you mean 'people\.csv'\?"):
        read_table(tmp_path / "poeple.csv")


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"there is no such file; check the path$"):
        read_table(tmp_path / "nowhere" / "people.csv")


def test_a_pipe_or_a_folder_is_called_one(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(InputError, match=rf"{name}.csv', which is a {name}.*; give a file"):
            read_table(tmp_path / f"{name}.csv")


def test_an_unknown_kind_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(InputError, match=r"can be read: \.csv"):
        read_table(tmp_path / "people.xlsx")


@pytest.mark.parametrize("name", ["people.parquet", "people.csv.gz"])
def test_a_damaged_file_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="cannot be read"):
        read_table(saved(tmp_path, b"not what it says", name))


def test_an_endless_cell_is_refused_with_its_line(tmp_path):
    with pytest.raises(InputError, match=r"line \d+: field larger"):
        read_table(saved(tmp_path, "a,b\n1," + "x" * 200_000 + "\n"))


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    path = saved(tmp_path, b"", "people.parquet")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"fairautoml-search\[arrow\]"):
        read_table(path)


@pytest.mark.parametrize("start", list("=+-@\t\r\x00"))
def test_formulas_are_made_harmless_in_cells_and_names(start):
    stream = io.StringIO()
    write_csv(pd.DataFrame({f"{start}a": [f"{start}cmd|x", "fine"]}), stream)
    written = stream.getvalue().replace('"', "")
    assert written == f"'{start}a\n'{start}cmd|x\nfine\n"


def test_numbers_stay_numbers(tmp_path):
    frame = pd.DataFrame({"a": [-1.5, 2.0], "b": [-3, 4]})
    write_csv(frame, tmp_path / "out.csv")
    pd.testing.assert_frame_equal(read_table(tmp_path / "out.csv"), frame)


def test_numbers_in_a_column_of_mixed_cells_stay_numbers():
    stream = io.StringIO()
    write_csv(pd.DataFrame({"a": pd.Series([-1, "-1", None], dtype=object)}), stream)
    assert stream.getvalue() == 'a\n-1\n\'-1\n""\n'


def test_writing_leaves_the_frame_and_the_folder_clean(tmp_path):
    frame = pd.DataFrame({"a": ["=1"], "b": pd.Categorical(["+x"])})
    write_csv(frame, tmp_path / "out.csv")
    assert frame["a"].tolist() == ["=1"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "a,b\n'=1,'+x\n"


def test_columns_that_are_strings_stay_text_when_all_are_numbers(tmp_path):
    path = saved(tmp_path, "icd,site,n\n1,2,3\nNA,NA,4\n")
    found = read_table(path, text_columns=["site"], strings=["icd", "site", "not there"])
    assert found["icd"].tolist()[0] == "1"
    assert found["icd"].isna().tolist() == [False, True]
    assert found["site"].tolist() == ["2", "NA"]
    assert found["n"].tolist() == [3, 4]


def test_the_number_of_texts_made_safe_is_returned_and_raw_changes_none(tmp_path):
    frame = pd.DataFrame({"=a": ["+", "b", None], "n": [-1, 2, 3]})
    assert write_csv(frame, tmp_path / "safe.csv") == 2
    assert write_csv(frame, tmp_path / "raw.csv", raw=True) == 0
    assert (tmp_path / "safe.csv").read_text() == "'=a,n\n'+,-1\nb,2\n,3\n"
    assert (tmp_path / "raw.csv").read_text() == "=a,n\n+,-1\nb,2\n,3\n"


def test_a_file_that_cannot_be_written_is_named_as_it_was_requested(tmp_path):
    target = tmp_path / "no" / "p.csv"
    with pytest.raises(FileNotFoundError, match=r"no/p\.csv'$"):
        write_csv(EXPECTED, target)
