"""Contract checks for plug-ins, including those of third parties.

Call one in a test of your plug-in::

    from fairautoml.testing import check_metric

    def test_my_metric_keeps_the_contract():
        check_metric(METRIC)
"""

import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fairautoml.data.dataset import FeatureSchema
from fairautoml.evaluation.fitting import BaseFit, LearnerModel
from fairautoml.exceptions import NotPortableError
from fairautoml.inference.export import portable_scores
from fairautoml.learners import Learner
from fairautoml.metrics import (
    METRICS,
    BoundConstraint,
    GroupCounts,
    Metric,
    Tally,
    TaskName,
    Undefined,
)
from fairautoml.metrics.groups import GroupSystem
from fairautoml.metrics.rates import values_of
from fairautoml.metrics.tasks import TASKS, NonFiniteScoresError
from fairautoml.mitigators import Goal, Mitigator, ScoreRows, TrainRows
from fairautoml.mitigators._base import Train
from fairautoml.records import (
    Config,
    Fidelity,
    ParamValue,
    Rule,
    Trial,
    TrialResult,
    TrialState,
    acceptance,
)
from fairautoml.search.space import Choice, Condition, Integer, ParamSpace, Real, SearchSpace
from fairautoml.search.space_files import load_space
from fairautoml.search.strategies import MakeStrategy

__all__ = ["check_learner", "check_metric", "check_mitigator", "check_space", "check_strategy"]

N_GROUPS, N_CLASSES = 3, 4
NUMBERS = np.array([-1.0, 0.25, 2.0])
"""Numeric attribute of each group, for the metrics that read it."""
REORDERED = np.array([2, 0, 1])
SYSTEM = GroupSystem(
    name="group",
    labels=tuple(f"group {cell}" for cell in range(N_GROUPS)),
    of_cell=np.arange(N_GROUPS, dtype=np.int32),
)
FEW = np.array([41, 3, 17])
"""Rows that are predicted apart from the others."""
SAME = 1e-6
"""Largest difference between equal predictions."""
ROUNDING = 1e-9
"""Largest difference by rounding of sums in another order."""


def _require(kept: bool, name: str, broken: str) -> None:
    if not kept:
        raise AssertionError(f"{name}: {broken}")


def example_table(
    task: TaskName, seed: int
) -> tuple[NDArray[np.float32], NDArray[Any], FeatureSchema]:
    """Return 60 rows with two numbers, one with missing values, a constant and six categories."""
    rng = np.random.default_rng(seed)
    y: NDArray[Any] = np.tile(np.array([0, 1, 1], dtype=np.int8), 20)
    X = rng.normal(size=(60, 4)).astype(np.float32)
    X[:, 0] += 2 * y
    X[:, 2] = 1.0
    X[:, 3] = rng.integers(5, size=60)  # code 5 exists in the table but not in these rows
    X[rng.uniform(size=60) < 0.2, 1] = np.nan
    X[rng.uniform(size=60) < 0.2, 3] = np.nan
    if task == "regression":
        y = 100.0 + 10.0 * X[:, 0].astype(np.float64)
    elif task == "multiclass":
        y = y + (np.arange(60) % 2).astype(np.int8)
    return X, y, FeatureSchema(n_features=4, categorical=(3,), cardinalities=(6,))


