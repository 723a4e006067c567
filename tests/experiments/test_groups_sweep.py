from pathlib import Path

import pandas as pd

from groups import FIELDS, read_cells, write_tables

SOURCE = Path(__file__).parents[2] / "experiments" / "groups.yaml"


def rows_of(cells, accuracy):
    """Return one row per fit, with an accuracy by variant."""
    found = dict.fromkeys(FIELDS, 0.0)
    return pd.DataFrame(
        [
            {
                **found, "task": cell.task.name, "variant": cell.variant, "seed": cell.seed,
                "accuracy": accuracy(cell), "feasible": True,
            }
            for cell in cells
        ]
    )  # fmt: skip


def expected(cell):
    return (cell.task.expected or {}).get(cell.variant, 0.8)


def test_every_task_is_fitted_with_each_variant_and_seed():
    cells = read_cells(SOURCE)
    assert len({cell.key for cell in cells}) == len(cells) == 3 * (2 * 3 + 3 * 2)
    assert {cell.seconds for cell in cells} == {30.0}


def test_the_exit_code_says_whether_the_accuracies_are_as_expected(tmp_path):
    cells = read_cells(SOURCE)
    assert write_tables(rows_of(cells, expected), cells, tmp_path) == 0
    assert "| adult_race_eo | auto | 0.868 |" in (tmp_path / "tables.md").read_text()
    far = rows_of(cells, lambda c: expected(c) - 0.006 * (c.variant == "auto"))
    assert write_tables(far, cells, tmp_path) == 1
    costly = rows_of(cells, lambda c: expected(c) - 0.004 * (c.variant == "stray"))
    assert write_tables(costly, cells, tmp_path) == 1
