"""Boundary cells: counts drawn where the constraint is just violated, no training.

The worst case for the certifier: at a larger gap it certifies less often, at a smaller one a
certificate is right.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fairautoml.certification.certify import certify
from fairautoml.certification.evidence import Evidence, claim_from_counts
from fairautoml.certification.verdicts import Verdict
from fairautoml.metrics import METRICS, Constraint, GroupCounts
from guarantee.opened import Certifier, open_in_turn
from guarantee.outcomes import CERTIFIER, SLIGHTLY, WITHIN, Outcome

Claimed = Literal["parity", "odds", "ratio"]
METRIC: dict[str, str] = {
    "parity": "demographic_parity_difference",
    "odds": "equalized_odds_difference",
    "ratio": "demographic_parity_ratio",
}
SMALLEST = (60, 300, 1_500)
TIMES = (1, 10)
RATES = (0.02, 0.3, 0.95)
GROUPS = (2, 5, 20)
CLAIMS: tuple[Claimed, ...] = ("parity", "odds", "ratio")
CANDIDATES = (1, 10)
OPENINGS = (1, 5)

LARGEST_GAP = {60: 0.2, 300: 0.1, 1_500: 0.05}
"""Bound of a difference by the rows of the smallest cell: about what they can show."""

SMALLEST_RATIO = 0.8


@dataclass(frozen=True)
class BoundaryCell:
    """Candidates that all violate by 1e-4, and the same that all keep within by 1e-4.

    One group, the smallest, lies at the far end, a second at the other end and the others in the
    middle: then only one pair stands in the way of a false certificate.
    """

    smallest: int  # rows of the smallest cell
    times: int  # how many times as many rows the other cells have
    rate: float  # base rate, of the second group
    n_groups: int  # groups, at least 2
    claim: Claimed  # {"parity", "odds", "ratio"}: what is claimed
    n_candidates: int  # length of the frozen list
    n_openings: int  # openings of the same rows with new candidates each, until one is certified

    part = "boundary"

    @property
    def key(self) -> str:
        """All of it, in order."""
        return (
            f"{self.claim}-n{self.smallest}x{self.times}-p{self.rate:g}-g{self.n_groups}"
            f"-m{self.n_candidates}-o{self.n_openings}"
        )

    @cached_property
    def constraint(self) -> Constraint:
        """What is claimed."""
        ratio = self.claim == "ratio"
        bound = SMALLEST_RATIO if ratio else LARGEST_GAP[self.smallest]
        return Constraint(metric=METRICS.get(METRIC[self.claim]), bound=bound)

    @property
    def is_informative(self) -> bool:
        """Rows and rates at which the certifier has to certify now and then."""
        plain = (self.n_candidates, self.n_openings, self.claim) == (1, 1, "parity")
        return plain and self.smallest >= 300 and self.rate == 0.3 and self.n_groups == 2

    def once(
        self, rng: np.random.Generator, certifier: Certifier = certify
    ) -> tuple[Outcome, ...]:
        """Return what was said of candidates beyond the bound, and of some within it."""
        beyond = [self._candidates(SLIGHTLY, rng) for _ in range(self.n_openings)]
        within = [self._candidates(-SLIGHTLY, rng)]
        return (
            self._outcome(CERTIFIER, beyond, SLIGHTLY, certifier),
            self._outcome(WITHIN, within, -SLIGHTLY, certifier),
        )

    def _outcome(
        self,
        procedure: str,
        openings: list[tuple[Evidence, ...]],
        excess: float,
        certifier: Certifier,
    ) -> Outcome:
        verdict = open_in_turn(openings, certifier).verdict
        return Outcome(
            procedure=procedure,
            certified=verdict == Verdict.CERTIFIED,
            claimed=verdict == Verdict.VIOLATED,
            excess=excess,
        )

    def rates(self, excess: float) -> NDArray[np.float64]:
        """Return the true rate of each group."""
        if self.claim == "ratio":
            far = self.rate * (self.constraint.bound - excess)
        else:
            gap = self.constraint.bound + excess
            far = self.rate + (gap if self.rate < 0.5 else -gap)
        rates = np.full(self.n_groups, (far + self.rate) / 2)
        rates[:2] = far, self.rate
        return rates

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Rows of each group in each event."""
        rows = np.full(self.n_groups, self.smallest * self.times)
        rows[0] = self.smallest
        return rows

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(f"group {number}" for number in range(self.n_groups))

    def _candidates(self, excess: float, rng: np.random.Generator) -> tuple[Evidence, ...]:
        return tuple(self._evidence(self.rates(excess), rng) for _ in range(self.n_candidates))

    def _evidence(self, rates: NDArray[np.float64], rng: np.random.Generator) -> Evidence:
        table = np.zeros((self.n_groups, 2, 2))
        accepted = rng.binomial(self.rows, rates)
        table[:, 1, 0], table[:, 1, 1] = self.rows - accepted, accepted
        if self.claim == "odds":
            accepted = rng.binomial(self.rows, self.rate)
            table[:, 0, 0], table[:, 0, 1] = self.rows - accepted, accepted
        claim = claim_from_counts(self.constraint, GroupCounts(table), self._names)
        return Evidence(claims=(claim,))


def full_grid() -> Iterator[BoundaryCell]:
    """Yield all 648 combinations."""
    for levels in product(SMALLEST, TIMES, RATES, GROUPS, CLAIMS, CANDIDATES, OPENINGS):
        yield BoundaryCell(*levels)


def selected_grid() -> Iterator[BoundaryCell]:
    """Yield the fixed 123 cells of the committed run.

    A regular sixth of the grid, in which every two factors are balanced: levels of rows, rate,
    groups and claim (numbered from 0) add up to a multiple of 3, those of the others to an even
    number. And all with rate 0.3, two groups, one candidate and one opening, where the certifier
    has most to say.
    """
    for cell in full_grid():
        three = (
            SMALLEST.index(cell.smallest)
            + RATES.index(cell.rate)
            + GROUPS.index(cell.n_groups)
            + CLAIMS.index(cell.claim)
        )
        two = (
            TIMES.index(cell.times)
            + CANDIDATES.index(cell.n_candidates)
            + OPENINGS.index(cell.n_openings)
        )
        plain = (cell.rate, cell.n_groups, cell.n_candidates, cell.n_openings) == (0.3, 2, 1, 1)
        if plain or (three % 3 == 0 and two % 2 == 0):
            yield cell
