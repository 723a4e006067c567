"""The result of a fit: trials, entries and runs as plain values, and sentences about it."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.certification.certificate import Certificate
from fairautoml.exceptions import DegradedWarning, warn
from fairautoml.metrics import METRICS
from fairautoml.metrics.groups import MOST_NAMED, GroupSystem, listed, outside_of
from fairautoml.records import Entry, Origin, Status, Trial, TrialResult, TrialState
from fairautoml.runtime._rows import key_of
from fairautoml.selection.choice import CostlyGroup, FinalChoice, Margin, PassedOver
from fairautoml.selection.feasibility import (
    FEWEST,
    DecisionShares,
    best_unconstrained,
    decision_shares,
    is_unconstrained,
)
from fairautoml.selection.leaderboard import Leaderboard, NewIncumbent, TrialLog, blocks_of
from fairautoml.selection.pool import Pool

STAGES = ("screened", "promoted to all rows", "promoted to all folds", "all folds", "mitigated")
"""Stages of a search in the order of the ladder; ``"all folds"`` had no lower rung."""

REASONS = {
    "sample": "The best third by loss went on.",
    "screened": (
        "Those close to the lowest loss went on to all folds, with the best of each learner and "
        "the best under the constraints."
    ),
    "stopped": "Stopped between folds: far behind the best one on the same rows.",
}


def describe_rungs(results: Sequence[TrialResult]) -> list[dict[str, Any]]:
    """Return the stages of a search, without its baseline, as plain values."""
    trained = [result for result in results if result.trial.number > 0]
    n_folds = max((result.trial.fidelity.folds for result in results), default=0)
    parents = {result.trial.parent for result in trained}
    found: dict[str, list[TrialResult]] = {stage: [] for stage in STAGES}
    for result in trained:
        found[_stage(result.trial, n_folds)].append(result)
    sampled = bool(found["promoted to all rows"])
    return [_rung(stage, some, parents, sampled=sampled) for stage, some in found.items() if some]


def _stage(trial: Trial, n_folds: int) -> str:
    if trial.origin is Origin.MITIGATION:
        return "mitigated"
    if trial.fidelity.folds < n_folds:
        return "promoted to all rows" if trial.parent else "screened"
    return "promoted to all folds" if trial.parent else "all folds"


def _rung(
    stage: str, results: list[TrialResult], parents: set[str], *, sampled: bool
) -> dict[str, Any]:
    statuses = [result.status for result in results]
    shares = [result.trial.fidelity.rows for result in results]
    stopped = statuses.count(TrialState.PRUNED)
    promoted = sum(result.trial.key in parents for result in results)
    reason = REASONS["stopped"] if stopped else ""
    if promoted:
        reason = REASONS["sample" if sampled and stage == "screened" else "screened"]
    return {
        "stage": stage,
        "folds": max(result.trial.fidelity.folds for result in results),
        "rows": (min(shares), max(shares)),  # smallest and largest share of the rows of a fold
        "trials": len(results),
        "promoted": promoted,
        "stopped": stopped,
        "failed": len(results) - stopped - statuses.count(TrialState.SUCCESS),
        "seconds": round(sum(result.seconds for result in results), 3),
        "reason": reason,  # how trials were chosen for the next stage
    }


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


def describe_blocks(pool: Pool) -> list[dict[Any, Any]]:
    """Return the best classifier of each block, none without blocks."""
    blocks, board = pool.schema.options.blocks, pool.board
    if not blocks:
        return []
    found = blocks_of(board.frame(), blocks, board.objective).rename(
        columns={board.objective: "score"}
    )
    return found.to_dict("records")


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
    results = history.results
    statuses = [result.status for result in results]
    training = sum(result.seconds for result in results)
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
            "score": _per_trial(sum(history.scoring_seconds), history.scoring_seconds),
        },
        "n_feasible": history.n_feasible,
        "seconds_to_best": round(moments[-1].seconds, 3) if moments else None,
        "improvements": [describe_improvement(moment) for moment in moments],
        "seconds_by_origin": {
            str(origin): round(sum(r.seconds for r in results if r.trial.origin is origin), 3)
            for origin in Origin
        },
        "rungs": describe_rungs(results),
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
    if entry.constant and entry.excess <= 0:
        return (
            f"Only a constant predictor meets constraint={wanted!r} on the search rows, so it is "
            "selected. Give more time or rows; leaderboard_ has the front."
        )
    worst = max(entry.measures, key=lambda m: m.gap - m.limit)
    found = f"undefined ({worst.reason})" if worst.value is None else f"{worst.value:.4g}"
    kept = "a constant predictor" if entry.constant else "the least unfair one"
    return (
        f"no model meets constraint={wanted!r} on the search rows; {kept} is kept: "
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


def headline(board: Leaderboard, entry: Entry, margin: Margin | None) -> str:
    """Return one line on the selected model, its cost and what is expected on new data."""
    served = f"Served: {served_text(board, entry)}"
    if cost := cost_text(board, entry, margin):
        served += f" ({cost})"
    parts = [served]
    if entry.measures and entry.constant:
        parts.append("it gives every row the same decision")
    if entry.excess > 0:
        parts.append("it misses the constraint on the search rows")
    expected = new_data_text(entry, margin)
    why = "" if margin is None else not_served_text(board.objective, margin.passed_over)
    sentences = ("; ".join(parts), expected, why)
    return " ".join(f"{s[0].upper()}{s[1:]}." for s in sentences if s)


def interrupted_note(n_trials: int) -> str:
    """Return the note on a search that the user ended."""
    trials = f"{n_trials} trial{'' if n_trials == 1 else 's'}"
    return (
        f"The search was interrupted after {trials}; the best model so far is selected. With "
        "run_dir=RunStorage(path, if_exists='resume'), another fit continues a stored run."
    )


def stopped_note(n_trials: int, why: str) -> str:
    """Return the note on a search that a callback ended."""
    trials = f"{n_trials} trial{'' if n_trials == 1 else 's'}"
    return f"The search stopped early after {trials}: {why}. callbacks=[] uses the whole budget."


def result_lines(
    board: Leaderboard, entry: Entry, margin: Margin | None, constraints: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """Return objective, selected model, its cost and its expected gap, with titles."""
    bounds = f" subject to {' and '.join(constraints)}" if constraints else ""
    why = "" if margin is None else not_served_text(board.objective, margin.passed_over)
    lines = (
        ("Goal", f"{board.objective}{bounds}"),
        ("Served", served_text(board, entry)),
        ("Cost", cost_text(board, entry, margin)),
        ("New data", new_data_text(entry, margin)),
        ("Groups", groups_text(board, entry)),
        ("Passed over", why),
    )
    return tuple((title, text) for title, text in lines if text)


def served_text(board: Leaderboard, entry: Entry) -> str:
    """Return the selected model with its score."""
    simple = is_unconstrained(entry) and bool(entry.measures) and entry.meets
    how = "; no mitigation is needed, and the rule reads no group (features may)" if simple else ""
    return f"{entry.name}: {board.objective} {entry.score:.4f}{how}"


def cost_text(board: Leaderboard, entry: Entry, margin: Margin | None) -> str:
    """Return the difference to the best score without the constraint, and who causes it."""
    if not entry.measures:
        return ""
    best, against = max(e.value for e in board.entries), "the best model without the constraint"
    price = best - entry.value
    if board.objective not in METRICS.names():
        text = f"{price:.4f} below"
    elif METRICS.get(board.objective).greater_is_better:
        text = f"{100 * price:.1f} points below"
    else:
        text = f"{price:.4f} above"
    if float(text.split()[0]) == 0:
        return f"as good as {against}"
    group = None if margin is None else margin.costly_group
    return f"{text} {against}{'' if group is None else _because_of(group, price)}"


def _because_of(group: CostlyGroup, price: float) -> str:
    share = min(1.0, group.regained / price)
    rows = f"{group.n_rows:,} row{'' if group.n_rows == 1 else 's'}"
    return f", {share:.0%} of it because of {rows} of {group.label!r} in {group.system!r}"


def new_data_text(entry: Entry, margin: Margin | None) -> str:
    """Return the interval of the gap, and the probability that the bounds hold on new data."""
    found = entry.assessment
    if found is None or found.probability is None:
        return ""
    bounds = "the bound holds" if len(entry.measures) == 1 else "all bounds hold"
    chance = probability_text(found.probability)
    text = f"{bounds} in the population with estimated probability {chance}"
    if margin is not None:
        text += (
            f", and as measured on a hold-out of {margin.n_holdout:,} rows with "
            f"{probability_text(margin.holdout_probability)}"
        )
    if found.gap_interval is not None:
        text = f"{_interval_text(entry, *found.gap_interval)}; {text}"
    return f"{text} (no certificate: these rows also selected the model)"


def _interval_text(entry: Entry, low: float, high: float) -> str:
    """Return the interval of the largest gap, or of the value if all are bounded below."""
    metrics = [METRICS.get(measure.metric) for measure in entry.measures]
    if all(metric.bounded_below for metric in metrics):
        what = "smallest rate" if all(metric.is_minimum for metric in metrics) else "ratio"
        low, high = max(0.0, 1.0 - high), 1.0 - low
        return f"{what} on new data at least {low:.3f} (95 % interval {low:.3f} to {high:.3f})"
    return f"gap on new data at most {high:.3f} (95 % interval {low:.3f} to {high:.3f})"


def groups_text(board: Leaderboard, entry: Entry) -> str:
    """Return the groups that the bounds apply to."""
    found = []
    for system in board.systems:
        measures = [m.metric for m in entry.measures if m.system == system.name]
        if not measures or system.values is not None:
            continue
        outside = {g for m in measures for g in outside_of(board.small_groups, m, system.name)}
        inside = [label for label in system.labels if label not in outside]
        n = f"{len(inside)} of {system.n_groups}" if outside else f"all {system.n_groups}"
        found.append(f"{n} of {system.name!r}: {listed(inside)}")
    return "; ".join(found)


def not_served_text(objective: str, other: PassedOver | None) -> str:
    """Return why an entry of a better score that meets the constraint is not served."""
    if other is None:
        return ""
    why = {
        "probability": f"its probability is {probability_text(other.probability)}",
        "noise": "a single trial leads by no more than the noise of choosing the best of many",
        "unconstrained": (
            "its lead is within noise of a model that meets the bound without any mitigation"
        ),
    }
    score = f"{objective} {other.score:.4f}"
    return f"A candidate with {score} was not served because {why[other.reason]}"


def probability_text(value: float) -> str:
    """Return a probability as text that never reads as certainty."""
    if value > 0.99:
        return "above 0.99"
    return "below 0.01" if value < 0.01 else f"{value:.2f}"


def group_headlines(board: Leaderboard, entry: Entry, classes: NDArray[Any]) -> tuple[str, ...]:
    """Return one sentence per group that the constraint leaves with one decision."""
    found: list[str] = []
    unconstrained = best_unconstrained(board.entries)
    for system in _constrained(board, entry):
        shares = decision_shares(entry, unconstrained, system, board.n_rows)
        shut, decision = shares.suppressed, shares.decision
        for one in np.unique(decision[shut]).tolist():
            named = np.flatnonzero(shut & (decision == one)).tolist()
            rates = _Rates(system, shares, one, compared=unconstrained is not None)
            found.append(rates.sentence(named, str(classes[one])))
    return tuple(found)


def one_sided_notes(board: Leaderboard, entry: Entry) -> tuple[str, ...]:
    """Return a note on groups that get one decision without the constraint too."""
    unconstrained = best_unconstrained(board.entries)
    if unconstrained is None or board.objective == "balanced_accuracy":
        return ()
    found: list[str] = []
    for system in _constrained(board, entry):
        shares = decision_shares(entry, unconstrained, system, board.n_rows)
        one = np.isclose(shares.served, 1.0) & np.isclose(shares.reference, 1.0)
        missed = shares.n_rows[:, None] * (1.0 - shares.labels) >= FEWEST
        labels = [system.labels[group] for group in np.flatnonzero((one & missed).any(axis=1))]
        if labels:
            found.append(
                f"without the constraint, too, all rows of {', '.join(map(repr, labels))} of "
                f"{system.name!r} get the same decision, though their labels differ; "
                "objective='balanced_accuracy' rewards finding the rarer label"
            )
    return tuple(found)


def refused_headline(refused: Entry, served: Entry, advice: str) -> str:
    """Return the sentence on the best entry that is not acceptable, and what is served instead."""
    who = "best model that meets the constraint" if refused.meets else "least unfair model"
    found = refused.assessment
    reason = "" if found is None else found.reason
    if not reason:
        reason = "is not clearly better than the best constant prediction"
    kept = "the best constant" if served.constant else "the least unfair acceptable model"
    return (
        f"The {who} (score {refused.score:.4f}) {reason}, so {kept} (score {served.score:.4f}) is "
        f"served; {advice}."
    )


def _constrained(board: Leaderboard, entry: Entry) -> Iterator[GroupSystem]:
    """Yield the constrained systems; none for a constant, numbers or a regression."""
    if entry.constant or entry.deployed.ndim == 2:
        return
    names = {measure.system for measure in entry.measures}
    yield from (s for s in board.systems if s.name in names and s.values is None)


@dataclass(frozen=True, slots=True)
class _Rates:
    """Rates of a grouping in which some groups get a single decision."""

    system: GroupSystem
    shares: DecisionShares
    decision: int
    compared: bool

    def sentence(self, groups: list[int], given: str) -> str:
        """Name the groups, with their rates with and without the constraint."""
        name = self.system.name
        if self.shares.served.shape[1] > 2:
            verb, rate = f"gives {given!r} to nearly all of", "given to"
        elif self.decision:
            verb, rate = "accepts nearly all of", "it accepts"
        else:
            verb, rate = "shuts out", "it accepts"
        if len(groups) == 1:
            label = self.system.labels[groups[0]]
            return (
                f"The rule {verb} {label!r} of {name!r}: {rate} {self._of(groups[0], ' of them')}."
            )
        listed = "; ".join(
            f"{self.system.labels[group]!r} {self._of(group)}" for group in groups[:MOST_NAMED]
        )
        more = f"; and {len(groups) - MOST_NAMED} more" if len(groups) > MOST_NAMED else ""
        return (
            f"The rule {verb} {len(groups)} of {self.system.n_groups} groups of {name!r}: {rate} "
            f"{listed}{more}."
        )

    def _of(self, group: int, whom: str = "") -> str:
        shown = 1 if self.shares.served.shape[1] == 2 else self.decision
        now, before = self.shares.served[group, shown], self.shares.reference[group, shown]
        usual = (
            f"without the constraint {before:.1%}"
            if self.compared
            else f"{before:.1%} have that label"
        )
        return f"{now:.1%}{whom}, {usual}"


def constant_notes(entry: Entry) -> tuple[str, ...]:
    """Warn about a constant predictor, and return the note."""
    if not (entry.constant and entry.measures):
        return ()
    note = (
        "Only a constant predictor matches the arguments of select. Give a larger max_gap, or "
        "choose from pareto_front_."
    )
    warn(note, DegradedWarning)
    return (note,)


def warned_headlines(pool: Pool) -> tuple[str, ...]:
    """Warn about groups in which the selected model makes a single decision; return the notes."""
    found = group_headlines(pool.board, pool.best, pool.classes)
    for sentence in found:
        warn(sentence, DegradedWarning)
    return found
