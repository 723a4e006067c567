"""Ranks of systems over complete blocks, with their measures and claims.

Seeds and questions on one table share rows, so means are over the seeds of a question first and
then over questions, and the bootstrap resamples tables, then seeds within them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import studentized_range

from fairautoml.certification.bounds import cp_lower, cp_upper
from fairautoml.metrics import METRICS, Constraint
from fairautoml.selection.ensemble import EVEN

N_BOOTSTRAP = 2000
INTERVAL = (2.5, 97.5)
"""Percentiles of an interval."""
BLOCK = ["question", "seed"]


def complete_blocks(cells: pd.DataFrame, values: "pd.Series[float]") -> pd.DataFrame:
    """Return values by block and variant, of the blocks that every variant has been run on."""
    known = cells[[*BLOCK, "variant"]].assign(value=values)
    table = known.pivot_table(
        index=BLOCK, columns="variant", values="value", aggfunc="first", dropna=False, sort=False
    )
    n_run = known.groupby(BLOCK).size().reindex(table.index)
    return table[(n_run == known["variant"].nunique()) & table.notna().any(axis=1)]


def in_complete_blocks(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the cells of complete blocks, or all cells if no block is complete.

    Means over other blocks would compare variants on different questions.
    """
    n_run = cells.groupby(BLOCK)["variant"].transform("nunique")
    kept = cells[n_run == cells["variant"].nunique()]
    return cells if kept.empty else kept


def mean_over_questions(blocks: pd.DataFrame) -> "pd.Series[float]":
    """Return the mean of every column over seeds, then over questions."""
    return blocks.groupby(level="question", sort=False).mean().mean()


def tables_of(cells: pd.DataFrame) -> "pd.Series[str]":
    """Return the table of each question, or the question itself if no cell names it."""
    said = cells["dataset"] if "dataset" in cells else pd.Series(np.nan, index=cells.index)
    found = said.groupby(cells["question"], sort=False).first()
    return found.where(found.notna(), found.index.to_series()).astype(str)


def interval_of_mean(blocks: pd.DataFrame, tables: "pd.Series[str]") -> NDArray[np.float64]:
    """Return the 95 % bootstrap interval of ``mean_over_questions``.

    References
    ----------
    Davison, Hinkley, *Bootstrap Methods and their Application*, 1997, section 3.8 (clusters).
    """
    clusters: dict[str, list[NDArray[np.float64]]] = {}
    for question, own in blocks.groupby(level="question", sort=False):
        clusters.setdefault(tables[str(question)], []).append(own.to_numpy())
    if not clusters:
        return np.full((2, blocks.shape[1]), np.nan)
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(clusters), size=(N_BOOTSTRAP, len(clusters)))
    total, n_questions = np.zeros((N_BOOTSTRAP, blocks.shape[1])), np.zeros((N_BOOTSTRAP, 1))
    for slot in drawn.T:
        for at, questions in enumerate(clusters.values()):
            where = np.flatnonzero(slot == at)
            places = rng.random((len(where), max(map(len, questions))))
            for values in questions:
                seeds = (places[:, : len(values)] * len(values)).astype(np.int64)
                total[where] += values[seeds].mean(axis=1)
            n_questions[where] += len(questions)
    interval: NDArray[np.float64] = np.percentile(total / n_questions, INTERVAL, axis=0)
    return interval


LEVEL = 0.05
"""Largest probability that a true claim is called false."""

TINY = 1e-9
COUNTED = frozenset({"selection", "tpr", "fpr"})
"""Rates that are proportions of counted rows."""


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
LARGEST_GAP = 0.2
"""Largest gap of a front in the comparison."""
SIGNIFICANCE = 0.05

Signed = tuple[float, list[dict[str, Any]]]
"""Sign of the objective (1 if greater is better, else -1), and the improvements of a search."""


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


