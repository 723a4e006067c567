"""Verdicts: findings judged at their level, in sequence.

All claims are tested at the full level without a correction: a false CERTIFIED needs the one
claim, event and pair of groups that is truly violated to pass (intersection-union). VIOLATED picks
the pair after looking, so that all bounds have to hold at once (level divided by their number).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from fairautoml.certification.bounds import (
    Cell,
    Count,
    Mean,
    hoeffding_margin,
    largest_difference,
    smallest_ratio,
)
from fairautoml.certification.evidence import Claim, Evidence, MinScore
from fairautoml.certification.exact_test import (
    TAIL,
    all_pairs_pass,
    margins,
    rows_without_positives,
)
from fairautoml.exceptions import InputError


class Verdict(StrEnum):
    """What was shown; never more than that.

    ``VALIDATED`` is what a certificate on rows that are later than the search rows is called: they
    are no draw from one population with them.
    """

    CERTIFIED = "CERTIFIED"
    VALIDATED = "VALIDATED_ON_LATER_DATA"
    VIOLATED = "VIOLATED"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_APPLICABLE = "NOT_APPLICABLE"


class Reason(StrEnum):
    """Why there is no more to say; empty for CERTIFIED and VIOLATED."""

    NONE = ""
    BOUND_ABOVE_EPS = "bound_above_eps"
    FLOOR_NOT_SHOWN = "floor_not_shown"
    NOT_CERTIFIED = "not_certified"
    TOO_FEW_ROWS = "too_few_rows"
    GROUP_ABSENT = "group_absent"
    UNDEFINED_CELL = "undefined_cell"
    ROWS_SPENT = "rows_spent"
    REFIT_AFTER_CERTIFICATION = "refit_after_certification"
    NO_CERTIFICATION_SET = "no_certification_set"
    SINGLE_GROUP = "single_group"
    CONSTANT_TARGET = "constant_target"
    NO_EXACT_TEST = "no_exact_test"
    NO_CLAIM = "no_claim"
    JOINT_ONLY = "only_together"
    NOT_ON_LIST = "not_on_list"
    NO_WEIGHT_LIMIT = "no_weight_limit"
    GROUPS_GUESSED = "groups_guessed"
    BASELINE_ONLY = "nothing_trained"
    CONSTANT_MODEL = "decides_alike"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """The verdict on one claim."""

    label: str  # what is claimed
    verdict: Verdict  # what was shown of it
    reason: Reason = Reason.NONE  # why not more
    detail: str = ""  # groups or cells that the reason speaks of, for people
    # largest tail probability of the exact test, None when that test was not needed
    tail: float | None = None
    limit: float | None = None  # what the tail must not exceed


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict on all claims of a candidate."""

    verdict: Verdict  # CERTIFIED if every claim is, VIOLATED if one is
    reason: Reason = Reason.NONE  # of the claim that decided
    findings: tuple[TestResult, ...] = ()  # one per claim, the floor last


def holds(evidence: Evidence, level: float) -> bool:
    """Whether every claim passes at the level; what decides in a sequence of candidates."""
    return judge(evidence, level, violations=False).verdict is Verdict.CERTIFIED


def judge(evidence: Evidence, level: float, *, violations: bool = True) -> Judgement:
    """Return what is shown of a candidate at a level."""
    alone = _not_applicable(evidence)
    if alone is not None:
        return Judgement(verdict=Verdict.NOT_APPLICABLE, reason=alone)
    simultaneous = simultaneous_level(evidence, level) if violations else None
    findings = [_judge_claim(claim, level, simultaneous) for claim in evidence.claims]
    if evidence.floor is not None:
        findings.append(_judge_floor(evidence.floor, level, simultaneous))
    if any(finding.verdict is not Verdict.CERTIFIED for finding in findings):
        findings = [_only_together(finding) for finding in findings]
    order = (Verdict.VIOLATED, Verdict.NOT_APPLICABLE, Verdict.INCONCLUSIVE, Verdict.CERTIFIED)
    decisive = min(findings, key=lambda f: (order.index(f.verdict), f.reason is Reason.JOINT_ONLY))
    return Judgement(verdict=decisive.verdict, reason=decisive.reason, findings=tuple(findings))


def simultaneous_level(evidence: Evidence, level: float) -> float:
    """Return the level of one-sided bounds that all hold at once: ``level / (2 M)``."""
    return level / (2 * max(1, evidence.n_bounds))


def _only_together(finding: TestResult) -> TestResult:
    """Withdraw what passed alone: the error is bounded for all claims at once, not for each."""
    if finding.verdict is not Verdict.CERTIFIED:
        return finding
    return replace(finding, verdict=Verdict.INCONCLUSIVE, reason=Reason.JOINT_ONLY)


def _not_applicable(evidence: Evidence) -> Reason | None:
    if not evidence.claims and evidence.floor is None:
        return Reason.NO_CLAIM
    return Reason.CONSTANT_TARGET if evidence.constant_target else None


def _judge_claim(claim: Claim, level: float, simultaneous: float | None) -> TestResult:
    blocked = _blocked(claim)
    if blocked is not None:
        return blocked
    if simultaneous is not None and _violates(claim, simultaneous):
        return TestResult(label=claim.label, verdict=Verdict.VIOLATED)
    passed, tail = claim_passes(claim, claim.bound, level)
    limit = None if tail is None else TAIL * level
    if passed:
        return TestResult(label=claim.label, verdict=Verdict.CERTIFIED, tail=tail, limit=limit)
    reason, detail = _why_not(claim, level)
    return TestResult(
        label=claim.label,
        verdict=Verdict.INCONCLUSIVE,
        reason=reason,
        detail=detail,
        tail=tail,
        limit=limit,
    )


