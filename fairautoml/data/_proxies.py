"""Features that give a label away: the sensitive attribute or the target itself."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from fairautoml.data.columns import TableSchema
from fairautoml.data.dataset import GroupSystem
from fairautoml.data.groups import GroupSchema

PURITY = 0.999
"""Balanced accuracy from which a categorical feature counts as the attribute itself."""

_GLANCE = 2_000
"""Rows that decide at first whether a numeric column has few enough values to be looked at."""


def given_away(
    matrix: Any, schema: TableSchema, groups: GroupSchema, cells: NDArray[np.int32]
) -> dict[str, tuple[str, ...]]:
    """Return the features that are a sensitive column or give it away, by that column.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n_rows, n_features), or CSR matrix
        Encoded features; sparse ones are not searched.
    schema : TableSchema
        Their names and kinds.
    groups : GroupSchema
        The sensitive columns; indicators of groups that overlap are columns.
    cells : ndarray of int32, shape (n_rows,)
        Finest group cells.
    """
    copies = {
        system.name: _copies(matrix, schema, system, system.of_cell[cells])
        for system in _columns_of(groups)
    }
    return {name: features for name, features in copies.items() if features}


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


def _copies(
    matrix: Any, schema: TableSchema, system: GroupSystem, codes: NDArray[np.int32]
) -> tuple[str, ...]:
    if system.values is None:
        return same_partition(matrix, schema, codes, pure=True)
    return same_order(matrix, schema, np.where(codes < 0, np.nan, system.values[codes]))


def same_partition(
    matrix: Any, schema: TableSchema, codes: NDArray[np.integer], *, pure: bool
) -> tuple[str, ...]:
    """Return the features that divide the rows as ``codes`` does.

    A feature counts when each of its values goes with one code and each code with one value. With
    ``pure``, a categorical feature also counts when the commonest code of a row's category is
    right nearly always, averaged over codes; a category of one row proves nothing and counts as
    wrong, or every identifier would be a proxy. Sparse matrices are not searched.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n_rows, n_features), or CSR matrix
        Encoded features.
    schema : TableSchema
        Their names and kinds.
    codes : ndarray of int, shape (n_rows,)
        Label or group of each row; -1 = unknown.
    pure : bool
        Whether nearly perfect prediction counts too.
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


def same_numbers(
    matrix: Any, schema: TableSchema, numbers: NDArray[np.float64]
) -> tuple[str, ...]:
    """Return the features that hold these very numbers, to the precision of the matrix.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n_rows, n_features), or CSR matrix
        Encoded features; sparse ones are not searched.
    schema : TableSchema
        Their names.
    numbers : ndarray of float64, shape (n_rows,)
        What is looked for.
    """
    if sp.issparse(matrix):
        return ()
    same = numbers.astype(matrix.dtype)
    columns = enumerate(schema.columns)
    return tuple(c.name for at, c in columns if np.array_equal(matrix[:, at], same))


def same_order(matrix: Any, schema: TableSchema, numbers: NDArray[np.float64]) -> tuple[str, ...]:
    """Return the numeric features that rise or fall with a number, whatever its steps hide.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n_rows, n_features), or CSR matrix
        Encoded features; sparse ones are not searched.
    schema : TableSchema
        Their names and kinds.
    numbers : ndarray of float64, shape (n_rows,)
        The number of each row, NaN where unknown.
    """
    known = ~np.isnan(numbers)
    if sp.issparse(matrix) or len(np.unique(numbers[known])) < 3:
        return ()
    found = []
    for at, column in enumerate(schema.columns):
        if column.kind == "category":
            continue
        steps = np.diff(numbers[known][np.lexsort((numbers[known], matrix[known, at]))])
        falling = np.diff(numbers[known][np.lexsort((-numbers[known], matrix[known, at]))])
        if (steps >= 0).all() or (falling <= 0).all():
            found.append(column.name)
    return tuple(found)


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
