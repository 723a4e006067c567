"""Negative controls without training: ways to choose and to certify that must fail the limits.

An experiment that could not tell these from the certifier would show nothing.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fairautoml.certification.evidence import Evidence, claim_from_counts
from fairautoml.certification.ledger import level_of
from fairautoml.certification.verdicts import holds
from fairautoml.metrics import Constraint, GroupCounts
from guarantee.outcomes import DELTA, SLIGHTLY, Outcome

RATE = 0.3
NAMES = ("group 0", "group 1")


@dataclass(frozen=True)
class FirstPass:
    """Candidates that all violate, tested one after the other until one passes."""

    n_candidates: int = 20  # how many there are to try
    rows: int = 300  # rows of each of two groups
    bound: float = 0.1  # largest difference allowed; the true one is 1e-4 larger

    part = "control"

    @property
    def key(self) -> str:
        """All of it, in order."""
        return f"first_pass-m{self.n_candidates}-n{self.rows}-eps{self.bound:g}"

    def once(self, rng: np.random.Generator) -> tuple[Outcome, ...]:
        """Return whether one of them passed."""
        constraint = _parity(self.bound)
        rates = np.array([RATE + self.bound + SLIGHTLY, RATE])
        passed = any(
            holds(_evidence(constraint, rng.binomial(self.rows, rates), self.rows), DELTA)
            for _ in range(self.n_candidates)
        )
        return (_control("first_pass", certified=passed, excess=SLIGHTLY),)


@dataclass(frozen=True)
class ReleasedNumbers:
    """An analyst who learns from the certificates: each refit keeps what lowered the gap seen.

    The levels add up to delta, but they cover only models that were chosen without the results of
    earlier openings, as every later certificate says. Here the candidates learn from them: a refit
    decides some people anew, by chance and with the same true rates, and is kept if the gap on
    the certification rows is smaller than before.
    """

    n_openings: int = 75  # refits that are tried, until one is certified
    rows: int = 5_000  # rows of each of two groups
    bound: float = 0.05  # largest difference allowed; the true one is 1e-4 larger
    changed: float = 0.1  # share of the people that a refit decides anew

    part = "control"

    @property
    def key(self) -> str:
        """All of it, in order."""
        return f"released_numbers-o{self.n_openings}-n{self.rows}-eps{self.bound:g}"

    def once(self, rng: np.random.Generator) -> tuple[Outcome, ...]:
        """Return whether one of the refits was certified."""
        constraint = _parity(self.bound)
        rates = np.array([[RATE + self.bound + SLIGHTLY], [RATE]])
        kept = rng.random((2, self.rows)) < rates
        passed = False
        for opening in range(1, self.n_openings + 1):
            anew = rng.random(kept.shape) < self.changed
            refit = np.where(anew, rng.random(kept.shape) < rates, kept)
            if opening == 1 or _gap(refit) < _gap(kept):
                kept = refit
            level = level_of(opening, DELTA)
            if holds(_evidence(constraint, kept.sum(axis=1), self.rows), level):
                passed = True
                break
        return (_control("released_numbers", certified=passed, excess=SLIGHTLY),)


@dataclass(frozen=True)
class BestOnValidation:
    """The usual practice: of many configurations, the most accurate that meets the bound.

    A made-up search: true gaps are uniform, and accuracy rises with the gap that is allowed.
    """

    n_configurations: int = 100  # configurations tried
    rows: tuple[int, int] = (200, 800)  # validation rows of the two groups
    bound: float = 0.05  # largest difference allowed

    part = "control"

    LARGEST_GAP = 0.15
    NOISE = 0.005
    """Standard deviation of the accuracy of a configuration around what its gap allows."""

    @property
    def key(self) -> str:
        """All of it, in order."""
        return f"naive-k{self.n_configurations}-n{sum(self.rows)}-eps{self.bound:g}"

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        return np.array(self.rows)

    def once(self, rng: np.random.Generator) -> tuple[Outcome, ...]:
        """Return whether what meets the bound on the validation rows does so in truth."""
        gaps = rng.uniform(0.0, self.LARGEST_GAP, self.n_configurations)
        accuracy = gaps * 0.2 + rng.normal(0.0, self.NOISE, self.n_configurations)
        rates = np.stack([RATE + gaps, np.full(len(gaps), RATE)], axis=1)
        seen = rng.binomial(self._sizes, rates) / self._sizes
        meets = np.abs(seen[:, 0] - seen[:, 1]) <= self.bound
        best = int(np.argmax(np.where(meets, accuracy, -np.inf)))
        excess = float(gaps[best]) - self.bound
        return (_control("naive", certified=bool(meets[best]), excess=excess),)


CONTROLS = (FirstPass(), BestOnValidation(), ReleasedNumbers())


def _parity(bound: float) -> Constraint:
    return Constraint.parse(f"demographic_parity_difference <= {bound}")


def _control(procedure: str, *, certified: bool, excess: float) -> Outcome:
    return Outcome(procedure=procedure, certified=certified, claimed=False, excess=excess)


def _evidence(constraint: Constraint, accepted: NDArray[np.integer], rows: int) -> Evidence:
    table = np.zeros((2, 2, 2))
    table[:, 1, 0], table[:, 1, 1] = rows - accepted, accepted
    return Evidence(claims=(claim_from_counts(constraint, GroupCounts(table), NAMES),))


def _gap(decisions: NDArray[np.bool_]) -> float:
    first, second = decisions.mean(axis=1)
    return float(first - second)
