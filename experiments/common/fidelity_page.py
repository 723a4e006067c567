"""What encodings and the ladder of fidelities gain at 30 s, from the cells of two sweeps.

``python -m fairautoml.bench.peers experiments/common/fidelity_page.py results`` reads
``fidelity/before.csv``, ``fidelity/cells.csv`` (the encodings alone) and ``main/cells.csv``, and
writes ``fidelity/pairs.csv``, ``fidelity/fidelity.svg`` and ``fidelity/README.md``.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from common.main_page import markdown
from fairautoml.bench.tables import (
    fronts,
    interval_of_mean,
    mean_over_questions,
    numbers,
    strict_fair_accuracy,
    tables_of,
)
from fairautoml.bench.tasks import read_rows

BOUND = 0.05
NAMES = {
    "before": "before", "flat": "encodings", "fairautoml": "encodings and ladder",
    "flaml_exact_thresholds": "FLAML + our thresholds", "fairgbm_random_search": "FairGBM",
}  # fmt: skip
SHOWN = tuple(name for name in NAMES if name != "flat")
PAIRS = (("before", "flat"), ("before", "fairautoml"), ("flat", "fairautoml"))
MEASURES = {"strict": "strict fair accuracy", "at_bound": "accuracy of the front at the bound"}

PAGE = """# Encodings and fidelities: what they gain in 30 s

```sh
fairautoml bench experiments/fidelity.yaml --out results/fidelity --resume --jobs 2
python -m fairautoml.bench.peers experiments/common/fidelity_page.py results
```

30 s and one core per run, bound 0.05, the same held-out rows in every column. *Before* are runs of
22 and 23 November (commits 7cd3e82 to e97bd9a, `before.csv`): native categories, all five folds
for every trial, an earlier margin. *Encodings* is the version of f03c7b01 with `allocator="flat"`,
three seeds; *encodings and ladder* the defaults of the version in
[results/main](../main/README.md), as are FLAML and FairGBM, three seeds and ten on the small
tables. Means over seeds, then over both metrics. Differences are paired over the seeds that both
have, with 95 % intervals that resample tables, then seeds (of a single table its seeds). *Strict
fair accuracy* is that of the majority class where the held-out gap exceeds the bound, so that one
run more or less within the bound moves it by up to .3; *accuracy of the front at the bound* has no
such jumps.

![Accuracy of the front at the bound, minus that before, by table](fidelity.svg)

{tables}
Bound met on held-out rows: {met}.
{words}"""


def measured(folder: Path) -> pd.DataFrame:
    """Return one row per run: question, seed, dataset, variant and the measures."""
    present = read_rows(folder / "main" / "cells.csv")
    here = [read_rows(folder / "fidelity" / f"{name}.csv") for name in ("before", "cells")]
    here[0] = here[0].assign(variant="before")
    found = []
    for cells in (*here, present):
        known = cells[["question", "seed", "dataset", "variant"]].assign(
            strict=strict_fair_accuracy(cells),
            met=numbers(cells, "holdout.excess") <= 0,
            at_bound=[at_bound(front or []) for front in fronts(cells)],
        )
        found.append(known[known["variant"].isin(list(NAMES))])
    return pd.concat(found, ignore_index=True)


def at_bound(front: Sequence[Sequence[float | None]]) -> float:
    """Return the best held-out accuracy of a front within the bound, NaN if there is none."""
    within = [a for a, gap in front if a is not None and gap is not None and gap <= BOUND]
    return max(within, default=np.nan)


def blocks_of(rows: pd.DataFrame, measure: str, *names: str) -> pd.DataFrame:
    """Return one row per question and seed that the variants have, one column per variant."""
    wide = rows.pivot_table(index=["question", "seed"], columns="variant", values=measure)
    return wide[list(names)].dropna()


def dataset_of(blocks: pd.DataFrame, datasets: "pd.Series[str]") -> NDArray[np.object_]:
    """Return the dataset of each block."""
    return datasets.reindex(blocks.index.get_level_values("question")).to_numpy(dtype=object)


def table_of(rows: pd.DataFrame, measure: str) -> str:
    """Return the means by table, and the paired differences."""
    datasets = tables_of(rows)
    found = [[
        MEASURES[measure], *(NAMES[name] for name in SHOWN), "encodings minus before",
        "ladder minus before", "ladder minus encodings",
    ]]  # fmt: skip
    for name in (*dict.fromkeys(rows["dataset"]), "all"):
        own = rows if name == "all" else rows[rows["dataset"] == name]
        means = mean_over_questions(blocks_of(own, measure, *SHOWN))
        # Of a single table the seeds are resampled, of all tables these too.
        questions = own["question"].unique()
        by = datasets if name == "all" else pd.Series(questions, questions)
        pairs = [blocks_of(own, measure, *pair) for pair in PAIRS]
        differences = [apart(blocks, by) for blocks in pairs]
        found.append([str(name), *(f"{value:.4f}" for value in means), *differences])
    return markdown(found)


def apart(blocks: pd.DataFrame, by: "pd.Series[str]") -> str:
    """Return the difference of the second variant from the first one, with its interval."""
    difference = (blocks.iloc[:, 1] - blocks.iloc[:, 0]).to_frame()
    low, high = interval_of_mean(difference, by)[:, 0]
    return f"{mean_over_questions(difference).iloc[0]:+.4f} [{low:+.4f}, {high:+.4f}]"


def draw(rows: pd.DataFrame, file: Path) -> None:
    """Draw the accuracy at the bound minus that before, for each run and table."""
    blocks = blocks_of(rows, "at_bound", *NAMES)
    datasets = dataset_of(blocks, tables_of(rows))
    figure = Figure(figsize=(7.5, 3.2), layout="constrained")
    axes = figure.subplots()
    names = list(dict.fromkeys(datasets))
    for shift, variant in ((-0.15, "flat"), (0.15, "fairautoml")):
        gain: NDArray[np.float64] = (blocks[variant] - blocks["before"]).to_numpy()
        at = np.array([names.index(name) for name in datasets], dtype=float)
        points = axes.plot(at + shift, gain, "o", alpha=0.5, label=NAMES[variant])
        means = [gain[at == place].mean() for place in range(len(names))]
        axes.plot(
            np.arange(len(names)) + shift, means, "_", markersize=18, color=points[0].get_color()
        )
    axes.axhline(0.0, color="grey", linewidth=1)
    axes.set_xticks(range(len(names)), names, fontsize=8, rotation=20, ha="right")
    axes.set_ylabel("minus before")
    axes.legend(frameon=False)
    figure.savefig(file, metadata={"Date": None})


def main(argv: Sequence[str] | None = None) -> int:
    """Write the picture and the page; text below its last figures is kept."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, help="the folder results")
    folder = parser.parse_args(argv).folder
    rows, page = measured(folder), folder / "fidelity" / "README.md"
    rows = rows[rows["question"].isin(rows.loc[rows["variant"] == "flat", "question"])]
    draw(rows, folder / "fidelity" / "fidelity.svg")
    met = blocks_of(rows.assign(met=rows["met"].astype(float)), "met", *SHOWN)
    text = PAGE.format(
        tables="\n\n".join(table_of(rows, measure) for measure in MEASURES) + "\n",
        met=", ".join(f"{NAMES[n]} {met[n].sum():.0f} of {len(met)}" for n in SHOWN),
        words=page.read_text(encoding="utf-8").partition("Bound met")[2].partition("\n")[2]
        if page.is_file() else "",
    )  # fmt: skip
    page.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
