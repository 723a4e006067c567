"""Measures of the committed comparisons: claims, margins, fronts at the limit, times."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.bench.tables import (
    fronts,
    is_feasible,
    majorities,
    measures,
    numbers,
    of_block,
    our_variant,
    ranks,
    sign_of,
)
from fairautoml.certification.bounds import cp_lower, cp_upper
from fairautoml.metrics import Constraint
from fairautoml.selection.feasibility import EVEN

LEVEL = 0.05
"""Largest probability that a true claim is called false."""

TINY = 1e-9


def claim_of(result: Mapping[str, Any]) -> dict[str, float]:
    """Return whether the held-out rows refute the claim of a system."""
    rates = result.get("holdout", {}).get("rates", {})
    constraints = result.get("constraint") or []
    if not rates or not constraints:
        return {}
    written = [constraints] if isinstance(constraints, str) else constraints
    parsed = [Constraint.parse(text) for text in written]
    known = all(
        c.metric.form == "difference" and all(r.is_acceptance for r in c.metric.rates)
        for c in parsed
    )
    if not known or not _counted(rates, result["holdout"].get("n_rows", np.inf)):
        return {}
    lowest = [
        _low(constraint, groups, _n_bounds(parsed, rates)) - constraint.limit
        for constraint in parsed
        for system, groups in rates.items()
        if constraint.system in {None, system}
    ]
    low = max(lowest)
    refuted = result.get("status") == "feasible" and low > 0
    return {"claim.refuted": float(refuted), "claim.excess_low": round(low, 6)}


def _counted(rates: Mapping[str, Mapping[str, Any]], n_rows: float) -> bool:
    """Return whether all rates are shares of rows: of two classes, without weights."""
    groups = [group for table in rates.values() for group in table.values()]
    weights = [float(group["weight"] or 0) for group in groups]
    return all("selection" in group for group in groups) and all(
        weight.is_integer() and weight <= n_rows for weight in weights
    )


def _n_bounds(constraints: list[Constraint], rates: Mapping[str, Mapping[str, Any]]) -> int:
    groups = sum(len(table) for table in rates.values())
    return 2 * groups * sum(len(constraint.metric.rates) for constraint in constraints)


def _low(
    constraint: Constraint, groups: Mapping[str, Mapping[str, float | None]], n_bounds: int
) -> float:
    """Return the least gap that the counts allow; negative where intervals overlap."""
    found = -1.0
    for rate in constraint.metric.rates:
        events, rows = _counts(list(groups.values()), rate.name)
        sure = rows > 0
        if sure.sum() > 1:
            lower = cp_lower(events[sure], rows[sure], LEVEL / n_bounds)
            upper = cp_upper(events[sure], rows[sure], LEVEL / n_bounds)
            found = max(found, float(lower.max() - upper.min()))
    return found


def _counts(
    groups: list[Mapping[str, float | None]], rate: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return events and rows of a rate in every group."""
    pairs = []
    for group in groups:
        share = group.get(rate)
        rows = float(group["weight"] or 0) if rate == "selection" else labelled(group, rate)
        pairs.append((0.0, 0.0) if share is None else (round(share * rows), round(rows)))
    events, rows_of = np.array(pairs, dtype=np.float64).T
    return events, rows_of


def labelled(group: Mapping[str, float | None], rate: str) -> float:
    """Return how many rows have the label of a rate, from the group's four rates.

    With p rows of label 1 among n: selection n = tpr p + fpr (n - p), and accuracy n =
    tpr p + (1 - fpr) (n - p); the better conditioned of both is solved for p. If all three rates
    are one half, neither determines p, and no row is counted.
    """
    n, tpr, fpr = group["weight"] or 0.0, group.get("tpr"), group.get("fpr")
    selection, accuracy = group.get("selection"), group.get("accuracy")
    if tpr is None or fpr is None or selection is None or accuracy is None:
        return float(n)  # there is a single label
    if max(abs(tpr - fpr), abs(tpr + fpr - 1.0)) < TINY:
        return 0.0
    if abs(tpr - fpr) >= abs(tpr + fpr - 1.0):
        positive = n * (selection - fpr) / (tpr - fpr)
    else:
        positive = n * (accuracy - 1.0 + fpr) / (tpr + fpr - 1.0)
    return float(positive if rate == "tpr" else n - positive)


