"""Test the claims of candidates and select the candidate to certify.

CERTIFIED tests all claims at the full level: a false one requires that the claim, event and pair
that is truly violated passes (intersection-union). VIOLATED divides the level by the bounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from fairautoml.certification.bounds import (
    Cell,
    Count,
    Ends,
    Mean,
    bound_toward_disparity,
    bound_toward_parity,
    hoeffding_margin,
)
from fairautoml.certification.evidence import Claim, Evidence, MinScore
from fairautoml.certification.exact_test import (
    TAIL,
    all_pairs_pass,
    margins,
    rows_without_failures,
    rows_without_positives,
)


class Verdict(StrEnum):
    """Verdict on a claim or on all claims.

    ``VALIDATED`` replaces ``CERTIFIED`` on rows that are later than the search rows, because the
    two need not come from the same population.
    """

    CERTIFIED = "CERTIFIED"
    VALIDATED = "VALIDATED_ON_LATER_DATA"
    VIOLATED = "VIOLATED"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_APPLICABLE = "NOT_APPLICABLE"


PASSED = (Verdict.CERTIFIED, Verdict.VALIDATED)
"""Verdicts of a test that every claim passed."""


class Reason(StrEnum):
    """Reason of a verdict; empty for CERTIFIED and VIOLATED."""

    NONE = ""
    BOUND_ABOVE_EPS = "bound_above_eps"
    BOUND_BELOW_RATIO = "bound_below_ratio"
    BOUND_BELOW_MINIMUM = "bound_below_minimum"
    FLOOR_NOT_SHOWN = "floor_not_shown"
    NOT_TESTED = "not_tested"
    NOT_REACHED = "not_reached"
    TOO_FEW_ROWS = "too_few_rows"
    GROUP_ABSENT = "group_absent"
    UNDEFINED_CELL = "undefined_cell"
    NOT_INDEPENDENT = "not_independent"
    SINGLE_GROUP = "single_group"
    CONSTANT_TARGET = "constant_target"
    NO_EXACT_TEST = "no_exact_test"
    NO_CLAIM = "no_claim"
    JOINT_ONLY = "only_together"
    NO_WEIGHT_LIMIT = "no_weight_limit"
    GROUPS_GUESSED = "groups_guessed"
    CONSTANT_MODEL = "decides_alike"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """Verdict on one claim."""

    label: str  # the claim as text
    verdict: Verdict
    reason: Reason = Reason.NONE
    detail: str = ""  # human-readable groups or cells that the reason applies to
    # largest tail probability of the exact test; None if that test was not run
    tail: float | None = None
    limit: float | None = None  # upper limit of the tail


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Verdict on all claims of a candidate."""

    verdict: Verdict  # CERTIFIED if every claim is certified, VIOLATED if one is violated
    reason: Reason = Reason.NONE  # reason of the decisive claim
    findings: tuple[TestResult, ...] = ()  # one per claim, the floor last

    def of_claims(self, evidence: Evidence) -> tuple[TestResult, ...]:
        """Return one result per claim, also if a single reason applies to all claims."""
        return self.findings or tuple(
            TestResult(label=claim.label, verdict=self.verdict, reason=self.reason)
            for claim in evidence.claims
        )


def judge(evidence: Evidence, level: float, *, violations: bool = True) -> Judgement:
    """Return the verdict on a candidate at a level."""
    if not evidence.claims and evidence.floor is None:
        return Judgement(verdict=Verdict.NOT_APPLICABLE, reason=Reason.NO_CLAIM)
    if evidence.constant_target:
        return Judgement(verdict=Verdict.NOT_APPLICABLE, reason=Reason.CONSTANT_TARGET)
    simultaneous = simultaneous_level(evidence, level) if violations else None
    findings = [judge_claim(claim, level, simultaneous) for claim in evidence.claims]
    if evidence.floor is not None:
        findings.append(_judge_floor(evidence.floor, level, simultaneous))
    if any(finding.verdict is not Verdict.CERTIFIED for finding in findings):
        findings = [_only_together(finding) for finding in findings]
    order = (Verdict.VIOLATED, Verdict.NOT_APPLICABLE, Verdict.INCONCLUSIVE, Verdict.CERTIFIED)
    decisive = min(findings, key=lambda f: (order.index(f.verdict), f.reason is Reason.JOINT_ONLY))
    return Judgement(verdict=decisive.verdict, reason=decisive.reason, findings=tuple(findings))


