"""Sensitive columns become group cells, the same way at fit and later."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairautoml.data.groups import fit_groups, system_codes
from fairautoml.exceptions import InputError
from fairautoml.runtime._groups import UNSEEN, normalized


def fitted(sensitive, n_rows=None, **options):
    return fit_groups(sensitive, n_rows=len(sensitive) if n_rows is None else n_rows, **options)


def individuals() -> pd.DataFrame:
    return pd.DataFrame(
        {"sex": ["F", "M", "F", "M", "F"], "race": ["Black", "White", "White", "White", "Black"]}
    )


def test_one_column_is_one_system_of_sorted_groups():
    schema, cells = fitted(["M", "F", "M"])
    assert schema.columns == ("sensitive",)
    assert [system.name for system in schema.systems] == ["sensitive"]
    assert schema.systems[0].labels == schema.cell_labels == ("F", "M")
    assert cells.dtype == np.int32
    assert cells.tolist() == [1, 0, 1]


def test_several_columns_give_their_own_systems_and_the_intersection():
    schema, cells = fitted(individuals())
    assert schema.columns == ("sex", "race")
    assert [system.name for system in schema.systems] == ["sex", "race", "sex & race"]
    assert schema.n_cells == 3
    assert schema.cell_labels == ("F & Black", "F & White", "M & White")
    assert cells.tolist() == [0, 2, 1, 2, 0]
    assert [system.of_cell.tolist() for system in schema.systems] == [
        [0, 0, 1],
        [0, 1, 1],
        [0, 1, 2],
    ]


def test_three_columns_have_one_intersection_of_all():
    schema, _ = fitted(individuals().assign(old=[True, False, True, True, False]))
    assert [system.name for system in schema.systems][-1] == "sex & race & old"
    assert len(schema.systems) == 4


@pytest.mark.parametrize(
    ("sensitive", "columns"),
    [
        (["a", "b", "a"], ("sensitive",)),
        (np.array(["a", "b", "a"]), ("sensitive",)),
        (pd.Series(["a", "b", "a"], name="sex"), ("sex",)),
        (pd.Series(["a", "b", "a"]), ("sensitive",)),
        (pd.Categorical(["a", "b", "a"]), ("sensitive",)),
        (pd.DataFrame({"sex": ["a", "b", "a"]}), ("sex",)),
        (np.array([["a"], ["b"], ["a"]]), ("sensitive_0",)),
        ([["a"], ["b"], ["a"]], ("sensitive_0",)),
        ({"sex": ["a", "b", "a"]}, ("sex",)),
        ({"sex": np.array(["a", "b", "a"])}, ("sex",)),
    ],
)
def test_every_form_of_one_column_gives_the_same_cells(sensitive, columns):
    schema, cells = fitted(sensitive, 3)
    assert schema.columns == columns
    assert schema.cell_labels == ("a", "b")
    assert cells.tolist() == schema.encode(sensitive).tolist() == [0, 1, 0]


def test_polars_and_arrow_give_the_same_cells():
    pl = pytest.importorskip("polars", reason="polars is not installed")
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    data = individuals().to_dict(orient="list")
    schema, cells = fitted(individuals())
    for table in (pl.DataFrame(data), pa.table(data), pl.DataFrame(data).lazy()):
        other, found = fit_groups(table, n_rows=5)
        assert found.tolist() == cells.tolist()
        assert other.cell_labels == schema.cell_labels
        assert schema.encode(table).tolist() == cells.tolist()
    column, found = fitted(pl.Series("sex", data["sex"]))
    assert column.columns == ("sex",)
    assert found.tolist() == [0, 1, 0, 1, 0]
    assert fitted(pa.chunked_array([data["sex"]]))[1].tolist() == [0, 1, 0, 1, 0]


def test_the_columns_of_a_two_dimensional_array_are_numbered():
    schema, _ = fitted(np.array([[0, 1], [1, 1], [0, 0]]))
    assert schema.columns == ("sensitive_0", "sensitive_1")


def test_the_wrong_length_is_refused():
    with pytest.raises(InputError, match=r"inconsistent numbers of samples: \[4, 3\]"):
        fitted(["a", "b", "a"], 4)


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(InputError, match="columns of sensitive differ in length"):
        fitted({"a": [1, 2], "b": [1, 2, 3]}, 2)


@pytest.mark.parametrize("sensitive", [{}, pd.DataFrame(index=range(3))])
def test_no_column_is_refused(sensitive):
    with pytest.raises(InputError, match="sensitive has no column"):
        fitted(sensitive, 3)


def test_three_dimensions_are_refused():
    with pytest.raises(InputError, match="one or two dimensions"):
        fitted(np.zeros((2, 2, 2)))


def test_duplicate_column_names_are_refused():
    with pytest.raises(InputError, match="sensitive has several columns of one name: 'a'"):
        fitted(pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]))


# --- typed groups -----------------------------------------------------------------------------


def test_an_int_a_text_and_a_boolean_are_three_groups_with_three_labels():
    schema, cells = fitted(pd.Series([1, "1", True, 1], dtype=object))
    assert schema.n_cells == 3
    assert len(set(cells[:3].tolist())) == 3
    assert cells[3] == cells[0]
    assert set(schema.cell_labels) == {"1", "'1'", "True"}


@pytest.mark.parametrize(
    "other",
    [
        np.array([1, 2, 1], dtype=np.int8),
        np.array([1, 2, 1], dtype=">u4"),
        pd.Series([1, 2, 1], dtype="Int64"),
        pd.Series([1, 2, 1], dtype=object),
        pd.Series([np.int64(1), 2, 1], dtype=object),
        pd.Categorical([1, 2, 1], categories=[3, 2, 1]),
        pd.Series([1.0, 2.0, 1.0]),
        np.array([1, 2, 1], dtype=np.float16),
    ],
)
def test_whole_numbers_are_the_same_groups_in_every_container(other):
    schema, cells = fitted([1, 2, 1])
    assert schema.encode(other).tolist() == cells.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("then", "now", "types"),
    [
        ([1, 2], ["1", "2"], "type int at fit and holds type str"),
        (["1", "2"], [1, 2], "type str at fit and holds type int"),
        ([True, False], [1, 0], "type bool at fit and holds type int"),
        ([1, 0], [True, False], "type int at fit and holds type bool"),
        ([1, 2], [1.5, 2.5], "type int at fit and holds type float"),
    ],
)
@pytest.mark.parametrize("unseen", ["error", "base_model"])
def test_another_type_than_at_fit_is_refused_with_both_types(then, now, types, unseen):
    schema, _ = fitted(then)
    with pytest.raises(InputError, match=f"sensitive 'sensitive' held groups of {types}"):
        schema.encode(now, unseen=unseen)


def test_a_hundred_groups_given_as_int8_do_not_overflow():
    values = np.arange(100, dtype=np.int8)
    schema, cells = fitted(values, max_groups=100)
    assert cells.tolist() == list(range(100))
    both = np.column_stack([values, values[::-1]])
    schema, cells = fitted(both, max_groups=100)
    assert schema.n_cells == 100
    assert schema.encode(both).tolist() == cells.tolist()


def test_many_columns_do_not_overflow():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 50, size=(200, 14))
    schema, cells = fitted(codes)
    assert schema.n_cells == len(np.unique(codes, axis=0))
    assert schema.encode(codes).tolist() == cells.tolist()


def test_intervals_from_cut_are_groups():
    ages = pd.Series([10, 20, 30, 40])
    binned = pd.cut(ages, [0, 25, 50])
    schema, cells = fitted(binned)
    assert schema.cell_labels == ("(0, 25]", "(25, 50]")
    assert schema.encode(binned.iloc[::-1]).tolist() == cells[::-1].tolist()


def test_unhashable_groups_are_refused():
    with pytest.raises(InputError, match="sensitive 'a' holds values that cannot be categories"):
        fitted({"a": pd.Series([{1}, {2}])}, 2)


# --- too many groups --------------------------------------------------------------------------


def test_a_continuous_column_is_refused_with_the_way_to_bin_it():
    with pytest.raises(InputError, match=r"'sensitive' holds numbers with fractions.*pandas\.cut"):
        fitted([0.5, 1.0, 0.5, 2.0])


def test_more_than_max_groups_are_refused_with_the_way_to_bin_them():
    with pytest.raises(InputError, match=r"holds 51 different values; .*50.*pandas\.cut"):
        fitted(np.arange(51))
    assert fitted(np.arange(50))[0].n_cells == 50


def test_an_intersection_may_have_more_than_max_groups():
    grid = np.array([[a, b] for a in range(8) for b in range(8)])
    assert fitted(grid, max_groups=8)[0].n_cells == 64


# --- missing values ---------------------------------------------------------------------------

INCOMPLETE = pd.DataFrame({"sex": ["F", None, "M", "F"], "race": ["B", "W", np.nan, "W"]})


@pytest.mark.parametrize("none", [None, np.nan, pd.NA, pd.NaT])
def test_missing_values_are_refused_with_count_and_policies(none):
    wanted = r"'sensitive' has 2 missing value\(s\).*'error'.*'own_group'.*'exclude'"
    with pytest.raises(InputError, match=wanted):
        fitted(["a", none, "b", none])


def test_missing_values_can_be_a_group():
    schema, cells = fitted(INCOMPLETE, missing="own_group")
    assert schema.systems[0].labels == ("F", "M", "(missing)")
    assert schema.systems[2].labels == schema.cell_labels
    assert "(missing) & W" in schema.cell_labels
    assert (schema.systems[0].of_cell[cells] >= 0).all()
    assert schema.encode(INCOMPLETE).tolist() == cells.tolist()


def test_a_group_that_is_called_missing_is_not_the_missing_group():
    schema, cells = fitted(["(missing)", None, "a"], missing="own_group")
    assert schema.n_cells == 3
    assert len(set(schema.cell_labels)) == 3
    assert schema.encode(["(missing)", None, "a"]).tolist() == cells.tolist()


def test_missing_values_can_be_outside_the_systems_that_use_the_column():
    schema, cells = fitted(INCOMPLETE, missing="exclude")
    sex, race, both = (system.of_cell[cells].tolist() for system in schema.systems)
    assert sex == [0, -1, 1, 0]
    assert race == [0, 1, -1, 1]
    assert [code < 0 for code in both] == [False, True, True, False]
    assert schema.systems[0].labels == ("F", "M")
    assert schema.systems[2].labels == ("F & B", "F & W")
    assert schema.encode(INCOMPLETE).tolist() == cells.tolist()


def test_whole_numbers_keep_their_group_when_one_of_them_is_missing():
    schema, _ = fitted([1, 2, 1])
    new = pd.Series([2, None, 1])
    with pytest.raises(InputError, match=r"has 1 missing value\(s\)"):
        schema.encode(new)
    assert schema.encode(new, unseen="base_model").tolist() == [1, -1, 0]


def test_an_unknown_policy_is_refused():
    with pytest.raises(InputError, match="sensitive_missing must be one of 'error', 'own_group'"):
        fitted(["a", "b"], missing="ignore")


# --- labels -----------------------------------------------------------------------------------


def test_declared_categories_without_rows_are_no_groups_but_noted():
    values = pd.Categorical(["a", "c", "a"], categories=["c", "b", "a"])
    schema, cells = fitted(values)
    assert schema.cell_labels == ("a", "c")
    assert cells.tolist() == [0, 1, 0]
    assert schema.notes == ("sensitive 'sensitive': group 'b' declared, n=0",)


def test_the_category_order_of_the_frame_does_not_change_the_cells():
    a = pd.Categorical(["x", "y"], categories=["y", "x"])
    assert fitted(a)[1].tolist() == fitted(["x", "y"])[1].tolist()


def test_a_label_holds_no_line_end_and_no_code_of_a_terminal():
    schema, _ = fitted(["b\nCERTIFIED", "\x1b[2J", "b\\nCERTIFIED"])
    labels = schema.systems[0].labels
    assert len(set(labels)) == 3
    assert all(label.isprintable() for label in labels)


def test_a_separator_inside_a_value_is_escaped():
    schema, _ = fitted(pd.DataFrame({"a": ["x & y", "x"], "b": ["z", "y & z"]}))
    assert schema.cell_labels == ("x & y \\& z", "x \\& y & z")


# Groups that differ by spaces at the ends only are refused.
text = st.text(alphabet="a&\\ ()'", max_size=4).filter(lambda value: normalized(value) == value)


@pytest.mark.filterwarnings("ignore:.*taken as a group of its own")
@settings(max_examples=60)
@given(rows=st.lists(st.tuples(text, text), min_size=1, max_size=12))
def test_two_different_combinations_never_share_a_label(rows):
    schema, _ = fitted({"a": [r[0] for r in rows], "b": [r[1] for r in rows]}, len(rows))
    assert len(set(schema.cell_labels)) == schema.n_cells == len(set(rows))


# --- new rows ---------------------------------------------------------------------------------


def test_an_unseen_group_is_refused_with_column_count_and_label():
    schema, _ = fitted(individuals())
    new = individuals().assign(sex=["F", "X", "X", "M", "F"])
    with pytest.raises(InputError, match=r"'sex' has 2 row\(s\) of group.*'X'.*'F', 'M'"):
        schema.encode(new)
    assert schema.encode(new, unseen="base_model").tolist() == [0, -1, -1, 2, 0]


def test_an_unseen_combination_of_known_groups_is_unseen():
    schema, _ = fitted(individuals())
    new = pd.DataFrame({"sex": ["M", "F"], "race": ["Black", "Black"]})
    with pytest.raises(InputError, match=r"1 row\(s\) have a combination of sex & race.*M & Bl"):
        schema.encode(new)
    assert schema.encode(new, unseen="base_model").tolist() == [-1, 0]


def test_an_unseen_combination_with_a_missing_value_is_reported_so():
    schema, _ = fitted(["a", "b"], missing="own_group")
    with pytest.raises(InputError, match=r"for example '\(missing\)'"):
        schema.encode(["a", None])


def test_missing_values_that_fit_did_not_see_are_outside_where_they_are_excluded():
    schema, _ = fitted(individuals(), missing="exclude")
    new = pd.DataFrame({"sex": ["M", None, "F"], "race": ["White", "White", None]})
    assert (schema.encode(new) >= 0).tolist() == [True, False, False]
    for sex in ("F", "M"):
        assert schema.encode(pd.DataFrame({"sex": [sex], "race": [None]})).tolist() == [-1]
    levels = schema.levels_of(new, unseen="error")
    found = {s.name: (system_codes(schema, s, levels) < 0).tolist() for s in schema.systems}
    assert found == {
        "sex": [False, True, False],
        "race": [False, False, True],
        "sex & race": [False, True, True],
    }
    assert (system_codes(schema, schema.systems[0], levels) != UNSEEN).all()


def test_tables_are_read_by_name_and_may_hold_other_columns():
    schema, cells = fitted(individuals())
    wide = individuals().assign(other=1)[["race", "other", "sex"]]
    assert schema.encode(wide).tolist() == cells.tolist()


def test_a_missing_column_is_refused_by_name():
    schema, _ = fitted(individuals())
    with pytest.raises(InputError, match=r"lacks the column\(s\) \['race'\]"):
        schema.encode(individuals()[["sex"]])


def test_arrays_are_read_by_position():
    schema, cells = fitted(individuals())
    assert schema.encode(individuals().to_numpy()).tolist() == cells.tolist()
    with pytest.raises(InputError, match=r"has 1 column\(s\) and had 2 at fit"):
        schema.encode(["F", "M"])


def test_the_schema_survives_pickling():
    schema, cells = fitted(individuals())
    assert pickle.loads(pickle.dumps(schema)).encode(individuals()).tolist() == cells.tolist()


def test_the_input_is_not_modified():
    sensitive = INCOMPLETE.astype("category")
    before = pickle.dumps(sensitive)
    schema, _ = fitted(sensitive, missing="own_group")
    schema.encode(sensitive)
    assert pickle.dumps(sensitive) == before


values = st.one_of(st.integers(-3, 3), st.booleans(), st.sampled_from(["1", "a", "", "&"]))


@pytest.mark.filterwarnings("ignore:.*taken as a group of its own")
@settings(max_examples=60)
@given(
    rows=st.lists(st.tuples(values, values, st.none() | values), min_size=1, max_size=25),
    policy=st.sampled_from(["own_group", "exclude"]),
)
def test_encoding_the_rows_of_fit_gives_the_cells_of_fit(rows, policy):
    columns = {name: [row[at] for row in rows] for at, name in enumerate("abc")}
    schema, cells = fitted(columns, len(rows), missing=policy)
    assert schema.encode(columns).tolist() == cells.tolist()
    typed = [tuple((type(value), value) for value in row) for row in rows]
    pairs = set(zip(typed, cells.tolist(), strict=True))
    assert len(pairs) == len(set(typed)) == schema.n_cells
    for system in schema.systems:
        assert set(system.of_cell[cells].tolist()) - {-1} == set(range(system.n_groups))


def test_a_new_combination_leaves_the_groups_of_each_column_known():
    seen = pd.DataFrame({"sex": ["f", "m", None, "m"], "region": ["n", "s", "s", "s"]})
    schema, _ = fit_groups(seen, n_rows=4, missing="exclude")
    new = pd.DataFrame({"sex": ["f", "m", None, "x"], "region": ["s", "w", "n", "n"]})
    levels = schema.levels_of(new, unseen="base_model")
    found = [system_codes(schema, system, levels).tolist() for system in schema.systems]
    assert found == [[0, 1, -1, UNSEEN], [1, UNSEEN, 0, 0], [UNSEEN, UNSEEN, -1, UNSEEN]]
    known = schema.levels_of(seen, unseen="error")
    whole = [system_codes(schema, system, known).tolist() for system in schema.systems]
    assert whole == [[0, 1, -1, 1], [0, 1, 1, 1], [0, 1, -1, 1]]


def test_tables_of_indicators_are_no_part_of_the_intersection():
    table = pd.DataFrame({"black": [True, False, True], "asian": [True, True, False]})
    values = {"sex": ["f", "m", "f"], "region": ["n", "s", "s"], "race": table}
    schema, _ = fit_groups(values, n_rows=3)
    other = {**values, "race": ~table}
    levels = schema.levels_of(other, unseen="base_model")
    crossed = schema.systems[2]
    assert system_codes(schema, crossed, levels).tolist() == [0, 2, 1]
