"""What the systems over LightGBM share: rows as numbers, a clock, random parameters."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.bench.peers import Answer, Decide, Offer, Question
from fairautoml.bench.peers._choosing import Seen, answered, offer
from fairautoml.data.splits import holdout_split

HELD = 0.25
"""Share of the rows that models are compared on."""


@dataclass(frozen=True)
class Codes:
    """Categories as the numbers 0, 1, 2, ...; missing and new ones are NaN.

    Parameters
    ----------
    table : DataFrame
        What the categories are learned from.
    """

    table: pd.DataFrame

    @cached_property
    def categories(self) -> dict[Any, "pd.Index[Any]"]:
        """Categories by column; columns of numbers have none."""
        numbers = self.table.select_dtypes(["number", "bool"]).columns
        names = self.table.columns.difference(numbers, sort=False)
        return {name: pd.Index(self.table[name].astype("str").unique()) for name in names}

    def matrix(self, X: pd.DataFrame) -> NDArray[np.float64]:
        """Return rows as numbers, shape (n_rows, n_features)."""
        return np.column_stack([self._column(X, name) for name in self.table.columns])

    def _column(self, X: pd.DataFrame, name: Any) -> NDArray[np.float64]:
        known = self.categories.get(name)
        if known is None:
            numbers: NDArray[np.float64] = X[name].to_numpy(dtype=np.float64, na_value=np.nan)
            return numbers
        codes = known.get_indexer(X[name].astype("str")).astype(np.float64)
        return np.where((codes < 0) | X[name].isna().to_numpy(), np.nan, codes)


@dataclass(slots=True, kw_only=True)
class Clock:
    """Says how long to go on: a trial is begun only when one like the last one still fits.

    Parameters
    ----------
    seconds : float or None
        Budget.
    n_trials : int or None
        The same in trials.
    """

    seconds: float | None
    n_trials: int | None
    start: float = field(default_factory=time.monotonic)

    def trials(self) -> Iterator[int]:
        """Yield the numbers of trials; there is always one."""
        number, last = 0, 0.0
        while number == 0 or self._fits(number, last):
            begun = self.now()
            yield number
            last = self.now() - begun
            number += 1

    def now(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self.start

    def _fits(self, number: int, last: float) -> bool:
        if self.n_trials is not None and number >= self.n_trials:
            return False
        return self.seconds is None or self.now() + last <= self.seconds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """Rows to learn from and rows to compare models on.

    Parameters
    ----------
    X : ndarray of float64, shape (n_rows, n_features)
        All rows as numbers.
    y, cells : ndarray of int, shape (n_rows,)
        Labels and groups of all rows.
    learned, held : ndarray of int
        Positions.
    """

    X: NDArray[np.float64]
    y: NDArray[np.int8]
    cells: NDArray[np.int32]
    learned: NDArray[np.int64]
    held: NDArray[np.int64]

    @property
    def everything(self) -> NDArray[np.int64]:
        """Positions of all rows."""
        return np.arange(len(self.y))


def parts_of(question: Question, codes: Codes) -> Parts:
    """Return the rows, a quarter of them set aside, the same share of every label and group.

    Parameters
    ----------
    question : Question
        The table.
    codes : Codes
        How its categories are numbered.
    """
    cells = question.cells
    learned, held = holdout_split(question.y, cells, HELD, question.seed)
    X = codes.matrix(question.X)
    return Parts(X=X, y=question.y, cells=cells, learned=learned, held=held)


def lightgbm_params(rng: np.random.Generator) -> dict[str, Any]:
    """Return parameters of LightGBM drawn at random.

    Parameters
    ----------
    rng : Generator
        Where from.
    """

    def log(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    return {
        "n_estimators": round(log(20, 400)),
        "num_leaves": round(log(4, 64)),
        "min_child_samples": round(log(5, 100)),
        "learning_rate": log(0.01, 0.3),
        "colsample_bytree": float(rng.uniform(0.5, 1.0)),
        "reg_lambda": log(1e-3, 10.0),
    }


Predict = Callable[[NDArray[np.float64]], NDArray[np.integer]]
"""From rows as numbers to decisions."""
Train = Callable[[Parts, NDArray[np.int64], np.random.Generator], list[Predict]]
"""From rows, which of them, and chance, to models; the same chance gives the same parameters."""


def random_search(question: Question, train: Train, *, learner: str) -> Answer:
    """Return the best feasible of random trials, trained once more on all rows.

    Parameters
    ----------
    question : Question
        Table, constraints, budget.
    train : callable
        One trial.
    learner : str
        What is trained.
    """
    codes = Codes(question.X)
    clock = Clock(seconds=question.seconds, n_trials=question.n_trials)
    parts = parts_of(question, codes)

    @cache
    def trained_again(number: int) -> list[Predict]:
        return train(parts, parts.everything, _chance(question, number))

    offers: list[Offer] = []
    number = 0
    for number in clock.trials():
        models = train(parts, parts.learned, _chance(question, number))
        for at, model in enumerate(models):
            seen = Seen(
                y=parts.y[parts.held],
                cells=parts.cells[parts.held],
                decisions=np.asarray(model(parts.X[parts.held])).astype(np.int8),
            )
            again = _again(codes, trained_again, number, at)
            found = offer(question, seen, again, learner=learner, seconds=clock.now())
            offers.append(found)
    return answered(offers, n_trials=number + 1)


def _chance(question: Question, number: int) -> np.random.Generator:
    return np.random.default_rng([question.seed, number])


def _again(
    codes: Codes, trained_again: Callable[[int], list[Predict]], number: int, at: int
) -> Decide:
    def decide(X: pd.DataFrame) -> NDArray[np.integer]:
        model = trained_again(number)[at]
        return np.asarray(model(codes.matrix(X))).astype(np.int8)

    return decide
