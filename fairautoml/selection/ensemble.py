"""Greedy ensembles of entries, and the choice of the final one.

No margin is set: rules of tighter tolerances are compared with those of looser ones, so the margin
is whatever the better rule keeps.

Source: Caruana, Niculescu-Mizil, Crew, Ksikes, "Ensemble Selection from Libraries of Models",
ICML 2004: forward selection with replacement, the best round kept. Their bags of models are bags
of rows here: one selection per fold on the rows of the other folds, then the mean.
"""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics import TaskName
from fairautoml.metrics.rates import values_of
from fairautoml.mitigators import ScoreModel, Target
from fairautoml.records import Entry
from fairautoml.selection.mixture import PoolRule


@dataclass(frozen=True, slots=True)
class WeightedAverage:
    """Models and their shares."""

    members: tuple[tuple[ScoreModel, float], ...]  # at least one model; the shares sum to 1

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the weighted mean of P(y = 1), shape (n_rows,)."""
        return _mean([(model.scores(X, cells), share) for model, share in self.members])


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Several weighted means of the same models."""

    models: Mapping[str, ScoreModel]  # by trial
    # per column the trials and their shares, which sum to 1
    columns: tuple[tuple[tuple[str, float], ...], ...]

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return P(y = 1) by each column, shape (n_rows, n_columns)."""
        known = {key: model.scores(X, cells) for key, model in self.models.items()}
        means = [_mean([(known[key], share) for key, share in each]) for each in self.columns]
        return np.stack(means, axis=1)


def _mean(parts: list[tuple[NDArray[np.float32], float]]) -> NDArray[np.float32]:
    total = np.zeros(parts[0][0].shape)
    for scores, share in parts:
        total += share * scores
    return total.astype(np.float32)


def models_of(entry: Entry, bags: Mapping[str, ScoreModel]) -> ScoreModel:
    """Return what scores new rows for the rule of an entry."""
    if isinstance(entry.rule, PoolRule):
        models = {key: bags[key] for key in entry.sources}
        return Columns(models=models, columns=entry.rule.columns)
    if entry.members:
        return WeightedAverage(tuple((bags[key], share) for key, share in entry.members))
    return bags[entry.trial_key]


def scored_by(entry: Entry) -> Hashable:
    """Return what entries have in common whose ``models_of`` score rows alike, in one shape.

    The trials and their shares do not tell an ensemble, which has one score per row, from a
    mixture that reads the mean of the same trials as its only column.
    """
    if isinstance(entry.rule, PoolRule):
        return entry.rule.columns
    return entry.members if entry.members else entry.trial_key


Confidence = Literal["auto"] | float | None
"""How sure it must be that the constraint holds on new people."""


EVEN = 0.5
"""Probability below which a constraint is rather missed than met."""

DISAGREEING = 0.05
"""Share of the rows that two good models decide otherwise."""


def clear_lead(error: float | None, n_rows: int) -> float:
    """Return by how much a single trial must be ahead of a mean of several to be served.

    It is the standard error of a difference in accuracy, or the same share of an error.
    """
    lead = float(np.sqrt(DISAGREEING / n_rows))
    return lead if error is None else lead * abs(error)


def choose(
    entries: Sequence[Entry],
    confidence: Literal["auto"] | float,
    *,
    chance: Callable[[Entry], float],
    worth: Callable[[Entry], float],
    fallback: float,
    steady: Callable[[Entry], bool] = lambda entry: True,
    ahead: float = 0.0,
) -> Entry:
    """Return the entry to serve.

    ``"auto"`` takes the largest ``worth P + fallback (1 - P)``: a rule that breaks the constraint
    counts like one decision for everybody. Rules worth no more than that are left out while there
    are others. A number takes the best entry that is so likely to
    hold, and where none is the likeliest one.
    """
    chances = np.array([chance(entry) for entry in entries])
    values = np.array([worth(entry) for entry in entries])
    sure = np.ones(len(entries), dtype=bool) if confidence == "auto" else chances >= confidence
    if not sure.any():
        return entries[int(chances.argmax())]
    worths = _expected(values, chances, fallback) if confidence == "auto" else values
    calm = np.array([steady(entry) for entry in entries])
    return entries[_ahead(np.where(sure, worths, -np.inf), calm, ahead)]


def lacks_evidence(probability: float, confidence: Confidence) -> bool:
    """Return whether a rule is less sure than was asked for; ``"auto"`` asks for even odds."""
    if confidence is None:
        return False
    return probability < (EVEN if confidence == "auto" else confidence)


def _ahead(worths: NDArray[np.float64], steady: NDArray[np.bool_], ahead: float) -> int:
    """Return the place of the best, of the best steady one unless others are ahead of it."""
    best, calm = int(worths.argmax()), int(np.where(steady, worths, -np.inf).argmax())
    return calm if steady[calm] and worths[best] <= worths[calm] + ahead else best


def _expected(
    values: NDArray[np.float64], chances: NDArray[np.float64], fallback: float
) -> NDArray[np.float64]:
    """Return what each rule is worth with its risk."""
    # A rule worth less than the fallback would be rewarded for breaking the constraint.
    useful = values > fallback
    floor = fallback if useful.any() else float(values.min())
    expected = floor + (values - floor) * chances
    return np.where(useful, expected, -np.inf) if useful.any() else expected


HELD_OUT = 3 / 7
"""Rows held out for a check per row that is searched where 30 % are held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionOptions:
    """How the answer is made from the pool."""

    # whether an ensemble is made, and a mixture where rules may decide at random
    assemble: bool = True
    max_models: int | None = 8  # trials that either may be made of; None = no limit
    # how sure it must be that the constraint holds on so many new people (``audit_ratio``)
    confidence: Confidence = "auto"
    end: float | None = None  # ``time.monotonic()`` at which ``fit`` should be done
    # new people that the constraint will be counted on, in times of the searched rows, above 0;
    # ``inf`` = all there are; None = as many as were searched, and where ``confidence`` is a
    # number ``HELD_OUT``, so that it speaks of a customary check as well
    audit_ratio: float | None = None
    # what an entry keeps of its worth, in (0, 1], for ``confidence="auto"`` to heed
    certifiable: Callable[[Entry], float] | None = None

    @property
    def audit(self) -> float:
        """How many new people probabilities speak of, in times of the searched rows."""
        if self.audit_ratio is not None:
            return self.audit_ratio
        return HELD_OUT if isinstance(self.confidence, float) else 1.0


