"""Contract checks for mitigators."""

import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from fairautoml.evaluation.fitting import BaseFit
from fairautoml.metrics import METRICS, BoundConstraint, GroupCounts, Metric, TaskName, Undefined
from fairautoml.metrics.groups import GroupSystem
from fairautoml.metrics.tasks import TASKS
from fairautoml.mitigators import Goal, Mitigator, ScoreModel, ScoreRows, TrainRows
from fairautoml.records import Config, Rule, acceptance
from fairautoml.search.space import ParamValue
from fairautoml.search.space_files import load_space
from fairautoml.testing._search import points
from fairautoml.testing._tables import N_GROUPS, SYSTEM, mixed_table, other_table, scored

TOLERANCES = (0.0, 0.05, 0.2)

ONE_ROW = frozenset({"demographic_parity_difference", "distribution_gap"})
"""Metrics whose gap may exceed the tolerance by one row per group."""

EXACT = frozenset({"mean_difference"})
"""Metrics that a shift of each group can meet exactly."""

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
        One of the kinds of target that it supports.

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
        # Some rules exist only for an objective that weights all classes equally.
        for one in (goals[0], Goal(targets=(), task=task)):
            _check_post(mitigator, replace(one, objective="balanced_accuracy"))


def _is_served(mitigator: Mitigator, task: TaskName, name: str) -> bool:
    metric = METRICS.get(name)
    fair = metric.kind == "fairness" and task in metric.tasks
    return fair and (mitigator.serves is None or name in mitigator.serves)


def _goal(task: TaskName, name: str) -> Goal:
    target = BoundConstraint(metric=METRICS.get(name), system=SYSTEM, limit=0.05)
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
    first, elsewhere = ([t for t, _ in found] for found in (pairs, smaller))
    _require(first == elsewhere, mitigator, "the tolerances depend on the rows")
    for _, rule in pairs:
        if rule is not None:
            _check_rule(mitigator, rule, rows)
    _check_same_rows(mitigator, rows, goal, pairs)
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


def _check_same_rows(mitigator: Mitigator, rows: ScoreRows, goal: Goal, pairs: Pairs) -> None:
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
        _require(kept, mitigator, f"gap {gap} of {name} on the rows, tolerance {tolerance}")


def _check_training(mitigator: Mitigator, task: TaskName) -> None:
    X, y, feature_schema = other_table(task, seed=0)
    rng = np.random.default_rng(1)
    name = min(mitigator.serves) if mitigator.serves else "mean_difference"
    rows = TrainRows(
        X=X,
        y=y,
        weight=rng.uniform(0.5, 2.0, size=len(y)),
        cells=rng.integers(N_GROUPS, size=len(y)).astype(np.int32),
        systems=(SYSTEM,),
        feature_schema=feature_schema,
        targets=(BoundConstraint(metric=METRICS.get(name), system=SYSTEM, limit=0.05),),
        task=task,
        n_classes=3,
    )
    base = BaseFit(config=Config(learner="logistic_regression"), seed=0, deadline=None)
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


PARITY = "demographic_parity_difference"
LOOSE = (1.0, 1.5)
"""Tolerances that no difference of rates exceeds, so they do not bind."""

N_CELLS = 3
N_ROWS = 1200
"""Enough rows for post-processors that need a thousand to fit demographic parity on labels."""

BINARY_SYSTEM = GroupSystem(
    name="group",
    labels=tuple(f"group {cell}" for cell in range(N_CELLS)),
    of_cell=np.arange(N_CELLS, dtype=np.int32),
)
NUMBERS = np.array([-1.0, 0.25, 2.0])
"""Values of the numeric attribute by group, for metrics that read it."""


