"""From a frozen list of candidates to a certificate: the only way to certification rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.certification.claims import Evidence
from fairautoml.certification.ledger import Ledger, Opening, Openings
from fairautoml.certification.recording import (
    claim_record,
    counts_hash,
    floor_record,
    method_of,
    opening_record,
    said_of,
    shown_level,
    violated_level,
)
from fairautoml.certification.records import Certificate, OpeningRecord, Subject
from fairautoml.certification.sealing import seal_of
from fairautoml.certification.sequence import Procedure, Shipped, ship, shipped_as
from fairautoml.certification.suppression import SMALLEST_CELL, suppressed_groups
from fairautoml.certification.verdicts import Judgement, Reason, Verdict
from fairautoml.exceptions import InputError

NOT_APPLICABLE = frozenset(
    {
        Reason.SINGLE_GROUP,
        Reason.CONSTANT_TARGET,
        Reason.NO_EXACT_TEST,
        Reason.NO_CLAIM,
        Reason.GROUPS_GUESSED,
    }
)
"""Reasons that no rows would change."""

Read = Callable[[], Sequence[Evidence]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How rows are opened and what is published; fixed before."""

    delta: float = 0.05  # error probability over all openings of the same rows, in (0, 1)
    openings: Openings = Openings.SINGLE  # how they share it
    procedure: Procedure = Procedure.FIXED_SEQUENCE  # how the candidates share an opening
    fallback: int = 0  # position of the candidate that is shipped when none passes
    smallest_cell: int = SMALLEST_CELL  # rows from which the counts of a cell are published
    seed: int = 0  # root seed of the fit, for the ledger
    grouping: str = ""  # hash of who is in which group of each claim


def certify(
    subject: Subject, read: Read, ledger: Ledger, keys: NDArray[np.uint64], terms: Terms
) -> Certificate:
    """Open certification rows, judge the frozen candidates and return the certificate.

    First the ledger is written, then ``read`` is called, then the verdict is noted: a crash in
    between counts as an opening. Spent rows are not read.
    """
    if not 0 <= terms.fallback < len(subject.models):
        msg = (
            f"fallback={terms.fallback}: must be the position of one of the "
            f"{len(subject.models)} candidates"
        )
        raise InputError(msg)
    asked = _asked(subject, terms)
    opening = ledger.open(
        keys, delta=terms.delta, mode=terms.openings, hashes=asked, seed=terms.seed
    )
    if opening.spent:
        judgement = Judgement(verdict=Verdict.INCONCLUSIVE, reason=Reason.ROWS_SPENT)
        return _withheld(subject, opening, terms, judgement)
    candidates = _checked(read(), subject)
    shipped = ship(candidates, opening.level, procedure=terms.procedure, fallback=terms.fallback)
    if not ledger.record(opening, shipped.judgement.verdict, methods=_methods(candidates)):
        return _withheld(subject, opening, terms, _one_bit(shipped.judgement))
    return _published(subject, opening, terms, shipped, candidates[shipped.position], ledger.salt)


def publish(
    subject: Subject, read: Read, ledger: Ledger, keys: NDArray[np.uint64], terms: Terms
) -> Certificate:
    """Spend rows whose ledger is open and return the last opening with its numbers."""
    asked = _asked(subject, terms)
    ledger.check_last(keys, hashes=asked)
    candidates = _checked(read(), subject)
    opening = ledger.close(keys, hashes=asked, methods=_methods(candidates))
    shipped = ship(candidates, opening.level, procedure=terms.procedure, fallback=terms.fallback)
    return _published(subject, opening, terms, shipped, candidates[shipped.position], ledger.salt)


def uncertified(reason: Reason, subject: Subject, delta: float, note: str = "") -> Certificate:
    """Return a certificate that says why none could be given, without any rows."""
    nothing = "0" * 64
    opening = Opening(
        index=0,
        level=0.0,
        delta=delta,
        mode=Openings.SINGLE,
        previous=nothing,
        entry=nothing,
        spent=False,
    )
    verdict = Verdict.NOT_APPLICABLE if reason in NOT_APPLICABLE else Verdict.INCONCLUSIVE
    judgement = Judgement(verdict=verdict, reason=reason)
    return replace(_withheld(subject, opening, Terms(delta=delta), judgement), note=note)


def in_turn(certificate: Certificate) -> bool:
    """Whether the candidate shipped passed, and all before it in a fixed sequence."""
    passed = certificate.verdict in (Verdict.CERTIFIED, Verdict.VALIDATED)
    return passed and certificate.procedure == Procedure.FIXED_SEQUENCE


