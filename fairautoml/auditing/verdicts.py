"""Verdicts on constraints: exact tests, corrected jointly; the ledger records the tested rows."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from fairautoml.auditing.rates import AuditSample, Tables, applies, rate_cells
from fairautoml.auditing.result import VerdictRow
from fairautoml.auditing.rows import AuditRows, Given
from fairautoml.certification.certificate import shown_bound
from fairautoml.certification.evidence import (
    Claim,
    Evidence,
    SampleRows,
    claim_from_counts,
    claim_from_rows,
)
from fairautoml.certification.ledger import Opening, chain_hash, ledger_of
from fairautoml.certification.rows import (
    Keys,
    RowKeys,
    TrainingRows,
    features_read,
    keys_of_table,
    row_keys,
)
from fairautoml.certification.verdicts import (
    Reason,
    TestResult,
    Verdict,
    bound_of,
    judge_claim,
    parity_bound,
    simultaneous_level,
)
from fairautoml.data.frames import Inputs, identity
from fairautoml.data.groups import read_sensitive
from fairautoml.data.target import known_labels
from fairautoml.exceptions import InputError
from fairautoml.metrics import Constraint, GroupCounts, Undefined
from fairautoml.metrics.groups import GroupSystem, SmallGroups

Correction = Literal["holm", "fixed_sequence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hypothesis:
    """A constraint on one grouping, with its test at the level it was given."""

    constraint: Constraint
    system: GroupSystem  # groups that are judged
    left_out: tuple[str, ...]
    secret: frozenset[str]  # groups whose numbers are not published
    claim: Claim
    level: float = 0.0  # 0 = not tested
    finding: TestResult | None = None


def verdict_rows(
    sample: AuditSample,
    *,
    independent: bool,
    small_groups: Sequence[SmallGroups] = (),
    correction: Correction = "holm",
) -> tuple[VerdictRow, ...]:
    """Return the verdict on every constraint on every grouping that it applies to.

    One or more constraints are certified wrongly with probability at most the level of the sample:
    by Holm's procedure, or in a fixed sequence, where each is tested at the full level as long as
    those before it are certified. VIOLATED divides the level by all bounds.

    References
    ----------
    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6 (1979); fixed sequence: Maurer, Hothorn, Lehmacher, 1995.
    """
    _check(sample)
    y, level = sample.rows.y, sample.level
    hypotheses = list(_hypotheses(sample, small_groups))
    testable = [
        at
        for at, one in enumerate(hypotheses)
        if one.system.n_groups >= one.constraint.metric.fewest_groups
    ]
    claims = [hypotheses[at].claim for at in testable]
    refuting = simultaneous_level(Evidence(claims=tuple(claims)), level)
    tested = _holm if correction == "holm" else _in_sequence
    for at, found, used in zip(testable, *tested(claims, level, refuting), strict=True):
        hypotheses[at] = replace(hypotheses[at], finding=found, level=used)
    if y is not None and len(np.unique(y)) < 2:
        hypotheses = [_without_test(one, Reason.CONSTANT_TARGET) for one in hypotheses]
    return tuple(_row(one, sample.tables, independent, refuting) for one in hypotheses)


def _hypotheses(sample: AuditSample, small_groups: Sequence[SmallGroups]) -> Iterator[_Hypothesis]:
    rows, shown = sample.rows, sample.shown
    for constraint in sample.constraints:
        for bound in reversed(constraint.bind(rows.systems, small_groups)):
            parent = next(one for one in rows.systems if one.name == bound.system.name)
            system = bound.system.without(shown.left_out(parent))
            yield _Hypothesis(
                constraint=constraint,
                system=system,
                left_out=tuple(label for label in parent.labels if label not in system.labels),
                secret=shown.suppressed(parent),
                claim=_claim(rows, sample.tables, constraint, system),
            )


def _check(sample: AuditSample) -> None:
    for constraint in sample.constraints:
        constraint.bind(sample.rows.systems)
        if not applies(constraint.metric):
            raise InputError(
                f"constraint={constraint.label!r}: {constraint.metric.name!r} is not a metric of "
                "binary decisions in disjoint groups, as an audit requires. Bound another metric."
            )
        if not sample.tables.labelled and constraint.metric.needs_labels:
            raise InputError(
                f"constraint={constraint.label!r}: {constraint.metric.name!r} needs true labels, "
                "and none were given. Give y_true (--y-true), or bound "
                "demographic_parity_difference or demographic_parity_ratio."
            )


def _claim(rows: AuditRows, tables: Tables, constraint: Constraint, system: GroupSystem) -> Claim:
    if rows.weight is not None and tables.largest_weight is not None:
        sample = SampleRows(
            codes=rows.codes(system),
            y=np.zeros(len(rows.decision), dtype=np.int8) if rows.y is None else rows.y,
            decision=rows.decision.astype(np.float64),
            weight=rows.weight,
            largest_weight=tables.largest_weight,
        )
        claim = claim_from_rows(constraint, sample, system.labels, system=system.name)
    else:
        counts: GroupCounts = tables.merged(system).rows
        claim = claim_from_counts(constraint, counts, system.labels, system.name)
    exact = rate_cells(tables, system, constraint.metric) is not None
    if exact and (not tables.weighted or tables.largest_weight is not None):
        return claim
    return replace(claim, events=(), cells=())


_Tested = tuple[list[TestResult], list[float]]


def _holm(claims: Sequence[Claim], level: float, refuting: float) -> _Tested:
    """Test at ``level / m`` where m claims are not certified yet, until none is added."""
    certified: set[int] = set()
    levels = [level] * len(claims)
    while True:
        each = level / max(1, len(claims) - len(certified))
        levels = [used if at in certified else each for at, used in enumerate(levels)]
        findings = [judge_claim(*one, refuting) for one in zip(claims, levels, strict=True)]
        passed = {at for at, one in enumerate(findings) if one.verdict is Verdict.CERTIFIED}
        if passed == certified:
            return findings, levels
        certified = passed


def _in_sequence(claims: Sequence[Claim], level: float, refuting: float) -> _Tested:
    """Test each claim at the full level, in the given order, up to the first failure."""
    findings: list[TestResult] = []
    going = True
    for claim in claims:
        found = judge_claim(claim, level, refuting)
        if found.verdict is Verdict.CERTIFIED and not going:
            found = replace(found, verdict=Verdict.INCONCLUSIVE, reason=Reason.NOT_REACHED)
        going = going and found.verdict is Verdict.CERTIFIED
        findings.append(found)
    return findings, [level] * len(findings)


def _without_test(one: _Hypothesis, reason: Reason) -> _Hypothesis:
    label, verdict = one.constraint.label, Verdict.NOT_APPLICABLE
    return replace(one, finding=TestResult(label=label, verdict=verdict, reason=reason))


def _row(one: _Hypothesis, tables: Tables, independent: bool, refuting: float) -> VerdictRow:
    constraint, system = one.constraint, one.system
    if one.finding is None:
        one = _without_test(one, Reason.TOO_FEW_ROWS if one.left_out else Reason.SINGLE_GROUP)
    finding = cast(TestResult, one.finding)
    secret = bool(one.secret & {*system.labels})
    value = constraint.metric.value(tables.merged(system).weights)
    measured = None if secret or isinstance(value, Undefined) else float(value)
    bound, level = (None, None) if secret else _deciding(one, finding, refuting)
    verdict, reason = finding.verdict, finding.reason
    if reason is Reason.NO_EXACT_TEST and tables.weighted and tables.largest_weight is None:
        exact = rate_cells(tables, system, constraint.metric) is not None
        reason = Reason.NO_WEIGHT_LIMIT if exact else reason
    if verdict is Verdict.CERTIFIED and not independent:
        verdict, reason = Verdict.INCONCLUSIVE, Reason.NOT_INDEPENDENT
    return VerdictRow(
        constraint=constraint.label,
        system=system.name,
        measured=measured,
        within=None if measured is None else constraint.gap(measured) <= constraint.limit,
        verdict=verdict.value,
        reason=reason.value,
        detail="" if secret else finding.detail,
        bound=bound,
        level=level,
        left_out=one.left_out,
        descriptive=not independent,
    )


def _deciding(
    one: _Hypothesis, finding: TestResult, refuting: float
) -> tuple[float | None, float | None]:
    """Return the bound that decided the verdict, and its level."""
    claim = one.claim
    if finding.verdict is Verdict.CERTIFIED:
        return shown_bound(claim, one.level), one.level
    if finding.verdict is Verdict.VIOLATED:
        return parity_bound(claim, refuting), refuting
    if finding.verdict is Verdict.INCONCLUSIVE and not (claim.absent or claim.undefined):
        found = bound_of(claim, one.level)
        beyond = found < claim.bound if claim.bounded_below else found > claim.bound
        return (found, one.level) if beyond else (None, None)
    return None, None


def overall(found: Sequence[VerdictRow]) -> str:
    """Return the verdict on all constraints together."""
    each = {row.verdict for row in found if row.reason != Reason.SINGLE_GROUP}
    if Verdict.VIOLATED in each:
        return Verdict.VIOLATED.value
    if not each or Verdict.NOT_APPLICABLE in each:
        return Verdict.NOT_APPLICABLE.value
    certified = each == {Verdict.CERTIFIED.value}
    return (Verdict.CERTIFIED if certified else Verdict.INCONCLUSIVE).value


def open_rows(
    given: Given,
    sample: AuditSample,
    ledger: str | PathLike[str] | None,
    model: Any = None,
    small_groups: Sequence[SmallGroups] = (),
    correction: Correction = "holm",
) -> Opening:
    """Record that decisions on new rows are audited, and return the opening with its level.

    Without features and labels single rows cannot be recognized, only the table as a whole.
    """
    _check(sample)  # before rows are opened
    rows = sample.rows
    own = ledger_of(None if ledger is None else Path(ledger))
    labels = None if rows.y is None else rows.classes[rows.y]
    single = given.X is not None and labels is not None
    by_row = _by_row(given, labels, own.salt, model) if single else {}
    columns = read_sensitive(given.sensitive).columns
    keys = keys_of_table(by_row, columns, labels, own.salt)
    question = _question(sample, small_groups, correction, keys)
    # An audit is about all its rows, so that none are dropped.
    return own.open(keys, delta=sample.level, question=question, drops=False).opening


def _question(
    sample: AuditSample,
    small_groups: Sequence[SmallGroups],
    correction: Correction,
    keys: RowKeys,
) -> str:
    """Return the hash of decisions, weights, groups and hypotheses.

    The bound of a single hypothesis is no part of it, nor is the order of those of Holm's
    procedure. With several, which of them is tested at which level depends on the bounds.
    """
    rows = sample.rows
    codes = [rows.codes(system) for system in rows.systems]
    by_row = [one for one in (rows.decision, rows.weight, *codes) if one is not None]
    at = _order(by_row, keys)
    values = [hashlib.sha256(one[at].tobytes()).hexdigest() for one in by_row]
    groups = [
        [system.name, list(system.labels), list(sample.shown.left_out(system))]
        for system in rows.systems
    ]
    hypotheses = [
        (bound.label, list(bound.system.labels), float(one.bound))
        for one in sample.constraints
        for bound in one.bind(rows.systems, small_groups)
    ]
    if len(hypotheses) == 1:
        hypotheses = [(*hypotheses[0][:2], 0.0)]
    ordered = hypotheses if correction == "fixed_sequence" else sorted(hypotheses)
    return chain_hash([values, groups, correction, ordered])


def refuse_training_rows(model: Any, given: Given) -> None:
    """Raise if rows that are declared new trained the ``FairAutoML`` that is audited."""
    training = getattr(model, "_training_rows", None)
    if not isinstance(training, TrainingRows) or given.y_true is None:
        return
    matrix = model.model_.schema.transform(given.X)
    training.refuse(matrix, known_labels(given.y_true, model.model_.classes))


def _by_row(given: Given, labels: Any, salt: str, model: Any) -> dict[str, Keys]:
    """Return the keys of all columns and, for a ``FairAutoML``, of those that it reads."""
    frame = identity(Inputs(X=given.X, y=given.y_true))
    found = {"given": row_keys(frame, salt)}
    if isinstance(getattr(model, "_training_rows", None), TrainingRows):
        schema = model.model_.schema
        read = features_read(schema, schema.transform(given.X), labels)
        found["features"] = row_keys(read, salt, "features")
    return found


def _order(by_row: Sequence[NDArray[Any]], keys: RowKeys) -> Any:
    """Return the order of the rows by their keys and then their values, as given without keys."""
    rows = keys.by_row.get("given")
    return slice(None) if rows is None else np.lexsort((*by_row, rows))
