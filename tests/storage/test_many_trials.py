"""Ten thousand trials that cost nothing: what is left is the cost of keeping them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from many_trials import cheap_run

from fairautoml.search.strategies._optuna import StudyTrials

RUN = """
import json, sys
sys.path.insert(0, sys.argv[2])
from many_trials import cheap_run, without_thinking

how, strategy, n_trials = sys.argv[3:]
if how == "made":
    without_thinking()
print(json.dumps(cheap_run(sys.argv[1], int(n_trials), resume=how == "resume", strategy=strategy)))
"""


def run(folder, how, n_trials, strategy="random"):
    command = [sys.executable, "-c", RUN, str(folder), str(Path(__file__).parent)]
    done = subprocess.run(
        [*command, how, strategy, str(n_trials)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_trials_stay_cheap_to_keep_and_quick_to_resume(tmp_path):
    """The limits are far above the promise (40 ms, 5 s): a slow, busy machine keeps them too.

    All but the last trials are made without waiting for the disk; those that are measured wait.
    """
    made = run(tmp_path / "run", "made", 9_500)
    assert made["results"] == 9_500
    assert made["memory_mb"] < 500
    again = run(tmp_path / "run", "resume", 10_020)
    assert again["results"] == 10_020
    assert again["new"] == 520
    assert again["median_ms"] <= 200
    assert again["seconds_to_first"] < 120
    # Optuna builds all trials of the study at once.
    assert again["memory_mb"] < 700


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_long_run_is_resumed_without_thinking_all_of_it_over_again(tmp_path):
    """Four thousand proposals take the Parzen estimator more than a minute."""
    run(tmp_path / "run", "made", 4000, "optuna_tpe")
    again = run(tmp_path / "run", "resume", 4020, "optuna_tpe")
    assert again["results"] == 4020
    assert again["new"] == 20
    assert again["seconds_to_first"] < 120


@pytest.mark.parametrize("strategy", ["optuna_motpe", "optuna_tpe"])
def test_a_resumed_run_draws_only_what_is_new_and_finds_the_same(tmp_path, monkeypatch, strategy):
    drawn = []
    sample = StudyTrials.sample
    monkeypatch.setattr(
        StudyTrials, "sample", lambda self, seed: drawn.append(seed) or sample(self, seed)
    )
    whole = cheap_run(tmp_path / "whole", 40, resume=False, strategy=strategy)
    assert len(drawn) == 39
    cheap_run(tmp_path / "cut", 30, resume=False, strategy=strategy)
    del drawn[:]
    again = cheap_run(tmp_path / "cut", 40, resume=True, strategy=strategy)
    assert again["keys"] == whole["keys"]
    assert again["new"] == len(drawn) == 10
