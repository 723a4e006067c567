"""Leakage: features that reveal the sensitive attribute (proxies) or the target."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifier

from fairautoml.data.columns import Column
from fairautoml.data.groups import GroupSchema, read_sensitive
from fairautoml.data.schema import TableSchema
from fairautoml.data.sensitive_numbers import NumberBins, as_numbers
from fairautoml.data.texts import terms_matrix
from fairautoml.metrics.groups import GroupSystem

PURITY = 0.999
"""Balanced accuracy from which a categorical feature counts as the attribute itself."""

TELLING = 0.8
"""Balanced accuracy, from 0 by chance to 1, from which the words of a text tell the group."""

FEWEST = 10
"""Fewest rows per group at which an interval is not a coincidence."""

_GLANCE = 2_000
"""Sample size of the first check of a numeric column."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """The groups of rows, with the values that they were made of."""

    groups: GroupSchema  # as ``Dataset`` has them
    cells: NDArray[np.int32]  # shape (n_rows,): finest cells
    sensitive: Any  # the user's input, in the order of the rows


def given_away(matrix: Any, schema: TableSchema, given: Labelled) -> dict[str, tuple[str, ...]]:
    """Return the features that equal or reveal a sensitive column, by that column."""
    bands, found = _bands_of(given), {}
    for system in _columns_of(given.groups):
        codes = system.of_cell[given.cells]
        if system.values is None:
            names = same_partition(matrix, schema, codes, pure=True)
        else:
            names = same_order(matrix, schema, np.where(codes < 0, np.nan, system.values[codes]))
        if system.name in bands:
            # The number itself divides the rows finer than its bands do.
            names += same_bands(matrix, schema, bands[system.name])
        elif system.values is None:
            names += same_intervals(matrix, schema, codes)
            names += telling_texts(matrix, schema, codes)
        if names:
            found[system.name] = tuple(dict.fromkeys(names))
    return found


def _columns_of(groups: GroupSchema) -> list[GroupSystem]:
    """Return one system per sensitive column; indicators of groups that overlap are columns."""
    indicators = [
        GroupSystem(
            name=f"{system.name}.{label}", labels=("no", "yes"), of_cell=mask.astype(np.int32)
        )
        for system in groups.systems
        for label, mask in zip(system.labels, system.member, strict=True)
        if system.overlapping
    ]
    return [s for s in groups.systems if s.name in groups.columns] + indicators


def _bands_of(given: Labelled) -> dict[str, NDArray[np.float64]]:
    """Return, for each column that was cut, the band of each row, rising; NaN = no number."""
    readings = zip(given.groups.columns, given.groups.readings, strict=False)
    cut = {name: reading for name, reading in readings if isinstance(reading, NumberBins)}
    if not cut:
        return {}
    columns = read_sensitive(given.sensitive).columns
    found = {}
    for name, reading in cut.items():
        values = as_numbers(name, columns[name])
        band = np.searchsorted(np.array(reading.cuts), values, side="left").astype(np.float64)
        found[name] = np.where(np.isnan(values), np.nan, band)
    return found


def same_partition(
    matrix: Any, schema: TableSchema, codes: NDArray[np.integer], *, pure: bool
) -> tuple[str, ...]:
    """Return the features that divide the rows as ``codes`` does.

    A feature counts when each of its values goes with one code and each code with one value. With
    ``pure``, a categorical feature also counts when the commonest code of a row's category is
    right nearly always, averaged over codes; a category of one row proves nothing and counts as
    wrong, or every identifier would be a proxy. Sparse matrices are not searched.
    """
    if sp.issparse(matrix):
        return ()
    known = codes >= 0
    if not known.all():
        matrix, codes = matrix[known], codes[known]
    n_codes = len(np.unique(codes))
    if n_codes < 2:
        return ()
    found = []
    for at, column in enumerate(schema.columns):
        loose = pure and column.kind == "category"
        if loose or len(np.unique(matrix[:_GLANCE, at])) <= n_codes:
            table = _contingency(matrix[:, at], codes)
            if _is_bijection(table) or (loose and _purity(table) > PURITY):
                found.append(column.name)
    return tuple(found)


def telling_texts(matrix: Any, schema: TableSchema, codes: NDArray[np.integer]) -> tuple[str, ...]:
    """Return the columns of text whose words tell the group of rows that were not learned from."""
    known = np.flatnonzero(codes >= 0)
    if not schema.texts or len(np.unique(codes[known])) < 2:
        return ()
    rng = np.random.default_rng(0)
    rows = rng.permutation(known)[: 2 * _GLANCE]
    learned, others = rows[::2], rows[1::2]
    found, start = [], len(schema.columns)
    for text in schema.texts:
        block, start = matrix[:, start : start + text.width], start + text.width
        model = RidgeClassifier(class_weight="balanced")
        model.fit(terms_matrix(block[learned], len(text.terms)), codes[learned])
        right = model.predict(terms_matrix(block[others], len(text.terms))) == codes[others]
        shares = [right[codes[others] == code].mean() for code in np.unique(codes[others])]
        chance = 1 / len(np.unique(codes[known]))
        if (np.mean(shares) - chance) / (1 - chance) > TELLING:
            found.append(text.name)
    return tuple(found)


def same_numbers(
    matrix: Any, schema: TableSchema, numbers: NDArray[np.float64]
) -> tuple[str, ...]:
    """Return the features equal to these numbers, to the precision of the matrix."""
    if sp.issparse(matrix):
        return ()
    same = numbers.astype(matrix.dtype)
    columns = enumerate(schema.columns)
    return tuple(c.name for at, c in columns if np.array_equal(matrix[:, at], same))


def same_order(matrix: Any, schema: TableSchema, numbers: NDArray[np.float64]) -> tuple[str, ...]:
    """Return the numeric features that are monotone in a number, up to its steps."""
    known = ~np.isnan(numbers)
    if len(np.unique(numbers[known])) < 3:
        return ()
    found = []
    for name, values in _of_numbers(matrix, schema):
        if len(np.unique(values[known & ~np.isnan(values)])) < 2:
            continue
        steps = np.diff(numbers[known][np.lexsort((numbers[known], values[known]))])
        falling = np.diff(numbers[known][np.lexsort((-numbers[known], values[known]))])
        if (steps >= 0).all() or (falling <= 0).all():
            found.append(name)
    return tuple(found)


def same_bands(matrix: Any, schema: TableSchema, bands: NDArray[np.float64]) -> tuple[str, ...]:
    """Return the numeric features that can be cut into these bands.

    The number that was cut is one, and so is what rises or falls with it, such as a year of birth
    for ages. Each value has to lie in one band, and no number may be missing where the band is
    known.
    """
    known = ~np.isnan(bands)
    if len(np.unique(bands[known])) < 2:
        return ()
    numbers = _of_numbers(matrix, schema)
    return tuple(name for name, values in numbers if _is_cut(values[known], bands[known]))


def same_intervals(
    matrix: Any, schema: TableSchema, codes: NDArray[np.integer]
) -> tuple[str, ...]:
    """Return the numeric features of which every group is one interval.

    An example is age with the groups "young" and "old".
    """
    known = codes >= 0
    of = codes[known]
    sizes = np.bincount(of)
    filled, glance = sizes[sizes > 0], np.flatnonzero(known)[:_GLANCE]
    if len(filled) < 2 or filled.min() < FEWEST:
        return ()
    found = []
    for name, values in _of_numbers(matrix, schema):
        # Sorting, or copying, all rows of every feature would be slow.
        if _in_intervals(values[glance], of[:_GLANCE]) and _in_intervals(values[known], of):
            found.append(name)
    return tuple(found)


def _in_intervals(values: NDArray[np.floating], codes: NDArray[np.integer]) -> bool:
    """Return whether each code occupies one interval of the values."""
    mean = np.bincount(codes, weights=values) / np.maximum(np.bincount(codes), 1)
    rank = np.argsort(np.argsort(mean)).astype(np.float64)
    return _is_cut(values, rank[codes])


def _is_cut(values: NDArray[np.floating], bands: NDArray[np.float64]) -> bool:
    """Return whether the bands are consecutive intervals, in either order."""
    if np.isnan(values).any():
        return False
    order = np.argsort(values, kind="stable")
    steps = np.diff(bands[order])
    apart = (np.diff(values[order]) > 0) | (steps == 0)
    return bool(apart.all() and ((steps >= 0).all() or (steps <= 0).all()))


def _of_numbers(matrix: Any, schema: TableSchema) -> Iterator[tuple[str, NDArray[np.floating]]]:
    """Yield the names and values of features of numbers; none of a sparse matrix."""
    if sp.issparse(matrix):
        return
    for at, column in enumerate(schema.columns):
        values = _as_numbers(matrix[:, at], column)
        if values is not None:
            yield column.name, values


def _as_numbers(values: NDArray[np.float32], column: Column) -> NDArray[np.floating] | None:
    """Return a feature as numbers, parsed from text if necessary, or None."""
    if column.kind != "category":
        return values
    texts = pd.Series([str(level) for _, level in column.levels], dtype=object)
    # Index -1 (missing) selects the last element.
    numbers = np.append(pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64), np.nan)
    if np.isnan(numbers[:-1]).any():
        return None
    return numbers[np.nan_to_num(values, nan=-1).astype(np.int64)]


def _contingency(values: NDArray[np.float32], codes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return counts by value and code, shape (n_values, n_codes); NaN is a value."""
    levels, row = np.unique(values, return_inverse=True)
    kinds, column = np.unique(codes, return_inverse=True)
    at = row.reshape(-1).astype(np.int64) * len(kinds) + column.reshape(-1)
    size = len(levels) * len(kinds)
    return np.bincount(at, minlength=size).reshape(len(levels), len(kinds))


def _is_bijection(table: NDArray[np.int64]) -> bool:
    filled = table > 0
    return bool((filled.sum(axis=0) == 1).all() and (filled.sum(axis=1) == 1).all())


def _purity(table: NDArray[np.int64]) -> float:
    commonest = table.argmax(axis=1)
    rows = np.arange(len(table))
    right = np.zeros_like(table)
    right[rows, commonest] = np.where(table.sum(axis=1) > 1, table[rows, commonest], 0)
    return float((right.sum(axis=0) / table.sum(axis=0)).mean())
