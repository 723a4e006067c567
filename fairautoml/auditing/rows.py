"""Validate and encode the input of an audit: labels, decisions, scores and groups."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data.columns import encode_levels, key_of
from fairautoml.data.frames import as_series, check_length, read_weights, unlike_indices
from fairautoml.data.groups import MissingPolicy, fit_groups
from fairautoml.data.spelling import refuse_spellings
from fairautoml.data.target import encode_target, plain_labels
from fairautoml.exceptions import InputError
from fairautoml.metrics.groups import GroupSystem

MOST_SHOWN = 6
"""Largest number of labels that a message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Unchecked arguments of ``audit`` with one value per row."""

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
    """Options for reading rows."""

    pos_label: Any = None  # the favorable label; None = the last one in sorted order
    # as in ``FairAutoML``
    sensitive_missing: MissingPolicy = "error"  # {"error", "own_group", "exclude"}
    max_groups: int = 50  # largest number of groups of one sensitive column


def read_rows(given: Given, options: AuditReadOptions) -> AuditRows:
    """Validate and encode the rows of an audit."""
    _check_indices(given)
    labels = _labels(given)
    first = next(iter(labels))
    n_rows = len(labels[first])
    if n_rows == 0:
        raise InputError(f"{first} has no rows. Pass at least one row.")
    for name, values in labels.items():
        _check_rows(n_rows, values, name)
    codes, classes = _encoded(labels, options.pos_label)
    if given.sensitive is None:
        msg = "sensitive is None, but an audit compares groups. Pass one group per row."
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
                f"sensitive[{system.name!r}] is a table of groups that may overlap, but an audit "
                "requires one group per row. Pass each indicator as a separate sensitive column."
            )
            raise InputError(msg)


def _check_indices(given: Given) -> None:
    """Raise if the indices of pandas inputs differ."""
    found = unlike_indices({field.name: getattr(given, field.name) for field in fields(given)})
    if found:
        msg = (
            f"{found}. Use reset_index(drop=True) if they are in the same order, otherwise align "
            "them with b.loc[a.index]."
        )
        raise InputError(msg)


def _check_rows(n_rows: int, values: Any, argument: str) -> None:
    found = len(values)
    if found != n_rows:
        msg = (
            f"{argument} has {found} rows and y_true has {n_rows}. Pass one value per row, in the "
            "same order."
        )
        raise InputError(msg)


def _labels(given: Given) -> dict[str, NDArray[Any]]:
    found = {"y_true": given.y_true, "y_pred": given.y_pred, "baseline": given.baseline}
    labels = {}
    for name, values in found.items():
        if values is None and name == "y_pred":
            raise InputError("y_pred is None. Pass one decision per row.")
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
                "allowed are the two labels. Pass probabilities as y_score and decisions, such as "
                "y_score >= 0.5, as y_pred."
            )
            raise InputError(msg)


def _encoded(
    labels: dict[str, NDArray[Any]], pos_label: Any
) -> tuple[dict[str, NDArray[np.int8]], NDArray[Any]]:
    """Return all label columns encoded as 0 and 1, and the two classes."""
    pooled = np.concatenate(list(_same_kind(labels).values()))
    rows, keys = encode_levels(pd.Series(pooled, dtype=object), "y_pred")
    refuse_spellings(" and ".join(labels), rows, keys)
    if len(keys) > 2:
        shown = "; ".join(f"{name} has {_listed(values)}" for name, values in labels.items())
        msg = (
            f"{shown}: {len(keys)} labels in all, allowed are two. Write the labels in the same "
            "way in all columns (1 and '1' are two labels), or choose one as positive: y == label."
        )
        raise InputError(msg)
    if len(keys) == 1 and "y_true" not in labels:
        msg = (
            f"y_pred holds one label only: {_listed(pooled)}. Without true labels (y_true, "
            "--y-true) rows of both decisions are needed to identify the positive label."
        )
        raise InputError(msg)
    codes, classes = encode_target(pooled, pos_label=pos_label)
    ends = np.cumsum([len(values) for values in labels.values()])[:-1]
    return dict(zip(labels, np.split(codes, ends), strict=True)), classes


def _same_kind(labels: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Convert bools to 1 and 0 if another column has numbers, as with ``score > 0.5``."""
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
        msg = f"y_score must hold numbers: {error}. Pass one score of the positive class per row."
        raise InputError(msg) from error
    bad = int((~np.isfinite(score)).sum())
    if bad:
        msg = (
            f"y_score has {bad} value(s) that are missing or infinite. Pass one finite number per "
            "row, larger for the positive class."
        )
        raise InputError(msg)
    return score
