"""The result of a run as text for a terminal."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

COLUMNS = ("rank", "feasible", "gap", "gap_low", "gap_high", "learner", "mitigator", "tolerance")


def result_text(result: Mapping[str, Any], board: pd.DataFrame) -> str:
    """Return leaderboard, chosen model, held-out or true rates, and what the run cost.

    Parameters
    ----------
    result : mapping
        What ``fairautoml fit --json`` prints.
    board : DataFrame
        Rows of the leaderboard to show.
    """
    entry = result["entry"]
    search = result["search"]
    wanted = (*COLUMNS[:2], entry["objective"], *COLUMNS[2:])
    shown = [column for column in wanted if column in board]
    lines = [
        board[shown].to_string(index=False, float_format=lambda v: f"{v:.4f}", na_rep="-"),
        "",
        _verdict(result),
        f"rule: {entry['rule']}",
        *(f"note: {note}" for note in result["notes"]),
        *_held_out(result.get("holdout")),
        *_population(result.get("population")),
        f"{search['n_trials']} trials ({search['n_failed']} failed), {search['seconds']:.1f} s, "
        f"of which {100 * search['overhead_fraction']:.1f} % not training "
        f"({search['n_workers']} worker(s), strategy {search['strategy']}, seed {result['seed']})",
    ]
    if result["run_dir"] is not None:
        lines.append(f"kept in {result['run_dir']}")
    return "\n".join(lines)


def _verdict(result: Mapping[str, Any]) -> str:
    entry = result["entry"]
    model = f"{entry['learner']} with {entry['mitigator']}"
    if entry["mitigation"] != "none":
        model = f"{entry['learner']}, {entry['mitigation']}, with {entry['mitigator']}"
    score = f"{entry['objective']} {entry['score']:.4f}"
    if not entry["measures"]:
        return f"chosen: {model}, {score} (cross-fitted)"
    gaps = ", ".join(
        f"{m['metric']} on {m['groups']} "
        + (f"undefined ({m['reason']})" if m["value"] is None else f"{m['value']:.4f}")
        for m in entry["measures"]
    )
    word = "meets the constraint" if entry["feasible"] else "DOES NOT MEET the constraint"
    return f"chosen: {model}, {word} on the search rows (cross-fitted): {score}; {gaps}"


def _held_out(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    gaps = ", ".join(
        f"{name} " + ("undefined" if gap is None else f"{gap:.4f}")
        for name, gap in found.get("gaps", {}).items()
    )
    return [f"on {found['n_rows']} held-out rows: accuracy {found['accuracy']:.4f}; {gaps}"]


def _population(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    rates = pd.DataFrame(found["rates"]).T
    gaps = ", ".join(f"{name} {gap:.4f}" for name, gap in found["true_gap"].items())
    return [
        "",
        f"true rates on {found['n_rows']:,} new people of the population:",
        rates.to_string(float_format=lambda v: f"{v:.4f}"),
        f"true gaps: {gaps}",
        "",
    ]