def passed_before(
    certificate: Certificate, candidates: Sequence[Evidence], salt: str
) -> tuple[Certificate, ...]:
    """Return certificates of the candidates that passed before the one that is shipped.

    In a fixed sequence all of them passed at the level of the opening, and the error is bounded
    for all of them together: a false one needs the first that truly violates to pass.
    """
    if not in_turn(certificate):
        return ()
    subject = certificate.subject
    return tuple(
        _of_candidate(
            subject,
            certificate.opening,
            certificate.smallest_cell,
            shipped_as(
                evidence,
                certificate.opening.level,
                position=position,
                n_candidates=len(subject.models),
                procedure=Procedure.FIXED_SEQUENCE,
                passed=True,
            ),
            evidence,
            salt,
        )
        for position, evidence in enumerate(candidates[: certificate.position])
    )


def _asked(subject: Subject, terms: Terms) -> dict[str, str]:
    """Return hashes of the whole question: the same rows answer another one no second time."""
    asked = [terms.procedure.value, terms.fallback, terms.grouping]
    return {**subject.hashes, "terms": seal_of(asked)}


def _methods(candidates: Sequence[Evidence]) -> str:
    """Return a hash of the tests and bounds that decide, which must not be chosen afterwards."""
    return seal_of([[method_of(claim) for claim in one.claims] for one in candidates])


def _checked(candidates: Sequence[Evidence], subject: Subject) -> Sequence[Evidence]:
    """Refuse evidence that is about something else than what was hashed."""
    for evidence in candidates:
        labels = [claim.label for claim in evidence.claims]
        groups = [claim.groups for claim in evidence.claims]
        if evidence.floor is not None:
            labels.append(evidence.floor.label)
            groups.append(())
        if (tuple(labels), tuple(groups)) != (subject.claims, subject.groups):
            msg = (
                f"read: returned evidence on {labels!r}, but {list(subject.claims)!r} with their "
                "groups were fixed before the rows were opened; return those"
            )
            raise InputError(msg)
    if len(candidates) != len(subject.models):
        msg = (
            f"read: returned evidence of {len(candidates)} candidates, but {len(subject.models)} "
            "models were fixed before the rows were opened; return one for each, in their order"
        )
        raise InputError(msg)
    return candidates


def _one_bit(judgement: Judgement) -> Judgement:
    """Return what may be said while the ledger is open: nothing that depends on outcomes."""
    if judgement.verdict is Verdict.NOT_APPLICABLE or judgement.reason is Reason.GROUP_ABSENT:
        return Judgement(verdict=judgement.verdict, reason=judgement.reason)
    return Judgement(verdict=Verdict.INCONCLUSIVE, reason=Reason.NOT_CERTIFIED)


def _withheld(
    subject: Subject, opening: Opening, terms: Terms, judgement: Judgement
) -> Certificate:
    return Certificate(
        verdict=judgement.verdict.value,
        reason=judgement.reason.value,
        violated_level=None,
        claims=(),
        floor=None,
        constant_target=False,
        opening=opening_record(opening, released=False),
        procedure=terms.procedure.value,
        position=terms.fallback,
        smallest_cell=terms.smallest_cell,
        suppressed=False,
        counts_sha256="",
        subject=subject,
    )


def _published(
    subject: Subject,
    opening: Opening,
    terms: Terms,
    shipped: Shipped,
    evidence: Evidence,
    salt: str,
) -> Certificate:
    record = opening_record(opening, released=True)
    return _of_candidate(subject, record, terms.smallest_cell, shipped, evidence, salt)


def _of_candidate(
    subject: Subject,
    opening: OpeningRecord,
    smallest_cell: int,
    shipped: Shipped,
    evidence: Evidence,
    salt: str,
) -> Certificate:
    judgement = shipped.judgement
    hidden = suppressed_groups(evidence.claims, smallest_cell)
    whole = not any(any(groups) for groups in hidden)
    printed = shown_level(opening.level, shipped, evidence)
    records = (
        claim_record(claim, finding, groups, shipped, printed, whole=whole)
        for claim, finding, groups in zip(
            evidence.claims, shipped.findings(evidence), hidden, strict=False
        )
    )
    claims = tuple(replace(one, verdict=said_of(one.verdict, subject)) for one in records)
    floor = floor_record(evidence, judgement)
    if floor is not None:
        floor = replace(floor, verdict=said_of(floor.verdict, subject))
    return Certificate(
        verdict=said_of(judgement.verdict, subject),
        reason=judgement.reason.value,
        violated_level=violated_level(evidence, shipped),
        claims=claims,
        floor=floor,
        constant_target=evidence.constant_target,
        opening=opening,
        procedure=shipped.procedure.value,
        position=shipped.position,
        smallest_cell=smallest_cell,
        suppressed=not whole,
        counts_sha256=counts_hash(evidence, salt),
        subject=subject,
    )
