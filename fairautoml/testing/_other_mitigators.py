"""The contract of a mitigator for several classes, or for numbers."""

import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.evaluation.fitting import BaseFit
from fairautoml.metrics import METRICS, TaskName, Undefined
from fairautoml.mitigators import Goal, Mitigator, ScoreRows, Target, TrainRows
from fairautoml.spaces import load_space
from fairautoml.tasks import TASKS
from fairautoml.testing._other_tables import N_GROUPS, SYSTEM, other_table, scored
from fairautoml.testing._spaces import points
from fairautoml.trials import Candidate, Rule

TOLERANCES = (0.0, 0.05, 0.2)

ONE_ROW = frozenset({"demographic_parity_difference", "distribution_gap"})
"""Metrics whose guarantee is in rows: the gap is at most the tolerance and one row per group."""

EXACT = frozenset({"mean_difference"})
"""Metrics that can be met exactly where groups may be shifted."""

SAME = 1e-6

Pairs = Sequence[tuple[float | None, Rule | None]]


def check_other_mitigator(mitigator: Mitigator, task: TaskName) -> None:
    """Check that a mitigator keeps the contract of ``fairautoml.mitigators`` for a target.

    As ``check_mitigator``; the guarantee is checked for demographic parity and the distribution
    gap, up to one row per group, and for the difference of means.

    Parameters
    ----------
    mitigator : Mitigator
        The mitigator to check.
    task : {"multiclass", "regression"}
        One of the kinds of target that it works for.

    Raises
    ------
    AssertionError
        The contract is broken; the message says where.
    """
    if mitigator.stage != "post":
        _check_training(mitigator, task)
        return
    goals = [_goal(task, name) for name in METRICS.names() if _is_served(mitigator, task, name)]
    for goal in goals:
        _check_post(mitigator, goal)
    if task == "multiclass":
        # Some rules are only made where classes count alike, with and without a constraint.
        for one in (goals[0], Goal(targets=(), task=task)):
            _check_post(mitigator, replace(one, objective="balanced_accuracy"))


def _is_served(mitigator: Mitigator, task: TaskName, name: str) -> bool:
    metric = METRICS.get(name)
    fair = metric.kind == "fairness" and task in metric.tasks
    return fair and (mitigator.serves is None or name in mitigator.serves)


def _goal(task: TaskName, name: str) -> Goal:
    target = Target(metric=METRICS.get(name), system=SYSTEM, limit=0.05)
    return Goal(targets=(target,), task=task)


def _require(kept: bool, mitigator: Mitigator, broken: str) -> None:
    if not kept:
        raise AssertionError(f"{mitigator.name}: {broken}")


def _check_post(mitigator: Mitigator, goal: Goal) -> None:
    task, tolerances = goal.task, TOLERANCES if goal.targets else ()
    rows = scored(task, seed=0)
    fit: Any = mitigator.fit_rules
    before = pickle.dumps(rows)
    pairs: Pairs = list(fit(rows, goal, tolerances))
    _require(pickle.dumps(rows) == before, mitigator, "fit_rules modifies its input")
    list(fit(rows, Goal(targets=(), task=task), ()))
    smaller = list(fit(scored(task, seed=1, n_rows=300), goal, tolerances))
    asked, elsewhere = ([t for t, _ in found] for found in (pairs, smaller))
    _require(asked == elsewhere, mitigator, "the tolerances depend on the rows")
    for _, rule in pairs:
        if rule is not None:
            _check_rule(mitigator, rule, rows)
    _check_same_people(mitigator, rows, goal, pairs)
    if mitigator.serves is not None and goal.targets:
        _check_guarantee(mitigator, rows, goal, pairs)


