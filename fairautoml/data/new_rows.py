"""New rows at predict: the same encoding as at fit, and their group cells; bare arrays."""

import difflib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data._frames import read_table
from fairautoml.data.columns import TableSchema
from fairautoml.data.groups import GroupSchema, UnseenPolicy
from fairautoml.exceptions import DegradedWarning, InputError, MissingSensitiveError, warn


def read_new_rows(
    X: Any,
    sensitive: Any,
    *,
    schema: TableSchema,
    groups: GroupSchema | None,
    unseen: UnseenPolicy,
    judged: bool = False,
    tell: bool = False,
) -> tuple[Any, NDArray[np.int32]]:
    """Return the encoded matrix and the finest cells of new rows."""
    matrix = schema.transform(X, tell=tell)
    if groups is None:
        return matrix, np.zeros(matrix.shape[0], dtype=np.int32)
    cells = groups.encode(sensitive_values(X, sensitive, groups, judged=judged), unseen=unseen)
    if len(cells) != matrix.shape[0]:
        msg = f"sensitive has {len(cells)} rows and X has {matrix.shape[0]}; give one per row of X"
        raise InputError(msg)
    if tell and not _names(sensitive, groups) and {*groups.sensitive_from_X} & {*schema.names}:
        _compare(X, groups, cells)
    return matrix, cells


def _compare(X: Any, groups: GroupSchema, cells: NDArray[np.int32]) -> None:
    """Warn of groups that are given and are not those of the columns that fit took them from."""
    table = read_table(X, allow_empty=True)
    if not table.named or not {*groups.sensitive_from_X} <= {*table.names}:
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
    """Return the sensitive values of new rows, from ``X`` where ``fit`` took them from there."""
    named = _names(sensitive, groups)
    values = _columns(X, named, judged=judged) if named else sensitive
    if values is None:
        raise MissingSensitiveError(_not_given(groups, judged=judged))
    return values


def _not_given(groups: GroupSchema, *, judged: bool) -> str:
    wanted = ", ".join(map(repr, groups.columns))
    if judged:
        return (
            f"evaluate needs the sensitive column(s) {wanted}, because fit was given groups and "
            "the gaps between them are judged: evaluate(X, y, sensitive). Without them, "
            "score(X, y) answers for a model that reads no groups."
        )
    return (
        f"predict needs the sensitive column(s) {wanted}, because the chosen classifier reads "
        "them: predict(X, sensitive). For a classifier that does not, fit with "
        "FairAutoML(sensitive_at_predict=False)."
    )


def _names(sensitive: Any, groups: GroupSchema) -> tuple[str, ...]:
    """Return the columns of X to take the groups from, none when values are given."""
    if sensitive is None:
        return groups.sensitive_from_X
    if isinstance(sensitive, str):
        return (sensitive,)
    named = isinstance(sensitive, list | tuple) and tuple(sensitive) == groups.sensitive_from_X
    return groups.sensitive_from_X if named else ()


def _columns(X: Any, names: tuple[str, ...], *, judged: bool) -> dict[str, Any]:
    table = read_table(X, allow_empty=True)
    at = {name: position for position, name in enumerate(table.names)}
    missing = [name for name in names if not table.named or name not in at]
    if missing or table.columns is None:
        near = difflib.get_close_matches(missing[0], table.names, n=3) if missing else []
        end = f"; did you mean {', '.join(map(repr, near))}?" if near else "."
        msg = (
            f"X has no column(s) {', '.join(map(repr, missing))} to read the groups from{end} "
            f"Give {'evaluate(X, y, sensitive)' if judged else 'predict(X, sensitive)'}, one "
            "value per row."
        )
        raise MissingSensitiveError(msg)
    return {name: table.columns[at[name]] for name in names}
