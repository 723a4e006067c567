"""Trials, entries, certificates and runs as plain values, and notes on the result of a fit."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from fairautoml.certification.certificate import Certificate
from fairautoml.records import Entry, Origin, Status, TrialResult, TrialState
from fairautoml.report.rungs import describe_rungs
from fairautoml.runtime._rows import key_of
from fairautoml.selection.choice import FinalChoice, Margin
from fairautoml.selection.leaderboard import Leaderboard, NewIncumbent, TrialLog


def describe_config(result: TrialResult) -> dict[str, Any]:
    """Return the configuration and the result of a trial as plain values."""
    config = result.trial.config
    return {
        "trial": result.trial.number,
        "status": str(result.status),
        "learner": config.learner,
        "encoding": config.encoding,
        "mitigation": config.mitigation,
        "origin": str(result.trial.origin),
        "sample_fraction": round(result.trial.fidelity.rows, 6),
        "folds": result.trial.fidelity.folds,
        "params": dict(config.params),
        "mitigation_params": dict(config.mitigation_params),
        "key": config.key,
        "log_loss": result.log_loss,
        "seconds": round(result.seconds, 4),
        "peak_memory_mb": round(result.peak_memory_mb, 1),
        "error": result.error,
    }


def describe_entry(entry: Entry, objective: str) -> dict[str, Any]:
    """Return an entry as plain values; undefined ones are None."""
    return {
        "trial": entry.trial_number,
        "learner": entry.config.learner,
        "encoding": entry.config.encoding,
        "mitigation": entry.config.mitigation,
        "mitigator": entry.mitigator,
        "tolerance": entry.tolerance,
        "rule": entry.rule.describe(),
        "needs_sensitive": entry.rule.needs_sensitive,
        "objective": objective,
        "score": entry.score,
        "gap": _finite(entry.gap) if entry.measures else None,
        "feasible": entry.feasible if entry.measures else None,
        "reason": "" if entry.assessment is None else entry.assessment.reason,
        "constant": entry.constant,
        "members": [{"trial": key, "share": share} for key, share in entry.members],
        "measures": [
            {
                "metric": m.metric,
                "groups": m.system,
                "value": m.value,
                "limit": m.limit,
                "reason": m.reason,
            }
            for m in entry.measures
        ],
    }


def describe_served(board: Leaderboard, entry: Entry) -> dict[str, Any]:
    """Return the selected entry as plain values, with its parts that read sensitive columns."""
    read_by = board.sensitive_read_by(entry)
    return {**describe_entry(entry, board.objective), "sensitive_read_by": read_by}


def trials_frame(history: TrialLog) -> pd.DataFrame:
    """Return one row per trial, failures included."""
    rows = sorted(history.results, key=lambda result: result.trial.number)
    return pd.DataFrame([describe_config(result) for result in rows])


def table_to_json(table: pd.DataFrame) -> str:
    """Return columns and dtypes as text, for formats that cannot hold a DataFrame (skops)."""
    return json.dumps([[name, str(c.dtype), c.tolist()] for name, c in table.items()])


def table_from_json(text: str) -> pd.DataFrame:
    """Return the table that ``table_to_json`` has written."""
    columns = json.loads(text)
    return pd.DataFrame({name: pd.Series(values, dtype=kind) for name, kind, values in columns})


CUT_OFF = frozenset({TrialState.STOPPED, TrialState.TIMEOUT})
"""States of trials that the time budget or the user ended."""

SOUND = frozenset({TrialState.SUCCESS, TrialState.PRUNED})
"""States of trials that ended by themselves without a failure."""


def run_summary(history: TrialLog, choice: FinalChoice, *, seconds: float) -> dict[str, Any]:
    """Return the figures of a run."""
    statuses = [result.status for result in history.results]
    training = sum(result.seconds for result in history.results)
    available = seconds * history.n_workers
    moments = history.improvements
    return {
        "n_trials": len(statuses),
        "n_failed": len(statuses) - sum(s in CUT_OFF or s in SOUND for s in statuses),
        "n_pruned": statuses.count(TrialState.PRUNED),
        "n_cut_off": sum(status in CUT_OFF for status in statuses),
        "n_entries": len(choice.entries),
        "seconds": round(seconds, 3),
        "training_seconds": round(training, 3),
        "overhead_fraction": round(max(0.0, 1.0 - training / available), 4),
        "overhead_ms": {
            "ask": _per_trial(history.overhead.ask, statuses),
            "tell": _per_trial(history.overhead.tell, statuses),
            "settle": _per_trial(sum(history.scoring_seconds), history.scoring_seconds),
        },
        "n_feasible": history.n_feasible,
        "seconds_to_best": round(moments[-1].seconds, 3) if moments else None,
        "improvements": [describe_improvement(moment) for moment in moments],
        "seconds_by_origin": _by_origin(history.results),
        "rungs": describe_rungs(history.results),
        "n_workers": history.n_workers,
        "margin": None if choice.margin is None else asdict(choice.margin),
    }


def describe_improvement(moment: NewIncumbent) -> dict[str, Any]:
    """Return a change of the best entry as plain values."""
    return {
        "seconds": round(moment.seconds, 3),
        "trial": moment.trial,
        "score": moment.score,
        "gap": _finite(moment.gap),
        "feasible": moment.feasible,
    }


def _per_trial(seconds: float, trials: Sequence[object]) -> float:
    return round(1000.0 * seconds / max(1, len(trials)), 3)


def _by_origin(results: Sequence[TrialResult]) -> dict[str, float]:
    """Return the training seconds by origin of the trials."""
    return {
        str(origin): round(sum(r.seconds for r in results if r.trial.origin is origin), 3)
        for origin in Origin
    }


NO_CONSTRAINT = "no_constraint"
"""Status of a model that was fitted without a constraint."""


def status_of(entry: Entry, *, applies: bool) -> str:
    """Return the status of a served entry; ``applies``: whether the constraint has groups."""
    if not applies:
        return Status.INFEASIBLE.value
    if not entry.measures:
        return NO_CONSTRAINT
    if entry.feasible:
        return Status.FEASIBLE.value
    return (Status.UNSURE if entry.unsure else Status.INFEASIBLE).value


def shortfall(entry: Entry, constraints: Sequence[str]) -> str:
    """Return the message that no model meets the constraints, with the violation and a remedy."""
    wanted = " and ".join(constraints)
    if not entry.measures:
        return (
            f"constraint={wanted!r} does not apply: there is a single group and thus no gap to "
            "measure. Give rows of two groups or more, or use FairAutoML(constraint=None)"
        )
    if entry.constant:
        return (
            f"Only a constant predictor meets constraint={wanted!r} on the search rows, so it is "
            "selected. Give more time or rows; leaderboard_ has the front."
        )
    worst = max(entry.measures, key=lambda m: m.gap - m.limit)
    found = f"undefined ({worst.reason})" if worst.value is None else f"{worst.value:.4g}"
    return (
        f"no model meets constraint={wanted!r} on the search rows; the least unfair one is kept: "
        f"{worst.metric} on {worst.system!r} is {found}. Give more time or rows, a looser bound, "
        "or fewer groups; leaderboard_ has the front"
    )


def describe_certificate(certificate: Certificate) -> dict[str, Any]:
    """Return a summary of a certificate; all of it is in ``certificate.json``."""
    floor = certificate.floor
    return {
        "verdict": certificate.verdict,
        "reason": certificate.reason,
        "delta": certificate.opening.delta,
        "opening": certificate.opening.index,
        "claims": [
            {
                "claim": claim.label,
                "verdict": claim.verdict,
                "reason": claim.reason,
                "shown": claim.shown,
                "shift_radius": claim.shift_radius,
                "fragility": claim.fragility,
            }
            for claim in certificate.claims
        ],
        "floor": None
        if floor is None
        else {"claim": floor.label, "verdict": floor.verdict, "reason": floor.reason},
        "model": certificate.model,
        "note": certificate.note,
    }


def margin_notes(entry: Entry, margin: Margin | None) -> tuple[str, ...]:
    """Return a note if the selected model is unsure or expensive."""
    # ``shortfall`` reports a limit that is missed on the search rows already.
    if margin is None or margin.margin < 0:
        return ()
    if entry.unsure and entry.assessment is not None:
        return (
            f"insufficient evidence: the selected model {entry.assessment.reason} (estimated "
            f"probability {margin.probability:.2f}), so it is not called feasible. Give more "
            "rows, a looser bound or fewer groups",
        )
    if not margin.insufficient_evidence or not isinstance(margin.confidence, float):
        return _is_expensive(margin)
    return (
        "insufficient evidence: no model meets the constraint on new rows with probability "
        f"{margin.confidence}; the one most likely to meet it is selected, with an estimated "
        f"probability of {margin.probability:.2f}. Give more rows, a looser bound, fewer groups, "
        "or confidence='auto'",
    )


LITTLE = 0.25
"""Share of the utility beyond a constant predictor below which a margin is expensive."""


def _is_expensive(margin: Margin) -> tuple[str, ...]:
    if margin.kept is None or margin.kept >= LITTLE or not isinstance(margin.confidence, float):
        return ()
    return (
        f"Only near-constant models meet the constraint with probability {margin.confidence}; "
        f"the best of them keeps {max(0.0, margin.kept):.0%} of the utility that the best model "
        "has beyond a constant predictor. Give more rows, a looser bound, a lower confidence, or "
        "confidence='auto'.",
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as plain values, None for missing ones."""
    plain = table.astype(object).where(table.notna(), None)
    return [{str(k): v for k, v in row.items()} for row in plain.to_dict("records")]


def plain_label(label: Any) -> Any:
    """Return a label as a JSON value, or None."""
    return None if label is None else key_of(label)[1]
