"""What a mitigator is, at each of the three stages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureSchema, GroupSystem
from fairautoml.metrics import Metric, TaskName
from fairautoml.records import Config, ParamValue, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One constraint on one group system.

    Parameters
    ----------
    metric : Metric
        Fairness metric; its ``rates`` and ``form`` say what must be equal.
    system : GroupSystem
        Which groups.
    limit : float
        Largest gap (``metric.gap``) allowed.
    """

    metric: Metric
    system: GroupSystem
    limit: float

    @property
    def fewest_groups(self) -> int:
        """Groups that it takes to compare any: one that overlaps is compared with all rows."""
        return 1 if self.metric.to_overall and self.system.overlapping else 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRows:
    """Training rows as a training-time mitigator sees them.

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
        What the columns are.
    targets : tuple of Target
        What the user wants equal; a method that is made for a constraint reads it here.
    task : {"binary", "multiclass", "regression"}
        What kind of target it is.
    n_classes : int
        Number of classes.
    """

    X: Any
    y: NDArray[Any]
    weight: NDArray[np.float64]
    cells: NDArray[np.int32]
    systems: tuple[GroupSystem, ...]
    feature_schema: FeatureSchema
    targets: tuple[Target, ...] = ()
    task: TaskName = "binary"
    n_classes: int = 2

    def take(self, rows: NDArray[np.integer]) -> "TrainRows":
        """Return the given rows, in that order."""
        return replace(
            self,
            X=self.X[rows],
            y=self.y[rows],
            weight=self.weight[rows],
            cells=self.cells[rows],
        )


class ScoreModel(Protocol):
    """A fitted model: probability of the positive class, of each of several, or a number."""

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return P(y = 1) for each row, shape (n_rows,); for other targets as in ``Task``."""
        ...


class GroupProbabilityModel(Protocol):
    """A fitted model of groups and labels: how likely each is for a row."""

    def membership(self, X: Any) -> NDArray[np.float32]:
        """Return P(cell, y | features) of encoded rows, shape (n_rows, n_cells, 2)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a post-processor shall reach.

    Parameters
    ----------
    targets : tuple of Target
        All must hold; limits are the user's own.
    objective : str
        Registered performance metric to be as good as possible.
    randomized : bool
        Whether the rule may decide at random.
    task : {"binary", "multiclass", "regression"}
        What kind of target it is.
    """

    targets: tuple[Target, ...]
    objective: str = "accuracy"
    randomized: bool = False
    task: TaskName = "binary"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRows:
    """Scored rows that a rule is fitted on.

    Parameters
    ----------
    scores : ndarray of float32, shape (n_rows,)
        P(y = 1) by a model that did not see the row; the probability of each of several classes,
        shape (n_rows, n_classes); a number in regression.
    y, weight, cells : ndarray, shape (n_rows,)
        Labels 0 or 1, 0, 1, 2, ... or numbers; sample weights, finest group cells.
    n_cells : int
        Number of finest cells.
    membership : ndarray of float32, shape (n_rows, n_cells, 2), optional
        P(cell, y | features) by a model that did not see the row, for mitigators that say that
        they need it.
    """

    scores: NDArray[np.floating]
    y: NDArray[Any]
    weight: NDArray[np.float64]
    cells: NDArray[np.int32]
    n_cells: int
    membership: NDArray[np.float32] | None = None

    def take(self, rows: NDArray[Any]) -> "ScoreRows":
        """Return the given rows (positions or a mask)."""
        return ScoreRows(
            scores=self.scores[rows],
            y=self.y[rows],
            weight=self.weight[rows],
            cells=self.cells[rows],
            n_cells=self.n_cells,
            membership=None if self.membership is None else self.membership[rows],
        )


class FitBaseLearner(Protocol):
    """Trains the candidate's own learner."""

    @property
    def config(self) -> Config:
        """What is trained: a mitigator that trains by itself reads learner and parameters."""
        ...

    def __call__(self, rows: TrainRows) -> ScoreModel:
        """Return the model of the given rows, whose labels and weights may be changed ones."""
        ...

    def seconds_left(self) -> float | None:
        """Return what is left of the trial's time for this fold, None without a limit."""
        ...


Train = Callable[[TrainRows, FitBaseLearner, Mapping[str, ParamValue], int], ScoreModel]
FitRules = Callable[[ScoreRows, Goal, Sequence[float]], Sequence[tuple[float | None, Rule | None]]]


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
        Whether decisions read the groups of new rows.
    needs_membership : bool
        Whether its rules read P(cell, y | features) instead of the groups of a row.
    serves : frozenset of str or None
        Fairness metrics it can work for; None = all, before and in training all on groups.
    cost : {"free", "cheap", "costly"}
        Milliseconds on stored scores; about one training; many trainings. A costly one is tried
        when an allocator finds it worth its time, or when the user names it.
    opt_in : bool
        Whether it is used only when the user names it.
    ratio : float
        Expected seconds of a mitigated training over those of the plain one, until measured.
    extra : str
        Optional extra of this package that it needs; empty when it needs none.
    randomizes : bool
        Whether all it does is decide at random; then it is used only where that is allowed.
    overlapping : bool
        Whether it can serve constraints on groups that overlap.
    tasks : frozenset of str
        Kinds of target that it works for.
    train : callable, optional
        ``train(rows, fit_base, params, seed)`` for ``pre`` and ``in``: changes the rows and calls
        ``fit_base`` once or many times (``fit_base`` trains the candidate's own learner), or
        trains by itself; returns a ``ScoreModel``.
    fit_rules : callable, optional
        ``fit_rules(rows, goal, tolerances)`` for ``post``: pairs of tolerance and rule, None
        where there is no rule. How many pairs and for which tolerances depends on goal and
        tolerances only, never on the rows. A tolerance is the gap asked for on the first target;
        the limits of the other targets scale alike (``scales``).
    space : str
        YAML text of the search space, for a plug-in that comes as a single file.
    """

    name: str
    stage: Literal["pre", "in", "post"]
    needs_sensitive_at_predict: bool
    serves: frozenset[str] | None = None
    cost: Literal["free", "cheap", "costly"] = "free"
    opt_in: bool = False
    needs_membership: bool = False
    ratio: float = 1.0
    extra: str = ""
    randomizes: bool = False
    overlapping: bool = False
    tasks: frozenset[TaskName] = frozenset({"binary"})
    train: Train | None = None
    fit_rules: FitRules | None = None
    space: str = ""

    def can_serve(self, goal: Goal) -> bool:
        """Whether target and constraints of the goal are what this mitigator works for."""
        if goal.task not in self.tasks:
            return False
        if not self.overlapping and any(t.system.overlapping for t in goal.targets):
            return False
        if self.serves is not None:
            return all(target.metric.name in self.serves for target in goal.targets)
        # In training, "all" means all metrics on groups; a number is served by who names it.
        return self.stage == "post" or not any(target.metric.degree for target in goal.targets)


def scales(targets: Sequence[Target]) -> tuple[float, ...]:
    """Return what each target's limit is per unit of tolerance on the first target.

    The limits keep their proportion; when the first one is 0 all targets are asked alike.

    Parameters
    ----------
    targets : sequence of Target
        At least one.
    """
    first = targets[0].limit
    if first == 0:
        return tuple(1.0 for _ in targets)
    return tuple(target.limit / first for target in targets)
