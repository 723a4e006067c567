"""Greedy ensemble selection, and the choice of the final entry.

Source: Caruana, Niculescu-Mizil, Crew, Ksikes, "Ensemble Selection from Libraries of Models",
ICML 2004: forward selection with replacement, the best round kept. Instead of bagging models, one
selection is run per fold on the rows of the other folds, and the shares are averaged.
"""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics import BoundConstraint, TaskName
from fairautoml.metrics.rates import values_of
from fairautoml.mitigators import ScoreModel
from fairautoml.portable import Dump, Positions
from fairautoml.records import Entry
from fairautoml.selection.mixture import PoolRule


@dataclass(frozen=True, slots=True)
class WeightedAverage:
    """Weighted average of models."""

    members: tuple[tuple[ScoreModel, float], ...]  # at least one model; the shares sum to 1

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the weighted mean of P(y = 1), shape (n_rows,)."""
        return _mean([(model.scores(X, cells), share) for model, share in self.members])

    def dump(self, out: Dump, columns: Positions) -> int:
        """Write the portable form and return its node."""
        of = [out.model(model, columns) for model, _ in self.members]
        return out.node("weighted", {"of": of, "shares": [share for _, share in self.members]})


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Several weighted averages of the same models, one per column."""

    models: Mapping[str, ScoreModel]  # by trial
    # per column the trials and their shares, which sum to 1
    columns: tuple[tuple[tuple[str, float], ...], ...]

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return P(y = 1) by each column, shape (n_rows, n_columns)."""
        known = {key: model.scores(X, cells) for key, model in self.models.items()}
        means = [_mean([(known[key], share) for key, share in each]) for each in self.columns]
        return np.stack(means, axis=1)

    def dump(self, out: Dump, columns: Positions) -> int:
        """Write the portable form and return its node."""
        of = {key: out.model(model, columns) for key, model in self.models.items()}
        means = [
            out.node(
                "weighted",
                {"of": [of[key] for key, _ in each], "shares": [share for _, share in each]},
            )
            for each in self.columns
        ]
        return out.node("columns", {"of": means})


def _mean(parts: list[tuple[NDArray[np.float32], float]]) -> NDArray[np.float32]:
    total = np.zeros(parts[0][0].shape)
    for scores, share in parts:
        total += share * scores
    return total.astype(np.float32)


def models_of(entry: Entry, bags: Mapping[str, ScoreModel]) -> ScoreModel:
    """Return the model that scores new rows for the rule of an entry."""
    if isinstance(entry.rule, PoolRule):
        models = {key: bags[key] for key in entry.sources}
        return Columns(models=models, columns=entry.rule.columns)
    if entry.members:
        return WeightedAverage(tuple((bags[key], share) for key, share in entry.members))
    return bags[entry.trial_key]


def scored_by(entry: Entry) -> Hashable:
    """Return a key that is equal for entries whose ``models_of`` return the same scores.

    The trials and their shares are not enough: an ensemble and a mixture of one column can share
    them, but their scores differ in shape.
    """
    if isinstance(entry.rule, PoolRule):
        return entry.rule.columns
    return entry.members if entry.members else entry.trial_key


Confidence = Literal["auto"] | float | None
"""Required probability that the constraint holds on new rows."""

EVEN = 0.5
"""Probability below which a constraint is more likely violated than met."""

DISAGREEING = 0.05
"""Share of the rows on which two good models are assumed to disagree."""


def clear_lead(error: float | None, n_rows: int) -> float:
    """Return by how much a single trial must exceed an average of several to be selected.

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
    """Return the selected entry.

    ``"auto"`` maximizes the expected utility ``worth P + fallback (1 - P)``: a rule that violates
    the constraint counts like a constant predictor. Rules that are worth no more than a constant
    are excluded unless there are no others. A number selects the best entry whose probability is
    at least that large, or the most likely entry if there is none.
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
    """Return whether the probability is below the requested one (``"auto"``: ``EVEN``)."""
    if confidence is None:
        return False
    return probability < (EVEN if confidence == "auto" else confidence)


def _ahead(worths: NDArray[np.float64], steady: NDArray[np.bool_], ahead: float) -> int:
    """Return the index of the best steady entry unless another exceeds it by ``ahead``."""
    best, calm = int(worths.argmax()), int(np.where(steady, worths, -np.inf).argmax())
    return calm if steady[calm] and worths[best] <= worths[calm] + ahead else best


def _expected(
    values: NDArray[np.float64], chances: NDArray[np.float64], fallback: float
) -> NDArray[np.float64]:
    """Return the expected utility of each rule."""
    # A rule worth less than the fallback would be rewarded for breaking the constraint.
    useful = values > fallback
    floor = fallback if useful.any() else float(values.min())
    expected = floor + (values - floor) * chances
    return np.where(useful, expected, -np.inf) if useful.any() else expected


HELD_OUT = 3 / 7
"""Held-out rows per search row if 30 % of the rows are held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionOptions:
    """Options of the selection of the final model."""

    # most trials in an ensemble, and in a mixture if randomized rules are allowed; 0 = neither
    ensemble: int = 8
    # required probability that the constraint holds on the new rows (``audit_ratio``)
    confidence: Confidence = "auto"
    end: float | None = None  # ``time.monotonic()`` at which ``fit`` should be done
    # number of new rows that the constraint is checked on per search row, above 0; ``inf`` = the
    # population; None = 1, or ``HELD_OUT`` if ``confidence`` is a number, the size of a usual
    # test set
    audit_ratio: float | None = None
    seed: int = 0  # root seed
    refit: bool = False  # whether the selected model is trained once more on all rows

    @property
    def audit(self) -> float:
        """Number of new rows that probabilities refer to, per search row."""
        if self.audit_ratio is not None:
            return self.audit_ratio
        return HELD_OUT if isinstance(self.confidence, float) else 1.0