def example_scores(task: TaskName, seed: int, n_rows: int = 1200) -> ScoreRows:
    """Return scored rows of three unequal groups; no two weights are equal."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(N_GROUPS, size=n_rows, p=(0.5, 0.3, 0.2)).astype(np.int32)
    membership = None
    if task == "regression":
        scores = rng.normal(size=n_rows) * (1 + 0.3 * cells) + 0.7 * cells
        y: NDArray[Any] = scores + rng.normal(size=n_rows)
    elif task == "multiclass":
        worth = rng.normal(size=(n_rows, N_CLASSES)) + np.eye(N_GROUPS, N_CLASSES)[cells]
        scores = np.exp(worth) / np.exp(worth).sum(axis=1, keepdims=True)
        y = (scores.cumsum(axis=1) > rng.uniform(size=(n_rows, 1))).argmax(axis=1)
    else:
        scores = rng.beta(1.5 + cells, 2.0)
        y = (rng.uniform(size=n_rows) < scores).astype(np.int8)
        # A model that is often right about the group of a row, and agrees with the scores.
        hint = rng.exponential(size=(n_rows, N_GROUPS)) + 2.0 * np.eye(N_GROUPS)[cells]
        share = (hint / hint.sum(axis=1, keepdims=True))[:, :, None]
        membership = (share * np.stack([1 - scores, scores], axis=1)[:, None]).astype(np.float32)
    return ScoreRows(
        scores=scores.astype(np.float32),
        y=y,
        weight=rng.uniform(0.9, 1.1, size=n_rows),
        cells=cells,
        n_cells=N_GROUPS,
        membership=membership,
    )


def points(space: ParamSpace, n: int) -> list[dict[str, ParamValue]]:
    """Return the defaults of a space and ``n`` points drawn from it."""
    rng = np.random.default_rng(0)
    return [space.defaults(), *(space.sample(rng) for _ in range(n))]


def check_learner(learner: Learner) -> None:
    """Check that a learner keeps the contract of ``fairautoml.learners``.

    For each type of target that it supports, the learner gives valid scores at the defaults and at
    sampled points of its space. It is deterministic under a seed, does not modify its input, keeps
    no state between fits, survives pickling, has the same scores in its portable form if it has
    one, scores a row independently of the other rows in the batch, accepts missing values and
    categories that the training rows lack, uses weights, and accepts CSR matrices if it declares
    so.

    Parameters
    ----------
    learner : Learner
        The learner to check; its space is loaded by name, as in the search.

    Raises
    ------
    AssertionError
        The contract is broken; the message says where.
    """
    for task in sorted(learner.tasks):
        _LearnerCheck(learner, task).run()


class _LearnerCheck:
    def __init__(self, learner: Learner, task: TaskName) -> None:
        self.learner, self.task = learner, task
        self.space = load_space("learners", learner.name, learner.space)
        self.X, self.y, self.schema = example_table(task, seed=0)

    def run(self) -> None:
        self.check_repeatable()
        for params in points(self.space, n=5 if self.task == "binary" else 2):
            model = self.built(params).fit(self.X, self.y)
            found = self.scores(model, self.X, f"trained with {params}")
            empty = self.task != "multiclass" or not found[:, 3].any()
            _require(empty, self.learner.name, "a class without rows has a probability")
        if self.learner.handles_weights:
            self.check_weights()
        if self.task == "binary" and self.learner.handles_sparse:
            rows = sparse.csr_matrix(np.maximum(np.nan_to_num(self.X), 0))
            flat = FeatureSchema(n_features=rows.shape[1], sparse=True)
            model = self.learner.build(self.space.defaults(), flat, 0).fit(rows, self.y)
            self.scores(model, rows, "trained on a CSR matrix")
        if self.task != "binary":
            constant = self.built(self.space.defaults()).fit(self.X, np.full_like(self.y, 2))
            of_row = np.eye(N_CLASSES)[2] if self.task == "multiclass" else 2.0
            same = np.allclose(self.scores(constant, self.X, "of a constant target"), of_row)
            _require(same, self.learner.name, "a constant target is not predicted")

    def built(self, params: Mapping[str, ParamValue]) -> Any:
        return self.learner.built(params, self.schema, 7, task=self.task, n_classes=N_CLASSES)

    def scores(self, model: Any, X: Any, case: str) -> NDArray[np.float32]:
        kind = TASKS.get(self.task)
        try:
            found = kind.checked(kind.scores(model, X, N_CLASSES))
        except NonFiniteScoresError as error:
            raise AssertionError(f"{self.learner.name}: {error}, {case}") from error
        if self.task == "binary":
            sums = np.allclose(model.predict_proba(X).sum(axis=1), 1.0)
            _require(sums, self.learner.name, f"predict_proba does not sum to 1, {case}")
        return found

    def check_repeatable(self) -> None:
        name, params = self.learner.name, self.space.defaults()
        before = pickle.dumps((self.X, self.y, params))
        model = self.built(params).fit(self.X, self.y)
        expected = self.scores(model, self.X, "at the defaults")
        untouched = pickle.dumps((self.X, self.y, params)) == before
        _require(untouched, name, "fit or predict modifies its input")
        other_X, other_y, _ = example_table(self.task, seed=1)
        fitted_before = self.built(params).fit(other_X, other_y[::-1].copy())
        for case, other in (
            ("when trained again with the same seed", self.built(params).fit(self.X, self.y)),
            ("after pickling", pickle.loads(pickle.dumps(model))),
            ("when fitted before to other rows", fitted_before.fit(self.X, self.y)),
        ):
            self.check_same(self.scores(other, self.X, case), expected, case)
        self.check_same(self.scores(model, self.X[FEW], ""), expected[FEW], "for fewer rows")
        strange = np.full((2, 4), np.nan, dtype=np.float32)
        strange[1, 3] = 5.0
        self.scores(model, strange, "for rows of missing values and of a category not trained on")
        self.check_portable(model, expected)

    def check_portable(self, model: Any, expected: NDArray[Any]) -> None:
        nowhere = np.full(len(self.X), -1)
        try:
            found = portable_scores(LearnerModel(model, self.task, N_CLASSES), self.X, nowhere)
        except NotPortableError:
            return
        apart = float(np.abs(found - expected).max())
        message = f"the portable form has scores that differ by up to {apart}"
        _require(
            apart <= SAME * max(1.0, float(np.abs(expected).max())), self.learner.name, message
        )

    def check_same(self, found: NDArray[Any], expected: NDArray[Any], case: str) -> None:
        apart = float(np.abs(found - expected).max())
        allowed = 0.0 if self.task == "binary" else SAME * max(1.0, float(np.abs(expected).max()))
        message = f"predictions differ by up to {apart} {case}"
        _require(apart <= allowed, self.learner.name, message)

    def check_weights(self) -> None:
        high = self.y >= np.median(self.y) if self.task == "regression" else self.y == 1
        means = []
        for weight in (np.where(high, 20.0, 1.0), np.where(high, 1.0, 20.0)):
            model = self.built(self.space.defaults()).fit(self.X, self.y, sample_weight=weight)
            found = self.scores(model, self.X, "with weights")
            means.append(float((found[:, 1] if found.ndim == 2 else found).mean()))
        broken = "more weight on class 1, or on large numbers, does not raise the scores"
        _require(means[0] > means[1], self.learner.name, broken)


def check_metric(metric: Metric) -> None:
    """Check that a metric keeps the contract of ``fairautoml.metrics``.

    Every metric ignores the order of rows, counts weight 2 like two rows, does not modify its
    input, and returns a finite float or ``Undefined``. A metric on decisions ignores the numbers
    of the groups. A fairness metric is at parity (0, or 1 for a ratio) on equal groups, is
    ``Undefined`` if a group has no rows or, unless it is a minimum, if there is only one group,
    and is the disparity of the rates that it declares, or the smallest of them; a metric that
    compares groups with the overall rate may leave out groups without rows, and a metric on a
    numeric attribute is checked with three values of it. A performance metric prefers right
    decisions to wrong ones. All this holds for each type of target that the metric supports.

    Parameters
    ----------
    metric : Metric
        The metric to check.

    Raises
    ------
    AssertionError
        The contract is broken; the message says where.

    Examples
    --------
    >>> from fairautoml.metrics import METRICS
    >>> check_metric(METRICS.get("accuracy"))
    """
    scored = metric.kind == "fairness" and metric.on == "scores"
    _require(not scored, metric.name, "a fairness metric needs groups, so on='decisions'")
    for task in sorted(metric.tasks):
        _MetricCheck(metric, task).run()


class _MetricCheck:
    def __init__(self, metric: Metric, task: TaskName) -> None:
        self.plain, self.task = metric, task
        self.metric = metric.bound(NUMBERS)
        weight = np.random.default_rng(3).integers(1, 4, size=240).astype(np.float64)
        rows = example_scores(task, seed=0, n_rows=240)
        self.rows = replace(rows, weight=weight, scores=rows.scores.round(2), membership=None)

    def run(self) -> None:
        rows, metric = self.rows, self.metric
        table = None if metric.on == "scores" else self.tally(rows)
        before = pickle.dumps((rows, None if table is None else table.table))
        expected = self.defined(self.value(rows) if table is None else metric.value(table))
        after = pickle.dumps((rows, None if table is None else table.table))
        _require(after == before, metric.name, "value() modifies its input")
        order = np.random.default_rng(1).permutation(len(rows.y))
        self.check_equal(self.value(rows.take(order)), expected, "the rows are in another order")
        twice = rows.take(np.repeat(np.arange(len(rows.y)), rows.weight.astype(np.int64)))
        twice = replace(twice, weight=np.ones(len(twice.y)))
        self.check_equal(self.value(twice), expected, "a row of weight k is given k times")
        renamed = self.tally(replace(rows, cells=REORDERED[rows.cells].astype(np.int32)))
        if metric.on == "decisions":
            named = self.plain.bound(NUMBERS[np.argsort(REORDERED)])
            self.check_equal(named.value(renamed), expected, "the groups are renamed")
        if metric.kind == "performance":
            self.check_direction()
        else:
            self.check_parity()
            self.check_undefined()
            self.check_rates(expected)

    def tally(self, rows: ScoreRows) -> Tally:
        outcome = rows.scores.astype(np.float64)
        if self.task == "binary":
            outcome = (outcome > 0.5).astype(np.float64)
        elif self.task == "multiclass":
            outcome = np.eye(N_CLASSES)[outcome.argmax(axis=1)]
        kind = TASKS.get(self.task)
        return kind.tally(rows.cells, rows.y, outcome, rows.weight, n_groups=N_GROUPS)

    def value(self, rows: ScoreRows) -> float | Undefined:
        if self.metric.on == "scores":
            return self.metric.value(rows.y, rows.scores, rows.weight)
        return self.metric.value(self.tally(rows))

    def defined(self, found: float | Undefined) -> float:
        name = self.metric.name
        if isinstance(found, Undefined):
            raise AssertionError(f"{name}: {found} on an example that has a value")
        finite = isinstance(found, float) and bool(np.isfinite(found))
        _require(finite, name, f"value is {found!r}, not a finite float")
        return found

    def check_equal(self, found: float | Undefined, expected: float, case: str) -> None:
        value = self.defined(found)
        same = abs(value - expected) <= ROUNDING
        _require(same, self.metric.name, f"{value}, not {expected}, when {case}")

    def check_direction(self) -> None:
        y = self.rows.y
        if self.task == "regression":
            right, wrong = y + 0.01, -3.0 * y
        elif self.task == "multiclass":
            right = 0.9 * np.eye(N_CLASSES)[y] + 0.1 / N_CLASSES
            wrong = np.roll(right, 1, axis=1)
        else:
            right, wrong = np.abs(y - 0.1), np.abs(y - 0.9)
        high, low = (
            self.defined(self.value(replace(self.rows, scores=s))) for s in (right, wrong)
        )
        says = self.metric.greater_is_better
        broken = f"greater_is_better={says}, but right decisions have the value {high}"
        _require((high > low) == says, self.metric.name, f"{broken} and wrong ones {low}")

    def check_parity(self) -> None:
        if self.plain.degree:
            # Acceptance does not depend on the group, but labels do.
            table = np.array([[[21.0, 9], [9, 1]], [[15, 5], [15, 5]], [[10, 2], [20, 8]]])
            self.check_equal(self.metric.value(GroupCounts(table)), 0.0, "all rates are equal")
            return
        one = self.rows.take(np.flatnonzero(self.rows.cells == 0))
        rows = one.take(np.tile(np.arange(len(one.y)), N_GROUPS))
        cells = np.repeat(np.arange(N_GROUPS, dtype=np.int32), len(one.y))
        # Powers of two keep the rates of the groups equal to the last bit.
        weight = rows.weight * np.array([1.0, 2.0, 16.0])[cells]
        found = self.value(replace(rows, cells=cells, weight=weight))
        parity = 1.0 if self.metric.form == "ratio" else 0.0
        if not self.metric.compares_groups:
            self.defined(found)
        else:
            self.check_equal(found, parity, "all groups are equal")

    def check_undefined(self) -> None:
        one = self.tally(self.rows).merged(np.zeros(N_GROUPS, dtype=np.int64), 1)
        empty = self.tally(self.rows.take(self.rows.cells != 1))
        cases: dict[str, float | Undefined] = {}
        if self.plain.degree:
            cases["no values are given"] = self.plain.value(self.tally(self.rows))
        elif self.task != "binary" or not self.plain.to_overall:
            cases["a group has no rows"] = self.plain.value(empty)
        if not self.plain.is_minimum:
            cases["there is one group"] = self.plain.bound(NUMBERS[:1]).value(one)
        for case, found in cases.items():
            undefined = isinstance(found, Undefined)
            _require(undefined, self.metric.name, f"value is {found}, not Undefined, when {case}")
            reason = isinstance(found, Undefined) and bool(found.reason)
            _require(reason, self.metric.name, f"Undefined without a reason when {case}")

    def check_rates(self, expected: float) -> None:
        metric, tally = self.metric, self.tally(self.rows)
        if self.task == "binary" and metric.compared:
            self.check_stated(tally.table, expected)
        together = values_of(metric, np.stack([tally.table, tally.table]))
        # In regression a table holds the distribution in 64 bins only.
        allowed = 0.05 * max(abs(expected), 1.0) if self.task == "regression" else ROUNDING
        same = bool(np.abs(together - expected).max() <= allowed)
        _require(same, metric.name, f"{together}, not {expected}, of many tables at once")

    def check_stated(self, table: NDArray[np.float64], expected: float) -> None:
        metric = self.metric
        rates = [rate.values(table) for rate in metric.compared]
        if metric.to_overall:
            whole = [rate.values(table.sum(axis=0)) for rate in metric.compared]
            apart = [np.abs(r - all_rows) for r, all_rows in zip(rates, whole, strict=True)]
            stated = max(getattr(each, metric.over_groups)() for each in apart)
        elif metric.form == "difference":
            stated = max(r.max() - r.min() for r in rates)
        elif metric.is_minimum:
            stated = min(r.min() for r in rates)
        else:
            stated = min(r.min() / r.max() for r in rates)
        names = ", ".join(rate.name for rate in metric.compared)
        self.check_equal(float(stated), expected, f"computed from its rates {names}")


TOLERANCES = (0.0, 0.05, 0.2)
LOOSE = (1.0, 1.5)
"""Tolerances that no difference of rates exceeds, so they do not bind."""
ONE_ROW = frozenset({"demographic_parity_difference", "distribution_gap"})
"""Metrics whose gap may exceed the tolerance by one row per group; also those on numbers."""
EXACT = frozenset({"mean_difference"})
"""Metrics that a shift of each group can meet exactly."""

Pairs = Sequence[tuple[float | None, Rule | None]]


def check_mitigator(mitigator: Mitigator) -> None:
    """Check that a mitigator keeps the contract of ``fairautoml.mitigators``.

    Every mitigator is deterministic, does not modify its input, and reads the groups of new rows
    only if it declares so. A post-processor returns pairs whose number and tolerances do not
    depend on the rows. Its rules can be pickled, describe themselves, return valid decisions, and
    depend neither on the order of the rows nor on the numbers of the groups. A bound that is not
    active costs no accuracy. If it supports demographic parity (or, for other targets, the
    distribution gap or the difference of means), the gap on the rows that a rule was fitted to is
    within the tolerance up to one row per group. A mitigator of another stage trains a model whose
    scores are valid, independent of the other rows in the batch, also after pickling, for every
    point of its space. All this holds for each type of target that the mitigator supports.

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
    found = getattr(mitigator, needed) is not None
    _require(found, mitigator.name, f"stage {mitigator.stage!r} needs {needed}")
    for task in sorted(mitigator.tasks):
        if mitigator.stage == "post":
            _PostCheck(mitigator, goal_of(mitigator, task)).run()
        else:
            _check_training(mitigator, task)


