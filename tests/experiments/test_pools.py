import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ensembles import cell as pools_cell
from ensembles import run as runner
from ensembles.answers import MARGINS
from ensembles.luck import LUCKLESS
from ensembles.page import page, summarize, with_outcome
from ensembles.run import main, read_targets, rows_of
from fairautoml.bench.cell import CellRecord
from fairautoml.bench.sweep import run_any
from fairautoml.cli._base import fit_arguments
from fairautoml.exceptions import InputError, ParameterError

ROOT = Path(__file__).parents[2]
ARGUMENTS = [
    *("lending", "--sensitive", "sex", "--rows", "400", "--holdout", "0.4", "--json"),
    *("--trials", "3", "--cv", "2", "--seed", "1", "--strategy=random"),
    *("--learner", "logistic_regression", "--learner", "lightgbm"),
    *("--constraint", "demographic_parity_difference<=0.1"),
]

SWEEP = (
    f"runner: {ROOT / 'experiments' / 'ensembles' / 'run.py'}"
    + """
pools: {targets: {one: {"demographic_parity_difference<=0.1": 0.8}}}
defaults: {holdout: 0.3, n_trials: 2, seeds: 2}
tasks:
  - name: one
    dataset: lending
    sensitive: sex
    constraints: "demographic_parity_difference<=0.1"
"""
)

FAKE = """
import json, pathlib, sys
given = sys.argv[1:]
assert given[given.index("--keep-pools") + 1].endswith("pools"), given
seed = int(given[given.index("--seed") + 1])
same = {"constraint": "demographic_parity_difference <= 0.1", "limit": 0.1, "majority": 0.6}
rows = [
    {**same, "who": who, "margin": margin, "at_limit": 0.8 + seed / 10, "accuracy": 0.9,
     "gap": 0.05 + seed / 10, "log_loss": 0.4, "probability": 0.9, "insufficient": False,
     "seconds": 1.0}
    for who in ("single", "ensemble", "served") for margin in ("off", "auto check", "0.95")
] + [
    {**same, "who": who, "margin": "", "log_loss": 0.5, "at_limit": 0.85, "accuracy": 0.85,
     "gap": None, "majority": None, "seconds": None}
    for who in ("default", "hindsight", "oracle", "hindsight halves", "ensemble halves")
]
pool = {"n_models": 2, "n_search": 20000, "n_held": 9000, "n_groups": 2, "seconds_trained": 3.0}
print(json.dumps({"rows": rows, "pool": pool}))
"""


def parsed(folder, *more):
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep-pools")
    fit_arguments(parser)
    return parser.parse_args([*ARGUMENTS, *more, "--keep-pools", str(folder)])


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pools")
    return folder, pools_cell.measure(parsed(folder))


def refuse(*_):
    raise AssertionError("trained again")


@pytest.fixture(scope="module")
def measured_again(measured):
    folder, _ = measured
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pools_cell, "run_search", refuse)
        return pools_cell.measure(parsed(folder, "--constraint", "equalized_odds_difference<=0.1"))


def test_every_way_of_assembling_is_measured_at_every_margin_for_every_constraint(measured_again):
    table = pd.DataFrame(measured_again["rows"])
    assert table["constraint"].nunique() == 2
    served = table[table["margin"] != ""]
    ways = {"single", "ensemble", "served", "mixture", "served randomized"}
    assert set(served["who"]) == ways
    assert (served.groupby(["constraint", "who"])["margin"].agg(set) == {*MARGINS}).all()
    chosen = {"default", "hindsight", "oracle", "oracle plug-in", *LUCKLESS}
    assert set(table["who"]) - ways == chosen
    assert served[["accuracy", "gap", "majority"]].notna().all(axis=None)
    assert measured_again["pool"]["n_held"] == 160
    json.dumps(measured_again, allow_nan=False)


def test_what_is_chosen_on_the_held_out_rows_is_no_worse_than_what_is_not(measured_again):
    table = pd.DataFrame(measured_again["rows"]).drop_duplicates(["constraint", "who"])
    for _, own in table.set_index("who").groupby("constraint"):
        assert own.at["hindsight", "accuracy"] >= own.at["single", "at_limit"]
        assert own.at["hindsight", "accuracy"] >= own.at["default", "at_limit"]
        assert own.at["oracle", "gap"] <= own.at["oracle", "limit"] + 1e-9


def test_the_log_loss_of_the_ensemble_is_next_to_the_lowest_of_all_trials(measured):
    table = pd.DataFrame(measured[1]["rows"]).dropna(subset="log_loss")
    # Without two models better than one there is no ensemble.
    assert {"hindsight"} <= set(table["who"]) <= {"ensemble", "hindsight"}
    assert table["log_loss"].between(0.05, 1.0).all()
    assert table.loc[table["who"] == "hindsight", "log_loss"].nunique() == 1


def test_the_same_pool_answers_another_question_without_training(measured, measured_again):
    first, again = measured[1]["rows"], measured_again["rows"]
    own = [row for row in again if "equalized" not in row["constraint"]]
    known = ["constraint", "who", "margin", "accuracy", "gap"]
    pd.testing.assert_frame_equal(pd.DataFrame(own)[known], pd.DataFrame(first)[known])
    assert len(again) > len(first)


def test_another_pool_is_trained(measured, monkeypatch):
    monkeypatch.setattr(pools_cell, "run_search", refuse)
    with pytest.raises(AssertionError, match="trained again"):
        pools_cell.measure(parsed(measured[0], "--trials", "2"))


def test_a_pool_without_a_question_is_refused(tmp_path):
    given = parsed(tmp_path)
    given.constraint = []
    with pytest.raises(ParameterError, match="needs --constraint, --sensitive and --holdout"):
        pools_cell.measure(given)