def gaps_of(target: BoundConstraint, tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the gap of each table, infinite where undefined, shape (n_draws,)."""
    overlapping = target.system.overlapping
    groups, overall = (tables[:, :-1], tables[:, -1]) if overlapping else (tables, None)
    gaps = target.metric.gap(values_of(target.metric, groups, overall))
    return np.where(np.isnan(gaps), np.inf, gaps)


ROUNDS = 25
"""Rounds of forward selection; each adds one model, possibly again."""

SMALLEST_PROBABILITY = 1e-6
"""Lower bound on the probability of the true label: float32 cannot represent 1 - 1e-8."""


def select_greedily(
    columns: NDArray[np.float32],
    y: NDArray[Any],
    weight: NDArray[np.float64],
    *,
    most: int | None,
    rounds: int = ROUNDS,
    task: TaskName = "binary",
) -> NDArray[np.float64]:
    """Return the share of each column in the average with the lowest loss found."""
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
    """Return the terms whose mean gives the loss of an average, shape (n_columns, n_rows)."""
    if task == "regression":
        # Differences first: float32 sums of large numbers would lose what matters.
        errors: NDArray[np.float32] = (columns - y).astype(np.float32)
        return errors
    if task == "multiclass":
        given = columns[:, np.arange(len(y)), y]
    else:
        given = np.where(y == 1, columns, np.float32(1.0) - columns)
    # The average model gives the true label the mean of these probabilities.
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
    """Return for each fold the shares selected on the rows of the other folds."""
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
    """Return the deployed shares: the mean over the folds, restricted to the largest ``most``."""
    mean: NDArray[np.float64] = by_fold.mean(axis=0)
    if most is not None:
        # A stable order: of equal shares the first columns stay.
        mean[np.argsort(-mean, kind="stable")[most:]] = 0.0
    shares: NDArray[np.float64] = mean / mean.sum()
    return shares


def weighted_sums(
    shares: NDArray[np.float32], columns: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return weighted sums of columns for one or several rows of shares."""
    flat: NDArray[np.float32] = shares @ columns.reshape(len(columns), -1)
    return flat.reshape(*shares.shape[:-1], *columns.shape[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRules:
    """Candidate rules for the final model, before a margin is chosen."""

    # entries of the usual tolerances: of all trials, the ensemble, the mixture
    usual: tuple[Entry, ...]
    # entries at the tolerances between, of the columns that a margin is chosen on
    fine: tuple[Entry, ...]
    columns: frozenset[str]  # keys of those columns

    def only(self, keys: Collection[str]) -> "CandidateRules":
        """Return the rules of the columns with the given keys."""
        return replace(
            self,
            usual=tuple(entry for entry in self.usual if entry.trial_key in keys),
            fine=tuple(entry for entry in self.fine if entry.trial_key in keys),
            columns=self.columns & set(keys),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """Entry with the best score among the feasible ones that was not selected."""

    score: float  # objective, in its natural direction
    probability: float  # that it meets the constraints on a sample of new rows, in [0, 1]
    # less likely to meet the constraints, or a single trial whose lead over an ensemble is within
    # noise
    reason: Literal["probability", "noise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """Safety margin of the selected entry, its reason and its cost."""

    confidence: Confidence  # requested probability
    probability: float  # that the constraints hold on a sample of new rows, in [0, 1]
    margin: float  # limit minus cross-fitted gap, the smallest over all constraints
    # objective lost against the best entry that meets the constraints on the search rows
    price: float
    insufficient_evidence: bool  # whether the probability is below the requested one
    audit_ratio: float = 1.0  # size of that sample, per search row
    # share of the best entry's gain over a constant predictor that the selected one keeps, at
    # most 1; None if there is no gain
    kept: float | None = None
    passed_over: PassedOver | None = None  # entry of a better score, and why it is not selected


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalChoice:
    """The selected entry, and those that it was selected from."""

    entries: tuple[Entry, ...]  # those of the search and those of the ensemble
    best: Entry  # the selected entry
    margin: Margin | None  # None when nothing is constrained
    # entry that would have been selected if the best constant did not have a higher value
    outdone: Entry | None = None
