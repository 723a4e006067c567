"""Compute the largest gap if the rows of a group may be reweighted within limits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.auditing.rates import AuditSample, RateCells, Tables, rate_cells
from fairautoml.auditing.result import Section
from fairautoml.metrics import Metric
from fairautoml.metrics._table import Form
from fairautoml.metrics.groups import GroupSystem
from fairautoml.parameters import check_number

Ends = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Lowest and highest value of a rate in each group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftRow:
    """The worst value of one metric under a shift within the groups."""

    system: str  # sensitive column or intersection
    metric: str  # registered name
    factor: float  # largest factor by which the weight of a row may rise or fall
    value: float | None = None  # on these rows; None if undefined
    worst: float | None = None  # on the worst reweighting of these rows
    # one-sided confidence bound of ``worst`` in the population, at the level of the audit
    bound: float | None = None
    rate: str = ""  # rate with the worst disparity
    lowest: str = ""  # groups that the worst reweighting drives apart
    highest: str = ""  # empty for a minimum
    reason: str = ""  # why the numbers are None


def shift_rows(
    tables: Tables,
    systems: Sequence[GroupSystem],
    metrics: Sequence[Metric],
    level: float,
    *,
    factor: float,
) -> tuple[ShiftRow, ...]:
    """Return the worst value of each metric if row weights may vary by a factor.

    In each group the weights of the rows that a rate counts lie in ``[1 / factor, factor]`` and
    have mean 1, so that the group keeps its size. This is the adversary of agnostic fairness; its
    linear program has a closed form.

    References
    ----------
    Du, Xu, Wu, Tong, "Fairness-aware agnostic federated learning", SDM 2021 (arXiv 2010.05057).
    """
    wanted = (
        "a number of at least 1: the factor by which the weight of a row may rise or fall, such "
        "as 1.5"
    )
    check_number("shift", factor, wanted, lambda number: number >= 1)
    return tuple(
        _row(tables, system, metric, level, factor) for system in systems for metric in metrics
    )


def shift_section(sample: AuditSample, factor: float) -> Section:
    """Return the section of an audit on the worst case under a shift."""
    level = sample.level
    rows = shift_rows(sample.tables, sample.compared, sample.metrics, level, factor=factor)
    return Section(
        name="shift",
        title=f"Worst case if the weight of a row within its group may vary by {factor:g}",
        rows=rows,
        columns={
            "system": "groups", "metric": "metric", "value": "on these rows",
            "worst": "worst case", "bound": "its confidence bound", "rate": "rate",
            "lowest": "lowest", "highest": "highest", "reason": "undefined because",
        },
        sentences=tuple(_sentence(row, level) for row in rows if row.worst is not None),
    )  # fmt: skip


def _sentence(row: ShiftRow, level: float) -> str:
    where = f"{row.rate} of {row.lowest}"
    if row.highest:
        where = f"rate {row.rate}: {row.highest} above {row.lowest}"
    return (
        f"{row.metric} of {row.system} is {row.value:.3f} on these rows. If some rows of a group "
        f"became up to {row.factor:g} times as frequent and others as much rarer, it could be "
        f"{row.worst:.3f} ({where}); in the population "
        f"{row.bound:.3f} with {100 * (1 - level):g} % confidence."
    )


def shifted(rate: NDArray[np.float64], factor: float) -> Ends:
    """Return the lowest and the highest value of a rate under reweighting, elementwise."""
    low, high = 1 / factor, factor
    least = np.maximum(low * rate, 1 - high * (1 - rate))
    most = np.minimum(high * rate, 1 - low * (1 - rate))
    return least, most


def _row(
    tables: Tables, system: GroupSystem, metric: Metric, level: float, factor: float
) -> ShiftRow:
    row = ShiftRow(system=system.name, metric=metric.name, factor=factor)
    if system.n_groups < metric.fewest_groups:
        return replace(row, reason="fewer than two groups are compared")
    cells = rate_cells(tables, system, metric)
    if cells is None or any(_undefined(cell, metric.form) for cell in cells):
        return replace(row, reason="not a comparison of rates that all groups have")
    return _worst_of(row, cells, system, metric.form, level)


def _undefined(cell: RateCells, form: Form) -> bool:
    return bool(np.isnan(cell.values).any()) or (form == "ratio" and not cell.values.any())


def _worst_of(
    row: ShiftRow, cells: Sequence[RateCells], system: GroupSystem, form: Form, level: float
) -> ShiftRow:
    ends = [shifted(cell.values, row.factor) for cell in cells]
    worst, at, low, high = _worst_pair(ends, form)
    # A reweighted rate rises with the rate, so bounds of the rate give bounds of it.
    bounds = [cell.bounds(level / 2) for cell in cells]
    shifted_bounds = [
        (shifted(least, row.factor)[0], shifted(most, row.factor)[1]) for least, most in bounds
    ]
    return replace(
        row,
        value=_worst_pair([(cell.values, cell.values) for cell in cells], form)[0],
        worst=worst,
        bound=_worst_pair(shifted_bounds, form)[0],
        rate=cells[at].rate.name,
        lowest=system.labels[low],
        highest="" if form == "minimum" else system.labels[high],
    )


def _worst_pair(ends: Sequence[Ends], form: Form) -> tuple[float, int, int, int]:
    """Return the worst disparity with its rate, its lowest and its highest group.

    The smallest rate is reached without driving it apart from the highest.
    """
    least, most = (np.stack(part) for part in zip(*ends, strict=True))
    if form == "minimum":
        at, lowest = (int(i) for i in np.unravel_index(least.argmin(), least.shape))
        return float(least[at, lowest]), at, lowest, int(most[at].argmax())
    low, high = least[:, :, None], most[:, None, :]
    if form == "difference":
        apart = high - low
    else:
        parity = np.ones(np.broadcast_shapes(low.shape, high.shape))
        apart = -np.divide(low, high, out=parity, where=high > 0)
    n_groups = apart.shape[-1]
    apart[:, np.arange(n_groups), np.arange(n_groups)] = -np.inf
    at, lowest, highest = (int(i) for i in np.unravel_index(apart.argmax(), apart.shape))
    found = float(apart[at, lowest, highest])
    return (found if form == "difference" else -found), at, lowest, highest
