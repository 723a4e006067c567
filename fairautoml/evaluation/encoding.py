"""How categories reach a learner: as codes, or with cross-fitted target means besides.

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
HIGH_CARDINALITY = 20
"""Target means help from more categories than this on."""
INNER_FOLDS = 5


class Encoder(Protocol):
    """A fitted encoding."""

    def transform(self, X: Any) -> Any:
        """Return new rows as the learner was trained on them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lacking:
    """A category column that has codes which are not among the training rows.

    Parameters
    ----------
    column : int
        Its position.
    known : ndarray of bool, shape (n_codes,)
        Whether a training row has the code.
    """

    column: int
    known: NDArray[np.bool_]

    def unknown(self, X: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which rows have such a code, shape (n_rows,)."""
        codes = X[:, self.column]
        there = ~np.isnan(codes)
        found = np.zeros(len(codes), dtype=bool)
        found[there] = ~self.known[codes[there].astype(np.intp)]
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Leaves codes as they are; one that no training row has is missing.

    To new rows it is: their unseen categories have no code. Learners that read codes as ordinal
    numbers would otherwise guess it from its neighbours, in the alphabet, where scores are made,
    but not where the model serves.

    Parameters
    ----------
    lacking : tuple of Lacking
        Columns with such codes.
    """

    lacking: tuple[Lacking, ...] = ()

    def transform(self, X: Any) -> Any:
        """Return ``X``, itself when it has no such code."""
        unknown = [(column.column, column.unknown(X)) for column in self.lacking]
        if not any(rows.any() for _, rows in unknown):
            return X
        known = X.copy()
        for column, rows in unknown:
            known[rows, column] = np.nan
        return known


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


def has_high_cardinality(layout: FeatureLayout) -> bool:
    """Whether the encoding ``"target"`` would change anything."""
    return bool(_columns(layout))


def fit_encoding(
    name: str,
    X: Any,
    y: NDArray[Any],
    layout: FeatureLayout,
    seed: int,
    weight: NDArray[np.float64] | None = None,
) -> tuple[Any, FeatureLayout, Encoder]:
    """Fit an encoding on training rows and encode them.

    ``"target"`` appends, for every category column of more than 20 categories, a column with the
    target means of the other inner folds, so that no row's label is in its own features. Codes
    stay where they are. Rows with fewer than two of a class stay as they are. Labels of rows of
    weight 0 teach nothing; among the others every row counts the same.

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
        Encoded training rows; ``X`` itself when nothing is added.
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
    columns = _columns(layout) if name == "target" else ()
    codes = Codes(_lacking(X, layout))
    if not columns:
        return X, layout, codes
    counted = np.arange(len(y)) if weight is None else np.flatnonzero(weight > 0)
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


def _lacking(X: Any, layout: FeatureLayout) -> tuple[Lacking, ...]:
    """Return the category columns of which some code is not among these rows."""
    found = []
    for at, n_codes in zip(layout.categorical, layout.cardinalities, strict=True):
        codes = X[:, at]
        known = np.zeros(n_codes, dtype=bool)
        known[codes[~np.isnan(codes)].astype(np.intp)] = True
        if not known.all():
            found.append(Lacking(column=at, known=known))
    return tuple(found)


def _columns(layout: FeatureLayout) -> tuple[int, ...]:
    pairs = zip(layout.categorical, layout.cardinalities, strict=True)
    return tuple(at for at, cardinality in pairs if cardinality > HIGH_CARDINALITY)


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
