"""Groups that overlap: from tables of indicators to group systems."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fairautoml.data._keys import Key
from fairautoml.data._sensitive import MISSING, MISSING_LABEL
from fairautoml.data.dataset import GroupSystem
from fairautoml.exceptions import InputError

_BELONGS: Key = ("bool", True)


def overlapping_systems(
    overlaps: Mapping[str, tuple[str, ...]],
    names: Sequence[str],
    table: NDArray[np.int64],
    levels: Sequence[tuple[Key, ...]],
    missing_outside: bool,
) -> tuple[GroupSystem, ...]:
    """Return one system per table of indicators, with one group per indicator."""
    return tuple(
        _system(
            name,
            columns,
            [(table[:, at], levels[at]) for at in map(names.index, columns)],
            missing_outside,
        )
        for name, columns in overlaps.items()
    )


def _system(
    name: str,
    columns: Sequence[str],
    indicators: Sequence[tuple[NDArray[np.int64], tuple[Key, ...]]],
    missing_outside: bool,
) -> GroupSystem:
    labels: list[str] = []
    masks: list[NDArray[np.bool_]] = []
    for column, (codes, keys) in zip(columns, indicators, strict=True):
        label = column.removeprefix(f"{name}.")
        if _BELONGS not in keys:
            msg = (
                f"sensitive[{name!r}]: nobody belongs to {label!r}, so nothing can be said about "
                "that group; leave the column out."
            )
            raise InputError(msg)
        labels.append(label)
        masks.append(codes == keys.index(_BELONGS))
        if MISSING in keys and not missing_outside:
            labels.append(f"{label} {MISSING_LABEL}")
            masks.append(codes == keys.index(MISSING))
    found = np.array(masks)
    nobody = np.full(found.shape[1], -1, dtype=np.int32)
    return GroupSystem(name=name, labels=tuple(labels), of_cell=nobody, masks=found)
