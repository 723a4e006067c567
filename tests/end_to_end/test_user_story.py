"""The examples of docs/bring_your_own.md on 500 rows, as one program of a user.

The model that MLflow has stored is then loaded in another process.
"""

import json
import os
import subprocess
import sys

import pytest

from readme_blocks import DOCS, blocks

N_ROWS = 500
SECONDS, LONGER = 6, 20
"""Time budget of an example, and of the one that stops before its end."""

BEFORE = f"""
import dataclasses, json
import fairautoml.data.datasets as datasets
whole = datasets.load("lending")
few = dataclasses.replace(whole, frame=whole.frame.head({N_ROWS}))
datasets.load = lambda name: few
found = []
def note():
    trials, rows = model.trials_, model.pool_.board.entries
    found.append({{
        "objective": model.pool_.board.objective,
        "score": model.best_entry_.score,
        "counts": model.best_entry_.counts.sum(axis=0).tolist(),
        "n_judged": sorted({{float(entry.counts.sum()) for entry in rows}}),
        "learners": trials["learner"].tolist(),
        "status": trials["status"].tolist(),
        "folds": int(trials["folds"].max()),
        "seconds": model.summary_["seconds"],
        "stopped": any("The search stopped early" in note for note in model.notes_),
        "notes": list(model.notes_),
    }})
"""
AFTER = """
import numpy as np
import wandb, mlflow
assert mlflow.active_run() is None and wandb.run is None
X.to_pickle("X.pkl")
np.save("predicted.npy", model.predict(X))
story = {"found": found, "uri": tracker.model_uri_, "run": tracker.run_id_}
json.dump(story, open("story.json", "w"))
"""
RELOAD = """
import json
import mlflow.sklearn, mlflow.pyfunc, numpy as np, pandas as pd
story, X = json.load(open("story.json")), pd.read_pickle("X.pkl")
model = mlflow.sklearn.load_model(story["uri"])
assert model.predict(X).tolist() == np.load("predicted.npy", allow_pickle=True).tolist()
assert mlflow.pyfunc.load_model(story["uri"]).predict(X).tolist() == model.predict(X).tolist()
run = mlflow.MlflowClient().get_run(story["run"])
json.dump({"learners": model.learners, "metrics": run.data.metrics, "params": run.data.params},
          open("kept.json", "w"))
"""

pytestmark = pytest.mark.slow


def run(code, folder):
    environment = {
        **os.environ,
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "MLFLOW_TRACKING_URI": "sqlite:///runs.db",
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=folder, capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    for library in ("mlflow", "skops", "wandb"):
        pytest.importorskip(library)
    folder = tmp_path_factory.mktemp("story")
    examples = blocks("python", DOCS / "bring_your_own.md")
    assert all("time_budget=60" in example for example in examples)
    examples = [
        text.replace("time_budget=60", f"time_budget={LONGER if 'patience=' in text else SECONDS}")
        for text in examples
    ]
    run(BEFORE + "".join(f"{text}\nnote()\n" for text in examples) + AFTER, folder)
    return folder, json.loads((folder / "story.json").read_text())["found"]


def test_every_example_of_the_page_is_part_of_the_story(story):
    assert len(story[1]) == 6
    for fit in story[1]:
        assert set(fit["status"]) <= {"success", "pruned", "timeout"}


def test_a_cost_matrix_is_minimized_under_the_constraint(story):
    cost = story[1][0]
    (_, accepted), (rejected, _) = cost["counts"]
    assert cost["objective"] == "neg_mean_cost"
    assert cost["score"] == pytest.approx(-(5 * accepted + rejected) / N_ROWS)


def test_estimators_and_own_learners_are_trained_beside_registered_ones(story):
    names = set(story[1][1]["learners"])
    own = {"extra_trees_classifier", "logistic_regression_2", "small_boosting"}
    assert names == {"prior", "lightgbm", *own}


def test_a_splitter_makes_the_folds(story):
    assert story[1][2]["folds"] == 3


def test_validation_rows_give_all_figures(story):
    validated = story[1][3]
    assert validated["folds"] == 1
    assert validated["n_judged"] == [150.0]
    assert any("of the 150 rows of X_val" in note for note in validated["notes"])


def test_a_search_on_500_rows_stops_before_its_budget(story):
    stopped = story[1][4]
    assert stopped["stopped"]
    assert stopped["seconds"] < LONGER - 2


def test_mlflow_reloads_the_model_in_another_process(story):
    folder, (*_, tracked) = story
    run(RELOAD, folder)
    kept = json.loads((folder / "kept.json").read_text())
    assert kept["learners"] == ["lightgbm", "small_boosting"]
    assert kept["metrics"]["neg_mean_cost"] == pytest.approx(tracked["score"])
    assert kept["params"]["learners"] == "['lightgbm', 'small_boosting']"


def test_weights_and_biases_record_offline(story):
    assert len(list(story[0].glob("wandb/offline-run-*/*.wandb"))) == 1
