"""Rates and gaps between groups, with intervals, and their changes against a baseline.

All are computed from one table of counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.auditing.result import ChangeRow, GapRow, Interval, Method, RateRow
from fairautoml.auditing.rows import AuditRows
from fairautoml.certification.bounds import (
    bound_toward_disparity,
    bound_toward_parity,
    cp_lower,
    cp_upper,
    weighted_bounds,
)
from fairautoml.certification.certificate import hidden_among
from fairautoml.exceptions import InputError
from fairautoml.metrics import (
    METRICS,
    Constraint,
    GroupCounts,
    Metric,
    Undefined,
    bootstrap_interval,
)
from fairautoml.metrics._table import Form, Rate
from fairautoml.metrics.constraint import BoundConstraint
from fairautoml.metrics.groups import GroupSystem
from fairautoml.metrics.intervals import mcnemar
from fairautoml.metrics.rates import (
    ACCURACY,
    FPR,
    PPV,
    ROUNDING,
    SELECTION,
    SHOWN,
    TPR,
    is_worst_of,
    with_compared,
    worst,
)
from fairautoml.report.view import LevellingRow, levelling

AUDITED_RATES: tuple[Rate, ...] = (SELECTION, TPR, FPR, PPV, ACCURACY)
"""Rates in every audit; the error rate is one minus the accuracy."""

SOURCES: tuple[Rate, ...] = (SELECTION, TPR, FPR)
"""Rates whose row counts are checked before publication; they determine the other counts."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RateCells:
    """One rate in all groups of a system."""

    rate: Rate
    events: NDArray[np.float64]  # shape (n_groups,): weight of the events (numerator)
    mass: NDArray[np.float64]  # shape (n_groups,): weight of the rows (denominator)
    n: NDArray[np.int64]  # shape (n_groups,): number of rows in the denominator
    # effective sample size, ``sum(w)^2 / sum(w^2)``; ``n`` without weights
    effective: NDArray[np.float64]  # shape (n_groups,)
    weighted: bool  # whether rows have weights
    largest_weight: float | None = None  # largest possible weight, if known in advance

    @property
    def values(self) -> NDArray[np.float64]:
        """Rate of each group; NaN for groups without rows in the denominator."""
        empty = np.full(len(self.mass), np.nan)
        return np.divide(self.events, self.mass, out=empty, where=self.mass > 0)

    @property
    def method(self) -> Method:
        """Method of the bounds."""
        if not self.weighted:
            return "clopper_pearson"
        if self.largest_weight is not None:
            return "hoeffding_weighted"
        return "clopper_pearson_effective_rows (approximate)"

    def bounds(self, level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return one-sided lower and upper bounds, each with error probability ``level``.

        Weighted rates without a known largest weight use Clopper-Pearson bounds at the effective
        sample size.

        References
        ----------
        Korn, Graubard, "Confidence intervals for proportions with small expected number of
        positive counts estimated from survey data", Survey Methodology 24 (1998).
        """
        if self.weighted and self.largest_weight is not None:
            ends = [
                weighted_bounds(x, w, n, self.largest_weight, level) if w > 0 else (0.0, 1.0)
                for x, w, n in zip(
                    self.events.tolist(), self.mass.tolist(), self.n.tolist(), strict=True
                )
            ]
            return np.array([low for low, _ in ends]), np.array([high for _, high in ends])
        share = np.nan_to_num(self.values)
        x = share * self.effective if self.weighted else self.events
        # Rounding must not push a share of 1 beyond the number of rows.
        x = np.minimum(x, self.effective)
        return cp_lower(x, self.effective, level), cp_upper(x, self.effective, level)

    def intervals(self, level: float) -> list[Interval | None]:
        """Return the two-sided interval of each group's rate with error probability ``level``."""
        low, high = self.bounds(level / 2)
        return [
            Interval(low=float(a), high=float(b), method=self.method) if mass > 0 else None
            for a, b, mass in zip(low, high, self.mass, strict=True)
        ]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tables:
    """Decisions counted once by finest cell; every rate, gap and verdict is computed from it."""

    rows: GroupCounts  # numbers of rows
    weights: GroupCounts  # sums of weights; the same as ``rows`` without weights
    squares: GroupCounts  # sums of squared weights
    weighted: bool
    labelled: bool
    largest_weight: float | None = None

    @classmethod
    def count(
        cls,
        rows: AuditRows,
        decision: NDArray[np.integer] | None = None,
        largest_weight: float | None = None,
    ) -> "Tables":
        """Count the rows, with the audited decisions unless others are given."""
        taken = rows.decision if decision is None else decision
        y = np.zeros(len(taken), dtype=np.int8) if rows.y is None else rows.y
        weights = (None,) if rows.weight is None else (None, rows.weight, rows.weight**2)
        found = [
            GroupCounts.from_rows(rows.cells, y, taken, weight, n_groups=rows.n_cells)
            for weight in weights
        ]
        return cls(
            rows=found[0],
            weights=found[min(1, len(found) - 1)],
            squares=found[-1],
            weighted=rows.weight is not None,
            labelled=rows.y is not None,
            largest_weight=largest_weight,
        )

    def merged(self, system: GroupSystem) -> "Tables":
        """Return the counts of the groups of a system."""
        rows, weights, squares = (
            table.merged(system.of_cell, system.n_groups)
            for table in (self.rows, self.weights, self.squares)
        )
        return replace(self, rows=rows, weights=weights, squares=squares)

    def defined(self, rates: Sequence[Rate]) -> tuple[Rate, ...]:
        """Return the rates that can be computed: all only with true labels."""
        return tuple(rate for rate in rates if self.labelled or not rate.needs_labels)

    def cells(self, rate: Rate, system: GroupSystem) -> RateCells:
        """Return a rate in all groups of a system."""
        if not self.labelled and rate.needs_labels:
            raise ValueError(f"The {rate} rate requires true labels.")
        groups = self.merged(system)
        events, mass = rate.sums(groups.weights.table)
        n = rate.sums(groups.rows.table)[1]
        effective = n
        if self.weighted:
            squares = rate.sums(groups.squares.table)[1]
            effective = np.divide(mass**2, squares, out=np.zeros_like(mass), where=squares > 0)
        return RateCells(
            rate=rate,
            events=events,
            mass=mass,
            n=np.rint(n).astype(np.int64),
            effective=effective,
            weighted=self.weighted,
            largest_weight=self.largest_weight,
        )


def with_checked_weight(rows: AuditRows, largest_weight: float | None) -> AuditRows:
    """Return the rows, without weights if all are equal; check ``largest_weight``."""
    if largest_weight is None:
        equal_weights = rows.weight is not None and len(np.unique(rows.weight)) == 1
        return replace(rows, weight=None) if equal_weights else rows
    if rows.weight is None:
        msg = f"largest_weight={largest_weight!r} requires sample_weight. Pass both or neither."
        raise InputError(msg)
    most = float(rows.weight.max())
    if not most <= largest_weight < np.inf:
        raise InputError(
            f"largest_weight={largest_weight!r}: the largest weight is {most}. Pass the largest "
            "weight that the sampling design allows, known before the rows were seen."
        )
    return rows


Hidden = Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """Which groups are published and compared, from numbers of rows only."""

    hidden: Hidden  # by system: groups whose numbers are suppressed
    few: Hidden  # by system: groups with too few rows or too small a share for a comparison

    def compared(self, system: GroupSystem) -> GroupSystem:
        """Return the groups that gaps compare: published ones with enough rows."""
        return system.without({*self.suppressed(system), *self.left_out(system)})

    def left_out(self, system: GroupSystem) -> tuple[str, ...]:
        """Return the groups of a system that have too few rows for a verdict."""
        return tuple(system.labels[at] for at in np.flatnonzero(self.few[system.name]))

    def suppressed(self, system: GroupSystem) -> frozenset[str]:
        """Return the groups of a system whose numbers are not published."""
        return frozenset(system.labels[at] for at in np.flatnonzero(self.hidden[system.name]))


def shown_groups(rows: AuditRows, tables: Tables, smallest: int, min_share: float) -> Shown:
    """Return which groups of each system are published and compared.

    Each system follows the rule of certificates. A group of the intersection is moreover hidden
    if it could be computed by subtraction: if it is in a hidden group of a column, or if it
    completes the only other hidden one of a column's group.
    """
    hidden: dict[str, NDArray[np.bool_]] = {}
    few: dict[str, NDArray[np.bool_]] = {}
    for system in rows.systems:
        cells = [tables.cells(rate, system).n for rate in tables.defined(SOURCES)]
        least, n = np.min(cells, axis=0), cells[0]
        # Without labels and other columns, no total is published to compute a group from.
        alone = rows.y is None and len(rows.columns) == 1
        secret = least < smallest if alone else hidden_among(least.tolist(), smallest)
        hidden[system.name] = np.array(secret, dtype=np.bool_)
        few[system.name] = (least < smallest) | (n < min_share * n.sum())
    if len(rows.columns) > 1:
        _complete(rows, tables, hidden)
    return Shown(hidden=hidden, few=few)


def _complete(rows: AuditRows, tables: Tables, hidden: dict[str, NDArray[np.bool_]]) -> None:
    """Hide groups of the intersection that could be computed from published ones."""
    finest = rows.systems[-1]
    flags = hidden[finest.name]
    if not any(one.any() for one in hidden.values()):
        return
    n = tables.cells(SELECTION, finest).n
    first = np.array([int(np.argmax(finest.of_cell == at)) for at in range(finest.n_groups)])
    parents = [(hidden[s.name], s.of_cell[first]) for s in rows.systems[: len(rows.columns)]]
    for secret, parent in parents:
        flags |= secret[parent]
    before = -1
    while before != flags.sum():
        before = int(flags.sum())
        for _, parent in parents:
            for group in np.unique(parent[flags]):
                inside = np.flatnonzero(parent == group)
                if flags[inside].sum() == 1 and not flags[inside].all():
                    seen = inside[~flags[inside]]
                    flags[seen[n[seen].argmin()]] = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AuditSample:
    """Rows of an audit with their counts, the groups that are compared, and the parameters."""

    rows: AuditRows
    tables: Tables
    shown: Shown
    constraints: tuple[Constraint, ...]
    level: float  # error probability
    smallest: int  # fewest rows of a group that is shown
    seed: int

    @property
    def bounded(self) -> tuple[Metric, ...]:
        """Metrics of the constraints."""
        return tuple(dict.fromkeys(one.metric for one in self.constraints))

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Metrics of the constraints, by default demographic parity."""
        return self.bounded or (METRICS.get("demographic_parity_difference"),)

    @property
    def compared(self) -> tuple[GroupSystem, ...]:
        """The groupings without groups that are too small to be compared."""
        return tuple(self.shown.compared(system) for system in self.rows.systems)


DRAWS = 400


def gap_rows(sample: AuditSample) -> tuple[GapRow, ...]:
    """Return every applicable fairness metric on every grouping; minimums only if bounded."""
    every = (METRICS.get(name) for name in METRICS.names())
    metrics = [
        metric
        for metric in every
        if metric.kind == "fairness" and applies(metric)
        if not metric.is_minimum or metric in sample.bounded
        if sample.tables.labelled or not metric.needs_labels
    ]
    found = []
    for parent, system in zip(sample.rows.systems, sample.compared, strict=True):
        left_out = tuple(label for label in parent.labels if label not in system.labels)
        for metric in metrics:
            row = GapRow(system=parent.name, metric=metric.name, value=None, left_out=left_out)
            if left_out and system.n_groups < metric.fewest_groups:
                row = replace(row, reason="fewer than two groups have enough rows")
            else:
                row = _gap(row, sample, system, metric)
            found.append(row)
    return tuple(found)


def applies(metric: Metric) -> bool:
    """Return whether a fairness metric is about binary decisions and disjoint groups."""
    return metric.on == "decisions" and "binary" in metric.tasks and metric.degree == 0


def _gap(row: GapRow, sample: AuditSample, system: GroupSystem, metric: Metric) -> GapRow:
    tables, level = sample.tables, sample.level
    found = BoundConstraint(metric=metric, system=system, limit=0.0).result(tables.weights)
    if found.value is None:
        return replace(row, reason=found.reason)
    ends = bootstrap_interval(
        metric,
        tables.merged(system).weights.table,
        n_rows=tables.cells(SELECTION, system).effective if tables.weighted else None,
        level=1 - level,
        seed=sample.seed,
    )
    row = replace(row, value=found.value, interval=approximate(ends))
    cells = rate_cells(tables, system, metric)
    if cells is None:
        return row
    row = _bounded(row, cells, system, metric.form, level)
    return _by_chance(row, cells, metric.form, sample.seed)


def approximate(ends: tuple[float, float] | None) -> Interval | None:
    """Return a bootstrap interval from its ends."""
    if ends is None:
        return None
    return Interval(low=ends[0], high=ends[1], method="bootstrap (approximate)")


def rate_cells(tables: Tables, system: GroupSystem, metric: Metric) -> list[RateCells] | None:
    """Return the rates whose worst disparity is the metric, or None for other metrics."""
    cells = [tables.cells(rate, system) for rate in metric.rates]
    value = metric.value(tables.merged(system).weights)
    if not cells or isinstance(value, Undefined):
        return cells or None
    by_rate = np.stack([one.values for one in cells])
    return cells if is_worst_of(metric, value, by_rate) else None


def _bounded(
    row: GapRow, cells: list[RateCells], system: GroupSystem, form: Form, level: float
) -> GapRow:
    """Add bounds and the two groups with the largest disparity."""
    decisive = min(cells, key=lambda cell: _parity(cell.values, form))
    least, most = disparity_bounds(cells, form, level)
    return replace(
        row,
        at_least=least,
        at_most=most,
        bounds=cells[0].method,
        lowest=system.labels[int(decisive.values.argmin())],
        highest=system.labels[int(decisive.values.argmax())],
        rate=decisive.rate.name,
    )


def _parity(values: NDArray[np.float64], form: Form) -> float:
    """Return a number that decreases with the gap of the rate."""
    found = float(worst(values[None, :], form))
    return -found if form == "difference" else found


def disparity_bounds(cells: list[RateCells], form: Form, level: float) -> tuple[float, float]:
    """Return a lower and an upper confidence bound of a disparity, each with error ``level``.

    The bound on the side of disparity is an intersection-union bound, from one-sided bounds at
    half the level. The bound on the side of parity selects its pair from the data, so that all
    one-sided bounds must hold simultaneously (level divided by twice their number). The lower
    bound of a minimum is that of one rate, at the level itself.
    """
    each, simultaneous = level / 2, level / (2 * len(cells) * len(cells[0].mass))
    if form == "minimum":
        each = level
    far = bound_toward_disparity([cell.bounds(each) for cell in cells], form)
    near = bound_toward_parity([cell.bounds(simultaneous) for cell in cells], form)
    return (near, far) if form == "difference" else (far, near)


def _by_chance(row: GapRow, cells: list[RateCells], form: Form, seed: int) -> GapRow:
    if form == "minimum":
        return row
    drawn = null_values(
        [np.rint(cell.effective).astype(np.int64) for cell in cells],
        [float(cell.events.sum() / cell.mass.sum()) for cell in cells],
        form,
        seed=seed,
    )
    drawn = drawn[~np.isnan(drawn)]
    if len(drawn) == 0 or row.value is None:
        return row
    farther = (
        drawn >= row.value - ROUNDING if form == "difference" else drawn <= row.value + ROUNDING
    )
    return replace(row, null_mean=float(drawn.mean()), null_share=float(farther.mean()))


def null_values(
    n: list[NDArray[np.int64]], rates: list[float], form: Form, *, seed: int
) -> NDArray[np.float64]:
    """Return simulated disparities under the null hypothesis of equal rates.

    The largest of many noisy differences is far from 0 even if all true differences are 0.

    References
    ----------
    Lum, Zhang, Bower, "De-biasing 'bias' measurement", FAccT 2022.
    """
    rng = np.random.default_rng(seed)
    drawn = np.stack(
        [
            rng.binomial(sizes, rate, size=(DRAWS, len(sizes))) / np.maximum(sizes, 1)
            for sizes, rate in zip(n, rates, strict=True)
        ]
    )
    return np.asarray(worst(drawn, form), dtype=np.float64)


def rate_rows(sample: AuditSample) -> tuple[RateRow, ...]:
    """Return every audited rate, and every rate of the constrained metrics, in every group."""
    rates = sample.tables.defined(with_compared(AUDITED_RATES, sample.bounded))
    return tuple(
        row
        for system in sample.rows.systems
        for rate in rates
        for row in _rows_of(sample, system, rate)
    )


def _rows_of(sample: AuditSample, system: GroupSystem, rate: Rate) -> Iterator[RateRow]:
    cells, hidden = sample.tables.cells(rate, system), sample.shown.hidden[system.name]
    values, intervals = cells.values, cells.intervals(sample.level)
    for at, label in enumerate(system.labels):
        shown = not hidden[at]
        defined = shown and intervals[at] is not None
        yield RateRow(
            system=system.name,
            group=label,
            rate=rate.name,
            n=int(cells.n[at]) if shown else None,
            events=float(cells.events[at]) if shown else None,
            value=float(values[at]) if defined else None,
            interval=intervals[at] if defined else None,
            suppressed=not shown,
        )


def change_rows(sample: AuditSample) -> tuple[tuple[ChangeRow, ...], tuple[LevellingRow, ...]]:
    """Return the changes of every rate by group, and which gaps closed by levelling down.

    References
    ----------
    Mittelstadt, Wachter, Russell, "The unfairness of fair machine learning: levelling down and
    strict egalitarianism by default", 2023 (arXiv 2302.02404).
    """
    rows, tables, baseline = sample.rows, sample.tables, sample.rows.baseline
    if baseline is None:
        return (), ()
    changes: list[ChangeRow] = []
    summaries = []
    before = Tables.count(rows, baseline)
    flips = _flips(rows, baseline)
    for system in rows.systems:
        for rate in tables.defined(SHOWN):
            values = (before.cells(rate, system).values, tables.cells(rate, system).values)
            moved = None if flips is None else _moved(flips, system, rate)
            gain = 1 if rows.accepted_is_favourable or not rate.is_acceptance else -1
            hidden = sample.shown.hidden[system.name]
            found = list(_changes(system, rate, values, moved, hidden, gain))
            changes += found
            pairs = [(row.baseline, row.value) for row in found]
            summaries.append(levelling(system.name, rate.name, pairs, gain))
    return tuple(changes), tuple(summaries)


_Flips = tuple[Tables, Tables]


def _flips(rows: AuditRows, baseline: NDArray[np.int8]) -> _Flips | None:
    """Return the rows that are newly accepted and newly rejected, counted by group and label."""
    if rows.weight is not None:
        return None
    up, down = rows.decision > baseline, rows.decision < baseline
    return Tables.count(rows, up.astype(np.int8)), Tables.count(rows, down.astype(np.int8))


def _moved(flips: _Flips, system: GroupSystem, rate: Rate) -> NDArray[np.float64]:
    """Return the rows by group that entered and left the numerator, shape (2, n_groups)."""
    counts, step, _ = rate.linear()
    newly = [table.merged(system).rows.table[:, :, 1] for table in flips]
    entered = sum(newly[int(step[y] < 0)][:, y] * (counts[y] * step[y] != 0) for y in (0, 1))
    left = sum(newly[int(step[y] > 0)][:, y] * (counts[y] * step[y] != 0) for y in (0, 1))
    return np.stack([np.asarray(entered), np.asarray(left)])


def _changes(
    system: GroupSystem,
    rate: Rate,
    values: tuple[NDArray[np.float64], NDArray[np.float64]],
    moved: NDArray[np.float64] | None,
    hidden: NDArray[np.bool_],
    gain: int,
) -> Iterator[ChangeRow]:
    before, after = values
    for at, label in enumerate(system.labels):
        row = ChangeRow(system=system.name, group=label, rate=rate.name)
        if hidden[at] or np.isnan(before[at]):
            yield row
            continue
        change = float(after[at] - before[at])
        counts = None if moved is None else moved[:, at].astype(int).tolist()
        yield replace(
            row,
            baseline=float(before[at]),
            value=float(after[at]),
            change=change,
            direction=_direction(gain * change),
            p_value=None if counts is None else mcnemar(*counts),
        )


def _direction(gain: float) -> str:
    """Return whether a change is better for the members of the group.

    More acceptances are better where being accepted is good for the person, also of rows with the
    negative label; a higher accuracy is better in any case.
    """
    if abs(gain) <= ROUNDING:
        return "same"
    return "better" if gain > 0 else "worse"
