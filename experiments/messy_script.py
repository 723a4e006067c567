"""Compare, on a messy table of its own making, with the feature generators of skrub and AutoGluon.

``python experiments/messy_script.py --out results/messy`` adds the systems that are installed and
not yet in ``scores.csv``, and writes ``README.md``. skrub and ``autogluon.features``, which the
library does not need, may be in an environment of their own: run the command once in each. Every
system has the same rows, splits, seconds and one core.
"""

import argparse
import csv
import importlib.util
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

N_ROWS, MISSING = 4000, 0.1
GOOD = ["prompt", "reliable", "friendly", "thanks", "quick", "excellent"]
BAD = ["complaint", "late", "refund", "broken", "angry", "overdue"]
PLAIN = [
    "order",
    "parcel",
    "customer",
    "called",
    "about",
    "the",
    "invoice",
    "from",
    "last",
    "week",
    "and",
    "address",
]
ITEMS = (
    "garden chair",
    "office chair",
    "desk lamp",
    "floor lamp",
    "kitchen table",
    "coffee table",
)
TRAITS = ("wooden", "folding", "large", "small", "used", "white", "black", "new")
MOST_CATEGORIES = 255
"""Categories of a column that HistGradientBoosting takes."""

WRITTEN = ("signed", "visited", "due", "share", "amount", "score")
"""Columns of dates and numbers as text."""


