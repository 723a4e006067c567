"""Sensitive columns to group cells: learned once, applied in the same way to new rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data._keys import Key, key_of, level_arrays, recode, sort_levels, types_of
from fairautoml.data._overlaps import overlapping_systems
from fairautoml.data._refusals import check_types, refuse_missing, refuse_unseen
from fairautoml.data._scales import NumberPolicy, Reading, Scale
from fairautoml.data._sensitive import (
    MISSING,
    SensitiveColumns,
    join_labels,
    level_labels,
    read_sensitive,
    row_ids,
)
from fairautoml.data._spelling import matched_keys, refuse_spellings
from fairautoml.data._systems import cell_labels, group_systems
from fairautoml.data.dataset import GroupSystem
from fairautoml.data.small_groups import SmallGroups
from fairautoml.exceptions import InputError

MissingPolicy = Literal["error", "own_group", "exclude"]
UnseenPolicy = Literal["error", "base_model"]

_UNSEEN, _ABSENT = -2, -3
_AS_GIVEN = NumberPolicy()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupSchema:
    """How sensitive values become group cells; plain data.

    A group is a typed value: 1, "1" and True are three groups, NumPy and pandas scalars are the
    Python values they hold, and a float without fraction is the whole number it is (pandas stores
    whole numbers as floats when one is missing).
    """

    columns: tuple[str, ...]  # names of the sensitive columns
    # one per column, then, with two columns or more, the intersection of all of them, then one
    # per table of groups that overlap, whose indicators are columns of their own here
    systems: tuple[GroupSystem, ...]
    levels: tuple[tuple[Key, ...], ...]  # for each column the groups as (type name, value)
    # for each cell the position in ``levels`` of its group in each column
    cell_codes: tuple[tuple[int, ...], ...]
    cell_labels: tuple[str, ...]  # display name of each cell
    # what becomes of missing values
    missing: MissingPolicy = "error"  # {"error", "own_group", "exclude"}
    named: bool = True  # whether the column names are the user's own
    # columns of X that the groups are taken from, empty when they are given separately
    sensitive_from_X: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # declared categories that do not occur, and units of numbers
    readings: tuple[Reading | None, ...] = ()  # for each column how its numbers become groups
    # groups that constraints leave out because they have too few rows, fixed before the search
    small_groups: tuple[SmallGroups, ...] = ()

    @property
    def headlines(self) -> tuple[str, ...]:
        """Which groups are outside a bound, and which bounds cannot be judged."""
        return tuple(one.headline for one in self.small_groups)

    @property
    def numeric(self) -> tuple[str, ...]:
        """Columns that are read as numbers."""
        return tuple(
            name
            for name, reading in zip(self.columns, self.readings, strict=False)
            if reading is not None
        )

    @property
    def n_cells(self) -> int:
        """Number of finest cells: combinations of groups that occur together."""
        return len(self.cell_codes)

    def encode(self, sensitive: Any, *, unseen: UnseenPolicy = "error") -> NDArray[np.int32]:
        """Return the cell of each new row.

        Tables are read by column name and may hold other columns, so the features themselves can
        be given when the groups were taken from them; arrays are read by position.
        """
        _check_choice("unseen", unseen, ("error", "base_model"))
        levels = self.levels_of(sensitive, unseen=unseen)
        cells = self._cells_of(levels)
        unknown = (cells < 0) & ~self.outside(levels).any(axis=1)
        if unseen == "error" and unknown.any():
            raise InputError(self._unseen_combination(levels, unknown))
        return cells

    def outside(self, levels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which values, shape (n_rows, n_columns), are missing and thus outside."""
        if self.missing != "exclude":
            return np.zeros(levels.shape, dtype=np.bool_)
        known = [keys.index(MISSING) if MISSING in keys else _ABSENT for keys in self.levels]
        found: NDArray[np.bool_] = levels == np.array(known)
        return found

    def levels_of(self, sensitive: Any, *, unseen: UnseenPolicy) -> NDArray[np.int64]:
        """Return the position in ``levels`` of each row's groups, -2 where one is unseen.

        A missing value that ``fit`` did not see is -3 where such rows are outside the constraint.
        """
        columns = _matching(self, read_sensitive(sensitive))
        return np.column_stack(
            [
                self._encode_column(at, name, columns[name], unseen)
                for at, name in enumerate(self.columns)
            ]
        )

    def _encode_column(
        self, at: int, name: str, values: "pd.Series[Any]", unseen: UnseenPolicy
    ) -> NDArray[np.int64]:
        known = self.levels[at]
        reading = self.readings[at] if self.readings else None
        if reading is not None:
            values = reading.read(values)
        raw, levels = level_arrays(values, f"sensitive {name!r}")
        keys = tuple(key_of(value) for value in levels)
        if not isinstance(reading, Scale):
            keys = matched_keys(f"sensitive {name!r}", keys, known)
            check_types(name, known, keys)
        codes = recode(raw, keys, known, unknown=_UNSEEN)
        absent = codes == -1
        if unseen == "error":
            if self.missing == "error":
                refuse_missing(name, int(absent.sum()))
            refuse_unseen(name, raw[codes == _UNSEEN], keys, known)
        unknown = _ABSENT if self.missing == "exclude" else _UNSEEN
        codes[absent] = known.index(MISSING) if MISSING in known else unknown
        return codes

    def _cells_of(self, codes: NDArray[np.int64]) -> NDArray[np.int32]:
        seen = np.array(self.cell_codes, dtype=np.int64).reshape(self.n_cells, -1)
        ids = row_ids(np.concatenate([seen, codes]))
        cell_of = np.full(int(ids.max()) + 1, -1, dtype=np.int32)
        cell_of[ids[: self.n_cells]] = np.arange(self.n_cells)
        cells = cell_of[ids[self.n_cells :]]
        scaled = [at for at, reading in enumerate(self.readings) if isinstance(reading, Scale)]
        new = np.flatnonzero(cells < 0)
        if scaled and len(new):
            cells[new] = self._nearest(codes[new], scaled)
        return cells

    def _nearest(self, codes: NDArray[np.int64], scaled: list[int]) -> NDArray[np.int32]:
        """Return the cell of the same groups with the nearest numbers, -1 where there is none."""
        known = np.array(self.cell_codes, dtype=np.int64).reshape(self.n_cells, -1)
        groups = [at for at in range(len(self.columns)) if at not in scaled]
        ids = row_ids(codes)
        first = np.unique(ids, return_index=True)[1]
        found = np.full(len(first), -1, dtype=np.int32)
        for at, row in enumerate(codes[first]):
            # Missing numbers have a code of their own and are like missing ones only.
            same = (known[:, groups] == row[groups]).all(axis=1) & (row >= 0).all()
            apart = np.zeros(self.n_cells)
            for column in scaled:
                numbers = _numbers_of(self.levels[column])
                step = np.abs(numbers[known[:, column]] - numbers[row[column]])
                apart += np.where(known[:, column] == row[column], 0.0, step)
            reachable = np.flatnonzero(same & np.isfinite(apart))
            if len(reachable):
                found[at] = reachable[apart[reachable].argmin()]
        return found[ids]

    def _unseen_combination(self, levels: NDArray[np.int64], unknown: NDArray[np.bool_]) -> str:
        rows = np.flatnonzero(unknown)
        parts = []
        for known, code in zip(self.levels, levels[rows[0]].tolist(), strict=True):
            parts.append("(missing)" if code < 0 else level_labels(known)[code])
        return (
            f"sensitive: {len(rows)} row(s) have a combination of {' & '.join(self.columns)} that "
            f"did not occur at fit, for example {join_labels(tuple(parts))!r}. Leave those rows "
            "out, or let them be decided without their group by fitting with "
            "unseen_group='base_model' (--unseen-group base_model)."
        )


