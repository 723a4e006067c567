"""Sensitive columns of numbers: cut into groups, or taken as a number."""

import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairautoml.data.derive import apply_derive, parse_bins, parse_derive
from fairautoml.data.groups import fit_groups
from fairautoml.data.read import ReadOptions, build_dataset
from fairautoml.data.sensitive_numbers import MOST_STEPS, NumberPolicy, fit_scale
from fairautoml.exceptions import DegradedWarning, InputError

AGES = pd.Series([18, 25, 26, 40, 60, 61, 80], name="age")
CUT = NumberPolicy(bins={"age": [25, 60]})
SCALE = NumberPolicy(scales=("age",))


def fitted(sensitive, numbers, **options):
    n_rows = len(next(iter(sensitive.values()))) if isinstance(sensitive, dict) else len(sensitive)
    return fit_groups(sensitive, n_rows=n_rows, numbers=numbers, **options)


# --- bands ------------------------------------------------------------------------------------


def test_bins_make_groups_whose_upper_ends_are_the_cuts():
    schema, cells = fitted(AGES, CUT)
    labels = [schema.systems[0].labels[cell] for cell in cells]
    assert labels == ["age<=25"] * 2 + ["25<age<=60"] * 3 + ["age>60"] * 2
    assert schema.systems[0].values is None


def test_bins_and_a_derived_column_make_the_same_groups():
    schema, cells = fitted(AGES, CUT)
    derived = apply_derive(AGES.to_frame(), parse_derive("band=age:25,60"))["band"]
    assert [schema.systems[0].labels[cell] for cell in cells] == derived.tolist()


def test_quantiles_make_four_groups_of_about_one_size():
    ages = pd.Series(np.random.default_rng(0).normal(40, 12, 1000), name="age")
    schema, cells = fitted(ages, NumberPolicy(bins={"age": "quantiles"}))
    assert np.bincount(cells).tolist() == [250] * 4
    assert schema.systems[0].n_groups == 4


def test_quantiles_of_few_values_make_no_empty_group():
    schema, cells = fitted(
        pd.Series([1] * 90 + [2] * 10, name="age"), NumberPolicy(bins={"age": "quantiles"})
    )
    assert schema.systems[0].labels == ("age<=1", "age>1")
    assert np.bincount(cells).tolist() == [90, 10]


@pytest.mark.parametrize(
    ("cuts", "labels"),
    [
        ([20230105.0, 20230107.0], ["d<=20230105", "20230105<d<=20230107", "d>20230107"]),
        ([0.1234567, 0.1234568], ["d<=0.1234567", "0.1234567<d<=0.1234568", "d>0.1234568"]),
        ([2.5, 1e6], ["d<=2.5", "2.5<d<=1000000", "d>1000000"]),
        ([1 / 3], ["d<=0.333333", "d>0.333333"]),
    ],
)
def test_every_band_has_a_name_of_its_own(cuts, labels):
    between = [(low + high) / 2 for low, high in itertools.pairwise(cuts)]
    values = pd.Series([cuts[0] - 1, *between, cuts[-1] + 1], name="d")
    schema, cells = fitted(values, NumberPolicy(bins={"d": cuts}))
    assert [schema.systems[0].labels[cell] for cell in cells] == labels


def test_new_rows_are_cut_where_the_rows_of_fit_were():
    schema, _ = fitted(AGES, CUT)
    new = schema.encode(pd.DataFrame({"age": [25.5, 99.0, -3.0]}))
    assert [schema.systems[0].labels[cell] for cell in new] == ["25<age<=60", "age>60", "age<=25"]
    assert pickle.loads(pickle.dumps(schema)).readings == schema.readings


def test_bands_cross_with_other_columns():
    individuals = {"age": AGES, "sex": pd.Series(["F", "M"] * 3 + ["F"])}
    schema, _ = fitted(individuals, CUT)
    assert [system.name for system in schema.systems] == ["age", "sex", "age & sex"]