def simultaneous_level(evidence: Evidence, level: float) -> float:
    """Return the level of one-sided bounds that hold simultaneously: ``level / (2 M)``."""
    return level / (2 * max(1, evidence.n_bounds))


def _only_together(finding: TestResult) -> TestResult:
    """Make a claim that passed alone inconclusive: claims are certified jointly."""
    if finding.verdict is not Verdict.CERTIFIED:
        return finding
    return replace(finding, verdict=Verdict.INCONCLUSIVE, reason=Reason.JOINT_ONLY)


def judge_claim(claim: Claim, level: float, simultaneous: float | None) -> TestResult:
    """Return the verdict on one claim; it is refuted at the level ``simultaneous``, if given."""
    blocked = _blocked(claim)
    if blocked is not None:
        return blocked
    if simultaneous is not None and _violates(claim, simultaneous):
        return TestResult(label=claim.label, verdict=Verdict.VIOLATED)
    passed, tail = claim_passes(claim, claim.bound, level)
    limit = None if tail is None else TAIL * level
    found = TestResult(label=claim.label, verdict=Verdict.CERTIFIED, tail=tail, limit=limit)
    if passed:
        return found
    reason, detail = _why_not(claim, level)
    return replace(found, verdict=Verdict.INCONCLUSIVE, reason=reason, detail=detail)


def _blocked(claim: Claim) -> TestResult | None:
    """Return the result of a claim whose counts cannot be tested, or None.

    A declared group is never dropped, because that would change the claim.
    """
    if not claim.events:
        verdict, reason, detail = Verdict.NOT_APPLICABLE, Reason.NO_EXACT_TEST, ""
    elif len(claim.groups) < (1 if claim.form == "minimum" else 2):
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
    """Return whether a ratio is 0/0, that is, no group has an event."""
    return all(isinstance(cell, Count) and cell.x == 0 for cell in cells)


def _why_not(claim: Claim, level: float) -> tuple[Reason, str]:
    """Return the reason of a failure: too few rows to ever pass, or a bound beyond the limit."""
    needed = _fewest_rows(claim, level)
    if needed is not None:
        small = [
            f"{event} of {group}"
            for event, cells in zip(claim.events, claim.cells, strict=True)
            for group, cell in zip(claim.groups, cells, strict=True)
            if cell.n < needed
        ]
        if small:
            return Reason.TOO_FEW_ROWS, ", ".join(small)
    return BEYOND[claim.form], ""


BEYOND = {
    "difference": Reason.BOUND_ABOVE_EPS,
    "ratio": Reason.BOUND_BELOW_RATIO,
    "minimum": Reason.BOUND_BELOW_MINIMUM,
}
"""Reason of a claim of each form that the rows do not show."""


def _fewest_rows(claim: Claim, level: float) -> float | None:
    """Return the rows with which the most favourable cells pass, None if it is not known."""
    if not isinstance(claim.cells[0][0], Count) or claim.form == "ratio" or claim.bound <= 0:
        return None
    if claim.form == "minimum":
        return rows_without_failures(claim.bound, level)
    return rows_without_positives(claim.bound, level)