def _check_rule(mitigator: Mitigator, rule: Rule, rows: ScoreRows) -> None:
    outcome = rule.decide(rows.scores, rows.cells)
    unknown = rule.decide(rows.scores, np.full_like(rows.cells, -1))
    for found in (outcome, unknown):
        valid = found.shape == rows.scores.shape and bool(np.isfinite(found).all())
        if rows.scores.ndim == 2:
            valid = valid and bool(((found == 0) | (found == 1)).all())
            valid = valid and bool((found.sum(axis=1) == 1).all())
        _require(valid, mitigator, "a rule answers with something that is no outcome")
    stored: Rule = pickle.loads(pickle.dumps(rule))
    same = np.array_equal(stored.decide(rows.scores, rows.cells), outcome)
    _require(same, mitigator, "a rule decides otherwise after pickling")
    _require(bool(rule.describe().strip()), mitigator, "a rule describes itself by nothing")
    honest = mitigator.needs_sensitive_at_predict or not rule.needs_sensitive
    _require(honest, mitigator, "needs_sensitive_at_predict=False, but a rule needs the groups")
    others = rule.decide(rows.scores, (rows.cells + 1) % N_GROUPS)
    blind = rule.needs_sensitive or np.array_equal(others, outcome)
    _require(blind, mitigator, "needs_sensitive=False, but answers depend on the groups")
    few = np.array([41, 3, 17])
    alone = rule.decide(rows.scores[few], rows.cells[few])
    _require(
        bool(np.allclose(alone, outcome[few], atol=SAME)), mitigator, "a row depends on others"
    )


def _check_same_people(mitigator: Mitigator, rows: ScoreRows, goal: Goal, pairs: Pairs) -> None:
    order = np.random.default_rng(2).permutation(len(rows.y))
    renamed = replace(rows, cells=(rows.cells + 1) % N_GROUPS)
    fit: Any = mitigator.fit_rules
    tolerances = TOLERANCES if goal.targets else ()
    for case, other in (
        ("fitted again", rows),
        ("the rows are in another order", rows.take(order)),
        ("the cells are renumbered", renamed),
    ):
        at = renamed if other is renamed else rows
        for (_, rule), (_, found) in zip(pairs, fit(other, goal, tolerances), strict=True):
            if rule is None or found is None:
                _require(rule is found, mitigator, f"a rule comes or goes when {case}")
                continue
            first = rule.decide(rows.scores, rows.cells)
            apart = float(np.abs(first - found.decide(at.scores, at.cells)).max())
            _require(apart <= SAME, mitigator, f"answers differ by up to {apart} when {case}")


def _check_guarantee(mitigator: Mitigator, rows: ScoreRows, goal: Goal, pairs: Pairs) -> None:
    (target,) = goal.targets
    name = target.metric.name
    if name not in ONE_ROW | EXACT:
        return
    mass = np.bincount(rows.cells, weights=rows.weight)
    one_row = 2 * rows.weight.max() / mass.min() if name in ONE_ROW else 1e-3
    for tolerance, rule in pairs:
        if tolerance is None or rule is None:
            continue
        outcome = rule.decide(rows.scores, rows.cells)
        tally = TASKS.get(goal.task).tally(
            rows.cells, rows.y, outcome, rows.weight, n_groups=N_GROUPS
        )
        gap = target.metric.value(tally)
        kept = not isinstance(gap, Undefined) and gap <= tolerance + one_row
        _require(kept, mitigator, f"gap {gap} on the rows, asked for {tolerance} of {name}")


def _check_training(mitigator: Mitigator, task: TaskName) -> None:
    X, y, layout = other_table(task, seed=0)
    rng = np.random.default_rng(1)
    name = min(mitigator.serves) if mitigator.serves else "mean_difference"
    rows = TrainRows(
        X=X,
        y=y,
        weight=rng.uniform(0.5, 2.0, size=len(y)),
        cells=rng.integers(N_GROUPS, size=len(y)).astype(np.int32),
        systems=(SYSTEM,),
        layout=layout,
        targets=(Target(metric=METRICS.get(name), system=SYSTEM, limit=0.05),),
        task=task,
        n_classes=3,
    )
    base = BaseFit(candidate=Candidate(learner="logistic_regression"), seed=0, deadline=None)
    train: Any = mitigator.train
    for params in points(load_space("mitigators", mitigator.name, mitigator.space), n=2):
        before = pickle.dumps(rows)
        model = train(rows, base, params, 7)
        found: NDArray[Any] = model.scores(rows.X, rows.cells)
        _require(pickle.dumps(rows) == before, mitigator, "train or scores modifies its input")
        TASKS.get(task).checked(found)
        again = train(rows, base, params, 7).scores(rows.X, rows.cells)
        _require(np.array_equal(found, again), mitigator, f"not repeatable with {params}")
        stored = pickle.loads(pickle.dumps(model)).scores(rows.X, rows.cells)
        _require(np.array_equal(found, stored), mitigator, "scores differ after pickling")
        others = model.scores(rows.X, (rows.cells + 1) % N_GROUPS)
        blind = mitigator.needs_sensitive_at_predict or np.array_equal(others, found)
        _require(blind, mitigator, "scores depend on the groups")
