"""From the records of a comparison of mitigators to its tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fairautoml.data.files import write_csv, write_whole
from mitigators.plan import PLAIN, Arsenal
from mitigators.record import TrialRecord
from mitigators.worth import accuracy_within, dominated_by, hypervolume

REFERENCE_GAP = 0.2
"""Gap of the reference point of the hypervolume; its accuracy is the majority's."""
WITHIN = 0.05
"""Held-out gap at which accuracy is compared."""
KEYS = ["table", "constraint", "method"]
MEASURED = ("hypervolume", "accuracy_within", "best_accuracy", "least_gap", "cpu_seconds")


def write_tables(records: Sequence[TrialRecord], plan: Arsenal, folder: Path) -> None:
    """Write ``points.csv``, ``cells.csv``, ``summary.csv`` and ``summary.md``."""
    points = points_of(records)
    write_csv(points, folder / "points.csv")
    cells = cells_of(points)
    summary = summarize(cells)
    write_csv(cells, folder / "cells.csv")
    write_csv(summary, folder / "summary.csv")
    failed = [record for record in records if record.outcome == "failed"]
    write_whole(page(summary, failed, plan), folder / "summary.md")


def points_of(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """Return one row per point of a front, failed ones with their reason."""
    leagues = ("table", "method", "seed", "is_peer", "needs_sensitive", "randomized", "shared_cpu")
    rows = [
        {**{name: getattr(record, name) for name in leagues}, **point}
        for record in records
        for point in record.points
    ]
    columns = [*leagues, "constraint", "strength", "accuracy", "gap", "majority",
               "search_accuracy", "search_gap", "cpu_seconds", "reason"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def cells_of(points: pd.DataFrame) -> pd.DataFrame:
    """Return one row per table, constraint, method and seed.

    Every front has the plain model and the majority's constant decision besides its own points,
    as anybody has them for nothing.
    """
    good = points[points["gap"].notna() & points["accuracy"].notna()]
    plain = good[good["method"] == PLAIN]
    scale = (plain["accuracy"] - plain["majority"]).groupby(plain["table"]).mean()
    rows = []
    for key, own in good.groupby([*KEYS, "seed"], sort=False):
        table, constraint, _, seed = key
        base = plain[(plain["table"] == table) & (plain["constraint"] == constraint)]
        base = base[base["seed"] == seed]
        if base.empty:
            continue
        rows.append(
            dict(zip([*KEYS, "seed"], key, strict=True)) | _worth(own, base, scale[str(table)])
        )
    order = [*KEYS, "seed", "is_peer", "needs_sensitive", "randomized", "n_points", *MEASURED]
    return pd.DataFrame(rows, columns=order)


def _worth(own: pd.DataFrame, base: pd.DataFrame, scale: float) -> dict[str, Any]:
    first, majority = own.iloc[0], float(base["majority"].iloc[0])
    both = pd.concat([own, base])
    gap = np.append(both["gap"].to_numpy(float), 0.0)
    accuracy = np.append(both["accuracy"].to_numpy(float), majority)
    volume = hypervolume(gap, accuracy, gap_at=REFERENCE_GAP, accuracy_at=majority)
    return {
        "is_peer": bool(first["is_peer"]),
        "needs_sensitive": bool(first["needs_sensitive"]),
        "randomized": bool(first["randomized"]),
        "n_points": len(own),
        "hypervolume": volume / (REFERENCE_GAP * scale) if scale > 0 else np.nan,
        "accuracy_within": accuracy_within(gap, accuracy, WITHIN),
        "best_accuracy": own["accuracy"].max(),
        "least_gap": own["gap"].min(),
        "cpu_seconds": float(first["shared_cpu"]) + own["cpu_seconds"].sum(),
    }


def summarize(cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row per table, constraint and method: mean and deviation over its seeds."""
    groups = cells.groupby([*KEYS, "is_peer", "needs_sensitive", "randomized"], sort=False)
    mean, spread = groups[list(MEASURED)].mean(), groups[list(MEASURED)].std()
    parts: dict[str, Any] = {"seeds": groups.size()}
    for name in MEASURED:
        parts |= {f"{name}.mean": mean[name], f"{name}.sd": spread[name]}
    table = pd.DataFrame(parts).reset_index()
    table["dominated_by"] = [dominated_by(row, cells) for _, row in table.iterrows()]
    order = ["table", "constraint", "hypervolume.mean"]
    rising = [True, True, False]
    return table.sort_values(order, ascending=rising, kind="stable", ignore_index=True)


def page(summary: pd.DataFrame, failed: Sequence[TrialRecord], plan: Arsenal) -> str:
    """Return the summary as Markdown: all tables together, then each with each constraint."""
    text = (
        f"Held-out rows, {len(plan.seeds)} seeds, mean ± standard deviation. Hypervolume: between "
        f"the front and the point of gap {REFERENCE_GAP:g} and the majority's accuracy; 1 = as "
        "accurate as the plain model without any gap. The front of every method has the plain "
        f"model and the majority's decision in it. Accuracy: best at a gap of {WITHIN:g}, "
        "interpolated. G: needs the group of new rows. R: decides at random. CPU: seconds for the "
        "whole front.\n"
    )
    for constraint in dict.fromkeys(summary["constraint"]):
        own = summary[summary["constraint"] == constraint]
        text += f"\n## {constraint}, mean over the tables\n\n" + _together(own)
    for (table, constraint), own in summary.groupby(["table", "constraint"], sort=False):
        text += f"\n## {table}, {constraint}\n\n" + _one(own)
    if failed:
        text += "\n## Failed\n\n" + "".join(
            f"- {r.table}, seed {r.seed}, {r.method}: {r.reason}\n" for r in failed
        )
    return text


def _together(own: pd.DataFrame) -> str:
    groups = own.groupby("method")
    table = groups[["hypervolume.mean", "accuracy_within.mean", "cpu_seconds.mean"]].mean()
    table["n"] = groups.size()
    lines = (
        "| method | league | tables | hypervolume | accuracy | CPU |\n|---|---|---|---|---|---|\n"
    )
    leagues = {row["method"]: _league(row) for _, row in own.iterrows()}
    for name, row in table.sort_values("hypervolume.mean", ascending=False).iterrows():
        lines += (
            f"| {name} | {leagues[name]} | {row['n']:.0f} | {row['hypervolume.mean']:.3f} | "
            f"{row['accuracy_within.mean']:.4f} | {row['cpu_seconds.mean']:.1f} |\n"
        )
    return lines


def _one(own: pd.DataFrame) -> str:
    lines = "| method | league | hypervolume | accuracy | CPU | dominated by |\n"
    lines += "|---|---|---|---|---|---|\n"
    for _, row in own.iterrows():
        spread = [
            f"{row[f'{name}.mean']:.{digits}f} ± {row[f'{name}.sd']:.{digits}f}"
            for name, digits in (("hypervolume", 3), ("accuracy_within", 4), ("cpu_seconds", 1))
        ]
        cells = [row["method"], _league(row), *spread, row["dominated_by"]]
        lines += "| " + " | ".join(cells) + " |\n"
    return lines


def _league(row: "pd.Series[Any]") -> str:
    marks = ("G" if row["needs_sensitive"] else "") + ("R" if row["randomized"] else "")
    return f"{'peer' if row['is_peer'] else 'ours'} {marks or '-'}"
