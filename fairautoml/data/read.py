"""Input validation, at ``fit`` and at prediction."""

from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse, vstack

from fairautoml.data.dataset import Dataset, task_of
from fairautoml.data.frames import (
    Inputs,
    Table,
    check_length,
    check_same_index,
    read_table,
    read_weights,
    unlike_indices,
)
from fairautoml.data.groups import (
    GroupSchema,
    MissingPolicy,
    UnseenPolicy,
    fit_groups,
    group_notes,
    reveals_group,
)
from fairautoml.data.leakage import Labelled, given_away, same_numbers, same_partition
from fairautoml.data.options import ColumnOptions
from fairautoml.data.schema import TableSchema, fit_columns, forget_rare
from fairautoml.data.sensitive_numbers import NumberPolicy
from fairautoml.data.target import (
    TaskOption,
    check_given,
    encode_target,
    known_labels,
    merge_labels,
    plain_numbers,
    positive_notes,
    read_numbers,
    warn_about_rare,
)
from fairautoml.exceptions import (
    DegenerateGroupError,
    DegradedWarning,
    InputError,
    MissingSensitiveError,
    warn,
)
from fairautoml.metrics import TaskName
from fairautoml.registry import nearest

MIN_CLASS_ROWS = 2
"""Fewest rows of a class: one for training and one for evaluation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How strictly input is read, from checked settings."""

    pos_label: Any = None  # the positive class; None = the label that is sorted last
    # missing sensitive values are refused, a group of their own, or outside the constraint
    sensitive_missing: MissingPolicy = "error"  # {"error", "own_group", "exclude"}
    # how features that are the sensitive attribute or a proxy of it are handled
    sensitive_in_X: Literal["warn", "drop", "allow"] = "warn"  # {"warn", "drop", "allow"}
    max_groups: int = 50  # most groups of one sensitive column, at least 1
    # sensitive columns that are cut into bands or taken as numbers
    numbers: NumberPolicy = field(default_factory=NumberPolicy)
    # what the target must be; ``"auto"`` = classes, two or more of them
    task: TaskOption = "auto"  # {"auto", "binary", "multiclass", "regression"}
    drop: tuple[str, ...] = ()  # columns of ``X`` that are not features
    normalize: bool = False  # whether spellings of one label or group are merged
    at_predict: bool = True  # whether new rows come with their groups
    # options of the columns of ``X``
    columns: ColumnOptions = field(default_factory=ColumnOptions)


_DEFAULTS = ReadOptions()


def build_dataset(
    X: Any,
    y: Any,
    sensitive: Any = None,
    sample_weight: Any = None,
    *,
    options: ReadOptions = _DEFAULTS,
) -> Dataset:
    """Validate and encode the inputs of ``fit``."""
    check_given(y)
    inputs = Inputs(X=X, y=y, sensitive=sensitive, sample_weight=sample_weight)
    check_same_index(inputs)
    inputs, merged = _with_merged_labels(inputs, options)
    table = read_table(inputs.X)
    labels, classes = _target(inputs.y, table, options)
    groups, cells = _groups(inputs.sensitive, table, options)
    # Normalize the weights: learners depend on their scale (least weight in a leaf).
    weight = _weights(inputs.sample_weight, labels, classes)
    weight /= weight.mean()
    _check_group_weights(weight, groups, cells)
    taken = () if groups is None else groups.sensitive_from_X
    kept = options.at_predict and options.sensitive_in_X != "drop"
    drop = options.drop if kept else (*options.drop, *taken)
    schema, matrix = fit_columns(table, drop=drop, options=options.columns)
    options.columns.check_blocks(table.names, {*drop, *taken})
    _refuse_blocks_of(schema)
    aware: dict[str, tuple[str, ...]] = {n: (n,) for n in taken if n in schema.names}
    if groups is not None and not (taken and kept):
        values = inputs.sensitive if not taken else {name: table.by_name[name] for name in taken}
        given = Labelled(groups=groups, cells=cells, sensitive=values)
        schema, matrix, aware = _without_proxies(schema, matrix, given, options)
    _warn_about_target(schema, matrix, labels)
    schema, matrix = forget_rare(schema, matrix)
    return Dataset(
        X=matrix,
        y=labels,
        weight=weight,
        cells=cells,
        classes=classes,
        task=task_of(classes),
        schema=schema,
        groups=groups,
        notes=(
            *schema.notes,
            *merged,
            *positive_notes(classes.tolist(), options.pos_label),
            *group_notes(groups, cells, aware),
        ),
        sensitive_features=tuple(dict.fromkeys(chain.from_iterable(aware.values()))),
    )


