"""Measure served models: size, loading, one row, 100,000 rows, and accuracy against trees.

Each table is fitted for 30 s and compared with LightGBM alone and with what FLAML and AutoGluon,
if they are installed, return after the same time. The finished search is then resumed with other
serving options, which trains nothing, for the curve of accuracy against trees.

``python experiments/serving.py --out results/serving`` continues where it stopped and writes
``systems.csv``, ``curve.csv`` and ``tables.md``. The tables are read from
``FAIRAUTOML_DATA_HOME``.
"""

import argparse
import csv
import importlib
import importlib.util
import os
import pickle
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

import fairautoml
from common.shared_tables import commit, gap_of, markdown
from fairautoml import FairAutoML, RunStorage, ServingOptions
from fairautoml.data import load

METRIC, BOUND = "equalized_odds_difference", 0.05
N_ROWS, MOST_TRAINING_ROWS = 100_000, 60_000
ONE_ROW_CALLS, LOAD_CALLS = 40, 5
SENSITIVE = {
    "adult": "sex",
    "compas_two_years": "race",
    "bank_marketing_full": "marital",
    "acs_income_2018": "SEX",
    "acs_public_coverage_2018": "SEX",
    "dutch_census_2001": "sex",
    "german_credit": "sex",
    "hmda_2018_high_priced": "race",
    "kdd_census_income_test": "sex",
    "meps_h181_subset": "race",
}
LEAST_GROUP = 300
"""Rows of smaller groups are left out, so that the bound can be judged."""
CURVE = {
    "tolerance 0": ServingOptions(tolerance=0.0),
    "tolerance .001": ServingOptions(tolerance=0.001),
    "tolerance .005": ServingOptions(tolerance=0.005),
    "max_trees 1000": ServingOptions(max_trees=1000),
    "max_trees 300": ServingOptions(max_trees=300),
}
DEFAULT = "tolerance .001"
SYSTEM_FIELDS = (
    "table", "system", "n_trees", "kilobytes", "load_ms", "row_ms", "rows_per_second",
    "ns_per_tree_and_row", "accuracy", "commit",
)  # fmt: skip
CURVE_FIELDS = ("table", "options", "n_trees", "accuracy", "gap", "commit")