def claim_passes(claim: Claim, bound: float, level: float) -> tuple[bool, float | None]:
    """Return whether the claim passes with this bound, and the largest tail of the exact test."""
    if claim.form == "minimum" or not isinstance(claim.cells[0][0], Count):
        reached = bound_of(claim, level)
        return (reached >= bound if claim.bounded_below else reached <= bound), None
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
    """Return the confidence bound of the largest difference, smallest ratio or smallest rate.

    Uses one-sided bounds at ``level / 2``, or Hoeffding's bound of the difference for means of
    independent cells. Of a minimum, one-sided bounds at ``level`` (for counts Clopper-Pearson,
    which is exact): it is too large only if that of the truly smallest rate is.
    """
    if claim.form == "difference":
        return max(_difference(cells, level, claim.independent) for cells in claim.cells)
    each = level if claim.form == "minimum" else level / 2
    return bound_toward_disparity([_ends(cells, each) for cells in claim.cells], claim.form)


def _difference(cells: tuple[Cell, ...], level: float, independent: bool) -> float:
    means = [cell for cell in cells if isinstance(cell, Mean)]
    if independent and len(means) == len(cells):
        return max(
            a.mean - b.mean + hoeffding_margin(level, a.n, b.n)
            for a in means
            for b in means
            if a is not b
        )
    return bound_toward_disparity([_ends(cells, level / 2)], "difference")


def _ends(cells: tuple[Cell, ...], level: float) -> Ends:
    lower = np.array([cell.lower(level) for cell in cells])
    return lower, np.array([cell.upper(level) for cell in cells])


def parity_bound(claim: Claim, level: float) -> float:
    """Return the bound on the side of parity: no smaller difference, or larger ratio, is likely.

    Of a minimum, no larger one. The groups are selected from the data, so ``level`` must be that
    of simultaneous bounds.
    """
    return bound_toward_parity([_ends(cells, level) for cells in claim.cells], claim.form)


def _violates(claim: Claim, level: float) -> bool:
    """Return whether simultaneous bounds refute the claim."""
    bound = parity_bound(claim, level)
    return bound < claim.bound if claim.bounded_below else bound > claim.bound


def _judge_floor(floor: MinScore, level: float, simultaneous: float | None) -> TestResult:
    if simultaneous is not None and floor.refuted(simultaneous):
        return TestResult(label=floor.label, verdict=Verdict.VIOLATED)
    if floor.shown(level):
        return TestResult(label=floor.label, verdict=Verdict.CERTIFIED)
    return TestResult(
        label=floor.label, verdict=Verdict.INCONCLUSIVE, reason=Reason.FLOOR_NOT_SHOWN
    )


def n_passed(candidates: Sequence[Evidence], level: float) -> int:
    """Test a fixed sequence of candidates, and return how many passed before the first failure.

    Each candidate is tested at the full level. A false certificate requires that the first truly
    violating candidate passes, so the error is at most ``level``. A certificate for the first of
    several candidates that passes would not be valid: with twenty violating candidates, it errs
    in 63 of 100 runs at a level of 0.05.

    References
    ----------
    Angelopoulos, Bates, Candes, Jordan, Lei, "Learn then test: calibrating predictive algorithms
    to achieve risk control", arXiv 2110.01052, section 2.2 (fixed sequence testing).
    """
    for at, evidence in enumerate(candidates):
        if judge(evidence, level, violations=False).verdict is not Verdict.CERTIFIED:
            return at
    return len(candidates)


def judge_candidate(
    evidence: Evidence, level: float, *, passed: bool, reached: bool = True
) -> Judgement:
    """Return the verdict on a candidate that passed, failed, or was not reached."""
    judgement = judge(evidence, level, violations=not passed)
    if reached or judgement.verdict is not Verdict.CERTIFIED:
        return judgement
    # The sequence ended before this candidate: to certify it would be a second test.
    verdict, reason = Verdict.INCONCLUSIVE, Reason.NOT_TESTED
    findings = tuple(replace(f, verdict=verdict, reason=reason) for f in judgement.findings)
    return Judgement(verdict=verdict, reason=reason, findings=findings)
