"""Page of the comparison with other systems: tables from the files of a finished sweep.

``python -m fairautoml.bench.peers experiments/common/main_page.py experiments/main.yaml
results/main`` writes ``README.md``, also for ``main_120`` and ``main_cores``; text below its last
table is kept. ``parts.py`` and ``expected.py`` are run first.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from common import expected, parts
from fairautoml.bench.tasks import read_rows

OURS, MARGIN = "fairautoml", "+margin"

INTRO = {
    "main": """# This library and seven other systems: ten tables, twenty tasks, three to ten seeds

```sh
python experiments/peers/_environments.py
tar -xJf results/main/records.tar.xz -C results/main
fairautoml bench experiments/main.yaml --out results/main --resume --jobs 2 --report
python -m fairautoml.bench.peers experiments/common/main_page.py experiments/main.yaml results/main
```

{n_cells:,} runs: three seeds of twenty tasks, ten of the six tasks on the three small tables
(compas, german, MEPS). The tables are adult (sex), compas (two races), german (sex), bank
marketing (age <= 25), MEPS (race), Dutch census (sex), ACS income (sex), ACS coverage (four
races), HMDA (three races) and KDD census (sex), each under demographic parity and equalized odds
at 0.05. 30 s and one thread for every system, two systems at a time on {machine}; 30 % of the rows
are held out.
`fairautoml` runs with its defaults, `fairautoml_tenth` with 3 s.""",
    "main_120": """# This library and four other systems at 120 s: two large tables, two seeds

```sh
python experiments/peers/_environments.py
tar -xJf results/main_120/records.tar.xz -C results/main_120
fairautoml bench experiments/main_120.yaml --out results/main_120 --resume --jobs 2 --report
python -m fairautoml.bench.peers experiments/common/main_page.py experiments/main_120.yaml \\
  results/main_120
```

{n_cells:,} runs: ACS income (sex) and ACS coverage (four races), 100,000 rows each, under
demographic parity and equalized odds at 0.05, two seeds. The systems are those that were best at
30 s ([results/main](../main/README.md)). 120 s and one thread for every system, two systems at a
time on {machine}; 30 % of the rows are held out. `fairautoml` runs with its defaults,
`fairautoml_tenth` with 12 s.""",
    "main_cores": """# This library and four other systems with all cores: seven large tables

```sh
python experiments/peers/_environments.py
tar -xJf results/main_cores/records.tar.xz -C results/main_cores
fairautoml bench experiments/main_cores.yaml --out results/main_cores --resume --report
python -m fairautoml.bench.peers experiments/common/main_page.py experiments/main_cores.yaml \\
  results/main_cores
```

{n_cells:,} runs: the fourteen tasks on large tables of [results/main](../main/README.md), with its
first seed, its rows and its bound. There every system has one core, here all of them (`n_jobs` of
this library, FLAML and LightGBM, `num_cpus` of AutoGluon), one system at a time on {machine}. The
systems are those with the best ranks on large tables there. 30 s for every system; 30 % of the
rows are held out. `fairautoml` runs with its defaults, `fairautoml_tenth` with 3 s.""",
}

PAGE = """{intro} Our runs are of commit {commit};
those of the other systems, which do not change with this library, were kept from earlier runs on
machines of the same kind ({others}). Every other system that exposes its candidates has a second
row, in which our margin selects among them (`+margin`); the tables show its row with the larger
strict fair accuracy.

Two questions, stated before the runs:

- **Strict fair accuracy** on the held-out rows: the accuracy where the measured gap is within the
  bound, that of the majority class where it is not.
- **Worth**: the expected strict fair accuracy on new samples as large as the hold-out, by 4,000
  draws from the measured rates, so that a gap just within the bound counts less.

Intervals are 95 % and resample tables, then seeds; differences are paired.

{systems}

{by_size}{cores}*Stated* is the sum of the probabilities, stated after the search, that the bound
holds in the population:

{stated}

Share of the runs in which `fairautoml_tenth`, with a tenth of the time, is at least as good on the
held-out rows as another system:

{tenth}
{words}"""


def _read(folder: Path, name: str) -> Any:
    return pd.read_csv(folder / f"{name}.csv")


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return a table; the first row is its heading."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def between(row: Any, names: tuple[str, str, str], form: str) -> str:
    """Return a value with its interval."""
    value, low, high = (f"{row[name]:{form}}" for name in names)
    return f"{value} [{low}, {high}]"


def number(value: float, form: str) -> str:
    """Return a number, or a dash if there is none."""
    return "-" if pd.isna(value) else f"{value:{form}}"


def systems_table(folder: Path) -> str:
    """Return one row per system."""
    systems, ranks = (_read(folder, name).set_index("variant") for name in ("systems", "ranks"))
    worth = _read(folder, "expected").query("part == 'all'").set_index("variant")
    rows = [[
        "system", f"rank of {len(systems)}", "rank minus ours", "strict fair accuracy",
        "minus ours", "worth", "minus ours", "bound met", "accuracy at the bound", "hypervolume",
    ]]  # fmt: skip
    for variant, row in systems.iterrows():
        ours, name = variant == OURS, str(variant)
        own = ranks.loc[name.removesuffix(MARGIN)]
        behind = between(row, ("behind", "behind_low", "behind_high"), "+.2f")
        strict, gain = (
            (between(of, ("difference", "low", "high"), "+.4f")) for of in (row, worth.loc[name])
        )
        rows.append([
            f"**{name}**" if ours else name,
            between(row, ("rank", "rank_low", "rank_high"), ".2f"), "" if ours else behind,
            f"{row['strict_fair_accuracy']:.4f}", "" if ours else strict,
            f"{worth.loc[name, 'worth']:.4f}", "" if ours else gain,
            f"{100 * ranks.loc[name, 'within_limit']:.0f} %",
            number(own["at_limit"], ".4f"), number(own["front_value"], ".4f"),
        ])  # fmt: skip
    return markdown(rows)


def by_size_table(folder: Path) -> str:
    """Return rank, accuracy and worth on small and on large tables, or nothing without both."""
    found = _read(folder, "parts").set_index(["part", "variant"])
    if "small tables" not in found.index.levels[0]:
        return ""
    worth = _read(folder, "expected").set_index(["part", "variant"])
    rows = [["system", *(
        f"{size} tables: {what}" for size in ("small", "large")
        for what in ("rank", "strict fair accuracy", "worth")
    )]]  # fmt: skip
    # A system's better row may be another one on other tables.
    names = {v.removesuffix(MARGIN) for part, v in found.index if part.endswith("tables")}
    for name in sorted(
        names, key=lambda n: found.loc[("large tables", _row(found, n, "large tables")), "rank"]
    ):
        cells = []
        for part in ("small tables", "large tables"):
            variant = _row(found, name, part)
            row = found.loc[(part, variant)]
            cells += [
                f"{row['rank']:.2f}", f"{row['strict_fair_accuracy']:.4f}",
                f"{worth.loc[(part, variant), 'worth']:.4f}",
            ]  # fmt: skip
        rows.append([f"**{name}**" if name == OURS else name, *cells])
    return f"{markdown(rows)}\n\n"


def cores_table(folder: Path) -> str:
    """Return accuracies with all cores and with one, nothing for a sweep on one core."""
    if folder.name != "main_cores":
        return ""
    block = ["question", "variant", "seed"]
    alone = read_rows(folder.parent / "main" / "cells.csv")
    both = read_rows(folder / "cells.csv").merge(alone, on=block, suffixes=("", "_alone"))
    rows = [["system", "accuracy, all cores", "one core", "difference (standard error)",
             "bound met, all cores", "one core"]]  # fmt: skip
    for variant in both["variant"].unique().tolist():
        own = both[both["variant"] == variant]
        gain = own["holdout.accuracy"] - own["holdout.accuracy_alone"]
        met = [(own[f"holdout.excess{which}"] <= 0).sum() for which in ("", "_alone")]
        rows.append([
            f"**{variant}**" if variant == OURS else variant,
            f"{own['holdout.accuracy'].mean():.4f}", f"{own['holdout.accuracy_alone'].mean():.4f}",
            f"{gain.mean():+.4f} ({gain.sem():.4f})", *(f"{n} of {len(own)}" for n in met),
        ])  # fmt: skip
    what = "Held-out accuracy, within the bound or not, and that of the same runs with one core:"
    return f"{what}\n\n{markdown(rows)}\n\n"


def _row(found: Any, name: str, part: str) -> str:
    return name if (part, name) in found.index else name + MARGIN


def stated_table(folder: Path) -> str:
    """Return how many of our runs met the bound, and how many were expected to."""
    found = _read(folder, "stated")
    rows = [
        [
            "runs of",
            "runs",
            "bound met on held-out rows",
            "stated",
            "stated .95 or more",
            "of these met",
        ]
    ]
    rows += [
        [
            f"{row.variant}, {row.part}", str(row.runs), str(row.met), f"{row.stated:.1f}",
            str(row.sure), str(row.sure_met),
        ]
        for row in found[found["part"].str.endswith("tables")].itertuples()
    ]  # fmt: skip
    return markdown(rows)


def tenth_table(folder: Path) -> str:
    """Return in how many runs ours with a tenth of the time is at least as good as each other."""
    found = _read(folder, "pairs")
    found = found[(found["part"] == "all tables") & (found["ours"] == f"{OURS}_tenth")]
    rows = [["other system", "at least as good", "95 % interval", "equal"]]
    for row in found.sort_values("at_least").itertuples():
        shares = [f"{100 * share:.0f} %" for share in (row.at_least, row.low, row.high, row.level)]
        rows.append([row.variant, shares[0], f"{shares[1]} to {shares[2]}", shares[3]])
    return markdown(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Write all tables and the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sweep", type=Path, help="YAML file of the sweep")
    parser.add_argument("folder", type=Path, help="folder with the cells.csv of the sweep")
    given = parser.parse_args(argv)
    folder = given.folder
    parts.main([str(folder)])
    expected.main([str(given.sweep), str(folder)])
    cells, page = read_rows(folder / "cells.csv"), folder / "README.md"
    words = page.read_text(encoding="utf-8").rpartition(" |\n")[2] if page.is_file() else ""
    ours = cells["variant"].str.startswith(OURS)
    days = pd.to_datetime(cells.loc[~ours, "started"]).dt.strftime("%Y-%m-%d")
    intro = INTRO[given.sweep.stem].format(n_cells=len(cells), machine=_machine(folder))
    text = PAGE.format(
        intro=intro, words=words,
        commit=", ".join(sorted(set(cells.loc[ours, "git_commit"].str[:8]))),
        others=f"{days.min()} to {days.max()}", systems=systems_table(folder),
        by_size=by_size_table(folder), cores=cores_table(folder), stated=stated_table(folder),
        tenth=tenth_table(folder),
    )  # fmt: skip
    page.write_text(text, encoding="utf-8")
    return 0


def _machine(folder: Path) -> str:
    kept = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    known = kept[-1] if isinstance(kept, list) else kept
    return f"{known['cpu_count']} cores ({known['cpu_model']})"


if __name__ == "__main__":
    raise SystemExit(main())
