"""The mitigator protocol: training data, scores, goals and the ``Mitigator`` record."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureSchema
from fairautoml.exceptions import DegenerateGroupError, MissingSensitiveError
from fairautoml.metrics import METRICS, BoundConstraint, Metric, TaskName
from fairautoml.metrics._table import Rate
from fairautoml.metrics.groups import GroupSystem
from fairautoml.metrics.rates import SELECTION, comparison
from fairautoml.records import Config, Floats, ParamValues, Rule
from fairautoml.runtime._rules import RULES


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRows:
    """Training data that a training-time mitigator receives.

    Parameters
    ----------
    X : ndarray of float32, shape (n_rows, n_features), or CSR matrix
        Encoded features.
    y : ndarray of int8, shape (n_rows,)
        Labels 0 or 1, with several classes 0, 1, 2, ...; numbers (float64) in regression.
    weight : ndarray of float64, shape (n_rows,)
        Sample weights.
    cells : ndarray of int32, shape (n_rows,)
        Finest group cell.
    systems : tuple of GroupSystem
        The group systems over those cells.
    feature_schema : FeatureSchema
        Types of the columns.
    targets : tuple of BoundConstraint
        Constraints of the user; a mitigator that is built for a constraint reads them here.
    task : {"binary", "multiclass", "regression"}
        Type of the target.
    n_classes : int
        Number of classes.
    """

    X: Any
    y: NDArray[Any]
    weight: Floats
    cells: NDArray[np.int32]
    systems: tuple[GroupSystem, ...]
    feature_schema: FeatureSchema
    targets: tuple[BoundConstraint, ...] = ()
    task: TaskName = "binary"
    n_classes: int = 2

    def take(self, rows: NDArray[np.integer]) -> "TrainRows":
        """Return the given rows, in that order."""
        y, weight, cells = self.y[rows], self.weight[rows], self.cells[rows]
        return replace(self, X=self.X[rows], y=y, weight=weight, cells=cells)


class ScoreModel(Protocol):
    """A fitted model: returns class probabilities, or predictions in regression."""

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return P(y = 1) for each row, shape (n_rows,); for other targets as in ``Task``."""
        ...


class GroupProbabilityModel(Protocol):
    """A fitted model of the joint distribution of group and label given the features."""

    def membership(self, X: Any) -> NDArray[np.float32]:
        """Return P(cell, y | features) of encoded rows, shape (n_rows, n_cells, 2)."""
        ...


ACCURACY = METRICS.get("accuracy")
"""Objective of a goal that names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Constraints and objective of a post-processor.

    Parameters
    ----------
    targets : tuple of BoundConstraint
        Constraints that must all hold, with the limits set by the user.
    objective : Metric
        Performance metric to optimise.
    randomized : bool
        Whether the rule may randomise.
    task : {"binary", "multiclass", "regression"}
        Type of the target.
    """

    targets: tuple[BoundConstraint, ...]
    objective: Metric = ACCURACY
    randomized: bool = False
    task: TaskName = "binary"


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Scores with the rows in their order, so that parts of the rows need no sorting."""

    scores: NDArray[np.floating]  # shape (n_rows,)
    order: NDArray[np.integer]  # shape (n_rows,): rows by falling score

    def take(self, rows: NDArray[Any], scores: NDArray[np.floating]) -> "Ranking":
        """Return the ranking of different rows (positions or a mask), which have these scores."""
        place = np.full(len(self.order), -1, dtype=self.order.dtype)
        place[rows] = np.arange(len(scores))
        order = place[self.order]
        return Ranking(scores, order[order >= 0])


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRows:
    """Scores that a post-processing rule is fitted on.

    Parameters
    ----------
    scores : ndarray of float32, shape (n_rows,)
        P(y = 1), predicted by a model that was not trained on the row; class probabilities of
        shape (n_rows, n_classes) for several classes; a prediction in regression.
    y, weight, cells : ndarray, shape (n_rows,)
        Labels 0 or 1, 0, 1, 2, ... or numbers; sample weights, finest group cells.
    n_cells : int
        Number of finest cells.
    membership : ndarray of float32, shape (n_rows, n_cells, 2), optional
        P(cell, y | features), predicted by a model that was not trained on the row; given to
        mitigators with ``needs_membership``.
    ranking : Ranking, optional
        The rows by falling score; of use only while ``scores`` are the ones that it holds.
    """

    scores: NDArray[np.floating]
    y: NDArray[Any]
    weight: Floats
    cells: NDArray[np.int32]
    n_cells: int
    membership: NDArray[np.float32] | None = None
    ranking: Ranking | None = None

    @property
    def by_score(self) -> NDArray[np.integer]:
        """Rows by falling score, shape (n_rows,)."""
        if self.ranking is not None and self.ranking.scores is self.scores:
            return self.ranking.order
        return np.argsort(-self.scores)

    def take(self, rows: NDArray[Any]) -> "ScoreRows":
        """Return the given rows (different positions, or a mask)."""
        scores, ranking = self.scores[rows], None
        if self.ranking is not None and self.ranking.scores is self.scores:
            ranking = self.ranking.take(rows, scores)
        return replace(
            self,
            scores=scores,
            ranking=ranking,
            y=self.y[rows],
            weight=self.weight[rows],
            cells=self.cells[rows],
            membership=None if self.membership is None else self.membership[rows],
        )


class RuntimeRule(ABC):
    """A rule that decides as its portable form does, so that both cannot differ."""

    __slots__ = ()

    @property
    def randomized(self) -> bool:
        """Whether probabilities other than 0 and 1 occur."""
        return False

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the portable form."""

    def decide(self, scores: NDArray[np.floating], cells: NDArray[np.integer]) -> Floats:
        """Return what the rule decides for each row, as in ``Rule``."""
        rule = self.to_dict()
        return np.asarray(RULES[rule["kind"]](rule, scores, cells, None), dtype=np.float64)