@pytest.mark.parametrize(
    ("bins", "said"),
    [
        ({"age": [60, 25]}, r"GroupPolicy.bins\['age'\] is \[60, 25\]; give rising numbers"),
        ({"age": []}, "give rising numbers"),
        ({"age": "thirds"}, "give rising numbers"),
        ({"age": [25, np.inf]}, "give rising numbers"),
        ({"age": 25}, "give rising numbers"),
        ({"income": [1]}, r"GroupPolicy.bins names 'income'; the sensitive column\(s\) are 'age'"),
        (["age"], "GroupPolicy.bins is"),
    ],
)
def test_bins_that_cannot_be_used_are_refused(bins, said):
    with pytest.raises(InputError, match=said):
        fitted(AGES, NumberPolicy(bins=bins))


def test_bins_of_text_are_refused():
    with pytest.raises(InputError, match="sensitive 'age' must hold numbers to be cut"):
        fitted(pd.Series(["young", "old"], name="age"), CUT)


@pytest.mark.parametrize("numbers", [NumberPolicy(bins={"age": "quantiles"}), SCALE])
def test_dates_are_no_numbers(numbers):
    born = pd.Series(pd.to_datetime(["1950-01-01", "1980-05-05", None, "2001-03-03"]), name="age")
    for column in (born, born - born.min()):
        with pytest.raises(InputError, match=r"'age' holds dates or durations.*such as years"):
            fitted(column, numbers)


def test_bins_of_no_values_have_no_quantiles():
    with pytest.raises(InputError, match="too few values for quantiles; give cuts"):
        fitted(pd.Series([3, 3, 3], name="age"), NumberPolicy(bins={"age": "quantiles"}))


def test_a_column_is_not_cut_and_a_number_at_once():
    with pytest.raises(InputError, match="uses it as a number"):
        NumberPolicy(bins={"age": [25]}, scales=("age",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("age:25,60", ("age", [25.0, 60.0])),
        (" a:b : 1.5 ", ("a:b", [1.5])),
        ("age:quantiles", ("age", "quantiles")),
    ],
)
def test_bins_are_read_from_text(text, expected):
    assert parse_bins(text) == expected


@pytest.mark.parametrize("text", ["age", "age:", ":25", "age:old", "age:25,,60"])
def test_bins_in_another_form_are_refused(text):
    with pytest.raises(InputError, match="write column:cut,cut or column:quantiles"):
        parse_bins(text)


# --- scales -----------------------------------------------------------------------------------


def test_few_values_are_kept_exactly_in_standard_deviations():
    schema, cells = fitted(AGES, SCALE)
    expected = (AGES - AGES.mean()) / AGES.std(ddof=0)
    assert schema.systems[0].values[cells] == pytest.approx(expected.to_numpy())
    assert "standard deviation" in schema.notes[0]


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["normal", "lognormal", "gaps"]))
def test_steps_change_gedi_by_little(seed, kind):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=4000)
    x = {"normal": x, "lognormal": np.exp(x), "gaps": np.round(x, 1) * 7 + rng.random(4000)}[kind]
    schema, cells = fitted(pd.Series(x, name="age"), SCALE)
    assert schema.n_cells <= MOST_STEPS
    standard = (x - x.mean()) / x.std()
    v = (rng.random(4000) < 1 / (1 + np.exp(-standard))).astype(float)
    stepped, exact = (np.polyfit(x, v, 1)[0] for x in (schema.systems[0].values[cells], standard))
    assert abs(stepped) == pytest.approx(abs(exact), abs=0.002)


def test_new_numbers_are_read_as_the_nearest_step():
    schema, _ = fitted(AGES, SCALE)
    new = schema.encode(pd.DataFrame({"age": [1.0, 33.2, 32.9, 200.0]}))
    assert [schema.cell_labels[cell] for cell in new] == ["18", "40", "26", "80"]


