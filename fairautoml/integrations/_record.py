"""What every tracker records of a fit."""

from typing import Any

from fairautoml.records import Progress
from fairautoml.settings import plain_parameters


def trial_metrics(progress: Progress) -> dict[str, float]:
    """Return the metrics of the newest trial, and those of the best entry so far."""
    result, best = progress.result, progress.best
    found = {
        "trial_value": result.value,
        "trial_gap": result.gap,
        "trial_seconds": result.seconds,
        "best_score": None if best is None else best.score,
        "best_gap": None if best is None else best.gap,
    }
    return {name: float(value) for name, value in found.items() if value is not None}


def final_metrics(model: Any) -> dict[str, float]:
    """Return score, gaps and limits of the selected entry."""
    entry, summary = model.best_entry_, model.summary_
    found = {
        str(summary["best"]["objective"]): entry.score,
        "gap": entry.gap,
        "excess": entry.excess,
        "feasible": float(model.feasible_),
        "n_trials": summary["n_trials"],
        "n_failed": summary["n_failed"],
        "seconds": summary["seconds"],
    }
    for measure in entry.measures:
        name = f"{measure.metric}/{measure.system}"
        found |= {f"gap/{name}": measure.gap, f"limit/{name}": measure.limit}
    return {name: float(value) for name, value in found.items()}


def parameters(model: Any) -> dict[str, Any]:
    """Return the parameters of the estimator, and what became of those left to the library."""
    chosen = {name: model.summary_[name] for name in ("strategy", "allocator", "executor", "seed")}
    objective = model.summary_["best"]["objective"]
    return {**plain_parameters(model), **chosen, "objective": objective}