def fit_groups(
    sensitive: Any,
    *,
    n_rows: int,
    missing: MissingPolicy = "error",
    max_groups: int = 50,
    numbers: NumberPolicy = _AS_GIVEN,
) -> tuple[GroupSchema, NDArray[np.int32]]:
    """Learn the groups of the sensitive columns."""
    _check_choice("sensitive_missing", missing, ("error", "own_group", "exclude"))
    found = read_sensitive(sensitive)
    if found.n_rows != n_rows:
        msg = (
            f"Found input variables with inconsistent numbers of samples: [{n_rows}, "
            f"{found.n_rows}]: sensitive has {found.n_rows} rows and X has {n_rows}. Give one "
            "group per row of X."
        )
        raise InputError(msg)
    names = tuple(found.columns)
    numbers.check_names(names)
    readings = tuple(numbers.reading(name, found.columns[name]) for name in names)
    encoded: list[NDArray[np.int64]] = []
    levels: list[tuple[Key, ...]] = []
    for (name, values), reading in zip(found.columns.items(), readings, strict=True):
        read = values if reading is None else reading.read(values)
        most = None if isinstance(reading, Scale) else max_groups
        codes, keys = _fit_column(name, read, missing, most)
        encoded.append(codes)
        levels.append(keys)
    codes = np.column_stack(encoded)
    ids = row_ids(codes)
    first = np.unique(ids, return_index=True)[1]
    table = codes[first]
    schema = GroupSchema(
        columns=names,
        systems=_systems(found, table, levels, missing == "exclude", readings),
        levels=tuple(levels),
        cell_codes=tuple(tuple(row) for row in table.tolist()),
        cell_labels=cell_labels(table, levels),
        missing=missing,
        named=found.named,
        notes=(
            *(note for item in found.columns.items() for note in _declared(*item)),
            *(reading.note for reading in readings if isinstance(reading, Scale)),
        ),
        readings=readings,
    )
    return schema, ids.astype(np.int32)


