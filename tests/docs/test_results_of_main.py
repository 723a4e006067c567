"""The tables that people read about the long sweep are those of its committed files."""

from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "results" / "main"
BENCHMARKS = ROOT / "docs" / "benchmarks.md"
MARGIN = "+margin"
NAMES = {
    "fairautoml": "fairautoml",
    "FairGBM, random search": "fairgbm_random_search",
    "FLAML + our exact thresholds": "flaml_exact_thresholds",
    "FLAML + fairlearn's ThresholdOptimizer": "flaml_threshold_optimizer",
    "AutoGluon + OxonFair": "oxonfair_autogluon",
    "Optuna, as an expert would use it": "optuna_expert",
    "oracle-guardian-ai": "guardian_bias_mitigator",
    "mljar-supervised with its fairness": "mljar_compete",
}


def rows_of(page, start):
    """Return the cells of the rows of the table whose heading begins so."""
    lines = page.read_text().splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith(start)) + 2
    end = next(at for at in range(first, len(lines)) if not lines[at].startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[first:end]]


def table(name):
    return pd.read_csv(MAIN / f"{name}.csv").set_index("variant")


def between(row, name, low, high, form):
    return f"{row[name]:{form}} [{row[low]:{form}}, {row[high]:{form}}]"


def number(value, form):
    return "-" if pd.isna(value) else f"{value:{form}}"


@pytest.mark.parametrize("page", [ROOT / "README.md", BENCHMARKS])
def test_every_row_of_a_page_is_that_of_the_systems(page):
    systems, ranks = table("systems"), table("ranks")
    row_of = {variant.removesuffix(MARGIN): variant for variant in systems.index}
    shown = rows_of(page, "| system | mean rank of 8 |")
    assert len(shown) == len(NAMES)
    for name, rank, accuracy, met in shown:
        variant = row_of[NAMES[name]]
        row = systems.loc[variant]
        assert rank == between(row, "rank", "rank_low", "rank_high", ".2f")
        assert accuracy == f"{row['strict_fair_accuracy']:.3f}"
        assert met == f"{100 * ranks.loc[variant, 'within_limit']:.0f} %"
