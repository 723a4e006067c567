"""A file of validation rows, and learners that are left out, on the command line."""

import json

import pytest

from fairautoml import load_run
from fairautoml.cli.main import main
from quick_fits import CONSTRAINT, few_individuals

N_TRAIN, N_VALID = 140, 100
OTHERS = ("catboost", "checklist", "explainable_boosting", "extra_trees", "hist_gradient_boosting",
          "lightgbm", "mixture_of_experts", "random_forest", "xgboost")  # fmt: skip


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A fit of a file with weights, codes that are text and a label, and validation rows."""
    folder = tmp_path_factory.mktemp("tables")
    X, y, group = few_individuals()
    table = X.assign(sex=group, w=1.5, y=y, code=["V1"] * 70 + ["0", "1"] * 85)
    table[:N_TRAIN].to_csv(folder / "rows.csv", index=False)
    table[N_TRAIN:].drop(columns="w").to_csv(folder / "valid.csv", index=False)
    roles = ["--target", "y", "--sensitive", "sex", "--weight", "w", "--constraint", CONSTRAINT]
    left_out = [word for name in OTHERS for word in ("--exclude-learner", name)]
    fit = ["fit", str(folder / "rows.csv"), *roles, "--trials", "2", "--jobs", "1", "--json"]
    return [*fit, "--validation", str(folder / "valid.csv"), *left_out]


def test_a_file_of_validation_rows_replaces_the_folds_also_in_a_resumed_run(
    words, tmp_path, capsys, monkeypatch
):
    run = tmp_path / "run"
    assert main([*words, "--out", str(run)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["notes"][-1].endswith(f"of the {N_VALID} rows of X_val")
    model = load_run(run)
    assert set(model.trials_["learner"]) == {"prior", "logistic_regression"}
    assert model.trials_["folds"].tolist() == [1, 1]
    assert model.columns_.set_index("column")["kind"]["code"] == "category"
    monkeypatch.chdir(tmp_path)
    assert main(["resume", str(run), "--trials", "3", "--json"]) == 0
    assert load_run(run).trials_["folds"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--validation", "nowhere.csv"], "--validation 'nowhere.csv' is no file"),
        (["--learner", "lightgbm"], "--learner and --exclude-learner are both given"),
        (["--exclude-learner", "xgbost"], "did you mean xgboost"),
    ],
)
def test_mistakes_are_named(words, more, message, capsys):
    assert main([*words, *more]) == 2
    assert message in capsys.readouterr().err
