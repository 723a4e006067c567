"""One row per system against ours."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from common.comparison import COLUMNS, systems

TABLES = 6


def cell(table, variant, accuracy, *, system="x", seed=0, outcome="done"):
    found = {"question": f"{table}_dp", "dataset": f"t{table}", "variant": variant, "seed": seed}
    found["system"] = system
    if outcome == "failed":
        return found | {"outcome": outcome}
    return found | {
        "outcome": outcome,
        "status": "feasible",
        "holdout.accuracy": accuracy,
        "holdout.excess": -0.01,
        "holdout.majority": 0.5,
    }


def sweep(**by_variant):
    """Each variant with its accuracies, one per table; ours has no system."""
    rows = []
    for variant, accuracies in by_variant.items():
        name = variant.replace("_margin", "+margin")
        system = None if name.startswith("ours") else name.removesuffix("+margin")
        for table, accuracy in enumerate(accuracies):
            failed = "failed" if accuracy is None else "done"
            rows.append(cell(table, name, accuracy, system=system, outcome=failed))
    return pd.DataFrame(rows)


def test_the_better_row_of_a_system_stands_for_it():
    cells = sweep(ours=[0.9] * TABLES, p=[0.7] * TABLES, p_margin=[0.8] * TABLES, q=[0.6] * TABLES)
    found = systems(cells).set_index("variant")
    assert found.index.tolist() == ["ours", "p+margin", "q"]
    assert found["rank"].tolist() == [1.0, 2.0, 3.0]
    assert found["behind"].tolist() == [0.0, 1.0, 2.0]
    assert found["difference"].tolist() == pytest.approx([0.0, -0.1, -0.3])


def test_other_variants_of_ours_take_no_place():
    cells = sweep(ours=[0.9] * TABLES, ours_fast=[0.85] * TABLES, p=[0.8] * TABLES)
    assert systems(cells)["rank"].tolist() == [1.0, 2.0]


def test_a_run_that_failed_ranks_last_and_is_worth_the_majority():
    cells = sweep(ours=[0.9] * TABLES, p=[None] * TABLES, q=[0.4] * TABLES)
    found = systems(cells).set_index("variant")
    assert found.loc["p", "rank"] == 3.0
    assert found.loc["p", "strict_fair_accuracy"] == 0.5


def test_p_is_of_tables_and_holm_corrects_it():
    rng = np.random.default_rng(0)
    ours = rng.uniform(0.7, 0.9, TABLES)
    near, far = ours + rng.normal(0, 0.01, TABLES), ours - rng.uniform(0.1, 0.2, TABLES)
    found = systems(sweep(ours=ours, near=near, far=far)).set_index("variant")
    p_near, p_far = (float(wilcoxon(other - ours).pvalue) for other in (near, far))
    assert found.loc["far", "p"] == pytest.approx(p_far)
    assert found.loc["far", "p_holm"] == pytest.approx(2 * p_far)
    assert found.loc["near", "p_holm"] == pytest.approx(max(p_near, 2 * p_far))
    assert np.isnan(found.loc["ours", "p"])


def test_without_others_there_is_no_table():
    found = systems(sweep(ours=[0.9] * TABLES))
    assert found.empty
    assert tuple(found) == COLUMNS
