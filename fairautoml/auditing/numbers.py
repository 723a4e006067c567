"""Audit of predicted numbers: means and errors of the groups, and what blocks of columns add."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_regressor

from fairautoml.auditing.contributions import (
    MEAN_PREDICTION,
    Blocks,
    check_blocks,
    contributions_of,
    widest,
)
from fairautoml.auditing.models import adapter_of, check_predictions
from fairautoml.auditing.result import Audit, Contributions, Section
from fairautoml.auditing.rows import AuditReadOptions, Given, check_rows, finite_numbers, grouped
from fairautoml.auditing.sections import printable
from fairautoml.certification.certificate import hidden_among
from fairautoml.data.frames import check_length, read_weights
from fairautoml.data.groups import read_sensitive
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.metrics.groups import GroupSystem

DESCRIPTIVE = "These numbers describe these rows only; nothing is certified."


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberRow:
    """Predictions of one group, in units of the target; None if suppressed.

    Standard errors are those of the mean of independent rows.
    """

    system: str  # sensitive column or intersection
    group: str
    n: int | None = None
    prediction: float | None = None  # mean prediction
    prediction_error: float | None = None  # its standard error
    label: float | None = None  # mean of the true numbers
    bias: float | None = None  # mean of prediction minus truth
    mae: float | None = None  # mean absolute error
    mae_error: float | None = None  # its standard error


COLUMNS = {
    "group": "group", "n": "rows", "prediction": "mean prediction",
    "prediction_error": "standard error", "label": "mean truth", "bias": "bias",
    "mae": "mean absolute error", "mae_error": "its standard error",
}  # fmt: skip


def of_numbers(y_true: Any, model: Any) -> bool:
    """Return whether an audit is about numbers: labels with fractions, or a regression model."""
    if y_true is None:
        return False
    if model is not None and hasattr(model, "__sklearn_tags__") and is_regressor(model):
        return True
    values = np.asarray(y_true)
    return bool(values.dtype.kind == "f" and (np.mod(values[np.isfinite(values)], 1) != 0).any())


def refuse_others(**given: Any) -> None:
    """Raise if an option is given that an audit of numbers does not have."""
    named = [
        name
        for name, value in given.items()
        if not (value is None or (isinstance(value, list) and not value))
    ]
    if named:
        raise ParameterError(
            f"{named[0]}={given[named[0]]!r} is about decisions, and y_true or model is about "
            f"numbers. Leave {', '.join(named)} out, or audit decisions, such as y_pred >= 10."
        )


def audit_numbers(
    given: Given,
    options: AuditReadOptions,
    model: Any,
    blocks: Blocks | None,
    smallest: int,
    seed: int,
) -> Audit:
    """Return the audit of predicted numbers."""
    y = finite_numbers(given.y_true, "y_true")
    if given.y_pred is None:
        raise InputError("y_pred is None. Pass one predicted number per row.")
    prediction = finite_numbers(given.y_pred, "y_pred")
    check_rows(len(y), prediction, "y_pred", "y_true")
    schema, cells = grouped(given, options, len(y))
    weight = None
    if given.sample_weight is not None:
        weight = read_weights(given.sample_weight, len(y))
    of_row = np.ones(len(y)) if weight is None else weight
    sections: list[Section] = []
    parts: Contributions | None = None
    for system in schema.systems:
        codes = system.of_cell[cells].astype(np.int64)
        found = tuple(_rows(system, codes, y, prediction, of_row, smallest))
        sections.append(_section(system, found))
        if blocks is not None and parts is None:
            means = [np.nan if row.prediction is None else row.prediction for row in found]
            contrast = widest(system, [(None, np.array(means))]) if len(means) > 1 else None
            if contrast is not None:
                adapter, table = adapter_of(
                    model, given.X, read_sensitive(given.sensitive).columns, np.empty(0)
                )
                check_length(len(table), y, "y_true")
                named = check_blocks(blocks or None, list(table.columns))
                check_predictions(prediction, adapter.decide(table))
                parts = contributions_of(codes, y, weight, table, adapter, contrast, named, seed)
    undone = blocks is not None and parts is None
    note = "blocks: no gap was decomposed, because no column has two groups that are shown."
    return Audit(
        n_rows=len(y), labelled=True, weighted=weight is not None, classes=("", ""),
        favourable="", delta=0.0, independent=False, verdict="", rates=(), impact=(), scores=(),
        gaps=(), contributions=parts, more=tuple(sections), smallest_cell=smallest,
        notes=(DESCRIPTIVE, *schema.notes, *((note,) if undone else ())),
    )  # fmt: skip


def _rows(
    system: GroupSystem,
    codes: NDArray[np.int64],
    y: NDArray[np.float64],
    prediction: NDArray[np.float64],
    weight: NDArray[np.float64],
    smallest: int,
) -> Iterator[NumberRow]:
    sizes = np.bincount(codes[codes >= 0], minlength=system.n_groups)
    secret = hidden_among(sizes.tolist(), smallest)
    for at, label in enumerate(system.labels):
        inside = codes == at
        if secret[at] or weight[inside].sum() == 0:
            yield NumberRow(system=system.name, group=label)
            continue
        w, error = weight[inside], np.abs(prediction - y)[inside]
        mean, spread = _mean(prediction[inside], w)
        mae, mae_spread = _mean(error, w)
        truth = _mean(y[inside], w)[0]
        yield NumberRow(
            system=system.name, group=label, n=int(sizes[at]), prediction=mean,
            prediction_error=spread, label=truth, bias=mean - truth, mae=mae, mae_error=mae_spread,
        )  # fmt: skip


def _mean(values: NDArray[np.float64], weight: NDArray[np.float64]) -> tuple[float, float]:
    """Return the weighted mean and its standard error."""
    mean = float(np.average(values, weights=weight))
    return mean, float(np.sqrt((weight**2 * (values - mean) ** 2).sum()) / weight.sum())


def _section(system: GroupSystem, rows: tuple[NumberRow, ...]) -> Section:
    shown = [
        (row.prediction, row.mae, printable(row.group)) for row in rows if row.mae is not None
    ]
    sentences = []
    for at, what in enumerate((MEAN_PREDICTION, "mean absolute error")):
        if len(shown) > 1:
            ordered = sorted((float(one[at] or 0.0), one[2]) for one in shown)
            (low, lowest), (high, highest) = ordered[0], ordered[-1]
            sentences.append(
                f"{what.capitalize()}: from {low:.4g} ({lowest}) to {high:.4g} ({highest}), a gap "
                f"of {high - low:.4g}."
            )
    return Section(
        name="numbers",
        title=f"Predicted numbers by {printable(system.name)}",
        rows=rows,
        columns=COLUMNS,
        sentences=tuple(sentences),
    )