def test_a_wrong_question_is_one_line_on_standard_error(tmp_path, capsys):
    code = pools_cell.main([*ARGUMENTS, "--constraint", "fairness<=1", "--keep-pools", "x"])
    assert code == pools_cell.WRONG
    assert "error: " in capsys.readouterr().err


def run(tmp_path, **options):
    source = tmp_path / "sweep.yaml"
    source.write_text(SWEEP)
    command = (sys.executable, "-c", FAKE)
    return runner.run(source, tmp_path / "out", command=command, on_line=str, **options)


def test_a_sweep_of_pools_writes_its_tables(tmp_path):
    assert run(tmp_path) == 0
    cells = pd.read_csv(tmp_path / "out" / "cells.csv")
    assert len(cells) == 2 * 14
    text = (tmp_path / "out" / "summary.md").read_text()
    # 0.85 in the mean of both seeds, the same as by hindsight and as the oracle.
    assert f"| all | all | 1 |{' +0.0000 |' * 8}" in text
    assert "| 0.80 to 0.90 | 2 | 0.900 | 0.500 |" in text
    assert "one +0.1000; the ensemble's is lower in 2 of 2 pools." in text
    assert "Accuracy aimed at is reached in 1 of 1 questions." in text
    assert "at confidence 0.95, two groups: 0.500 of 2 runs" in text
    assert "| 15,000 or more | 0.1 | off | 0.9000 | 0.1000 | 0.7500 | 0.50 | 0.00 |" in text
    assert (
        "| 0.8500 | 0.8500 | 0.8500 | - | 0.8500 | 0.8500 | - | 0.0707 | 1.00 | 0.8000 |" in text
    )
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["sweep"] == "sweep"


def test_a_sweep_of_pools_is_resumed(tmp_path):
    run(tmp_path)
    lines = []
    source = tmp_path / "sweep.yaml"
    command = (sys.executable, "-c", "raise SystemExit(1)")
    code = runner.run(source, tmp_path / "out", resume=True, command=command, on_line=lines.append)
    assert (code, lines) == (0, [])


def test_a_sweep_whose_cells_fail_says_why(tmp_path):
    source = tmp_path / "sweep.yaml"
    source.write_text(SWEEP)
    command = (sys.executable, "-c", "raise SystemExit('no such column')")
    assert runner.run(source, tmp_path / "out", command=command, on_line=str) == 6
    text = (tmp_path / "out" / "summary.md").read_text()
    assert "- one, seed 1: exit code 1: no such column" in text


def test_a_file_with_pools_is_run_as_a_sweep_of_pools(tmp_path, monkeypatch):
    source = tmp_path / "sweep.yaml"
    source.write_text(SWEEP)
    command = []
    monkeypatch.setattr(runner, "run", lambda *args, **more: command.append((args, more)))
    run_any(source, tmp_path, n_jobs=2)
    assert command == [((source, tmp_path), {"resume": False, "n_jobs": 2})]


@pytest.mark.parametrize(
    ("pools", "message"),
    [
        ("pools: []", "'pools' must be a mapping with the key 'targets'"),
        ("pools: {aims: {}}", "'pools' must be a mapping with the key 'targets'"),
        ("pools: {targets: {one: 0.8}}", "targets of 'one' must be a mapping"),
        ("pools: {targets: {one: {dp: high}}}", "target of 'one', 'dp' is 'high', no number"),
    ],
)
def test_wrong_targets_are_refused(tmp_path, pools, message):
    source = tmp_path / "sweep.yaml"
    source.write_text(pools)
    with pytest.raises(InputError, match=message):
        read_targets(source)


ROWS = pd.DataFrame(
    {
        "task": "t",
        "constraint": "c",
        "who": "served",
        "margin": "off",
        "limit": 0.05,
        "accuracy": [0.9, 0.8],
        "gap": [0.05, 0.06],
        "majority": [0.7, 0.6],
        "at_limit": [0.85, np.nan],
        "probability": 0.5,
        "seconds": [1.0, 3.0],
    }
)


def test_a_run_that_misses_the_limit_counts_as_the_majority_class():
    known = with_outcome(ROWS)
    assert known["strict"].tolist() == [0.9, 0.6]
    assert known["met"].tolist() == [1.0, 0.0]


def test_the_summary_counts_the_seeds_whose_front_does_not_reach_the_limit():
    (row,) = summarize(ROWS).to_dict("records")
    assert (row["seeds"], row["reached"], row["met.mean"]) == (2, 0.5, 0.5)
    assert row["at_limit.mean"] == 0.85
    assert row["strict.mean"] == pytest.approx(0.75)
    assert row["seconds.mean"] == 2.0


def test_a_failed_cell_is_a_row_with_its_reason():
    record = CellRecord(
        task="t",
        seed=3,
        arguments=(),
        outcome="failed",
        reason="no memory",
        exit_code=1,
        wall_seconds=1.0,
        result={},
    )
    assert rows_of(record) == [
        {"task": "t", "seed": 3, "outcome": "failed", "reason": "no memory"}
    ]
    assert page(pd.DataFrame(), {}, ["t, seed 3: no memory"]).startswith("Failed cells:")


@pytest.mark.slow
def test_summaries_are_made_anew_from_the_cells(tmp_path):
    committed = ROOT / "results" / "assembly"
    shutil.copy(committed / "cells.csv", tmp_path)
    assert main([str(ROOT / "experiments" / "assembly.yaml"), str(tmp_path)]) == 0
    for name in ("summary.csv", "summary.md"):
        assert (tmp_path / name).read_text() == (committed / name).read_text()
