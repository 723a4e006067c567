"""Validate and encode the input of an audit: labels, decisions, scores and groups."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data.columns import encode_levels, level_arrays
from fairautoml.data.frames import as_series, read_weights, unlike_indices
from fairautoml.data.groups import GroupSchema, MissingPolicy, fit_groups, read_sensitive
from fairautoml.data.spelling import refuse_spellings
from fairautoml.data.target import encode_target, plain_labels
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.metrics.groups import GroupSystem
from fairautoml.metrics.selected import select_top_k
from fairautoml.parameters import check_integer
from fairautoml.runtime._groups import normalized
from fairautoml.runtime._rows import key_of

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
    accepted_is_favourable: bool = True  # whether decision 1 is good for the person
    median: float | None = None  # of the sample, if a decision is a score above it
    notes: tuple[str, ...] = ()  # about groups that are declared and do not occur

    def codes(self, system: GroupSystem) -> NDArray[np.int64]:
        """Return the group of each row in a system, -1 = outside."""
        return system.of_cell[self.cells].astype(np.int64)

    @property
    def favourable(self) -> str:
        """The label that is good for the person, as text."""
        return str(self.classes[int(self.accepted_is_favourable)])

    @property
    def unknown(self) -> tuple[tuple[str, int], ...]:
        """Number of rows in no group, by system."""
        counts = np.bincount(self.cells, minlength=self.n_cells)
        found = ((s.name, int(counts[s.of_cell < 0].sum())) for s in self.systems)
        return tuple((name, n) for name, n in found if n)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReadOptions:
    """Options for reading rows."""

    pos_label: Any = None  # the positive label; None = the last one in sorted order
    favourable: Any = None  # the label that is good for the person; None = the positive one
    # as in ``FairAutoML``; None = "error" with labels, else "exclude"
    sensitive_missing: MissingPolicy | None = None
    # values that mean an unknown group: such rows, and those with a missing one, are in no group
    unknown: Sequence[str] | None = None
    ranked: int | None = None  # number of best rows, which are the decisions if none are given
    max_groups: int = 50  # largest number of groups of one sensitive column


def read_rows(given: Given, options: AuditReadOptions) -> AuditRows:
    """Validate and encode the rows of an audit."""
    _check_groups(given)
    by_score = given.y_true is None or options.ranked is not None
    scored = given.y_pred is None and by_score and given.y_score is not None
    labels = _labels(given, scored=scored)
    first = "y_score" if scored else next(iter(labels))
    n_rows = len(given.y_score if scored else labels[first])
    if n_rows == 0:
        raise InputError(f"{first} has no rows. Pass at least one row.")
    for name, values in labels.items():
        check_rows(n_rows, values, name, first)
    schema, cells = grouped(given, options, n_rows)
    score = None
    if given.y_score is not None:
        score = finite_numbers(given.y_score, "y_score")
        check_rows(n_rows, score, "y_score", first)
    if options.ranked is not None:
        _check_ranked(options.ranked, score)
    median: float | None = None
    if score is None or not scored:
        codes, classes = _encoded(labels, options.pos_label)
    else:
        known = np.all([system.of_cell[cells] >= 0 for system in schema.systems], axis=0)
        codes, classes, median = _decided(score, known, labels, options)
    weight = None if given.sample_weight is None else read_weights(given.sample_weight, n_rows)
    return AuditRows(
        y=codes.get("y_true"),
        decision=codes["y_pred"],
        baseline=codes.get("baseline"),
        score=score,
        weight=weight,
        cells=cells,
        n_cells=schema.n_cells,
        systems=schema.systems,
        classes=classes,
        columns=schema.columns,
        accepted_is_favourable=_is_positive(options.favourable, classes),
        median=median,
        notes=schema.notes,
    )


def _check_groups(given: Given) -> None:
    """Raise if the indices of pandas inputs differ, or without groups."""
    found = unlike_indices({field.name: getattr(given, field.name) for field in fields(given)})
    if found:
        raise InputError(
            f"{found}. Use reset_index(drop=True) if they are in the same order, otherwise align "
            "them with b.loc[a.index]."
        )
    if given.sensitive is None:
        msg = "sensitive is None, but an audit compares groups. Pass one group per row."
        raise InputError(msg)


def grouped(
    given: Given, options: AuditReadOptions, n_rows: int
) -> tuple[GroupSchema, NDArray[np.int32]]:
    """Return the groups, which do not overlap, and the finest group of each row."""
    _check_groups(given)
    sensitive, missing = given.sensitive, options.sensitive_missing
    if options.unknown is not None:
        sensitive, missing = _without_unknown(sensitive, options.unknown), "exclude"
    if missing is None:
        missing = "exclude" if given.y_true is None else "error"
    found = fit_groups(sensitive, n_rows=n_rows, missing=missing, max_groups=options.max_groups)
    for system in found[0].systems:
        if system.overlapping:
            raise InputError(
                f"sensitive[{system.name!r}] is a table of groups that may overlap, but an audit "
                "requires one group per row. Pass each indicator as a separate sensitive column."
            )
    return found


def _check_ranked(k: Any, score: NDArray[np.float64] | None) -> None:
    if score is None:
        raise ParameterError("ranked= needs y_score=, by which the rows are ordered.")
    n_rows = len(score)
    wanted = (
        f"a whole number from 1 to {n_rows}: how many rows with the highest scores are selected"
    )
    check_integer("ranked", k, wanted, lambda count: 1 <= count <= n_rows)


def _decided(
    score: NDArray[np.float64],
    known: NDArray[np.bool_],
    labels: dict[str, NDArray[Any]],
    options: AuditReadOptions,
) -> tuple[dict[str, NDArray[np.int8]], NDArray[Any], float | None]:
    """Return the labels with the decisions that scores stand for, the classes and the median."""
    k = options.ranked
    if k is not None:
        names = np.array([f"not among the best {k}", f"among the best {k}"], dtype=object)
        codes, classes = _encoded(labels, options.pos_label) if labels else ({}, names)
        decision = np.zeros(len(score), dtype=np.int8)
        decision[select_top_k(score, k)] = 1
        return {**codes, "y_pred": decision}, classes, None
    if not known.any():
        raise InputError("sensitive: no row has a known group. Pass the groups of some rows.")
    median = float(np.median(score[known]))
    names = np.array(["at most the median", "above the median"], dtype=object)
    return {"y_pred": (score > median).astype(np.int8)}, names, median


def _without_unknown(sensitive: Any, unknown: Sequence[str]) -> dict[str, Any]:
    """Return the sensitive columns, missing in all where the value of one is unknown."""
    columns = read_sensitive(sensitive).columns
    names = frozenset(map(normalized, unknown))
    out = np.zeros(len(next(iter(columns.values()))), dtype=np.bool_)
    for name, column in columns.items():
        codes, levels = level_arrays(column, name)
        means_unknown = [normalized(str(level)) in names for level in levels]
        # The last element is what a missing value (-1) finds.
        out |= np.array([*means_unknown, True])[codes]
    return {name: column.astype(object).mask(out, None) for name, column in columns.items()}


def _is_positive(favourable: Any, classes: NDArray[Any]) -> bool:
    if favourable is None:
        return True
    keys = [key_of(label) for label in classes.tolist()]
    if key_of(favourable) not in keys:
        shown = " and ".join(map(repr, classes.tolist()))
        msg = f"favourable={favourable!r} is not one of the labels {shown}. Pass one of them."
        raise InputError(msg)
    return keys.index(key_of(favourable)) == 1


def check_rows(n_rows: int, values: Any, argument: str, first: str) -> None:
    """Raise unless an argument has as many rows as the first one."""
    found = len(values)
    if found != n_rows:
        raise InputError(
            f"{argument} has {found} rows and {first} has {n_rows}. Pass one value per row, in "
            "the same order."
        )


def _labels(given: Given, *, scored: bool) -> dict[str, NDArray[Any]]:
    found = {"y_true": given.y_true, "y_pred": given.y_pred, "baseline": given.baseline}
    if scored:
        found = (
            {} if given.y_true is None else {"y_true": given.y_true, "baseline": given.baseline}
        )
    labels = {}
    for name, values in found.items():
        if values is None and name == "y_pred":
            raise InputError("y_pred is None. Pass one decision per row, or only y_score.")
        if values is None:
            continue
        try:
            labels[name] = plain_labels(values)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
    _refuse_probabilities(labels)
    return labels


def _different(values: NDArray[Any]) -> list[Any]:
    """Return the different values, in order of appearance."""
    return level_arrays(pd.Series(values, dtype=object), "y_pred")[1].tolist()


def _refuse_probabilities(labels: dict[str, NDArray[Any]]) -> None:
    for name, values in labels.items():
        different = _different(values)
        parts = [v for v in different if isinstance(v, float) and not v.is_integer()]
        if parts:
            count = int(np.isin(values, parts).sum())
            raise InputError(
                f"{name} holds {count} number(s) with fractions, such as {parts[0]!r}; "
                "allowed are the two labels. Pass probabilities as y_score and decisions, such as "
                "y_score >= 0.5, as y_pred."
            )


def _encoded(
    labels: dict[str, NDArray[Any]], pos_label: Any
) -> tuple[dict[str, NDArray[np.int8]], NDArray[Any]]:
    """Return all label columns encoded as 0 and 1, and the two classes."""
    pooled = np.concatenate(list(_same_kind(labels).values()))
    rows, keys = encode_levels(pd.Series(pooled, dtype=object), "y_pred")
    refuse_spellings(" and ".join(labels), rows, keys)
    if len(keys) > 2:
        shown = "; ".join(f"{name} has {_listed(values)}" for name, values in labels.items())
        raise InputError(
            f"{shown}: {len(keys)} labels in all, allowed are two. Write the labels in the same "
            "way in all columns (1 and '1' are two labels), or choose one as positive: y == label."
        )
    if len(keys) == 1 and "y_true" not in labels:
        raise InputError(
            f"y_pred holds one label only: {_listed(pooled)}. Without true labels (y_true, "
            "--y-true) rows of both decisions are needed to identify the positive label."
        )
    codes, classes = encode_target(pooled, pos_label=pos_label)
    ends = np.cumsum([len(values) for values in labels.values()])[:-1]
    return dict(zip(labels, np.split(codes, ends), strict=True)), classes


def _same_kind(labels: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Convert bools to 1 and 0 if another column has numbers, as with ``score > 0.5``."""
    kinds = {key_of(v)[0] for values in labels.values() for v in _different(values)}
    if kinds != {"bool", "int"}:
        return labels
    return {
        name: values.astype(np.float64).astype(np.int64).astype(object)
        for name, values in labels.items()
    }


def _listed(values: NDArray[Any]) -> str:
    keys = sorted({key_of(value) for value in _different(values)})
    shown = ", ".join(repr(value) for _, value in keys[:MOST_SHOWN])
    return shown if len(keys) <= MOST_SHOWN else f"{shown}, ..."


def finite_numbers(values: Any, name: str) -> NDArray[np.float64]:
    """Return one finite number per row, shape (n_rows,)."""
    column = as_series(values, name)
    try:
        found = np.array(column.to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError) as error:
        msg = f"{name} must hold numbers: {error}. Pass one finite number per row."
        raise InputError(msg) from error
    bad = int((~np.isfinite(found)).sum())
    if bad:
        raise InputError(
            f"{name} has {bad} value(s) that are missing or infinite. Pass one finite number per "
            "row."
        )
    return found
