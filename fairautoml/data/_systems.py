"""The group systems of sensitive columns: each column for itself, and their intersection."""

import numpy as np
from numpy.typing import NDArray

from fairautoml.data._keys import Key
from fairautoml.data._scales import Reading, Scale
from fairautoml.data._sensitive import MISSING, join_labels, level_labels, row_ids
from fairautoml.data.dataset import GroupSystem


def group_systems(
    names: tuple[str, ...],
    table: NDArray[np.int64],
    levels: list[tuple[Key, ...]],
    missing_outside: bool,
    readings: tuple[Reading | None, ...],
) -> tuple[GroupSystem, ...]:
    """Return one system per column, then the intersection of all that are no numbers."""
    scaled = np.array([isinstance(reading, Scale) for reading in readings])
    outside = scaled | missing_outside
    missing_code = [keys.index(MISSING) if MISSING in keys else -1 for keys in levels]
    known = (table != np.array(missing_code)) | ~outside
    systems = [
        _column_system(name, table[:, at], known[:, at], keys, reading)
        for at, (name, keys, reading) in enumerate(zip(names, levels, readings, strict=True))
    ]
    crossed = np.flatnonzero(~scaled)
    if len(crossed) > 1:
        kept = [levels[at] for at in crossed]
        part = table[:, crossed]
        ids = row_ids(part)
        first = np.unique(ids, return_index=True)[1]
        labels = np.array(cell_labels(part[first], kept), dtype=object)
        inside = known[np.ix_(first, crossed)].all(axis=1)
        of_part = np.where(inside, np.cumsum(inside) - 1, -1).astype(np.int32)
        system = GroupSystem(
            name=join_labels(tuple(names[at] for at in crossed)),
            labels=tuple(labels[inside]),
            of_cell=of_part[ids],
        )
        systems.append(system)
    return tuple(systems)


def _column_system(
    name: str,
    codes: NDArray[np.int64],
    known: NDArray[np.bool_],
    keys: tuple[Key, ...],
    reading: Reading | None,
) -> GroupSystem:
    labels = level_labels(keys)
    if not known.all():
        # The missing level is the last one, so the other codes stay as they are.
        labels = labels[:-1]
    values = None
    if isinstance(reading, Scale):
        values = reading.standard(np.array([key[1] for key in keys[: len(labels)]], dtype=float))
    return GroupSystem(
        name=name,
        labels=labels,
        of_cell=np.where(known, codes, -1).astype(np.int32),
        values=values,
    )


def cell_labels(table: NDArray[np.int64], levels: list[tuple[Key, ...]]) -> tuple[str, ...]:
    """Return the display name of each finest cell."""
    labels = [level_labels(keys) for keys in levels]
    return tuple(
        join_labels(tuple(names[code] for names, code in zip(labels, row, strict=True)))
        for row in table.tolist()
    )
