"""The front of one method on one table and seed: accuracy and gap on held-out rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import Dataset
from fairautoml.evaluation.judge import judge
from fairautoml.evaluation.postprocess import column_of, expand_column
from fairautoml.evaluation.problem import TOLERANCES
from fairautoml.exceptions import NoModelError
from fairautoml.inference.predictor import Predictor
from fairautoml.learners import LEARNERS
from fairautoml.metrics import Constraint
from fairautoml.mitigators import MITIGATORS, Mitigator
from fairautoml.records import Entry, GroupUnawareRule
from mitigators.plan import PLAIN, Method
from mitigators.rows import Bench, Trained, timed
from peers._arsenal import ARSENAL_PEERS, MitigationPeer, Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A method at one strength under one constraint."""

    constraint: str  # fairness metric
    strength: float | None  # strength or tolerance; None when there is none
    accuracy: float | None = None  # on the held-out rows
    gap: float | None = None
    majority: float | None = None
    search_accuracy: float | None = None  # cross-fitted on the training rows
    search_gap: float | None = None
    cpu_seconds: float = 0.0  # of this point; what points share is in ``Front.shared_cpu``
    reason: str = ""  # why there is nothing, else empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """All points of a method on one table and seed."""

    points: tuple[Point, ...]  # of every constraint that it serves
    # CPU seconds that each constraint's front needs once: the plain model of a post-processing
    shared_cpu: float
    needs_sensitive: bool  # whether new rows must come with their group
    randomized: bool


def front_of(method: Method, bench: Bench) -> Front:
    """Return the front of a method; what fails is a point with a reason."""
    if method.is_peer:
        return _peer_front(method, ARSENAL_PEERS.get(method.registered), bench)
    mitigator = MITIGATORS.get(method.registered)
    post = mitigator.stage == "post"
    points = _post_points(mitigator, bench) if post else _trained_points(method, mitigator, bench)
    shared = bench.plain.cpu_seconds if post else 0.0
    if mitigator.needs_membership:
        shared += bench.membership[2]
    return Front(
        points=tuple(points),
        shared_cpu=shared,
        needs_sensitive=mitigator.needs_sensitive_at_predict,
        randomized=mitigator.randomizes,
    )


def _post_points(mitigator: Mitigator, bench: Bench) -> Iterator[Point]:
    """Yield the rules of the plain model's scores, one per tolerance."""
    for constraint in bench.constraints:
        problem = bench.problem(constraint, PLAIN, randomized=mitigator.randomizes)
        if not mitigator.can_serve(problem.goal):
            continue
        problem = replace(problem, mitigators=(mitigator,))
        if mitigator.needs_membership:
            problem = replace(problem, membership=bench.membership[1])
        plain = bench.plain
        column = column_of(plain.result, plain.scores)
        entries, seconds = timed(partial(expand_column, column, problem))
        each = seconds / max(len(entries), 1)
        for entry in entries:
            yield replace(_point(entry, plain, constraint, bench), cpu_seconds=each)


def _trained_points(method: Method, mitigator: Mitigator, bench: Bench) -> Iterator[Point]:
    """Yield a model per strength, decided by its own probability; no rule comes after it."""
    served = [
        constraint
        for constraint in bench.constraints
        if mitigator.can_serve(bench.problem(constraint, PLAIN).goal)
    ]
    # What changes rows does not look at the constraint: one training speaks about all of them.
    batches = [served] if mitigator.stage == "pre" else [[constraint] for constraint in served]
    for constraints in batches:
        for value in method.values:
            yield from _at_strength(method, value, constraints, bench)


def _at_strength(
    method: Method, value: float, constraints: Sequence[Constraint], bench: Bench
) -> Iterator[Point]:
    config = replace(
        bench.config,
        mitigation=method.registered,
        mitigation_params={**method.params, method.varied: value},
    )
    try:
        trained = bench.train(config, bench.problem(constraints[0], PLAIN), most_rows=method.rows)
    except NoModelError as error:
        for constraint in constraints:
            yield Point(constraint=constraint.metric.name, strength=value, reason=str(error))
        return
    for constraint in constraints:
        problem = bench.problem(constraint, PLAIN)
        for entry in expand_column(column_of(trained.result, trained.scores), problem):
            point = _point(entry, trained, constraint, bench)
            yield replace(point, strength=value, cpu_seconds=trained.cpu_seconds)


