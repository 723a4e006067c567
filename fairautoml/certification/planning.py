"""Plan how many rows to hold out for a certificate, and what they can show."""

import functools
import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from fairautoml.certification.bounds import cp_lower, hoeffding_margin
from fairautoml.certification.certificate import REASONS, SMALLEST_CELL
from fairautoml.certification.evidence import Claimed, claimed
from fairautoml.certification.exact_test import (
    SAFETY,
    TAIL,
    margins,
    rows_needed,
    screened,
    statistic,
)
from fairautoml.certification.ledger import level_of
from fairautoml.certification.verdicts import Reason
from fairautoml.data.frames import Inputs, read_entities
from fairautoml.data.read import ReadOptions, read_roles
from fairautoml.evaluation.group_sizes import MINIMUM_AS_DIFFERENCE, fewest_rows
from fairautoml.metrics import Constraint, bind_constraints

DRAWS = 400
GROWTH, MOST_GROWTHS = 1.1, 60

STANDARD_ERROR = 0.02
"""Standard error of a simulated power; a power this far below the target counts as reached."""


ASSUMED_RATE = ASSUMED_POSITIVES = 0.3
"""Assumed rate of every group, and share of rows of label 1; never estimated from rows."""


class Simulation:
    """Simulated certification sets without a gap; every method draws with the same seed."""

    _rate = ASSUMED_RATE  # true rate of every group

    def __init__(self, constraint: Constraint, rows: tuple[int, ...], delta: float) -> None:
        self._constraint, self._delta = constraint, delta
        self._ratio = constraint.metric.form == "ratio"
        self._eps, self._tau = margins(constraint.metric.form, constraint.bound)
        events = [
            rate.expected_share(ASSUMED_POSITIVES, ASSUMED_RATE)
            for rate in constraint.metric.rates
        ]
        self._rows = np.outer(events, rows)

    def cells(self, fraction: float) -> NDArray[np.int64]:
        """Return the rows of each cell, shape (n_events, n_groups), at least one."""
        rows: NDArray[np.int64] = np.floor(fraction * self._rows).astype(np.int64)
        return np.maximum(rows, 1)

    def _drawn(self, fraction: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return rows per cell and events, shape (n_draws, n_events, n_groups)."""
        sizes = self.cells(fraction)
        rng = np.random.default_rng(0)
        x = rng.binomial(sizes, self._rate, size=(DRAWS, *sizes.shape)).astype(np.int64)
        return sizes, x

    def fraction_for(self, power: float) -> float:
        """Return the share of the rows that gives the power; above 1 with too few rows."""
        limit = self._constraint.limit
        if limit <= 0:
            return np.inf
        # A ratio at rate p bounds the difference by p times its distance from one.
        scale = ASSUMED_RATE if self._ratio else 1.0
        smallest = self._rows.min(axis=0)
        first, second = np.sort(smallest)[:2]
        # The test multiplies the larger rate, and thus its error, by tau.
        less = (second + self._tau**2 * first) / (second + first)
        wanted = rows_needed(
            limit * scale,
            delta=self._delta,
            rate=ASSUMED_RATE,
            power=power,
            ratio=float(second / first),
        )
        fraction = float(SAFETY * less * wanted / first)
        return self._grown(fraction, power)

    def _grown(self, fraction: float, power: float) -> float:
        """Return the fraction, grown until the simulated test has the power."""
        for _ in range(MOST_GROWTHS):
            if self.power(fraction) >= power - STANDARD_ERROR:
                break
            fraction *= GROWTH
        return fraction

    def power(self, fraction: float) -> float:
        """Return the share of draws that would be certified, by normal approximation."""
        sizes, drawn = self._drawn(fraction)
        enough = -float(ndtri(1 - TAIL * self._delta)) * math.sqrt(SAFETY)
        return float(np.mean([self._hardest(sizes, x) <= enough for x in drawn]))

    def _hardest(self, sizes: NDArray[np.int64], x: NDArray[np.int64]) -> float:
        """Return the largest statistic among pairs that the screen does not pass."""
        found = []
        for n, events in zip(sizes, x, strict=True):
            cells = events[:, None], n[:, None], events[None, :], n[None, :]
            t = statistic(*cells, self._eps, self._tau)
            t[screened(events, n, self._eps, self._delta, self._tau)] = -np.inf
            np.fill_diagonal(t, -np.inf)
            found.append(t.max())
        return float(max(found))

    def bound_within_reach(self, fraction: float, power: float) -> float:
        """Return the bound that a share ``power`` of the draws shows, by normal approximation."""
        sizes, drawn = self._drawn(fraction)
        p = (drawn + 1) / (sizes + 2)
        variance = p * (1 - p) / (sizes + 2)
        z = float(ndtri(1 - TAIL * self._delta)) * np.sqrt(SAFETY)
        if self._ratio:
            ratios = [
                min(_lower_ratio(rates, spread, z) for rates, spread in zip(*draw, strict=True))
                for draw in zip(p, variance, strict=True)
            ]
            return float(np.quantile(ratios, 1 - power))
        shown = [
            max(_upper(rates, spread, z) for rates, spread in zip(*draw, strict=True))
            for draw in zip(p, variance, strict=True)
        ]
        return min(1.0, float(np.quantile(shown, power)))


class MinimumSimulation(Simulation):
    """Simulated certification sets of a minimum; every group has a rate ``RISE`` above it."""

    def __init__(self, constraint: Constraint, rows: tuple[int, ...], delta: float) -> None:
        super().__init__(constraint, rows, delta)
        self._rate = min(1.0, constraint.bound + RISE)

    def fraction_for(self, power: float) -> float:
        """Return the share of the rows that gives the power; above 1 with too few rows."""
        bound, rate = self._constraint.bound, self._rate
        if bound >= 1:
            return np.inf
        wanted = ndtri(1 - self._delta) * math.sqrt(bound * (1 - bound))
        wanted += ndtri(power) * math.sqrt(rate * (1 - rate))
        fraction = float(max(1.0, (wanted / (rate - bound)) ** 2) / self._rows.min())
        return self._grown(fraction, power)

    def power(self, fraction: float) -> float:
        """Return the share of draws that would be certified."""
        return float(np.mean(self._shown(fraction) >= self._constraint.bound))

    def bound_within_reach(self, fraction: float, power: float) -> float:
        """Return the minimum that a share ``power`` of the draws shows."""
        return float(np.quantile(self._shown(fraction), 1 - power))

    def _shown(self, fraction: float) -> NDArray[np.float64]:
        """Return the smallest confidence bound of each draw."""
        sizes, drawn = self._drawn(fraction)
        return cp_lower(drawn, sizes, self._delta).min(axis=(1, 2))


RISE = 0.05
"""Distance of the true rates above a minimum that plans assume."""


def _upper(rates: NDArray[np.float64], variance: NDArray[np.float64], z: float) -> float:
    """Return the largest approximate upper bound of a difference between two groups."""
    bounds = rates[:, None] - rates[None, :]
    bounds = bounds + z * np.sqrt(variance[:, None] + variance[None, :])
    np.fill_diagonal(bounds, -np.inf)
    return float(bounds.max())


def _lower_ratio(rates: NDArray[np.float64], variance: NDArray[np.float64], z: float) -> float:
    """Return the smallest approximate lower bound of a ratio between two groups, in [0, 1].

    This is the ``tau`` at which ``q - tau p`` equals ``z`` standard errors, the smaller root of a
    quadratic equation (Fieller, "Some problems in interval estimation", JRSS B 16, 1954).
    """
    own = rates**2 - z**2 * variance
    product = rates[:, None] * rates[None, :]
    root = np.sqrt(np.maximum(product**2 - own[:, None] * own[None, :], 0.0))
    bounds = np.maximum(own[:, None], 0.0) / (product + root)
    np.fill_diagonal(bounds, 1.0)
    return float(min(1.0, bounds.min()))


WORTHWHILE = 0.5
"""Smallest power at which rows are held out for a certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificationPlan:
    """Plan of the certificate of one constraint."""

    label: str  # the constraint
    delta: float  # error probability of the certificate
    wanted: float  # target power
    rows: tuple[tuple[str, int], ...]  # available rows by group
    smallest_cell: int  # rows of the smallest cell with the largest fraction
    fraction: float | None  # share of the rows to hold out, in (0, 1]; None if power is too low
    power: float  # probability of a certificate with ``fraction``, else with the largest fraction
    bound_within_reach: float  # bound that the target power certifies with the largest fraction
    # certification rows of the smallest group that the constraint needs, with the groups in the
    # same proportions; None if no number of rows is enough
    n_rows_needed: int | None
    largest_fraction: float  # largest share of the rows that may be held out

    def text(self) -> str:
        """Return the plan as human-readable text."""
        name, smallest = min(self.rows, key=lambda item: item[1])
        lines = [
            f"{self.label} at delta {self.delta:g}: with {_shown(self.smallest_cell)} rows in the "
            f"smallest cell, {self.bound_within_reach:.3g} can be certified with "
            f"{self.wanted:.0%} power; the bound of the constraint needs {self._needed()} "
            f"certification rows of group {name!r}, which has {_shown(smallest)} rows in total."
        ]
        if self.fraction is None:
            lines.append(
                f"Even with {self.largest_fraction:.0%} of the rows held out the power would be "
                f"{self.power:.0%}, so a certificate is unlikely. A looser bound, coarser groups "
                "or more rows would change that."
            )
        else:
            lines.append(f"Hold out {self.fraction:.1%} of the rows: power {self.power:.0%}.")
        return "\n".join(lines)

    def _needed(self) -> str:
        # Equal rates are never shown to be equal.
        return "no number of" if self.n_rows_needed is None else f"about {self.n_rows_needed:,}"


def _shown(rows: int) -> str:
    # The plan is published with the certificate, so small numbers are suppressed.
    return f"{rows:,}" if rows >= SMALLEST_CELL else f"fewer than {SMALLEST_CELL}"


def plan_certification(
    constraint: Constraint,
    rows: Mapping[str, int],
    *,
    delta: float = 0.05,
    power: float = 0.8,
    largest_fraction: float = 0.5,
) -> CertificationPlan:
    """Return the plan of a certificate for the given rows by group.

    The plan depends on the rows by group only, so that it does not bias the certificate. The rows
    needed start from a normal approximation and grow until the simulated test has the power, which
    is the share of simulated certification sets whose hardest pair of cells passes. The plan of a
    minimum assumes that every group is 0.05 above it.
    """
    simulated = MinimumSimulation if constraint.metric.is_minimum else Simulation
    simulation = simulated(constraint, tuple(rows.values()), delta)
    needed = simulation.fraction_for(power)
    reachable = simulation.power(largest_fraction)
    fraction: float | None = None
    if needed <= largest_fraction:
        fraction, reachable = needed, simulation.power(needed)
    elif reachable >= WORTHWHILE:
        fraction = largest_fraction
    smallest = min(rows.values())
    return CertificationPlan(
        label=constraint.label,
        delta=delta,
        wanted=power,
        rows=tuple(rows.items()),
        smallest_cell=int(simulation.cells(largest_fraction).min()),
        fraction=fraction,
        power=reachable,
        bound_within_reach=simulation.bound_within_reach(largest_fraction, power),
        n_rows_needed=math.ceil(needed * smallest) if math.isfinite(needed) else None,
        largest_fraction=largest_fraction,
    )


LARGEST_SHARE = 0.5
"""Largest share of the rows that may be held out for a certificate."""

FLOOR_MARGIN, ASSUMED_ACCURACY = 0.03, 0.75
"""Largest distance of a certified minimum below the measured accuracy, and its assumed value."""

WANTED = 0.9
"""Target power without a gap; with the small gap that a search leaves, the power is about 0.8."""

PLENTY, GENEROUS = 100_000, 4.0
"""If at least ``PLENTY`` rows remain for the search, ``GENEROUS`` times the planned rows are held
out, so that a gap of half the bound is certified with the planned power."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPlan:
    """Plan of the rows to hold out for all claims."""

    fraction: float | None  # share of the rows, in (0, 0.5]; None = not worth any rows
    reason: Reason = Reason.NONE  # why no rows are worth it; empty otherwise
    plans: tuple[CertificationPlan, ...] = ()  # one per constraint and grouping
    note: str = ""  # human-readable remark

    def text(self) -> str:
        """Return the plan as human-readable text."""
        parts = [plan.text() for plan in self.plans]
        if self.reason is not Reason.NONE:
            parts.append(f"No certificate: {REASONS[self.reason]}.")
        return "\n".join([*parts, self.note] if self.note else parts)

    def plain(self) -> dict[str, Any]:
        """Return the plan as plain values, without its note."""
        plans = [asdict(plan) for plan in self.plans]
        return {"fraction": self.fraction, "reason": self.reason.value, "plans": plans}


def row_plan(
    inputs: Inputs,
    constraints: Sequence[Constraint],
    options: ReadOptions,
    *,
    delta: float = 0.05,
    min_score: float | None = None,
) -> RowPlan:
    """Return how many rows to hold out, from the counts of the groups alone."""
    roles = read_roles(inputs, options)
    systems = () if roles.groups is None else roles.groups.systems
    if systems:
        bind_constraints(constraints, systems)
    claims = claimed(constraints, systems)
    if not claims and min_score is None:
        return RowPlan(
            fraction=None, reason=Reason.SINGLE_GROUP if constraints else Reason.NO_CLAIM
        )
    entities, _ = read_entities(inputs.groups, inputs.X)
    # Precision of entities has no bound: their number of accepted rows is random.
    by_entity = entities is not None and any(claim.of_accepted for claim in claims)
    if roles.task != "binary" or by_entity or not all(claim.testable for claim in claims):
        return RowPlan(fraction=None, reason=Reason.NO_EXACT_TEST)
    return plan_rows(
        claims,
        roles.cells,
        level=level_of(1, delta),
        min_score=min_score,
        n_rows=len(roles.y),
        entities=entities,
    )


def plan_rows(
    claims: Sequence[Claimed],
    cells: NDArray[np.integer],
    *,
    level: float,
    n_rows: int,
    min_score: float | None = None,
    entities: NDArray[np.integer] | None = None,
) -> RowPlan:
    """Return how many rows a first opening at ``level`` needs."""
    n_individuals = n_rows if entities is None else len(np.unique(entities))
    clustered = n_individuals < n_rows
    planned = _planned_by_entity if clustered else _planned
    plans = tuple(
        planned(claim.constraint, _large_groups(claim, _rows_of(claim, cells, entities)), level)
        for claim in claims
    )
    margin = hoeffding_margin if clustered else _share_margin
    floor = None if min_score is None else _floor_share(margin, level, n_individuals)
    shares = [plan.fraction for plan in plans] + ([] if min_score is None else [floor])
    known = [share for share in shares if share is not None]
    if len(known) < len(shares):
        return RowPlan(fraction=None, reason=Reason.TOO_FEW_ROWS, plans=plans)
    needed, note = max(known), ""
    if floor is not None and floor == needed:
        note = f"Hold out {floor:.1%} of the rows for min_score={min_score:g}."
    fraction = max(needed, min(GENEROUS * needed, 1.0 - PLENTY / n_rows, LARGEST_SHARE))
    if fraction > needed:
        note = (
            f"Hold out {fraction:.1%} of the rows rather than {needed:.1%}: the search has enough "
            "rows, and more rows certify gaps closer to the bound."
        )
    return RowPlan(fraction=fraction, plans=plans, note=note)


def _large_groups(claim: Claimed, rows: Sequence[int]) -> tuple[tuple[str, int], ...]:
    """Return the groups with enough rows, or all groups if fewer than two have enough."""
    # Labels must not affect how many rows are drawn, so the base rate of a ratio is assumed.
    metric = claim.constraint.metric
    scale = ASSUMED_RATE if metric.form == "ratio" else 1.0
    limit = MINIMUM_AS_DIFFERENCE if metric.is_minimum else scale * claim.constraint.limit
    every = tuple(zip(claim.system.labels, rows, strict=True))
    large = tuple((label, n) for label, n in every if n >= fewest_rows(limit))
    return large if len(large) >= metric.fewest_groups else every


def _rows_of(
    claim: Claimed, cells: NDArray[np.integer], entities: NDArray[np.integer] | None
) -> list[int]:
    codes = np.where(cells >= 0, claim.system.of_cell[cells], -1)
    inside = codes >= 0
    if entities is None:
        codes = codes[inside]
    else:
        codes = np.unique(np.c_[codes[inside], entities[inside]], axis=0)[:, 0]
    return np.bincount(codes, minlength=claim.system.n_groups).tolist()


@functools.lru_cache(maxsize=64)
def _planned(
    constraint: Constraint, rows: tuple[tuple[str, int], ...], delta: float
) -> CertificationPlan:
    return plan_certification(
        constraint, dict(rows), delta=delta, power=WANTED, largest_fraction=LARGEST_SHARE
    )


def _planned_by_entity(
    constraint: Constraint, rows: tuple[tuple[str, int], ...], delta: float
) -> CertificationPlan:
    """Return the plan for entities with several rows, by Hoeffding's bound of their means."""
    events = [
        rate.expected_share(ASSUMED_POSITIVES, ASSUMED_RATE) for rate in constraint.metric.rates
    ]
    metric = constraint.metric
    # The two smallest groups of a gap, the smallest of a minimum.
    smallest = sorted(count for _, count in rows)[: metric.fewest_groups]
    cells = [max(1.0, min(events) * count) for count in smallest]
    # A ratio at rate p bounds the difference by p times its distance from one.
    scale = ASSUMED_RATE if metric.form == "ratio" else 1.0
    distance = RISE if metric.is_minimum else scale * constraint.limit
    margin = hoeffding_margin(delta, *cells)
    error = math.sqrt(ASSUMED_RATE * (1 - ASSUMED_RATE) * sum(1 / n for n in cells))
    wanted = margin + float(ndtri((1 + WANTED) / 2)) * error
    needed = (wanted / distance) ** 2 if distance > 0 else math.inf
    fraction = min(needed, LARGEST_SHARE)
    room = (distance - margin / math.sqrt(fraction)) * math.sqrt(fraction)
    power = max(0.0, 2 * float(ndtr(room / error)) - 1)
    reach = min(1.0, wanted / math.sqrt(LARGEST_SHARE) / scale)
    if metric.is_minimum:
        reach = max(0.0, min(1.0, constraint.bound + RISE) - reach)
    elif metric.bounded_below:
        reach = 1 - reach
    return CertificationPlan(
        label=constraint.label,
        delta=delta,
        wanted=WANTED,
        rows=rows,
        smallest_cell=int(LARGEST_SHARE * cells[0]),
        fraction=fraction if power >= WORTHWHILE else None,
        power=power,
        bound_within_reach=reach,
        n_rows_needed=math.ceil(needed * smallest[0]) if math.isfinite(needed) else None,
        largest_fraction=LARGEST_SHARE,
    )


def _floor_share(
    margin: Callable[[float, int], float], delta: float, n_individuals: int
) -> float | None:
    """Return the share at which the bound is close to the measured accuracy."""
    most = max(1, int(LARGEST_SHARE * n_individuals))
    if margin(delta, most) > 2 * FLOOR_MARGIN:
        return None
    # Margins decrease in the number of rows, hence the bisection.
    needed = bisect_left(range(1, most), -FLOOR_MARGIN, key=lambda n: -margin(delta, n)) + 1
    return min(LARGEST_SHARE, needed / n_individuals)


def _share_margin(delta: float, n: int) -> float:
    """Return the distance of the Clopper-Pearson bound below a share."""
    return ASSUMED_ACCURACY - float(cp_lower(ASSUMED_ACCURACY * n, n, delta))
