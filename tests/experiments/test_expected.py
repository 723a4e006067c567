"""What a rule is worth on samples of people, from its rates on very many."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import norm

from common.expected import calibration, expected, judged_on_samples, main
from fairautoml.bench.tasks import read_sweep
from fairautoml.exceptions import InputError

ROOT = Path(__file__).parents[2]
N_HELD, N_SEARCHED = 42_000, 700


def rates(selection, n=N_HELD / 2):
    """Half of everybody has label 1; the rule accepts that many of either label."""
    both = {"tpr": selection, "fpr": selection, "selection": selection}
    return {**both, "weight": n, "accuracy": 0.5}


def cell(variant, women, men, **more):
    found = {
        "question": "loans_700",
        "dataset": "loans",
        "variant": variant,
        "system": None if variant == "fairautoml" else variant,
        "seed": 1,
        "outcome": "done",
        "holdout.n_rows": N_HELD,
        "holdout.majority": 0.5,
        "holdout.accuracy": 0.5,
        "holdout.gap": abs(women - men),
    }
    for name, share in (("a", women), ("b", men)):
        for rate, value in rates(share).items():
            found[f"holdout.rates.sex.{name}.{rate}"] = value
    return {**found, **more}


@pytest.fixture
def sweep(tmp_path):
    held = N_HELD / (N_HELD + N_SEARCHED)
    task = {
        "name": "loans_700",
        "dataset": "lending",
        "sensitive": ["sex"],
        "constraints": ["demographic_parity_difference<=0.05"],
        "holdout": held,
        "seconds": 1,
        "seeds": [1],
    }
    variants = [{"name": "fairautoml"}, {"name": "optuna_expert", "system": "optuna_expert"}]
    path = tmp_path / "few.yaml"
    plugins = [str(ROOT / "experiments" / "peers")]
    path.write_text(yaml.safe_dump({"plugins": plugins, "tasks": [task], "variants": variants}))
    return path


def test_the_probability_is_that_of_two_rates_that_differ_by_their_noise(sweep):
    cells = pd.DataFrame([cell("fairautoml", 0.3, 0.3), cell("optuna_expert", 0.3, 0.4)])
    found = judged_on_samples(cells, read_sweep(sweep))
    assert found["searched"].tolist() == [N_SEARCHED, N_SEARCHED]
    for name, individuals in (("met_as_many", 700), ("met_held_out", 300)):
        noise = np.sqrt(0.3 * 0.7 * 2 / (individuals / 2))
        assert found[name][0] == pytest.approx(2 * norm.cdf(0.05 / noise) - 1, abs=0.03)
    noise = np.sqrt((0.3 * 0.7 + 0.4 * 0.6) / 350)
    inside = norm.cdf((0.15) / noise) - norm.cdf(0.05 / noise)
    assert found["met_as_many"][1] == pytest.approx(inside, abs=0.03)


def test_a_miss_is_worth_the_majority_and_a_failure_too(sweep):
    good = cell("fairautoml", 0.3, 0.3)
    for group in "ab":
        good[f"holdout.rates.sex.{group}.tpr"] = 0.6
        good[f"holdout.rates.sex.{group}.fpr"] = 0.0
        good[f"holdout.rates.sex.{group}.accuracy"] = 0.8
    failed = {"outcome": "crash", "holdout.n_rows": None, "holdout.majority": None}
    cells = pd.DataFrame([good, {**cell("optuna_expert", 0.3, 0.3), **failed}])
    found = judged_on_samples(cells, read_sweep(sweep))
    met = found["met_held_out"][0]
    assert found["worth"][0] == pytest.approx(0.8 * met + 0.5 * (1 - met), abs=0.005)
    assert found.loc[1, ["met_held_out", "worth"]].tolist() == [0.0, 0.5]


def test_equal_rates_of_all_groups_always_meet_the_bound(sweep):
    uniform = judged_on_samples(pd.DataFrame([cell("fairautoml", 1.0, 1.0)]), read_sweep(sweep))
    assert uniform["met_held_out"].tolist() == [1.0]


def test_the_table_compares_with_ours_and_the_bins_with_the_truth(sweep):
    stated = {"search.margin.probability": 0.7, "holdout.excess": -0.01}
    cells = pd.DataFrame([cell("fairautoml", 0.3, 0.3, **stated), cell("optuna_expert", 0.3, 0.4)])
    judged = judged_on_samples(cells, read_sweep(sweep))
    table = expected(judged).set_index(["part", "variant"])
    assert table.index.get_level_values(0).unique().tolist() == ["all", "about 700 rows"]
    assert table.loc[("all", "fairautoml"), "difference"] == 0.0
    assert table.loc[("all", "optuna_expert"), "met_as_many"] < 0.2
    (row,) = calibration(judged).to_dict("records")
    assert (row["runs"], row["stated"], row["met"], row["bin"]) == (1, 0.7, 1.0, "(0.5, 0.75]")
    assert row["met_as_many"] == judged["met_as_many"][0]


def test_a_question_that_is_not_in_the_sweep_is_refused(sweep):
    cells = pd.DataFrame([cell("fairautoml", 0.3, 0.3, question="other")])
    with pytest.raises(InputError, match="'other'"):
        judged_on_samples(cells, read_sweep(sweep))


def test_a_question_of_several_sensitive_columns_is_refused(sweep):
    text = sweep.read_text()
    sweep.write_text(text.replace("- sex", "- sex\n  - region"))
    cells = pd.DataFrame([cell("fairautoml", 0.3, 0.3)])
    with pytest.raises(InputError, match="one sensitive column"):
        judged_on_samples(cells, read_sweep(sweep))


def test_the_tables_are_written_into_the_folder_of_the_sweep(sweep, tmp_path):
    offered = {"margin.holdout.accuracy": 0.5, "margin.score": 0.5, "margin.gap": 0.0}
    front = {"holdout_front": json.dumps([])}
    cells = [cell("fairautoml", 0.3, 0.3), cell("optuna_expert", 0.3, 0.3, **offered, **front)]
    pd.DataFrame(cells).to_csv(tmp_path / "cells.csv", index=False)
    assert main([str(sweep), str(tmp_path)]) == 0
    written = pd.read_csv(tmp_path / "expected.csv")
    assert set(written["variant"]) == {"fairautoml", "optuna_expert", "optuna_expert+margin"}
    assert (tmp_path / "calibration.csv").exists()
