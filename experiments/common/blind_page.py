"""What a blind model costs: its cells beside those of ``results/main`` that may read the group.

``python -m fairautoml.bench.peers experiments/common/blind_page.py results`` writes
``blind/README.md``.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from common.main_page import markdown
from fairautoml.bench.tables import BLOCK
from fairautoml.bench.tasks import read_rows

PAGE = """# What a model without the group columns costs

```sh
fairautoml bench experiments/blind.yaml --out results/blind --resume --jobs 2
python -m fairautoml.bench.peers experiments/common/blind_page.py results
```

`fairautoml fit --blind`: the sensitive column is read in training only, by neither features nor
rule. Seven large tables, demographic parity and equalized odds at 0.05, 30 s and one core; the
runs that may read the group are those of [results/main](../main/README.md) on the same rows.
Accuracy and gap on the held-out rows. Two cores (AMD EPYC).

{table}

The mean difference in accuracy is {mean:+.4f} (standard error {error:.4f} over the tasks). The
bound was met in {met} of {n} blind runs, and in {others} of the others. One seed: single
differences are within the spread of seeds. Other systems without the group were not run again.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, help="the folder results")
    folder = parser.parse_args(argv).folder
    shown = ["holdout.accuracy", "holdout.gap", "holdout.excess"]
    blind, main_cells = (read_rows(folder / name / "cells.csv") for name in ("blind", "main"))
    usual = main_cells[main_cells["variant"] == "fairautoml"]
    pairs = blind.set_index(BLOCK)[shown].join(usual.set_index(BLOCK)[shown], rsuffix=" usual")
    pairs = pairs.apply(pd.to_numeric)
    apart = pairs["holdout.accuracy"] - pairs["holdout.accuracy usual"]
    rows = [
        ["task", "may read the group: accuracy", "gap", "blind: accuracy", "gap", "difference"]
    ]
    rows += [
        [
            str(key[0]), f"{row['holdout.accuracy usual']:.4f}", f"{row['holdout.gap usual']:.3f}",
            f"{row['holdout.accuracy']:.4f}", f"{row['holdout.gap']:.3f}", f"{apart[key]:+.4f}",
        ]
        for key, row in pairs.iterrows()
    ]  # fmt: skip
    met = [int((pairs[f"holdout.excess{which}"] <= 0).sum()) for which in ("", " usual")]
    text = PAGE.format(
        table=markdown(rows), mean=apart.mean(), error=apart.sem(), n=len(pairs), met=met[0],
        others=met[1],
    )  # fmt: skip
    (folder / "blind" / "README.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
