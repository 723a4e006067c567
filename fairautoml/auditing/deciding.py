"""What is shown of each constraint: the procedures of certificates on rows of an audit."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fairautoml.auditing.cells import counted_labels, counts_of, needs_labels
from fairautoml.auditing.gaps import applies, rate_cells
from fairautoml.auditing.hiding import Hidden
from fairautoml.auditing.records import VerdictRow
from fairautoml.auditing.rows import AuditRows
from fairautoml.certification import (
    Claim,
    Evidence,
    Finding,
    Judgement,
    Reason,
    Rows,
    Verdict,
    claim_from_counts,
    claim_from_rows,
    judge,
)
from fairautoml.data.dataset import GroupSystem
from fairautoml.data.small_groups import SmallGroups, constrained
from fairautoml.evaluation.problem import targets_of
from fairautoml.exceptions import InputError
from fairautoml.metrics import Constraint, Undefined

Asked = tuple[Constraint, GroupSystem]


def verdict_rows(
    rows: AuditRows,
    constraints: Sequence[Constraint],
    hidden: Hidden,
    level: float,
    *,
    independent: bool,
    largest_weight: float | None,
    small_groups: Sequence[SmallGroups] = (),
) -> tuple[VerdictRow, ...]:
    """Return what is shown of every constraint on every group system that it speaks about.

    All are tested together at the full level, as in a certificate. Systems of a single group are
    outside: they hold nothing and must not keep the others from being certified.
    """
    _check(constraints, rows)
    asked = [
        (constraint, constrained(system, constraint.metric.name, small_groups))
        for constraint in constraints
        for system in rows.systems
        if constraint.system in (None, system.name)
    ]
    several = [pair for pair in asked if pair[1].n_groups >= 2]
    claims = [_claim(rows, pair, largest_weight) for pair in several]
    constant = rows.y is not None and len(np.unique(rows.y)) < 2
    judgement = judge(Evidence(claims=tuple(claims), constant_target=constant), level)
    findings = iter(_findings(judgement, claims))
    found = []
    for constraint, system in asked:
        finding = next(findings) if system.n_groups >= 2 else _single(constraint)
        if finding.reason is Reason.NO_EXACT_TEST and not _testable(rows, largest_weight):
            finding = replace(finding, reason=_untested(rows, (constraint, system)))
        found.append(_row(rows, (constraint, system), finding, hidden, independent))
    return tuple(found)


def _check(constraints: Sequence[Constraint], rows: AuditRows) -> None:
    targets_of(constraints, rows.systems)
    for constraint in constraints:
        if not applies(constraint.metric):
            msg = (
                f"constraint={constraint.label!r}: {constraint.metric.name!r} does not speak "
                "about decisions between two labels in plain groups, as an audit does; bound "
                "another metric"
            )
            raise InputError(msg)
        if rows.y is None and needs_labels(constraint.metric):
            msg = (
                f"constraint={constraint.label!r}: {constraint.metric.name!r} needs true labels, "
                "and none were given. Give y_true (--y-true), or bound "
                "demographic_parity_difference or demographic_parity_ratio."
            )
            raise InputError(msg)


def _claim(rows: AuditRows, asked: Asked, largest_weight: float | None) -> Claim:
    constraint, system = asked
    if rows.weight is not None and largest_weight is not None:
        sample = Rows(
            codes=rows.codes(system),
            y=counted_labels(rows),
            decision=rows.decision.astype(np.float64),
            weight=rows.weight,
            largest_weight=largest_weight,
        )
        claim = claim_from_rows(constraint, sample, system.labels, system=system.name)
    else:
        counts = counts_of(rows, rows.decision, None).merged(system.of_cell, system.n_groups)
        claim = claim_from_counts(constraint, counts, system.labels, system.name)
    if _testable(rows, largest_weight) and _has_test(rows, asked):
        return claim
    return replace(claim, events=(), cells=())


def _testable(rows: AuditRows, largest_weight: float | None) -> bool:
    return rows.weight is None or largest_weight is not None


def _has_test(rows: AuditRows, asked: Asked) -> bool:
    return rate_cells(rows, asked[1], asked[0].metric) is not None


def _untested(rows: AuditRows, asked: Asked) -> Reason:
    """Say what weighted rows lack: a limit of their weights, or a test of the metric at all."""
    return Reason.NO_WEIGHT_LIMIT if _has_test(rows, asked) else Reason.NO_EXACT_TEST


def _findings(judgement: Judgement, claims: Sequence[Claim]) -> tuple[Finding, ...]:
    """Return a finding per claim, also when one reason holds for all of them."""
    if judgement.findings:
        return judgement.findings
    return tuple(
        Finding(label=claim.label, verdict=judgement.verdict, reason=judgement.reason)
        for claim in claims
    )


def _single(constraint: Constraint) -> Finding:
    return Finding(
        label=constraint.label, verdict=Verdict.NOT_APPLICABLE, reason=Reason.SINGLE_GROUP
    )


def _row(
    rows: AuditRows, asked: Asked, finding: Finding, hidden: Hidden, independent: bool
) -> VerdictRow:
    constraint, system = asked
    secret = bool(hidden[system.name].any())
    counts = counts_of(rows, rows.decision, rows.weight)
    value = constraint.metric.value(counts.merged(system.of_cell, system.n_groups))
    measured = None if secret or isinstance(value, Undefined) else float(value)
    verdict, reason = finding.verdict, finding.reason
    if verdict is Verdict.CERTIFIED and not independent:
        verdict, reason = Verdict.INCONCLUSIVE, Reason.NO_CERTIFICATION_SET
    return VerdictRow(
        constraint=constraint.label,
        system=system.name,
        measured=measured,
        within=None if measured is None else constraint.gap(measured) <= constraint.limit,
        verdict=verdict.value,
        reason=reason.value,
        detail="" if secret else finding.detail,
        descriptive=not independent,
    )


def overall(found: Sequence[VerdictRow]) -> str:
    """Return the verdict on all constraints together."""
    each = {row.verdict for row in found if row.reason != Reason.SINGLE_GROUP}
    if Verdict.VIOLATED in each:
        return Verdict.VIOLATED.value
    if not each or Verdict.NOT_APPLICABLE in each:
        return Verdict.NOT_APPLICABLE.value
    certified = each == {Verdict.CERTIFIED.value}
    return (Verdict.CERTIFIED if certified else Verdict.INCONCLUSIVE).value
