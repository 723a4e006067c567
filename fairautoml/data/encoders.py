"""Encode typed columns as the numeric matrix for the learners.

Boosted trees use the codes of many categories as numbers: those of whole numbers, such as codes of
occupations, in their order, others by frequency.

Encoders are fitted on the training rows of a fold only. Source: Micci-Barreca (2001), "A
preprocessing scheme for high-cardinality categorical attributes"; cross-fitting and automatic
smoothing as in scikit-learn's ``TargetEncoder``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import TargetEncoder

from fairautoml.data.dataset import FeatureSchema, strata_of
from fairautoml.data.texts import COMPONENTS, TextEncoder, fit_text_encoder
from fairautoml.exceptions import UnknownNameError
from fairautoml.portable import Dump, Positions
from fairautoml.runtime._scores import entries

MOST_LEVELS = 50
"""Columns per category column; rows of a rarer level have 0 in all of them."""

FARTHEST = 5.0
"""Standard deviations from the mean at which numbers are clipped, to limit outliers."""

MISSING = -1
"""Stands for NaN among the levels of a category column."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Design:
    """Design matrix of encoded rows, for linear methods."""

    numeric: NDArray[np.int64]  # shape (n_numeric,): positions of the columns that hold numbers
    # weighted mean and standard deviation of the values present; 0 and 1 without any
    mean: NDArray[np.float64]  # shape (n_numeric,)
    scale: NDArray[np.float64]  # shape (n_numeric,)
    # positions of the numeric columns that had gaps, which get a 0/1 column
    flagged: NDArray[np.int64]  # shape (n_flags,)
    categorical: tuple[int, ...]  # positions of the category columns
    # the codes of each category column that get a 0/1 column, -1 for missing
    levels: tuple[NDArray[np.int64], ...]

    @property
    def source(self) -> NDArray[np.int64]:
        """Position of the feature that each column of the matrix is made of."""
        of_levels = [
            np.full(len(codes), at)
            for at, codes in zip(self.categorical, self.levels, strict=True)
        ]
        found = np.concatenate((self.numeric, self.flagged, *of_levels))
        return found.astype(np.int64, copy=False)

    def matrix(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the rows as numbers without gaps, shape (n_rows, n_columns).

        A missing number is the mean, a level without a column has 0 in all columns.
        """
        scaled = (X[:, self.numeric].astype(np.float64) - self.mean) / self.scale
        scaled = np.clip(np.nan_to_num(scaled, nan=0.0), -FARTHEST, FARTHEST)
        flags = np.isnan(X[:, self.flagged]).astype(np.float64)
        parts = [
            (_codes(X[:, at])[:, None] == codes).astype(np.float64)
            for at, codes in zip(self.categorical, self.levels, strict=True)
        ]
        return np.concatenate((scaled, flags, *parts), axis=1)

    def portable(self, columns: Positions) -> dict[str, Any]:
        return {
            "numeric": columns[self.numeric],
            "mean": self.mean,
            "scale": self.scale,
            "flagged": columns[self.flagged],
            "categorical": columns[list(self.categorical)],
            "levels": self.levels,
            "farthest": FARTHEST,
        }


def fit_design(
    X: NDArray[np.floating],
    feature_schema: FeatureSchema,
    weight: NDArray[np.float64] | None = None,
) -> Design:
    """Learn a design from rows."""
    weight = np.ones(X.shape[0]) if weight is None else np.asarray(weight, dtype=np.float64)
    numeric = np.setdiff1d(
        np.arange(feature_schema.n_features), feature_schema.categorical
    ).astype(np.int64)
    values = X[:, numeric].astype(np.float64)
    gaps = np.isnan(values)
    mean, scale = _moments(values, gaps, weight)
    return Design(
        numeric=numeric,
        mean=mean,
        scale=scale,
        flagged=numeric[gaps.any(axis=0) & ~gaps.all(axis=0)],
        categorical=feature_schema.categorical,
        levels=tuple(_frequent(_codes(X[:, at]), weight) for at in feature_schema.categorical),
    )


def _moments(
    values: NDArray[np.float64], gaps: NDArray[np.bool_], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mass = np.where(gaps, 0.0, weight[:, None])
    total = mass.sum(axis=0)
    filled = np.where(gaps, 0.0, values)
    mean = _ratio((mass * filled).sum(axis=0), total)
    apart = np.where(gaps, 0.0, values - mean)
    scale = np.sqrt(_ratio((mass * apart**2).sum(axis=0), total))
    # A deviation due to rounding of a large constant would be amplified.
    constant = scale <= 1e-9 * np.maximum(np.abs(mean), 1e-300)
    return mean, np.where(constant, 1.0, scale)


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _codes(column: NDArray[np.floating]) -> NDArray[np.int64]:
    return np.where(np.isnan(column), MISSING, column).astype(np.int64)


def _frequent(codes: NDArray[np.int64], weight: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the levels of most weight, rising."""
    found, at = np.unique(codes, return_inverse=True)
    mass = np.bincount(at, weights=weight, minlength=len(found))
    return np.sort(found[np.argsort(-mass, kind="stable")[:MOST_LEVELS]])


WITHOUT_GROUPS = "_without_groups"
"""Suffix of an encoding that hides the features that are a sensitive column."""

BLOCK = "@"
"""Sign between an encoding and the only block of columns that the learner sees."""

ENCODINGS = (
    "codes",
    "target",
    "scores",
    "native",
    "codes_without_groups",
    "target_without_groups",
    "scores_without_groups",
)
INNER_FOLDS = 5

UNLIMITED = 2**31
"""Categories of a column that ``"native"`` leaves to the learner."""


def encodings_of(feature_schema: FeatureSchema, *, group_columns: bool) -> tuple[str, ...]:
    """Return the encodings that differ on a table."""
    # Keeping the group usually pays, so one encoding without it is enough.
    found: tuple[str, ...] = ("codes",)
    if feature_schema.texts:
        found = ("scores", "target", "codes")  # the first is that of initial configurations
    if feature_schema.high_cardinality:
        found = (*dict.fromkeys((*found, "target")), "native")
    hides = group_columns and not feature_schema.sparse
    best = next(name for name in ("scores", "target", "codes") if name in found)
    return (*found, f"{best}{WITHOUT_GROUPS}") if hides else found


def with_blocks(
    encodings: tuple[str, ...], groups_in: Mapping[str, bool], *, late: bool
) -> tuple[str, ...]:
    """Return the encodings and those of each block; late = only those of blocks.

    ``groups_in`` is whether each block holds features that are a sensitive column, if there are
    any.
    """
    base = "target" if "target" in encodings else "codes"
    of_blocks = (
        f"{base}{'' if shown else WITHOUT_GROUPS}{BLOCK}{name}"
        for name, shown in groups_in.items()
    )
    return tuple(of_blocks) if late else (*encodings, *of_blocks)


def blocks_in(encoding: str) -> frozenset[str]:
    """Return the blocks that the models of an entry see, ``""`` for all columns."""
    return frozenset(one.partition(BLOCK)[2] for one in encoding.split("+"))


def hides_groups(encoding: str) -> bool:
    """Return whether all encodings of a model, joined by ``+``, hide the sensitive columns."""
    return all(one.partition(BLOCK)[0].endswith(WITHOUT_GROUPS) for one in encoding.split("+"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lookup:
    """A number for each code of a category column."""

    column: int  # its position
    # the number of each code and, last, of missing
    values: NDArray[np.float32]  # shape (n_codes + 1,)

    def of(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the number of each row, shape (n_rows,)."""
        return self.values[entries(X[:, self.column], self.values)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoder:
    """A fitted encoding.

    A code that no training row has is missing to new rows, as an unseen category is. Learners
    that read codes as ordinal numbers would otherwise guess it from its neighbours where scores
    are made, but not where the model serves.
    """

    # new codes of columns: by frequency where there are many, missing if not trained on
    replaced: tuple[Lookup, ...] = ()
    appended: tuple[Lookup, ...] = ()  # target means of columns
    hidden: tuple[int, ...] = ()  # positions of columns that the learner sees as missing
    texts: tuple[TextEncoder, ...] = ()  # features of texts, instead of their terms

    @property
    def is_identity(self) -> bool:
        """Whether rows are unchanged."""
        return not (self.replaced or self.appended or self.hidden or self.texts)

    def transform(self, X: Any) -> Any:
        """Return new rows as the learner was trained on them; ``X`` itself if nothing changes."""
        if self.is_identity:
            return X
        n_rows, n_features = X.shape
        if self.texts:
            n_features = self.texts[0].start
        encoded = np.empty((n_rows, n_features + len(self.appended)), dtype=np.float32)
        encoded[:, :n_features] = X[:, :n_features]
        for lookup in self.replaced:
            encoded[:, lookup.column] = lookup.of(X)
        for at, lookup in enumerate(self.appended, start=n_features):
            encoded[:, at] = lookup.of(X)
        encoded[:, self.hidden] = np.nan
        if not self.texts:
            return encoded
        return np.concatenate((encoded, *(text.of(X) for text in self.texts)), axis=1)

    def dump(self, out: Dump, columns: Positions) -> Positions:
        """Append the columns that the encoding makes and return those of the learner."""
        own = columns[: self.texts[0].start] if self.texts else columns
        encoded = np.append(own, np.zeros(len(self.appended), dtype=np.int64))
        places = [lookup.column for lookup in self.replaced]
        places += range(len(own), len(encoded))
        for place, lookup in zip(places, (*self.replaced, *self.appended), strict=True):
            content = {"column": columns[lookup.column], "values": lookup.values}
            encoded[place] = out.step("lookup", content, 1)[0]
        if self.hidden:
            missing = out.step("fixed", {"values": np.full(1, np.nan, dtype=np.float32)}, 1)
            encoded[list(self.hidden)] = missing
        return np.concatenate([encoded, *(text.dump(out, columns) for text in self.texts)])


def fit_encoding(
    name: str,
    X: Any,
    y: NDArray[Any],
    feature_schema: FeatureSchema,
    seed: int,
    weight: NDArray[np.float64] | None = None,
    *,
    group_columns: tuple[int, ...] = (),
    outside: tuple[int, ...] = (),
) -> tuple[Any, FeatureSchema, Encoder]:
    """Fit an encoding on training rows and encode them.

    Columns ``outside`` the block of the encoding are missing to learners. The codes of a
    column of more than 20 categories are renumbered by falling frequency, unless they are
    whole numbers, for boosted trees take them as numbers. ``"target"`` also appends, for every
    such column, one with the target means of the other inner folds, so that no row's label is in
    its own features; not where a class has fewer than two rows. ``"native"`` lets boosted trees
    take these columns as categories. With ``WITHOUT_GROUPS`` the ``group_columns`` are missing in
    all rows. Terms of texts are replaced by components of TF-IDF and, with ``"target"``, by
    cross-fitted scores of a linear model of the target; ``"scores"`` is ``"target"`` without these
    components, which are many features for few rows. Rows of weight 0 do not count, the others
    count equally.
    """
    name = name.partition(BLOCK)[0]
    if name not in ENCODINGS:
        known = ", ".join(ENCODINGS)
        raise UnknownNameError(f"no encoding is called {name!r}; known: {known}")
    with_weight = np.ones(len(y), dtype=np.bool_) if weight is None else weight > 0
    counted = np.flatnonzero(with_weight)
    own = X[:, : feature_schema.n_features] if feature_schema.texts else X
    hidden = tuple(sorted({*(group_columns if hides_groups(name) else ()), *outside}))
    encoder = Encoder(replaced=_recodings(own, feature_schema, with_weight), hidden=hidden)
    encoded, wider = encoder.transform(own), feature_schema
    if name == "native":
        wider = replace(feature_schema, most_native=UNLIMITED)
    targets = name.startswith(("target", "scores"))
    learned, parts = _inner_folds(y, counted, seed) if targets else ([], [])
    many = tuple(sorted(set(feature_schema.high_cardinality) - set(hidden)))
    if many and parts:
        table = encoded[:, many]
        encoders = [_fitted(table, target, counted) for target in learned]
        means = [
            _cross_fitted(table, target, parts, one)
            for target, one in zip(learned, encoders, strict=True)
        ]
        recoded = [lookup for lookup in encoder.replaced if lookup.column in many]
        appended = tuple(lookup for one in encoders for lookup in _lookups(one, recoded))
        encoder = replace(encoder, appended=appended)
        encoded = np.concatenate((encoded, *means), axis=1, dtype=np.float32, casting="same_kind")
        wider = replace(wider, n_features=wider.n_features + len(appended))
    if not feature_schema.texts:
        return encoded, wider, encoder
    most = 0 if name.startswith("scores") and learned else COMPONENTS
    found = [
        fit_text_encoder(X, block, counted, learned, parts, most, seed)
        for block in feature_schema.texts
    ]
    matrix = np.concatenate((encoded, *(features for _, features in found)), axis=1)
    return (
        matrix.astype(np.float32, copy=False),
        replace(wider, n_features=matrix.shape[1], texts=()),
        replace(encoder, texts=tuple(text for text, _ in found)),
    )


def _inner_folds(
    y: NDArray[Any], counted: NDArray[np.int64], seed: int
) -> tuple[list[NDArray[Any]], list[tuple[NDArray[np.int64], NDArray[np.int64]]]]:
    """Return the targets to average and the rows of inner folds, none with a class of one row."""
    strata = strata_of(y[counted])
    smallest = int(np.bincount(strata, minlength=2).min())
    if smallest < 2:
        return [], []
    folds = StratifiedKFold(min(INNER_FOLDS, smallest), shuffle=True, random_state=seed)
    parts = [(counted[a], counted[b]) for a, b in folds.split(counted, strata)]
    if y.dtype.kind == "f" or y.max() <= 1:
        return [y], parts
    return [(y == label).astype(np.int8) for label in np.unique(strata)], parts


def _recodings(
    X: Any, feature_schema: FeatureSchema, counted: NDArray[np.bool_]
) -> tuple[Lookup, ...]:
    """Renumber many categories by decreasing frequency, but for whole numbers."""
    many = frozenset(feature_schema.high_cardinality)
    found = []
    for at, n_codes in feature_schema.n_codes.items():
        there = ~np.isnan(X[:, at])
        codes = X[there, at].astype(np.intp)
        absent = np.bincount(codes, minlength=n_codes) == 0
        if at not in many and not absent.any():
            continue
        new = np.arange(n_codes + 1, dtype=np.float32)
        if at in many and at not in feature_schema.numbered:
            frequency = np.bincount(codes, weights=counted[there], minlength=n_codes)
            new[np.argsort(-frequency, kind="stable")] = np.arange(n_codes)
        new[:-1][absent] = np.nan
        new[-1] = np.nan
        found.append(Lookup(column=at, values=new))
    return tuple(found)


def _fitted(
    table: NDArray[np.floating], y: NDArray[Any], rows: NDArray[np.int64]
) -> TargetEncoder:
    kind = "continuous" if y.dtype.kind == "f" else "binary"
    return TargetEncoder(target_type=kind, smooth="auto").fit(table[rows], y[rows])


def _lookups(encoder: TargetEncoder, recoded: Sequence[Lookup]) -> list[Lookup]:
    """Return the means of all codes of columns, by the means of their new codes."""
    longest = max(len(lookup.values) for lookup in recoded)
    every = np.full((longest, len(recoded)), np.nan, dtype=np.float32)
    for at, lookup in enumerate(recoded):
        every[: len(lookup.values), at] = lookup.values
    means = encoder.transform(every).astype(np.float32)
    return [
        Lookup(column=lookup.column, values=means[: len(lookup.values), at])
        for at, lookup in enumerate(recoded)
    ]


def _cross_fitted(
    table: NDArray[np.floating],
    y: NDArray[Any],
    parts: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    encoder: TargetEncoder,
) -> NDArray[np.float64]:
    """Return the means by the other parts; rows in no part are not in the encoder's data."""
    # fit_transform takes folds and seed differently since scikit-learn 1.9.
    means: NDArray[np.float64] = encoder.transform(table)
    for others, held_out in parts:
        means[held_out] = _fitted(table, y, others).transform(table[held_out])
    return means
