import numpy as np
import pandas as pd
import pytest

from fairautoml.data.derive import (
    Comparison,
    NumberBands,
    RowFilter,
    apply_derive,
    apply_keep,
    parse_derive,
    parse_keep,
)
from fairautoml.exceptions import InputError

INDIVIDUALS = pd.DataFrame(
    {"age": [20, 25, 26, 60, 61, np.nan], "race": ["a", "b", "c", "a", None, "b"], "n": range(6)}
)


def groups(text):
    rule = parse_derive(text)
    column = apply_derive(INDIVIDUALS, rule)[rule.name]
    return column.where(column.notna(), None).tolist()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("g=age<=25", Comparison(name="g", source="age", operator="<=", value="25")),
        ("g = age > 25", Comparison(name="g", source="age", operator=">", value="25")),
        ("g=race==x=y", Comparison(name="g", source="race", operator="==", value="x=y")),
        ("g=race!=x", Comparison(name="g", source="race", operator="!=", value="x")),
        ("g=age:25,60", NumberBands(name="g", source="age", cuts=(25.0, 60.0))),
        ("g=a:b:3", NumberBands(name="g", source="a:b", cuts=(3.0,))),
    ],
)
def test_every_form_is_read(text, rule):
    assert parse_derive(text) == rule


@pytest.mark.parametrize(
    "text", ["", "g", "g=", "=age<=25", "age<=25", "age!=25", "age==25", "g=age", "g=:3"]
)
def test_another_form_is_refused_with_the_right_ones(text):
    with pytest.raises(InputError, match=r"write name=column<=number"):
        parse_derive(text)


@pytest.mark.parametrize("text", ["g=age<=old", "g=age<nan", "g=age:1,x", "g=age:1,", "g=age:inf"])
def test_what_should_be_a_number_is_refused(text):
    with pytest.raises(InputError, match="is not a number"):
        parse_derive(text)


@pytest.mark.parametrize("text", ["g=age:60,25", "g=age:25,25"])
def test_cuts_that_do_not_increase_are_refused(text):
    with pytest.raises(InputError, match="cuts must increase"):
        parse_derive(text)


def test_a_comparison_makes_two_named_groups_and_keeps_missing():
    young, old = "age<=25", "age>25"
    assert groups("g=age<=25") == [young, young, old, old, old, None]


@pytest.mark.parametrize(
    ("text", "n_first"), [("g=age<25", 1), ("g=age<=25", 2), ("g=age>25", 3), ("g=age>=25", 4)]
)
def test_each_comparison_draws_its_own_line(text, n_first):
    assert groups(text).count(text.removeprefix("g=")) == n_first


def test_text_is_compared_with_equal_and_unequal():
    assert groups("g=race==a") == ["race==a", "race!=a", "race!=a", "race==a", None, "race!=a"]
    assert groups("g=race!=a") == ["race==a", "race!=a", "race!=a", "race==a", None, "race!=a"]


def test_numbers_are_compared_with_equal_by_their_digits():
    assert groups("g=age==25").count("age==25") == 1


def test_a_cut_belongs_to_the_band_below_it():
    low, middle, high = "age<=25", "25<age<=60", "age>60"
    assert groups("g=age:25,60") == [low, low, middle, middle, high, None]


def test_one_cut_makes_the_same_groups_as_a_comparison():
    assert groups("g=age:25") == groups("g=age<=25")


def test_chosen_rows_are_kept_in_order_and_numbered_anew():
    kept = apply_keep(INDIVIDUALS, parse_keep("race=a, b"))
    assert kept["n"].tolist() == [0, 1, 3, 5]
    assert kept.index.tolist() == [0, 1, 2, 3]


def test_numbers_are_chosen_by_their_digits():
    assert apply_keep(INDIVIDUALS, parse_keep("age=25,61"))["n"].tolist() == [1, 4]


def test_a_choice_is_read():
    assert parse_keep("race=A-B, C d") == RowFilter(source="race", values=("A-B", "C d"))


@pytest.mark.parametrize("text", ["", "race", "race=", "=a", "race=a,,b"])
def test_another_choice_is_refused_with_the_right_form(text):
    with pytest.raises(InputError, match="write column=value,value"):
        parse_keep(text)


def test_the_callers_table_is_not_changed():
    before = INDIVIDUALS.copy()
    apply_derive(INDIVIDUALS, parse_derive("g=age<=25"))
    apply_keep(INDIVIDUALS, parse_keep("race=a"))
    pd.testing.assert_frame_equal(INDIVIDUALS, before)


def test_an_unknown_column_is_refused_with_near_names():
    with pytest.raises(InputError, match="derive names the column 'aeg'; did you mean 'age'"):
        apply_derive(INDIVIDUALS, parse_derive("g=aeg<=25"))
    with pytest.raises(InputError, match="keep names the column 'rase'; did you mean 'race'"):
        apply_keep(INDIVIDUALS, parse_keep("rase=a"))


def test_a_name_that_exists_is_refused():
    with pytest.raises(InputError, match="makes the column 'race', which exists"):
        apply_derive(INDIVIDUALS, parse_derive("race=age<=25"))


@pytest.mark.parametrize("text", ["g=race<=25", "g=race:25"])
def test_text_is_not_compared_with_numbers(text):
    with pytest.raises(InputError, match="'race' with numbers, but it holds text"):
        apply_derive(INDIVIDUALS, parse_derive(text))


def test_a_value_that_no_row_has_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="no row has race='z'; near values: a, b, c"):
        apply_keep(INDIVIDUALS, parse_keep("race=a,z"))
    with pytest.raises(InputError, match="no row has race='z'"):
        apply_derive(INDIVIDUALS, parse_derive("g=race==z"))


def test_new_rows_need_not_hold_the_value_that_is_compared_with():
    frame = pd.DataFrame({"race": ["B", "C"]})
    rule = parse_derive("a=race==A")
    with pytest.raises(InputError, match="no row has race='A'"):
        apply_derive(frame, rule)
    assert apply_derive(frame, rule, new_rows=True)["a"].tolist() == ["race!=A", "race!=A"]
