"""Groups of the sensitive columns, and the groups of each row."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data.columns import Key, level_arrays, recode, sort_levels, types_of
from fairautoml.data.frames import as_array, as_series, frame_columns, is_foreign, is_frame
from fairautoml.data.sensitive_numbers import NumberPolicy, Reading, Scale
from fairautoml.data.spelling import (
    matched_keys,
    merge_spellings,
    placeholder_notes,
    refuse_spellings,
)
from fairautoml.exceptions import InputError
from fairautoml.metrics.groups import GroupSystem, Judgeability, SmallGroups, group_headlines
from fairautoml.runtime._groups import ABSENT, MISSING, UNSEEN, nearest_cell, numbers_of
from fairautoml.runtime._rows import key_of

DEFAULT_NAME = "sensitive"
MISSING_LABEL = "(missing)"


@dataclass(frozen=True, slots=True)
class SensitiveColumns:
    """Sensitive columns by name; ``named`` is False when the user gave no names.

    ``overlaps`` holds, for each table of indicators of groups that overlap, the names of its
    columns among ``columns``.
    """

    columns: "dict[str, pd.Series[Any]]"
    named: bool
    overlaps: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Number of rows of the first column."""
        return len(next(iter(self.columns.values())))


def read_sensitive(sensitive: Any) -> SensitiveColumns:
    if isinstance(sensitive, Mapping):
        found = _read_mapping(sensitive)
    elif is_frame(sensitive):
        found = SensitiveColumns(frame_columns(sensitive, "sensitive"), named=True)
    elif _is_column(sensitive):
        column = as_series(sensitive, "sensitive")
        name = DEFAULT_NAME if column.name is None else str(column.name)
        found = SensitiveColumns({name: column}, named=column.name is not None)
    else:
        found = _read_array(sensitive)
    _check_columns(found)
    return found


def _read_mapping(sensitive: Mapping[Any, Any]) -> SensitiveColumns:
    columns: dict[str, pd.Series[Any]] = {}
    overlaps: dict[str, tuple[str, ...]] = {}
    for key, value in sensitive.items():
        name = str(key)
        read = _read_indicators(name, value) if is_frame(value) else {name: as_series(value, name)}
        twice = sorted(set(columns) & set(read))
        if twice:
            msg = f"sensitive has several columns called {twice[0]!r}; rename one of them."
            raise InputError(msg)
        columns.update(read)
        if is_frame(value):
            overlaps[name] = tuple(read)
    return SensitiveColumns(columns, named=True, overlaps=overlaps)


def _read_indicators(table: str, frame: Any) -> "dict[str, pd.Series[Any]]":
    """Return the columns as True, False and missing, under the name of table and column."""
    found = {}
    for name, column in frame_columns(frame, f"sensitive[{table!r}]").items():
        absent = column.isna().to_numpy()
        values = column.to_numpy(dtype=object)
        strange = [v for v in values[~absent].tolist() if v not in (0, 1)]
        if strange:
            raise InputError(
                f"sensitive[{table!r}] is a table, so its columns must mark the members of a "
                f"group by True and False or 1 and 0; {name!r} holds {strange[0]!r}. Give one "
                "column per group, for example with pandas.get_dummies, or a column in place of "
                f"the table: sensitive={{{name!r}: ...}}."
            )
        read = np.full(len(values), None, dtype=object)
        read[~absent] = values[~absent].astype(bool)
        found[f"{table}.{name}"] = pd.Series(read, dtype=object)
    if not found:
        raise InputError(f"sensitive[{table!r}] has no column; give one column per group.")
    return found


def _is_column(sensitive: Any) -> bool:
    kinds = (pd.Series, pd.Index, pd.api.extensions.ExtensionArray)
    return isinstance(sensitive, kinds) or is_foreign(sensitive)


def _read_array(sensitive: Any) -> SensitiveColumns:
    array = as_array(sensitive, "sensitive")
    if array.ndim == 1:
        return SensitiveColumns({DEFAULT_NAME: as_series(sensitive, "sensitive")}, named=False)
    if array.ndim != 2:
        raise InputError(
            f"sensitive must have one or two dimensions, found shape {array.shape}; give one "
            "column per sensitive attribute."
        )
    columns = {
        f"{DEFAULT_NAME}_{at}": as_series(array[:, at], "sensitive")
        for at in range(array.shape[1])
    }
    return SensitiveColumns(columns, named=False)


