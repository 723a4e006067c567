"""Blocks of columns: what a model of one block reads, and how they are compared."""

import json

import numpy as np
import pandas as pd
import pytest

from fairautoml import ColumnOptions, FairAutoML, FairAutoMLRegressor, load_predictor, load_run
from fairautoml.data.encoders import blocks_in, hides_groups, with_blocks
from fairautoml.data.read import ReadOptions, build_dataset
from fairautoml.evaluation.fitting import encode
from fairautoml.exceptions import InputError, ParameterError

BLOCKS = {"face": ["f0", "f1"], "cv": ["years", "school"]}


def people(n=300):
    """Return a face that gives the group away and resumes that hold the merit."""
    rng = np.random.default_rng(0)
    sex = rng.choice(["a", "b"], n)
    face = rng.normal(size=(n, 2)) + 2 * (sex == "b")[:, None]
    years, school = rng.normal(size=n), rng.choice(["x", "y", "z"], n)
    X = pd.DataFrame({"f0": face[:, 0], "f1": face[:, 1], "years": years, "school": school})
    merit = years + (school == "x")
    return X, merit - 0.8 * (sex == "b") + 0.3 * rng.normal(size=n), sex


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    X, y, sex = people()
    folder = tmp_path_factory.mktemp("blocks") / "run"
    model = FairAutoMLRegressor(
        "mean_difference <= 0.5", n_trials=8, n_jobs=1, cv=3, random_state=0, run_dir=folder,
        learners=["hist_gradient_boosting", "logistic_regression"], confidence=None,
    )  # fmt: skip
    return model.fit(X, y, sex, columns=ColumnOptions(blocks=BLOCKS)), X, sex, folder


def test_a_model_of_one_block_sees_the_others_as_missing():
    """Also new rows of the other columns change nothing."""
    X, y, sex = people()
    options = ReadOptions(columns=ColumnOptions(blocks=BLOCKS))
    rows = build_dataset(X, (y > 0).astype(int), sex, options=options)
    made = encode("codes@cv", rows, 0)
    assert np.isnan(made.train.X[:, :2]).all()
    assert not np.isnan(made.train.X[:, 2:]).any()
    other = rows.X.copy()
    other[:, :2] += 9
    assert np.array_equal(made.encoder.transform(other), made.train.X, equal_nan=True)


def test_the_blocks_are_compared(fitted):
    """The resume explains the target better than the face, whose gap between groups is larger."""
    model, _, _, _ = fitted
    found = model.blocks_.set_index("columns")
    assert {"all columns", "face", "cv"} <= set(found.index)
    assert found.loc["cv", "r2"] > found.loc["face", "r2"]
    assert found.loc["all columns", "rank"] >= 1


def test_blocks_are_stored_with_the_run(fitted):
    """Loaded runs, exported models and the page have them; the predictions stay the same."""
    model, X, sex, folder = fitted
    loaded = load_run(folder)
    assert loaded.blocks_.to_dict() == model.blocks_.to_dict()
    assert np.allclose(loaded.predict(X, sex), model.predict(X, sex))
    portable = load_predictor(model.export(folder.parent / "model.fair"))
    assert np.allclose(portable.predict(X, sex), model.predict(X, sex), atol=1e-5)
    summary = json.loads((folder / "summary.json").read_text())
    assert [row["columns"] for row in summary["blocks"]] == model.blocks_["columns"].tolist()
    assert "Blocks of columns" in model._repr_html_() or "h-blocks" in page(model, folder)


def test_the_blocks_of_a_selected_model_have_its_ranks(fitted):
    model = fitted[0]
    other = model.select(max_gap=float(model.pareto_front_["gap"].min()))
    shown = {row["columns"]: row["rank"] for row in other.summary_["blocks"]}
    assert shown == other.blocks_.set_index("columns")["rank"].to_dict()


def page(model, folder):
    model.report(folder.parent / "report.html")
    return (folder.parent / "report.html").read_text()


def test_with_late_fusion_every_model_reads_one_block():
    """The ensemble averages them, and the table says so."""
    X, y, sex = people()
    model = FairAutoML(n_trials=5, n_jobs=1, cv=3, random_state=0)
    options = ColumnOptions(blocks=BLOCKS, fusion="late")
    model.fit(X, y > np.median(y), sex, columns=options)
    varied = model.leaderboard_[~model.leaderboard_["constant"]]
    assert all("" not in blocks_in(one) for one in varied["encoding"])
    assert "late fusion" in set(model.blocks_["columns"])


def test_encodings_of_blocks_without_the_group_hide_it():
    """So the leaderboard does not say that a sensitive column is read."""
    found = with_blocks(("codes",), {"face": False, "cv": True}, late=False)
    assert found == ("codes", "codes_without_groups@face", "codes@cv")
    assert [hides_groups(one) for one in found] == [False, True, False]
    assert with_blocks(("codes",), {"face": True}, late=True) == ("codes@face",)
    assert blocks_in("codes@cv+codes") == {"cv", ""}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"blocks": {"face": ["f0"]}}, "two or more blocks"),
        ({"blocks": {"a": ["f0"], "b": ["f0"]}}, "'f0' is in two blocks"),
        ({"blocks": {"a": ["f0"], "b": []}}, "'b' has no columns"),
        ({"blocks": {"a@b": ["f0"], "b": ["f1"]}}, "letters, digits"),
        ({"fusion": "late"}, "needs blocks"),
        ({"blocks": BLOCKS, "fusion": "middle"}, "'auto', 'early' or 'late'"),
    ],
)
def test_blocks_that_cannot_be_are_refused(options, says):
    """The message names the argument and what is allowed."""
    with pytest.raises(ParameterError, match=says):
        ColumnOptions(**options)


def test_a_column_in_no_block_is_refused():
    """Unless it is dropped or sensitive; text has no blocks."""
    X, y, sex = people()
    options = ColumnOptions(blocks={"face": ["f0", "f1"], "cv": ["years"]})
    with pytest.raises(InputError, match=r"leaves out 1 column\(s\): 'school'"):
        build_dataset(X, y > 0, sex, options=ReadOptions(columns=options))
    build_dataset(
        X.rename(columns={"school": "s"}), y > 0, "s", options=ReadOptions(columns=options)
    )
    unknown = ColumnOptions(blocks={"face": ["f0", "f9"], "cv": ["years"]})
    with pytest.raises(InputError, match="'f9', which is no column"):
        build_dataset(X, y > 0, sex, options=ReadOptions(columns=unknown))
