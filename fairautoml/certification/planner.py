"""What can be certified with so many rows, before any of them is looked at."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fairautoml.certification.simulation import Assumptions, Simulation
from fairautoml.certification.suppression import SMALLEST_CELL
from fairautoml.exceptions import InputError
from fairautoml.metrics import Constraint

WORTHWHILE = 0.5
"""Power from which setting rows aside for a certificate pays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificationPlan:
    """What can be certified, and what it takes."""

    label: str  # the constraint
    delta: float  # error probability of the certificate
    wanted: float  # power that was asked for
    rows: tuple[tuple[str, int], ...]  # rows at hand by group
    smallest_cell: int  # rows of the smallest cell if as many are set aside as may be
    fraction: float | None  # share of the rows to set aside, in (0, 1]; None if it would not pay
    # probability of a certificate with that share (without one: with the largest share)
    power: float
    # bound that can be certified with the wanted power and the largest share
    bound_within_reach: float
    # certification rows that the smallest group would take for the constraint asked for, with the
    # groups in the same proportions; None if no number of rows would do
    n_rows_needed: int | None
    largest_fraction: float  # share that may be set aside at the most

    def text(self) -> str:
        """Return the plan for people."""
        name, smallest = min(self.rows, key=lambda item: item[1])
        lines = [
            f"{self.label} at delta {self.delta:g}: with {_shown(self.smallest_cell)} rows in the "
            f"smallest cell, {self.bound_within_reach:.3g} can be certified with "
            f"{self.wanted:.0%} power; the bound asked for needs {self._needed()} certification "
            f"rows of group {name!r} (there are {_shown(smallest)} rows in all)."
        ]
        if self.fraction is None:
            lines.append(
                f"Even with {self.largest_fraction:.0%} of the rows set aside the power would be "
                f"{self.power:.0%}: all rows train and the certificate will be INCONCLUSIVE. A "
                "looser bound, coarser groups or more rows would change that."
            )
        else:
            lines.append(f"{self.fraction:.1%} of the rows are set aside; power {self.power:.0%}.")
        return "\n".join(lines)

    def _needed(self) -> str:
        # With the assumed gap at the bound or above, more rows do not help.
        return "no number of" if self.n_rows_needed is None else f"about {self.n_rows_needed:,}"


def _shown(rows: int) -> str:
    # The plan of a certificate that could not be given is published with it.
    return f"{rows:,}" if rows >= SMALLEST_CELL else f"fewer than {SMALLEST_CELL}"


def plan_certification(
    constraint: Constraint,
    rows: Mapping[str, int],
    *,
    delta: float = 0.05,
    power: float = 0.8,
    largest_fraction: float = 0.5,
    assumptions: Assumptions | None = None,
    seed: int = 0,
) -> CertificationPlan:
    """Return what can be certified with the rows at hand.

    Depends on the rows per group only, so that it may decide how many are set aside. Rows needed
    start from a normal approximation and grow until the simulated test has the power; the power
    is the share of simulated certification sets whose hardest pair of cells passes.
    """
    _check(
        constraint, rows, {"delta": delta, "power": power, "largest_fraction": largest_fraction}
    )
    assumed = Assumptions() if assumptions is None else assumptions
    simulation = Simulation(constraint, tuple(rows.values()), delta, assumed, seed)
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


def _check(constraint: Constraint, rows: Mapping[str, int], shares: Mapping[str, float]) -> None:
    for name, value in shares.items():
        if not 0 < value < 1:
            msg = f"{name}={value} must be between 0 and 1, for example 0.05, 0.8 and 0.5"
            raise InputError(msg)
    if len(rows) < 2 or min(rows.values()) < 1:
        msg = (
            f"rows={dict(rows)!r}: a gap needs at least two groups with rows; give the rows of "
            "each declared group"
        )
        raise InputError(msg)
    if not constraint.metric.rates:
        msg = (
            f"constraint={constraint.label!r}: {constraint.metric.name!r} is no comparison of "
            "group rates, so there is no exact test for it; nothing can be certified"
        )
        raise InputError(msg)
