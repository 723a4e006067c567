"""Read new rows as windows of time; test them, by bets, for gaps beyond a bound and for drift."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype
from scipy.special import logsumexp

from fairautoml.certification.bounds import cp_lower, cp_upper, hoeffding_margin
from fairautoml.certification.certificate import Certificate
from fairautoml.data.dataset import FeatureSchema
from fairautoml.data.frames import Inputs, as_series, check_length
from fairautoml.exceptions import InputError
from fairautoml.inference.predictor import Predictor, isolated_config
from fairautoml.learners.mixture_of_experts import Fairness, MixtureOfExperts
from fairautoml.metrics import (
    BoundConstraint,
    Constraint,
    GroupCounts,
    Undefined,
    bind_constraints,
)
from fairautoml.metrics._table import Rate
from fairautoml.metrics.groups import GroupSystem
from fairautoml.metrics.rates import ROUNDING, SELECTION, is_worst_of
from fairautoml.monitoring.result import Adaptation, Kind, Monitor, Series
from fairautoml.parameters import check_error_probability
from fairautoml.selection.pool import Pool

BETS = np.geomspace(0.01, 0.45, 8)
"""Shares of the wealth that are bet, mixed with equal weight; at most 0.45, because an outcome
minus its bound is at least -2."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcomes:
    """Outcomes of one window: pairs of means of two groups, or numbers in the first column."""

    values: NDArray[np.float64]  # shape (n_values, 2), in [0, 1]
    counts: NDArray[np.float64]  # shape (n_values,): how often each occurs

    @classmethod
    def single(cls, values: NDArray[np.floating]) -> "Outcomes":
        """Return numbers in [0, 1]."""
        return cls.of(np.column_stack([values, np.zeros(len(values))]))

    @classmethod
    def paired(
        cls, first: NDArray[np.bool_], second: NDArray[np.bool_], rng: np.random.Generator
    ) -> "Outcomes":
        """Return pairs of means of blocks, as many as the smaller sample has rows.

        Blocks are drawn at random, because a bet must not know the order of the outcomes.
        """
        n = min(len(first), len(second))
        if n == 0:
            return cls.of(np.empty((0, 2)))
        return cls.of(
            np.column_stack([_blocks(rng.permutation(one), n) for one in (first, second)])
        )

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "Outcomes":
        """Return the distinct values with their counts."""
        if len(values) == 0:
            return cls(values=values.astype(np.float64), counts=np.zeros(0))
        # As complex numbers, pairs are sorted much faster than as rows.
        pairs = np.ascontiguousarray(values, dtype=np.float64).view(np.complex128)
        distinct, counts = np.unique(pairs, return_counts=True)
        return cls(
            values=distinct.view(np.float64).reshape(-1, 2), counts=counts.astype(np.float64)
        )

    @property
    def mean(self) -> float | None:
        """Mean of the first column, None without outcomes."""
        n = self.counts.sum()
        return None if n == 0 else float(self.counts @ self.values[:, 0] / n)

    @property
    def complement(self) -> "Outcomes":
        """One minus each number."""
        values = np.column_stack([1 - self.values[:, 0], self.values[:, 1]])
        return Outcomes(values=values, counts=self.counts)

    def log_wealth(self, factor: float, bounds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log wealth of bets that ``factor * first - second`` exceeds each bound.

        The shape is (n_bounds, n_bets).
        """
        gain = factor * self.values[:, 0] - self.values[:, 1]
        outcome = gain[None, :, None] - bounds[:, None, None]
        return np.einsum("v,bvs->bs", self.counts, np.log1p(outcome * BETS))


def _blocks(values: NDArray[np.bool_], n: int) -> NDArray[np.float64]:
    """Return the means of ``n`` consecutive blocks of about equal size."""
    edges = np.arange(n + 1) * len(values) // n
    sums = np.add.reduceat(values.astype(np.float64), edges[:-1])
    return np.asarray(sums / np.diff(edges))


def mixed(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log wealth after each window, mixed over the bets and the first window.

    ``logs`` are those of single windows, shape (n_windows, ..., n_bets). The bet that starts with
    window k has the weight ``1 / (k (k + 1))``; what has not started keeps its wealth.
    """
    n = len(logs)
    total = np.concatenate([np.zeros_like(logs[:1]), np.cumsum(logs, axis=0)])
    found = np.empty(logs.shape[:-1])
    starts = np.arange(1, n + 1)
    prior = -np.log(starts * (starts + 1.0))
    for at in range(1, n + 1):
        since = logsumexp(total[at] - total[:at], axis=-1) - np.log(logs.shape[-1])
        weight = prior[:at].reshape(-1, *(1 for _ in since.shape[1:]))
        started = logsumexp(since + weight, axis=0)
        found[at - 1] = np.logaddexp(started, -np.log(at + 1.0))
    # A bet that has won stays won.
    return np.maximum.accumulate(found, axis=0)


DRIFT = 0.05
"""Largest change of a share, rate or mean score that is not called drift."""

GRID = np.arange(0.0, 1.0, 0.005)
"""Bounds of a metric that are tried to show by how much it was exceeded."""

Shares = Mapping[tuple[Kind, str, str], tuple[float, float]]
"""Events and rows of the reference by kind, grouping and group."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WatchedRows:
    """Rows of all windows, encoded."""

    window: NDArray[np.int64]  # shape (n_rows,): position of the window
    n_windows: int
    cells: NDArray[np.int32]  # shape (n_rows,): finest group, -1 = unknown
    n_cells: int
    decision: NDArray[np.int8]  # shape (n_rows,): 0 or 1
    y: NDArray[np.int8] | None = None  # shape (n_rows,): 0 or 1
    score: NDArray[np.float64] | None = None  # shape (n_rows,): in [0, 1]

    def codes(self, system: GroupSystem) -> NDArray[np.int64]:
        """Return the group of each row, -1 where it is unknown."""
        # Index -1 (unknown) selects the last element.
        return np.append(system.of_cell, -1)[self.cells].astype(np.int64)

    def member(self, system: GroupSystem) -> NDArray[np.bool_]:
        """Return which rows belong to each group, shape (n_groups, n_rows)."""
        # Index -1 (unknown) selects the last element.
        return np.pad(system.member, ((0, 0), (0, 1)))[:, self.cells]

    def grouped(self, system: GroupSystem) -> NDArray[np.bool_]:
        """Return the rows that are grouped; where groups overlap, these may be in no group."""
        return self.cells >= 0 if system.overlapping else self.codes(system) >= 0

    def outcome(self, rate: Rate) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return masks of the rows in the denominator and in the numerator of a rate."""
        y = np.zeros_like(self.decision) if self.y is None else self.y
        mass, top = rate.shares(y, self.decision)
        return mass > 0, top > 0

    def counts(self, at: int) -> GroupCounts:
        """Return the counts of a window by finest group."""
        here = self.window == at
        y = np.zeros_like(self.decision) if self.y is None else self.y
        return GroupCounts.from_rows(
            self.cells[here], y[here], self.decision[here], n_groups=self.n_cells
        )


def constraint_series(
    rows: WatchedRows, targets: Sequence[BoundConstraint], level: float, seed: int
) -> tuple[Series, ...]:
    """Return every constraint that the rows can be judged by, tested jointly at a level.

    An alarm means that in some window the metric of the population was beyond its bound.
    """
    shown = [one for one in targets if rows.y is not None or not one.metric.needs_labels]
    tables = [rows.counts(at) for at in range(rows.n_windows)]
    tested = [one for one in shown if _is_compared(one, tables)]
    n_tests = sum(len(one.metric.rates) * _n_tests_of_rate(one) for one in tested)
    found = []
    for target in shown:
        results = [target.result(table) for table in tables]
        series = Series(
            kind="constraint",
            name=target.label,
            values=tuple(one.value for one in results),
            reference=target.metric.gap(target.limit),
            bounded_below=target.metric.bounded_below,
        )
        if target in tested:
            found.append(_tested(rows, target, series, np.log(n_tests / level), seed))
        else:
            why = "no comparison of the rates of two groups"
            if target.system.overlapping:
                why = "the groups overlap"
            found.append(replace(series, untested=why))
    return tuple(found)


def _n_tests_of_rate(target: BoundConstraint) -> int:
    """Return the number of groups with a minimum, or of ordered pairs of groups."""
    n = target.system.n_groups
    return n if target.metric.is_minimum else n * (n - 1)


def _is_compared(target: BoundConstraint, tables: Sequence[GroupCounts]) -> bool:
    """Return whether the metric is the worst disparity of its rates, or the smallest rate."""
    metric, few = target.metric, target.system.n_groups < target.fewest_groups
    # A minimum tests each group by itself, so rows may be in several of them.
    beside_overall = target.to_overall and not metric.is_minimum
    if not metric.rates or beside_overall or metric.degree or few:
        return False
    table = target.merged(GroupCounts(np.sum([one.table for one in tables], axis=0)))
    value = metric.value(table)
    if isinstance(value, Undefined):
        return True
    return is_worst_of(metric, value, np.stack([table.rates(rate) for rate in metric.rates]))


def _tested(
    rows: WatchedRows,
    target: BoundConstraint,
    series: Series,
    threshold: float,
    seed: int,
) -> Series:
    """Return the series with what its bets have shown."""
    limit = float(series.reference or 0.0)
    bounds = np.unique(np.append(GRID, limit))
    best = np.full((rows.n_windows, len(bounds)), -np.inf)
    wealth = {"ratio": _of_ratio, "minimum": _of_minimum}.get(target.metric.form, _of_difference)
    for outcomes in _outcomes(rows, target, seed):
        # The wealth falls as the bound rises; if it bounds from below, as it falls.
        best = np.maximum(best, mixed(np.stack([wealth(one, bounds) for one in outcomes])))
    rejected = best >= threshold
    return replace(
        series,
        shown=tuple(_last(flags, bounds, series.bounded_below) for flags in rejected),
        alarm=_first(rejected[:, np.searchsorted(bounds, limit)]),
    )


def _of_difference(outcomes: Outcomes, bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log wealth of bets that the first rate exceeds the second by each bound."""
    return outcomes.log_wealth(1.0, bounds)


def _of_minimum(outcomes: Outcomes, bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log wealth of bets that the rate is below each bound."""
    return outcomes.complement.log_wealth(1.0, 1.0 - bounds)


def _of_ratio(outcomes: Outcomes, bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log wealth of bets that the second rate is below each share of the first."""
    zero = np.zeros(1)
    return np.concatenate([outcomes.log_wealth(float(bound), zero) for bound in bounds])


def _outcomes(rows: WatchedRows, target: BoundConstraint, seed: int) -> Iterator[list[Outcomes]]:
    """Yield the outcomes of each window for every rate and ordered pair of groups, or group.

    Every window has its own draws, because new ones on old windows would be further bets.
    """
    member = rows.member(target.system)
    for rate in target.metric.rates:
        counted, happened = rows.outcome(rate)
        parts = [
            [happened[counted & own & (rows.window == at)] for own in member]
            for at in range(rows.n_windows)
        ]
        for first in range(target.system.n_groups):
            if target.metric.is_minimum:
                yield [Outcomes.single(own[first].astype(np.float64)) for own in parts]
                continue
            for second in range(target.system.n_groups):
                if first != second:
                    yield [
                        Outcomes.paired(own[first], own[second], np.random.default_rng((seed, at)))
                        for at, own in enumerate(parts)
                    ]


def _last(rejected: NDArray[np.bool_], bounds: NDArray[np.float64], below: bool) -> float | None:
    """Return the strongest bound that was shown: the largest, or from below the smallest."""
    if not rejected.any():
        return None
    return float(bounds[rejected].min() if below else bounds[rejected].max())


def _first(flags: NDArray[np.bool_]) -> int | None:
    return int(flags.argmax()) if flags.any() else None


def drift_series(
    rows: WatchedRows, systems: Sequence[GroupSystem], reference: Shares, level: float
) -> tuple[Series, ...]:
    """Return shares, rates and scores of every group, tested jointly at a level.

    An alarm means that the value of the population has moved by more than ``DRIFT``. Half of the
    level is for the sampling error of the reference. Scores are compared with the first window.
    """
    measured = list(_measured(rows, systems))
    each = level / (2 * 2 * max(1, len(measured)))
    found = []
    for kind, system, group, outcomes in measured:
        values = tuple(one.mean for one in outcomes)
        series = Series(kind=kind, name=f"{system}: {group}", values=values)
        known, tested = reference.get((kind, system, group)), outcomes
        if kind == "score":
            known = (values[0] or 0.0) * outcomes[0].counts.sum(), outcomes[0].counts.sum()
            tested = [Outcomes.single(np.empty(0)), *outcomes[1:]]
        if known is None or known[1] <= 0:
            found.append(replace(series, untested="not in the reference"))
            continue
        low, high = _no_drift(*known, each, exact=kind != "score")
        alarm = _moved(tested, low, high, np.log(1 / each))
        found.append(
            replace(series, reference=known[0] / known[1], low=low, high=high, alarm=alarm)
        )
    return tuple(found)


def _measured(
    rows: WatchedRows, systems: Sequence[GroupSystem]
) -> Iterator[tuple[Kind, str, str, list[Outcomes]]]:
    """Yield what is measured in each group, with the outcomes of each window."""
    for system in systems:
        grouped = rows.grouped(system)
        for own, label in zip(rows.member(system), system.labels, strict=True):
            columns: list[tuple[Kind, NDArray[np.bool_], NDArray[np.floating]]] = [
                ("share", grouped, own.astype(np.float64)),
                ("selection", own, rows.decision.astype(np.float64)),
            ]
            if rows.y is not None:
                columns.append(("base_rate", own, rows.y.astype(np.float64)))
            if rows.score is not None:
                columns.append(("score", own, rows.score))
            for kind, counted, values in columns:
                windows = range(rows.n_windows)
                parts = [values[counted & (rows.window == at)] for at in windows]
                yield kind, system.name, label, [Outcomes.single(part) for part in parts]


def _no_drift(x: float, n: float, level: float, *, exact: bool) -> tuple[float, float]:
    """Return the values that are no drift: the interval of the reference, widened."""
    if exact:
        low, high = float(cp_lower(x, n, level)), float(cp_upper(x, n, level))
    else:
        margin = hoeffding_margin(level, int(n))
        low, high = x / n - margin, x / n + margin
    return max(0.0, low - DRIFT), min(1.0, high + DRIFT)


def _moved(outcomes: Sequence[Outcomes], low: float, high: float, threshold: float) -> int | None:
    """Return the first window in which the mean has been shown to be outside the ends."""
    above = np.stack([one.log_wealth(1.0, np.array([high])) for one in outcomes])
    below = np.stack([one.complement.log_wealth(1.0, np.array([1 - low])) for one in outcomes])
    return _first((np.maximum(mixed(above), mixed(below)) >= threshold)[:, 0])


def reference_shares(
    counts: NDArray[np.float64], n_rows: NDArray[np.float64], systems: Sequence[GroupSystem]
) -> dict[tuple[Kind, str, str], tuple[float, float]]:
    """Return the reference of each group from counts by finest group, label and decision.

    ``n_rows`` are the effective rows of the finest groups.
    """
    found: dict[tuple[Kind, str, str], tuple[float, float]] = {}
    for system in systems:
        table = GroupCounts(counts).merged(system.of_cell, system.n_groups, system.masks)
        n = system.member @ n_rows
        mass = table.table.sum(axis=(1, 2))
        # Where groups overlap, shares are those of all rows.
        grouped = np.ones(len(n_rows), bool) if system.overlapping else system.of_cell >= 0
        of_rate = {
            "share": mass / counts[grouped].sum(),
            "selection": table.rates(SELECTION),
            "base_rate": table.table[:, 1].sum(axis=1) / np.maximum(mass, ROUNDING),
        }
        for group, label in enumerate(system.labels):
            if mass[group] > 0:
                all_rows = n_rows[grouped].sum()
                rows = {"share": all_rows, "selection": n[group], "base_rate": n[group]}
                kinds: tuple[Kind, ...] = ("share", "selection", "base_rate")
                for kind in kinds:
                    size = float(rows[kind])
                    key = (kind, system.name, label)
                    found[key] = (float(of_rate[kind][group]) * size, size)
    return found


SMALLEST = 1e-6
"""Probabilities are at least this, so that the log loss is finite."""
BOUND = 0.05
"""Gap that calls for another expert if the model has no constraint."""


def adapted(
    rows: WatchedRows,
    windows: tuple[str, ...],
    matrix: NDArray[np.floating],
    schema: FeatureSchema,
    system: GroupSystem,
    targets: tuple[BoundConstraint, ...],
    seed: int,
) -> tuple[Adaptation, ...]:
    """Return loss and gap of both models in each window, before the mixture learns from it.

    References
    ----------
    Sharma, Henderson, Ghosh, "FEAMOE: Fair, explainable and adaptive mixture of experts", IJCAI
    2023 (arXiv 2210.04995).
    """
    if rows.y is None or rows.score is None or schema.sparse:
        raise InputError("adapt=True needs true labels (y) and a dense table.")
    fairness: Fairness = "demographic_parity"
    if targets and SELECTION not in targets[0].metric.compared:
        fairness = "equalized_odds"
    limit = targets[0].limit if targets else BOUND
    mixture = MixtureOfExperts(
        {"fairness": fairness, "gap_limit": limit, "window": len(rows.window)}, schema, seed=seed
    )
    return tuple(_adapted(rows, windows, matrix, rows.codes(system), mixture, fairness))


def _adapted(
    rows: WatchedRows,
    windows: tuple[str, ...],
    matrix: NDArray[np.floating],
    codes: NDArray[np.int64],
    mixture: MixtureOfExperts,
    fairness: Fairness,
) -> Iterator[Adaptation]:
    y, score = np.asarray(rows.y), np.asarray(rows.score)
    for at, name in enumerate(windows):
        here = rows.window == at
        if len(np.unique(y[here])) < 2:
            continue
        known = mixture.monitor_.history if hasattr(mixture, "monitor_") else []
        before = len(known)
        groups = np.where(codes[here] >= 0, codes[here], None)
        mixture.partial_fit(matrix[here], y[here], groups)
        history = mixture.monitor_.history
        if len(history) == before:
            # The first window trains the first expert.
            continue
        p = np.clip(score[here], SMALLEST, 1 - SMALLEST)
        yield Adaptation(
            window=name,
            loss=float(-np.mean(np.where(y[here] == 1, np.log(p), np.log1p(-p)))),
            gap=_gap(codes[here], y[here], rows.decision[here], fairness),
            adaptive_loss=history[-1].loss,
            adaptive_gap=history[-1].gap,
            n_experts=mixture.model_.n_experts,
        )


def _gap(
    codes: NDArray[np.int64],
    y: NDArray[np.int8],
    decision: NDArray[np.int8],
    fairness: Fairness,
) -> float | None:
    """Return the largest difference of selection rates between groups (within labels for odds)."""
    parts = [codes >= 0]
    if fairness == "equalized_odds":
        parts = [(codes >= 0) & (y == label) for label in (0, 1)]
    found = []
    for part in parts:
        groups = np.unique(codes[part])
        if len(groups) > 1:
            found.append(np.ptp([decision[part & (codes == group)].mean() for group in groups]))
    return float(max(found)) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """A deployed model with what it was fitted to."""

    model: Predictor
    pool: Pool
    constraints: tuple[Constraint, ...]
    certificate: Certificate | None
    seed: int


def monitor(
    deployed: Deployed, rows: Inputs, groups: Any, time: Any, *, delta: float, adapt: bool
) -> Monitor:
    """Test the decisions of a model on rows with their true groups; see ``FairAutoML.monitor``."""
    delta = check_error_probability(delta)
    model, pool, X = deployed.model, deployed.pool, rows.X
    systems = _watched_systems(pool)
    windows = read_windows(X[time] if isinstance(time, str) else time, len(X))
    if isinstance(time, str) and time not in pool.schema.names_in:
        X = X.drop(columns=time)
    cells = pool.groups_of(X, groups)
    matrix, served = model.read(X, rows.sensitive, unseen="base_model", warns=True)
    with isolated_config():
        watched = WatchedRows(
            window=windows.of_row,
            n_windows=len(windows.names),
            cells=cells,
            n_cells=systems[0].of_cell.size,
            decision=model.decisions(matrix, served).astype(np.int8),
            y=None if rows.y is None else pool.labels_of(rows.y),
            score=model.scores(matrix, served),
        )
    targets = bind_constraints(deployed.constraints, systems, pool.board.small_groups)
    reference, source = _reference_of(pool, deployed.certificate, systems)
    found = watch(
        watched, windows, targets, systems, reference, source=source, delta=delta,
        seed=deployed.seed,
    )  # fmt: skip
    if not adapt:
        return found
    schema = pool.schema.feature_schema
    apart = [one for one in systems if not one.overlapping]
    if not apart:
        names = ", ".join(repr(one.name) for one in systems)
        raise InputError(f"adapt=True: the groups of {names} overlap. Leave adapt out.")
    compared = adapted(watched, windows.names, matrix, schema, apart[-1], targets, deployed.seed)
    return replace(found, adaptation=compared)


MOST_WINDOWS = 200
"""Most windows; more distinct values of the time column are probably not rounded."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Windows:
    """Names of the windows in order, and the window of each row."""

    names: tuple[str, ...]
    of_row: NDArray[np.int64]  # shape (n_rows,)


def read_windows(time: Any, n_rows: int) -> Windows:
    """Return the windows of a column of times: months of dates, otherwise the distinct values."""
    if time is None:
        return Windows(names=("all rows",), of_row=np.zeros(n_rows, dtype=np.int64))
    check_length(n_rows, time, "time")
    column = as_series(time, "time").reset_index(drop=True).infer_objects()
    if column.isna().any():
        msg = f"time has {int(column.isna().sum())} missing value(s). Give each row its time."
        raise InputError(msg)
    given = column
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.dtype.categories.dtype)
    if not is_datetime64_any_dtype(column) and not is_numeric_dtype(column):
        column = column.astype(str)
        dates = pd.to_datetime(column, errors="coerce", format="ISO8601")
        column = dates if dates.notna().all() else column
    if is_datetime64_any_dtype(column):
        column = column.dt.strftime("%Y-%m")
    elif isinstance(given.dtype, pd.CategoricalDtype) and given.dtype.ordered:
        column = given
    codes, names = pd.factorize(column, sort=True)
    if len(names) > MOST_WINDOWS:
        raise InputError(
            f"time has {len(names)} distinct values; allowed are {MOST_WINDOWS} windows. Pass "
            "dates, which are grouped by month, or round the values."
        )
    return Windows(names=tuple(map(str, names)), of_row=codes.astype(np.int64))


def _watched_systems(pool: Pool) -> tuple[GroupSystem, ...]:
    """Return the groupings that can be watched; raise if there are none."""
    systems = () if pool.groups is None else pool.groups.systems
    found = tuple(one for one in systems if one.values is None)
    if pool.task != "binary" or not found:
        msg = "monitor needs a model of two classes that was fitted with sensitive groups."
        raise InputError(msg)
    return found


def watch(
    rows: WatchedRows,
    windows: Windows,
    targets: Sequence[BoundConstraint],
    systems: Sequence[GroupSystem],
    reference: Shares,
    *,
    source: str,
    delta: float,
    seed: int,
) -> Monitor:
    """Return the monitor of encoded rows; half of ``delta`` is for constraints, half for drift."""
    constraints = constraint_series(rows, targets, delta / 2, seed)
    drift = drift_series(rows, systems, reference, delta / 2)
    return Monitor(
        windows=windows.names,
        n_rows=tuple(np.bincount(windows.of_row, minlength=len(windows.names)).tolist()),
        n_unknown_group=int((rows.cells < 0).sum()),
        labelled=rows.y is not None,
        delta=delta,
        reference=source,
        series=(*constraints, *drift),
        notes=tuple(_notes(rows, targets, constraints)),
    )


def _notes(
    rows: WatchedRows, targets: Sequence[BoundConstraint], constraints: Sequence[Series]
) -> list[str]:
    shown = {one.name for one in constraints}
    hidden = [one.label for one in targets if one.label not in shown]
    notes = []
    if hidden:
        notes.append(f"{', '.join(hidden)} needs true labels (y), and none were given.")
    if not targets:
        notes.append("The model was fitted without a constraint; only drift is tested.")
    if rows.n_windows == 1:
        notes.append("All rows are one window; with time= (--time-column) each month is one.")
    return notes


def _reference_of(
    pool: Pool, certificate: Certificate | None, systems: Sequence[GroupSystem]
) -> tuple[Shares, str]:
    """Return shares and rates of the training rows, with the certificate's selection rates."""
    found = reference_shares(pool.best.counts, pool.board.n_rows, systems)
    certified = {} if certificate is None else dict(_certified(certificate))
    source = "training rows (cross-fitted)"
    return found | certified, f"{source} and the certificate" if certified else source


def _certified(
    certificate: Certificate,
) -> Iterator[tuple[tuple[Kind, str, str], tuple[float, float]]]:
    """Yield the counts behind the selection rates of a certificate that are published."""
    for claim in certificate.claims:
        for event, cells in zip(claim.events, claim.cells, strict=True):
            for group, cell in zip(claim.groups, cells, strict=True):
                if event == "selection" and cell is not None and cell["kind"] == "count":
                    yield ("selection", claim.system, group), (float(cell["x"]), float(cell["n"]))