def served_metrics(mitigator: Mitigator, task: TaskName) -> list[str]:
    """Return the fairness metrics of a type of target that a mitigator supports."""
    return [
        name
        for name in METRICS.names()
        if METRICS.get(name).kind == "fairness"
        and task in METRICS.get(name).tasks
        and (mitigator.serves is None or name in mitigator.serves)
    ]


def goal_of(mitigator: Mitigator, task: TaskName, metric: str | None = None) -> Goal:
    """Return a constraint within 0.05 that the mitigator supports, or the one that is named."""
    served = served_metrics(mitigator, task)
    usual = next((name for name in served if name in ONE_ROW | EXACT), served[0])
    target = _target(METRICS.get(usual if metric is None else metric), NUMBERS)
    return Goal(targets=(target,), randomized=mitigator.randomizes, task=task)


def _target(metric: Metric, numbers: NDArray[np.float64]) -> BoundConstraint:
    values = numbers if metric.degree else None
    system = replace(SYSTEM, values=values)
    return BoundConstraint(metric=metric.bound(values), system=system, limit=0.05)


class _PostCheck:
    def __init__(self, mitigator: Mitigator, goal: Goal) -> None:
        self.mitigator, self.goal, self.name = mitigator, goal, mitigator.name
        self.rows = self.example(seed=0)

    def example(self, seed: int, n_rows: int = 1200) -> ScoreRows:
        rows = example_scores(self.goal.task, seed, n_rows)
        return rows if self.mitigator.needs_membership else replace(rows, membership=None)

    def run(self) -> None:
        before = pickle.dumps(self.rows)
        pairs = self.fit(self.rows)
        self.require(pickle.dumps(self.rows) == before, "fit_rules modifies its input")
        list(self.fit(self.rows, replace(self.goal, targets=()), ()))
        smaller = self.fit(self.example(seed=1, n_rows=300))
        first, other = ([tolerance for tolerance, _ in found] for found in (pairs, smaller))
        message = f"the tolerances are {first} or {other}, depending on the rows"
        self.require(first == other, message)
        for _, rule in pairs:
            if rule is not None:
                self.check_rule(rule)
        self.check_same_rows(pairs)
        if self.goal.task == "binary" and self.goal.targets:
            self.check_loose(self.fit(self.rows, self.goal, LOOSE))
        self.check_guarantee(pairs)

    def require(self, kept: bool, broken: str) -> None:
        _require(kept, self.name, broken)

    def fit(
        self, rows: ScoreRows, goal: Goal | None = None, tolerances: Sequence[float] = TOLERANCES
    ) -> Pairs:
        fit: Any = self.mitigator.fit_rules
        goal = self.goal if goal is None else goal
        return list(fit(rows, goal, tolerances if goal.targets else ()))

    @staticmethod
    def decided(rule: Rule, rows: ScoreRows) -> NDArray[np.float64]:
        return acceptance(rule, rows.scores, rows.cells, rows.membership)

    def check_rule(self, rule: Rule) -> None:
        rows = self.rows
        outcome = self.decided(rule, rows)
        unknown = self.decided(rule, replace(rows, cells=np.full_like(rows.cells, -1)))
        for found in (outcome, unknown):
            self.check_outcome(found, randomized=rule.randomized)
        stored: Rule = pickle.loads(pickle.dumps(rule))
        same = np.array_equal(self.decided(stored, rows), outcome)
        self.require(same, "a rule decides otherwise after pickling")
        self.require(bool(rule.describe().strip()), "a rule describes itself by nothing")
        honest = self.mitigator.needs_sensitive_at_predict or not rule.needs_sensitive
        self.require(honest, "needs_sensitive_at_predict=False, but a rule needs the groups")
        others = self.decided(rule, replace(rows, cells=(rows.cells + 1) % N_GROUPS))
        blind = rule.needs_sensitive or np.array_equal(others, outcome)
        self.require(blind, "needs_sensitive=False, but decisions depend on the groups")
        alone = np.allclose(self.decided(rule, rows.take(FEW)), outcome[FEW], atol=SAME)
        self.require(alone, "the decision of a row depends on the other rows in the batch")

    def check_outcome(self, found: NDArray[np.floating], *, randomized: bool) -> None:
        n_rows = len(self.rows.y)
        valid = found.shape == self.rows.scores.shape and bool(np.isfinite(found).all())
        if self.goal.task == "regression":
            self.require(valid, f"predictions are not ({n_rows},) and finite")
            return
        valid = valid and bool(np.all((found >= 0) & (found <= 1)))
        self.require(valid, f"decisions are not {self.rows.scores.shape} in [0, 1]")
        sure = randomized or bool(np.isin(found, (0.0, 1.0)).all())
        self.require(sure, "randomized=False, but a decision is neither 0 nor 1")
        one = found.ndim == 1 or bool(np.allclose(found.sum(axis=1), 1.0))
        self.require(one, "a row is not decided to be of one class")

    def check_same_rows(self, pairs: Pairs) -> None:
        rows, goal = self.rows, self.goal
        order = np.random.default_rng(2).permutation(len(rows.y))
        shares = None if rows.membership is None else np.roll(rows.membership, 1, axis=1)
        renamed = replace(rows, cells=(rows.cells + 1) % N_GROUPS, membership=shares)
        metric = METRICS.get(goal.targets[0].metric.name) if goal.targets else None
        moved = goal
        if metric is not None and metric.degree:
            moved = replace(goal, targets=(_target(metric, np.roll(NUMBERS, 1)),))
        for case, found, new in (
            ("when fitted again to the same rows", self.fit(rows), rows),
            ("when the rows are in another order", self.fit(rows.take(order)), rows),
            ("when the cells are renumbered", self.fit(renamed, moved), renamed),
        ):
            for (_, rule), (_, other) in zip(pairs, found, strict=True):
                self.require((rule is None) == (other is None), f"a rule comes or goes {case}")
                if rule is not None and other is not None:
                    apart = self.decided(rule, rows) - self.decided(other, new)
                    most = float(np.abs(apart).max())
                    self.require(most <= SAME, f"decisions differ by up to {most} {case}")

    def check_loose(self, pairs: Pairs) -> None:
        rows = self.rows
        found = [self.decided(rule, rows) for t, rule in pairs if t in LOOSE and rule is not None]
        plain = np.sum(rows.weight * ((rows.scores >= 0.5) == rows.y))
        for decision in found:
            same = float(np.abs(decision - found[0]).max()) <= SAME
            self.require(same, "a bound that nothing breaks changes decisions")
            right = np.sum(rows.weight * np.where(rows.y == 1, decision, 1.0 - decision))
            self.require(right >= plain * (1 - SAME), "a loose bound costs accuracy")

    def check_guarantee(self, pairs: Pairs) -> None:
        metric = self.goal.targets[0].metric if self.goal.targets else None
        if metric is None or not (metric.degree or metric.name in ONE_ROW | EXACT):
            return
        rows, kind = self.rows, TASKS.get(self.goal.task)
        # One group has a row more and another a row less.
        one_row = 2 * rows.weight.max() / np.bincount(rows.cells, weights=rows.weight).min()
        for tolerance, rule in pairs:
            if tolerance is not None and rule is not None:
                outcome = self.decided(rule, rows)
                tally = kind.tally(rows.cells, rows.y, outcome, rows.weight, n_groups=N_GROUPS)
                gap = metric.value(tally)
                most = tolerance + (1e-3 if metric.name in EXACT else one_row)
                kept = not isinstance(gap, Undefined) and gap <= most
                self.require(
                    kept, f"gap {gap} on the rows it was fitted to, tolerance {tolerance}"
                )


