"""A sweep by seed and by size of table, and what this library has stated of itself."""

import pandas as pd
import pytest

from common.parts import main, pairs_by_part, stated_by_part, systems_by_part


@pytest.fixture
def cells():
    rows = [
        {
            "task": f"{question}-{variant}",
            "question": question,
            "dataset": question,
            "variant": variant,
            "system": None if variant == "fairautoml" else variant,
            "seed": seed,
            "outcome": "done",
            "holdout.n_rows": 300 if question == "few" else 9_000,
            "holdout.majority": 0.5,
            "holdout.accuracy": 0.8 if variant == best else 0.7,
            "holdout.gap": 0.04,
            "holdout.excess": 0.01 if question == "few" and variant == "fairautoml" else -0.01,
            "search.margin.probability": 0.75 if question == "few" else 0.96,
        }
        for question, best in (("few", "peer"), ("many", "fairautoml"))
        for variant in ("fairautoml", "peer")
        for seed in (1, 2)
    ]
    return pd.DataFrame(rows)


def test_each_part_has_its_own_order_of_systems(cells):
    found = systems_by_part(cells)
    assert found["part"].unique().tolist() == ["seed 1", "seed 2", "small tables", "large tables"]
    first = found.groupby("part")["variant"].first()
    assert (first["small tables"], first["large tables"]) == ("peer", "fairautoml")


def test_what_was_stated_stands_next_to_what_held(cells):
    found = stated_by_part(cells).set_index("part")
    columns = ["runs", "met", "stated", "sure", "sure_met"]
    assert found.loc["small tables", columns].tolist() == [2, 0, 1.5, 0, 0]
    assert found.loc["large tables", columns].tolist() == [2, 2, 1.92, 2, 2]


def test_runs_are_compared_with_those_of_the_same_block(cells):
    found = pairs_by_part(cells).set_index(["part", "variant"])
    columns = ["at_least", "level", "blocks"]
    assert found.loc[("large tables", "peer"), columns].tolist() == [1.0, 0.0, 2]
    assert found.loc[("small tables", "peer"), columns].tolist() == [0.0, 0.0, 2]
    assert found.loc[("all tables", "peer"), columns].tolist() == [0.5, 0.0, 4]


def test_two_runs_that_miss_the_limit_are_level(cells):
    cells.loc[cells["question"] == "few", "holdout.excess"] = 0.01
    found = pairs_by_part(cells).set_index("part")
    assert found.loc["small tables", ["at_least", "level"]].tolist() == [1.0, 1.0]


def test_the_tables_are_written_into_the_folder_of_the_sweep(cells, tmp_path):
    cells.to_csv(tmp_path / "cells.csv", index=False)
    assert main([str(tmp_path)]) == 0
    assert len(pd.read_csv(tmp_path / "parts.csv")) == 8
    assert len(pd.read_csv(tmp_path / "stated.csv")) == 4
    assert len(pd.read_csv(tmp_path / "pairs.csv")) == 5


def test_without_another_system_there_is_no_table_of_comparisons(cells, tmp_path):
    alone = cells[cells["variant"] == cells["variant"].iloc[0]]
    alone.to_csv(tmp_path / "cells.csv", index=False)
    assert main([str(tmp_path)]) == 0
    assert len(pd.read_csv(tmp_path / "stated.csv")) > 0
    assert not (tmp_path / "pairs.csv").exists()
