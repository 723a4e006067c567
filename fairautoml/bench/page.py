"""HTML report of a sweep."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fairautoml.bench.tables import (
    command_of_one,
    front_values,
    numbers,
    sign_of,
    spread_text,
    strict_fair_accuracy,
)
from fairautoml.bench.tasks import read_rows
from fairautoml.exceptions import RunFolderError
from fairautoml.report.charts import LEFT, RIGHT, ROW, TOP, WIDTH, Axis, nice_axis, shortened
from fairautoml.report.page import render
from fairautoml.storage.run_folder import read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """The mean rank of a system over all blocks of question and seed."""

    name: str  # the system
    rank: float  # mean rank with its bootstrap interval; 1 is best
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of the report."""

    title: str  # heading, and description of the numbers
    about: str
    header: tuple[str, ...]  # names of the columns
    rows: tuple[tuple[str, ...], ...]  # cells; the first is the name of the row


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A value of one system over time."""

    name: str  # the system
    points: tuple[tuple[float, float], ...]  # seconds and value


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepView:
    """Content of the report of a sweep."""

    name: str  # name of the sweep
    about: str  # one sentence on the comparison
    tables: tuple[Table, ...]  # in the order they are shown
    manifest: Mapping[str, str]  # machine, versions, commit
    command: str  # command that repeats the sweep
    blocks: int = 0  # blocks of question and seed behind the ranks
    ranked: tuple[Ranked, ...] = ()  # best first; empty for a sweep of one system
    curves: tuple[Curve, ...] = ()  # the search over time, empty if unknown
    # task, seed and reason; None if the cells are no fits
    failures: tuple[tuple[str, str, str], ...] | None = None


LABELS, TEXTS = 270.0, 150.0
"""Width of the names and of the numbers in the figure of ranks."""

NARROW, MARGIN, TALL_ROW = 360.0, 8.0, 44.0
"""Width, margin and row height on a phone, where names and numbers are above the lines."""

LETTERS, NARROW_LETTERS = 34, 28
"""Longest name beside its rank, on a wide and on a narrow screen."""

DASHES = ("", "7 4", "2 3", "9 3 2 3", "16 4", "2 8")
"""Dash patterns, so that curves can be distinguished without colours."""

HUES = 6
"""Colours of curves, as many as the style sheet has."""


def sweep_page(view: SweepView) -> str:
    """Return the page of a sweep."""
    lines, x = _ranks(view, start=LABELS, end=WIDTH - TEXTS, row=ROW)
    narrow, narrow_x = _ranks(
        view, start=MARGIN, end=NARROW - MARGIN, row=TALL_ROW, letters=NARROW_LETTERS
    )
    return render(
        "sweep.html",
        view=view,
        x=x,
        lines=lines,
        narrow_x=narrow_x,
        narrow=narrow,
        curves=_drawn(view.curves),
    )


def ranks_picture(view: SweepView) -> str:
    """Return the figure of the mean ranks as SVG."""
    lines, x = _ranks(view, start=LABELS, end=WIDTH - TEXTS, row=ROW)
    return render("ranks.svg", name=view.name, x=x, lines=lines).strip() + "\n"


def _ranks(
    view: SweepView, *, start: float, end: float, row: float, letters: int = LETTERS
) -> tuple[list[dict[str, Any]], Axis]:
    """Return the line of each system, and the axis, of the figure of ranks."""
    most = max((item.high for item in view.ranked), default=1.0)
    x = Axis(low=1.0, high=max(most, 2.0), start=start, end=end, title="mean rank")
    lines = [
        {
            "name": shortened(item.name, letters),
            "y": TOP + row * (at + 0.5),
            "at": x.at(item.rank),
            "low": x.at(max(1.0, item.low)),
            "high": x.at(item.high),
            "text": f"{item.rank:.2f} [{item.low:.2f}, {item.high:.2f}]",
        }
        for at, item in enumerate(view.ranked)
    ]
    return lines, x


def _drawn(curves: Sequence[Curve]) -> dict[str, Any] | None:
    """Return the curves as steps, each with a hue and a dash pattern."""
    points = [point for curve in curves for point in curve.points]
    if not points:
        return None
    x = nice_axis(0.0, max(p[0] for p in points), LEFT, WIDTH - RIGHT, "seconds")
    values = [p[1] for p in points]
    y = nice_axis(min(values), max(values), 352.0, TOP, "")
    lines = []
    for number, curve in enumerate(curves):
        (first, value), *rest = curve.points
        path = f"M{x.at(first)},{y.at(value)}"
        path += "".join(f"H{x.at(s)}V{y.at(v)}" for s, v in rest)
        # Neighbouring curves differ in both, for colour-blind readers.
        dash = DASHES[(number + number // HUES) % len(DASHES)]
        lines.append((curve.name, path, number % HUES, dash))
    return {"x": x, "y": y, "lines": lines}


ABOUT = {
    "strict_fair_accuracy": "strict fair accuracy",
    "accuracy": "held-out accuracy",
    "gap": "held-out gap",
    "within_limit": "meets the bound on held-out rows",
    "exceeded_claims": "claims that held-out rows exceed",
    "refuted_claims": "claims that they refute beyond chance",
    "mean_excess": "held-out gap beyond the bound",
    "normalized": "strict fair accuracy, 0 = majority, 1 = oracle",
    "front_value": "hypervolume of the front",
    "at_limit": "accuracy of the front at the limit",
    "feasible_on_search": "meets the bound on search rows",
    "score_if_feasible": "search score where met",
    "feasible_trials": "share of trials that meet it",
    "seconds_to_best": "seconds to the final value",
    "n_trials": "trials",
    "budget_used": "share of the budget used",
    "overhead_fraction": "share of time not training",
    "cpu_seconds": "processor seconds",
    "peak_memory_mb": "peak memory, MiB",
    "cells": "runs",
    "failed": "of them failed",
}
"""Titles of the columns of the table of ranks."""

PLACE = ("rank", "rank_low", "rank_high")

LEAGUES = (
    "aware rules read the group of a new person, feature models have it as one of their columns, "
    "blind ones do without it, randomized ones may draw lots"
)
"""Explanation of the names of the leagues."""

FURTHER = {
    "systems": (
        "One row per system",
        "Of a system's own row and the one with this library's margin the one of larger strict "
        "fair accuracy: mean rank, rank less ours and strict fair accuracy less ours, with 95 % "
        "bootstrap intervals paired by question and seed, and p of Wilcoxon's test over tables, "
        "corrected by Holm.",
    ),
    "versus": (
        "Paired differences",
        "Strict fair accuracy less that of the reference on the same rows, with its 95 % "
        "bootstrap interval over tables and seeds.",
    ),
    "volumes": ("Fronts by table", "Hypervolume of our front and the largest of another system."),
    "leagues": ("Within leagues", f"Ranks among those that may do the same: {LEAGUES}."),
}
"""Tables of comparisons that a folder may hold: title, and description of the numbers."""

FITS = {"task", "seed", "outcome", "reason"}
"""Columns of the cells of a sweep of fits."""

MOMENTS = 60
"""Points of a curve over time."""


def is_sweep(folder: Path) -> bool:
    """Whether a folder holds the tables of a sweep."""
    return (folder / "cells.csv").is_file() and (folder / "manifest.json").is_file()


def write_report(folder: Path) -> list[Path]:
    """Write the report of a sweep and, with several systems, the figure of their ranks."""
    view = sweep_view(folder)
    made = {"report.html": sweep_page(view)}
    if view.ranked:
        made["ranks.svg"] = ranks_picture(view)
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in made]


def sweep_view(folder: Path) -> SweepView:
    """Return the content of the report of a sweep; without fits, its summary only."""
    cells = read_rows(folder / "cells.csv")
    manifest = read_json(folder, "manifest.json")
    name = str(manifest.get("sweep", folder.name))
    view = SweepView(
        name=name,
        about=f"{len(cells)} cells.",
        tables=(),
        manifest=_shown(manifest),
        command=f"fairautoml bench experiments/{name}.yaml --out results/{name} --resume",
    )
    if not set(cells) >= FITS:
        return replace(view, tables=(_summary(folder),))
    ranks = _read(folder, "ranks")
    ranks = ranks[ranks["rank"].notna()] if "rank" in ranks else ranks
    failed = cells.loc[cells["outcome"] == "failed", ["task", "seed", "reason"]].astype(str)
    first = f"{cells['task'].iloc[0]}-s{cells['seed'].iloc[0]}"
    return replace(
        view,
        about=_about(cells),
        blocks=0 if ranks.empty else int(ranks["blocks"].max()),
        ranked=tuple(
            Ranked(name=str(name), rank=float(rank), low=float(low), high=float(high))
            for name, rank, low, high in (
                () if ranks.empty else ranks[["variant", *PLACE]].itertuples(index=False)
            )
        ),
        tables=(
            *_systems(ranks),
            *_by_question(cells, [] if ranks.empty else list(ranks["variant"])),
            *_further(folder),
        ),
        curves=_curves(cells),
        failures=tuple(failed.itertuples(index=False, name=None)),
        command=f"{view.command}\n{command_of_one(name, first)}",
    )


def _read(folder: Path, name: str) -> pd.DataFrame:
    """Return a table of a sweep, empty if it does not exist."""
    path = folder / f"{name}.csv"
    return read_rows(path) if path.is_file() else pd.DataFrame()


def _table(title: str, table: pd.DataFrame, about: str = "") -> Table:
    header = tuple(ABOUT.get(name, name.replace("_", " ")) for name in map(str, table))
    rows = tuple(
        tuple(value if isinstance(value, str) else spread_text(value, math.nan) for value in row)
        for row in table.itertuples(index=False)
    )
    return Table(title=title, about=about, header=header, rows=rows)


def _summary(folder: Path) -> Table:
    table = _read(folder, "summary")
    if table.empty:
        raise RunFolderError(
            f"{str(folder)!r} has neither summary.csv nor the columns of a sweep of fits in "
            "cells.csv; let fairautoml bench --resume finish it"
        )
    # Words first: the first column names the row.
    words = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    return _table("Summary", table[[*words, *(name for name in table if name not in words)]])


def _about(cells: pd.DataFrame) -> str:
    done = int((cells["outcome"] == "done").sum())
    systems = cells["variant"].nunique() if "variant" in cells else 1
    questions = cells["question" if "question" in cells else "task"].nunique()
    seeds = cells["seed"].nunique()
    return (
        f"{done} of {len(cells)} cells done: {systems} system{'s' * (systems != 1)}, "
        f"{questions} question{'s' * (questions != 1)}, up to {seeds} seed{'s' * (seeds != 1)}."
    )


def _systems(ranks: pd.DataFrame) -> list[Table]:
    """Return the table of ranks, none if there are no ranks."""
    if ranks.empty:
        return []
    about = (
        "Means over questions of the means over seeds. A run that failed ranks last and counts as "
        "the majority's accuracy and as a miss of the bound."
    )
    shown = [name for name in ABOUT if name in ranks]
    return [_table("Systems", ranks[["variant", "rank", *shown]], about)]


def _further(folder: Path) -> Iterator[Table]:
    """Yield the further tables of a comparison that have rows."""
    for name, (title, about) in FURTHER.items():
        table = _read(folder, name)
        if not table.empty:
            names = ["variant", *(column for column in table if column != "variant")]
            yield _table(title, table[names], about)


def _by_question(cells: pd.DataFrame, variants: Sequence[str]) -> Iterator[Table]:
    """Yield a table per measure, of the variants in this order or all of them."""
    if "variant" not in cells:
        cells = cells.assign(variant="fairautoml", question=cells["task"])
    for title, values in (
        ("Strict fair accuracy by question", strict_fair_accuracy(cells)),
        ("Held-out accuracy by question", numbers(cells, "holdout.accuracy")),
        ("Held-out gap by question", numbers(cells, "holdout.gap")),
        ("Hypervolume of the front by question", front_values(cells)),
    ):
        if values.isna().all():
            continue
        own = values.groupby([cells["question"], cells["variant"]], sort=False)
        mean, spread = own.mean().unstack(), own.std().unstack()
        shown = [name for name in variants if name in mean] if variants else list(mean)
        table = pd.DataFrame({name: map(spread_text, mean[name], spread[name]) for name in shown})
        table.insert(0, "question", mean.index.astype(str))
        yield Table(
            title=title,
            about="Mean over seeds ± standard deviation.",
            header=tuple(map(str, table)),
            rows=tuple(table.itertuples(index=False, name=None)),
        )


def _curves(cells: pd.DataFrame) -> tuple[Curve, ...]:
    """Return the mean distance, over cells, of the incumbent to the best score of its question.

    Only objectives of which greater is better are included.
    """
    if "search.improvements" not in cells or "variant" not in cells:
        return ()
    rising = np.array([sign_of(row) > 0 for _, row in cells.iterrows()], dtype=bool)
    known = cells[rising & cells["search.improvements"].notna() & cells["search.score"].notna()]
    if known.empty:
        return ()
    # The selected model has a margin and may score less than the curves.
    last = pd.Series(
        [_last(json.loads(text)) for text in known["search.improvements"]], known.index
    )
    # Before its first feasible model, a search scores the accuracy of the majority class.
    start = numbers(known, "holdout.majority")
    best = last.fillna(start).groupby([known["question"], known["seed"]]).transform("max")
    end = float(numbers(known, "search.seconds").max())
    times = np.linspace(0.0, end, MOMENTS)
    found = []
    for name, own in known.groupby("variant", sort=False):
        behind = np.array(
            [
                _at_times(json.loads(text), times, first) - most
                for text, first, most in zip(
                    own["search.improvements"], start[own.index], best[own.index], strict=True
                )
            ]
        )
        # Without held-out rows a curve begins when every cell meets its constraint.
        sound = ~np.isnan(behind).any(axis=0)
        points = zip(times[sound].tolist(), behind[:, sound].mean(axis=0).tolist(), strict=True)
        curve = Curve(name=str(name), points=tuple((round(t, 2), round(v, 5)) for t, v in points))
        if curve.points:
            found.append(curve)
    return tuple(found)


def _last(moments: list[dict[str, Any]]) -> float:
    """Return the last feasible score, NaN without one."""
    return next((float(m["score"]) for m in reversed(moments) if m["feasible"]), float("nan"))


def _at_times(moments: list[dict[str, Any]], times: Any, first: float) -> Any:
    """Return the feasible score at each time, ``first`` before there is one."""
    feasible = [moment for moment in moments if moment["feasible"]]
    seconds = [moment["seconds"] for moment in feasible]
    scores = np.array([first, *(moment["score"] for moment in feasible)])
    return scores[np.searchsorted(seconds, times, side="right")]


def _shown(manifest: dict[str, Any]) -> dict[str, str]:
    packages = manifest.get("packages", {})
    listed = ", ".join(f"{name} {version}" for name, version in packages.items())
    kept = ("cpu_model", "cpu_count", "jobs", "python", "platform", "git_commit", "started")
    return {
        **{name: str(manifest[name]) for name in kept if name in manifest},
        "packages": listed,
    }
