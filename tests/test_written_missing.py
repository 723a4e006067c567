"""Texts such as NA where a label or a group should be, and masked arrays."""

import numpy as np
import pandas as pd
import pytest

from fairautoml.cli.main import main
from fairautoml.data.target import positive_notes
from fairautoml.exceptions import DegradedWarning, InputError
from quick_fits import few_individuals, quick

FIT = ("--target", "label", "--sensitive", "group", "--trials", "2")
FIT += ("--constraint", "demographic_parity_difference<=0.2")


@pytest.fixture
def table():
    X, y, group = few_individuals()
    return X.assign(label=np.where(y == 1, "yes", "no"), group=group)


def fitted(table, path, *more):
    table.to_csv(path, index=False, na_rep="NA")
    return main(["fit", str(path), *FIT, *more])


@pytest.mark.parametrize("text", ["NA", "?", "null"])
def test_a_third_class_that_means_a_missing_label_is_refused(table, tmp_path, capsys, text):
    table.loc[:9, "label"] = text
    assert fitted(table, tmp_path / "t.csv") == 3
    said = capsys.readouterr().err
    assert f"--target 'label' holds {text!r} in 10 rows" in said
    assert "--keep label=no,yes" in said


def test_a_class_may_be_called_none(table, tmp_path, capsys):
    table["label"] = np.resize(["None", "mild", "severe"], len(table))
    assert fitted(table, tmp_path / "t.csv") in {0, 4}
    assert "3 classes: 'None', 'mild', 'severe'" in capsys.readouterr().out


def test_a_category_that_no_row_has_is_no_label(table, tmp_path, capsys):
    pytest.importorskip("pyarrow", reason="pyarrow is an extra")
    for name, levels in (("label", ["NA", "no", "yes"]), ("group", ["NA", "a", "b"])):
        table[name] = pd.Categorical(table[name], categories=levels)
    table.to_parquet(tmp_path / "t.parquet")
    assert main(["fit", str(tmp_path / "t.parquet"), *FIT]) in {0, 4}
    assert "holds" not in capsys.readouterr().err


def test_the_way_out_of_missing_labels_works(table, tmp_path):
    table.loc[:9, "label"] = None
    assert fitted(table, tmp_path / "t.csv", "--keep", "label=no,yes") in {0, 4}


def test_a_text_for_missing_among_groups_is_reported(table, tmp_path, capsys):
    table.loc[:39, "group"] = None
    assert fitted(table, tmp_path / "t.csv") in {0, 4}
    assert "sensitive 'group' holds 'NA' (40 rows)" in capsys.readouterr().err


def test_several_classes_are_named_and_those_that_look_similar_pointed_at():
    (note,) = positive_notes(["Yes", "no", "yes", "yes "], None)
    assert note == (
        "the target has 4 classes: 'Yes', 'no', 'yes', 'yes '; 'Yes', 'yes', 'yes ' differ in "
        "case or spaces only: use one spelling per class"
    )
    assert positive_notes([*range(12)], None)[0].endswith("8, 9 and 2 more")
    assert positive_notes([0, 1], None) == ()


@pytest.mark.parametrize("kind", [int, float, object])
def test_masked_labels_are_missing(kind):
    X, y, group = few_individuals()
    masked = np.ma.masked_array(y.astype(kind), mask=np.arange(len(y)) < 7)
    with pytest.raises(InputError, match=r"7 missing label\(s\)"):
        quick().fit(X, masked, group)


def test_masked_groups_and_features_are_missing():
    X, y, group = few_individuals()
    mask = np.arange(len(y)) < 7
    with pytest.raises(InputError, match="sensitive"):
        quick().fit(X, y, np.ma.masked_array(group, mask=mask))
    hidden = X.to_numpy(copy=True)
    hidden[mask, 0] = 1e6
    seen = X.to_numpy(copy=True)
    seen[mask, 0] = np.nan
    cells = np.zeros(X.shape, dtype=bool)
    cells[mask, 0] = True
    found = quick().fit(np.ma.masked_array(hidden, mask=cells), y, group)
    plain = quick().fit(seen, y, group)
    assert (found.predict(seen, group) == plain.predict(seen, group)).all()
    assert found.best_entry_.score == plain.best_entry_.score


def test_a_selection_of_a_constant_model_says_so():
    model = quick(n_trials=3).fit(*few_individuals())
    fairest = model.leaderboard_["gap"].dropna()
    varied = min(e.gap for e in model.pool_.board.entries if not e.constant)
    assert varied > 0
    assert fairest.min() == 0
    with pytest.warns(DegradedWarning, match="a constant predictor"):
        uniform = model.select(max_gap=varied / 2)
    assert any("a constant predictor" in note for note in uniform.notes_)
    assert uniform.summary_["notes"] == list(uniform.notes_)


@pytest.mark.parametrize("score", ["a", float("nan"), True])
def test_a_least_score_that_is_no_number_is_refused(score):
    model = quick().fit(*few_individuals())
    with pytest.raises(InputError, match=r"min_score=.* must be a number"):
        model.select(min_score=score)


def test_what_is_read_is_not_written_over(table, tmp_path, capsys):
    path = tmp_path / "t.csv"
    assert fitted(table, path, "--out", str(tmp_path / "run")) in {0, 4}
    before = path.read_bytes()
    link = tmp_path / "same.csv"
    link.symlink_to(path)
    assert main(["predict", str(tmp_path / "run"), str(path), "--out", str(link)]) == 2
    assert "is the input table" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert pd.read_csv(path).shape == table.shape