def _systems(
    found: SensitiveColumns,
    table: NDArray[np.int64],
    levels: list[tuple[Key, ...]],
    missing_outside: bool,
    readings: tuple[Reading | None, ...],
) -> tuple[GroupSystem, ...]:
    """Return the systems of columns, their intersection, and those of groups that overlap."""
    names = tuple(found.columns)
    indicators = {name for columns in found.overlaps.values() for name in columns}
    plain = [at for at, name in enumerate(names) if name not in indicators]
    systems: tuple[GroupSystem, ...] = ()
    if plain:
        systems = group_systems(
            tuple(names[at] for at in plain),
            table[:, plain],
            [levels[at] for at in plain],
            missing_outside,
            tuple(readings[at] for at in plain),
        )
    overlapping = overlapping_systems(found.overlaps, names, table, levels, missing_outside)
    return (*systems, *overlapping)


def _check_choice(argument: str, found: object, allowed: tuple[str, ...]) -> None:
    if found not in allowed:
        msg = f"{argument} must be one of {', '.join(map(repr, allowed))}, found {found!r}."
        raise InputError(msg)


def _fit_column(
    name: str, values: "pd.Series[Any]", missing: MissingPolicy, max_groups: int | None
) -> tuple[NDArray[np.int64], tuple[Key, ...]]:
    """Return codes and groups; without a limit on their number they are those of a scale."""
    raw, found = level_arrays(values, f"sensitive {name!r}")
    if max_groups is not None and len(found) > max_groups:
        raise InputError(_too_many(name, f"{len(found)} different values", max_groups))
    codes, keys = sort_levels(raw, found)
    refuse_spellings(f"sensitive {name!r}", codes, keys)
    if max_groups is not None and "float" in types_of(keys):
        raise InputError(_too_many(name, "numbers with fractions", max_groups))
    absent = codes < 0
    if absent.any():
        if missing == "error":
            refuse_missing(name, int(absent.sum()))
        codes[absent] = len(keys)
        keys = (*keys, MISSING)
    return codes, keys


def _too_many(name: str, found: str, max_groups: int) -> str:
    return (
        f"sensitive {name!r} holds {found}; a group is a category, at most max_groups="
        f"{max_groups} of them. Bound its influence as a number with "
        f"constraint='gedi[{name}] <= 0.1', or cut it into bins: sensitive_bins={{{name!r}: "
        f"'quantiles'}} or cuts such as [25, 60] (--bins {name}:25,60; pandas.cut does it too), "
        f"or raise max_groups (--max-groups)."
    )


def _matching(schema: GroupSchema, found: SensitiveColumns) -> "Mapping[str, pd.Series[Any]]":
    """Return the new columns under the names of fit."""
    if schema.named and found.named:
        lacking = [name for name in schema.columns if name not in found.columns]
        if lacking:
            msg = (
                f"sensitive lacks the column(s) {lacking} that fit was given; it has "
                f"{list(found.columns)[:20]}. Give the same columns, in any order."
            )
            raise InputError(msg)
        return found.columns
    if len(found.columns) != len(schema.columns):
        msg = (
            f"sensitive has {len(found.columns)} column(s) and had {len(schema.columns)} at fit: "
            f"{list(schema.columns)}. Give the same columns, in the same order."
        )
        raise InputError(msg)
    return dict(zip(schema.columns, found.columns.values(), strict=True))


def _numbers_of(keys: tuple[Key, ...]) -> NDArray[np.float64]:
    return np.array([np.nan if key == MISSING else key[1] for key in keys], dtype=np.float64)


def _declared(name: str, values: "pd.Series[Any]") -> list[str]:
    if not isinstance(values.dtype, pd.CategoricalDtype):
        return []
    used = set(values.cat.codes.unique().tolist())
    unused = [level for code, level in enumerate(values.cat.categories) if code not in used]
    return [f"sensitive {name!r}: group {str(level)!r} declared, n=0" for level in unused]
