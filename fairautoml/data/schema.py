"""The schema of the features, and the roles of columns.

Category codes are defined once, from sorted typed values. Learners must not infer them from the
rows of a batch, as some would renumber the categories that are present.
"""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data.columns import (
    AS_GOOD_AS_UNIQUE,
    Column,
    Fitted,
    SparseColumns,
    are_whole_numbers,
    encode_column,
    few,
    fit_column,
    strange_values,
    texts_of,
    without_rare,
)
from fairautoml.data.dataset import FeatureSchema
from fairautoml.data.derive import parse_overlapping
from fairautoml.data.frames import Table, as_series, check_length, column_of, read_table
from fairautoml.data.groups import read_sensitive
from fairautoml.data.hints import text_hints
from fairautoml.data.options import ColumnOptions
from fairautoml.data.sensitive_numbers import kind_of, sparse_float32, to_float32
from fairautoml.data.spelling import spelling_hints
from fairautoml.data.texts import COMPONENTS, TextBlock, TextColumn, encode_text, fit_text, is_text
from fairautoml.data.written import best_date_form
from fairautoml.exceptions import DegradedWarning, InputError, ParameterError, warn
from fairautoml.registry import nearest


def read_guesses(proxies: Any, X: Any) -> "tuple[dict[str, pd.Series[Any]], tuple[str, ...]]":
    """Return the proxy columns by name, and which of them are columns of ``X``."""
    table = read_table(X)
    in_X = table.by_name
    names = _names(proxies, table.n_rows)
    lacking = [name for name in names if name not in in_X]
    if lacking:
        hint = nearest(lacking[0], in_X, f"X has {list(in_X)[:20]}.")
        raise InputError(
            f"proxies={proxies!r} must name columns of X; {hint} Give such names, or one label "
            "per row for each proxy"
        )
    columns = {name: in_X[name] for name in names} if names else _columns(proxies)
    for name, column in columns.items():
        check_length(table.n_rows, column, f"proxies[{name!r}]")
    plain = {name: column.reset_index(drop=True) for name, column in columns.items()}
    return plain, tuple(name for name in columns if name in in_X)


def read_truth(sensitive: Any, X: Any) -> Any:
    """Return the true groups of rows after a ``fit`` with proxies."""
    if isinstance(sensitive, str):
        return column_of(X, sensitive, "sensitive").array
    found = read_sensitive(sensitive).columns
    if len(found) != 1:
        raise InputError(
            f"sensitive has {len(found)} columns, {', '.join(map(repr, found))}, and proxies= "
            "guessed one attribute; give the true groups of that one"
        )
    return next(iter(found.values())).array


def _names(proxies: Any, n_rows: int) -> tuple[str, ...]:
    """Return the named columns of X, none if values are given."""
    if isinstance(proxies, str):
        return (proxies,)
    listed = isinstance(proxies, list | tuple) and 0 < len(proxies) != n_rows
    return tuple(proxies) if listed and all(isinstance(name, str) for name in proxies) else ()


def _columns(proxies: Any) -> "dict[str, pd.Series[Any]]":
    listed = isinstance(proxies, list | tuple) and len(proxies) <= 3
    if listed and all(not np.isscalar(column) and column is not None for column in proxies):
        series = [as_series(column, "proxies") for column in proxies]
        names = [f"proxy_{at}" if s.name is None else str(s.name) for at, s in enumerate(series)]
        if len(set(names)) < len(names):
            raise InputError(f"proxies: two columns have one name, {names}; rename one of them")
        return dict(zip(names, series, strict=True))
    found = read_sensitive(proxies)
    if found.named:
        return found.columns
    return {f"proxy_{at}": column for at, column in enumerate(found.columns.values())}


