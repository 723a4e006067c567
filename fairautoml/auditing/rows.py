"""The border of an audit: decisions, labels, scores and groups that others made."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data.columns import encode_levels, key_of, refuse_spellings
from fairautoml.data.dataset import GroupSystem
from fairautoml.data.frames import as_series, check_length, read_weights, unlike_indices
from fairautoml.data.groups import MissingPolicy, fit_groups
from fairautoml.data.target import encode_target, plain_labels
from fairautoml.exceptions import InputError

MOST_SHOWN = 6
"""Labels that a message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the user gave, one value per row each."""

    y_true: Any  # shape (n_rows,): True labels
    y_pred: Any  # shape (n_rows,): two labels in all
    sensitive: Any  # as in ``fit``
    # scores of the positive class, weights, decisions of the unconstrained model
    y_score: Any = None
    sample_weight: Any = None
    baseline: Any = None
    X: Any = None  # features; of them only the index is checked here


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AuditRows:
    """Checked rows."""

    y: NDArray[np.int8] | None  # shape (n_rows,): True labels, 0 or 1
    decision: NDArray[np.int8]  # shape (n_rows,): decisions, 0 or 1
    baseline: NDArray[np.int8] | None  # shape (n_rows,): decisions of the model to compare with
    score: NDArray[np.float64] | None  # shape (n_rows,): larger for the positive class
    weight: NDArray[np.float64] | None  # shape (n_rows,): sample weights
    cells: NDArray[np.int32]  # shape (n_rows,): finest group cells
    n_cells: int  # number of cells
    systems: tuple[GroupSystem, ...]  # one per sensitive column, then their intersection
    classes: NDArray[Any]  # shape (2,): the user's labels of 0 and 1
    columns: tuple[str, ...]  # names of the sensitive columns
    notes: tuple[str, ...] = ()  # about groups that are declared and do not occur

    def codes(self, system: GroupSystem) -> NDArray[np.int64]:
        """Return the group of each row in a system, -1 = outside."""
        return system.of_cell[self.cells].astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReadOptions:
    """How strictly rows are read."""

    pos_label: Any = None  # the label that people want; None = the one that is sorted last
    # as in ``FairAutoML``
    sensitive_missing: MissingPolicy = "error"  # {"error", "own_group", "exclude"}
    max_groups: int = 50  # most groups of one sensitive column


def read_rows(given: Given, options: AuditReadOptions) -> AuditRows:
    """Check and encode everything that an audit is given per row."""
    _check_indices(given)
    labels = _labels(given)
    first = next(iter(labels))
    n_rows = len(labels[first])
    if n_rows == 0:
        raise InputError(f"{first} has no rows; give at least one row to audit")
    for name, values in labels.items():
        _check_rows(n_rows, values, name)
    codes, classes = _encoded(labels, options.pos_label)
    if given.sensitive is None:
        msg = "sensitive is None; an audit compares groups: give one group per row"
        raise InputError(msg)
    schema, cells = fit_groups(
        given.sensitive,
        n_rows=n_rows,
        missing=options.sensitive_missing,
        max_groups=options.max_groups,
    )
    _refuse_overlaps(schema.systems)
    weight = None if given.sample_weight is None else read_weights(given.sample_weight, n_rows)
    return AuditRows(
        y=codes.get("y_true"),
        decision=codes["y_pred"],
        baseline=codes.get("baseline"),
        score=None if given.y_score is None else _scores(given.y_score, n_rows),
        weight=weight,
        cells=cells,
        n_cells=schema.n_cells,
        systems=schema.systems,
        classes=classes,
        columns=schema.columns,
        notes=schema.notes,
    )


def _refuse_overlaps(systems: tuple[GroupSystem, ...]) -> None:
    for system in systems:
        if system.overlapping:
            msg = (
                f"sensitive[{system.name!r}] is a table of groups that may overlap, and in an "
                "audit everybody has one group of each; give the indicators as columns of their "
                "own"
            )
            raise InputError(msg)


def _check_indices(given: Given) -> None:
    """Refuse pandas inputs whose indices speak of different rows."""
    found = unlike_indices({field.name: getattr(given, field.name) for field in fields(given)})
    if found:
        msg = (
            f"{found}. Use reset_index(drop=True) if they are in the same order, else bring one "
            "into the order of the other: b.loc[a.index]"
        )
        raise InputError(msg)


def _check_rows(n_rows: int, values: Any, argument: str) -> None:
    found = len(values)
    if found != n_rows:
        msg = (
            f"{argument} has {found} rows and y_true has {n_rows}; give one value per row, in the "
            "same order"
        )
        raise InputError(msg)


def _labels(given: Given) -> dict[str, NDArray[Any]]:
    found = {"y_true": given.y_true, "y_pred": given.y_pred, "baseline": given.baseline}
    labels = {}
    for name, values in found.items():
        if values is None and name == "y_pred":
            raise InputError("y_pred is None; give one decision per row")
        if values is None:
            continue
        try:
            labels[name] = plain_labels(values)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
    _refuse_probabilities(labels)
    return labels


def _refuse_probabilities(labels: dict[str, NDArray[Any]]) -> None:
    for name, values in labels.items():
        parts = [v for v in values.tolist() if isinstance(v, float) and not v.is_integer()]
        if parts:
            msg = (
                f"{name} holds {len(parts)} number(s) with fractions, such as {parts[0]!r}; "
                "allowed are the two labels. Give probabilities as y_score and the decisions made "
                "from them, such as y_score >= 0.5, as y_pred"
            )
            raise InputError(msg)


def _encoded(
    labels: dict[str, NDArray[Any]], pos_label: Any
) -> tuple[dict[str, NDArray[np.int8]], NDArray[Any]]:
    """Return all label columns as 0 and 1 by one and the same pair of classes."""
    pooled = np.concatenate(list(_same_kind(labels).values()))
    rows, keys = encode_levels(pd.Series(pooled, dtype=object), "y_pred")
    refuse_spellings(" and ".join(labels), rows, keys)
    if len(keys) > 2:
        shown = "; ".join(f"{name} has {_listed(values)}" for name, values in labels.items())
        msg = (
            f"{shown}: {len(keys)} labels in all, allowed are two. Write the labels in the same "
            "way in all columns (1 and '1' are two labels), or choose one as positive: y == label"
        )
        raise InputError(msg)
    if len(keys) == 1 and "y_true" not in labels:
        msg = (
            f"y_pred holds one label only: {_listed(pooled)}. Without true labels (y_true, "
            "--y-true) rows of both decisions are needed to tell which one is acceptance."
        )
        raise InputError(msg)
    codes, classes = encode_target(pooled, pos_label=pos_label)
    ends = np.cumsum([len(values) for values in labels.values()])[:-1]
    return dict(zip(labels, np.split(codes, ends), strict=True)), classes


def _same_kind(labels: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Write True and False as 1 and 0 when some other column does; ``score > 0.5`` is common."""
    kinds = {name: {key_of(v)[0] for v in values.tolist()} for name, values in labels.items()}
    if set().union(*kinds.values()) != {"bool", "int"}:
        return labels
    return {
        name: np.array([int(value) for value in values.tolist()], dtype=object)
        for name, values in labels.items()
    }


def _listed(values: NDArray[Any]) -> str:
    keys = sorted({key_of(value) for value in values.tolist()})
    shown = ", ".join(repr(value) for _, value in keys[:MOST_SHOWN])
    return shown if len(keys) <= MOST_SHOWN else f"{shown}, ..."


def _scores(y_score: Any, n_rows: int) -> NDArray[np.float64]:
    values = as_series(y_score, "y_score")
    check_length(n_rows, values, "y_score")
    try:
        score = np.array(values.to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError) as error:
        msg = f"y_score must hold numbers: {error}. Give one score of the positive class per row."
        raise InputError(msg) from error
    bad = int((~np.isfinite(score)).sum())
    if bad:
        msg = (
            f"y_score has {bad} value(s) that are missing or infinite; give one finite number per "
            "row, larger for the positive class"
        )
        raise InputError(msg)
    return score