def _check_training(mitigator: Mitigator, task: TaskName) -> None:
    X, y, schema = example_table(task, seed=0)
    rows = TrainRows(
        X=X,
        y=y,
        weight=np.random.default_rng(2).uniform(0.5, 2.0, size=len(y)),
        cells=np.random.default_rng(1).integers(N_GROUPS, size=len(y)).astype(np.int32),
        systems=(SYSTEM,),
        feature_schema=schema,
        targets=goal_of(mitigator, task).targets,
        task=task,
        n_classes=2 if task == "binary" else 3,
    )
    base = BaseFit(config=Config(learner="logistic_regression"), seed=0, deadline=None)
    kind, name, train = TASKS.get(task), mitigator.name, cast(Train, mitigator.train)
    for params in points(load_space("mitigators", mitigator.name, mitigator.space), n=2):
        before = pickle.dumps((rows, dict(params)))
        model = train(rows, base, params, 7)
        found: NDArray[Any] = model.scores(rows.X, rows.cells)
        untouched = pickle.dumps((rows, dict(params))) == before
        _require(untouched, name, "train or scores modifies its input")
        try:
            kind.checked(found)
        except NonFiniteScoresError as error:
            raise AssertionError(f"{name}: {error}, trained with {params}") from error
        _require(len(found) == len(y), name, f"scores are not of {len(y)} rows")
        again = train(rows, base, params, 7).scores(rows.X, rows.cells)
        message = "scores differ when trained again with the same seed"
        _require(np.array_equal(again, found), name, message)
        stored = pickle.loads(pickle.dumps(model)).scores(rows.X, rows.cells)
        _require(np.array_equal(stored, found), name, "scores differ after pickling")
        alone = np.allclose(model.scores(rows.X[FEW], rows.cells[FEW]), found[FEW], atol=SAME)
        _require(alone, name, "the score of a row depends on the other rows in the batch")
        others = model.scores(rows.X, (rows.cells + 1) % N_GROUPS)
        blind = mitigator.needs_sensitive_at_predict or np.array_equal(others, found)
        _require(blind, name, "needs_sensitive_at_predict=False, but scores depend on the groups")


