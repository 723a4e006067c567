"""The groups of new rows in one system, whatever their other sensitive values are."""

import numpy as np
from numpy.typing import NDArray

from fairautoml.data._scales import Scale
from fairautoml.data._sensitive import row_ids
from fairautoml.data.dataset import GroupSystem
from fairautoml.data.groups import GroupSchema

NEW = -2
"""Code of a row whose group did not occur at ``fit``."""


def system_codes(
    schema: GroupSchema, system: GroupSystem, levels: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the group of each row in a system whose groups do not overlap.

    Only the columns of the system are read: a new combination of sex and region does not keep
    the sex of a row from being known.
    """
    columns = _columns_of(schema, system)
    seen = np.array(schema.cell_codes, dtype=np.int64).reshape(schema.n_cells, -1)[:, columns]
    ids = row_ids(np.concatenate([seen, levels[:, columns]]))
    group_of = np.full(int(ids.max()) + 1, NEW, dtype=np.int64)
    group_of[ids[: schema.n_cells]] = system.of_cell
    found = group_of[ids[schema.n_cells :]]
    return np.where(schema.outside(levels)[:, columns].any(axis=1), -1, found)


def _columns_of(schema: GroupSchema, system: GroupSystem) -> list[int]:
    """Return the places of the columns that decide the group."""
    if system.name in schema.columns:
        return [schema.columns.index(system.name)]
    tables = [other for other in schema.systems if other.overlapping]
    apart = {f"{table.name}.{label}" for table in tables for label in table.labels}
    scales = {
        name
        for name, reading in zip(schema.columns, schema.readings, strict=False)
        if isinstance(reading, Scale)
    }
    return [at for at, name in enumerate(schema.columns) if name not in apart | scales]
