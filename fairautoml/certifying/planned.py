"""How many rows a certificate takes, from the counts of the groups alone."""

import functools
import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from fairautoml.certification import CertificationPlan, Reason, plan_certification
from fairautoml.certification.bounds import cp_lower, hoeffding_margin
from fairautoml.certification.planner import WORTHWHILE
from fairautoml.certification.wishes import LARGEST_SHARE, CertificateWishes
from fairautoml.certifying.claimed import Claimed
from fairautoml.evaluation.evidence import fewest_rows
from fairautoml.metrics import Constraint

FLOOR_MARGIN, ASSUMED_ACCURACY = 0.03, 0.75
"""How far below the measured accuracy a certified floor may lie, and what that is taken to be."""

WANTED = 0.9
"""Power that is planned for without a gap, so that the small one that a search leaves has 0.8."""

PLENTY, GENEROUS = 100_000, 4.0
"""With so many rows left for the search, so many times the planned ones are set aside: they show a
gap of half the bound as surely as the planned ones show none."""

ASSUMED_RATE = ASSUMED_POSITIVES = 0.3
"""What the planner assumes, for entities: the rate, and the share of rows of label 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPlan:
    """What is set aside, and why."""

    fraction: float | None  # share of the rows, in (0, 0.5]; None = all rows train
    reason: Reason = Reason.NONE  # why nothing is set aside; empty otherwise
    # one per constraint and group system, as far as they can be certified
    plans: tuple[CertificationPlan, ...] = ()
    note: str = ""  # what else there is to say, for people

    def text(self) -> str:
        """Return the plan for people."""
        parts = [plan.text() for plan in self.plans]
        return "\n".join([*parts, self.note] if self.note else parts)

    def plain(self) -> dict[str, Any]:
        """Return the plan as plain values, without its text."""
        plans = [asdict(plan) for plan in self.plans]
        return {"fraction": self.fraction, "reason": self.reason.value, "plans": plans}


def plan_rows(
    claims: Sequence[Claimed],
    cells: NDArray[np.integer],
    wishes: CertificateWishes,
    *,
    n_rows: int,
    entities: NDArray[np.integer] | None = None,
) -> RowPlan:
    """Return how many rows are set aside; depends on the counts of the groups alone."""
    n_people = n_rows if entities is None else len(np.unique(entities))
    clustered = n_people < n_rows
    planned = _planned_by_entity if clustered else _planned
    plans = tuple(
        planned(
            claim.constraint,
            _large_groups(claim, _rows_of(claim, cells, entities)),
            wishes.first_level,
        )
        for claim in claims
    )
    margin = _mean_margin if clustered else _share_margin
    floor = (
        None if wishes.min_score is None else _floor_share(margin, wishes.first_level, n_people)
    )
    if isinstance(wishes.certify, float):
        note = f"{wishes.certify:.1%} of the rows are set aside, as was asked for."
        return RowPlan(fraction=wishes.certify, plans=plans, note=note)
    shares = [plan.fraction for plan in plans] + ([] if floor is None else [floor])
    known = [share for share in shares if share is not None]
    if len(known) == len(shares):
        note, planned_share = "", max(known)
        if floor is not None and floor == planned_share:
            note = f"{floor:.1%} of the rows are set aside for min_score={wishes.min_score:g}."
        fraction = _generous(planned_share, n_rows)
        if fraction > planned_share:
            note = (
                f"{fraction:.1%} of the rows are set aside rather than {planned_share:.1%}: there "
                "are enough for the search, and more rows show gaps that are nearer to the bound."
            )
        return RowPlan(fraction=fraction, plans=plans, note=note)
    if wishes.certify is True:
        note = f"{LARGEST_SHARE:.0%} of the rows are set aside all the same: certify=True."
        return RowPlan(fraction=LARGEST_SHARE, plans=plans, note=note)
    return RowPlan(fraction=None, reason=Reason.TOO_FEW_ROWS, plans=plans)


def _generous(fraction: float, n_rows: int) -> float:
    """Return a larger share where the search has plenty of rows all the same."""
    return max(fraction, min(GENEROUS * fraction, 1.0 - PLENTY / n_rows, LARGEST_SHARE))


def _large_groups(claim: Claimed, rows: Sequence[int]) -> tuple[tuple[str, int], ...]:
    """Return the groups that a constraint can speak about, all where fewer than two are left."""
    # Labels must not decide how many rows are drawn, so that a ratio's base rate is assumed.
    scale = ASSUMED_RATE if claim.constraint.metric.form == "ratio" else 1.0
    fewest = fewest_rows(scale * claim.constraint.limit)
    every = tuple(zip(claim.system.labels, rows, strict=True))
    large = tuple((label, n) for label, n in every if n >= fewest)
    return large if len(large) >= 2 else every


def _rows_of(
    claim: Claimed, cells: NDArray[np.integer], entities: NDArray[np.integer] | None
) -> list[int]:
    codes = claim.codes(cells)
    inside = codes >= 0
    if entities is None:
        codes = codes[inside]
    else:
        codes = np.unique(np.c_[codes[inside], entities[inside]], axis=0)[:, 0]
    found: list[int] = np.bincount(codes, minlength=claim.system.n_groups).tolist()
    return found


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
    """Return the plan where entities have several rows: Hoeffding's bound of their means."""
    events = [
        rate.expected_share(ASSUMED_POSITIVES, ASSUMED_RATE) for rate in constraint.metric.rates
    ]
    first, second = sorted(count for _, count in rows)[:2]
    cells = max(1.0, min(events) * first), max(1.0, min(events) * second)
    # A ratio at rate p bounds the difference by p times its distance from one.
    scale = ASSUMED_RATE if constraint.metric.form == "ratio" else 1.0
    margin = math.sqrt(math.log(1 / delta) / 2 * sum(1 / n for n in cells))
    error = math.sqrt(ASSUMED_RATE * (1 - ASSUMED_RATE) * sum(1 / n for n in cells))
    wanted = margin + float(ndtri((1 + WANTED) / 2)) * error
    needed = (wanted / (scale * constraint.limit)) ** 2 if constraint.limit > 0 else math.inf
    fraction = min(needed, LARGEST_SHARE)
    room = (scale * constraint.limit - margin / math.sqrt(fraction)) * math.sqrt(fraction)
    power = max(0.0, 2 * float(ndtr(room / error)) - 1)
    reach = min(1.0, wanted / math.sqrt(LARGEST_SHARE) / scale)
    return CertificationPlan(
        label=constraint.label,
        delta=delta,
        wanted=WANTED,
        rows=rows,
        smallest_cell=int(LARGEST_SHARE * cells[0]),
        fraction=fraction if power >= WORTHWHILE else None,
        power=power,
        bound_within_reach=reach if constraint.metric.form == "difference" else 1 - reach,
        n_rows_needed=math.ceil(needed * first) if math.isfinite(needed) else None,
        largest_fraction=LARGEST_SHARE,
    )


def _floor_share(
    margin: Callable[[float, int], float], delta: float, n_people: int
) -> float | None:
    """Return the share that brings the bound near the measured accuracy."""
    most = max(1, int(LARGEST_SHARE * n_people))
    if margin(delta, most) > 2 * FLOOR_MARGIN:
        return None
    # Rows beyond ``most`` are not looked for: margins fall with them.
    needed = bisect_left(range(1, most), -FLOOR_MARGIN, key=lambda n: -margin(delta, n)) + 1
    return min(LARGEST_SHARE, needed / n_people)


def _mean_margin(delta: float, n: int) -> float:
    """Return how far Hoeffding's bound lies below the mean of entities."""
    return hoeffding_margin(delta, n)


def _share_margin(delta: float, n: int) -> float:
    """Return how far the Clopper-Pearson bound lies below a share."""
    return ASSUMED_ACCURACY - float(cp_lower(ASSUMED_ACCURACY * n, n, delta))
