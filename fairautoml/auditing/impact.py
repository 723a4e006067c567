"""Impact ratios of groups against a reference group, with intervals and tests."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from fairautoml.auditing.rates import AuditSample, RateCells
from fairautoml.auditing.result import ImpactRow, Interval
from fairautoml.exceptions import ParameterError
from fairautoml.metrics.groups import GroupSystem
from fairautoml.metrics.rates import SELECTION

FOUR_FIFTHS = 0.8
ROUNDING = 1e-9
"""Rounding tolerance of the ratio: 0.6 / 0.75 must count as four fifths."""

MOST_SELECTED, LARGEST = "most_selected", "largest"


def impact_rows(sample: AuditSample, *, reference: str, min_share: float) -> tuple[ImpactRow, ...]:
    """Return selection rate, impact ratio and tests of every group of every system.

    ``reference`` is ``"most_selected"``, ``"largest"`` or a group; groups with a smaller share of
    the rows than ``min_share`` have no ratio.
    """
    several = [system for system in sample.rows.systems if system.n_groups >= 2]
    known = {label for system in several for label in system.labels}
    if reference not in {MOST_SELECTED, LARGEST, *known}:
        labels = ", ".join(map(repr, sorted(known)[:20]))
        raise ParameterError(
            f"reference={reference!r} is not a group; pass {MOST_SELECTED!r}, "
            f"{LARGEST!r} or one of {labels}."
        )
    found: list[ImpactRow] = []
    for system in several:
        cells = sample.tables.cells(SELECTION, system)
        if not sample.rows.accepted_is_favourable:
            cells = replace(cells, events=cells.mass - cells.events)
        found += _corrected(_System(sample, system, cells, reference, min_share).rows())
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _System:
    """Selection rates of one system, and what they are compared with."""

    sample: AuditSample
    system: GroupSystem
    cells: RateCells
    reference: str
    min_share: float

    def rows(self) -> Iterator[ImpactRow]:
        """Return the row of every group."""
        shown, name = self.sample.shown, self.system.name
        hidden, few = shown.hidden[name], shown.few[name]
        values, intervals = self.cells.values, self.cells.intervals(self.sample.level)
        compared = ~hidden & ~few & ~np.isnan(values)
        at_reference = self._reference(np.where(compared, values, -1.0))
        for at, label in enumerate(self.system.labels):
            row = ImpactRow(system=name, group=label)
            if hidden[at]:
                yield replace(row, reason="suppressed")
                continue
            row = replace(
                row,
                n=int(self.cells.n[at]),
                selected=float(self.cells.events[at]),
                selection_rate=None if np.isnan(values[at]) else float(values[at]),
                interval=intervals[at],
            )
            reason = self._reason(compared, at, at_reference)
            yield replace(row, reason=reason) if reason else self._against(row, at, at_reference)

    def _reference(self, values: NDArray[np.float64]) -> int:
        """Return the group that the others are compared with; values of left out groups are -1."""
        wanted = self.reference
        if wanted in self.system.labels and values[self.system.labels.index(wanted)] >= 0:
            return self.system.labels.index(wanted)
        if wanted == LARGEST:
            return int(np.where(values >= 0, self.cells.n, -1).argmax())
        return int(values.argmax())

    def _reason(self, compared: NDArray[np.bool_], at: int, reference: int) -> str:
        """Return the reason why a group has no ratio, or an empty text."""
        values = self.cells.values
        if np.isnan(values[at]):
            return "no rows of any weight"
        if not compared[at]:
            share = self.cells.n[at] / self.cells.n.sum()
            if share < self.min_share:
                return f"left out: {100 * share:.1f} % of the rows"
            return "left out: too few rows"
        if compared.sum() < 2:
            return "no other group is shown"
        some = bool((values[compared] > 0).any())
        of = f" of {self.system.labels[reference]}" if some else ""
        return "" if values[reference] > 0 else f"no row{of} is selected"

    def _against(self, row: ImpactRow, at: int, reference: int) -> ImpactRow:
        values, label = self.cells.values, self.system.labels[reference]
        ratio = float(values[at] / values[reference])
        row = replace(
            row,
            reference=label,
            impact_ratio=ratio,
            ratio_interval=None if at == reference else self._ratio_interval(at, reference),
            below_four_fifths=ratio < FOUR_FIFTHS - ROUNDING,
        )
        if at == reference or self.cells.weighted:
            return row
        x, n = self.cells.events, self.cells.n
        counts = (int(x[at]), int(n[at]), int(x[reference]), int(n[reference]))
        p_value = float(fisher_exact([[counts[0], counts[1] - counts[0]],
                                      [counts[2], counts[3] - counts[2]]]).pvalue)  # fmt: skip
        return replace(row, standard_errors=standard_errors(*counts), p_value=p_value)

    def _ratio_interval(self, at: int, reference: int) -> Interval | None:
        """Return the interval of a ratio from simultaneous bounds of both rates.

        The most selected group is found on these rows, so the bounds of every group that could be
        the reference have to hold.
        """
        n = len(self.system.labels) if self.reference == MOST_SELECTED else 1
        low, high = self.cells.bounds(self.sample.level / 4)
        low_reference, high_reference = self.cells.bounds(self.sample.level / (4 * n))
        if low_reference[reference] <= 0:
            return None
        return Interval(
            low=float(low[at] / high_reference[reference]),
            high=float(high[at] / low_reference[reference]),
            method=self.cells.method,
        )


def standard_errors(x: int, n: int, x_reference: int, n_reference: int) -> float:
    """Return the difference of two rates in standard errors, negative if the first is lower.

    The variance is that of the pooled rate, as courts compute it. If the reference group is a
    population, ``n_reference`` is large, and the difference that from its share.

    Examples
    --------
    >>> round(standard_errors(339, 870, 791 * 10**9, 10**12), 1)
    -29.1
    """
    pooled = (x + x_reference) / (n + n_reference)
    variance = pooled * (1 - pooled) * (1 / n + 1 / n_reference)
    return (x / n - x_reference / n_reference) / math.sqrt(variance) if variance > 0 else 0.0


def _corrected(rows: Iterator[ImpactRow]) -> list[ImpactRow]:
    """Add Holm's corrected p-values of the groups of one system."""
    found = list(rows)
    known = [(row.p_value, at) for at, row in enumerate(found) if row.p_value is not None]
    largest = 0.0
    for rank, (p_value, at) in enumerate(sorted(known)):
        largest = max(largest, min(1.0, (len(known) - rank) * p_value))
        found[at] = replace(found[at], p_holm=largest)
    return found