def _check_columns(found: SensitiveColumns) -> None:
    if not found.columns:
        raise InputError("sensitive has no column; give at least one, or sensitive=None.")
    lengths = {name: len(column) for name, column in found.columns.items()}
    if len(set(lengths.values())) > 1:
        msg = f"the columns of sensitive differ in length: {lengths}; give one value per row."
        raise InputError(msg)


def level_labels(keys: tuple[Key, ...]) -> tuple[str, ...]:
    """Return a display name per group of one column, all different.

    Values whose text is the same (1 and "1") are written as Python literals, 1 and '1'.
    """
    plain = tuple(_text(key) for key in keys)
    if len(set(plain)) == len(plain):
        return plain
    return tuple(_literal(key) for key in keys)


def _text(key: Key) -> str:
    if key == MISSING:
        return MISSING_LABEL
    # Line breaks or terminal codes in a label could forge a line of a certificate.
    return "".join(
        sign.encode("unicode_escape").decode() if unicodedata.category(sign) == "Cc" else sign
        for sign in str(key[1])
    )


def _literal(key: Key) -> str:
    kind, value = key
    if key == MISSING:
        return MISSING_LABEL
    return repr(value) if kind in {"str", "int", "bool"} else f"{kind}({value!r})"


def join_labels(parts: tuple[str, ...]) -> str:
    r"""Return ``"Female & Black"``; ``&`` and ``\`` inside a part get a backslash.

    So two different combinations never share a label.
    """
    if len(parts) == 1:
        return parts[0]
    return " & ".join(part.replace("\\", "\\\\").replace("&", "\\&") for part in parts)


