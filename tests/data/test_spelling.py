import warnings

import numpy as np
import pandas as pd
import pytest

from fairautoml import audit
from fairautoml.data.columns import normalized
from fairautoml.data.groups import fit_groups
from fairautoml.data.target import encode_target
from fairautoml.exceptions import DegradedWarning, InputError
from quick_fits import few_individuals, quick

COMPOSED, DECOMPOSED = "Qu\u00e9bec", "Que\u0301bec"
SPELLINGS = [
    ("yes", "yes "),
    ("yes", "Yes"),
    ("a b", "a  b"),
    ("a b", "a\u00a0b"),
    (COMPOSED, DECOMPOSED),
    ("yes", "\ufeffyes"),
    ("yes", "y\u200bes"),
    ("Stra\u00dfe", "STRASSE"),
    ("A", "\uff21"),
]


def mixed(one, other, n=40):
    """Mostly one spelling, three times the other, and a third value."""
    return np.array([one] * (n - 3) + [other] * 3 + ["no"] * n, dtype=object)


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_labels_in_two_spellings_are_refused_with_both_and_their_counts(one, other):
    with pytest.raises(InputError, match="differ only by spaces, case or Unicode form") as error:
        encode_target(mixed(one, other), task="auto")
    assert "(37 rows)" in str(error.value)
    assert "(3 rows)" in str(error.value)
    assert str(error.value).startswith("y holds values")


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_groups_in_two_spellings_are_refused(one, other):
    with pytest.raises(InputError, match=r"sensitive 'g' holds values .*\(37 rows\)"):
        fit_groups({"g": mixed(one, other)}, n_rows=80)


def test_the_refusal_shows_spellings_apart_and_how_to_merge_them():
    values = pd.Series(mixed(COMPOSED, DECOMPOSED))
    with pytest.raises(InputError, match="Merge them") as error:
        encode_target(values, task="auto")
    assert "'Qu\u00e9bec' (37 rows)" in str(error.value)
    assert "'Que\\u0301bec' (3 rows)" in str(error.value)
    assert ".replace({'Que\\u0301bec': 'Qu\u00e9bec'})" in str(error.value)
    merged = values.str.normalize("NFKC").str.strip().str.casefold()
    assert len(encode_target(merged)[1]) == 2
    replaced = values.replace({DECOMPOSED: COMPOSED})
    assert len(encode_target(replaced)[1]) == 2


@pytest.mark.parametrize(
    "values", [["1", 1, "a"], [True, "True", "x"], ["a-b", "a b", "ab"], ["\u0430", "a", "b"]]
)
def test_other_values_are_no_spellings_of_one(values):
    schema, _ = fit_groups({"g": np.array(values, dtype=object)}, n_rows=3)
    assert len(schema.levels[0]) == 3


def test_missing_groups_are_no_spelling():
    values = ["(missing)", None, "a"]
    schema, _ = fit_groups({"g": values}, n_rows=3, missing="own_group")
    assert len(schema.levels[0]) == 3


def test_normalizing_twice_changes_nothing():
    for one, other in SPELLINGS:
        assert normalized(one) == normalized(other) == normalized(normalized(one))


def test_fit_refuses_groups_and_labels_in_two_spellings():
    X, y, group = few_individuals()
    with pytest.raises(InputError, match="sensitive 'sensitive' holds values"):
        quick().fit(X, y, np.where(np.arange(len(y)) < 5, np.char.upper(group), group))
    labels = np.where(y == 1, "yes", "no").astype(object)
    labels[y.argmax()] = "yes "
    with pytest.raises(InputError, match=r"y holds values .* 'yes ' \(1 rows\)"):
        quick().fit(X, labels, group)


def test_new_rows_in_another_spelling_have_the_group_of_fit():
    groups = np.array(["Male", "Female"] * 20, dtype=object)
    schema, cells = fit_groups({"sex": groups}, n_rows=40)
    new = [f" {value.lower()} " for value in groups]
    with pytest.warns(DegradedWarning, match="taken for them: .*' male ' for 'Male'"):
        found = schema.encode({"sex": new})
    assert (found == cells).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (schema.encode({"sex": groups}) == cells).all()


def test_new_rows_of_another_group_are_still_refused():
    schema, _ = fit_groups({"sex": ["Male", "Female"]}, n_rows=2)
    with pytest.raises(InputError, match="did not occur at fit"):
        schema.encode({"sex": ["Males"]})


def test_an_audit_refuses_decisions_in_another_spelling_than_the_labels():
    with pytest.raises(InputError, match="y_true and y_pred holds values"):
        audit(["yes", "no"] * 20, ["Yes", "no"] * 20, ["a", "b"] * 20)
    with pytest.raises(InputError, match="sensitive 'sensitive' holds values"):
        audit(["yes", "no"] * 20, ["yes", "no"] * 20, ["a", "A"] * 20)