def check_mitigator(mitigator: Mitigator) -> None:
    """Check that a mitigator keeps the contract of ``fairautoml.mitigators``.

    Every mitigator is deterministic, does not modify its input, and reads the groups of new rows
    only if it declares so. A post-processor returns pairs whose number and tolerances do not
    depend on the rows. Its rules can be pickled, describe themselves, return acceptance
    probabilities, and depend neither on the order of the rows nor on the numbers of the groups. A
    bound that is not active costs no accuracy. If it supports demographic parity, the gap on the
    rows that a rule was fitted to is within the tolerance up to one row per group. A mitigator of
    another stage trains a model whose scores are probabilities, independent of the other rows in
    the batch, also after pickling, for every point of its space.

    Parameters
    ----------
    mitigator : Mitigator
        The mitigator to check; its space is loaded by name, as in the search.

    Raises
    ------
    AssertionError
        The contract is broken; the message says where.

    Examples
    --------
    >>> from fairautoml.mitigators import MITIGATORS
    >>> check_mitigator(MITIGATORS.get("none"))
    """
    needed = "fit_rules" if mitigator.stage == "post" else "train"
    if getattr(mitigator, needed) is None:
        raise AssertionError(f"{mitigator.name}: stage {mitigator.stage!r} needs {needed}")
    for task in sorted(mitigator.tasks - {"binary"}):
        check_other_mitigator(mitigator, task)
    if "binary" not in mitigator.tasks:
        return
    if mitigator.stage == "post":
        _check_post_binary(mitigator)
    else:
        _check_training_binary(mitigator)


# ------------------------------------------------------------------------------ post-processors


def _check_post_binary(mitigator: Mitigator) -> None:
    target = _target(mitigator)
    goal = Goal(targets=(target,), randomized=mitigator.randomizes)
    rows = _scored(mitigator, seed=0)
    _fit(mitigator, rows, Goal(targets=()), ())
    pairs = _fit(mitigator, rows, goal)
    _check_pairs(mitigator, pairs, _fit(mitigator, _scored(mitigator, seed=1, n_rows=300), goal))
    for _, rule in pairs:
        if rule is not None:
            _check_rule_binary(mitigator, rule, rows)
    _check_same_rows_binary(mitigator, rows, goal, pairs)
    _check_loose(mitigator, rows, _fit(mitigator, rows, goal, LOOSE))
    if target.metric.name == PARITY or target.metric.degree:
        _check_guarantee_binary(mitigator, rows, pairs, target.metric)


def _target(mitigator: Mitigator) -> BoundConstraint:
    """Return demographic parity within 0.05, or another metric if that is not supported."""
    served = mitigator.serves is None or PARITY in mitigator.serves
    metric = METRICS.get(PARITY if served else min(mitigator.serves or ()))
    return _on_system(metric, NUMBERS if metric.degree else None)


def _on_system(metric: Metric, numbers: NDArray[np.float64] | None) -> BoundConstraint:
    system = replace(BINARY_SYSTEM, values=numbers)
    return BoundConstraint(metric=metric.bound(numbers), system=system, limit=0.05)


def _renumbered(goal: Goal) -> Goal:
    """Return the goal for rows with renumbered groups."""
    (target,) = goal.targets
    metric = METRICS.get(target.metric.name)
    if not metric.degree:
        return goal
    return replace(goal, targets=(_on_system(metric, np.roll(NUMBERS, 1)),))