def front_value(front: Sequence[Sequence[float | None]], majority: float) -> float:
    """Return the hypervolume of a front of held-out accuracy and gap, as a mean gain.

    It is the mean, over limits of the gap from 0 to 0.2, of the best accuracy within the limit
    minus the accuracy of the majority class.
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
    """Return the common value of each block, also for failed cells."""
    by = [cells[name] for name in BLOCK]
    return pd.to_numeric(values).groupby(by).transform("max")


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


def sign_of(row: "pd.Series[Any]") -> float:
    """Return 1 if greater is better, else -1."""
    name = row.get("entry.objective")
    known = isinstance(name, str) and name in METRICS.names()
    return 1.0 if not known or METRICS.get(str(name)).greater_is_better else -1.0


def critical_difference(n_systems: int, n_questions: int) -> float:
    """Return the critical difference of mean ranks (Nemenyi's test, 5 %).

    References
    ----------
    Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7 (2006), 3.2.2.
    """
    q = studentized_range.ppf(1.0 - SIGNIFICANCE, n_systems, np.inf) / np.sqrt(2.0)
    return float(q * np.sqrt(n_systems * (n_systems + 1) / (6.0 * n_questions)))


LEAST_WAY = 0.01
"""Least difference of the accuracies of oracle and majority class for a normalised accuracy."""
MEANS = {
    "accuracy": "holdout.accuracy",
    "gap": "holdout.gap",
    "strict_fair_accuracy": "strict_fair_accuracy",
    "normalized": "normalized",
    "feasible_on_search": "feasible_on_search",
    "within_limit": "within_limit",
    "mean_excess": "mean_excess",
    "exceeded_claims": "exceeded_claims",
    "declined": "declined",
    "refuted_claims": "refuted_claims",
    "front_value": "front_value",
    "at_limit": "at_limit",
    "score_if_feasible": "score_if_feasible",
    "feasible_trials": "feasible_trials",
    "seconds_to_best": "search.seconds_to_best",
    "n_trials": "search.n_trials",
    "budget_used": "budget.used",
    "overhead_fraction": "search.overhead_fraction",
    "cpu_seconds": "cpu_seconds",
    "peak_memory_mb": "peak_memory_mb",
    "needs_sensitive": "entry.needs_sensitive",
    "randomized": "entry.randomized",
}
"""Columns of the table of ranks, and the columns that they average."""


def strict_fair_accuracy(cells: pd.DataFrame) -> "pd.Series[float]":
    """Return the held-out accuracy if the constraint is met, else that of the majority class.

    A model that violates its limit, or a missing model, scores like the constant predictor of the
    majority class, which has no gap.
    """
    accuracy, excess, majority = (
        numbers(cells, f"holdout.{name}") for name in ("accuracy", "excess", "majority")
    )
    of_block = majority.groupby([cells[name] for name in BLOCK]).transform("max")
    return accuracy.where((excess <= 0) | unconstrained(cells), of_block)


def unconstrained(cells: pd.DataFrame) -> "pd.Series[bool]":
    """Return which cells have no constraint."""
    if "status" not in cells:
        return pd.Series(False, index=cells.index)
    return cells["status"] == "no_constraint"


def ranks(cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row per variant, best mean rank first."""
    done = cells["outcome"] == "done"
    status = cells["status"] if "status" in cells else pd.Series("", index=cells.index)
    feasible = (status == "feasible") & done
    excess = numbers(cells, "holdout.excess")
    judged = numbers(cells, "holdout.accuracy").notna()
    unanswered = ~done if judged.any() else pd.Series(False, index=cells.index)
    claimed = feasible & judged & (numbers(cells, "claims").fillna(1.0) > 0)
    strict = strict_fair_accuracy(cells)
    known = cells.assign(
        strict_fair_accuracy=strict,
        normalized=_normalized(cells, strict),
        feasible_on_search=feasible.astype(float),
        mean_excess=excess.clip(lower=0.0),
        front_value=front_values(cells),
        at_limit=accuracies_at_limit(cells),
        within_limit=(excess <= 0)
        .where((judged | unanswered) & ~unconstrained(cells))
        .astype(float),
        exceeded_claims=(~(excess <= 0)).where(claimed).astype(float),
        refuted_claims=numbers(cells, "claim.refuted").where(claimed),
        declined=(numbers(cells, "search.margin.probability") < EVEN).where(claimed).astype(float),
        score_if_feasible=numbers(cells, "search.score").where(feasible),
        feasible_trials=_feasible_trials(cells),
    )
    measured = pd.DataFrame({name: numbers(known, column) for name, column in MEANS.items()})
    by_question = measured.groupby([cells["variant"], cells["question"]], sort=False).mean()
    means = by_question.groupby(level=0, sort=False).mean()
    own = cells.groupby("variant", sort=False)
    counts = pd.DataFrame({"cells": own.size(), "failed": (~done).groupby(cells["variant"]).sum()})
    table = mean_ranks(cells).join(counts, how="outer").join(means)
    ours = our_variant(cells)
    if ours is not None:
        margin = known["variant"].str.endswith(SUFFIX)
        table = table.join(_reached_ranks(known[~margin], ours))
    return table.rename_axis("variant").reset_index().sort_values("rank", kind="stable")


def _normalized(cells: pd.DataFrame, strict: "pd.Series[float]") -> "pd.Series[float]":
    """Return the accuracy scaled to 0 for the majority class and 1 for the oracle."""
    majority = numbers(cells, "holdout.majority")
    majority = majority.groupby([cells[name] for name in BLOCK]).transform("max")
    way = numbers(cells, "oracle") - majority
    return (strict - majority) / way.where(way >= LEAST_WAY)


def _feasible_trials(cells: pd.DataFrame) -> "pd.Series[float]":
    """Return the share of feasible trials; other systems count rules, so theirs is missing."""
    share = numbers(cells, "search.n_feasible") / numbers(cells, "search.n_trials")
    return share if "system" not in cells else share.where(cells["system"].isna())


def our_variant(cells: pd.DataFrame) -> str | None:
    """Return the first variant of this library, None without other systems."""
    if "system" not in cells or cells["system"].isna().all():
        return None
    return next(iter(our_variants(cells)), None)


def our_variants(cells: pd.DataFrame) -> list[str]:
    """Return all variants of this library, whose runs name no system."""
    named = set(cells.loc[cells["system"].notna(), "variant"]) if "system" in cells else set()
    return [str(name) for name in cells["variant"].drop_duplicates() if name not in named]


def versus(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the paired differences in strict fair accuracy of each variant to ours."""
    ours = our_variant(cells)
    if ours is None:
        return pd.DataFrame(columns=["reference", "variant", "difference", "low", "high"])
    blocks = complete_blocks(cells, strict_fair_accuracy(cells))
    budget = numbers(cells, "search.time_budget").groupby(cells["variant"]).max()
    smaller = [name for name in our_variants(cells) if budget[name] < budget[ours]]
    parts = []
    for reference in (ours, *smaller):
        apart = blocks.sub(blocks[reference], axis=0)
        low, high = interval_of_mean(apart, tables_of(cells))
        found = {"difference": mean_over_questions(apart), "low": low, "high": high}
        table = pd.DataFrame(found, index=blocks.columns).rename_axis("variant").reset_index()
        parts.append(table.assign(reference=reference))
    return pd.concat(parts)[["reference", "variant", "difference", "low", "high"]]


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


def mean_ranks(cells: pd.DataFrame) -> pd.DataFrame:
    """Return mean rank and interval per variant, missing without a complete block."""
    strict = strict_fair_accuracy(cells).where(numbers(cells, "holdout.accuracy").notna())
    blocks = complete_blocks(cells, strict)
    found = blocks.rank(axis=1, ascending=False, na_option="bottom")
    tables = tables_of(cells)
    low, high = interval_of_mean(found, tables)
    questions = found.index.get_level_values("question").unique()
    return pd.DataFrame(
        {
            "rank": mean_over_questions(found),
            "rank_low": low,
            "rank_high": high,
            "blocks": len(found),
            "questions": len(questions),
            "tables": tables.reindex(questions).nunique(),
        },
        index=blocks.columns,
    )


def numbers(cells: pd.DataFrame, name: str) -> "pd.Series[float]":
    """Return a column as numbers, missing values if it does not exist."""
    if name not in cells:
        return pd.Series(np.nan, index=cells.index)
    return pd.to_numeric(cells[name], errors="coerce").astype(float)


COLUMNS = ("league", "variant", "rank", "rank_low", "rank_high", "blocks", "strict_fair_accuracy")

LEAGUES = (
    "aware rules read the group of a new person, feature models have it as one of their columns, "
    "blind ones do without it, randomized ones may draw lots"
)
"""Explanation of the names of the leagues."""


def leagues(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the ranks of every variant within its league.

    A variant is ``aware`` if one of its rules reads the group of a new row, ``feature`` if only
    its models have the group as a feature, else ``blind``; ``randomized`` if a rule may randomize,
    else ``deterministic``.
    """
    known = cells.assign(strict_fair_accuracy=strict_fair_accuracy(cells))
    league = known["variant"].map(_league_of(known[cells["outcome"] == "done"]))
    if league.nunique() < 2:
        return pd.DataFrame(columns=list(COLUMNS))
    parts = []
    for name, own in known.groupby(league):
        worth = own.groupby(["variant", "question"], sort=False)["strict_fair_accuracy"].mean()
        means = worth.groupby(level=0, sort=False).mean()
        table = mean_ranks(own).join(means).rename_axis("variant").reset_index()
        if len(table) < 2:
            table[["rank", "rank_low", "rank_high"]] = np.nan
        parts.append(table.assign(league=name).sort_values("rank", kind="stable"))
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)]


def _league_of(cells: pd.DataFrame) -> "pd.Series[str]":
    """Return the league by variant."""
    flags = pd.DataFrame(
        {
            "variant": cells["variant"],
            "aware": _is_true(cells, "entry.needs_sensitive"),
            "feature": numbers(cells, "group_is_feature").fillna(1.0) > 0,
            "randomized": _is_true(cells, "entry.randomized"),
        }
    )
    found = flags.groupby("variant", sort=False).any()
    reads = found["feature"].map({True: "feature", False: "blind"}).mask(found["aware"], "aware")
    draws = found["randomized"].map({True: "randomized", False: "deterministic"})
    return reads + ", " + draws


def _is_true(cells: pd.DataFrame, name: str) -> "pd.Series[bool]":
    return numbers(cells, name).fillna(0.0) > 0