def gaps_of(target: Target, tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the gap of each table, infinite where undefined, shape (n_draws,)."""
    overlapping = target.system.overlapping
    groups, overall = (tables[:, :-1], tables[:, -1]) if overlapping else (tables, None)
    values = values_of(target.metric, groups, overall)
    gaps = 1.0 - values if target.metric.form == "ratio" else values
    return np.where(np.isnan(gaps), np.inf, gaps)


ROUNDS = 25
"""Models that are added, repetitions included."""

SMALLEST_PROBABILITY = 1e-6
"""What the true label is given at the least: a float32 holds no 1 - 1e-8."""


def select_greedily(
    columns: NDArray[np.float32],
    y: NDArray[Any],
    weight: NDArray[np.float64],
    *,
    most: int | None,
    rounds: int = ROUNDS,
    task: TaskName = "binary",
) -> NDArray[np.float64]:
    """Return the share of each column in the mean of lowest log loss that is found."""
    given = _given(columns, y, task)
    loss = _squared_error if task == "regression" else _loss
    share = (weight / weight.sum()).astype(np.float32)
    picked = np.zeros(len(columns))
    total = np.zeros(len(y), dtype=np.float32)
    best_loss, best = np.inf, picked
    for done in range(1, rounds + 1):
        open_to = np.arange(len(columns))
        if most is not None and np.count_nonzero(picked) >= most:
            open_to = np.flatnonzero(picked)
        losses = np.array([loss(total + given[at], done, share) for at in open_to])
        at = open_to[losses.argmin()]
        picked[at] += 1
        total += given[at]
        if losses.min() < best_loss:
            best_loss, best = losses.min(), picked / done
    return best


def _given(columns: NDArray[np.float32], y: NDArray[Any], task: TaskName) -> NDArray[np.float32]:
    """Return what the loss of a mean is computed from by the mean of it, (n_columns, n_rows)."""
    if task == "regression":
        # Differences first: float32 sums of large numbers would lose what matters.
        errors: NDArray[np.float32] = (columns - y).astype(np.float32)
        return errors
    if task == "multiclass":
        given = columns[:, np.arange(len(y)), y]
    else:
        given = np.where(y == 1, columns, np.float32(1.0) - columns)
    # The mean of what the models give the true label is what their mean gives it.
    return np.maximum(given, np.float32(SMALLEST_PROBABILITY))


def _squared_error(total: NDArray[np.float32], count: int, share: NDArray[np.float32]) -> float:
    return float(share @ np.square(total / count))


def _loss(total: NDArray[np.float32], count: int, share: NDArray[np.float32]) -> float:
    return float(np.log(count) - share @ np.log(total))


def shares_by_fold(
    columns: NDArray[np.float32],
    y: NDArray[Any],
    weight: NDArray[np.float64],
    folds: NDArray[np.integer],
    *,
    most: int | None,
    task: TaskName = "binary",
) -> NDArray[np.float64]:
    """Return for each fold the shares that the rows of the other folds select."""
    return np.array(
        [
            select_greedily(
                columns[:, folds != fold],
                y[folds != fold],
                weight[folds != fold],
                most=most,
                task=task,
            )
            for fold in range(int(folds.max()) + 1)
        ]
    )


def mean_shares(by_fold: NDArray[np.float64], *, most: int | None) -> NDArray[np.float64]:
    """Return the shares that are deployed: the mean over the folds, of the largest ones only."""
    mean: NDArray[np.float64] = by_fold.mean(axis=0)
    if most is not None:
        # A stable order: of equal shares the first columns stay.
        mean[np.argsort(-mean, kind="stable")[most:]] = 0.0
    shares: NDArray[np.float64] = mean / mean.sum()
    return shares


def weighted_sums(
    shares: NDArray[np.float32], columns: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return sums of columns, of one row of shares or of several."""
    flat: NDArray[np.float32] = shares @ columns.reshape(len(columns), -1)
    return flat.reshape(*shares.shape[:-1], *columns.shape[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRules:
    """What can be served, before a margin is chosen."""

    # entries of the usual tolerances: of all trials, the ensemble, the mixture
    usual: tuple[Entry, ...]
    # entries of the tolerances between, of the columns that a margin is chosen on
    fine: tuple[Entry, ...]
    columns: frozenset[str]  # keys of those columns

    def only(self, keys: Collection[str]) -> "CandidateRules":
        """Return what the columns of the given keys offer."""
        return replace(
            self,
            usual=tuple(entry for entry in self.usual if entry.trial_key in keys),
            fine=tuple(entry for entry in self.fine if entry.trial_key in keys),
            columns=self.columns & set(keys),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """The entry of the best score that meets the constraints on the search rows, not served."""

    score: float  # objective, in its natural direction
    probability: float  # that the constraints hold for it on a sample of new people, in [0, 1]
    # it is less likely to meet the constraints; it is less likely to be certified; or it is a
    # single trial whose lead over an ensemble is too small to count
    reason: Literal["probability", "certificate", "noise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """How far the served entry stays inside the limits, why, and what that costs."""

    confidence: Confidence  # what was asked for
    probability: float  # that the constraints hold on a sample of new people, in [0, 1]
    margin: float  # limit minus cross-fitted gap, the smallest over all constraints
    # objective lost against the best entry that meets the constraints on the search rows
    price: float
    insufficient_evidence: bool  # whether it is less sure than was asked for
    audit_ratio: float = 1.0  # size of that sample, in times of the searched rows
    # share of what the best entry is worth beyond one decision for everybody that the served one
    # keeps, at most 1; None when there is no such worth
    kept: float | None = None
    # excess over the limits of what would be served if a certificate were worth nothing; None
    # when it is not weighed
    widest: float | None = None
    passed_over: PassedOver | None = None  # the entry of a better score, and why it is not served


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """What ``assemble`` returns."""

    entries: tuple[Entry, ...]  # those of the search and those of the ensemble
    best: Entry  # what is served
    margin: Margin | None  # None when nothing is constrained
    seconds: float  # what it took
    # the model chosen, where the best constant is worth more and served instead
    outdone: Entry | None = None
