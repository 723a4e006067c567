"""From results to the tables of the experiment."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fairautoml.data.files import write_csv, write_whole
from guarantee.checks import Check, Result, checks_of
from guarantee.limits import cell_limit

TITLES = {
    "control": "Negative controls",
    "planner": "The planner's rows",
    "boundary": "At the boundary",
    "end_to_end": "With a search",
    "refits": "Refits of the same rows",
}


def write_tables(results: Sequence[Result], folder: Path) -> list[Check]:
    """Write ``cells.csv``, ``summary.csv`` and ``summary.md``; returns the checks."""
    checks = checks_of(results)
    cells = pd.DataFrame([row(one) for one in results])
    summary = pd.DataFrame(
        [
            {"check": one.name, "found": one.found, "limit": one.limit, "passed": one.passed}
            for one in checks
        ]
    )
    write_csv(cells, folder / "cells.csv")
    write_csv(summary, folder / "summary.csv")
    write_whole(page(checks, cells), folder / "summary.md")
    return checks


def row(one: Result) -> dict[str, Any]:
    """Return a result as a row of the tidy table."""
    counted = one.tally
    return {
        "part": one.cell.part,
        "cell": one.cell.key,
        "run": one.run,
        "procedure": counted.procedure,
        "repetitions": counted.repetitions,
        "violations": counted.violations,
        "limit": cell_limit(counted.repetitions),
        "certified": counted.certified,
        "answer_rate": round(counted.certified / counted.repetitions, 4),
        "violated_given_certified": _share(counted.violations, counted.certified),
        "mean_excess": _share(counted.excess, counted.violations),
        "truly_violating": counted.truly_violating,
        "claims": counted.claims,
        "false_claims": counted.false_claims,
    }


def page(checks: Sequence[Check], cells: pd.DataFrame) -> str:
    """Return the checks and all cells as Markdown."""
    lines = ["| check | found | allowed | |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {one.name} | {one.found} | {one.limit} | {'holds' if one.passed else '**FAILS**'} |"
        for one in checks
    ]
    for part, title in TITLES.items():
        here = cells[cells["part"] == part]
        if not here.empty:
            lines += ["", f"## {title}", "", *_part(here)]
    return "\n".join(lines) + "\n"


def _part(cells: pd.DataFrame) -> list[str]:
    head = [
        "cell", "run", "procedure", "certified and violated", "limit", "certified",
        "violated of the certified", "said VIOLATED, wrongly",
    ]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for _, one in cells.iterrows():
        given = one["violated_given_certified"]
        lines.append(
            f"| {one['cell']} | {one['run']} | {one['procedure']} | "
            f"{one['violations']}/{one['repetitions']} | {one['limit']} | "
            f"{one['answer_rate']:.1%} | {'-' if pd.isna(given) else f'{given:.1%}'} | "
            f"{one['claims']}, {one['false_claims']} |"
        )
    return lines


def _share(part: float, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None
