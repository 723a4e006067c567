"""Tables of the committed comparisons beside the ranks of variants."""

import pandas as pd
import pytest

from common.comparison import main, volumes, write_comparison, write_tables
from common.measures import all_ranks
from fairautoml.bench.cell import CellRecord
from fairautoml.bench.page import write_report


def cell(question, variant, seed, accuracy, excess=-0.01, *, outcome="done"):
    found = {"question": question, "variant": variant, "seed": seed, "outcome": outcome}
    if outcome == "failed":
        return found
    return found | {
        "task": f"{question}-{variant}",
        "reason": "",
        "status": "feasible",
        "holdout.accuracy": accuracy,
        "holdout.excess": excess,
        "holdout.gap": excess + 0.05,
        "holdout.majority": 0.6,
    }


def ranked(*cells):
    return all_ranks(pd.DataFrame(cells)).set_index("variant")


def test_the_normalized_accuracy_is_0_for_the_majority_and_1_for_the_oracle():
    found = ranked(
        cell("q", "a", 0, 0.9) | {"oracle": 0.9},
        cell("q", "b", 0, 0.75) | {"oracle": 0.9},
        cell("q", "c", 0, 0.95, 0.1) | {"oracle": 0.9},
        cell("p", "a", 0, 0.8), cell("p", "b", 0, 0.8), cell("p", "c", 0, 0.8),
    )  # fmt: skip
    assert found["normalized"].to_dict() == pytest.approx({"a": 1.0, "b": 0.5, "c": 0.0})


def test_where_the_oracle_is_hardly_above_the_majority_nothing_is_normalized():
    found = ranked(
        cell("q", "a", 0, 0.9) | {"oracle": 0.9}, cell("q", "b", 0, 0.75) | {"oracle": 0.9},
        cell("p", "a", 0, 0.55) | {"oracle": 0.605}, cell("p", "b", 0, 0.6) | {"oracle": 0.605},
    )  # fmt: skip
    assert found["normalized"].to_dict() == pytest.approx({"a": 1.0, "b": 0.5})


def test_without_an_oracle_nothing_is_normalized():
    assert ranked(cell("q", "a", 0, 0.9), cell("q", "b", 0, 0.8))["normalized"].isna().all()


def test_our_front_is_set_against_the_best_other_one_table_by_table():
    def fronted(question, variant, accuracy, system=None):
        front = {"holdout_front": f"[[{accuracy}, 0.0]]", "system": system}
        return cell(question, variant, 0, accuracy) | front | {"dataset": question[0]}

    cells = [
        fronted("t_dp", "ours", 0.8),
        fronted("t_eo", "ours", 0.9),
        fronted("t_dp", "ours_small", 0.99),
        fronted("t_eo", "ours_small", 0.99),
        fronted("t_dp", "p", 0.7, "p"),
        fronted("t_eo", "p", 0.9, "p"),
        fronted("t_dp", "r", 0.75, "r"),
        fronted("t_eo", "r", 0.75, "r"),
        fronted("u", "ours", 0.7),
        fronted("u", "p", 0.8, "p"),
        cell("u", "r", 0, 0.9, outcome="failed"),
    ]
    found = volumes(pd.DataFrame(cells)).set_index("table")
    assert found["other"].to_dict() == {"t": "p", "u": "p"}
    assert found["ours_first"].tolist() == [True, False]
    assert found.loc["t", "hypervolume"] == pytest.approx(0.25)
    assert found.loc["t", "other_hypervolume"] == pytest.approx(0.2)
    assert volumes(pd.DataFrame(cells).drop(columns="system")).empty


def record(variant, seed, needs_sensitive):
    entry = {"needs_sensitive": needs_sensitive}
    held = {"accuracy": 0.8, "gap": 0.04, "excess": -0.01, "majority": 0.6}
    return CellRecord(
        task=f"q-{variant}", question="q", variant=variant, seed=seed, outcome="done", reason="",
        arguments=() if needs_sensitive else ("--blind",), exit_code=0, wall_seconds=1.0,
        result={"status": "feasible", "entry": entry, "holdout": held},
    )  # fmt: skip


def test_leagues_of_a_sweep_are_in_its_tables_and_on_its_page(tmp_path):
    records = [record(v, s, needs) for v, needs in (("a", True), ("b", False)) for s in (0, 1)]
    write_tables(records, tmp_path)
    table = pd.read_csv(tmp_path / "leagues.csv")
    assert dict(zip(table["variant"], table["league"], strict=True)) == {
        "a": "aware, deterministic", "b": "blind, deterministic",
    }  # fmt: skip
    assert "| blind, deterministic | b |" in (tmp_path / "summary.md").read_text()
    (tmp_path / "manifest.json").write_text('{"sweep": "s"}')
    assert "Within leagues" in write_report(tmp_path)[0].read_text()


def test_all_tables_can_be_made_anew_from_the_cells_alone(tmp_path):
    write_tables([record(v, s, v == "a") for v in "ab" for s in (0, 1)], tmp_path)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert {"ranks.csv", "leagues.csv", "summary.csv", "summary.md"} < set(before)
    for name in set(before) - {"cells.csv"}:
        (tmp_path / name).unlink()
    assert main([str(tmp_path)]) == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_the_page_has_one_row_per_system(tmp_path):
    cells = [
        cell("q", variant, 0, accuracy) | {"system": system, "dataset": "t", "exit_code": 0}
        for variant, accuracy, system in (
            ("fairautoml", 0.9, None),
            ("theirs", 0.7, "theirs"),
            ("theirs+margin", 0.8, "theirs"),
        )
    ]
    write_comparison(pd.DataFrame(cells), tmp_path)
    pd.DataFrame(cells).to_csv(tmp_path / "cells.csv")
    (tmp_path / "manifest.json").write_text('{"sweep": "s"}')
    page = write_report(tmp_path)[0].read_text()
    table = page[page.index("One row per system") :]
    table = table[: table.index("</table>")]
    assert table.count("<tr>") == 3
    assert "margin<" in table
