"""Answer the question of FairCVdb: early or late fusion of the blocks of resumes.

``python experiments/blocks.py --out results/blocks`` fits each way on the resumes whose scores are
biased by gender and by ethnicity, and writes ``scores.csv`` and ``README.md``. Needs the tables
``faircv_gender_validation`` and ``faircv_ethnicity_validation``.
"""

import argparse
import csv
import time
import warnings
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from fairautoml import ColumnOptions, FairAutoMLRegressor
from fairautoml.data import load

TASKS = {
    "gender": "faircv_gender_validation",
    "ethnicity": "faircv_ethnicity_validation",
}
WAYS = ("early", "late", "auto", "face alone", "resume alone")
FIELDS = ("task", "way", "seed", "mae", "mae_low", "mae_high", "gap", "kl", "true_gap", "true_kl",
          "constant_mae", "seconds")  # fmt: skip
BINS, SMOOTHING = 20, 1e-6


def blocks_of(table: pd.DataFrame) -> dict[str, list[str]]:
    """Return the columns of the face and of the resume."""
    face = [name for name in table if name.startswith("face_")]
    kept = [name for name in table if name not in face]
    return {"face": face, "resume": kept}


def options_of(way: str, blocks: dict[str, list[str]]) -> ColumnOptions:
    """Return what a way of fusion sees."""
    if way.endswith(" alone"):
        block = way.removesuffix(" alone")
        return ColumnOptions(drop=[c for name in blocks if name != block for c in blocks[name]])
    return ColumnOptions(blocks=blocks, fusion=way)


def largest_kl(scores: np.ndarray, groups: np.ndarray) -> float:
    """Return the largest divergence between the score histograms of two groups, in nats."""
    edges = np.linspace(0, 1, BINS + 1)
    found = {}
    for group in np.unique(groups):
        counts = np.histogram(np.clip(scores[groups == group], 0, 1), edges)[0]
        smooth = counts / counts.sum() + SMOOTHING
        found[group] = smooth / smooth.sum()
    return max(
        float(np.sum(found[a] * np.log(found[a] / found[b]))) for a, b in permutations(found, 2)
    )


def gap_of(values: np.ndarray, groups: np.ndarray) -> float:
    """Return the largest difference of two groups' means."""
    means = [values[groups == group].mean() for group in np.unique(groups)]
    return float(max(means) - min(means))


def measured(task: str, way: str, seed: int, trials: int) -> dict[str, object]:
    """Fit one way and measure it on 30 % of the rows."""
    table = load(TASKS[task])
    X = table.frame.drop(columns=["biased_score", "blind_score", "gender", "ethnicity"])
    y, groups = table.frame["biased_score"], table.frame[task]
    parts = train_test_split(X, y, groups, test_size=0.3, random_state=seed, stratify=groups)
    X_train, X_new, y_train, y_new, g_train, g_new = parts
    start = time.monotonic()
    model = FairAutoMLRegressor(objective="mae", n_trials=trials, n_jobs=1, random_state=seed)
    model.fit(X_train, y_train, g_train, columns=options_of(way, blocks_of(X)))
    seconds = time.monotonic() - start
    said, true, g = model.predict(X_new, g_new), y_new.to_numpy(), g_new.to_numpy()
    errors = np.abs(said - true)
    by_group = [float(errors[g == group].mean()) for group in np.unique(g)]
    return {
        "task": task,
        "way": way,
        "seed": seed,
        "mae": errors.mean(),
        "mae_low": min(by_group),
        "mae_high": max(by_group),
        "gap": gap_of(said, g),
        "kl": largest_kl(said, g),
        "true_gap": gap_of(true, g),
        "true_kl": largest_kl(true, g),
        "constant_mae": np.abs(true - y_train.median()).mean(),
        "seconds": seconds,
    }


def run(out: Path, trials: int, seeds: int) -> None:
    """Fit every way on every task, and append what was measured to the file."""
    path, known = out / "scores.csv", set()
    if path.is_file():
        with path.open(encoding="utf-8") as file:
            known = {(r["task"], r["way"], int(r["seed"])) for r in csv.DictReader(file)}
    else:
        path.write_text(",".join(FIELDS) + "\n", encoding="utf-8")
    for seed in range(seeds):
        for task in TASKS:
            for way in WAYS:
                if (task, way, seed) in known:
                    continue
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    found = measured(task, way, seed, trials)
                cells = [f"{v:.4f}" if isinstance(v, float) else v for v in found.values()]
                with path.open("a", encoding="utf-8", newline="") as file:
                    csv.writer(file).writerow(cells)


PAGE = """# Early or late fusion of the blocks of a resume

The question of Swati, Roy and Ntoutsi (*Exploring Fusion Techniques in Multimodal AI-Based
Recruitment*, EWAF 2024) on the resumes of FairCVtest (the 4,800 of the published validation part
of 2020; the paper's 24,000 with texts could not be obtained): is the face (20 columns of an
embedding) better joined to the resume (12 columns) before a model is fitted, or after? The scores
to predict are biased against one gender, or two ethnicities, which are no features. No constraint,
{trials} trials each, measured on 30 % of the rows. Early fusion: every model reads both blocks.
Late: an ensemble of models that read one block each. "auto" searches over both.

{tables}
Gap: largest difference of the groups' mean scores. KL: largest divergence between the groups'
histograms of scores, in nats. The labels have both, for they are biased: a model that follows them
has the same, a fairer one has less.

As in the paper, early fusion has the lowest error and follows the labels, bias included: it joins
what the resume says of merit with what the face says of the group. Late fusion has a higher error
and smaller gaps, because it averages the resume's score with one that knows the group only. The
search, which minimizes the error, prefers early fusion.

Command: `python experiments/blocks.py --out results/blocks --trials {trials}`.
"""

TABLE = """## Biased by {task}

Labels: gap {gap:.3f}, KL {kl:.2f}; MAE of a constant {constant:.4f}. Number of splits: {splits}.

| way | MAE | MAE, best to worst group | gap | KL |
|---|---|---|---|---|
{lines}
"""


def page(out: Path, trials: int) -> None:
    """Write the tables of what was measured."""
    scores = pd.read_csv(out / "scores.csv")
    tables = []
    for task in TASKS:
        mine = scores[scores["task"] == task]
        # Only splits on which every way was measured.
        ways = mine.groupby("seed")["way"].transform("nunique")
        mine = mine[ways == len(WAYS)]
        means = mine.groupby("way").mean(numeric_only=True).loc[list(WAYS)]
        lines = [
            f"| {way} | {r.mae:.4f} | {r.mae_low:.4f} to {r.mae_high:.4f} | {r.gap:.3f} "
            f"| {r.kl:.2f} |"
            for way, r in means.iterrows()
        ]
        true = mine[["true_gap", "true_kl", "constant_mae"]].mean()
        tables.append(
            TABLE.format(
                task=task,
                gap=true["true_gap"],
                kl=true["true_kl"],
                constant=true["constant_mae"],
                splits=mine["seed"].nunique(),
                lines="\n".join(lines),
            )
        )
    text = PAGE.format(trials=trials, tables="\n".join(tables))
    (out / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    run(given.out, given.trials, given.seeds)
    page(given.out, given.trials)
