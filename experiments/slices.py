"""Ask which planted slices the tree of an audit finds, and which its hierarchy of clusters.

``python experiments/slices.py --out results/slices`` writes ``found.csv`` and ``README.md``; about
a minute.
"""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from common.shared_tables import machine
from fairautoml.auditing.rows import AuditReadOptions, Given, read_rows
from fairautoml.auditing.slices import slice_rows
from fairautoml.metrics.rates import SELECTION

N_ROWS, GAP, LEVEL = 6_000, 0.3, 0.05
WAYS = {"tree": 3, "hierarchy": "hierarchy"}
Planted = tuple[pd.DataFrame, NDArray[np.bool_]]


def cluster(rng: np.random.Generator) -> Planted:
    """Return rows of which 13 % are alike in nine columns."""
    planted = rng.random(N_ROWS) < 0.13
    X = rng.random((N_ROWS, 9))
    X[planted] = rng.uniform(0.2, 0.8, 9) + 0.12 * rng.normal(size=(planted.sum(), 9))
    return pd.DataFrame(X, columns=list("abcdefghi")), planted


def oblique(rng: np.random.Generator) -> Planted:
    """Return normal rows of one common factor; those where it is high are the slice."""
    factor = rng.normal(size=N_ROWS)
    X = factor[:, None] + rng.normal(size=(N_ROWS, 9))
    return pd.DataFrame(X, columns=list("abcdefghi")), X.sum(axis=1) > np.quantile(X.sum(1), 0.87)


def box(rng: np.random.Generator) -> Planted:
    """Return rows of which a number and a category bound the slice."""
    X = pd.DataFrame(rng.random((N_ROWS, 4)), columns=list("abcd"))
    X["job"] = rng.choice(["x", "y", "z"], N_ROWS)
    return X, ((X["a"] > 0.6) & (X["job"] == "y")).to_numpy()


SHAPES: dict[str, Callable[[np.random.Generator], Planted]] = {
    "dense cluster": cluster, "oblique": oblique, "box": box,
}  # fmt: skip


def has_finding(shape: str, gap: float, way: str, seed: int) -> bool:
    """Return whether a slice has a gap whose joint interval is above 0."""
    rng = np.random.default_rng(seed)
    X, planted = SHAPES[shape](rng)
    sex = rng.choice(["F", "M"], N_ROWS)
    accepted = rng.random(N_ROWS) < 0.5 - gap * (planted & (sex == "F"))
    given = Given(y_true=None, y_pred=accepted.astype(int), sensitive=pd.Series(sex, name="sex"))
    rows = read_rows(given, AuditReadOptions())
    found = slice_rows(rows, X, [SELECTION], rows.systems, LEVEL, most=WAYS[way], seed=seed)
    return any(row.interval.low > 0 for row in found)


PAGE = """# Planted slices: the tree or the hierarchy

**Question.** Which kinds of slices does `audit(slices=3)` find, which `audit(slices="hierarchy")`?

{seeds} tables (seeds 0 to {last}) of {rows:,} rows per kind; one sex of the slice is selected
less often by {gap:g}, elsewhere both are selected alike. Found: a slice is reported whose
interval, which holds jointly at {level:g} %, is above 0. In brackets the 95 % Clopper-Pearson
interval of the share. No slice: the same tables without the difference, where every finding is a
false one.

- dense cluster: 13 % of the rows, alike in nine columns. oblique: 13 % of the rows, those with the
  largest sum of nine correlated columns. box: a number above .6 and one of three categories.

| slice | way | found | no slice, found |
|---|---|---|---|
{lines}

**Answer.** Found more often: {answer}.

Command: `python experiments/slices.py --out results/slices`, on {machine}.
"""


def share(values: "pd.Series[bool]") -> str:
    """Return a share with its interval."""
    from fairautoml.certification.bounds import cp_lower, cp_upper

    x, n = int(values.sum()), len(values)
    low, high = float(cp_lower(x, n, 0.025)), float(cp_upper(x, n, 0.025))
    return f"{x / n:.2f} ({low:.2f} to {high:.2f})"


def page(found: pd.DataFrame) -> str:
    """Return the page."""
    lines, best = [], []
    for shape in SHAPES:
        rates = {}
        for way in WAYS:
            part = found[(found["slice"] == shape) & (found["way"] == way)]
            planted = part.loc[part["gap"] > 0, "found"]
            rates[way] = planted.mean()
            none = share(part.loc[part["gap"] == 0, "found"])
            lines.append(f"| {shape} | {way} | {share(planted)} | {none} |")
        best.append(f"{shape} by the {max(rates, key=lambda way: rates[way])}")
    seeds = found["seed"].nunique()
    return PAGE.format(
        seeds=seeds, last=seeds - 1, rows=N_ROWS, gap=GAP, level=100 * (1 - LEVEL),
        lines="\n".join(lines), answer="; ".join(best),
        machine=machine(),
    )  # fmt: skip


def main() -> None:
    """Search all tables and write the findings and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=40)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    found = [
        {"slice": shape, "gap": gap, "way": way, "seed": seed,
         "found": has_finding(shape, gap, way, seed)}
        for shape in SHAPES for gap in (GAP, 0.0) for way in WAYS
        for seed in range(arguments.seeds)
    ]  # fmt: skip
    with (arguments.out / "found.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*found[0]])
        writer.writeheader()
        writer.writerows(found)
    (arguments.out / "README.md").write_text(page(pd.DataFrame(found)), encoding="utf-8")


if __name__ == "__main__":
    main()