def _refuse_blocks_of(schema: TableSchema) -> None:
    if schema.options.blocks and (schema.texts or schema.sparse):
        what = f"column {schema.texts[0].name!r} is free text" if schema.texts else "X is sparse"
        raise InputError(
            f"ColumnOptions.blocks: {what}, which has no blocks. Leave blocks out, or the text "
            "(drop=)."
        )


def _with_merged_labels(inputs: Inputs, options: ReadOptions) -> tuple[Inputs, tuple[str, ...]]:
    """Return the inputs with one spelling per label if requested, and a note per replacement."""
    if not options.normalize or options.task == "regression":
        return inputs, ()
    labels, notes = merge_labels(inputs.y)
    return replace(inputs, y=labels), notes


def _target(y: Any, table: Table, options: ReadOptions) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the target as learners read it, and the labels behind its codes."""
    check_length(table.n_rows, y, "y")
    if table.n_rows == 1:
        raise InputError(
            "X has 1 sample (n_samples = 1); at least "
            f"{2 * MIN_CLASS_ROWS} are required, {MIN_CLASS_ROWS} of each class. Give more rows."
        )
    if options.task == "regression":
        return read_numbers(y), np.empty(0)
    labels, classes = encode_target(y, pos_label=options.pos_label, task=options.task)
    counts = np.bincount(labels, minlength=2)
    if len(classes) > 2:
        warn_about_rare(classes, counts, MIN_CLASS_ROWS)
        return labels, classes
    for label, count in zip(classes.tolist(), counts, strict=True):
        if count < MIN_CLASS_ROWS:
            raise InputError(
                f"y has {count} row of class {label!r}; at least {MIN_CLASS_ROWS} rows of each "
                "class are required. Give more rows of it."
            )
    return labels, classes


def _groups(
    sensitive: Any, table: Table, options: ReadOptions
) -> tuple[GroupSchema | None, NDArray[np.int32]]:
    if sensitive is None:
        return None, np.zeros(table.n_rows, dtype=np.int32)
    names = _names_of_columns(sensitive, table)
    if names:
        columns = table.by_name
        sensitive = {name: columns[name] for name in names}
    schema, cells = fit_groups(
        sensitive,
        n_rows=table.n_rows,
        missing=options.sensitive_missing,
        max_groups=options.max_groups,
        numbers=options.numbers,
        normalize=options.normalize,
    )
    return replace(schema, sensitive_from_X=names), cells


def _names_of_columns(sensitive: Any, table: Table) -> tuple[str, ...]:
    """Return the columns of X that ``sensitive`` names, empty when it holds the values itself."""
    if isinstance(sensitive, str):
        names: tuple[str, ...] = (sensitive,)
    elif _looks_like_names(sensitive, table):
        names = tuple(sensitive)
    else:
        return ()
    known = list(table.by_name)
    unknown = [name for name in names if name not in known]
    if unknown or len(set(names)) < len(names):
        has = f"X has {known[:20]}." if known else "X has no column names."
        hint = nearest(unknown[0] if unknown else names[0], known, has)
        raise InputError(
            f"sensitive={sensitive!r} must name columns of X, each once; {hint} Give such names, "
            f"or one value per row ({table.n_rows})."
        )
    return names


def _looks_like_names(sensitive: Any, table: Table) -> bool:
    return (
        isinstance(sensitive, list | tuple)
        and 0 < len(sensitive) != table.n_rows
        and all(isinstance(name, str) for name in sensitive)
        and any(name in table.names for name in sensitive)
    )


def _weights(
    sample_weight: Any, labels: NDArray[Any], classes: NDArray[Any]
) -> NDArray[np.float64]:
    if sample_weight is None:
        return np.ones(len(labels))
    weight = read_weights(sample_weight, len(labels))
    if len(classes) == 0:
        return weight
    mass = np.bincount(labels, weights=weight, minlength=2)
    if not mass.all():
        label = classes.tolist()[int(mass.argmin())]
        left = int(np.count_nonzero(mass))
        raise InputError(
            f"sample_weight is zero for all rows of class {label!r}, which leaves {left} class"
            f"{'' if left == 1 else 'es'}; give rows of all classes a positive weight."
        )
    return weight


def _check_group_weights(
    weight: NDArray[np.float64], groups: GroupSchema | None, cells: NDArray[np.int32]
) -> None:
    if groups is None:
        return
    by_cell = np.bincount(cells, weights=weight, minlength=groups.n_cells)
    for system in groups.systems:
        if system.values is not None:
            continue
        mass = system.member @ by_cell
        empty = [system.labels[at] for at in np.flatnonzero(mass == 0).tolist()]
        if empty:
            raise DegenerateGroupError(
                f"sample_weight is zero for all rows of group(s) {', '.join(map(repr, empty))} of "
                f"{system.name!r}, so their rates are undefined. Give them a positive weight or "
                "drop their rows."
            )


def _without_proxies(
    schema: TableSchema, matrix: Any, given: Labelled, options: ReadOptions
) -> tuple[TableSchema, Any, dict[str, tuple[str, ...]]]:
    """Find features that are a sensitive column, and warn about them or drop them.

    The last value holds those that stay, by the column that they give away.
    """
    found = given_away(matrix, schema, given)
    if options.sensitive_in_X == "drop":
        for system, names in found.items():
            places = schema.places_without(names)
            schema = schema.without(names, f"it gives away sensitive {system!r}")
            matrix = matrix[:, places]
        return schema, matrix, {}
    if options.sensitive_in_X == "warn":
        for system, names in found.items():
            msg = (
                f"{reveals_group(system, names)}. Keep them with GroupPolicy(in_features='allow') "
                "or leave them out with GroupPolicy(in_features='drop') (--drop COLUMN)."
            )
            warn(msg, DegradedWarning)
    return schema, matrix, found


def _warn_about_target(schema: TableSchema, matrix: Any, labels: NDArray[Any]) -> None:
    if labels.dtype.kind == "f":
        names = same_numbers(matrix, schema, labels)
    else:
        names = same_partition(matrix, schema, labels, pure=False)
    if names:
        shown = ", ".join(map(repr, dict.fromkeys(names)))  # parts of a date share a name
        msg = (
            f"feature(s) {shown} of X are identical to y; if they are not "
            "known when decisions are made, remove them from X."
        )
        warn(msg, DegradedWarning)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetAndGroups:
    """Labels and groups of a table whose features are not read."""

    y: NDArray[Any]  # shape (n_rows,): target as ``Dataset`` has it
    task: TaskName  # {"binary", "multiclass", "regression"}: what kind of target it is
    groups: GroupSchema | None  # as ``Dataset`` has them
    cells: NDArray[np.int32]  # shape (n_rows,): finest cells


def read_roles(inputs: Inputs, options: ReadOptions = _DEFAULTS) -> TargetAndGroups:
    """Read labels and groups only, so that rows can be split before features are read."""
    check_given(inputs.y)
    inputs, _ = _with_merged_labels(inputs, options)
    table = read_table(inputs.X)
    labels, classes = _target(inputs.y, table, options)
    groups, cells = _groups(inputs.sensitive, table, options)
    return TargetAndGroups(y=labels, task=task_of(classes), groups=groups, cells=cells)


def read_new_rows(
    X: Any,
    sensitive: Any,
    *,
    schema: TableSchema,
    groups: GroupSchema | None,
    unseen: UnseenPolicy,
    judged: bool = False,
    warns: bool = False,
) -> tuple[Any, NDArray[np.int32]]:
    """Return the encoded matrix and the finest cells of new rows."""
    matrix = schema.transform(X, warns=warns)
    if groups is None:
        return matrix, np.zeros(matrix.shape[0], dtype=np.int32)
    cells = groups.encode(sensitive_values(X, sensitive, groups, judged=judged), unseen=unseen)
    if len(cells) != matrix.shape[0]:
        msg = f"sensitive has {len(cells)} rows and X has {matrix.shape[0]}; give one per row of X"
        raise InputError(msg)
    given_apart = not columns_of_groups(sensitive, groups)
    if warns and given_apart and {*groups.sensitive_from_X} & {*schema.names}:
        _compare(X, groups, cells)
    return matrix, cells


WITHOUT_X_VAL = {
    "groups": (
        "Leave groups out if no entity has rows in both X and X_val, or append the validation "
        "rows to X and give groups for all rows: folds then keep the rows of an entity together"
    ),
    "proxies": (
        "Append the validation rows to X and leave X_val out: rules are then fitted on folds of "
        "all rows"
    ),
}
"""Remedy where an argument of ``fit`` has no counterpart for validation rows."""


def validation_inputs(X: Any, y: Any, sensitive: Any, fitted: Inputs) -> Inputs | None:
    """Return ``X_val``, ``y_val`` and ``sensitive_val``, None without any.

    Raises
    ------
    InputError
        One of them is missing, their indices differ, or ``fit`` was given entities or proxies,
        which validation rows do not have.
    """
    given = {"X_val": X, "y_val": y, "sensitive_val": sensitive}
    named = [name for name, value in given.items() if value is not None]
    if not named:
        return None
    if X is None or y is None:
        lacking, verb = "X_val" if X is None else "y_val", "is" if len(named) == 1 else "are"
        raise InputError(
            f"{lacking} is missing, and {' and '.join(named)} {verb} given: validation rows need "
            "X_val, y_val and, with groups, sensitive_val. Give all of them, or none"
        )
    if sensitive is not None and fitted.sensitive is None:
        raise InputError("sensitive_val is given without sensitive; give both, or none")
    for name in ("groups", "proxies"):
        if getattr(fitted, name) is not None:
            raise InputError(f"{name}= cannot be given with X_val=. {WITHOUT_X_VAL[name]}")
    if found := unlike_indices(given):
        raise InputError(f"{found}. Use reset_index(drop=True) if they are in the same order")
    return Inputs(X=X, y=y, sensitive=sensitive)


def with_validation(dataset: Dataset, rows: Inputs) -> tuple[Dataset, Dataset]:
    """Return the validation rows, and all rows: those of ``dataset``, then these."""
    schema, groups = dataset.schema, dataset.groups
    if groups is not None and rows.sensitive is None and not groups.sensitive_from_X:
        raise MissingSensitiveError(
            f"sensitive_val is missing: sensitive= gives {', '.join(map(repr, groups.columns))} "
            "for X; give it for the rows of X_val, too"
        )
    try:
        matrix, cells = read_new_rows(
            rows.X, rows.sensitive, schema=schema, groups=groups, unseen="error", warns=True
        )
        check_length(len(cells), rows.y, "y")
        regression = dataset.task == "regression"
        labels = plain_numbers(rows.y) if regression else known_labels(rows.y, dataset.classes)
        if (cells < 0).any():
            raise InputError(f"{int((cells < 0).sum())} of them are in no group of X")
    except InputError as error:
        raise InputError(f"X_val, y_val, sensitive_val, the validation rows: {error}") from error
    if dataset.task == "binary":
        _check_both(labels, dataset.classes)
    n_rows = len(labels)
    note = (
        f"models are trained on the {dataset.n_rows:,} rows of X; thresholds, selection and all "
        f"figures are those of the {n_rows:,} rows of X_val"
    )
    held_out = replace(
        dataset,
        X=matrix,
        y=labels,
        weight=np.ones(n_rows),
        cells=cells,
        notes=(*dataset.notes, note),
    )
    stack: Any = partial(vstack, format="csr") if issparse(matrix) else np.concatenate
    return held_out, replace(
        dataset,
        X=stack([dataset.X, matrix]),
        y=np.concatenate([dataset.y, labels]),
        weight=np.concatenate([dataset.weight, held_out.weight]),
        cells=np.concatenate([dataset.cells, cells]),
    )


def _check_both(labels: NDArray[Any], classes: NDArray[Any]) -> None:
    for label, count in zip(classes.tolist(), np.bincount(labels, minlength=2), strict=True):
        if count < MIN_CLASS_ROWS:
            raise InputError(
                f"y_val has {count} row(s) of class {label!r}; at least {MIN_CLASS_ROWS} of each "
                "class are required. Give more validation rows"
            )


def _compare(X: Any, groups: GroupSchema, cells: NDArray[np.int32]) -> None:
    """Warn if the given groups differ from the columns that ``fit`` used."""
    if not {*groups.sensitive_from_X} <= {*read_table(X, allow_empty=True).by_name}:
        return
    columns = _columns(X, groups.sensitive_from_X, judged=False)
    there = groups.encode(columns, unseen="base_model")
    apart = (there != cells) & (there >= 0) & (cells >= 0)
    if not apart.any():
        return
    names = ", ".join(map(repr, groups.sensitive_from_X))
    msg = (
        f"sensitive and the column(s) {names} of X, from which fit took the groups, differ in "
        f"{int(apart.sum())} of {len(cells)} rows, first in row {int(apart.argmax())}: the rule "
        "reads sensitive and the models read the column(s). Leave sensitive out, or give the same "
        "values in both"
    )
    warn(msg, DegradedWarning)


def sensitive_values(X: Any, sensitive: Any, groups: GroupSchema, *, judged: bool = False) -> Any:
    """Return the sensitive values of new rows, from ``X`` if ``fit`` used its columns."""
    named = columns_of_groups(sensitive, groups)
    values = _columns(X, named, judged=judged) if named else sensitive
    if values is None:
        raise MissingSensitiveError(_not_given(groups, judged=judged))
    return values


def _not_given(groups: GroupSchema, *, judged: bool) -> str:
    wanted = ", ".join(map(repr, groups.columns))
    if judged:
        return (
            f"sensitive is None, and X does not supply the column(s) {wanted}: the gaps between "
            "these groups are to be measured. Give evaluate(X, y, sensitive) or "
            "certify(X, y, sensitive); score(X, y) needs no groups if the model reads none."
        )
    return (
        f"predict needs the sensitive column(s) {wanted}, because the chosen classifier reads "
        "them: predict(X, sensitive). For a classifier that does not, fit with "
        "FairAutoML(sensitive_at_predict=False)."
    )


def columns_of_groups(sensitive: Any, groups: GroupSchema) -> tuple[str, ...]:
    """Return the columns of X that hold the groups, none if values are given."""
    if sensitive is None:
        return groups.sensitive_from_X
    if isinstance(sensitive, str):
        return (sensitive,)
    listed = isinstance(sensitive, list | tuple) and all(isinstance(n, str) for n in sensitive)
    named = listed and tuple(sensitive) == groups.sensitive_from_X
    return groups.sensitive_from_X if named else ()


def _columns(X: Any, names: tuple[str, ...], *, judged: bool) -> dict[str, Any]:
    columns = read_table(X, allow_empty=True).by_name
    missing = [name for name in names if name not in columns]
    if missing:
        has = f"X has {list(columns)[:20]}." if columns else "X has no column names."
        hint = nearest(missing[0], columns, has)
        raise MissingSensitiveError(
            f"X has no column(s) {', '.join(map(repr, missing))} to read the groups from; {hint} "
            f"Give {'evaluate(X, y, sensitive)' if judged else 'predict(X, sensitive)'}, one "
            "value per row."
        )
    return {name: columns[name] for name in names}
