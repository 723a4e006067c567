"""What the rules of a sweep are worth on samples of people, from their rates on very many.

Held-out rows of a small table are a draw, and a gap on 300 people is mostly noise. Where very many
are held out the rates of a rule are known, and from them how likely it is to meet the bound among
any number of new people, without that noise.

``python -m fairautoml.bench.peers experiments/common/expected.py experiments/few_people.yaml
results/few_people`` writes ``expected.csv`` and ``calibration.csv``.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from common.measures import labelled, with_margin_rows
from fairautoml.bench.tables import (
    BLOCK,
    complete_blocks,
    in_complete_blocks,
    interval_of_mean,
    mean_over_questions,
    numbers,
    our_variant,
    tables_of,
)
from fairautoml.bench.tasks import Sweep, read_rows, read_sweep
from fairautoml.data.files import write_csv
from fairautoml.exceptions import InputError
from fairautoml.metrics import Constraint
from fairautoml.selection.choice import HELD_OUT

DRAWS = 4000
"""Samples drawn per rule: the standard error of a probability is at most 0.008."""

MOST_NUMBERS, FEW_ROWS = 3, 7_000
"""With more numbers of rows than this, small tables are those with fewer rows to search."""

RATES = "holdout.rates."
EDGES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Bins of stated probabilities, closed above."""

MEASURES = {
    "accuracy": "holdout.accuracy",
    "gap": "holdout.gap",
    "stated": "search.margin.probability",
    "met_as_many": "met_as_many",
    "met_held_out": "met_held_out",
    "worth": "worth",
}
"""Columns of the table, and what they are means of."""


def judged_on_samples(cells: pd.DataFrame, sweep: Sweep) -> pd.DataFrame:
    """Return the cells with what each rule does on samples of the people held out."""
    tasks = {task.question: task for task in sweep.tasks}
    found = []
    for _, row in cells.iterrows():
        task = tasks.get(str(row["question"]))
        if task is None or task.holdout is None or len(task.constraints) != 1:
            msg = f"question {row['question']!r}: not in the sweep with one constraint and holdout"
            raise InputError(msg)
        if len(task.sensitive) != 1:
            raise InputError(f"question {task.question!r}: rates by one sensitive column are read")
        constraint = Constraint.parse(task.constraints[0])
        if constraint.metric.form != "difference" or not all(
            rate.is_acceptance for rate in constraint.metric.rates
        ):
            raise InputError(f"question {task.question!r}: no difference of shares of rows")
        found.append(_on_samples(row, constraint, task.holdout))
    judged = cells.join(pd.DataFrame(found, index=cells.index))
    majority = numbers(cells, "holdout.majority")
    of_block = majority.groupby([cells[name] for name in BLOCK]).transform("max")
    never = judged["worth"].isna()
    judged.loc[never, ["met_as_many", "met_held_out"]] = 0.0
    judged.loc[never, "worth"] = of_block[never]
    return judged


def _on_samples(row: "pd.Series[Any]", constraint: Constraint, holdout: float) -> dict[str, float]:
    held = row["holdout.n_rows"]
    if pd.isna(held):
        return {}
    searched = round(float(held) * (1.0 - holdout) / holdout)
    shares = _shares(row)
    as_many, _ = _sampled(shares, constraint, searched)
    met, accuracy = _sampled(shares, constraint, round(HELD_OUT * searched))
    worth = np.where(met, accuracy, float(row["holdout.majority"]))
    return {
        "searched": searched,
        "met_as_many": float(as_many.mean()),
        "met_held_out": float(met.mean()),
        "worth": float(worth.mean()),
    }


def _shares(row: "pd.Series[Any]") -> NDArray[np.float64]:
    """Return the share of people by group, label and decision, shape (n_groups, 2, 2)."""
    groups: dict[str, dict[str, float | None]] = {}
    for name, value in row.items():
        if str(name).startswith(RATES):
            group, _, rate = str(name).removeprefix(RATES).rpartition(".")
            groups.setdefault(group, {})[rate] = None if pd.isna(value) else float(value)
    tables = [_table(group) for group in groups.values() if group["weight"] is not None]
    counts = np.array(tables)
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares


def _table(group: Mapping[str, float | None]) -> list[list[float]]:
    found = []
    for rate in ("fpr", "tpr"):
        rows = labelled(group, rate) if group[rate] is not None else 0.0
        share = group[rate]
        accepted = rows * (0.0 if share is None else share)
        found.append([max(0.0, rows - accepted), max(0.0, accepted)])
    return found