def check_space(name: str, space: ParamSpace) -> None:
    """Check that a search space keeps the contract of ``fairautoml.search.space``.

    The defaults and every sampled point lie in the space and are plain Python values that survive
    JSON, and the same seed draws the same point.

    Parameters
    ----------
    name : str
        Expected name of the space: the learner or mitigator.
    space : ParamSpace
        The space to check.

    Raises
    ------
    AssertionError
        The contract is broken; the message says where.
    """
    if space.name != name:
        raise AssertionError(f"the space of {name} is called {space.name!r}")
    for params in points(space, n=100):
        _require(space.contains(params), name, f"its own point {params} lies outside the space")
        again = json.loads(json.dumps(params, allow_nan=False))
        same = space.contains(again) and again == params
        _require(same, name, f"{params} becomes {again} in JSON")
    first, second = (space.sample(np.random.default_rng(3)) for _ in range(2))
    _require(first == second, name, f"one seed draws {first} and {second}")


LINEAR = ParamSpace(name="linear", ranges={"c": Real(low=1e-3, high=1e3, log=True, default=1.0)})
TREES = ParamSpace(
    name="trees",
    ranges={
        "kind": Choice(values=("plain", "dart"), default="plain"),
        "leaves": Integer(low=2, high=64, log=True, default=31),
        "drop": Real(low=0.0, high=0.5, default=0.1),
    },
    conditions={"drop": Condition(param="kind", values=("dart",))},
)
SPACES = (
    SearchSpace(learners={"linear": LINEAR, "trees": TREES}, encodings=("codes", "target")),
    SearchSpace(learners={"trees": TREES}),
    SearchSpace(learners={"fixed": ParamSpace(name="fixed")}),
)