def _point(entry: Entry, trained: Trained, constraint: Constraint, bench: Bench) -> Point:
    """Judge an entry on the held-out rows by the classifier that would be deployed."""
    data, held = bench.dataset, bench.held
    blind = isinstance(entry.rule, GroupUnawareRule)
    classifier = Predictor(
        models=trained.bag,
        rule=entry.rule,
        schema=data.schema,
        groups=data.groups,
        classes=data.classes,
        needs_sensitive=entry.rule.needs_sensitive,
        salt=bench.seed,
        membership=bench.membership[0] if blind else None,
    )
    found = _judged(classifier.decisions(held.X, held.cells), constraint, bench)
    gap = entry.gap if np.isfinite(entry.gap) else None
    return replace(found, strength=entry.tolerance, search_accuracy=entry.accuracy, search_gap=gap)


def _judged(decisions: NDArray[Any], constraint: Constraint, bench: Bench) -> Point:
    held = bench.held
    found = judge(held.y, decisions, held.cells, groups=bench.groups, constraints=(constraint,))
    return Point(
        constraint=constraint.metric.name,
        strength=None,
        accuracy=found["accuracy"],
        gap=found["gap"],
        majority=found["majority"],
    )


def _peer_front(method: Method, peer: MitigationPeer, bench: Bench) -> Front:
    served = [c for c in bench.constraints if c.metric.name in peer.serves]
    return Front(
        points=tuple(
            point
            for constraint in served
            for point in _peer_points(method, peer, constraint, bench)
        ),
        shared_cpu=bench.plain.cpu_seconds if peer.uses_scores else 0.0,
        needs_sensitive=peer.needs_sensitive_at_predict,
        randomized=peer.randomized,
    )


def _peer_points(
    method: Method, peer: MitigationPeer, constraint: Constraint, bench: Bench
) -> Iterator[Point]:
    question = _question(method, peer, constraint, bench)
    decided, seconds = timed(lambda: peer.decide(question))
    for found in decided:
        point = _judged(found.decisions, constraint, bench)
        own = seconds / len(decided) + found.outside_cpu
        yield replace(point, strength=found.strength, cpu_seconds=own)


def _question(
    method: Method, peer: MitigationPeer, constraint: Constraint, bench: Bench
) -> Question:
    data, held = bench.dataset, bench.held
    rows = _some(data, method.rows, bench.seed)
    nothing = np.empty(0, dtype=np.float32)
    scores, new = nothing, nothing
    if peer.uses_scores:
        scores, new = bench.plain.scores[rows], bench.plain.bag.scores(held.X, held.cells)
    learner = LEARNERS.get(bench.plan.learner)

    def retrain(weight: NDArray[np.float64]) -> NDArray[np.float32]:
        weighted: Dataset = replace(data, weight=weight / weight.mean())
        model = bench.train(bench.config, bench.problem(constraint, PLAIN), rows=weighted)
        return model.bag.scores(held.X, held.cells)

    return Question(
        X=data.X[rows],
        held_X=held.X,
        y=data.y[rows],
        group=data.cells[rows],
        held_group=held.cells,
        scores=scores,
        held_scores=new,
        estimator=learner.build(bench.plan.params, data.feature_schema, bench.seed),
        retrain=retrain,
        metric=constraint.metric.name,
        values=TOLERANCES if peer.uses_scores else method.values,
        params=method.params,
        seed=bench.seed,
    )


def _some(data: Dataset, most: int | None, seed: int) -> NDArray[np.int64]:
    """Return the positions of all rows, or of that many drawn ones, rising."""
    if most is None or most >= data.n_rows:
        return np.arange(data.n_rows)
    return np.sort(np.random.default_rng(seed).choice(data.n_rows, most, replace=False))
