"""Find the parts of the feature space with the largest gaps between groups.

A shallow tree, or a hierarchy of clusters, proposes slices on one half of the rows; the other half
measures them. Weights are not used.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_numeric_dtype
from sklearn.cluster import KMeans

from fairautoml.auditing.rates import AuditSample
from fairautoml.auditing.result import Interval, Section
from fairautoml.auditing.rows import AuditRows
from fairautoml.certification.bounds import cp_lower, cp_upper
from fairautoml.metrics._table import Rate
from fairautoml.metrics.groups import GroupSystem
from fairautoml.metrics.rates import SELECTION
from fairautoml.parameters import check_integer

DEPTH = 3
"""Most conditions of a slice."""
CUTS = 9
"""Thresholds that are tried for a number: its deciles."""
MOST_VALUES = 12
"""Most values of a category that are tried; the frequent ones."""
FEWEST_ROWS = 25
"""Fewest rows behind each of the two rates, on either half."""
MOST_SHARED = 0.8
"""Largest overlap of two slices that are both shown."""
MOST_PROPOSING = 20_000
"""Most rows that the tree reads; the others all measure."""
MOST_CLUSTERS = 3
"""Clusters that are shown of a hierarchy, for each grouping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRow:
    """The gap between two groups in one slice, on rows that did not choose it."""

    system: str  # sensitive column or intersection
    conditions: tuple[str, ...]  # all hold in the slice, such as ``"age <= 25"``
    rate: str
    lowest: str  # groups that the slice was proposed for
    highest: str
    n_lowest: int  # rows of these groups behind the rate
    n_highest: int
    gap: float  # rate of ``highest`` minus that of ``lowest``
    interval: Interval  # simultaneous over all slices of the audit
    overall: float  # the same difference on all measuring rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Rows that a condition, several of them or a cluster hold."""

    conditions: tuple[str, ...]
    inside: NDArray[np.bool_]  # shape (n_rows,), on both halves


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Slice(Part):
    rate: int
    lowest: int
    highest: int
    rank: float  # the gap minus its standard error


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Grouped:
    """Rows of one grouping, as the tree counts them."""

    code: NDArray[np.int64]  # shape (n_rows,): group, -1 = not compared
    n_groups: int
    counted: NDArray[np.bool_]  # shape (n_rates, n_rows): rows behind each rate
    happened: NDArray[np.bool_]  # shape (n_rates, n_rows)

    def tables(self, inside: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return events and rows by rate and group, each of shape (n_rates, n_groups)."""
        size = self.n_groups
        n = [np.bincount(self.code[inside & c], minlength=size) for c in self.counted]
        x = [
            np.bincount(self.code[inside & c & h], minlength=size)
            for c, h in zip(self.counted, self.happened, strict=True)
        ]
        return np.stack(x), np.stack(n)


def slice_rows(
    rows: AuditRows,
    X: pd.DataFrame,
    rates: Sequence[Rate],
    systems: Sequence[GroupSystem],
    level: float,
    *,
    most: int | str,
    seed: int,
) -> tuple[SliceRow, ...]:
    """Return the slices with the largest gaps, at most that many per grouping, worst first.

    With ``"hierarchy"`` they are clusters of similar rows, at most three per grouping.

    The intervals are exact (Clopper-Pearson) and hold jointly with probability ``1 - level``,
    because the tree saw none of the rows that they are computed from.

    References
    ----------
    Honest splitting: Athey, Imbens, "Recursive partitioning for heterogeneous causal effects",
    PNAS 113 (2016). Slices: Chung, Kraska, Polyzotis, Tae, Whang, "Slice Finder", ICDE 2019.
    """
    clusters = most == "hierarchy"
    shown = MOST_CLUSTERS
    if not clusters:
        wanted = "a whole number of at least 1, how many slices are shown, or 'hierarchy'"
        shown = check_integer("slices", most, wanted, lambda count: count >= 1)
    n_rows = len(rows.decision)
    drawn = np.random.default_rng(seed).permutation(n_rows)
    proposing = drawn < min(n_rows // 2, MOST_PROPOSING)
    features = X.drop(columns=list(rows.columns), errors="ignore")
    parts = list(balanced_parts(features, proposing, seed)) if clusters else []
    conditions = [] if clusters else list(_conditions(features, proposing))
    proposed = []
    for system in (one for one in systems if one.n_groups >= 2):
        grouped = _grouped(rows, system, rates)
        if clusters:
            ranked = _ranked_parts(grouped, parts, proposing)
        else:
            ranked = _nodes(grouped, conditions, proposing)
        proposed += [(system, grouped, one) for one in _apart(ranked, int(shown))]
    each = level / max(1, len(proposed))
    measured = [
        _measured(system, grouped, one, rates, ~proposing, each)
        for system, grouped, one in proposed
    ]
    return tuple(
        sorted((row for row in measured if row is not None), key=lambda row: -row.interval.low)
    )


def slice_section(sample: AuditSample, X: pd.DataFrame, most: int | str) -> Section:
    """Return the section of an audit on the worst slices, in all rates of its metrics."""
    compared = dict.fromkeys(rate for metric in sample.metrics for rate in metric.compared)
    rates = sample.tables.defined(tuple(compared)) or (SELECTION,)
    level, seed = sample.level, sample.seed
    found = slice_rows(sample.rows, X, rates, sample.compared, level, most=most, seed=seed)
    return Section(
        name="slices",
        title="Slices with the largest gaps (found on one part of the rows, measured on others)",
        rows=found,
        columns={
            "system": "groups", "conditions": "slice", "rate": "rate", "lowest": "lowest",
            "highest": "highest", "n_lowest": "rows of lowest", "n_highest": "rows of highest",
            "gap": "gap", "interval": "joint interval", "overall": "gap without slicing",
        },
        sentences=tuple(_sentence(row, level) for row in found),
        whole_names=True,
    )  # fmt: skip


def _sentence(row: SliceRow, level: float) -> str:
    sure = f"{100 * (1 - level):g} %"
    says = (
        f"Where {' and '.join(row.conditions)}: the {row.rate} rate of {row.highest} is "
        f"{abs(row.gap):.3f} {'above' if row.gap >= 0 else 'below'} that of {row.lowest}; in all "
        f"slices together {row.overall:+.3f}."
    )
    if row.interval.low > 0:
        return (
            f"{says} In the population it is at least {row.interval.low:.3f} above, with {sure} "
            "confidence for all slices together."
        )
    return f"{says} That may be chance at {sure} confidence."


def _grouped(rows: AuditRows, system: GroupSystem, rates: Sequence[Rate]) -> _Grouped:
    code = rows.codes(system)
    y = np.zeros_like(rows.decision) if rows.y is None else rows.y
    shares = [rate.shares(y, rows.decision) for rate in rates]
    return _Grouped(
        code=code,
        n_groups=system.n_groups,
        counted=np.stack([(mass > 0) & (code >= 0) for mass, _ in shares]),
        happened=np.stack([top > 0 for _, top in shares]),
    )


def _conditions(X: pd.DataFrame, proposing: NDArray[np.bool_]) -> Iterator[Part]:
    """Yield the conditions that a slice may consist of; thresholds come from proposing rows."""
    for name in X.columns:
        column = X[name].reset_index(drop=True)
        numeric = is_numeric_dtype(column) and not is_bool_dtype(column)
        if numeric and column.nunique() > MOST_VALUES:
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
            known = values[proposing & np.isfinite(values)]
            deciles = np.arange(1, CUTS + 1) / (CUTS + 1)
            cuts = np.unique(np.quantile(known, deciles)) if len(known) else known
            for cut in cuts.tolist():
                yield Part(conditions=(f"{name} <= {cut:.6g}",), inside=values <= cut)
                yield Part(conditions=(f"{name} > {cut:.6g}",), inside=values > cut)
        else:
            text = column.astype(object).where(column.notna(), "(missing)").map(str)
            for value in text[proposing].value_counts().index[:MOST_VALUES]:
                same = (text == value).to_numpy()
                yield Part(conditions=(f"{name} = {value}",), inside=same)
                yield Part(conditions=(f"{name} != {value}",), inside=~same)


SMALLEST_PART = 60
"""Fewest clustered rows of a part, but at least one in a hundred."""
BALANCE = (1 / 3, 2 / 3)
"""Least and largest share of its rows that a part passes on to either of its two parts."""
MOST_NAMED = 3
"""Columns that describe a part: those that set it apart most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Coordinates:
    """Columns in standard deviations, categories as indicators."""

    values: NDArray[np.float32]  # shape (n_rows, n_coordinates)
    names: tuple[str, ...]
    scale: NDArray[np.float64]  # standard deviation behind each coordinate; 0 = an indicator
    center: NDArray[np.float64]


def balanced_parts(X: pd.DataFrame, clustered: NDArray[np.bool_], seed: int) -> Iterator[Part]:
    """Yield the parts of a binary hierarchy, in which every division is balanced.

    References
    ----------
    Balance of a third to two thirds: Knittel, Springer, Dickerson, Hajiaghayi, "Generalized
    reductions: making any hierarchical clustering fair and balanced with low cost", ICML 2023.
    """
    table = _coordinates(X, clustered)
    if not table.names:
        return
    smallest = max(SMALLEST_PART, int(clustered.sum()) // 100)
    front = [np.ones(len(X), dtype=np.bool_)]
    while front:
        inside = front.pop()
        known = inside & clustered
        if known.sum() < 2 * smallest or not np.ptp(table.values[known], axis=0).any():
            continue
        centers = KMeans(2, n_init=3, random_state=seed).fit(table.values[known])
        distance = centers.transform(table.values)
        side = distance[:, 0] - distance[:, 1]
        # Ties on the boundary stay together, so that a division can be less balanced.
        cut = np.clip(0.0, *np.quantile(side[known], BALANCE))
        for part in (inside & (side <= cut), inside & (side > cut)):
            if (part & clustered).sum() >= smallest:
                yield Part(conditions=_described(table, part & clustered), inside=part)
                front.append(part)


def _coordinates(X: pd.DataFrame, clustered: NDArray[np.bool_]) -> _Coordinates:
    values, names, scale, center = [], [], [], []
    for name in X.columns:
        column = X[name].reset_index(drop=True)
        if is_numeric_dtype(column) and not is_bool_dtype(column):
            numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
            numbers = np.where(np.isfinite(numbers), numbers, np.nan)
            known = numbers[clustered & ~np.isnan(numbers)]
            if len(known) and np.ptp(known) > 0:
                values.append(np.nan_to_num((numbers - known.mean()) / known.std()))
                names.append(str(name))
                scale.append(float(known.std()))
                center.append(float(known.mean()))
            continue
        text = column.astype(object).where(column.notna(), "(missing)").map(str)
        for value in text[clustered].value_counts().index[:MOST_VALUES]:
            values.append((text == value).to_numpy(dtype=np.float64))
            names.append(f"{name} = {value}")
            scale.append(0.0)
            center.append(float(values[-1][clustered].mean()))
    return _Coordinates(
        values=np.array(values, dtype=np.float32).T.reshape(len(X), -1),
        names=tuple(names),
        scale=np.array(scale),
        center=np.array(center),
    )


def _described(table: _Coordinates, rows: NDArray[np.bool_]) -> tuple[str, ...]:
    """Return the mean of the columns whose mean differs most from that of all rows."""
    mean = table.values[rows].mean(axis=0, dtype=np.float64)
    is_number = table.scale > 0
    apart = np.abs(np.where(is_number, mean, mean - table.center))
    said = []
    for at in np.argsort(-apart, kind="stable")[:MOST_NAMED]:
        name, center = table.names[at], table.center[at]
        if is_number[at]:
            said.append(f"{name} about {center + mean[at] * table.scale[at]:.4g} ({center:.4g})")
        else:
            said.append(f"{name} in {100 * mean[at]:.0f} % ({100 * center:.0f} %)")
    return tuple(said)


def _ranked_parts(
    grouped: _Grouped, parts: Sequence[Part], proposing: NDArray[np.bool_]
) -> list[_Slice]:
    """Return the parts with enough rows of two groups."""
    ranked = (_ranked(grouped, part, proposing) for part in parts)
    return [one for one in ranked if one is not None]


def _nodes(
    grouped: _Grouped, conditions: Sequence[Part], proposing: NDArray[np.bool_]
) -> list[_Slice]:
    """Grow the tree from the condition with the worst slice, and return its nodes."""
    front: Sequence[Part] = [Part(conditions=(), inside=np.ones(len(proposing), dtype=np.bool_))]
    found: list[_Slice] = []
    for _ in range(DEPTH):
        nodes = [
            child for node in front for child in _children(grouped, conditions, node, proposing)
        ]
        found += nodes
        front = nodes
    return found


def _apart(found: Sequence[_Slice], most: int) -> list[_Slice]:
    """Return the worst slices that overlap little."""
    kept: list[_Slice] = []
    for one in sorted(found, key=lambda one: -one.rank):
        if len(kept) < most and not any(_overlap(one, other) > MOST_SHARED for other in kept):
            kept.append(one)
    return kept


def _overlap(one: _Slice, other: _Slice) -> float:
    """Return the rows that two slices share, as a share of the rows of either."""
    return float((one.inside & other.inside).sum() / (one.inside | other.inside).sum())


def _children(
    grouped: _Grouped, conditions: Sequence[Part], node: Part, proposing: NDArray[np.bool_]
) -> list[_Slice]:
    """Return the two parts of a node by the condition whose part is worst, if it can be split."""
    best: list[_Slice] = []
    for pair in zip(conditions[::2], conditions[1::2], strict=True):
        parts = [
            Part(conditions=node.conditions + one.conditions, inside=node.inside & one.inside)
            for one in pair
        ]
        defined = _ranked_parts(grouped, parts, proposing)
        if defined and (not best or _worst(defined) > _worst(best)):
            best = defined
    return best


def _worst(parts: Sequence[_Slice]) -> float:
    return max(part.rank for part in parts)


def _ranked(grouped: _Grouped, part: Part, proposing: NDArray[np.bool_]) -> _Slice | None:
    """Return a slice with its worst pair of groups, None if it has too few rows."""
    x, n = grouped.tables(part.inside & proposing)
    enough = n >= FEWEST_ROWS
    size = np.maximum(n, 1)
    share = x / size
    # Half an event on either side, so that a rate of 0 has a standard error.
    smooth = (x + 0.5) / (size + 1)
    variance = smooth * (1 - smooth) / size
    gap = share[:, None, :] - share[:, :, None]
    rank = gap - np.sqrt(variance[:, None, :] + variance[:, :, None])
    rank[~(enough[:, None, :] & enough[:, :, None])] = -np.inf
    rank[:, np.arange(grouped.n_groups), np.arange(grouped.n_groups)] = -np.inf
    rate, lowest, highest = (int(i) for i in np.unravel_index(rank.argmax(), rank.shape))
    if not np.isfinite(rank[rate, lowest, highest]):
        return None
    return _Slice(
        conditions=part.conditions,
        inside=part.inside,
        rate=rate,
        lowest=lowest,
        highest=highest,
        rank=float(rank[rate, lowest, highest]),
    )


def _measured(
    system: GroupSystem,
    grouped: _Grouped,
    found: _Slice,
    rates: Sequence[Rate],
    measuring: NDArray[np.bool_],
    level: float,
) -> SliceRow | None:
    """Return the gap of a slice on the other half of the rows, None if they are too few."""
    pair = [found.lowest, found.highest]
    x, n = (table[found.rate, pair] for table in grouped.tables(found.inside & measuring))
    if n.min() < FEWEST_ROWS:
        return None
    all_x, all_n = (table[found.rate, pair] for table in grouped.tables(measuring))
    # Two one-sided bounds at either end.
    low, high = cp_lower(x, n, level / 4), cp_upper(x, n, level / 4)
    share, overall = x / n, all_x / all_n
    return SliceRow(
        system=system.name,
        conditions=found.conditions,
        rate=rates[found.rate].name,
        lowest=system.labels[found.lowest],
        highest=system.labels[found.highest],
        n_lowest=int(n[0]),
        n_highest=int(n[1]),
        gap=float(share[1] - share[0]),
        interval=Interval(
            low=float(low[1] - high[0]), high=float(high[1] - low[0]), method="clopper_pearson"
        ),
        overall=float(overall[1] - overall[0]),
    )