def check_strategy(make: MakeStrategy) -> None:
    """Check that a search strategy keeps the contract of ``fairautoml.search.strategies``.

    The strategy samples the initial configurations first and unchanged, stays in its space (also
    one with a single learner or without parameters), is deterministic given the seed and the
    results, accepts many calls of ``ask`` before the first result, and continues after failed
    results and infinite constraint violations. ``ask`` may return None while results are pending.

    Parameters
    ----------
    make : callable
        ``make(space, seed, first)``.

    Raises
    ------
    AssertionError
        The contract is broken; the message says where.
    """
    for space in SPACES:
        name, part = next(iter(space.learners.items()))
        first = Config(learner=name, params=part.defaults())
        sampled = list(_sampled(make, space, first))
        if sampled[:1] != [first]:
            raise AssertionError(f"the initial configuration {first} is not sampled first")
        for config in sampled:
            if not space.contains(config):
                raise AssertionError(f"{config} lies outside the space")
        if sampled != list(_sampled(make, space, first)):
            raise AssertionError("the same seed and results give different configurations")


def _sampled(make: MakeStrategy, space: SearchSpace, first: Config) -> Iterator[Config]:
    """Yield five batches; every third trial fails, and every second violation is infinite."""
    strategy, number = make(space, 3, (first,)), 0
    for _ in range(5):
        batch = [config for config in (strategy.ask() for _ in range(8)) if config is not None]
        if not batch:
            raise AssertionError("ask returns None though no result is pending")
        for config in batch:
            failed = number % 3 == 2
            strategy.tell(
                TrialResult(
                    trial=Trial(number=number, config=config, fidelity=Fidelity(folds=2)),
                    status=TrialState.FAILED if failed else TrialState.SUCCESS,
                    value=None if failed else 0.5 + number / 1000,
                    violations=(float("inf") if number % 2 else -0.01,),
                    seconds=0.1,
                )
            )
            number += 1
            yield config
