from pathlib import Path

import pandas as pd

from first_aid import compared, junk_cost

FOLDER = Path(__file__).parents[2] / "results" / "first_aid"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
BEFORE, AFTER = (pd.read_csv(FOLDER / f"{name}.csv") for name in ("before", "after"))


def test_the_page_states_the_accuracies_and_their_paired_differences():
    table = compared(BEFORE, AFTER)
    for row in table[table["variant"] == "clean"].itertuples():
        means = f"{row.before:.4f} | {row.after:.4f}"
        between = f"{row.difference:.4f} [{row.least:.4f}, {row.most:.4f}]"
        met = f"{row.met_before}, {row.met_after}"
        assert f"| {means} | {between} |" in PAGE
        assert any(between in line and f"| {met} |" in line for line in PAGE.splitlines())


def test_a_junk_row_costs_at_most_0_003_of_accuracy_and_the_page_says_what():
    cost = junk_cost(AFTER).set_index("table").drop(columns="metric")
    assert cost.abs().to_numpy().max() <= 0.003
    for values in cost.to_numpy():
        assert ", ".join(f"{value:.4f}" for value in values) in PAGE
