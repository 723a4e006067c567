"""What the systems over LightGBM share: rows as numbers, a clock, random parameters."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier
from numpy.typing import NDArray

from fairautoml.bench.peers import Answer, Decide, Question
from fairautoml.data.dataset import FeatureSchema
from fairautoml.data.splits import holdout_split, stratified_folds
from fairautoml.threads import n_threads
from peers._offers import Candidate, Seen, answered, offer

HELD = 0.25
"""Share of the rows that models are compared on."""
FEW_ROWS, N_FOLDS = 10_000, 5
"""Below so many rows they are compared on folds."""
HALF = 0.5

Shares = Callable[[NDArray[np.float64]], NDArray[np.floating]]
"""From rows as numbers to P(y = 1), or to the share of draws that decide 1."""


@dataclass(frozen=True)
class Codes:
    """Categories as the numbers 0, 1, 2, ...; missing and new ones are NaN."""

    table: pd.DataFrame  # what the categories are learned from

    @cached_property
    def categories(self) -> dict[Any, "pd.Index[Any]"]:
        """Categories by column; columns of numbers have none."""
        numbers = self.table.select_dtypes(["number", "bool"]).columns
        names = self.table.columns.difference(numbers, sort=False)
        return {name: pd.Index(self.table[name].astype("str").unique()) for name in names}

    @property
    def positions(self) -> list[int]:
        """Places of the columns that hold categories."""
        return [at for at, name in enumerate(self.table.columns) if name in self.categories]

    @property
    def feature_schema(self) -> FeatureSchema:
        """The same in the words of this library's learners."""
        sizes = tuple(len(known) for known in self.categories.values())
        return FeatureSchema(
            n_features=self.table.shape[1],
            categorical=tuple(self.positions),
            cardinalities=sizes,
        )

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
    """Says how long to go on: a trial is begun only when one like the last one still fits."""

    seconds: float | None  # budget
    n_trials: int | None  # the same in trials
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
    """Rows to learn from and rows to compare models on."""

    X: NDArray[np.float64]  # shape (n_rows, n_features): all rows as numbers
    y: NDArray[np.int8]  # shape (n_rows,): labels and groups of all rows
    cells: NDArray[np.int32]  # shape (n_rows,)
    # positions to learn from and to compare on: a quarter, or every fold of few rows in turn
    splits: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]

    @property
    def compared(self) -> NDArray[np.int64]:
        """Positions of the rows that models are compared on, split by split."""
        return np.concatenate([held for _, held in self.splits])

    def shares(self, models: Sequence[Shares]) -> NDArray[np.float64]:
        """Return what models, one for each split, say of the rows that they are compared on."""
        said = [model(self.X[held]) for model, (_, held) in zip(models, self.splits, strict=True)]
        return np.concatenate(said)


def parts_of(question: Question, codes: Codes) -> Parts:
    """Return the rows and how they are split, the same share of every label and group."""
    y, cells = question.y, question.cells
    if len(y) < FEW_ROWS:
        fold = stratified_folds(y, cells, N_FOLDS, question.seed)
        splits = [
            (np.flatnonzero(fold != at), np.flatnonzero(fold == at)) for at in range(N_FOLDS)
        ]
    else:
        splits = [holdout_split(y, cells, HELD, question.seed)]
    return Parts(X=codes.matrix(question.X), y=y, cells=cells, splits=tuple(splits))


def mean_of(models: Sequence[Shares], X: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of what models say of rows, shape (n_rows,)."""
    mean: NDArray[np.float64] = np.mean([model(X) for model in models], axis=0)
    return mean


def lightgbm_of(codes: Codes, params: Mapping[str, Any]) -> LGBMClassifier:
    """Return a classifier that knows which columns are categories."""
    kind = _with_categories(tuple(codes.positions))
    return kind(**{**params, "n_jobs": n_threads(), "verbose": -1})


@cache
def _with_categories(positions: tuple[int, ...]) -> type[LGBMClassifier]:
    """Return LightGBM's classifier for callers that cannot name categories as they fit."""

    def fit(self: Any, X: Any, y: Any, sample_weight: Any = None) -> Any:
        named = list(positions)
        return LGBMClassifier.fit(self, X, y, sample_weight, categorical_feature=named)

    return type("LGBMClassifier", (LGBMClassifier,), {"fit": fit})


def lightgbm_params(rng: np.random.Generator) -> dict[str, Any]:
    """Return parameters of LightGBM drawn at random."""

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


Train = Callable[[Parts, NDArray[np.int64], np.random.Generator], list[Shares]]
"""From rows, which of them, and chance, to models; the same chance gives the same parameters."""


def at_half(shares: NDArray[np.float64]) -> NDArray[np.int8]:
    """Return 1 where a share is at least one half."""
    return (shares >= HALF).astype(np.int8)


def random_search(question: Question, codes: Codes, train: Train, *, learner: str) -> Answer:
    """Return the best feasible of random trials."""
    clock = Clock(seconds=question.seconds, n_trials=question.n_trials)
    parts = parts_of(question, codes)
    offers: list[Candidate] = []
    number = 0
    for number in clock.trials():
        trained = [train(parts, rows, _chance(question, number)) for rows, _ in parts.splits]
        for models in zip(*trained, strict=True):
            seen = Seen(
                y=parts.y[parts.compared],
                cells=parts.cells[parts.compared],
                decisions=at_half(parts.shares(models)),
            )
            decide = _served(codes, models)
            offers.append(offer(question, seen, decide, learner=learner, seconds=clock.now()))
    return answered(question, offers, n_trials=number + 1)


def _chance(question: Question, number: int) -> np.random.Generator:
    return np.random.default_rng([question.seed, number])


def _served(codes: Codes, models: Sequence[Shares]) -> Decide:
    def decide(X: pd.DataFrame) -> NDArray[np.integer]:
        return at_half(mean_of(models, codes.matrix(X)))

    return decide