def _scored(mitigator: Mitigator, seed: int, n_rows: int = N_ROWS) -> ScoreRows:
    """Return rows of three unequal groups; weights have no ties, so the best rule is unique."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(N_CELLS, size=n_rows, p=[0.5, 0.3, 0.2]).astype(np.int32)
    scores = rng.beta(1.5 + cells, 2.0)
    rows = ScoreRows(
        scores=scores.astype(np.float32),
        y=(rng.uniform(size=n_rows) < scores).astype(np.int8),
        weight=rng.uniform(0.9, 1.1, size=n_rows),
        cells=cells,
        n_cells=N_CELLS,
    )
    if not mitigator.needs_membership:
        return rows
    # A model that is often right about the group of a row, and agrees with the scores.
    hint = rng.exponential(size=(n_rows, N_CELLS)) + 2.0 * np.eye(N_CELLS)[cells]
    share = hint / hint.sum(axis=1, keepdims=True)
    by_label = np.stack([1.0 - scores, scores], axis=1)
    return replace(rows, membership=(share[:, :, None] * by_label[:, None]).astype(np.float32))


def _decided(rule: Rule, rows: ScoreRows) -> NDArray[np.float64]:
    return acceptance(rule, rows.scores, rows.cells, rows.membership)


def _fit(
    mitigator: Mitigator, rows: ScoreRows, goal: Goal, tolerances: Sequence[float] = TOLERANCES
) -> Pairs:
    """Fit twice, and check that the input and the decisions stay the same."""
    fit: Any = mitigator.fit_rules
    before = pickle.dumps(rows)
    pairs: Pairs = list(fit(rows, goal, tolerances))
    _require(pickle.dumps(rows) == before, mitigator, "fit_rules modifies its input")
    again = list(fit(rows, goal, tolerances))
    _same_decisions(mitigator, pairs, again, (rows, rows), "when fitted again to the same rows")
    return pairs


def _check_pairs(mitigator: Mitigator, pairs: Pairs, other: Pairs) -> None:
    first, elsewhere = ([tolerance for tolerance, _ in found] for found in (pairs, other))
    broken = f"the tolerances are {first} or {elsewhere}, depending on the rows"
    _require(first == elsewhere, mitigator, broken)


def _check_rule_binary(mitigator: Mitigator, rule: Rule, rows: ScoreRows) -> None:
    decision = _decided(rule, rows)
    _check_decisions(mitigator, rule, decision)
    unknown = replace(rows, cells=np.full_like(rows.cells, -1))
    _check_decisions(mitigator, rule, _decided(rule, unknown))
    stored: Rule = pickle.loads(pickle.dumps(rule))
    same = np.array_equal(_decided(stored, rows), decision)
    _require(same, mitigator, "a rule decides otherwise after pickling")
    _require(bool(rule.describe().strip()), mitigator, "a rule describes itself by nothing")
    honest = mitigator.needs_sensitive_at_predict or not rule.needs_sensitive
    _require(honest, mitigator, "needs_sensitive_at_predict=False, but a rule needs the groups")
    others = _decided(rule, replace(rows, cells=(rows.cells + 1) % N_CELLS))
    blind = rule.needs_sensitive or np.array_equal(others, decision)
    _require(blind, mitigator, "needs_sensitive=False, but decisions depend on the groups")


def _check_decisions(mitigator: Mitigator, rule: Rule, decision: NDArray[np.floating]) -> None:
    valid = decision.shape == (N_ROWS,) and bool(np.all((decision >= 0) & (decision <= 1)))
    _require(valid, mitigator, f"decisions are not ({N_ROWS},) in [0, 1]")
    sure = rule.randomized or bool(np.isin(decision, (0.0, 1.0)).all())
    _require(sure, mitigator, "randomized=False, but a decision is neither 0 nor 1")


def _check_same_rows_binary(
    mitigator: Mitigator, rows: ScoreRows, goal: Goal, pairs: Pairs
) -> None:
    order = np.random.default_rng(2).permutation(N_ROWS)
    mixed = _fit(mitigator, rows.take(order), goal)
    _same_decisions(mitigator, pairs, mixed, (rows, rows), "when the rows are in another order")
    shares = None if rows.membership is None else np.roll(rows.membership, 1, axis=1)
    renamed = replace(rows, cells=(rows.cells + 1) % N_CELLS, membership=shares)
    found = _fit(mitigator, renamed, _renumbered(goal))
    _same_decisions(mitigator, pairs, found, (rows, renamed), "when the cells are renumbered")


def _same_decisions(
    mitigator: Mitigator, pairs: Pairs, others: Pairs, both: tuple[ScoreRows, ScoreRows], case: str
) -> None:
    _require(len(pairs) == len(others), mitigator, f"another number of rules {case}")
    for (_, rule), (_, other) in zip(pairs, others, strict=True):
        _require((rule is None) == (other is None), mitigator, f"a rule comes or goes {case}")
        if rule is not None and other is not None:
            first, second = (
                _decided(r, rows) for r, rows in zip((rule, other), both, strict=True)
            )
            apart = float(np.abs(first - second).max())
            _require(apart <= SAME, mitigator, f"decisions differ by up to {apart} {case}")


def _check_loose(mitigator: Mitigator, rows: ScoreRows, pairs: Pairs) -> None:
    """Check that bounds that are not active cost no accuracy and give the same decisions."""
    found = [_decided(rule, rows) for tolerance, rule in pairs if tolerance in LOOSE and rule]
    plain = np.sum(rows.weight * ((rows.scores >= 0.5) == rows.y))
    for decision in found:
        same = float(np.abs(decision - found[0]).max()) <= SAME
        _require(same, mitigator, "a bound that nothing breaks changes decisions")
        right = np.sum(rows.weight * np.where(rows.y == 1, decision, 1.0 - decision))
        _require(right >= plain * (1 - SAME), mitigator, "a loose bound costs accuracy")


def _check_guarantee_binary(
    mitigator: Mitigator, rows: ScoreRows, pairs: Pairs, metric: Metric
) -> None:
    mass = np.bincount(rows.cells, weights=rows.weight)
    # One group has a row more and another a row less.
    one_row = 2 * rows.weight.max() / mass.min()
    for tolerance, rule in pairs:
        if tolerance is None or rule is None:
            continue
        decision = _decided(rule, rows)
        counts = GroupCounts.from_rows(rows.cells, rows.y, decision, rows.weight, n_groups=N_CELLS)
        gap = metric.value(counts)
        broken = f"gap {gap} on the rows it was fitted to, tolerance {tolerance}"
        kept = not isinstance(gap, Undefined) and gap <= tolerance + one_row
        _require(kept, mitigator, broken)


# ---------------------------------------------------------------------- before and in training


def _check_training_binary(mitigator: Mitigator) -> None:
    space = load_space("mitigators", mitigator.name, mitigator.space)
    _check_repeatable(mitigator, space.defaults())
    _check_new_rows(mitigator, space.defaults())
    rows = _training_rows(mitigator)
    for params in points(space, n=2):
        model = _train(mitigator, rows, params)
        _check_scores(mitigator, model.scores(rows.X, rows.cells), f"trained with {params}")


def _training_rows(mitigator: Mitigator) -> TrainRows:
    X, y, feature_schema = mixed_table(seed=0)
    cells = np.random.default_rng(1).integers(N_CELLS, size=len(y)).astype(np.int32)
    weight = np.random.default_rng(2).uniform(0.5, 2.0, size=len(y))
    return TrainRows(
        X=X,
        y=y,
        weight=weight,
        cells=cells,
        systems=(BINARY_SYSTEM,),
        feature_schema=feature_schema,
        targets=(_target(mitigator),),
    )


BASE = BaseFit(config=Config(learner="logistic_regression"), seed=0, deadline=None)


def _train(mitigator: Mitigator, rows: TrainRows, params: Mapping[str, ParamValue]) -> ScoreModel:
    train: Any = mitigator.train
    model: ScoreModel = train(rows, BASE, params, 7)
    return model


def _check_scores(mitigator: Mitigator, scores: NDArray[Any], case: str) -> None:
    n_rows = len(_training_rows(mitigator).y)
    valid = scores.shape == (n_rows,) and bool(np.all((scores >= 0) & (scores <= 1)))
    _require(valid, mitigator, f"scores are not ({n_rows},) in [0, 1], {case}")


def _check_repeatable(mitigator: Mitigator, params: Mapping[str, ParamValue]) -> None:
    rows = _training_rows(mitigator)
    before = pickle.dumps((rows, dict(params)))
    model = _train(mitigator, rows, params)
    expected = model.scores(rows.X, rows.cells)
    untouched = pickle.dumps((rows, dict(params))) == before
    _require(untouched, mitigator, "train or scores modifies its input")
    again = _train(mitigator, rows, params).scores(rows.X, rows.cells)
    same = np.array_equal(again, expected)
    _require(same, mitigator, "scores differ when trained again with the same seed")
    stored = io.BytesIO()
    joblib.dump(model, stored)
    stored.seek(0)
    same = np.array_equal(joblib.load(stored).scores(rows.X, rows.cells), expected)
    _require(same, mitigator, "scores differ after pickling")


def _check_new_rows(mitigator: Mitigator, params: Mapping[str, ParamValue]) -> None:
    rows = _training_rows(mitigator)
    model = _train(mitigator, rows, params)
    expected = model.scores(rows.X, rows.cells)
    few = np.array([41, 3, 17])
    close = np.allclose(model.scores(rows.X[few], rows.cells[few]), expected[few], atol=SAME)
    _require(close, mitigator, "the score of a row depends on the other rows in the batch")
    others = model.scores(rows.X, (rows.cells + 1) % N_CELLS)
    blind = mitigator.needs_sensitive_at_predict or np.array_equal(others, expected)
    _require(blind, mitigator, "needs_sensitive_at_predict=False, but scores depend on the groups")