def _sampled(
    shares: NDArray[np.float64], constraint: Constraint, n_individuals: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return whether the bound is met, and the accuracy, in each sample of so many people."""
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(n_individuals, shares.ravel(), size=DRAWS).reshape(
        DRAWS, *shares.shape
    )
    accepted, rows = drawn[..., 1], drawn.sum(axis=3)
    gaps = [
        _spread(_behind(accepted, rate.name), _behind(rows, rate.name))
        for rate in constraint.metric.rates
    ]
    accuracy = (drawn[:, :, 0, 0] + drawn[:, :, 1, 1]).sum(axis=1) / n_individuals
    return np.max(gaps, axis=0) <= constraint.limit, accuracy


def _behind(counts: NDArray[np.int64], rate: str) -> NDArray[np.int64]:
    """Return the counts that a rate is made of, shape (n_draws, n_groups)."""
    at = {"fpr": 0, "tpr": 1}.get(rate)
    found: NDArray[np.int64] = counts.sum(axis=2) if at is None else counts[:, :, at]
    return found


def _spread(accepted: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the largest difference between groups; those without rows are left out."""
    share = np.divide(accepted, rows, out=np.full(rows.shape, np.nan), where=rows > 0)
    low = np.where(np.isnan(share), np.inf, share).min(axis=1)
    high = np.where(np.isnan(share), -np.inf, share).max(axis=1)
    gap: NDArray[np.float64] = np.maximum(high - low, 0.0)
    return gap


def parts(cells: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield all cells, and those by number of rows searched: each number, or few and many."""
    yield "all", cells
    rounded = cells["searched"].groupby(cells["question"]).transform("max").round(-1)
    if rounded.nunique() <= MOST_NUMBERS:
        for searched, own in cells.groupby(rounded):
            yield f"about {searched:.0f} rows", own
    else:
        for size, chosen in (("small", rounded < FEW_ROWS), ("large", rounded >= FEW_ROWS)):
            if chosen.any():
                yield f"{size} tables", cells[chosen]


def expected(cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row per part and variant, best mean worth first."""
    ours, found = our_variant(cells), []
    for part, own in parts(cells):
        blocks = {name: complete_blocks(own, numbers(own, of)) for name, of in MEASURES.items()}
        table = pd.DataFrame({name: mean_over_questions(of) for name, of in blocks.items()})
        if ours is not None:
            apart = blocks["worth"].sub(blocks["worth"][ours], axis=0)
            low, high = interval_of_mean(apart, tables_of(own))
            table = table.assign(difference=mean_over_questions(apart), low=low, high=high)
        table = table.assign(part=part, blocks=len(blocks["worth"])).rename_axis("variant")
        found.append(table.reset_index().sort_values("worth", ascending=False))
    return pd.concat(found, ignore_index=True)


def calibration(cells: pd.DataFrame) -> pd.DataFrame:
    """Return our runs by what they stated: how many, what on the mean, and what is true.

    ``met`` is the share that meets the bound among all rows held out.
    """
    own = cells[cells["variant"] == our_variant(cells)]
    stated = numbers(own, "search.margin.probability").rename("stated")
    met = (numbers(own, "holdout.excess") <= 0).astype(float)
    table = pd.DataFrame({"stated": stated, "met": met, "met_as_many": own["met_as_many"]})
    table = table.dropna()
    by = pd.cut(table["stated"], EDGES, include_lowest=True).astype(str)
    found = table.groupby(by).mean().assign(runs=table.groupby(by).size())
    return found.rename_axis("bin").reset_index()[["bin", "runs", "stated", "met", "met_as_many"]]


def main(argv: Sequence[str] | None = None) -> int:
    """Write both tables into the folder of a sweep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sweep", type=Path, help="YAML file of the sweep")
    parser.add_argument("folder", type=Path, help="folder with the cells.csv of the sweep")
    arguments = parser.parse_args(argv)
    cells = read_rows(arguments.folder / "cells.csv")
    both = in_complete_blocks(with_margin_rows(cells)).copy()
    judged = judged_on_samples(both, read_sweep(arguments.sweep))
    write_csv(expected(judged), arguments.folder / "expected.csv")
    write_csv(calibration(judged), arguments.folder / "calibration.csv")
    return 0
