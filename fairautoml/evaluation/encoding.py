"""How categories reach a learner: as codes, or with cross-fitted target means besides.

Fitted inside the training rows of a fold only. Source: Micci-Barreca (2001), "A preprocessing
scheme for high-cardinality categorical attributes"; cross-fitting and automatic smoothing as in
scikit-learn's ``TargetEncoder``.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import TargetEncoder

from fairautoml.data.dataset import FeatureLayout
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


@dataclass(frozen=True, slots=True)
class Codes:
    """Leaves the matrix as it is."""

    def transform(self, X: Any) -> Any:
        """Return ``X`` itself."""
        return X


@dataclass(frozen=True, slots=True)
class TargetMeans:
    """Appends the target mean of some category columns.

    Parameters
    ----------
    columns : tuple of int
        Positions of those columns.
    encoder : TargetEncoder
        Fitted on them; an unseen category gets the overall mean.
    """

    columns: tuple[int, ...]
    encoder: TargetEncoder

    def transform(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return ``X`` with one more column per encoded column.

        Parameters
        ----------
        X : ndarray of float32, shape (n_rows, n_features)
            New rows, not training rows: their own labels are not left out.
        """
        return _append(X, self.encoder.transform(X[:, self.columns]))


def has_high_cardinality(layout: FeatureLayout) -> bool:
    """Whether the encoding ``"target"`` would change anything."""
    return bool(_columns(layout))


def fit_encoding(
    name: str, X: Any, y: NDArray[np.integer], layout: FeatureLayout, seed: int
) -> tuple[Any, FeatureLayout, Encoder]:
    """Fit an encoding on training rows and encode them.

    ``"target"`` appends, for every category column of more than 20 categories, a column with the
    target means of the other inner folds, so that no row's label is in its own features. Codes
    stay where they are. Rows with fewer than two of a class stay as they are.

    Parameters
    ----------
    name : {"codes", "target"}
        Which encoding.
    X : ndarray of float32, shape (n_rows, n_features), or CSR matrix
        Training rows.
    y : ndarray of int, shape (n_rows,)
        Labels 0 or 1.
    layout : FeatureLayout
        What the columns are.
    seed : int
        Seed of the inner folds, non-negative.

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
    smallest_class = min(np.count_nonzero(y == 0), np.count_nonzero(y == 1))
    if not columns or smallest_class < 2:
        return X, layout, Codes()
    n_folds = min(INNER_FOLDS, smallest_class)
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    means = _cross_fitted(X[:, columns], y, folds)
    encoder = _encoder().fit(X[:, columns], y)
    wider = replace(layout, n_features=layout.n_features + len(columns))
    return _append(X, means), wider, TargetMeans(columns, encoder)


def _columns(layout: FeatureLayout) -> tuple[int, ...]:
    pairs = zip(layout.categorical, layout.cardinalities, strict=True)
    return tuple(at for at, cardinality in pairs if cardinality > HIGH_CARDINALITY)


def _encoder() -> TargetEncoder:
    return TargetEncoder(target_type="binary", smooth="auto")


def _cross_fitted(
    X: NDArray[np.floating], y: NDArray[np.integer], folds: StratifiedKFold
) -> NDArray[np.float64]:
    # Not fit_transform: how it is told its folds and seed changed in scikit-learn 1.9.
    means = np.empty(X.shape, dtype=np.float64)
    for others, held_out in folds.split(X, y):
        means[held_out] = _encoder().fit(X[others], y[others]).transform(X[held_out])
    return means


def _append(X: NDArray[np.floating], means: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.concatenate((X, means), axis=1, dtype=np.float32, casting="same_kind")
