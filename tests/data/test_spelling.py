import json
import warnings

import numpy as np
import pandas as pd
import pytest

from fairautoml import GroupPolicy, audit
from fairautoml.cli.main import main
from fairautoml.data import available, load
from fairautoml.data.groups import fit_groups
from fairautoml.data.read import ReadOptions, build_dataset
from fairautoml.data.spelling import merge_spellings
from fairautoml.data.target import encode_target
from fairautoml.exceptions import DegradedWarning, InputError
from fairautoml.runtime._groups import normalized
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


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_normalizing_merges_groups_into_the_most_frequent_spelling(one, other):
    schema, cells = fit_groups({"g": mixed(one, other)}, n_rows=80, normalize=True)
    assert {key[1] for key in schema.levels[0]} == {one, "no"}
    assert sorted(np.bincount(cells)) == [40, 40]
    (note,) = schema.notes
    assert note.startswith("sensitive 'g': ")
    assert "(3 rows) is read as" in note


def test_a_fit_that_normalizes_merges_labels_and_groups_and_notes_it():
    X, y, group = few_individuals()
    labels = np.where(y == 1, "yes", "no").astype(object)
    labels[y.argmax()] = "yes "
    spelled = np.where(np.arange(len(y)) < 5, np.char.upper(group), group)
    model = quick(group_policy=GroupPolicy(normalize=True)).fit(X, labels, spelled)
    plain = quick().fit(X, np.where(y == 1, "yes", "no"), group)
    assert model.classes_.tolist() == ["no", "yes"]
    assert any("'yes ' (1 rows) is read as 'yes'" in note for note in model.notes_)
    assert model.pool_.groups.systems[0].labels == ("a", "b")
    np.testing.assert_array_equal(model.predict(X, group), plain.predict(X, group))
    with pytest.warns(DegradedWarning, match="y has values .* taken for them: 'yes ' for 'yes'"):
        assert model.evaluate(X, labels, group) == plain.evaluate(
            X, np.char.strip(labels.astype(str)), group
        )


def test_labels_without_an_index_are_merged_next_to_a_table_with_one():
    X, y, group = few_individuals()
    labels = np.where(y == 1, "yes", "no").astype(object)
    labels[y.argmax()] = "yes "
    shuffled = X.set_axis(np.random.default_rng(0).permutation(len(X)))
    options = ReadOptions(normalize=True)
    dataset = build_dataset(shuffled, labels, group, options=options)
    assert dataset.classes.tolist() == ["no", "yes"]
    assert dataset.y.tolist() == y.tolist()


def test_the_command_line_merges_spellings_on_request(tmp_path, capsys):
    X, y, group = few_individuals()
    table = X.assign(label=np.where(y == 1, "yes", "no"), group=group)
    table.loc[:4, "group"] = np.char.upper(group[:5])
    table.to_csv(tmp_path / "t.csv", index=False)
    command = ["fit", str(tmp_path / "t.csv"), "--target", "label", "--sensitive", "group"]
    command += ["--constraint", "demographic_parity_difference<=0.2", "--trials", "2"]
    assert main(command) == 3
    assert "--normalize" in capsys.readouterr().err
    assert main([*command, "--normalize"]) in {0, 4}
    assert "is read as" in capsys.readouterr().out


def test_features_in_two_spellings_are_a_warning():
    X, y, group = few_individuals()
    X["city"] = np.resize(["Paris", "paris ", "Rome"], len(y))
    with pytest.warns(DegradedWarning, match=r"kept apart: 'city' \('Paris' and 'paris '\)"):
        model = quick().fit(X, y, group)
    assert any("kept apart: 'city'" in note for note in model.notes_)


@pytest.mark.parametrize(
    "text", ["Unknown/Invalid", "?", "N/A", "unknown", "none", " NA ", "", "Prefer not to say"]
)
def test_a_group_that_stands_for_missing_values_is_a_warning_that_names_the_way_out(text):
    values = np.array(["a", "b", text] * 10, dtype=object)
    with pytest.warns(DegradedWarning, match=r"\(10 rows\).*GroupPolicy\(missing='own_group'\)"):
        schema, _ = fit_groups({"g": values}, n_rows=30)
    assert schema.notes[0].startswith("sensitive 'g' holds ")


def test_other_groups_are_no_placeholders():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_groups(
            {"g": np.resize(np.array(["Other", "No", "0", "Nan Hua"], object), 8)}, n_rows=8
        )


def test_no_label_or_group_of_the_shared_tables_has_two_spellings(data_home):
    checked = 0
    for name in json.loads((data_home / "index.json").read_text()):
        if name not in available():
            continue
        table = load(name)
        for column in (table.target, *table.sensitive):
            values = table.frame[column]
            if values.nunique() <= 1_000 and not pd.api.types.is_numeric_dtype(values):
                _, notes = merge_spellings(column, values.dropna())
                assert notes == (), (name, column)
                checked += 1
    assert checked > 10
