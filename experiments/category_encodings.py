"""Compare how boosted trees read columns of more than 20 categories, on rows they have not seen.

One row of the CSV file per fit: ``python experiments/category_encodings.py --out
results/encodings/cells.csv``. The tables are read from ``FAIRAUTOML_DATA_HOME``. ``native`` passes
every category column to the library as categories, as this package did before; ``codes`` passes
those of more than 20 categories as numbers, ordered by frequency or, where the categories are
whole numbers, by size; ``target`` also adds their cross-fitted target means.
"""

import argparse
import csv
import time
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from common.shared_tables import commit, markdown, read
from fairautoml.data.dataset import Dataset, FeatureSchema
from fairautoml.data.encoders import fit_encoding
from fairautoml.data.read import build_dataset
from fairautoml.learners import LEARNERS
from fairautoml.threads import one_thread

TABLES = ("adult", "compas_two_years", "kdd_census_income_test", "acs_income_2018")
MOST_ROWS = 30_000
PARAMS = {
    "lightgbm": {"n_estimators": 150, "learning_rate": 0.1},
    "xgboost": {"n_estimators": 150, "learning_rate": 0.1},
    "hist_gradient_boosting": {"max_iter": 150, "learning_rate": 0.1},
}
MOST_NATIVE = {"hist_gradient_boosting": 255}
"""Most categories that a library accepts; beyond, the codes were passed as numbers."""
ENCODINGS = ("native", "codes", "target")
FIELDS = (
    "table", "seed", "learner", "encoding", "n_train", "n_columns", "log_loss", "accuracy",
    "cpu_seconds", "commit",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeSchema(FeatureSchema):
    """Feature schema whose category columns are all native, up to a number of categories."""

    most: int

    @property
    def native(self) -> tuple[int, ...]:
        pairs = zip(self.categorical, self.cardinalities, strict=True)
        return tuple(at for at, n_codes in pairs if n_codes <= self.most)

    @property
    def high_cardinality(self) -> tuple[int, ...]:
        return ()


def native(schema: FeatureSchema, learner: str) -> NativeSchema:
    parts = {field.name: getattr(schema, field.name) for field in fields(schema)}
    return NativeSchema(**parts, most=MOST_NATIVE.get(learner, max(schema.cardinalities)))


def table_of(name: str) -> Dataset:
    frame, target = read(name)
    if len(frame) > MOST_ROWS:
        frame = frame.sample(MOST_ROWS, random_state=0).reset_index(drop=True)
    return build_dataset(frame.drop(columns=target), frame[target], None)


def scored(learner: str, encoding: str, train: Dataset, X: np.ndarray, seed: int) -> np.ndarray:
    """Return P(y = 1) of rows by a learner that was trained on others."""
    schema = train.feature_schema
    given = native(schema, learner) if encoding == "native" else schema
    name = "target" if encoding == "target" else "codes"
    encoded, after, encoder = fit_encoding(name, train.X, train.y, given, seed)
    estimator = LEARNERS.get(learner).built(
        PARAMS[learner], after, seed, task="binary", n_classes=2
    )
    return estimator.fit(encoded, train.y).predict_proba(encoder.transform(X))[:, 1]


def fits(data: Dataset, seed: int):
    """Yield the figures of every learner and encoding on one split."""
    rows, test = train_test_split(
        np.arange(len(data.y)), test_size=0.3, random_state=seed, stratify=data.y
    )
    train = data.take(rows)
    for learner in PARAMS:
        for encoding in ENCODINGS:
            start = time.process_time()
            with one_thread():
                p = scored(learner, encoding, train, data.X[test], seed).astype(np.float64)
            yield {
                "seed": seed, "learner": learner, "encoding": encoding, "n_train": len(rows),
                "n_columns": len(train.feature_schema.high_cardinality),
                "log_loss": round(log_loss(data.y[test], p), 5),
                "accuracy": round(float(((p >= 0.5) == data.y[test]).mean()), 5),
                "cpu_seconds": round(time.process_time() - start, 2), "commit": commit(),
            }  # fmt: skip


def compared(cells: pd.DataFrame) -> pd.DataFrame:
    """Return mean log losses, and the differences to ``native``, paired by seed."""
    wide = cells.pivot(index=["table", "learner", "seed"], columns="encoding", values="log_loss")
    for encoding in ("codes", "target"):
        wide[f"{encoding} - native"] = wide[encoding] - wide["native"]
    by = wide.groupby(["table", "learner"], sort=False)
    means = by.mean()[["native", "codes", "target"]]
    for encoding in ("codes", "target"):
        change = by[f"{encoding} - native"].agg(["mean", "min", "max"])
        means[f"{encoding} - native"] = [
            f"{row.mean:+.4f} [{row.min:+.4f}, {row.max:+.4f}]"
            for row in change.rename(columns=str).itertuples(index=False)
        ]
    for encoding in ENCODINGS:
        means[encoding] = means[encoding].map("{:.4f}".format)
    return means.reset_index()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tables", nargs="+", default=TABLES, choices=TABLES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--show", action="store_true", help="print the table; fit nothing")
    args = parser.parse_args()
    if args.show:
        print(markdown(compared(pd.read_csv(args.out))))
        return
    args.out.parent.mkdir(parents=True, exist_ok=True)
    kept = pd.read_csv(args.out) if args.out.exists() else pd.DataFrame(columns=FIELDS)
    done = set(zip(kept["table"], kept["seed"], strict=True))
    for name in args.tables:
        left = [seed for seed in args.seeds if (name, seed) not in done]
        data = table_of(name) if left else None
        for seed in left:
            rows = [{"table": name, **row} for row in fits(data, seed)]
            new = not args.out.exists()
            with args.out.open("a", newline="") as file:
                writer = csv.DictWriter(file, FIELDS)
                if new:
                    writer.writeheader()
                writer.writerows(rows)


if __name__ == "__main__":
    main()