def test_a_combination_that_fit_has_not_seen_takes_the_nearest_number_of_its_group():
    individuals = {"age": [20, 30, 40, 50.5], "sex": ["F", "F", "M", "M"]}
    schema, _ = fitted(individuals, SCALE)
    assert [system.name for system in schema.systems] == ["age", "sex"]
    new = schema.encode({"age": [50.5, 20, 41.0], "sex": ["F", "M", "M"]})
    assert [schema.cell_labels[cell] for cell in new] == ["30 & F", "40 & M", "40 & M"]
    with pytest.raises(InputError, match="did not occur at fit: 'X'"):
        schema.encode({"age": [20], "sex": ["X"]})


def test_numbers_are_in_no_intersection():
    individuals = {"sex": ["F", "M", "F"], "age": [20.5, 30, 40], "race": ["B", "W", "W"]}
    schema, cells = fitted(individuals, SCALE)
    assert [system.name for system in schema.systems] == ["sex", "age", "race", "sex & race"]
    crossed = schema.systems[-1]
    assert [crossed.labels[crossed.of_cell[cell]] for cell in cells] == ["F & B", "M & W", "F & W"]


@pytest.mark.parametrize("missing", ["own_group", "exclude"])
def test_a_row_without_a_number_is_outside_its_constraint(missing):
    individuals = {"age": [20.5, None, 40.0, 30.0], "sex": ["F", "M", "F", "M"]}
    schema, cells = fitted(individuals, SCALE, missing=missing)
    age, sex = schema.systems
    assert (age.of_cell[cells] >= 0).tolist() == [True, False, True, True]
    assert (sex.of_cell[cells] >= 0).all()
    new = schema.encode({"age": [np.nan, np.nan], "sex": ["M", "F"]}, unseen="base_model")
    assert new.tolist() == [cells[1], -1]


def test_missing_numbers_are_refused_by_default():
    with pytest.raises(InputError, match=r"'age' has 1 missing value\(s\)"):
        fitted({"age": [20.5, None]}, SCALE)


def test_numbers_that_are_text_or_infinite_or_absent_are_refused():
    with pytest.raises(InputError, match="must hold numbers"):
        fitted({"age": ["x", "y"]}, SCALE)
    with pytest.raises(InputError, match="infinite numbers"):
        fitted({"age": [1.0, np.inf]}, SCALE)
    with pytest.raises(InputError, match="holds no number"):
        fitted({"age": [None, None]}, SCALE, missing="exclude")


def test_a_constant_number_has_one_step():
    scale = fit_scale("age", pd.Series([3.0, 3.0]))
    assert (scale.steps, scale.edges, scale.unit) == ((3.0,), (), 1.0)


def test_unnamed_constraints_take_every_column_of_more_than_two_numbers():
    individuals = {"age": [20.5, 30, 40], "member": [0, 1, 1], "sex": ["F", "M", "F"]}
    schema, _ = fitted(individuals, NumberPolicy(scales=None))
    assert [system.values is not None for system in schema.systems] == [True, False, False, False]


# --- features that give a number away ---------------------------------------------------------


@pytest.mark.parametrize("copy", [lambda x: x, lambda x: -x, lambda x: np.exp(x / 9)])
def test_a_feature_that_rises_or_falls_with_the_number_gives_it_away(copy):
    rng = np.random.default_rng(0)
    age = rng.normal(40, 12, 600)
    X = pd.DataFrame({"copy": copy(age), "noise": rng.normal(size=600)})
    y = rng.integers(2, size=600)
    options = ReadOptions(numbers=SCALE)
    with pytest.warns(
        DegradedWarning, match=r"feature\(s\) 'copy' of X give away sensitive 'age'"
    ):
        build_dataset(X, y, {"age": age}, options=options)
    dropped = ReadOptions(numbers=SCALE, sensitive_in_X="drop")
    assert build_dataset(X, y, {"age": age}, options=dropped).schema.names == ("noise",)


def test_a_feature_of_one_value_gives_no_number_away():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"noise": rng.normal(size=100)})
    matrix = np.column_stack((np.ones(100), X["noise"]))
    data = build_dataset(
        matrix,
        rng.integers(2, size=100),
        {"age": np.arange(100.0)},
        options=ReadOptions(numbers=SCALE, sensitive_in_X="drop"),
    )
    assert data.schema.names == ("x0", "x1")