class FitBaseLearner(Protocol):
    """Trains the learner of the configuration."""

    @property
    def config(self) -> Config:
        """Configuration with the learner and its parameters."""
        ...

    def __call__(self, rows: TrainRows) -> ScoreModel:
        """Return a model trained on the rows, whose labels and weights may have been changed."""
        ...

    def seconds_left(self) -> float | None:
        """Return the seconds left for this fold, or None without a limit."""
        ...


Train = Callable[[TrainRows, FitBaseLearner, ParamValues, int], ScoreModel]
FittedRules = list[tuple[float | None, Rule | None]]
"""Pairs of tolerance and rule; None where there is no rule."""
FitRules = Callable[[ScoreRows, Goal, Sequence[float]], Sequence[tuple[float | None, Rule | None]]]


RateKind = Literal["any", "linear", "monotone", "acceptance", "selection"]
"""All rates; those of fixed denominator; acceptance rates and their complements; acceptance rates;
the selection rate."""

_FITS: Mapping[RateKind, Callable[[Rate], bool]] = {
    "any": lambda rate: True,
    "linear": lambda rate: not rate.depends_on_decision,
    "monotone": lambda rate: rate.is_monotone,
    "acceptance": lambda rate: rate.is_acceptance,
    "selection": lambda rate: rate == SELECTION,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RateMetrics(Set[str]):
    """Names of all registered metrics, also of plug-ins, that compare rates of some kind.

    Parameters
    ----------
    difference, ratio, minimum, to_overall, macro : str
        Kind of rates that may be compared in this way: "any", "linear", "monotone", "acceptance"
        or "selection"; None = none.
    task : {"binary", "multiclass"}
        Kind of target.

    Examples
    --------
    >>> sorted(RateMetrics(ratio="acceptance"))
    ['demographic_parity_ratio', 'equalized_odds_ratio']
    """

    difference: RateKind | None = None
    ratio: RateKind | None = None
    minimum: RateKind | None = None
    to_overall: RateKind | None = None
    macro: RateKind | None = None
    task: TaskName = "binary"

    def __contains__(self, name: object) -> bool:
        return name in METRICS.names() and self._includes(METRICS.get(str(name)))

    def __iter__(self) -> Iterator[str]:
        return (name for name in METRICS.names() if self._includes(METRICS.get(name)))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @classmethod
    def _from_iterable(cls, names: Iterable[str]) -> frozenset[str]:  # type: ignore[override]
        return frozenset(names)

    def _includes(self, metric: Metric) -> bool:
        how = comparison(metric)
        kind: RateKind | None = None if how is None else getattr(self, how)
        if kind is None or self.task not in metric.tasks:
            return False
        return all(map(_FITS[kind], metric.compared))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mitigator:
    """A fairness intervention.

    Parameters
    ----------
    name : str
        Registered name; also the name of its search-space file, if it has parameters.
    stage : {"pre", "in", "post"}
        Before, during or after training.
    needs_sensitive_at_predict : bool
        Whether the rule needs the groups of new rows.
    needs_membership : bool
        Whether the rule uses P(cell, y | features) instead of the group of a row.
    serves : set of str or None
        Supported fairness metrics, or ``RateMetrics``; None = all, for ``pre`` and ``in`` all
        group metrics.
    cost : {"free", "cheap", "costly"}
        Milliseconds on stored scores; about one training; many trainings. A costly mitigator
        runs when an allocator selects it or when the user names it.
    opt_in : bool
        Whether the mitigator is used only when the user names it.
    ratio : float
        Expected training time relative to the unmitigated training, until it is measured.
    extra : str
        Optional extra of this package that the mitigator needs; empty for none.
    randomizes : bool
        Whether the mitigator only randomises; it is then used only if that is allowed.
    overlapping : bool
        Whether it supports constraints on overlapping groups.
    linear_only : bool
        Whether only linear learners may train on the changed rows, because any other could read
        the groups from them; its feature schema is then ``linear_only``.
    tasks : frozenset of str
        Supported types of the target.
    train : callable, optional
        ``train(rows, fit_base, params, seed)`` for ``pre`` and ``in``: changes the rows and calls
        ``fit_base`` (which trains the learner of the configuration) one or more times, or trains
        a model of its own; returns a ``ScoreModel``.
    fit_rules : callable, optional
        ``fit_rules(rows, goal, tolerances)`` for ``post``: returns pairs of tolerance and rule,
        with None where no rule exists. The number of pairs and their tolerances depend on goal
        and tolerances only, never on the rows. A tolerance is the allowed gap of the first target;
        the limits of the other targets scale in proportion (``scales``), those of minimums move
        by the same amount (``offsets``).
    space : str
        YAML text of the search space, for a plug-in that is a single file.
    """

    name: str
    stage: Literal["pre", "in", "post"]
    needs_sensitive_at_predict: bool
    serves: Set[str] | None = None
    cost: Literal["free", "cheap", "costly"] = "free"
    opt_in: bool = False
    needs_membership: bool = False
    ratio: float = 1.0
    extra: str = ""
    randomizes: bool = False
    overlapping: bool = False
    linear_only: bool = False
    tasks: frozenset[TaskName] = frozenset({"binary"})
    train: Train | None = None
    fit_rules: FitRules | None = None
    space: str = ""

    def can_serve(self, goal: Goal) -> bool:
        """Return whether the mitigator supports the task and the constraints of the goal."""
        if goal.task not in self.tasks:
            return False
        if not self.overlapping and any(t.system.overlapping for t in goal.targets):
            return False
        if self.serves is not None:
            return all(target.metric.name in self.serves for target in goal.targets)
        # During training None means all group metrics; GeDI must be listed in ``serves``.
        return self.stage == "post" or not any(target.metric.degree for target in goal.targets)


def scales(targets: Sequence[BoundConstraint], first: float | None = None) -> tuple[float, ...]:
    """Return the limit of each target per unit of tolerance on the first target.

    The limits keep their proportion; when the first limit is 0, all targets get factor 1. A
    minimum gets factor 1 too, see ``offsets``. ``first`` is the limit of the first target, if
    ``targets`` are only some of the goal's.
    """
    first = targets[0].limit if first is None else first
    return tuple(
        1.0 if first == 0 or target.metric.is_minimum else target.limit / first
        for target in targets
    )


def offsets(targets: Sequence[BoundConstraint], first: float | None = None) -> tuple[float, ...]:
    """Return what is added to the scaled tolerance to give the largest gap of each target.

    0, except for a minimum: its gap is one minus a rate, of which a proportion has no meaning. A
    tolerance that is by d smaller than the first limit demands rates larger by d, at most 1.
    """
    first = targets[0].limit if first is None else first
    return tuple(target.limit - first if target.metric.is_minimum else 0.0 for target in targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """Largest gap in one rate between the groups of one system."""

    rate: Rate
    system: GroupSystem
    limit: float


def rate_limits(
    targets: Sequence[BoundConstraint], limits: Sequence[float]
) -> tuple[RateLimit, ...]:
    """Return every rate of every group system once, with the smallest of its limits."""
    found: dict[tuple[tuple[str, tuple[str, ...]], Rate], RateLimit] = {}
    for target, limit in zip(targets, limits, strict=True):
        for rate in target.metric.rates:
            key = (target.system.key, rate)
            if key not in found or limit < found[key].limit:
                found[key] = RateLimit(rate=rate, system=target.system, limit=limit)
    return tuple(found.values())


def first_system(rows: TrainRows, name: str) -> GroupSystem:
    """Return the grouping of the first target, else the first grouping of the rows."""
    systems = (*(target.system for target in rows.targets), *rows.systems)
    if not systems:
        msg = f"{name} needs the groups: fit(X, y, sensitive), one label per row"
        raise MissingSensitiveError(msg)
    return systems[0]


def too_few_groups(limited: Sequence[RateLimit], rows: TrainRows) -> DegenerateGroupError:
    """Return the error of rates that too few groups have."""
    names = ", ".join(f"{one.rate} on {one.system.name!r}" for one in limited)
    return DegenerateGroupError(
        f"targets: fewer than two groups have rows for {names} among the {len(rows.y)} rows "
        "trained on; merge small groups or train on more rows"
    )


def targets_or_default(
    rows: TrainRows, name: str, metric: str, limit: float
) -> tuple[BoundConstraint, ...]:
    """Return the targets of training rows; without any, a usual bound on the first system."""
    if rows.targets:
        return rows.targets
    return (
        BoundConstraint(metric=METRICS.get(metric), system=first_system(rows, name), limit=limit),
    )
