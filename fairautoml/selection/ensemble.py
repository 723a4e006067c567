"""Greedy ensemble selection, and the models of an entry.

Source: Caruana, Niculescu-Mizil, Crew, Ksikes, "Ensemble Selection from Libraries of Models",
ICML 2004: forward selection with replacement, the best round kept. Instead of bagging models, one
selection is run per fold on the rows of the other folds, and the shares are averaged.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics import TaskName
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
    """Return a key that is equal for entries whose ``models_of`` return the same scores."""
    # An ensemble and a mixture of one column may share members; their scores differ in shape.
    if isinstance(entry.rule, PoolRule):
        return entry.rule.columns
    return entry.members if entry.members else entry.trial_key


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
        return (columns - y).astype(np.float32)
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
    return mean / mean.sum()


TOLERANCE = 0.001
"""Largest rise of the cross-fitted loss that fewer trees may cost, as a share of the loss."""

FIXED_COST = 100.0
"""Cost of a trial's models beside their trees: a linear model has none."""


def worth_their_cost(
    columns: NDArray[np.float32],
    y: NDArray[Any],
    weight: NDArray[np.float64],
    shares: NDArray[np.float64],
    cost: NDArray[np.floating],
    *,
    tolerance: float = TOLERANCE,
    most: float = np.inf,
    task: TaskName = "binary",
) -> NDArray[np.int64]:
    """Return the columns that an average keeps, at least two.

    The column that lowers the loss least for its cost is left out, and again, while the loss is
    within the tolerance, a share of the loss, or the columns cost more than ``most``. ``shares``
    are those selected without the fold of the row, shape (n_columns, n_rows).
    """
    given = _given(columns, y, task)
    loss = _squared_error if task == "regression" else _loss
    of_row = (weight / weight.sum()).astype(np.float32)

    def loss_of(at: NDArray[np.int64]) -> float:
        # A fold may have given all its weight to columns that were left out.
        mine = np.where(shares[at].sum(axis=0) > 0, shares[at], 1.0)
        mean = (mine * given[at]).sum(axis=0) / mine.sum(axis=0)
        return loss(mean.astype(np.float32), 1, of_row)

    kept = np.arange(len(columns))
    now = loss_of(kept)
    highest = (1.0 + tolerance) * now
    while len(kept) > 2:
        over = bool(cost[kept].sum() > most)
        losses = np.array([loss_of(np.delete(kept, at)) for at in range(len(kept))])
        allowed = np.flatnonzero((losses <= highest) | over)
        if not len(allowed):
            break
        rise = np.maximum(losses - now, 0.0) / (cost[kept] + FIXED_COST)
        out = min(allowed.tolist(), key=lambda at: (rise[at], losses[at]))
        kept, now = np.delete(kept, out), losses[out]
    return kept


def weighted_sums(
    shares: NDArray[np.float32], columns: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return weighted sums of columns for one or several rows of shares."""
    flat: NDArray[np.float32] = shares @ columns.reshape(len(columns), -1)
    return flat.reshape(*shares.shape[:-1], *columns.shape[1:])
