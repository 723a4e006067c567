"""What should be said of the groups of a table besides what they are."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.groups import GroupSchema


def gives_away(system: str, names: tuple[str, ...]) -> str:
    """Say which features give a sensitive column away."""
    return f"feature(s) {', '.join(map(repr, names))} of X give away sensitive {system!r}"


def group_notes(
    groups: GroupSchema | None, cells: NDArray[np.int32], aware: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """Return notes on features that know the groups, and on rows that are in none."""
    if groups is None:
        return ()
    themselves = [name for name, features in aware.items() if features == (name,)]
    if groups.sensitive_from_X and themselves:
        names = ", ".join(map(repr, themselves))
        known: tuple[str, ...] = (f"sensitive column(s) {names} of X are also features",)
    else:
        known = tuple(gives_away(system, names) for system, names in aware.items())
    return (*groups.notes, *known, *_outside(groups, cells))


def _outside(groups: GroupSchema, cells: NDArray[np.int32]) -> tuple[str, ...]:
    """Say how many rows no constraint on a column speaks about."""
    if groups.missing != "exclude":
        return ()
    counts = {
        system.name: int((system.of_cell[cells] < 0).sum())
        for system in groups.systems
        if system.name in groups.columns
    }
    return tuple(
        f"{count} of {len(cells)} rows have no value of {name!r} and are outside its constraint"
        for name, count in counts.items()
        if count
    )
