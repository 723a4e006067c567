"""What came of one repetition of a cell, and sums over many."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

DELTA = 0.05
"""Error probability of every certificate of the experiment."""

SLIGHTLY = 1e-4
"""How far beyond, or within, the bound the truth lies at the boundary."""

CERTIFIER = "certifier"
"""The procedure under test, where the truth violates the claim or may do so."""

WITHIN = "within"
"""The same where the truth just meets the claim: any VIOLATED is a false claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one procedure said in one repetition, against the truth."""

    procedure: str  # ``"certifier"``, ``"within"``, or the name of a negative control
    certified: bool  # it said that the constraint is met
    claimed: bool  # it said that the constraint is violated
    excess: float  # True gap of what it shipped less the bound

    @property
    def wrong(self) -> bool:
        """It was certified and violates."""
        return self.certified and self.excess > 0

    @property
    def claimed_wrongly(self) -> bool:
        """It was said to violate and does not."""
        return self.claimed and self.excess <= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Outcomes of one procedure, counted."""

    procedure: str  # as in ``Outcome``
    repetitions: int = 0  # all
    certified: int = 0
    violations: int = 0
    claims: int = 0
    false_claims: int = 0
    truly_violating: int = 0  # what was shipped violates, whatever was said of it
    excess: float = 0.0  # sum of the excess over the ``violations``

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            procedure=self.procedure,
            repetitions=self.repetitions + other.repetitions,
            certified=self.certified + other.certified,
            violations=self.violations + other.violations,
            claims=self.claims + other.claims,
            false_claims=self.false_claims + other.false_claims,
            truly_violating=self.truly_violating + other.truly_violating,
            excess=self.excess + other.excess,
        )


class Cell(Protocol):
    """A situation of known truth that is repeated; its key says all there is to it."""

    @property
    def part(self) -> str:
        """Part of the experiment it belongs to."""
        ...

    @property
    def key(self) -> str:
        """Name, unique, fit for a file name."""
        ...

    def once(self, rng: np.random.Generator) -> tuple[Outcome, ...]:
        """Return what the procedures said in one repetition."""
        ...


def tally(outcomes: Iterable[Outcome]) -> tuple[Tally, ...]:
    """Count outcomes, one tally per procedure in order of appearance."""
    counted: dict[str, Tally] = {}
    for one in outcomes:
        before = counted.get(one.procedure, Tally(procedure=one.procedure))
        counted[one.procedure] = before + Tally(
            procedure=one.procedure,
            repetitions=1,
            certified=int(one.certified),
            violations=int(one.wrong),
            claims=int(one.claimed),
            false_claims=int(one.claimed_wrongly),
            truly_violating=int(one.excess > 0),
            excess=one.excess if one.wrong else 0.0,
        )
    return tuple(counted.values())