MARGIN = "margin.holdout."
SUFFIX = "+margin"
ORDER = (
    "accuracy", "gap", "strict_fair_accuracy", "normalized", "feasible_on_search", "within_limit",
    "mean_excess", "exceeded_claims", "declined", "refuted_claims", "front_value", "at_limit",
    "score_if_feasible", "feasible_trials", "seconds_to_best", "n_trials", "budget_used",
    "overhead_fraction", "cpu_seconds", "peak_memory_mb", "needs_sensitive", "randomized",
)  # fmt: skip
"""Columns of the table of ranks."""

LEAST_WAY = 0.01
"""Least difference of the accuracies of oracle and majority class for a normalised accuracy."""

Signed = tuple[float, list[dict[str, Any]]]
"""Sign of the objective (1 if greater is better, else -1), and the improvements of a search."""


def all_measures(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the measures of every sweep with those of the committed comparisons."""
    found = measures(cells)
    excess, judged = numbers(cells, "holdout.excess"), found["accuracy"].notna()
    claimed = is_feasible(cells) & judged & (numbers(cells, "claims").fillna(1.0) > 0)
    met = numbers(cells, "search.margin.probability")
    further = {
        "normalized": _normalized(cells, found["strict_fair_accuracy"]),
        "exceeded_claims": (~(excess <= 0)).where(claimed).astype(float),
        "declined": (met < EVEN).where(claimed).astype(float),
        "refuted_claims": numbers(cells, "claim.refuted").where(claimed),
        "at_limit": accuracies_at_limit(cells),
    }
    return found.assign(**further)[list(ORDER)]


def all_ranks(cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row per variant with all measures, best mean rank first."""
    table, ours = ranks(cells, all_measures(cells)), our_variant(cells)
    if ours is None:
        return table
    own = cells[~cells["variant"].str.endswith(SUFFIX)]
    return table.join(_reached_ranks(own, ours), on="variant")


def with_margin_rows(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the cells, and a second cell with our margin for every system with candidates.

    Its name ends with ``+margin``; it fails if the system fails.
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


def accuracy_at(front: Sequence[Sequence[float | None]], limit: float) -> float:
    """Return the accuracy of a front where its gap equals the limit.

    The front is interpolated linearly, so that the margin of a single point does not matter; NaN
    if no point has so small a gap.
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

    The constant predictor, which has no gap, is a point of every front.
    """
    if not {"holdout_front", "holdout.gap", "holdout.excess"} <= set(cells):
        return pd.Series(np.nan, index=cells.index)
    limits = of_block(cells, cells["holdout.gap"] - cells["holdout.excess"])
    found = [
        np.nan if front is None else accuracy_at([*front, (majority, 0.0)], limit)
        for front, majority, limit in zip(fronts(cells), majorities(cells), limits, strict=True)
    ]
    return pd.Series(found, index=cells.index, dtype=float)


def _normalized(cells: pd.DataFrame, strict: "pd.Series[float]") -> "pd.Series[float]":
    """Return the accuracy scaled to 0 for the majority class and 1 for the oracle."""
    majority = of_block(cells, numbers(cells, "holdout.majority"))
    way = numbers(cells, "oracle") - majority
    return (strict - majority) / way.where(way >= LEAST_WAY)


def seconds_to_reach(cells: pd.DataFrame, ours: str) -> "pd.Series[float]":
    """Return the time at which our search reached the final score of each cell.

    Both scores are feasible ones on the validation rows of the system.
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


def _reached_ranks(cells: pd.DataFrame, ours: str) -> pd.DataFrame:
    """Return how often and how soon our search reached the final score of each variant."""
    if "search.improvements" not in cells:
        return pd.DataFrame(index=pd.Index(cells["variant"].unique()))
    seconds = seconds_to_reach(cells, ours).dropna()
    by = [cells["variant"], cells["question"]]
    reached = (seconds < np.inf).groupby(by).mean().groupby(level=0).mean()
    share = 1.0 / seconds.groupby(by).transform("size")
    medians = {
        name: _median(own, share[own.index])
        for name, own in seconds.groupby(cells["variant"], sort=False)
    }
    return pd.DataFrame({"ours_reached": reached, "ours_seconds": pd.Series(medians)})


def _median(values: "pd.Series[float]", weight: "pd.Series[float]") -> float:
    """Return the weighted lower median."""
    ordered = values.sort_values()
    behind = weight[ordered.index].cumsum()
    return float(ordered.iloc[int((behind < weight.sum() / 2.0 - TINY).sum())])
