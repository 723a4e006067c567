"""Claims of feasibility against what held-out rows say, beyond chance."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.certification.bounds import cp_lower, cp_upper
from fairautoml.metrics import Constraint

LEVEL = 0.05
"""Probability that an honest claim is called false, at most."""

TINY = 1e-9
COUNTED = frozenset({"selection", "tpr", "fpr"})
"""Rates that are shares of rows that can be counted."""


def claim_of(result: Mapping[str, Any]) -> dict[str, float]:
    """Return whether what a system claims is refuted by the held-out rows."""
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
    tpr p + (1 - fpr) (n - p); the better conditioned of both is solved for p. Where all three
    rates are one half neither says it, and no row is counted.
    """
    n, tpr, fpr = group["weight"] or 0.0, group.get("tpr"), group.get("fpr")
    selection, accuracy = group.get("selection"), group.get("accuracy")
    if tpr is None or fpr is None or selection is None or accuracy is None:
        return float(n)  # one label only: all rows have that of the rate that is there
    if max(abs(tpr - fpr), abs(tpr + fpr - 1.0)) < TINY:
        return 0.0
    if abs(tpr - fpr) >= abs(tpr + fpr - 1.0):
        positive = n * (selection - fpr) / (tpr - fpr)
    else:
        positive = n * (accuracy - 1.0 + fpr) / (tpr + fpr - 1.0)
    return float(positive if rate == "tpr" else n - positive)
