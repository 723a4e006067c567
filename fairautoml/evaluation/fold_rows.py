"""The rows of a fold, taken and encoded once per process for all candidates.

What is drawn here depends on the root seed and the fold, never on the candidate, so that all
candidates train on the same rows and the same matrix serves them all.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import Dataset
from fairautoml.data.strata import strata_of
from fairautoml.evaluation.encoding import Encoder
from fairautoml.evaluation.fitting import Encoded, encode
from fairautoml.evaluation.kept import Kept, freeze, memory_of
from fairautoml.mitigators import Target

MOST_BYTES = 256 * 2**20
"""Bytes of encoded rows that one process keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Which rows a model is trained on; all rows of other folds are there to score it."""

    fold: int  # a fold
    # rows trained on, as a share of the rows outside that fold (outside a fold of mean size where
    # they are its own), in (0, 1]
    fraction: float
    own: bool = False  # they are rows of the fold itself; otherwise of all other folds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """The rows that a model is scored on: none is of a fold that it was trained on."""

    rows: NDArray[np.int64]  # shape (n,): their positions among all rows, rising
    X: Any  # shape (n, n_features): encoded, read-only
    cells: NDArray[np.int32]  # shape (n,): finest group cells

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.rows.nbytes + memory_of(self.X) + self.cells.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    """The encoder of training rows that may not be kept; next to rows it weighs nothing."""

    encoder: Encoder
    nbytes: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldRows:
    """Takes and encodes the rows of folds, and keeps what it made.

    Everything that it returns is read-only.
    """

    dataset: Dataset  # the search rows
    folds: NDArray[np.integer]  # shape (n_rows,): fold of each row
    root_seed: int  # seed of the run
    targets: tuple[Target, ...] = ()  # what the user wants equal, for training-time mitigations
    most_bytes: int = MOST_BYTES  # bytes to keep at the most

    @cached_property
    def n_folds(self) -> int:
        """Number of folds."""
        return int(self.folds.max()) + 1

    @cached_property
    def kept(self) -> Kept:
        """What was made so far."""
        return Kept(self.most_bytes)

    def train(self, part: Part, encoding: str) -> Encoded:
        """Return the training rows of a part."""
        found = self.kept.get(("train", part, encoding), lambda: self._train(part, encoding))
        self.kept.get(("encoder", part, encoding), lambda: _Fitted(found.encoder))
        return found

    def held_out(self, part: Part, encoding: str) -> HeldOut:
        """Return the rows that are not of the folds trained on, encoded like those that are."""
        key = ("held out", part.fold, part.own)
        plain = self.kept.get(key, lambda: self._held_out(part))
        encoder = self._encoder(part, encoding)
        if encoder.is_identity:
            return plain

        def encoded() -> HeldOut:
            X = encoder.transform(plain.X)
            freeze(X)
            return replace(plain, X=X)

        return self.kept.get(("held out", part, encoding), encoded)

    def _encoder(self, part: Part, encoding: str) -> Encoder:
        return self.kept.get(
            ("encoder", part, encoding), lambda: _Fitted(self.train(part, encoding).encoder)
        ).encoder

    def _train(self, part: Part, encoding: str) -> Encoded:
        seed = fold_seed(self.root_seed, part.fold)
        inside, n_rows = self.folds == part.fold, len(self.folds)
        # Persons with many rows make folds of unequal size.
        usual = n_rows - n_rows / self.n_folds
        size = max(1, round(part.fraction * (usual if part.own else np.count_nonzero(~inside))))
        rows = np.flatnonzero(inside == part.own)
        if size < len(rows):
            labels, cells = strata_of(self.dataset.y[rows]), self.dataset.cells[rows]
            rows = rows[nested_sample(labels, cells, seed, size)]
        made = encode(encoding, self.dataset.take(rows), seed, targets=self.targets)
        for array in (made.train.X, made.train.y, made.train.weight, made.train.cells):
            freeze(array)
        return made

    def _held_out(self, part: Part) -> HeldOut:
        rows = np.flatnonzero((self.folds == part.fold) != part.own)
        X = self.dataset.X[rows]
        freeze(X)
        return HeldOut(rows=rows, X=X, cells=self.dataset.cells[rows])


def fold_seed(root_seed: int, fold: int) -> int:
    """Return the seed of what is drawn once per fold for all candidates."""
    return int(np.random.SeedSequence([root_seed, fold]).generate_state(1, np.uint32)[0] >> 1)


def nested_sample(
    y: NDArray[np.integer], cells: NDArray[np.integer], seed: int, size: int
) -> NDArray[np.int64]:
    """Return rows, ascending, that are a sample stratified by label and group.

    Each stratum of n rows is shuffled and spread evenly: its k-th row stands at (k + u) / n, u
    drawn once per stratum in [0, 1), and the sample is what stands first. So it holds every
    stratum's share to within one row or so, and a smaller sample is part of every larger one.
    Each label comes once among the first rows, so that a sample of two rows has both.
    """
    rng = np.random.default_rng(seed)
    place = np.empty(len(y))
    own = cells - cells.min()
    strata = (y - y.min()).astype(np.int64) * (int(own.max()) + 1) + own
    # Integers of at most 16 bits are sorted ten times faster than others.
    strata = strata.astype(np.min_scalar_type(int(strata.max())))
    order = np.argsort(strata, kind="stable")
    for stratum in np.split(order, np.flatnonzero(np.diff(strata[order])) + 1):
        place[stratum] = (rng.permutation(len(stratum)) + rng.random()) / len(stratum)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        place[rows[np.argmin(place[rows])]] -= 1.0
    return np.sort(np.argpartition(place, size - 1)[:size])
