"""Callbacks of ``fairautoml.integrations``, and the hook at the end of a fit."""

import importlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from fairautoml.exceptions import DegradedWarning, MissingExtraError
from quick_fits import few_individuals, quick


class Ended:
    """A callback that notes its calls."""

    def __init__(self, error=None):
        self.calls, self.error = [], error

    def __call__(self, progress):
        self.calls.append(progress.result.trial.number)

    def on_fit_end(self, model):
        self.calls.append(model)
        if self.error is not None:
            raise self.error


def test_a_callback_gets_the_fitted_model_last():
    ended = Ended()
    model = quick(callbacks=[ended]).fit(*few_individuals())
    assert ended.calls[-1] is model
    assert ended.calls[:-1] == sorted(range(len(ended.calls) - 1))
    assert len(model.trials_) == len(ended.calls) - 1


def test_a_callback_learns_that_a_fit_failed():
    ended = Ended()
    X, _, group = few_individuals()
    with pytest.raises(ValueError, match="only 1 class"):
        quick(callbacks=ended).fit(X, np.zeros(len(X)), group)
    assert ended.calls == [None]


def test_an_error_at_the_end_costs_a_warning_and_not_the_fit():
    with pytest.warns(DegradedWarning, match="a callback raised .*no disk.* at the end of fit"):
        model = quick(callbacks=Ended(ValueError("no disk"))).fit(*few_individuals())
    assert len(model.leaderboard_) > 0


@pytest.mark.parametrize(("library", "name"), [("mlflow", "MLflow"), ("wandb", "Wandb")])
def test_without_the_library_the_extra_to_install_is_named(library, name, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    module = importlib.import_module(f"fairautoml.integrations.{library}")
    tracker = getattr(module, f"{name}Tracker")
    with pytest.raises(MissingExtraError, match=rf"fairautoml-search\[{library}\]"):
        tracker()


FIT = """
    import json, sys
    import mlflow, numpy as np
    sys.path.insert(0, {tests!r})
    from quick_fits import few_individuals, quick
    from fairautoml.integrations.mlflow import MLflowTracker
    mlflow.set_tracking_uri("sqlite:///runs.db")
    tracker = MLflowTracker(run_name="fair")
    model = quick(callbacks=tracker, sensitive_at_predict=False).fit(*few_individuals())
    assert mlflow.active_run() is None
    np.save("scores.npy", model.predict_proba(few_individuals()[0]))
    found = dict(run=tracker.run_id_, uri=tracker.model_uri_, gap=model.best_entry_.gap,
                 score=model.best_entry_.score, trials=len(model.trials_), status=model.status_)
    json.dump(found, open("found.json", "w"))
"""
RELOAD = """
    import sys, json
    import mlflow.sklearn, numpy as np
    sys.path.insert(0, {tests!r})
    from quick_fits import few_individuals
    mlflow.set_tracking_uri("sqlite:///runs.db")
    found = json.load(open("found.json"))
    X = few_individuals()[0]
    model = mlflow.sklearn.load_model(found["uri"])
    np.testing.assert_array_equal(model.predict_proba(X), np.load("scores.npy"))
    assert model.callbacks is None
    needed = mlflow.pyfunc.get_model_dependencies(found["uri"])
    assert "fairautoml-search[mlflow]" in open(needed).read()
    served = mlflow.pyfunc.load_model(found["uri"]).predict(X)
    np.testing.assert_array_equal(served, model.predict(X))
    client = mlflow.MlflowClient()
    run = client.get_run(found["run"])
    history = client.get_metric_history(found["run"], "trial_gap")
    kept = dict(name=run.info.run_name, ended=run.info.status, params=run.data.params,
                tags=run.data.tags, metrics=run.data.metrics,
                steps=sorted(one.step for one in history),
                artifacts=[one.path for one in client.list_artifacts(found["run"])])
    json.dump(kept, open("kept.json", "w"))
"""


def ran(code, folder, **environment):
    code = textwrap.dedent(code).format(tests=str(Path(__file__).parent))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_mlflow_records_a_fit_and_reloads_its_model_in_another_process(tmp_path):
    pytest.importorskip("mlflow")
    pytest.importorskip("skops")
    ran(FIT, tmp_path)
    ran(RELOAD, tmp_path)
    found, kept = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("found", "kept")
    )
    assert (kept["name"], kept["ended"]) == ("fair", "FINISHED")
    assert kept["params"]["n_trials"] == "2"
    assert kept["params"]["objective"] == "accuracy"
    assert "demographic_parity_difference <= 0.2" in kept["params"]["constraint"]
    assert kept["tags"]["status"] == found["status"]
    metrics = kept["metrics"]
    assert (metrics["gap"], metrics["accuracy"]) == (found["gap"], found["score"])
    assert metrics["limit/demographic_parity_difference/sensitive"] == pytest.approx(0.2)
    assert kept["steps"] == list(range(found["trials"]))
    assert {"leaderboard.csv", "report.html"} <= {*kept["artifacts"]}


WANDB = """
    import json, sys
    sys.path.insert(0, {tests!r})
    import wandb
    from quick_fits import few_individuals, quick
    from fairautoml.integrations.wandb import WandbTracker
    kept = dict()
    finish = wandb.sdk.wandb_run.Run.finish
    def noted(run, **options):
        kept.update(summary=dict(run.summary), config=dict(run.config), mode=run.settings.mode)
        finish(run, **options)
    wandb.sdk.wandb_run.Run.finish = noted
    model = quick(callbacks=WandbTracker(project="fair")).fit(*few_individuals())
    assert wandb.run is None
    assert kept["mode"] == "offline"
    assert kept["summary"]["gap"] == model.best_entry_.gap
    assert kept["summary"]["trial_gap"] >= 0
    assert kept["config"]["n_trials"] == 2
"""


@pytest.mark.slow
def test_wandb_records_a_fit_offline(tmp_path):
    pytest.importorskip("wandb")
    ran(WANDB, tmp_path, WANDB_MODE="offline", WANDB_SILENT="true")
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