@dataclass(frozen=True, slots=True)
class Table:
    """A table, split, and the rows that predictions are timed on."""

    name: str
    target: str
    sensitive: str
    train: pd.DataFrame
    test: pd.DataFrame

    @classmethod
    def read(cls, name: str) -> "Table":
        found, sensitive = load(name), SENSITIVE[name]
        frame = found.frame.drop(columns=list(found.drop), errors="ignore")
        groups = frame[sensitive].astype(object)
        sizes = groups.map(groups.value_counts()).fillna(0).astype(int)
        frame = frame[sizes >= min(LEAST_GROUP, len(frame) // 5)]
        frame = frame.assign(**{sensitive: frame[sensitive].astype(str)})
        if len(frame) > MOST_TRAINING_ROWS / 0.7:
            frame = frame.sample(round(MOST_TRAINING_ROWS / 0.7), random_state=0)
        train, test = train_test_split(
            frame, test_size=0.3, random_state=0, stratify=frame[found.target]
        )
        return cls(name, found.target, sensitive, train, test)

    @property
    def X(self) -> pd.DataFrame:
        return self.train.drop(columns=self.target)

    @property
    def X_test(self) -> pd.DataFrame:
        return self.test.drop(columns=self.target)

    @property
    def y(self) -> "pd.Series[Any]":
        return self.train[self.target]

    def many(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.sample(N_ROWS, replace=True, random_state=0).reset_index(drop=True)

    def accuracy(self, decided: Any) -> float:
        return round(float((np.asarray(decided) == self.test[self.target].to_numpy()).mean()), 5)


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Return the median wall time of repeated calls; one more comes first."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times))


def timed(predict: Callable[[Any], Any], row: Any, many: Any, n_trees: int) -> dict[str, object]:
    """Return the times of one row and of many rows."""
    took = milliseconds(lambda: predict(row), ONE_ROW_CALLS)
    start = time.perf_counter()
    predict(many)
    seconds = time.perf_counter() - start
    each = 1e9 * seconds / (N_ROWS * n_trees) if n_trees else None
    return {
        "row_ms": round(took, 3),
        "rows_per_second": round(N_ROWS / seconds),
        "ns_per_tree_and_row": each and round(each, 1),
    }


def own(table: Table, seconds: float, folder: Path) -> Iterator[dict[str, object]]:
    """Return the rows of the estimator and of the runtime; the run stays in the folder."""
    model = fitted(table, seconds, RunStorage(folder / "run"), CURVE[DEFAULT])
    path = model.export(folder / "model.fair")
    n_trees = model.summary_["n_trees"]
    row, many = table.X_test.head(1), table.many(table.X_test)
    common = {"n_trees": n_trees, "kilobytes": round(path.stat().st_size / 1e3)}
    right = table.accuracy(model.predict(table.X_test))
    yield {"system": "estimator", "accuracy": right, **common,
           **timed(model.predict, row, many, n_trees)}  # fmt: skip
    for compiled in (False, True) if importlib.util.find_spec("numba") else (False,):
        load_ms = milliseconds(lambda: fairautoml.load_predictor(path), LOAD_CALLS)
        served = fairautoml.load_predictor(path, compiled=compiled)
        yield {
            "system": "runtime, compiled" if compiled else "runtime",
            "accuracy": table.accuracy(served.predict(table.X_test)),
            "load_ms": round(load_ms, 1), **common,
            **timed(served.predict, row.iloc[0].to_dict(), many, n_trees),
        }  # fmt: skip


def fitted(
    table: Table, seconds: float, storage: RunStorage, options: ServingOptions
) -> FairAutoML:
    model = FairAutoML(
        f"{METRIC} <= {BOUND}", time_budget=seconds, random_state=0, run_dir=storage,
        ensemble=options,
    )  # fmt: skip
    return model.fit(table.X, table.y, sensitive=table.sensitive)


def curve(table: Table, seconds: float, folder: Path) -> Iterator[dict[str, object]]:
    """Select again with other serving options; the search is over, so nothing is trained."""
    for name, options in CURVE.items():
        model = fitted(table, seconds, RunStorage(folder / "run", "resume"), options)
        decided = np.asarray(model.predict(table.X_test))
        positive = model.positive_class_
        y = (table.test[table.target] == positive).to_numpy()
        groups = table.test[table.sensitive].to_numpy()
        yield {
            "options": name, "n_trees": model.summary_["n_trees"],
            "accuracy": table.accuracy(decided),
            "gap": round(gap_of(METRIC, y, decided == positive, groups), 5),
        }  # fmt: skip


def categorical(frame: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """Return text columns as categories of the training table."""
    texts = [name for name in like if not pd.api.types.is_numeric_dtype(like[name])]
    levels = {name: pd.CategoricalDtype(like[name].dropna().unique()) for name in texts}
    return frame.astype(levels)


def lightgbm_alone(table: Table, seconds: float, folder: Path) -> Iterator[dict[str, object]]:
    """LightGBM with its defaults, one thread."""
    X = table.X
    model = lightgbm.LGBMClassifier(n_jobs=1, verbosity=-1).fit(categorical(X, X), table.y)
    path = folder / "lightgbm.txt"
    model.booster_.save_model(path)
    test = categorical(table.X_test, X)
    yield {
        "system": "LightGBM", "accuracy": table.accuracy(model.predict(test)),
        "n_trees": model.booster_.num_trees(), "kilobytes": round(path.stat().st_size / 1e3),
        "load_ms": milliseconds(lambda: lightgbm.Booster(model_file=path), LOAD_CALLS),
        **timed(model.predict, test.head(1), table.many(test), model.booster_.num_trees()),
    }  # fmt: skip


def flaml(table: Table, seconds: float, folder: Path) -> Iterator[dict[str, object]]:
    """The model of FLAML's search, without a constraint."""
    from flaml import AutoML

    model = AutoML()
    model.fit(
        table.X, table.y, task="classification", metric="accuracy", time_budget=seconds,
        seed=0, verbose=0,
    )  # fmt: skip
    content = pickle.dumps(model)
    yield {
        "system": "FLAML", "accuracy": table.accuracy(model.predict(table.X_test)),
        "kilobytes": round(len(content) / 1e3),
        "load_ms": milliseconds(lambda: pickle.loads(content), LOAD_CALLS),
        **timed(model.predict, table.X_test.head(1), table.many(table.X_test), 0),
    }  # fmt: skip


def autogluon(table: Table, seconds: float, folder: Path) -> Iterator[dict[str, object]]:
    """AutoGluon's predictor with its default preset, without a constraint."""
    TabularPredictor = importlib.import_module("autogluon.tabular").TabularPredictor
    path = folder / "autogluon"
    model = TabularPredictor(table.target, path=str(path), verbosity=0)
    model.fit(table.train, time_limit=seconds)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    yield {
        "system": "AutoGluon", "accuracy": table.accuracy(model.predict(table.X_test)),
        "kilobytes": round(size / 1e3),
        "load_ms": milliseconds(lambda: TabularPredictor.load(str(path)), 1),
        **timed(model.predict, table.X_test.head(1), table.many(table.X_test), 0),
    }  # fmt: skip


OTHERS = {"lightgbm": lightgbm_alone, "flaml": flaml, "autogluon": autogluon}


def measure(name: str, seconds: float, out: Path) -> None:
    """Measure one table and append its rows."""
    table, about = Table.read(name), {"table": name, "commit": commit()}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        systems = list(own(table, seconds, folder))
        points = list(curve(table, seconds, folder))
        for library, rows in OTHERS.items():
            if importlib.util.find_spec(library) is not None:
                systems += rows(table, seconds, folder)
    # The curve first: a table counts as done by its systems.
    append(out / "curve.csv", CURVE_FIELDS, [{**about, **row} for row in points])
    append(out / "systems.csv", SYSTEM_FIELDS, [{**about, **row} for row in systems])


def append(path: Path, fields: tuple[str, ...], rows: list[dict[str, object]]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fields)
        if new:
            writer.writeheader()
        writer.writerows(rows)


def curve_summary(points: pd.DataFrame) -> pd.DataFrame:
    """Return trees, and accuracy and gap against every member that lowers the loss."""
    full = points[points["options"] == "tolerance 0"].set_index("table")
    points = points.assign(
        lost=points["table"].map(full["accuracy"]) - points["accuracy"],
        share=points["n_trees"] / points["table"].map(full["n_trees"]),
    )
    found = points.groupby("options", sort=False).agg(
        median_trees=("n_trees", "median"), most_trees=("n_trees", "max"),
        share_of_trees=("share", "mean"), accuracy_lost=("lost", "mean"),
        most_lost=("lost", "max"), median_gap=("gap", "median"),
    )  # fmt: skip
    return found.round({"share_of_trees": 3, "accuracy_lost": 5, "most_lost": 5, "median_gap": 4}
                       ).reset_index()  # fmt: skip


def system_summary(systems: pd.DataFrame) -> pd.DataFrame:
    """Return the medians over the tables, and the largest time of one row."""
    found = systems.groupby("system", sort=False).agg(
        tables=("table", "nunique"), trees=("n_trees", "median"),
        kilobytes=("kilobytes", "median"), load_ms=("load_ms", "median"),
        row_ms=("row_ms", "median"), row_ms_most=("row_ms", "max"),
        rows_per_second=("rows_per_second", "median"),
        ns_per_tree_and_row=("ns_per_tree_and_row", "median"), accuracy=("accuracy", "mean"),
    )  # fmt: skip
    return found.round(3).reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tables", nargs="+", default=list(SENSITIVE), choices=SENSITIVE)
    parser.add_argument("--seconds", type=float, default=30)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "systems.csv"
    done = set(pd.read_csv(path)["table"]) if path.exists() else set()
    for name in args.tables:
        if name not in done:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                measure(name, args.seconds, args.out)
    systems, points = pd.read_csv(path), pd.read_csv(args.out / "curve.csv")
    shown = (system_summary(systems), curve_summary(points))
    text = "\n".join(markdown(frame.astype(object).fillna("-")) for frame in shown)
    (args.out / "tables.md").write_text(
        f"{os.cpu_count()} cores, {args.seconds:g} s per table\n\n{text}", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
