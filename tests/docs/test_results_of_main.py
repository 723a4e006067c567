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
    "fairlearn's ExponentiatedGradient over LightGBM": "fairlearn_exponentiated_gradient",
    "FLAML, best feasible": "flaml_best_feasible",
    "mljar-supervised with its fairness": "mljar_perform",
    "FLAML without constraint": "flaml_unconstrained",
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


@pytest.mark.parametrize(("page", "n_rows"), [(ROOT / "README.md", 5), (BENCHMARKS, len(NAMES))])
def test_every_row_of_a_page_is_that_of_the_systems(page, n_rows):
    systems, ranks = table("systems"), table("ranks")
    row_of = {variant.removesuffix(MARGIN): variant for variant in systems.index}
    shown = rows_of(page, "| system | mean rank of 17 |")
    assert len(shown) == n_rows
    for name, rank, accuracy, met in shown:
        variant = row_of[NAMES[name]]
        row = systems.loc[variant]
        assert rank == between(row, "rank", "rank_low", "rank_high", ".2f")
        assert accuracy == f"{row['strict_fair_accuracy']:.3f}"
        assert met == f"{100 * ranks.loc[variant, 'within_limit']:.0f} %"


def test_every_row_of_the_results_is_that_of_the_systems():
    systems, ranks = table("systems"), table("ranks")
    shown = rows_of(MAIN / "README.md", "| system | rank of 17 ")
    assert [cells[0].strip("*") for cells in shown] == systems.index.tolist()
    for name, rank, behind, accuracy, less, p, met, excess, at_limit, front in shown:
        variant = name.strip("*")
        row, all_rows = systems.loc[variant], ranks.loc[variant]
        own = ranks.loc[variant.removesuffix(MARGIN)]
        assert rank == between(row, "rank", "rank_low", "rank_high", ".2f")
        assert accuracy == f"{row['strict_fair_accuracy']:.4f}"
        assert met == f"{100 * all_rows['within_limit']:.0f} %"
        assert excess == f"{all_rows['mean_excess']:.4f}"
        assert at_limit == number(own["at_limit"], ".4f")
        assert front == number(own["front_value"], ".4f")
        if variant != "fairautoml":
            assert behind == between(row, "behind", "behind_low", "behind_high", "+.2f")
            assert less == between(row, "difference", "low", "high", "+.4f")
            assert p == f"{row['p_holm']:.2g}"


def test_ranks_by_seed_are_those_of_the_parts():
    parts = pd.read_csv(MAIN / "parts.csv")
    shown = rows_of(MAIN / "README.md", "| seed | rank of ours")
    seeds = parts.loc[parts["part"].str.startswith("seed "), "part"].unique()
    assert len(shown) == len(seeds)
    for seed, rank, following, accuracy, largest in shown:
        part = parts[parts["part"] == f"seed {seed.split(',')[0]}"]
        own, others = (part[(part["variant"] == "fairautoml") == ours] for ours in (True, False))
        assert rank == f"{own['rank'].item():.2f}"
        assert following.split()[0] == f"{others['rank'].min():.2f}"
        assert accuracy == f"{own['strict_fair_accuracy'].item():.4f}"
        assert largest.split()[0] == f"{others['strict_fair_accuracy'].max():.4f}"


def test_what_is_said_of_small_and_large_tables_is_that_of_the_parts():
    parts = pd.read_csv(MAIN / "parts.csv").set_index(["part", "variant"])
    stated = pd.read_csv(MAIN / "stated.csv").set_index(["part", "variant"])
    pages = [" ".join(p.read_text().split()) for p in (BENCHMARKS, MAIN / "README.md")]
    for part in ("small tables", "large tables"):
        own = stated.loc[(part, "fairautoml")]
        runs = int(own["runs"])
        missed = f"{runs - int(own['met'])} of {runs}"
        assert all(f"{parts.loc[(part, 'fairautoml'), 'rank']:.2f}" in page for page in pages)
        assert all(missed in page for page in pages)
        assert f"{own['stated']:.1f} of {runs}" in pages[1]


def test_what_is_said_of_ours_with_a_tenth_of_the_time_is_that_of_the_pairs():
    pairs = pd.read_csv(MAIN / "pairs.csv").set_index(["part", "ours"])
    own = pairs.loc[("all tables", "fairautoml_tenth")].set_index("variant")
    own = own.set_axis(own.index.str.removesuffix(MARGIN)).sort_values("at_least")
    page = " ".join((MAIN / "README.md").read_text().split())
    for system, words in (
        (
            "flaml_exact_thresholds",
            "FLAML with our thresholds {at_least:.0f} % (95 % interval {low:.0f} to {high:.0f}, ",
        ),
        ("fairgbm_random_search", "FairGBM {at_least:.0f} % ({low:.0f} to {high:.0f})"),
        (
            "flaml_threshold_optimizer",
            "ThresholdOptimizer {at_least:.0f} % ({low:.0f} to {high:.0f})",
        ),
        ("oxonfair_autogluon", "OxonFair {at_least:.0f} % ({low:.0f} to {high:.0f})"),
    ):
        shares = 100 * own.loc[system, ["at_least", "low", "high"]].astype(float)
        assert words.format(**shares) in page
    assert own["at_least"].min() > 0.5
    assert f"every other system {100 * own['at_least'].iloc[4]:.0f} % or more" in page
