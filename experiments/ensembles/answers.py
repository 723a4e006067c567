"""What one pool of trained models answers to one constraint, in every way of assembling it."""

import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ensembles.luck import LUCKLESS, log_losses, on_other_halves
from ensembles.rows import HeldRows
from fairautoml.evaluation.postprocess import column_of, expand_column
from fairautoml.metrics import Constraint
from fairautoml.plan import Plan, apply_group_policy, define_problem
from fairautoml.records import BASELINE, Config, Entry, TrialResult, best_of
from fairautoml.search.space_files import load_space
from fairautoml.selection.choice import (
    ENSEMBLE,
    HELD_OUT,
    MIXTURE,
    CandidateRules,
    Confidence,
    SelectionOptions,
    select_final,
)
from fairautoml.selection.final import collect_candidates
from fairautoml.selection.leaderboard import TrialLog
from fairautoml.selection.low_variance import LOW_VARIANCE
from fairautoml.settings import Settings
from fairautoml.storage.artifacts import Artifacts

DEFAULT = "lightgbm"
"""Learner that anybody would try without a search, with its defaults."""

MARGINS: Mapping[str, tuple[Confidence, float]] = {
    "off": (None, math.inf),
    "auto": ("auto", 1.0),
    "0.95": (0.95, HELD_OUT),
    "auto all": ("auto", math.inf),
    "0.95 all": (0.95, math.inf),
    "auto check": ("auto", HELD_OUT),
    "0.95 many": (0.95, 1.0),
}
"""Confidence, and on how many new people in times of the searched: as users have it by default, on
all there are, on as many as a check holds out, on as many as were searched."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pool:
    """Models that were trained once, for any question."""

    plan: Plan  # how they were trained; its problem has no constraint
    results: tuple[TrialResult, ...]  # those that succeeded
    artifacts: Artifacts  # their scores
    held: HeldRows  # what they are judged on
    settings: Settings  # what was asked for

    def plan_for(self, constraint: Constraint, *, randomized: bool) -> Plan:
        """Return the plan with a constraint."""
        settings = replace(self.settings, constraints=(constraint,), randomized=randomized)
        dataset = apply_group_policy(self.plan.problem.dataset, settings)
        return replace(self.plan, problem=define_problem(dataset, settings))


def answers(pool: Pool, constraint: Constraint) -> list[dict[str, Any]]:
    """Return one row per way of assembling and margin.

    ``who`` is ``single`` (the best of the best trials), ``ensemble``, ``mixture`` (rules that
    decide at random), ``served`` and ``served randomized`` (what ``fit`` chooses among them by
    cross-fitted value), and, chosen or fitted on the held-out rows themselves, ``hindsight`` (the
    best single trial), ``oracle`` (the program on the real labels, an upper bound) and ``oracle
    plug-in`` (the program as the search fits it). ``hindsight halves`` and ``ensemble halves`` are
    as in ``on_other_halves``. ``default`` is LightGBM with its defaults, if it was tried, else the
    first trial of the portfolio.
    """
    plan = pool.plan_for(constraint, randomized=False)
    history = TrialLog()
    for result in pool.results:
        scores = pool.artifacts.scores(result.trial.key)
        history.add(result, expand_column(column_of(result, scores), plan.problem), 0.0)
    start = time.process_time()
    options = SelectionOptions(seed=plan.seed)
    offers = collect_candidates(plan.problem, history, pool.artifacts, options)
    middle = time.process_time()
    mixed_plan = pool.plan_for(constraint, randomized=True)
    mixed = collect_candidates(mixed_plan.problem, history, pool.artifacts, options)
    seconds = (middle - start, time.process_time() - middle)
    singles = offers.columns.keys() - {ENSEMBLE}
    averaged = offers.columns.keys() & {ENSEMBLE} or singles
    quiet = _quiet(pool, plan, history)
    ways = (
        ("single", plan, _only(offers, singles), 0.0),
        ("ensemble", plan, _only(offers, averaged), seconds[0]),
        ("served", plan, offers, seconds[0]),
        ("mixture", mixed_plan, _only(mixed, mixed.columns.keys() & {MIXTURE}), seconds[1]),
        ("served randomized", mixed_plan, mixed, seconds[1]),
    )
    found = [
        row
        for who, request, offered, took in ways
        if offered.usual
        for row in _by_margin(
            pool, request, offered, quiet, {"who": who, "seconds": round(took, 3)}
        )
    ]
    at_limit = _at_limits(pool, plan, mixed, _only(offers, averaged))
    found += _beyond(pool, plan, _only(offers, averaged), at_limit)
    label = {"constraint": constraint.label, "limit": constraint.limit}
    losses = log_losses(pool.held, next(iter(_only(offers, {ENSEMBLE}).usual), None))
    return [
        label | {"at_limit": at_limit.get(row["who"]), "log_loss": losses.get(row["who"])} | row
        for row in found
    ]


def _quiet(pool: Pool, plan: Plan, history: TrialLog) -> dict[str, tuple[Entry, ...]]:
    """Return the entries that are made only where a confidence is asked for, by margin."""
    found = {}
    for name, (confidence, ratio) in MARGINS.items():
        if isinstance(confidence, float):
            finish = SelectionOptions(confidence=confidence, audit_ratio=ratio, seed=plan.seed)
            fine = collect_candidates(plan.problem, history, pool.artifacts, finish).fine
            found[name] = tuple(e for e in fine if e.mitigator == LOW_VARIANCE)
    return found


def _by_margin(
    pool: Pool,
    plan: Plan,
    offers: CandidateRules,
    quiet: Mapping[str, tuple[Entry, ...]],
    about: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    """Yield what one way serves with each margin, and how it fares."""
    constraint = _constraint_of(plan)
    for name, (confidence, ratio) in MARGINS.items():
        start = time.process_time()
        finish = SelectionOptions(confidence=confidence, audit_ratio=ratio, seed=plan.seed)
        more = (e for e in quiet.get(name, ()) if e.trial_key in offers.columns)
        offered = replace(offers, fine=(*offers.fine, *more))
        choice = select_final(offered, plan.problem, finish)
        entry, margin = choice.best, choice.margin
        took = time.process_time() - start
        yield {
            **about,
            "margin": name,
            **pool.held.worth(entry, constraint),
            "served_by": entry.trial_key if entry.members else "single",
            "score": entry.value,
            "search_gap": entry.gap if math.isfinite(entry.gap) else None,
            "probability": None if margin is None else margin.probability,
            "insufficient": None if margin is None else margin.insufficient_evidence,
            "seconds": round(about["seconds"] + took, 3),
        }


def _constraint_of(plan: Plan) -> Constraint:
    (target,) = plan.problem.goal.targets
    bound = target.limit if target.metric.form == "difference" else 1.0 - target.limit
    return Constraint(metric=target.metric, bound=bound, system=target.system.name)


def _at_limits(
    pool: Pool, plan: Plan, mixed: CandidateRules, averaged: CandidateRules
) -> dict[str, float | None]:
    """Return the accuracy at the limit of single trials, ensemble and mixture."""
    constraint = _constraint_of(plan)

    def of(entries: Sequence[Entry]) -> float | None:
        return pool.held.at_limit(entries, constraint)

    trials = {r.trial.key: r for r in pool.results if r.trial.config != BASELINE}
    fronts = {key: _entries(mixed, key) for key in trials}
    by_trial = {key: of(entries) for key, entries in fronts.items()}
    together = (*averaged.usual, *averaged.fine)
    known = [value for value in by_trial.values() if value is not None]
    usual = Config(learner=DEFAULT, params=load_space("learners", DEFAULT).defaults())
    default = min(trials.values(), key=lambda r: (r.trial.config != usual, r.trial.number))
    best = best_of(e for e in mixed.usual if e.trial_key in trials)
    return {
        "default": by_trial[default.trial.key],
        "single": None if best is None else by_trial[best.trial_key],
        "hindsight": max(known, default=None),
        "ensemble": of(together),
        "mixture": of(_entries(mixed, MIXTURE)),
        **on_other_halves(pool.held, fronts, together, constraint),
    }


def _entries(offers: CandidateRules, key: str) -> list[Entry]:
    """Return the entries of a column that decide for certain, or all of the mixture."""
    return [
        entry
        for entry in (*offers.usual, *offers.fine)
        if entry.trial_key == key and (key == MIXTURE or not entry.rule.randomized)
    ]


def _beyond(
    pool: Pool, plan: Plan, averaged: CandidateRules, at_limit: Mapping[str, float | None]
) -> list[dict[str, Any]]:
    """Return the rows of what was chosen or fitted on the held-out rows, and the default."""
    constraint, held = _constraint_of(plan), pool.held
    blank = {"margin": "", "gap": None, "majority": None, "seconds": None}
    known = ("default", "hindsight", *LUCKLESS)
    rows = [{**blank, "who": who, "accuracy": at_limit[who]} for who in known]
    for who, shrink in (("oracle", False), ("oracle plug-in", True)):
        worth = held.oracle(averaged.usual, plan.problem.goal, constraint, shrink=shrink)
        if worth is not None:
            rows.append({**blank, "who": who, **worth})
    return rows


def _only(candidates: CandidateRules, keys: Collection[str]) -> CandidateRules:
    """Return the rules of the columns with the given keys."""
    return replace(
        candidates,
        usual=tuple(entry for entry in candidates.usual if entry.trial_key in keys),
        fine=tuple(entry for entry in candidates.fine if entry.trial_key in keys),
        columns={key: column for key, column in candidates.columns.items() if key in keys},
    )
