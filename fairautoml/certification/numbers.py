"""What a reader of a certificate wants to know besides the verdict."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from fairautoml.certification.cells import Cell, Count
from fairautoml.certification.claims import Claim
from fairautoml.certification.verdicts import bound_of, claim_passes

STEPS = 20
"""The printed bound of the exact test is a multiple of a twentieth of the bound claimed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """How much room a certified claim leaves."""

    bound: float  # bound that was shown, at least as strict as the one claimed
    shift_radius: float  # the claim survives if the law of each cell (a group
    # rows of one cell whose outcome has to be flipped until the claim is no longer certified;
    # None where there are no 0/1 outcomes or flipping all of a cell changes nothing
    fragility: int | None


def sensitivity(claim: Claim, level: float, *, shown_level: float) -> Sensitivity:
    """Return how much room a certified claim leaves."""
    bound = shown_bound(claim, shown_level)
    if claim.form == "difference":
        radius = (claim.bound - bound) / 2
    else:
        radius = _ratio_radius(claim, shown_level)
    return Sensitivity(bound=bound, shift_radius=radius, fragility=_fragility(claim, level))


def shown_bound(claim: Claim, level: float) -> float:
    """Return the strictest bound that the cells show at a level, never looser than the claim's.

    The exact test tries gaps of ``eps``, ``eps (1 - 1/20)``, ... in this fixed order up to its
    first failure, which needs no correction; one-sided bounds are read off. The gap of a ratio is
    its distance from 1.
    """
    ratio = claim.form == "ratio"
    if not isinstance(claim.cells[0][0], Count):
        stricter = max if ratio else min
        return stricter(claim.bound, bound_of(claim, level))
    shown = claim.bound
    for step in range(STEPS):
        left = 1 - step / STEPS
        tried = 1 - (1 - claim.bound) * left if ratio else claim.bound * left
        if not claim_passes(claim, tried, level)[0]:
            return shown
        shown = tried
    return shown


def _ratio_radius(claim: Claim, level: float) -> float:
    """Return how far all rates may move until ``theta_g >= tau theta_h`` is no longer shown.

    By one-sided bounds, for it takes the rates themselves: with few rows it may be 0 although the
    exact test passes.
    """
    radius = 1.0
    for cells in claim.cells:
        lower = np.array([cell.lower(level / 2) for cell in cells])
        upper = np.array([cell.upper(level / 2) for cell in cells])
        slack = lower[:, None] - claim.bound * upper[None, :]
        np.fill_diagonal(slack, np.inf)
        radius = min(radius, float(slack.min()) / (1 + claim.bound))
    return max(0.0, radius)


def _fragility(claim: Claim, level: float) -> int | None:
    if not isinstance(claim.cells[0][0], Count):
        return None
    least: int | None = None
    for event, cells in enumerate(claim.cells):
        for flips in _directions(cells):
            least = _smaller(claim, event, flips, least, level)
    return least


@dataclass(frozen=True, slots=True)
class _Flips:
    """Outcomes of one cell that are flipped in one direction; ``most`` can be."""

    group: int
    sign: int
    most: int


def _directions(cells: tuple[Cell, ...]) -> Iterator[_Flips]:
    for group, cell in enumerate(cells):
        if isinstance(cell, Count):
            yield _Flips(group, 1, cell.n - cell.x)
            yield _Flips(group, -1, cell.x)


def _smaller(
    claim: Claim, event: int, flips: _Flips, least: int | None, level: float
) -> int | None:
    """Return the number of flips at which the claim fails, if it is below ``least``."""
    most = flips.most if least is None else min(flips.most, least - 1)
    if most < 1 or _survives(claim, event, flips, most, level):
        return least
    survived, failed = 0, most
    while failed - survived > 1:
        middle = (survived + failed) // 2
        if _survives(claim, event, flips, middle, level):
            survived = middle
        else:
            failed = middle
    return failed


def _survives(claim: Claim, event: int, flips: _Flips, k: int, level: float) -> bool:
    """Whether an event still passes with ``k`` outcomes of a cell flipped."""
    cells = list(claim.cells[event])
    cell = cells[flips.group]
    if isinstance(cell, Count):
        cells[flips.group] = replace(cell, x=cell.x + flips.sign * k)
    changed = replace(claim, events=claim.events[:1], cells=(tuple(cells),))
    return claim_passes(changed, claim.bound, level)[0]