def _blocked(claim: Claim) -> TestResult | None:
    """Return the finding on a claim that counts alone keep from being tested.

    A declared group is never dropped: without its smallest groups a claim about all of them is
    another claim.
    """
    if not claim.events:
        verdict, reason, detail = Verdict.NOT_APPLICABLE, Reason.NO_EXACT_TEST, ""
    elif len(claim.groups) < 2:
        verdict, reason, detail = Verdict.NOT_APPLICABLE, Reason.SINGLE_GROUP, ""
    elif claim.absent:
        detail = ", ".join(claim.absent)
        verdict, reason = Verdict.INCONCLUSIVE, Reason.GROUP_ABSENT
    elif claim.undefined:
        detail = ", ".join(claim.undefined)
        verdict, reason = Verdict.INCONCLUSIVE, Reason.UNDEFINED_CELL
    elif claim.form == "ratio" and any(_nothing(cells) for cells in claim.cells):
        verdict, reason, detail = Verdict.INCONCLUSIVE, Reason.UNDEFINED_CELL, "0/0"
    else:
        return None
    return TestResult(label=claim.label, verdict=verdict, reason=reason, detail=detail)


def _nothing(cells: tuple[Cell, ...]) -> bool:
    """Whether a ratio is 0/0: no event was counted in any group."""
    return all(isinstance(cell, Count) and cell.x == 0 for cell in cells)


def _why_not(claim: Claim, level: float) -> tuple[Reason, str]:
    """Tell cells that could not pass whatever they showed from those that might have."""
    testable = claim.form == "difference" and isinstance(claim.cells[0][0], Count)
    if testable and claim.bound > 0:
        needed = rows_without_positives(claim.bound, level)
        small = [
            f"{event} of {group}"
            for event, cells in zip(claim.events, claim.cells, strict=True)
            for group, cell in zip(claim.groups, cells, strict=True)
            if cell.n < needed
        ]
        if small:
            return Reason.TOO_FEW_ROWS, ", ".join(small)
    return Reason.BOUND_ABOVE_EPS, ""


def claim_passes(claim: Claim, bound: float, level: float) -> tuple[bool, float | None]:
    """Return whether a claim with this bound passes, and the largest tail of the exact test."""
    if not isinstance(claim.cells[0][0], Count):
        reached = bound_of(claim, level)
        return (reached <= bound if claim.form == "difference" else reached >= bound), None
    worst, (eps, tau) = 0.0, margins(claim.form, bound)
    for cells in claim.cells:
        counts = [cell for cell in cells if isinstance(cell, Count)]
        x, n = np.array([cell.x for cell in counts]), np.array([cell.n for cell in counts])
        result = all_pairs_pass(x, n, eps, level, tau)
        worst = max(worst, result.tail)
        if not result.passed:
            return False, worst
    return True, worst


def bound_of(claim: Claim, level: float) -> float:
    """Return the confidence bound of the largest difference, or of the smallest ratio.

    From one-sided bounds at ``level / 2``; for plain means of independent cells from Hoeffding's
    bound of the difference itself.
    """
    if claim.form == "ratio":
        return min(_ratio(cells, level) for cells in claim.cells)
    return max(_difference(cells, level, claim.independent) for cells in claim.cells)


def _difference(cells: tuple[Cell, ...], level: float, independent: bool) -> float:
    means = [cell for cell in cells if isinstance(cell, Mean) and cell.method == "hoeffding"]
    if independent and len(means) == len(cells):
        return max(
            a.mean - b.mean + hoeffding_margin(level, a.n, b.n)
            for a in means
            for b in means
            if a is not b
        )
    return largest_difference(_each(cells, "upper", level / 2), _each(cells, "lower", level / 2))


def _ratio(cells: tuple[Cell, ...], level: float) -> float:
    upper = _each(cells, "upper", level / 2)
    return smallest_ratio(_each(cells, "lower", level / 2), upper) if upper.min() > 0 else 0.0


def _each(cells: tuple[Cell, ...], side: str, level: float) -> NDArray[np.float64]:
    bounds: dict[str, Callable[[Cell], float]] = {
        "lower": lambda cell: cell.lower(level),
        "upper": lambda cell: cell.upper(level),
    }
    return np.array([bounds[side](cell) for cell in cells])


def _violates(claim: Claim, level: float) -> bool:
    """Whether bounds that all hold at once leave no room for the claim."""
    for cells in claim.cells:
        lower, upper = _each(cells, "lower", level), _each(cells, "upper", level)
        if claim.form == "difference":
            if largest_difference(lower, upper) > claim.bound:
                return True
        elif upper.min() < claim.bound * lower.max():
            return True
    return False


def _judge_floor(floor: MinScore, level: float, simultaneous: float | None) -> TestResult:
    if simultaneous is not None and floor.refuted(simultaneous):
        return TestResult(label=floor.label, verdict=Verdict.VIOLATED)
    if floor.shown(level):
        return TestResult(label=floor.label, verdict=Verdict.CERTIFIED)
    return TestResult(
        label=floor.label, verdict=Verdict.INCONCLUSIVE, reason=Reason.FLOOR_NOT_SHOWN
    )


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

    def findings(self, evidence: Evidence) -> tuple[TestResult, ...]:
        """Return a finding for each claim, also where one reason holds for all of them."""
        one = self.judgement
        return one.findings or tuple(
            TestResult(label=claim.label, verdict=one.verdict, reason=one.reason)
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