def table(seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the features and labels of a messy table."""
    rng = np.random.default_rng(seed)
    tone = rng.normal(size=N_ROWS)
    trait, item = rng.integers(len(TRAITS), size=N_ROWS), rng.integers(len(ITEMS), size=N_ROWS)
    signed = pd.Timestamp("2019-01-01") + pd.to_timedelta(rng.integers(0, 2000, N_ROWS), "D")
    minutes = rng.integers(0, 500 * 24 * 60, N_ROWS)
    visited = pd.Timestamp("2023-06-01") + pd.to_timedelta(minutes, "min")
    due = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 366, N_ROWS), "D")
    share, amount = rng.integers(0, 101, N_ROWS), np.exp(rng.normal(6.5, 1.2, N_ROWS))
    score, city = rng.integers(0, 400, N_ROWS), rng.integers(0, 40, N_ROWS)
    effect = rng.normal(0, 0.6, 40)[city] + rng.normal(0, 0.5, len(TRAITS))[trait]
    logit = (
        1.2 * tone + effect + (signed.year.to_numpy() - 2021) * 0.3
        + 0.9 * (visited.dayofweek.to_numpy() >= 5) - 0.8 * (visited.hour.to_numpy() < 7)
        + 0.8 * np.sin(due.month.to_numpy() / 2) + (share - 50) / 40
        - 0.6 * (np.log(amount) - 6.5) + (score - 200) / 200
    )  # fmt: skip
    y = (rng.uniform(size=N_ROWS) < 1 / (1 + np.exp(-logit))).astype(int)
    X = pd.DataFrame({
        "id": [f"C-{number}" for number in rng.permutation(10 * N_ROWS)[:N_ROWS]],
        "signed": signed.strftime("%d.%m.%Y"),
        "visited": visited.strftime("%Y-%m-%d %H:%M"),
        "due": due.strftime("%m/%d/%Y"),
        "comment": [_comment(rng, one) for one in tone],
        "item": [_item(rng, *both) for both in zip(trait, item, strict=True)],
        "share": [f"{one} %" for one in share],
        "amount": [_german(one) for one in amount],
        "score": [int(one) if one % 3 else str(one) for one in score],
        "city": [f"city {one}" for one in city],
        "age": rng.integers(18, 80, N_ROWS),
    })  # fmt: skip
    for name in X.columns[1:]:
        X[name] = X[name].astype(object).mask(rng.uniform(size=N_ROWS) < MISSING, None)
    return X.assign(age=X["age"].astype(float)), y


def _comment(rng: np.random.Generator, tone: float) -> str:
    words = [
        *rng.choice(PLAIN, 6),
        *rng.choice(GOOD if tone > 0 else BAD, min(3, int(abs(tone) * 2))),
    ]
    return " ".join(rng.permutation(words))


def _item(rng: np.random.Generator, trait: int, item: int) -> str:
    return f"{TRAITS[trait]} {ITEMS[item]} no {rng.integers(99)}"


def _german(value: float) -> str:
    return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))


def ours(X, y, new, seconds, seed, **options):
    """Return scores of new rows by a fit of that many seconds."""
    from fairautoml import ColumnOptions, FairAutoML

    model = FairAutoML(
        None, objective="roc_auc", time_budget=seconds, n_jobs=1, random_state=seed, callbacks=[]
    )
    model.fit(X, y, columns=ColumnOptions(**options))
    return model.predict_proba(new)[:, 1]


def as_categories(X, y, new, seconds, seed):
    """Return the same without reading dates and numbers that are written as text."""
    X, new = (part.assign(score=part["score"].map(str, na_action="ignore")) for part in (X, new))
    return ours(X, y, new, seconds, seed, categories=WRITTEN)


def skrub(X, y, new, seconds, seed):
    """Return scores by boosted trees on skrub's features."""
    from skrub import TableVectorizer

    return boosted(TableVectorizer, X, y, new, seconds, seed)


class AutoGluonFeatures(TransformerMixin, BaseEstimator):
    """AutoGluon's features; more categories than boosted trees take are numbered."""

    def fit(self, X, y=None):
        """Fit the generator."""
        from autogluon.features.generators import AutoMLPipelineFeatureGenerator

        self.generator_ = AutoMLPipelineFeatureGenerator(verbosity=0)
        self.generator_.fit(X.reset_index(drop=True))
        return self

    def transform(self, X):
        """Return the features."""
        found = self.generator_.transform(X.reset_index(drop=True))
        kinds = found.select_dtypes("category")
        wide = [name for name in kinds if len(found[name].cat.categories) > MOST_CATEGORIES]
        return found.assign(**{name: found[name].cat.codes for name in wide})


def autogluon(X, y, new, seconds, seed):
    """Return scores by boosted trees on AutoGluon's features."""
    return boosted(AutoGluonFeatures, X, y, new, seconds, seed)


def boosted(features: Callable, X, y, new, seconds, seed):
    """Return scores by a random search of boosted trees on features; 3 folds."""
    start, rng = time.monotonic(), np.random.default_rng(seed)
    best, chosen, longest = -1.0, {}, 0.0
    first = True
    while first or time.monotonic() - start + 1.5 * longest < seconds:
        began = time.monotonic()
        params = {} if first else {
            "learning_rate": float(10 ** rng.uniform(-2, -0.5)),
            "max_leaf_nodes": int(rng.integers(4, 64)),
            "min_samples_leaf": int(rng.integers(5, 80)),
            "l2_regularization": float(10 ** rng.uniform(-3, 1)),
            "max_iter": int(rng.integers(50, 300)),
        }  # fmt: skip
        model = pipeline(features, seed, params)
        found = float(cross_val_score(model, X, y, cv=3, scoring="roc_auc").mean())
        if found > best:
            best, chosen = found, params
        longest, first = max(longest, time.monotonic() - began), False
    return pipeline(features, seed, chosen).fit(X, y).predict_proba(new)[:, 1]


def pipeline(features: Callable, seed: int, params: dict):
    """Return boosted trees on features; columns of categories are taken as such."""
    trees = HistGradientBoostingClassifier(
        random_state=seed, categorical_features="from_dtype", **params
    )
    return make_pipeline(features(), trees)


SYSTEMS = {
    "fairautoml": ("fairautoml", ours),
    "fairautoml, dates and numbers as categories": ("fairautoml", as_categories),
    "skrub TableVectorizer + HistGradientBoosting": ("skrub", skrub),
    "AutoGluon feature generator + HistGradientBoosting": ("autogluon.features", autogluon),
}
"""Systems with the library that each needs."""


def installed(library: str) -> bool:
    """Return whether a library can be imported, without importing it."""
    try:
        return importlib.util.find_spec(library) is not None
    except ModuleNotFoundError:
        return False


def run(out: Path, seconds: float, seeds: int) -> None:
    """Fit every system on every table, and append its score to the file."""
    path = out / "scores.csv"
    known = set()
    if path.is_file():
        known = {(row["system"], int(row["seed"])) for row in csv.DictReader(path.open())}
    else:
        path.write_text("system,seed,auc,seconds\n", encoding="utf-8")
    for seed in range(seeds):
        X, y = table(seed)
        parts = train_test_split(X, y, test_size=0.5, random_state=seed, stratify=y)
        for name, (library, system) in SYSTEMS.items():
            if (name, seed) in known or not installed(library):
                continue
            start = time.monotonic()
            with warnings.catch_warnings(), threadpool_limits(limits=1):
                warnings.simplefilter("ignore")
                scores = system(parts[0], parts[2], parts[1], seconds, seed)
            auc = roc_auc_score(parts[3], scores)
            with path.open("a", encoding="utf-8", newline="") as file:
                csv.writer(file).writerow(
                    [name, seed, f"{auc:.4f}", f"{time.monotonic() - start:.1f}"]
                )


PAGE = """# A messy table

AUC on {n_rows} held-out rows of a table of as many rows made by
`experiments/messy_script.py`: an id, dates in three spellings, two text columns, a percentage, an
amount such as 1.200,50, numbers mixed with text, categories, and 10 % missing values. Every system
was given {seconds:g} seconds and one core; the features of skrub and of AutoGluon
(`AutoMLPipelineFeatureGenerator` of `autogluon.features`; AutoGluon as a whole was not run) were
followed by a random search of HistGradientBoosting with 3 folds, at least of its defaults. The
cores were shared with other work, so that every system tried few configurations.

| system |{head} mean | seconds |
|---|{rule}
{lines}

Command: `python experiments/messy_script.py --out results/messy --seconds {seconds:g}`, once in an
environment of the library and once in one with skrub and `autogluon.features`.
"""


def page(out: Path, seconds: float) -> None:
    """Write the table of the scores."""
    scores = pd.read_csv(out / "scores.csv")
    wide = scores.pivot(index="system", columns="seed", values="auc")
    wide = wide.loc[[name for name in SYSTEMS if name in wide.index]]
    cost = scores.groupby("system")["seconds"].mean()
    lines = [
        f"| {name} | {' | '.join(f'{auc:.3f}' for auc in (*row, row.mean()))} | {cost[name]:.0f} |"
        for name, row in wide.iterrows()
    ]
    text = PAGE.format(
        n_rows=N_ROWS // 2,
        seconds=seconds,
        head="".join(f" seed {seed} |" for seed in wide.columns),
        rule="---|" * (len(wide.columns) + 2),
        lines="\n".join(lines),
    )
    (out / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    run(given.out, given.seconds, given.seeds)
    page(given.out, given.seconds)
