from pathlib import Path

import pandas as pd
import pytest

from fairautoml.bench.tasks import read_sweep

ROOT = Path(__file__).parents[2]
CONSTRAINTS = {
    "dp": "demographic_parity_difference <= 0.05",
    "eo": "equalized_odds_difference <= 0.05",
}


@pytest.mark.parametrize("sweep", ["main", "main_120", "main_cores"])
def test_the_oracles_of_a_sweep_are_those_that_a_sweep_of_pools_has_found(sweep):
    found = pd.read_csv(ROOT / "results" / "assembly" / "summary.csv")
    oracles = (
        found[found["who"] == "oracle"]
        .assign(task=found["task"].str.removesuffix("_race"))
        .set_index(["task", "constraint"])["accuracy.mean"]
    )
    tasks = [t for t in read_sweep(ROOT / "experiments" / f"{sweep}.yaml").tasks if t.oracle]
    assert tasks
    for task in tasks:
        table, _, metric = task.question.rpartition("_")
        assert task.oracle == pytest.approx(oracles[table, CONSTRAINTS[metric]], abs=5e-5)