def row_ids(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return one number per distinct row, 0, 1, ... in lexical order of the rows.

    Column by column, renumbered after each, in int64: products of many codes never overflow.
    """
    ids = np.zeros(len(codes), dtype=np.int64)
    for column in codes.T:
        low = int(column.min(initial=0))
        width = int(column.max(initial=0)) - low + 1
        _, inverse = np.unique(ids * width + (column - low), return_inverse=True)
        ids = inverse.reshape(-1).astype(np.int64)
    return ids


_BELONGS: Key = ("bool", True)


def _overlapping_system(
    name: str,
    indicators: Mapping[str, tuple[NDArray[np.int64], tuple[Key, ...]]],
    missing_outside: bool,
) -> GroupSystem:
    """Return the system of a table of indicators, with one group per indicator."""
    labels: list[str] = []
    masks: list[NDArray[np.bool_]] = []
    for column, (codes, keys) in indicators.items():
        label = column.removeprefix(f"{name}.")
        if _BELONGS not in keys:
            raise InputError(
                f"sensitive[{name!r}]: group {label!r} has no rows, so its rates are undefined. "
                "Leave the column out."
            )
        labels.append(label)
        masks.append(codes == keys.index(_BELONGS))
        if MISSING in keys and not missing_outside:
            labels.append(f"{label} {MISSING_LABEL}")
            masks.append(codes == keys.index(MISSING))
    found = np.array(masks)
    ungrouped = np.full(found.shape[1], -1, dtype=np.int32)
    return GroupSystem(name=name, labels=tuple(labels), of_cell=ungrouped, masks=found)


def refuse_missing(name: str, count: int) -> None:
    if count:
        raise InputError(
            f"sensitive {name!r} has {count} missing value(s). Choose at fit how they are "
            "handled: GroupPolicy(missing=) (--sensitive-missing) 'error' (this), 'own_group' (a "
            "group called '(missing)') or 'exclude' (rows outside the constraint). New rows can "
            "also be predicted without their group by GroupPolicy(unseen='base_model') "
            "(--unseen-group base_model)."
        )


def check_types(name: str, known: tuple[Key, ...], keys: tuple[Key, ...]) -> None:
    then = types_of(known) - {MISSING[0]}
    now = types_of(keys)
    if then and now - then:
        raise InputError(
            f"sensitive {name!r} held groups of type {' and '.join(sorted(then))} at fit and "
            f"holds type {' and '.join(sorted(now))} now; convert it to what it was at fit."
        )


def refuse_unseen(
    name: str, codes: NDArray[np.int64], keys: tuple[Key, ...], known: tuple[Key, ...]
) -> None:
    if not codes.size:
        return
    labels = sorted({str(keys[code][1]) for code in np.unique(codes).tolist()})
    raise InputError(
        f"sensitive {name!r} has {codes.size} row(s) of group(s) that did not occur at fit: "
        f"{', '.join(map(repr, labels[:10]))}; fit knew "
        f"{', '.join(map(repr, level_labels(known)[:20]))}. Correct the values, or let such rows "
        "be decided without their group by fitting with GroupPolicy(unseen='base_model') "
        "(--unseen-group base_model)."
    )


def group_systems(
    names: tuple[str, ...],
    table: NDArray[np.int64],
    levels: list[tuple[Key, ...]],
    missing_outside: bool,
    readings: tuple[Reading | None, ...],
) -> tuple[GroupSystem, ...]:
    """Return one grouping per column, then the intersection of the categorical ones."""
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


MissingPolicy = Literal["error", "own_group", "exclude"]
UnseenPolicy = Literal["error", "base_model"]

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
    # how missing values are handled
    missing: MissingPolicy = "error"  # {"error", "own_group", "exclude"}
    named: bool = True  # whether the column names are the user's own
    # columns of X that the groups are taken from, empty when they are given separately
    sensitive_from_X: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # declared categories that do not occur, and units of numbers
    readings: tuple[Reading | None, ...] = ()  # for each column how its numbers become groups
    # groups excluded from constraints because of too few rows, fixed before the search
    small_groups: tuple[SmallGroups, ...] = ()
    # whether the rows of the other groups are enough to judge each bound
    judgeability: tuple[Judgeability, ...] = ()

    @property
    def headlines(self) -> tuple[str, ...]:
        """Bounds that cannot be judged, and groups excluded from a bound."""
        return group_headlines(self.small_groups, self.judgeability)

    @property
    def judged(self) -> bool:
        """Whether the rows are enough to judge every bound."""
        judgeable = all(one.judged for one in self.judgeability)
        return judgeable and all(one.judged for one in self.small_groups)

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
        known = [keys.index(MISSING) if MISSING in keys else ABSENT for keys in self.levels]
        return levels == np.array(known)

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
        codes = recode(raw, keys, known, unknown=UNSEEN)
        absent = codes == -1
        if unseen == "error":
            if self.missing == "error":
                refuse_missing(name, int(absent.sum()))
            refuse_unseen(name, raw[codes == UNSEEN], keys, known)
        unknown = ABSENT if self.missing == "exclude" else UNSEEN
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
        numbers = {at: numbers_of(self.levels[at]) for at in scaled}
        ids = row_ids(codes)
        first = np.unique(ids, return_index=True)[1]
        found = [nearest_cell(known, row, numbers) for row in codes[first]]
        return np.array(found, dtype=np.int32)[ids]

    def _unseen_combination(self, levels: NDArray[np.int64], unknown: NDArray[np.bool_]) -> str:
        rows = np.flatnonzero(unknown)
        parts = []
        for known, code in zip(self.levels, levels[rows[0]].tolist(), strict=True):
            parts.append("(missing)" if code < 0 else level_labels(known)[code])
        return (
            f"sensitive: {len(rows)} row(s) have a combination of {' & '.join(self.columns)} that "
            f"did not occur at fit, for example {join_labels(tuple(parts))!r}. Leave those rows "
            "out, or let them be decided without their group by fitting with "
            "GroupPolicy(unseen='base_model') (--unseen-group base_model)."
        )


def fit_groups(
    sensitive: Any,
    *,
    n_rows: int,
    missing: MissingPolicy = "error",
    max_groups: int = 50,
    numbers: NumberPolicy = _AS_GIVEN,
    normalize: bool = False,
) -> tuple[GroupSchema, NDArray[np.int32]]:
    """Learn the groups of the sensitive columns."""
    if missing not in ("error", "own_group", "exclude"):
        raise InputError(
            f"sensitive_missing must be one of 'error', 'own_group', 'exclude', found {missing!r}."
        )
    found = read_sensitive(sensitive)
    if found.n_rows != n_rows:
        raise InputError(
            f"Found input variables with inconsistent numbers of samples: [{n_rows}, "
            f"{found.n_rows}]: sensitive has {found.n_rows} rows and X has {n_rows}. Give one "
            "group per row of X."
        )
    names = tuple(found.columns)
    numbers.check_names(names)
    readings = tuple(numbers.reading(name, found.columns[name]) for name in names)
    encoded: list[NDArray[np.int64]] = []
    levels: list[tuple[Key, ...]] = []
    said: list[str] = []
    for (name, values), reading in zip(found.columns.items(), readings, strict=True):
        read = values if reading is None else reading.read(values)
        if normalize and reading is None:
            read, notes = merge_spellings(f"sensitive {name!r}", read)
            said.extend(notes)
        most = None if isinstance(reading, Scale) else max_groups
        codes, keys = _fit_column(name, read, missing, most)
        said.extend(placeholder_notes(name, codes, keys))
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
            *said,
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
    by_name = {name: (table[:, at], levels[at]) for at, name in enumerate(names)}
    overlapping = (
        _overlapping_system(name, {column: by_name[column] for column in columns}, missing_outside)
        for name, columns in found.overlaps.items()
    )
    return (*systems, *overlapping)


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
        f"constraint='gedi[{name}] <= 0.1', or cut it into bins: GroupPolicy(bins={{{name!r}: "
        f"'quantiles'}}) or cuts such as [25, 60] (--bins {name}:25,60; pandas.cut does it too), "
        f"or raise GroupPolicy(max_groups=) (--max-groups)."
    )


def _matching(schema: GroupSchema, found: SensitiveColumns) -> "Mapping[str, pd.Series[Any]]":
    """Return the new columns under the names of fit."""
    if schema.named and found.named:
        lacking = [name for name in schema.columns if name not in found.columns]
        if lacking:
            raise InputError(
                f"sensitive lacks the column(s) {lacking} that fit was given; it has "
                f"{list(found.columns)[:20]}. Give the same columns, in any order."
            )
        return found.columns
    if len(found.columns) != len(schema.columns):
        raise InputError(
            f"sensitive has {len(found.columns)} column(s) and had {len(schema.columns)} at fit: "
            f"{list(schema.columns)}. Give the same columns, in the same order."
        )
    return dict(zip(schema.columns, found.columns.values(), strict=True))


def _declared(name: str, values: "pd.Series[Any]") -> list[str]:
    if not isinstance(values.dtype, pd.CategoricalDtype):
        return []
    used = set(values.cat.codes.unique().tolist())
    unused = [level for code, level in enumerate(values.cat.categories) if code not in used]
    return [f"sensitive {name!r}: group {str(level)!r} declared, n=0" for level in unused]


def reveals_group(system: str, names: tuple[str, ...]) -> str:
    """Return a note on the proxy features of a sensitive column."""
    return f"feature(s) {', '.join(map(repr, names))} of X give away sensitive {system!r}"


def group_notes(
    groups: GroupSchema | None, cells: NDArray[np.int32], aware: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """Return notes on proxy features, and on rows without a group."""
    if groups is None:
        return ()
    themselves = [name for name, features in aware.items() if features == (name,)]
    if groups.sensitive_from_X and themselves:
        names = ", ".join(map(repr, themselves))
        known: tuple[str, ...] = (f"sensitive column(s) {names} of X are also features",)
    else:
        known = tuple(reveals_group(system, names) for system, names in aware.items())
    return (*groups.notes, *known, *_outside(groups, cells))


def _outside(groups: GroupSchema, cells: NDArray[np.int32]) -> tuple[str, ...]:
    """Return a note on the rows excluded from constraints on a column."""
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
    group_of = np.full(int(ids.max()) + 1, UNSEEN, dtype=np.int64)
    group_of[ids[: schema.n_cells]] = system.of_cell
    found = group_of[ids[schema.n_cells :]]
    return np.where(schema.outside(levels)[:, columns].any(axis=1), -1, found)


def _columns_of(schema: GroupSchema, system: GroupSystem) -> list[int]:
    """Return the positions of the columns that define the group."""
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