_AS_FOUND = ColumnOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSchema:
    """Encoding of a table as the float32 matrix of the learners; plain data."""

    columns: Sequence[Column]  # the kept features, in the order of the matrix
    names_in: Sequence[str]  # all columns of the table given to ``fit``
    named: bool  # whether those names are the user's own
    sparse: bool = False  # the table was a sparse matrix
    notes: tuple[str, ...] = ()  # which columns were dropped, and why
    texts: tuple[TextColumn, ...] = ()  # free text, whose terms are at the end of the matrix
    options: ColumnOptions = _AS_FOUND  # options of the user

    @property
    def names(self) -> tuple[str, ...]:
        """Original names of the kept features; the parts of a date share theirs."""
        return tuple(column.name for column in self.columns)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the kept features, each once."""
        return tuple(column.label for column in self.columns)

    @property
    def width(self) -> int:
        """Number of columns of the matrix."""
        return len(self.columns) + sum(text.width for text in self.texts)

    @property
    def names_read(self) -> tuple[str, ...]:
        """Names of the columns of the table that are read."""
        return (*dict.fromkeys(self.names), *(text.name for text in self.texts))

    def described(self) -> pd.DataFrame:
        """Return kind and encoding of each column of the table, or why it is left out."""
        kept: dict[int, tuple[str, str]] = {
            position: (columns[0].kind, _encoding(columns))
            for position, columns in _by_position(self.columns)
        }
        said = f"TF-IDF of words, pairs of words and letters, {COMPONENTS} components at most"
        kept |= {text.position: ("text", said) for text in self.texts}
        rows = []
        for at, name in enumerate(self.names_in):
            kind, encoding = kept[at] if at in kept else ("left out", self._why_dropped(name))
            rows.append({"column": name, "kind": kind, "encoding": encoding})
        return pd.DataFrame(rows, columns=["column", "kind", "encoding"])

    def _why_dropped(self, name: str) -> str:
        start = _dropped(name, "")
        return next((note[len(start) :] for note in self.notes if note.startswith(start)), "")

    def places(self, kept: list[int]) -> list[int]:
        """Return the columns of the matrix of the kept features and of all texts."""
        return [*kept, *range(len(self.columns), self.width)]

    def places_without(self, names: Collection[str]) -> list[int]:
        """Return the columns of the matrix of the features not called ``names``."""
        places = [at for at, column in enumerate(self.columns) if column.name not in names]
        start = len(self.columns)
        for text in self.texts:
            if text.name not in names:
                places.extend(range(start, start + text.width))
            start += text.width
        return places

    @property
    def positions(self) -> NDArray[np.int64]:
        """Positions of the kept features in the table given to ``fit``."""
        if isinstance(self.columns, SparseColumns):
            return self.columns.positions
        read = [column.position for column in self.columns]
        return np.array([*read, *(text.position for text in self.texts)], dtype=np.int64)

    @property
    def feature_schema(self) -> FeatureSchema:
        """Feature schema of the matrix."""
        if self.sparse:
            return FeatureSchema(n_features=len(self.columns), sparse=True)
        categorical = tuple(at for at, c in enumerate(self.columns) if c.kind == "category")
        ends = np.cumsum([len(self.columns), *(text.width for text in self.texts)]).tolist()
        return FeatureSchema(
            n_features=len(self.columns),
            texts=tuple(
                TextBlock(start, start + text.width, len(text.terms))
                for start, text in zip(ends, self.texts, strict=False)
            ),
            categorical=categorical,
            cardinalities=tuple(len(self.columns[at].levels) for at in categorical),
            numbered=tuple(at for at in categorical if are_whole_numbers(self.columns[at].levels)),
        )

    def without(self, names: Collection[str], reason: str) -> "TableSchema":
        """Return the schema without the features called ``names``, and a note that says why."""
        columns = tuple(column for column in self.columns if column.name not in names)
        texts = tuple(text for text in self.texts if text.name not in names)
        notes = tuple(_dropped(name, reason) for name in self.names_read if name in names)
        if not columns and not texts:
            raise InputError(_nothing_left((*self.notes, *notes)))
        return replace(self, columns=columns, texts=texts, notes=(*self.notes, *notes))

    def transform(self, X: Any, *, warns: bool = False) -> Any:
        """Return a new table as the matrix that the learners were trained on.

        Columns are found by name; a table without names is read by position. A category that
        was not seen at ``fit`` is missing.
        """
        table = read_table(X, allow_empty=True)
        positions = _locate(self, table)
        if table.sparse and not self.sparse:
            raise InputError(
                "X is a sparse matrix but was a dense table at fit; a sparse matrix is never made "
                "dense silently. Give X.toarray()."
            )
        if self.sparse:
            return _sparse_matrix(self, table, positions)
        if table.n_rows == 0:
            # Columns without values have no types to compare: a CSV file of a header only.
            return np.empty((0, self.width), dtype=np.float32)
        matrix = _dense_matrix(self, table, positions)
        if warns:
            whole = table.matrix.T if table.columns is None else table.columns
            given = [whole[at] for at in positions[: len(self.columns)]]
            for text in strange_values(self.columns, given, matrix[:, : len(given)]):
                warn(text, DegradedWarning)
        return matrix


def fit_columns(
    table: Table, *, drop: Collection[str], options: ColumnOptions = _AS_FOUND
) -> tuple[TableSchema, Any]:
    """Learn the encoding of a table and apply it, in one pass.

    All-missing columns are dropped, with a warning; in tables with names constant columns too
    (an array is taken as it is, as scikit-learn does). Columns of a sparse matrix without a
    stored value are dropped, so that time and memory depend on the stored values only.
    """
    _check_drop(table, drop)
    options.check(table.names)
    drop = {*drop, *options.drop}
    schema = TableSchema(
        options=options,
        columns=(),
        names_in=table.names,
        named=table.named,
        sparse=table.sparse,
        notes=tuple(_dropped(n, "listed in drop") for n in table.names if n in drop)
        if drop
        else (),
    )
    if table.columns is None and len(options.named) > len(options.drop):
        msg = "ColumnOptions names columns of text, dates or categories, and X is all numbers"
        raise InputError(f"{msg}; give a DataFrame whose columns have the types that are meant.")
    if table.sparse:
        return _fit_sparse(schema, table, drop)
    wanted = [at for at, name in enumerate(table.names) if name not in drop]
    if not wanted:
        raise InputError(_nothing_left(schema.notes))
    if table.columns is None:
        return _fit_matrix(schema, table, wanted)
    return _fit_series(schema, table.columns, wanted)


def _check_drop(table: Table, drop: Collection[str]) -> None:
    unknown = sorted(set(drop) - set(table.names)) if drop else []
    if unknown:
        raise InputError(
            f"drop names columns that X does not have: {unknown}; X has "
            f"{', '.join(map(repr, table.names[:20]))}."
        )


def _fit_matrix(schema: TableSchema, table: Table, wanted: list[int]) -> tuple[TableSchema, Any]:
    columns = tuple(Column(name=table.names[at], position=at, kind="number") for at in wanted)
    schema = replace(schema, columns=columns)
    matrix = _from_matrix(schema, table.matrix, wanted)
    at_first = np.flatnonzero(np.isnan(matrix[0])).tolist()
    empty = [at for at in at_first if np.isnan(matrix[:, at]).all()]
    return _keep(schema, matrix, dict.fromkeys(empty, _EMPTY))


def _fit_sparse(
    schema: TableSchema, table: Table, drop: Collection[str]
) -> tuple[TableSchema, Any]:
    n_columns = len(table.names)
    matrix = sparse_float32(table.matrix, table.names)
    stored = np.bincount(matrix.indices, minlength=n_columns) > 0
    stored[[table.names.index(name) for name in drop]] = False
    kept = np.flatnonzero(stored)
    notes = schema.notes
    if left_out := n_columns - len(kept) - len({*drop}):
        empty = f"{left_out:,} of {n_columns:,} columns of the sparse X"
        notes = (*notes, f"{empty} are not used: no row has a value in them")
    if not len(kept):
        raise InputError(_nothing_left(notes))
    schema = replace(schema, columns=SparseColumns(kept), notes=notes)
    return schema, matrix if len(kept) == n_columns else matrix[:, kept]


def _fit_series(
    schema: TableSchema, series: "tuple[pd.Series[Any], ...]", wanted: list[int]
) -> tuple[TableSchema, NDArray[np.float32]]:
    series = tuple(
        values.astype("category") if name in schema.options.categories else values
        for name, values in zip(schema.names_in, series, strict=True)
    )
    schema, blocks = _fit_texts(schema, series, wanted)
    read = {text.position for text in schema.texts}
    wanted = [at for at in wanted if at not in read]
    fitted = [_fit_one(schema, position, series[position]) for position in wanted]
    columns = tuple(column for one in fitted for column in one.columns)
    parts = [values[:, None] for one in fitted for values in one.values]
    reasons = {}
    for at, (column, values) in enumerate(zip(columns, parts, strict=True)):
        constant = schema.named and column.part in ("", "days")
        reason = _useless(values, constant=constant) or _identifying(column, values)
        if reason:
            reasons[at] = reason
    matrix = np.concatenate((*parts, *blocks), axis=1)
    of_position = [series[column.position] for column in columns]
    doubts = [one.doubt for one in fitted for _ in one.columns]
    hints = text_hints(columns, of_position, matrix[:, : len(columns)], doubts)
    schema = replace(_noted(schema, hints, *_notes_on_written(columns)), columns=columns)
    return _keep(schema, matrix, reasons)


def _fit_one(schema: TableSchema, position: int, values: "pd.Series[Any]") -> Fitted:
    name, form = schema.names_in[position], None
    if name in schema.options.dates and kind_of(values, name) in ("category", "number"):
        form = schema.options.format_of(name) or _date_form(name, values)
    fitted = fit_column(name, position, values, form)
    if form is not None and np.isnan(fitted.values[0]).all() and values.notna().any():
        raise InputError(_no_dates(name, values, form))
    return fitted


def _date_form(name: str, values: "pd.Series[Any]") -> str:
    """Return the form of dates as text that the user calls dates."""
    form = best_date_form([*dict.fromkeys(texts_of(values[values.notna()]).tolist())])
    if not form:
        raise InputError(_no_dates(name, values, form))
    if form == "?":
        raise InputError(
            f"ColumnOptions.dates names {name!r}, in which the day or the month could come first; "
            f"give its format, {{{name!r}: '%d/%m/%Y'}} or {{{name!r}: '%m/%d/%Y'}}."
        )
    return form


def _no_dates(name: str, values: "pd.Series[Any]", form: str) -> str:
    example = next(iter(values.dropna().tolist()), None)
    wanted = f"of the format {form!r}" if form else "in a known form, such as 2024-12-31"
    return (
        f"ColumnOptions.dates names {name!r}, which has no date {wanted}; its first value is "
        f"{example!r}. Give its format, such as {{{name!r}: '%d.%m.%y'}}, or leave it out."
    )


def _notes_on_written(columns: Sequence[Column]) -> tuple[str, ...]:
    """Return a note on texts that are read as dates or numbers."""
    found = {
        column.name: f"{column.name!r} ({_NAMED[column.kind]}{column.shown_form})"
        for column in columns
        if column.form
    }
    if not found:
        return ()
    return (
        f"columns of X are text and are read as what they hold: {few([*found.values()])}; new "
        "values in another form are missing. ColumnOptions(categories=...) (--categories) reads "
        "them as categories",
    )


_NAMED = {"datetime": "dates", "number": "numbers"}


def _by_position(columns: Sequence[Column]) -> "list[tuple[int, list[Column]]]":
    """Return the features of each column of the table; those of one are neighbours."""
    found = itertools.groupby(columns, key=lambda column: column.position)
    return [(position, list(group)) for position, group in found]


def _encoding(columns: Sequence[Column]) -> str:
    column = columns[0]
    said = f"text read as {_NAMED[column.kind]}{column.shown_form}" if column.form else ""
    if column.kind == "datetime":
        parts = ", ".join(one.part or "days" for one in columns)
        return f"{said}: {parts}" if said else parts
    return said or _ENCODED[column.kind]


def _fit_texts(
    schema: TableSchema, series: "tuple[pd.Series[Any], ...]", wanted: list[int]
) -> tuple[TableSchema, list[NDArray[np.float32]]]:
    """Find the columns of free text, and return them and their terms."""
    texts, blocks = [], []
    for at in wanted:
        name, values = schema.names_in[at], series[at]
        named = name in schema.options.text
        if kind_of(values, name) != "category":
            if named:
                raise InputError(_no_text(name, values))
            continue
        if named or (name not in schema.options.dates and is_text(values)):
            found = fit_text(name, at, values)
            if found is not None:
                texts.append(found[0])
                blocks.append(found[1])
            elif named:
                raise InputError(_no_text(name, values))
    return replace(schema, texts=tuple(texts)), blocks


def _no_text(name: str, values: "pd.Series[Any]") -> str:
    example = next(iter(values.dropna().tolist()), None)
    return (
        f"ColumnOptions.text names {name!r}, which has no word that occurs in two rows; its first "
        f"value is {example!r}. Leave it out of text=."
    )


def forget_rare(schema: TableSchema, matrix: Any) -> tuple[TableSchema, Any]:
    """Drop the categories of too few rows, and columns that have no other ones."""
    categorical = schema.feature_schema.categorical
    if not categorical:
        return schema, matrix
    columns, reasons = list(schema.columns), {}
    for at in categorical:
        columns[at], matrix[:, at] = without_rare(columns[at], matrix[:, at])
        if not columns[at].levels:
            reasons[at] = _RARE
    # After the rare ones are gone, so that no note holds a value of one row.
    schema = _noted(schema, [(hint, hint) for hint in spelling_hints(columns)])
    return _keep(replace(schema, columns=tuple(columns)), matrix, reasons)


def _noted(schema: TableSchema, hints: Sequence[tuple[str, str]], *further: str) -> TableSchema:
    """Warn about and note text columns that were likely not meant as categories."""
    for hint, _ in hints:
        warn(hint, DegradedWarning)
    return replace(schema, notes=(*schema.notes, *(note for _, note in hints), *further))


_ENCODED = {
    "number": "as it is",
    "category": "codes, target means or categories of the learner, as the search chooses",
    "timedelta": "days",
}
"""Encoding of a column of each kind, as it is described."""

_EMPTY = "all values are missing"
_CONSTANT = "all values are equal"
_RARE = "no category occurs in two rows"


def _useless(values: NDArray[np.float32], *, constant: bool) -> str:
    missing = np.isnan(values)
    if missing.all():
        return _EMPTY
    if constant and not missing.any() and values.min() == values.max():
        return _CONSTANT
    return ""


FEWEST_ROWS = 50
"""Rows from which a column of categories without repetition is an identifier."""


def _identifying(column: Column, values: NDArray[np.float32]) -> str:
    """Return that nearly every row has a category of its own, or an empty string."""
    n_rows = int(np.count_nonzero(~np.isnan(values)))
    n_levels = len(column.levels) if column.kind == "category" else 0
    if n_rows < FEWEST_ROWS or n_levels < AS_GOOD_AS_UNIQUE * n_rows:
        return ""
    return (
        f"{n_levels:,} different values in {n_rows:,} rows, such as an identifier has "
        "(ColumnOptions(text=...), --text, keeps its words)"
    )


def _keep(
    schema: TableSchema, matrix: NDArray[np.float32], reasons: dict[int, str]
) -> tuple[TableSchema, NDArray[np.float32]]:
    """Drop the columns at the positions in ``reasons``."""
    if not reasons:
        return schema, matrix
    names = schema.names
    notes = tuple(_dropped(names[at], reason) for at, reason in sorted(reasons.items()))
    kept = [at for at in range(len(names)) if at not in reasons]
    places = schema.places(kept)
    schema = replace(
        schema, columns=tuple(schema.columns[at] for at in kept), notes=(*schema.notes, *notes)
    )
    if not kept and not schema.texts:
        raise InputError(_nothing_left(schema.notes))
    empty = [names[at] for at, reason in reasons.items() if reason == _EMPTY]
    if empty:
        msg = f"columns of X without any value are not used: {', '.join(map(repr, empty))}"
        warn(msg, DegradedWarning)
    return schema, np.ascontiguousarray(matrix[:, places])


def _dropped(name: str, reason: str) -> str:
    return f"column {name!r} of X is not used: {reason}"


def _nothing_left(notes: tuple[str, ...]) -> str:
    shown = "; ".join(notes[:10])
    return f"X has no usable column left: {shown}. Give at least one column that varies."


def _dense_matrix(schema: TableSchema, table: Table, positions: list[int]) -> NDArray[np.float32]:
    if table.columns is None:
        return _from_matrix(schema, table.matrix, positions)
    result = _encoded(schema, [table.columns[at] for at in positions])
    of_texts = [table.columns[at] for at in positions[len(schema.columns) :]]
    texts = zip(schema.texts, of_texts, strict=True)
    return np.concatenate((result, *(encode_text(text, one) for text, one in texts)), axis=1)


def _encoded(schema: TableSchema, given: "Sequence[pd.Series[Any]]") -> NDArray[np.float32]:
    """Return the features of columns, given for each feature, in the order of the schema."""
    result = np.empty((len(given[0]), len(schema.columns)), dtype=np.float32)
    at = 0
    for _, columns in _by_position(schema.columns):
        for values in encode_column(columns, given[at]):
            result[:, at] = values
            at += 1
    return result


def _from_matrix(
    schema: TableSchema, matrix: NDArray[Any], positions: list[int]
) -> NDArray[np.float32]:
    if schema.texts:
        msg = f"column {schema.texts[0].name!r} of X held text at fit and X is all numbers now"
        raise InputError(f"{msg}; give the columns that fit was given.")
    if any(column.form or column.kind != "number" for column in schema.columns):
        # Categories of numbers or booleans in a plain array.
        return _encoded(schema, [pd.Series(matrix[:, position]) for position in positions])
    taken = matrix if positions == list(range(matrix.shape[1])) else matrix[:, positions]
    return to_float32(taken, schema.names)


def _sparse_matrix(schema: TableSchema, table: Table, positions: Any) -> Any:
    if table.columns is not None:
        columns = zip(schema.columns, positions, strict=True)
        dense = [encode_column([c], table.columns[at])[0] for c, at in columns]
        return sparse_float32(np.column_stack(dense), schema.names)
    matrix = sparse_float32(table.matrix, table.names)
    return matrix if len(positions) == matrix.shape[1] else matrix[:, positions]


def _locate(schema: TableSchema, table: Table) -> Any:
    """Return the position in ``table`` of each kept feature."""
    if schema.named and table.named:
        return _locate_by_name(schema, table)
    if len(table.names) != len(schema.names_in):
        raise InputError(
            f"X has {len(table.names)} features, but FairAutoML is expecting "
            f"{len(schema.names_in)} features as input; give the columns that fit was given."
        )
    if schema.named != table.named:
        then, now = ("names", "none") if schema.named else ("no names", "names")
        msg = f"X had column {then} at fit and has {now} now; its columns are read by position"
        warn(msg, DegradedWarning)
    return schema.positions if schema.sparse else schema.positions.tolist()


def _locate_by_name(schema: TableSchema, table: Table) -> list[int]:
    at = {name: position for position, name in enumerate(table.names)}
    missing = [name for name in schema.names_read if name not in at]
    if missing:
        raise InputError(
            f"X lacks {len(missing)} column(s) that fit was given: {missing[:20]}; it has "
            f"{list(table.names[:20])}. Give X with all columns of fit, in any order."
        )
    known = set(schema.names_in)
    extra = [name for name in table.names if name not in known]
    if extra:
        msg = f"columns of X that were not there at fit are ignored: {extra[:20]}"
        warn(msg, DegradedWarning)
    positions = [at[name] for name in (*schema.names, *(text.name for text in schema.texts))]
    then = schema.positions.argsort()
    if [positions[place] for place in then] != sorted(positions):
        msg = "the columns of X are in another order than at fit; they are reordered by name"
        warn(msg, DegradedWarning)
    return positions


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Roles of the columns as given by the user."""

    target: str | None  # column of the labels; None = as the named dataset has it
    sensitive: tuple[str, ...]  # sensitive columns
    drop: tuple[str, ...] = ()  # columns that are not features
    weight: str | None = None  # column of sample weights
    # derived columns and row filters, as in ``fairautoml.data.derive``
    derive: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    text: tuple[str, ...] = ()  # columns that held text in the table as it was read
    columns: ColumnOptions = _AS_FOUND  # options of the user
    # indicator columns of groups that may overlap, each such as ``"identity=black,muslim"``
    overlapping: tuple[str, ...] = ()
    # proxy columns of an unobserved group, not used as features
    proxies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [*self.sensitive, *(parse_overlapping(text)[0] for text in self.overlapping)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            msg = f"--sensitive, --overlapping: {twice[0]!r} is named twice; name it once"
            raise ParameterError(msg)

    @property
    def tables(self) -> dict[str, tuple[str, ...]]:
        """The indicator columns of groups that may overlap, by the name of their table."""
        return dict(parse_overlapping(text) for text in self.overlapping)

    @property
    def sensitive_columns(self) -> tuple[str, ...]:
        """All columns with group information, each once."""
        indicators = [column for columns in self.tables.values() for column in columns]
        return tuple(dict.fromkeys([*self.sensitive, *indicators]))

    def arranged(self, frame: pd.DataFrame) -> "pd.DataFrame | dict[str, Any]":
        """Return the sensitive columns of a table in the form that ``fit`` takes."""
        if not self.overlapping:
            return frame[list(self.sensitive)]
        tables = {name: frame[list(columns)] for name, columns in self.tables.items()}
        return {**{name: frame[name] for name in self.sensitive}, **tables}
