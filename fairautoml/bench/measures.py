"""Further measures of a sweep: rows with our margin, fronts, time to reach."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import studentized_range

from fairautoml.bench.blocks import BLOCK
from fairautoml.metrics import METRICS

MARGIN = "margin.holdout."
SUFFIX = "+margin"
LARGEST_GAP = 0.2
"""Gap at which a front ends: what is less fair is of no interest."""
SIGNIFICANCE = 0.05

Signed = tuple[float, list[dict[str, Any]]]
"""Whether more is better, 1 or -1, and the moments at which a search had something better."""


def with_margin_rows(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the cells, and for every system that gave candidates a second one with our margin.

    Its name ends with ``+margin``; where the system failed, so does the second one.
    """
    columns = [str(name) for name in cells if str(name).startswith(MARGIN)]
    if f"{MARGIN}accuracy" not in columns:
        return cells
    given = cells[cells[f"{MARGIN}accuracy"].notna()]["variant"].unique()
    second = cells[cells["variant"].isin(given)].copy()
    for name in columns:
        second[f"holdout.{name.removeprefix(MARGIN)}"] = second[name]
    for name in ("score", "gap"):
        second[f"search.{name}"] = second[f"margin.{name}"]
    if "margin.status" in second:
        second["status"] = second["margin.status"].fillna(second["status"])
    second["variant"] = second["variant"] + SUFFIX
    # The front and the claim are those of the system, and stay in its own row.
    for name in ("holdout_front", "claim.refuted", "claim.excess_low"):
        if name in second:
            second[name] = np.nan
    return pd.concat([cells, second], ignore_index=True)


def front_value(front: Sequence[Sequence[float | None]], majority: float) -> float:
    """Return the hypervolume of a front of held-out accuracy and gap, as a mean gain.

    It is the mean, over limits of the gap from 0 to 0.2, of the best accuracy within the limit
    above the majority class's accuracy, which is always to be had.
    """
    known = sorted(
        (gap, accuracy)
        for accuracy, gap in front
        if gap is not None and accuracy is not None and gap < LARGEST_GAP
    )
    edges = [*(gap for gap, _ in known), LARGEST_GAP]
    best, area = majority, 0.0
    for at, (gap, accuracy) in enumerate(known):
        best = max(best, accuracy)
        area += (edges[at + 1] - gap) * (best - majority)
    return area / LARGEST_GAP


def accuracy_at(front: Sequence[Sequence[float | None]], limit: float) -> float:
    """Return the accuracy of a front where its gap equals the limit.

    Linear between neighbouring points of the front, so that fronts are compared without luck in
    the margin; NaN when no point has so small a gap.
    """
    known = sorted((gap, acc) for acc, gap in front if gap is not None and acc is not None)
    best: list[tuple[float, float]] = []
    for gap, accuracy in known:
        if not best or accuracy > best[-1][1]:
            best.append((gap, accuracy))
    if not best or best[0][0] > limit:
        return np.nan
    gaps, accuracies = np.array(best).T
    return float(np.interp(limit, gaps, accuracies))


def accuracies_at_limit(cells: pd.DataFrame) -> "pd.Series[float]":
    """Return ``accuracy_at`` the limit of each cell, missing for systems without fronts.

    One decision for everybody, which has no gap, is a point of every front.
    """
    if not {"holdout_front", "holdout.gap", "holdout.excess"} <= set(cells):
        return pd.Series(np.nan, index=cells.index)
    limits = _of_block(cells, cells["holdout.gap"] - cells["holdout.excess"])
    found = [
        np.nan if front is None else accuracy_at([*front, (majority, 0.0)], limit)
        for front, majority, limit in zip(_fronts(cells), _majorities(cells), limits, strict=True)
    ]
    return pd.Series(found, index=cells.index, dtype=float)


def front_values(cells: pd.DataFrame) -> "pd.Series[float]":
    """Return ``front_value`` of each cell, missing for systems without fronts."""
    if "holdout_front" not in cells:
        return pd.Series(np.nan, index=cells.index)
    found = [
        np.nan if front is None else front_value(front, majority)
        for front, majority in zip(_fronts(cells), _majorities(cells), strict=True)
    ]
    return pd.Series(found, index=cells.index, dtype=float)


def _fronts(cells: pd.DataFrame) -> list[list[list[float | None]] | None]:
    """Return the front of each cell; one without, of a system that gives fronts, has no point."""
    written = cells["holdout_front"]
    gives = written.notna().groupby(cells["variant"]).transform("any")
    return [
        json.loads(front) if isinstance(front, str) else ([] if known else None)
        for front, known in zip(written, gives, strict=True)
    ]


def _majorities(cells: pd.DataFrame) -> "pd.Series[float]":
    return _of_block(cells, cells["holdout.majority"])


def _of_block(cells: pd.DataFrame, values: "pd.Series[float]") -> "pd.Series[float]":
    """Return what is the same for all cells of a block, also for those that failed."""
    by = [cells[name] for name in BLOCK]
    return pd.to_numeric(values).groupby(by).transform("max")


def seconds_to_reach(cells: pd.DataFrame, ours: str) -> "pd.Series[float]":
    """Return how soon our search had something as good as what each cell ended with.

    Both values are those on the system's own validation rows, feasible ones only.
    """
    own = cells[(cells["variant"] == ours) & cells["search.improvements"].notna()]
    curves = {
        (row["question"], row["seed"]): (sign_of(row), json.loads(row["search.improvements"]))
        for _, row in own.iterrows()
    }
    found = [_reached(curves, row) for _, row in cells.iterrows()]
    return pd.Series(found, index=cells.index, dtype=float)


def _reached(curves: dict[tuple[Any, Any], Signed], row: "pd.Series[Any]") -> float:
    sign, curve = curves.get((row["question"], row["seed"]), (1.0, None))
    if curve is None or row["status"] != "feasible" or pd.isna(row["search.score"]):
        return np.nan
    score = row["search.score"]
    times = [
        moment["seconds"]
        for moment in curve
        if moment["feasible"] and sign * moment["score"] >= sign * score
    ]
    return float(min(times)) if times else np.inf


def sign_of(row: "pd.Series[Any]") -> float:
    """Return 1 where a larger objective is better, -1 where a smaller one is."""
    name = row.get("entry.objective")
    known = isinstance(name, str) and name in METRICS.names()
    return 1.0 if not known or METRICS.get(str(name)).greater_is_better else -1.0


def critical_difference(n_systems: int, n_questions: int) -> float:
    """Return by how much mean ranks must differ to be told apart (Nemenyi's test, 5 %).

    References
    ----------
    Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7 (2006), 3.2.2.
    """
    q = studentized_range.ppf(1.0 - SIGNIFICANCE, n_systems, np.inf) / np.sqrt(2.0)
    return float(q * np.sqrt(n_systems * (n_systems + 1) / (6.0 * n_questions)))
