"""Ask whether rows selected in one pass are better to train on than a stratified sample.

``python experiments/streaming.py --out results/streaming`` writes ``scores.csv`` and
``README.md``; about two minutes. Needs the tables of ``TABLES``.
"""

import argparse
import csv
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from common.shared_tables import machine
from fairautoml.data import load
from fairautoml.data.dataset import Dataset
from fairautoml.data.encoders import fit_design
from fairautoml.data.read import build_dataset
from fairautoml.evaluation.fitting import sampled, sampling_places
from fairautoml.metrics.streaming import select_representative

TABLES = {
    "adult": "sex", "bank_marketing_full": "marital", "dutch_census_2001": "sex", "lending": "sex",
}  # fmt: skip
SIZES = (200, 1_000)
MOST_ROWS = 10_000
WAYS = ("stratified", "streaming")
MODELS = {
    "logistic": lambda seed: LogisticRegression(max_iter=500),
    "boosted": lambda seed: HistGradientBoostingClassifier(max_iter=50, random_state=seed),
}
FIELDS = ("table", "rows", "model", "way", "seed", "auc", "accuracy", "gap")


def selected(way: str, matrix: NDArray, rows: Dataset, k: int, seed: int) -> NDArray[np.intp]:
    """Return k training rows; both ways keep the share of each label in each group."""
    if way == "stratified":
        return sampled(sampling_places(rows.y, rows.cells, seed), k)
    strata = rows.y.astype(np.int64) * (int(rows.cells.max()) + 1) + rows.cells
    labels, sizes = np.unique(strata, return_counts=True)
    shares = {
        int(label): (np.floor(k * n / len(strata)) / k, np.ceil(k * n / len(strata)) / k)
        for label, n in zip(labels, sizes, strict=True)
    }
    order = np.random.default_rng(seed).permutation(len(strata))
    found = select_representative(matrix[order], k, strata[order], shares, random_state=seed)
    return order[found]


def measured(table: str, seed: int) -> Iterator[dict[str, object]]:
    """Yield the scores of all models on both selections of one split."""
    found = load(table)
    frame = found.frame.sample(min(MOST_ROWS, len(found.frame)), random_state=seed)
    rows = build_dataset(
        frame.drop(columns=found.target), frame[found.target], frame[TABLES[table]]
    )
    train, new = train_test_split(
        np.arange(rows.n_rows), test_size=0.3, random_state=seed, stratify=rows.y
    )
    rows, test = rows.take(train), rows.take(new)
    design = fit_design(rows.X, rows.feature_schema)
    matrix, other = design.matrix(rows.X), design.matrix(test.X)
    for k in SIZES:
        for way in WAYS:
            at = selected(way, matrix, rows, k, seed)
            for name, make in MODELS.items():
                scores = make(seed).fit(matrix[at], rows.y[at]).predict_proba(other)[:, 1]
                accepted = scores >= 0.5
                rates = [accepted[test.cells == cell].mean() for cell in np.unique(test.cells)]
                yield {
                    "table": table, "rows": k, "model": name, "way": way, "seed": seed,
                    "auc": roc_auc_score(test.y, scores),
                    "accuracy": float((accepted == test.y).mean()), "gap": float(np.ptp(rates)),
                }  # fmt: skip


PAGE = """# Rows selected in one pass, or a stratified sample

**Question.** A trial on few rows gets a stratified sample of label and group. Would rows selected
by `select_representative` (one pass, submodular, with the same shares of label and group) train
better models?

Tables {tables}; at most {most:,} rows, {seeds} splits each (seeds 0 to
{last}), 70 % of the rows to select from, 30 % to measure. Logistic regression and boosted trees on
the selected rows. Gap: largest difference of selection rates between groups. Differences:
streaming minus stratified, mean over the splits with its standard error.

| table | rows | model | AUC stratified | AUC difference | accuracy difference | gap difference |
|---|---|---|---|---|---|---|
{lines}

**Answer.** Over all {n} settings the AUC differs by {auc}, the accuracy by {accuracy} and
the gap by {gap} (standard error over the settings). {verdict}

Command: `python experiments/streaming.py --out results/streaming`, on {machine}.
"""

NOT_BETTER = (
    "The AUC is not\nhigher by two standard errors, and selecting them costs a pass of distances: "
    "trials keep the\nstratified sample, and `select_representative` is called by those who want "
    "it."
)
BETTER = "The selected rows train better models, by more than two standard errors."


def page(scores: pd.DataFrame) -> str:
    """Return the page."""
    keys = ["table", "rows", "model"]
    wide = scores.pivot(index=[*keys, "seed"], columns="way", values=["auc", "accuracy", "gap"])
    apart = pd.DataFrame({c: wide[c]["streaming"] - wide[c]["stratified"] for c in FIELDS[5:]})
    lines = []
    for key, part in apart.groupby(level=keys, sort=False):
        before = wide["auc"]["stratified"].loc[key].mean()
        shown = [f"{part[c].mean():+.4f} ({part[c].sem():.4f})" for c in FIELDS[5:]]
        lines.append(f"| {' | '.join(map(str, key))} | {before:.3f} | {' | '.join(shown)} |")
    settings = apart.groupby(level=keys).mean()
    mean, error = settings.mean(), settings.sem()
    seeds = scores["seed"].nunique()
    return PAGE.format(
        tables=", ".join(TABLES), most=MOST_ROWS, seeds=seeds, last=seeds - 1, n=len(settings),
        lines="\n".join(lines), **{c: f"{mean[c]:+.4f} ({error[c]:.4f})" for c in FIELDS[5:]},
        verdict=BETTER if mean["auc"] > 2 * error["auc"] else NOT_BETTER,
        machine=machine(),
    )  # fmt: skip


def main() -> None:
    """Measure all splits and write table and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for table in TABLES:
            for seed in range(arguments.seeds):
                writer.writerows(measured(table, seed))
    scores = pd.read_csv(arguments.out / "scores.csv")
    (arguments.out / "README.md").write_text(page(scores), encoding="utf-8")


if __name__ == "__main__":
    main()
