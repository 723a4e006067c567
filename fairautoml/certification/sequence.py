"""From a frozen list of candidates to the one that is shipped, with one opening of the rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from fairautoml.certification.claims import Evidence
from fairautoml.certification.verdicts import (
    Finding,
    Judgement,
    Reason,
    Verdict,
    holds,
    judge,
)
from fairautoml.exceptions import InputError

MOST_CANDIDATES = 10


class Procedure(StrEnum):
    """How several candidates share one opening; fixed before it.

    "The first that passes, until one does" is not among them: with twenty candidates that all
    violate it errs in 63 of 100 runs at a level of 0.05.
    """

    FIXED_SEQUENCE = "fixed_sequence"
    BONFERRONI = "bonferroni"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """Which candidate is shipped, and what is shown of it."""

    position: int  # in the frozen list, from 0
    n_candidates: int  # length of the list
    level: float  # at which it was tested
    judgement: Judgement  # of the candidate shipped, at the level of the opening
    procedure: Procedure  # how the list was gone through

    def findings(self, evidence: Evidence) -> tuple[Finding, ...]:
        """Return a finding for each claim, also where one reason holds for all of them."""
        one = self.judgement
        return one.findings or tuple(
            Finding(label=claim.label, verdict=one.verdict, reason=one.reason)
            for claim in evidence.claims
        )


def ship(
    candidates: Sequence[Evidence],
    level: float,
    *,
    procedure: Procedure = Procedure.FIXED_SEQUENCE,
    fallback: int = 0,
) -> Shipped:
    """Go through a frozen list and return the candidate to ship.

    Fixed sequence: in order, each at the full level, up to the first failure; the last that
    passed is shipped. A false certificate needs the first candidate that truly violates to pass,
    so the error is at most ``level``. Bonferroni: each at ``level / m``, the last that passes is
    shipped. If none passes, the fallback is, with its verdict.

    References
    ----------
    Angelopoulos, Bates, Candes, Jordan, Lei, "Learn then test: calibrating predictive algorithms
    to achieve risk control", arXiv 2110.01052, section 2.2 (fixed sequence testing).
    """
    m = len(candidates)
    if not 1 <= m <= MOST_CANDIDATES or not 0 <= fallback < m:
        msg = (
            f"candidates: found {m} with fallback={fallback}; allowed are 1 to {MOST_CANDIDATES} "
            "with the position of one of them. Keep the best of the front"
        )
        raise InputError(msg)
    tested = _tested(level, m, procedure)
    if procedure is Procedure.BONFERRONI:
        last = _last_of_any(candidates, tested)
    else:
        last = _last_in_order(candidates, tested)
    position = fallback if last is None else last
    return shipped_as(
        candidates[position],
        level,
        position=position,
        n_candidates=m,
        procedure=procedure,
        passed=last is not None,
    )


def shipped_as(
    evidence: Evidence,
    level: float,
    *,
    position: int,
    n_candidates: int,
    procedure: Procedure,
    passed: bool,
) -> Shipped:
    """Return the record of a candidate that is shipped because it passed, or as the fallback."""
    tested = _tested(level, n_candidates, procedure)
    judgement = judge(evidence, tested, violations=not passed)
    if not passed and judgement.verdict is Verdict.CERTIFIED:
        # It would pass alone, but it was not its turn: saying so would be a second chance.
        judgement = _not_certified(judgement)
    return Shipped(
        position=position,
        n_candidates=n_candidates,
        level=tested,
        judgement=judgement,
        procedure=procedure,
    )


def _tested(level: float, n_candidates: int, procedure: Procedure) -> float:
    return level / n_candidates if procedure is Procedure.BONFERRONI else level


def _not_certified(judgement: Judgement) -> Judgement:
    verdict, reason = Verdict.INCONCLUSIVE, Reason.NOT_CERTIFIED
    findings = tuple(replace(f, verdict=verdict, reason=reason) for f in judgement.findings)
    return Judgement(verdict=verdict, reason=reason, findings=findings)


def _last_of_any(candidates: Sequence[Evidence], level: float) -> int | None:
    return max((i for i, one in enumerate(candidates) if holds(one, level)), default=None)


def _last_in_order(candidates: Sequence[Evidence], level: float) -> int | None:
    """Return the position before the first failure."""
    last = None
    for position, evidence in enumerate(candidates):
        if not holds(evidence, level):
            break
        last = position
    return last
