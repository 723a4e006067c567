"""Figures of a run for people and files: plain values only."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from fairautoml.assembly import Assembled, Margin
from fairautoml.certification import Certificate, Verdict
from fairautoml.leaderboard import Leaderboard
from fairautoml.running.history import History, Improvement
from fairautoml.running.run import RunPlan
from fairautoml.trials import Entry, Origin, Status, TrialResult


def describe_candidate(result: TrialResult) -> dict[str, Any]:
    """Return one line about a trial: what was tried, what came of it."""
    candidate = result.trial.candidate
    return {
        "trial": result.trial.number,
        "status": str(result.status),
        "learner": candidate.learner,
        "encoding": candidate.encoding,
        "mitigation": candidate.mitigation,
        "origin": str(result.trial.origin),
        "sample_fraction": round(result.trial.budget.sample_fraction, 6),
        "params": dict(candidate.params),
        "mitigation_params": dict(candidate.mitigation_params),
        "key": candidate.key,
        "log_loss": result.log_loss,
        "seconds": round(result.seconds, 4),
        "peak_memory_mb": round(result.peak_memory_mb, 1),
        "error": result.error,
    }


def describe_entry(entry: Entry, objective: str) -> dict[str, Any]:
    """Return an entry as plain values; undefined ones are None."""
    return {
        "trial": entry.trial_number,
        "learner": entry.candidate.learner,
        "encoding": entry.candidate.encoding,
        "mitigation": entry.candidate.mitigation,
        "mitigator": entry.mitigator,
        "tolerance": entry.tolerance,
        "rule": entry.rule.describe(),
        "needs_sensitive": entry.rule.needs_sensitive,
        "objective": objective,
        "score": entry.score,
        "gap": _finite(entry.gap) if entry.measures else None,
        "feasible": entry.feasible if entry.measures else None,
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
    """Return the served entry as plain values, with what of it reads the sensitive columns."""
    read_by = board.sensitive_read_by(entry)
    return {**describe_entry(entry, board.objective), "sensitive_read_by": read_by}


def trials_frame(history: History) -> pd.DataFrame:
    """Return one row per trial, failures included."""
    rows = sorted(history.results, key=lambda result: result.trial.number)
    return pd.DataFrame([describe_candidate(result) for result in rows])


CUT_OFF = frozenset({Status.STOPPED, Status.TIMEOUT})
"""How trials end that the clock or the user ended, ..."""

SOUND = frozenset({Status.SUCCESS, Status.PRUNED})
"""... and those that came to an end of their own without a fault."""


def run_summary(
    history: History,
    plan: RunPlan,
    assembled: Assembled,
    *,
    seconds: float,
    time_budget: float | None,
) -> dict[str, Any]:
    """Return the figures of a run."""
    statuses = [result.status for result in history.results]
    training = sum(result.seconds for result in history.results)
    available = seconds * history.n_workers
    moments = history.improvements
    return {
        "n_trials": len(statuses),
        "n_failed": len(statuses) - sum(s in CUT_OFF or s in SOUND for s in statuses),
        "n_pruned": statuses.count(Status.PRUNED),
        "n_cut_off": sum(status in CUT_OFF for status in statuses),
        "max_trials": plan.n_trials,
        "time_budget": time_budget,
        "n_entries": len(assembled.entries),
        "seconds": round(seconds, 3),
        "assembly_seconds": round(assembled.seconds, 3),
        "training_seconds": round(training, 3),
        "overhead_fraction": round(max(0.0, 1.0 - training / available), 4),
        "overhead_ms": {
            "ask": _per_trial(history.overhead.ask, statuses),
            "tell": _per_trial(history.overhead.tell, statuses),
            "settle": _per_trial(sum(history.settle_seconds), history.settle_seconds),
        },
        "n_feasible": history.n_feasible,
        "seconds_to_best": round(moments[-1].seconds, 3) if moments else None,
        "improvements": [describe_improvement(moment) for moment in moments],
        "seconds_by_origin": _by_origin(history.results),
        "n_workers": history.n_workers,
        "strategy": plan.strategy,
        "allocator": plan.allocator,
        "executor": plan.executor,
        "seed": plan.seed,
        "margin": None if assembled.margin is None else asdict(assembled.margin),
    }


def describe_improvement(moment: Improvement) -> dict[str, Any]:
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
    """Return the training seconds by who wanted the trials."""
    return {
        str(origin): round(sum(r.seconds for r in results if r.trial.origin is origin), 3)
        for origin in Origin
    }


def shortfall(entry: Entry, constraints: Sequence[str]) -> str:
    """Say that no model meets the constraints, how far the served one is, and what may help."""
    wanted = " and ".join(constraints)
    if not entry.measures:
        return (
            f"constraint={wanted!r} does not apply: there is a single group, so no model can be "
            "said to meet it; give rows of two groups or more, or use FairAutoML(constraint=None)"
        )
    if entry.constant:
        return (
            f"no model that tells people apart meets constraint={wanted!r} on the search rows; "
            "the one that is kept decides alike for everybody. Give more "
            "time or rows; leaderboard_ has the front"
        )
    worst = max(entry.measures, key=lambda m: m.gap - m.limit)
    found = f"undefined ({worst.reason})" if worst.value is None else f"{worst.value:.4g}"
    return (
        f"no model meets constraint={wanted!r} on the search rows; the least unfair one is kept: "
        f"{worst.metric} on {worst.system!r} is {found}. Give more time or rows, a looser bound, "
        "or fewer groups; leaderboard_ has the front"
    )


def describe_certificate(certificate: Certificate) -> dict[str, Any]:
    """Return what a certificate says as plain values; the whole is in ``certificate.json``."""
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
        "model": certificate.model,
        "note": certificate.note,
    }


def violated(certificate: Certificate) -> str:
    """Say that the rows set aside show a broken constraint, and what may help."""
    floor = () if certificate.floor is None else (certificate.floor,)
    unfair = [c.label for c in certificate.claims if c.verdict == Verdict.VIOLATED]
    poor = [c.label for c in floor if c.verdict == Verdict.VIOLATED]
    gaps = (
        "Give a tighter bound to the search, more rows, or choose another entry with "
        "select(max_gap=...)"
    )
    scores = (
        "Give a lower min_score, more time or more learners to the search, or choose another "
        "entry with select(min_score=...)"
    )
    ways = [way for way, broken in ((gaps, unfair), (scores, poor)) if broken]
    return (
        f"rows that the search has not seen show that {' and '.join([*unfair, *poor])} does not "
        f"hold for what is served; see certificate_. {'. '.join(ways)}"
    )


def margin_notes(margin: Margin | None) -> tuple[str, ...]:
    """Return a note when what is served is less sure than was asked for, or of little worth."""
    # Where a limit is missed on the search rows already, ``shortfall`` says so.
    if margin is None or margin.margin < 0:
        return ()
    if not margin.insufficient_evidence:
        return _dear(margin)
    if not isinstance(margin.confidence, float):
        return (
            "insufficient evidence: the constraint is met on the rows of the search, and on as "
            "many new people it is more likely to be missed than met (estimated probability "
            f"{margin.probability:.2f}). Give more rows, a looser bound or fewer groups, or ask "
            "for the surest model with confidence=0.95",
        )
    return (
        f"insufficient evidence: no model found is as sure as confidence={margin.confidence} to "
        "meet the constraint on new people; the surest one is served, with an estimated "
        f"probability of {margin.probability:.2f}. Give more rows, a looser bound, fewer groups, "
        "or confidence='auto'",
    )


LITTLE = 0.25
"""Share of a model's worth beyond one decision for everybody below which a margin is dear."""


def _dear(margin: Margin) -> tuple[str, ...]:
    if margin.kept is None or margin.kept >= LITTLE or not isinstance(margin.confidence, float):
        return ()
    return (
        f"dear confidence: as sure as confidence={margin.confidence} are only rules that decide "
        f"nearly the same for everybody; the best of them keeps {max(0.0, margin.kept):.0%} of "
        "what the best model is worth beyond that. Give more rows, a looser bound, a lower "
        "confidence, or confidence='auto'",
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
