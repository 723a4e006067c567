"""The tables that people read about the long sweep are those of its committed files."""

import re
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "results" / "main"
NAMES = {
    "fairautoml": "fairautoml",
    "fairautoml, without the group column": "fairautoml_blind",
    "fairautoml with 3 s instead of 30": "fairautoml_tenth",
    "FairGBM, random search, with our margin": "fairgbm_random_search+margin",
    "FLAML + our exact thresholds, with our margin": "flaml_exact_thresholds+margin",
    "FLAML + fairlearn's ThresholdOptimizer": "flaml_threshold_optimizer",
    "AutoGluon + OxonFair, with our margin": "oxonfair_autogluon+margin",
    "Optuna, as an expert would use it, with our margin": "optuna_expert+margin",
    "FLAML, best feasible": "flaml_best_feasible",
    "fairlearn's GridSearch over LightGBM": "fairlearn_grid_search",
    "mljar-supervised with its fairness": "mljar_perform",
}


def rows_of(page, heading):
    """Return the cells of the rows of the table under a heading line."""
    lines = page.read_text().splitlines()
    start = lines.index(heading) + 2
    end = next(at for at in range(start, len(lines)) if not lines[at].startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:end]]


def ranks():
    return pd.read_csv(MAIN / "ranks.csv").set_index("variant")


def rank_of(row):
    return f"{row['rank']:.2f} [{row['rank_low']:.2f}, {row['rank_high']:.2f}]"


def test_every_row_of_the_readme_is_that_of_the_ranks():
    found = ranks()
    heading = "| system | mean rank | strict fair accuracy | bound met on held-out rows |"
    table = rows_of(ROOT / "README.md", heading)
    assert len(table) == len(NAMES)
    for name, rank, accuracy, met in table:
        row = found.loc[NAMES[name]]
        assert rank == rank_of(row)
        assert accuracy == f"{row['strict_fair_accuracy']:.3f}"
        assert met == f"{100 * row['within_limit']:.0f} %"


def test_every_row_of_the_results_is_that_of_the_ranks():
    found = ranks()
    paired = pd.read_csv(MAIN / "versus.csv").query("reference == 'fairautoml'")
    differences = paired.set_index("variant")
    heading = next(
        line
        for line in (MAIN / "README.md").read_text().splitlines()
        if line.startswith("| system |")
    )
    for name, rank, accuracy, less, met, front, used in rows_of(MAIN / "README.md", heading):
        variant = name.strip("*")
        row = found.loc[variant]
        assert rank == rank_of(row)
        assert accuracy == f"{row['strict_fair_accuracy']:.4f}"
        assert met == f"{100 * row['within_limit']:.0f} %"
        assert used == f"{row['budget_used']:.2f}"
        volume = found.loc[variant.removesuffix("+margin"), "front_value"]
        assert front == ("-" if pd.isna(volume) else f"{volume:.4f}")
        if variant != "fairautoml":
            apart = differences.loc[variant]
            numbers = (apart["difference"], apart["low"], apart["high"])
            assert less == "{:+.4f} [{:+.4f}, {:+.4f}]".format(*numbers)


def test_the_table_of_the_results_has_the_better_row_of_every_system():
    found = ranks()
    ours = [name for name in found.index if name.startswith("fairautoml")]
    others = found.drop(index=ours)
    system = others.index.str.removesuffix("+margin")
    better = others.groupby(system)["rank"].idxmin().tolist()
    shown = re.findall(
        r"^\| \**([a-z_]+(?:\+margin)?)\** \|", (MAIN / "README.md").read_text(), re.M
    )
    assert sorted(name for name in shown if name != "system") == sorted([*ours, *better])
