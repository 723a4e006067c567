import numpy as np
import pandas as pd
import pytest

from fairautoml.data.groups import fit_groups
from fairautoml.data.read import ReadOptions, build_dataset
from fairautoml.exceptions import DegradedWarning, InputError
from fairautoml.metrics import GroupCounts
from fairautoml.metrics.rates import RATES

TERMS = pd.DataFrame(
    {"gay": [True, False, True, False, False], "muslim": [False, True, True, False, False]}
)
SEX = ["F", "M", "F", "M", "F"]


def fitted(sensitive, **options):
    return fit_groups(sensitive, n_rows=5, **options)


def members(schema, cells, name="identity"):
    system = next(s for s in schema.systems if s.name == name)
    return dict(zip(system.labels, system.member[:, cells].tolist(), strict=True))


@pytest.mark.parametrize(
    "terms",
    [TERMS, TERMS.astype(int), TERMS.astype(float), TERMS.astype("boolean"), TERMS.astype(object)],
)
def test_a_table_of_indicators_is_one_system_of_groups_that_overlap(terms):
    schema, cells = fitted({"identity": terms})
    (system,) = schema.systems
    assert (system.name, system.labels, system.overlapping) == (
        "identity",
        ("gay", "muslim"),
        True,
    )
    assert members(schema, cells) == {label: TERMS[label].tolist() for label in TERMS}


def test_it_stands_beside_other_columns_and_is_in_no_intersection():
    schema, cells = fitted({"sex": SEX, "identity": TERMS, "race": ["B", "W", "W", "W", "B"]})
    assert [s.name for s in schema.systems] == ["sex", "race", "sex & race", "identity"]
    assert members(schema, cells) == {label: TERMS[label].tolist() for label in TERMS}
    assert members(schema, cells, "sex") == {
        "F": [True, False, True, False, True],
        "M": [False, True, False, True, False],
    }


def test_new_rows_are_read_the_same():
    schema, cells = fitted({"identity": TERMS})
    assert schema.encode({"identity": TERMS.iloc[::-1]}).tolist() == cells[::-1].tolist()
    with pytest.raises(InputError, match=r"lacks the column\(s\) \['identity\.gay'\]"):
        schema.encode({"identity": TERMS[["muslim"]]})


def test_a_combination_that_fit_has_not_seen_is_refused_or_without_group():
    schema, _ = fit_groups({"identity": TERMS.drop(index=2)}, n_rows=4)
    with pytest.raises(InputError, match=r"combination of identity\.gay & identity\.muslim"):
        schema.encode({"identity": TERMS})
    found = schema.encode({"identity": TERMS}, unseen="base_model")
    assert (found == -1).tolist() == [False, False, True, False, False]


def test_missing_indicators_follow_the_policy():
    terms = TERMS.astype(object)
    terms.iloc[0, 0] = None
    with pytest.raises(InputError, match=r"'identity\.gay' has 1 missing value"):
        fitted({"identity": terms})
    schema, cells = fitted({"identity": terms}, missing="exclude")
    assert members(schema, cells)["gay"] == [False, False, True, False, False]
    assert "gay (missing)" not in members(schema, cells)
    schema, cells = fitted({"identity": terms}, missing="own_group")
    assert members(schema, cells)["gay (missing)"] == [True, False, False, False, False]


@pytest.mark.parametrize(
    ("terms", "match"),
    [
        (pd.DataFrame({"race": ["B", "W", "B", "W", "B"]}), "'race' holds 'B'"),
        (pd.DataFrame({"n": [0, 1, 2, 0, 1]}), "'n' holds 2"),
        (pd.DataFrame({"gay": [0, 0, 0, 0, 0]}), "group 'gay' has no rows"),
        (pd.DataFrame(index=range(5)), "has no column"),
    ],
)
def test_a_table_that_holds_no_indicators_is_refused(terms, match):
    with pytest.raises(InputError, match=match):
        fitted({"identity": terms})


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(InputError, match=r"several columns called 'identity\.gay'"):
        fitted({"identity": TERMS, "identity.gay": SEX})


def test_overlapping_groups_are_counted_in_each_and_all_rows_once():
    schema, cells = fitted({"identity": TERMS})
    (system,) = schema.systems
    y, decision = np.array([1, 1, 0, 0, 1]), np.array([1, 0, 1, 0, 0])
    counts = GroupCounts.from_rows(cells, y, decision, n_groups=schema.n_cells)
    merged = counts.merged(system.of_cell, system.n_groups, system.masks)
    assert merged.table.sum(axis=(1, 2)).tolist() == [2.0, 2.0]
    assert merged.rates(RATES["selection"]).tolist() == [1.0, 0.5]
    assert merged.total.sum() == 5.0


def table(n=40):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n)})
    terms = pd.DataFrame({"gay": np.arange(n) % 2 == 0, "muslim": np.arange(n) % 3 == 0})
    return X, np.arange(n) // 2 % 2, terms


def test_a_feature_that_gives_a_group_away_is_named():
    X, y, terms = table()
    with pytest.warns(DegradedWarning, match="'leak' of X give away sensitive 'identity.muslim'"):
        build_dataset(X.assign(leak=terms["muslim"] * 2.0), y, {"identity": terms})
    options = ReadOptions(sensitive_in_X="drop")
    X = X.assign(leak=terms["muslim"] * 2.0)
    assert build_dataset(X, y, {"identity": terms}, options=options).schema.names == ("a", "b")


def test_indicators_in_another_order_are_refused_like_other_columns():
    X, y, terms = table()
    mixed = terms.sample(frac=1, random_state=0)
    with pytest.raises(InputError, match="different pandas indices"):
        build_dataset(X, y, {"identity": mixed})


def test_a_group_whose_rows_all_weigh_nothing_is_refused():
    X, y, terms = table()
    weight = np.where(terms["muslim"], 0.0, 1.0)
    with pytest.raises(InputError, match="all rows of group\\(s\\) 'muslim' of 'identity'"):
        build_dataset(X, y, {"identity": terms}, weight)
