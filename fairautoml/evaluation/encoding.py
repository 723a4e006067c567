"""How categories reach a learner: as codes, or with cross-fitted target means as well.

Codes of many categories are ordered by frequency, so that boosted trees can take them as numbers.

Fitted inside the training rows of a fold only. Source: Micci-Barreca (2001), "A preprocessing
scheme for high-cardinality categorical attributes"; cross-fitting and automatic smoothing as in
scikit-learn's ``TargetEncoder``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import TargetEncoder

from fairautoml.data.dataset import FeatureLayout
from fairautoml.data.strata import strata_of
from fairautoml.exceptions import UnknownNameError

ENCODINGS = ("codes", "target")
INNER_FOLDS = 5


class Encoder(Protocol):
    """A fitted encoding."""

    def transform(self, X: Any) -> Any:
        """Return new rows as the learner was trained on them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recoding:
    """New codes of a category column.

    Parameters
    ----------
    column : int
        Its position.
    codes : ndarray of float32, shape (n_codes + 1,)
        The new code of each code and, last, of missing; NaN where no training row has the code.
    """

    column: int
    codes: NDArray[np.float32]

    def apply(self, codes: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the new codes of rows, shape (n_rows,)."""
        missing = len(self.codes) - 1
        return self.codes[np.where(np.isnan(codes), missing, codes).astype(np.intp)]


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Renumbers codes: by frequency where there are many, and as missing what was not trained on.

    A code that no training row has is missing to new rows, as an unseen category is. Learners
    that read codes as ordinal numbers would otherwise guess it from its neighbours where scores
    are made, but not where the model serves.

    Parameters
    ----------
    columns : tuple of Recoding
        The columns that change.
    """

    columns: tuple[Recoding, ...] = ()

    def transform(self, X: Any) -> Any:
        """Return the rows renumbered; ``X`` itself when no column changes."""
        if not self.columns:
            return X
        recoded = X.copy()
        for recoding in self.columns:
            recoded[:, recoding.column] = recoding.apply(X[:, recoding.column])
        return recoded


@dataclass(frozen=True, slots=True, eq=False)
class TargetMeans:
    """Appends the target mean of some category columns.

    Parameters
    ----------
    codes : Codes
        What becomes of the codes.
    columns : tuple of int
        Positions of those columns.
    encoders : tuple of TargetEncoder
        Fitted on them, of several classes one for each; an unseen category gets the overall mean.
    """

    codes: Codes
    columns: tuple[int, ...]
    encoders: tuple[TargetEncoder, ...]

    def transform(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return ``X`` with one more column per encoded column and encoder.

        Parameters
        ----------
        X : ndarray of float32, shape (n_rows, n_features)
            New rows, not training rows: their own labels are not left out.
        """
        known = self.codes.transform(X)
        return _append(known, *(one.transform(known[:, self.columns]) for one in self.encoders))


def fit_encoding(
    name: str,
    X: Any,
    y: NDArray[Any],
    layout: FeatureLayout,
    seed: int,
    weight: NDArray[np.float64] | None = None,
) -> tuple[Any, FeatureLayout, Encoder]:
    """Fit an encoding on training rows and encode them.

    The codes of a column of more than 20 categories are renumbered by falling frequency, for
    boosted trees take them as numbers. ``"target"`` also appends, for every such column, one with
    the target means of the other inner folds, so that no row's label is in its own features; not
    where a class has fewer than two rows. Rows of weight 0 do not count, the others count equally.

    Parameters
    ----------
    name : {"codes", "target"}
        Which encoding.
    X : ndarray of float32, shape (n_rows, n_features), or CSR matrix
        Training rows.
    y : ndarray of int, shape (n_rows,)
        Labels 0, 1, 2, ..., or numbers (float64).
    layout : FeatureLayout
        What the columns are.
    seed : int
        Seed of the inner folds, non-negative.
    weight : ndarray of float64, shape (n_rows,), optional
        Sample weights, at least 0.

    Returns
    -------
    X_encoded : ndarray of float32 or CSR matrix
        Encoded training rows; ``X`` itself when nothing changes.
    layout_encoded : FeatureLayout
        Its columns.
    encoder : Encoder
        Encodes new rows alike.

    Raises
    ------
    UnknownNameError
        No encoding has that name.
    """
    if name not in ENCODINGS:
        known = ", ".join(ENCODINGS)
        raise UnknownNameError(f"no encoding is called {name!r}; known: {known}")
    with_weight = np.ones(len(y), dtype=np.bool_) if weight is None else weight > 0
    codes = _recodings(X, layout, with_weight)
    X = codes.transform(X)
    columns = layout.high_cardinality if name == "target" else ()
    if not columns:
        return X, layout, codes
    counted = np.flatnonzero(with_weight)
    strata = strata_of(y[counted])
    smallest_class = int(np.bincount(strata, minlength=2).min())
    if smallest_class < 2:
        return X, layout, codes
    n_folds = min(INNER_FOLDS, smallest_class)
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    learned, table = _targets(y, np.unique(strata)), X[:, columns]
    parts = [(counted[a], counted[b]) for a, b in folds.split(counted, strata)]
    encoders = tuple(_fitted(table, target, counted) for target in learned)
    means = [
        _cross_fitted(table, target, parts, encoder)
        for target, encoder in zip(learned, encoders, strict=True)
    ]
    wider = replace(layout, n_features=layout.n_features + len(columns) * len(learned))
    return _append(X, *means), wider, TargetMeans(codes, columns, encoders)


def _targets(y: NDArray[Any], labels: NDArray[np.integer]) -> list[NDArray[Any]]:
    """Return what means are taken of: the labels of two classes, each of several, numbers."""
    if y.dtype.kind == "f" or y.max() <= 1:
        return [y]
    return [(y == label).astype(np.int8) for label in labels]


def _recodings(X: Any, layout: FeatureLayout, counted: NDArray[np.bool_]) -> Codes:
    """Number many categories by falling frequency among the rows counted."""
    many = frozenset(layout.high_cardinality)
    found = []
    for at, n_codes in zip(layout.categorical, layout.cardinalities, strict=True):
        there = ~np.isnan(X[:, at])
        codes = X[there, at].astype(np.intp)
        absent = np.bincount(codes, minlength=n_codes) == 0
        if at not in many and not absent.any():
            continue
        new = np.arange(n_codes + 1, dtype=np.float32)
        if at in many:
            frequency = np.bincount(codes, weights=counted[there], minlength=n_codes)
            new[np.argsort(-frequency, kind="stable")] = np.arange(n_codes)
        new[:-1][absent] = np.nan
        new[-1] = np.nan
        found.append(Recoding(column=at, codes=new))
    return Codes(tuple(found))


def _fitted(
    table: NDArray[np.floating], y: NDArray[Any], rows: NDArray[np.int64]
) -> TargetEncoder:
    kind = "continuous" if y.dtype.kind == "f" else "binary"
    return TargetEncoder(target_type=kind, smooth="auto").fit(table[rows], y[rows])


def _cross_fitted(
    table: NDArray[np.floating],
    y: NDArray[Any],
    parts: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    encoder: TargetEncoder,
) -> NDArray[np.float64]:
    """Return the means by the other parts; rows in no part have taught the encoder nothing."""
    # Not fit_transform: how it is told its folds and seed changed in scikit-learn 1.9.
    means: NDArray[np.float64] = encoder.transform(table)
    for others, held_out in parts:
        means[held_out] = _fitted(table, y, others).transform(table[held_out])
    return means


def _append(X: NDArray[np.floating], *means: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.concatenate((X, *means), axis=1, dtype=np.float32, casting="same_kind")
