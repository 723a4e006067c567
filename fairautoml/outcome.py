"""Result of a search: the deployable models and the summary as plain values."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.certification.certificate import Certificate
from fairautoml.certification.verdicts import Verdict
from fairautoml.data.groups import GroupSchema
from fairautoml.data.schema import TableSchema
from fairautoml.evaluation.fitting import CVEnsemble
from fairautoml.evaluation.membership import kept_membership
from fairautoml.evaluation.problem import Problem
from fairautoml.exceptions import (
    DegradedWarning,
    InputError,
    NoFeasibleModelError,
    NoFeasibleModelWarning,
    SmallGroupWarning,
    warn,
)
from fairautoml.inference.predictor import Predictor
from fairautoml.metrics import METRICS, TaskName
from fairautoml.metrics._table import effective_rows
from fairautoml.metrics.groups import GroupSystem
from fairautoml.mitigators import MITIGATORS, GroupProbabilityModel, ScoreModel
from fairautoml.records import Entry, GroupUnawareRule, Origin, TrialResult, TrialState
from fairautoml.running import Plan
from fairautoml.selection.ensemble import (
    Assembled,
    Margin,
    PassedOver,
    SelectionOptions,
    models_of,
)
from fairautoml.selection.final import advice_on_constant, diagnose_run
from fairautoml.selection.leaderboard import Leaderboard, NewIncumbent, TrialLog
from fairautoml.settings import Settings
from fairautoml.storage.artifacts import Artifacts


def headline(board: Leaderboard, entry: Entry, margin: Margin | None) -> str:
    """Return one line on the selected model, its cost and the probability that the bound holds."""
    parts = [f"Served: {entry.name}: {board.objective} {entry.score:.4f}{_price(board, entry)}"]
    if entry.measures and entry.constant:
        parts.append("it gives every row the same decision")
    elif entry.measures and not entry.feasible:
        parts.append("it misses the constraint on the search rows")
    if margin is None:
        return f"{'; '.join(parts)}."
    bounds = "the bound holds" if len(entry.measures) == 1 else "all bounds hold"
    chance = f"with estimated probability {_probability(margin.probability)}"
    parts.append(f"{bounds} on {_new_rows(margin.audit_ratio)} {chance}")
    return f"{'; '.join(parts)}.{_not_served(board.objective, margin.passed_over)}"


def _price(board: Leaderboard, entry: Entry) -> str:
    """Return the difference to the best score without the constraint."""
    if not entry.measures:
        return ""
    best, against = max(e.value for e in board.entries), "the best model without the constraint"
    price = best - entry.value
    if METRICS.get(board.objective).greater_is_better:
        text = f"{100 * price:.1f} points below"
    else:
        text = f"{price:.4f} above"
    return f" (as good as {against})" if float(text.split()[0]) == 0 else f" ({text} {against})"


def _not_served(objective: str, other: PassedOver | None) -> str:
    """Return why an entry of a better score that meets the constraint is not served."""
    if other is None:
        return ""
    why = f"its probability is {_probability(other.probability)}"
    if other.reason == "certificate":
        why += " and it is less likely to be certified"
    elif other.reason == "noise":
        why = "a single trial leads by no more than the noise of choosing the best of many"
    return f" A candidate with {objective} {other.score:.4f} was not served because {why}."


def _new_rows(ratio: float) -> str:
    """Return the number of new rows that a probability refers to."""
    if math.isinf(ratio):
        return "new data"
    return "as many new rows" if ratio == 1 else f"{ratio:.2g} times as many new rows"


def _probability(value: float) -> str:
    """Return a probability as text that never reads as certainty."""
    if value > 0.99:
        return "above 0.99"
    return "below 0.01" if value < 0.01 else f"{value:.2f}"


NEARLY = 0.1
"""Share of its unconstrained rate below which a decision counts as suppressed in a group."""

FEWEST = 5.0
"""Affected rows from which a group is reported."""

MOST_NAMED = 5
"""Groups of one sensitive column that a message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Shares of each decision in the groups of a grouping."""

    # shares of the decisions of the selected model, of those of the best model without the
    # constraint (of the labels if there is none), and of the labels
    served: NDArray[np.float64]  # shape (n_groups, n_classes)
    reference: NDArray[np.float64]  # shape (n_groups, n_classes)
    labels: NDArray[np.float64]  # shape (n_groups, n_classes)
    n_rows: NDArray[np.float64]  # shape (n_groups,): effective rows


def group_headlines(board: Leaderboard, entry: Entry, classes: NDArray[Any]) -> tuple[str, ...]:
    """Return one sentence per group that the constraint leaves with one decision."""
    found: list[str] = []
    unconstrained = _unconstrained(board)
    for system in _constrained(board, entry):
        shares = _shares(board, entry, unconstrained, system)
        decision = shares.served.argmax(axis=1)
        at = np.arange(len(decision))
        other = 1.0 - shares.served[at, decision]
        usual = 1.0 - shares.reference[at, decision]
        shut = (other < NEARLY * usual) & (shares.n_rows * usual >= FEWEST)
        for one in np.unique(decision[shut]).tolist():
            named = np.flatnonzero(shut & (decision == one)).tolist()
            rates = _Rates(system, shares, one, compared=unconstrained is not None)
            found.append(rates.sentence(named, str(classes[one])))
    return tuple(found)


def one_sided_notes(board: Leaderboard, entry: Entry) -> tuple[str, ...]:
    """Return a note on groups that get one decision without the constraint too."""
    unconstrained = _unconstrained(board)
    if unconstrained is None or board.objective == "balanced_accuracy":
        return ()
    found: list[str] = []
    for system in _constrained(board, entry):
        shares = _shares(board, entry, unconstrained, system)
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


def constant_headline(outdone: Entry, constant: Entry, advice: str) -> str:
    """Return the sentence on a constant that is selected because its utility is higher."""
    who = "best model that meets the constraint" if outdone.feasible else "least unfair model"
    return (
        f"The {who} (score {outdone.score:.4f}) is worth less than the best constant prediction "
        f"(score {constant.score:.4f}), so the constant is served; {advice}."
    )


def _constrained(board: Leaderboard, entry: Entry) -> Iterator[GroupSystem]:
    """Yield the systems of the constraints; none for a constant, and for numbers."""
    if entry.constant or entry.deployed.ndim == 2:
        return
    names = {measure.system for measure in entry.measures}
    yield from (s for s in board.systems if s.name in names)


def _unconstrained(board: Leaderboard) -> Entry | None:
    plain = (e for e in board.entries if e.mitigator == "none" and e.config.mitigation == "none")
    return max(plain, key=lambda entry: entry.value, default=None)


def _shares(
    board: Leaderboard, entry: Entry, unconstrained: Entry | None, system: GroupSystem
) -> Shares:
    member = system.member.astype(np.float64)
    table = np.tensordot(member, entry.deployed, 1)
    labels = _normalized(table.sum(axis=2))
    reference = labels
    if unconstrained is not None:
        reference = _normalized(np.tensordot(member, unconstrained.deployed, 1).sum(axis=1))
    return Shares(
        served=_normalized(table.sum(axis=1)),
        reference=reference,
        labels=labels,
        n_rows=member @ np.nan_to_num(board.n_rows),
    )


def _normalized(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    total = weight.sum(axis=1, keepdims=True)
    shares: NDArray[np.float64] = np.divide(
        weight, total, out=np.zeros_like(weight), where=total > 0
    )
    return shares


@dataclass(frozen=True, slots=True)
class _Rates:
    """Rates of a grouping in which some groups get a single decision."""

    system: GroupSystem
    shares: Shares
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
        "sample_fraction": round(result.trial.budget.sample_fraction, 6),
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


CUT_OFF = frozenset({TrialState.STOPPED, TrialState.TIMEOUT})
"""States of trials that the time budget or the user ended."""

SOUND = frozenset({TrialState.SUCCESS, TrialState.PRUNED})
"""States of trials that ended by themselves without a failure."""


def run_summary(
    history: TrialLog,
    plan: Plan,
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
        "n_pruned": statuses.count(TrialState.PRUNED),
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
            "settle": _per_trial(sum(history.scoring_seconds), history.scoring_seconds),
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


def shortfall(entry: Entry, constraints: Sequence[str]) -> str:
    """Return the message that no model meets the constraints, with the violation and a remedy."""
    wanted = " and ".join(constraints)
    if not entry.measures:
        return (
            f"constraint={wanted!r} does not apply: there is a single group, so no model can be "
            "said to meet it; give rows of two groups or more, or use FairAutoML(constraint=None)"
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
    """Return the message that the held-out rows show a violation, with a remedy."""
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
        f"hold for the selected model; see certificate_. {'. '.join(ways)}"
    )


def margin_notes(margin: Margin | None) -> tuple[str, ...]:
    """Return a note if the selected model misses ``confidence`` or loses most of its utility."""
    # ``shortfall`` reports a limit that is missed on the search rows already.
    if margin is None or margin.margin < 0:
        return ()
    if not margin.insufficient_evidence:
        return _is_expensive(margin)
    if not isinstance(margin.confidence, float):
        return (
            "insufficient evidence: the constraint is met on the search rows, but it is more "
            "likely to be missed than met on as many new rows (estimated probability "
            f"{margin.probability:.2f}). Give more rows, a looser bound or fewer groups, or set "
            "confidence=0.95 to select the model most likely to meet it",
        )
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


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Entries, and everything needed to predict with those on the Pareto front."""

    board: Leaderboard  # all entries
    best: Entry  # selected entry
    # fold models by trial key, of every trial that an entry on the front uses
    bags: Mapping[str, ScoreModel]
    schema: TableSchema  # how new rows are read, as in ``Dataset``
    groups: GroupSchema | None
    classes: NDArray[Any]
    seed: int  # root seed, salt of randomised rules
    membership: GroupProbabilityModel | None = None  # for rules that read group probabilities
    task: TaskName = "binary"  # kind of target
    # individuals with a positive weight by finest group and label; None without two classes
    rows_by_label: NDArray[np.int64] | None = None  # shape (n_cells, 2)

    def classifier(self, entry: Entry) -> Predictor:
        """Return the predictor of an entry without training."""
        return Predictor(
            models=models_of(entry, self.bags),
            rule=entry.rule,
            schema=self.schema,
            groups=self.groups,
            classes=self.classes,
            needs_sensitive=bool(self.board.asks_groups(entry)),
            salt=self.seed,
            membership=self.membership if isinstance(entry.rule, GroupUnawareRule) else None,
            task=self.task,
        )

    def serving(self, entry: Entry) -> "Pool":
        """Return the pool with another selected entry, which the leaderboard puts first."""
        return replace(self, board=replace(self.board, served=entry), best=entry)

    def select(self, *, max_gap: float | None, min_score: float | None) -> Entry:
        """Return the best matching entry among those whose models are stored."""
        entry = self.board.select(max_gap=max_gap, min_score=min_score, trials=set(self.bags))
        if entry is None:
            front = self.board.pareto_front()
            ends = " to ".join(
                f"{self.board.objective} {e.score:.4f} at gap {e.gap:.4f}"
                for e in (front[0], front[-1])
            )
            msg = (
                f"select(max_gap={max_gap}, min_score={min_score}): no entry fits; the front goes "
                f"from {ends}"
            )
            raise InputError(msg)
        return entry


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of ``optimize``."""

    history: TrialLog  # all trials of the search
    pool: Pool  # deployable models
    assembled: Assembled  # how the entry was selected
    interrupted: bool  # whether the user ended the search

    @property
    def constant_headline(self) -> str | None:
        """Sentence on a constant that is selected because its utility is higher, else None."""
        outdone = self.assembled.outdone
        if outdone is None:
            return None
        board, constant = self.pool.board, self.assembled.best
        advice = advice_on_constant(outdone, constant, board.entries, board.objective)
        return constant_headline(outdone, constant, advice)


def make_pool(
    assembled: Assembled, plan: Plan, artifacts: Artifacts, made: Mapping[str, ScoreModel]
) -> Pool:
    """Load the deployable models and release all training rows."""
    dataset, best = plan.problem.dataset, assembled.best
    board = Leaderboard(
        entries=assembled.entries,
        systems=dataset.systems,
        small_groups=dataset.small_groups,
        objective=plan.problem.objective.name,
        n_rows=_rows_by_cell(plan.problem),
        served=best,
        readers=_readers(assembled.entries),
        sensitive_features=dataset.sensitive_features,
    )
    keys = {key for entry in (*board.pareto_front(), best) for key in entry.sources}
    bags = {k: made[k] if k in made else CVEnsemble(artifacts.models(k)) for k in sorted(keys)}
    return Pool(
        board=board,
        best=best,
        bags=bags,
        schema=dataset.schema,
        groups=dataset.groups,
        classes=dataset.classes,
        task=dataset.task,
        seed=plan.seed,
        membership=kept_membership(
            artifacts, [isinstance(entry.rule, GroupUnawareRule) for entry in board.entries]
        ),
        rows_by_label=_individuals_by_label(plan.problem),
    )


def _readers(entries: tuple[Entry, ...]) -> frozenset[str]:
    """Return the trials whose training-time mitigation needs the groups of new rows."""
    found = {entry.trial_key: entry.config.mitigation for entry in entries if not entry.members}
    return frozenset(
        key
        for key, name in found.items()
        if name != "none" and MITIGATORS.get(name).needs_sensitive_at_predict
    )


def finish_of(
    settings: Settings, start: float, certifiable: Callable[[Entry], float] | None = None
) -> SelectionOptions:
    """Return the options of the final selection."""
    return SelectionOptions(
        assemble=settings.assemble,
        max_models=settings.max_models,
        confidence=settings.confidence,
        end=None if settings.time_budget is None else start + settings.time_budget,
        certifiable=certifiable,
    )


def warn_on_result(
    outcome: Outcome, plan: Plan, settings: Settings, *, feasible: bool, strict: bool
) -> None:
    """Issue the warnings on a finished run."""
    best, lacking = outcome.pool.best, margin_notes(outcome.assembled.margin)
    constant = outcome.constant_headline
    news = diagnose_run(outcome.history, best, plan.baseline, plan.problem.objective.name)
    if constant is not None:
        news = []
    for msg in (*group_headlines(outcome.pool.board, best, outcome.pool.classes), *news, *lacking):
        warn(msg, SmallGroupWarning if msg in lacking else DegradedWarning)
    if feasible or not settings.constraints:
        return
    msg = (
        shortfall(best, [c.label for c in settings.constraints]) if constant is None else constant
    )
    if strict:
        raise NoFeasibleModelError(msg)
    warn(msg, NoFeasibleModelWarning)


def _rows_by_cell(problem: Problem) -> NDArray[np.float64]:
    dataset = problem.dataset
    n_cells = 1 if dataset.groups is None else dataset.groups.n_cells
    return effective_rows(dataset.cells, dataset.weight, n_cells, problem.entities)


def _individuals_by_label(problem: Problem) -> NDArray[np.int64] | None:
    """Return the number of individuals by group and label; small groups are found by it.

    An individual with several rows of a label is counted once, in the group of the first row.
    """
    dataset = problem.dataset
    if dataset.task != "binary":
        return None
    n_cells = 1 if dataset.groups is None else dataset.groups.n_cells
    counted = np.flatnonzero(dataset.weight > 0)
    if problem.entities is not None:
        whose = np.c_[problem.entities[counted], dataset.y[counted]]
        counted = counted[np.unique(whose, axis=0, return_index=True)[1]]
    at = 2 * dataset.cells[counted].astype(np.int64) + dataset.y[counted]
    return np.bincount(at, minlength=2 * n_cells).reshape(n_cells, 2)
