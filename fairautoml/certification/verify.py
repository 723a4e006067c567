"""Verify a certificate: its bytes, its numbers, and the model and data it refers to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fairautoml.certification.bounds import cell_from_content
from fairautoml.certification.certificate import (
    CAVEAT,
    Certificate,
    ClaimRecord,
    claim_record,
    counts_hash,
    damage,
    floor_record,
    said_of,
    shown_level,
    suppressed_groups,
    violated_level,
)
from fairautoml.certification.evidence import Claim, Evidence, MinScore
from fairautoml.certification.ledger import RECORDED, Ledger, level_of
from fairautoml.certification.verdicts import (
    PASSED,
    CandidateVerdict,
    Reason,
    Verdict,
    judge_candidate,
)
from fairautoml.exceptions import InputError

SHOWN = (*PASSED, Verdict.VIOLATED)
"""Verdicts that require opened rows and published numbers."""

TOLERANCE = 1e-9
"""Largest difference between numbers of different versions of the numerical libraries."""


ANCHORS = frozenset({"signature", "model", "model file", "data", "ledger"})
"""Checks against something else than the certificate, which anybody can write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Reference values to compare with a certificate; None = not compared."""

    model: str | None = None  # SHA-256 of the model file
    data: str | None = None  # fingerprint of the given rows
    evidence: Evidence | None = None  # recomputed from model and rows
    ledger: Ledger | None = None  # ledger with the opening
    key: bytes | None = None  # secret of the signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Result of the verification of a certificate."""

    problems: tuple[str, ...]  # empty if no problem was found
    checked: tuple[str, ...]  # names of the checks that ran
    unchecked: tuple[str, ...]  # names of the checks that lacked a reference value

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return not self.problems

    @property
    def anchored(self) -> bool:
        """Whether the certificate was compared with anything but itself."""
        return not ANCHORS.isdisjoint(self.checked)


def verify_certificate(document: bytes, known: Known | None = None) -> Verification:
    """Check the bytes and numbers of a certificate, and compare it with ``known``."""
    known = Known() if known is None else known
    broken = damage(document, known.key)
    if broken:
        return Verification(problems=(broken,), checked=("bytes",), unchecked=())
    try:
        certificate = Certificate.from_bytes(document)
    except InputError:
        alien = "the bytes are not those of a certificate of this format"
        return Verification(problems=(alien,), checked=("bytes",), unchecked=())
    results = {
        "bytes": "",
        "signature": None if known.key is None else "",  # ``damage`` has checked it
        "claims": _claims(certificate),
        "level": _level(certificate),
        "numbers": _numbers(certificate, known.evidence),
        "model": _same("model", certificate.model, known.model),
        "data": _same("data", certificate.subject.data, known.data),
        "counts": _counts(certificate, known),
        "ledger": _entry(certificate, known.ledger),
    }
    return Verification(
        problems=tuple(result for result in results.values() if result),
        checked=tuple(name for name, result in results.items() if result is not None),
        unchecked=tuple(
            name for name, result in results.items() if result is None and name != "signature"
        ),
    )


def _same(name: str, stated: str, found: str | None) -> str | None:
    if found is None:
        return None
    return "" if stated == found else f"{name}: the certificate is about {stated}, not {found}"


def _level(certificate: Certificate) -> str:
    """Check the level against the index of the opening."""
    opening = certificate.opening
    level = level_of(opening.index, opening.delta) if opening.index else 0.0
    if abs(level - opening.level) > TOLERANCE:
        return f"level: opening {opening.index} may spend {level}, not {opening.level}"
    if certificate.caveat != CAVEAT:
        return f"caveat: must be {CAVEAT!r}"
    if level == 0 and certificate.verdict in SHOWN:
        return f"verdict: {certificate.verdict} without an opening"
    return ""


def _claims(certificate: Certificate) -> str:
    """Check that the records match the claims fixed before the opening."""
    if not certificate.opening.index:
        return ""
    found = [(claim.label, claim.groups) for claim in certificate.claims]
    if certificate.floor is not None:
        found.append((certificate.floor.label, ()))
    labels, groups = tuple(label for label, _ in found), tuple(names for _, names in found)
    fixed = (certificate.subject.claims, certificate.subject.groups)
    same = (labels, groups) == fixed
    return "" if same else "claims: others than were fixed before the rows were opened"


def _numbers(certificate: Certificate, evidence: Evidence | None) -> str | None:
    """Recompute all numbers from the given counts or, without them, from the published ones."""
    if not certificate.opening.index:
        return ""
    evidence = _published(certificate) if evidence is None else evidence
    if evidence is None:
        return None
    candidate = _judged(certificate, evidence)
    judgement = candidate.judgement
    said = said_of(judgement.verdict, certificate.subject)
    if (said, judgement.reason.value) != (
        certificate.verdict,
        certificate.reason,
    ):
        return (
            f"verdict: the counts give {said} {judgement.reason}, the certificate "
            f"says {certificate.verdict} {certificate.reason}"
        )
    return _differing(certificate, evidence, candidate)


def _judged(certificate: Certificate, evidence: Evidence) -> CandidateVerdict:
    return judge_candidate(
        evidence,
        certificate.opening.level,
        n_candidates=len(certificate.subject.models),
        passed=certificate.verdict in PASSED,
        reached=certificate.reason != Reason.NOT_TESTED,
    )


def _differing(certificate: Certificate, evidence: Evidence, candidate: CandidateVerdict) -> str:
    """Return the first claim whose record does not follow from its counts."""
    hidden = suppressed_groups(evidence.claims, certificate.smallest_cell)
    whole = not any(any(groups) for groups in hidden)
    if len(certificate.claims) != len(evidence.claims):
        return "claims: the evidence is about others"
    for claim, finding, groups, stated in zip(
        evidence.claims, candidate.findings(evidence), hidden, certificate.claims, strict=False
    ):
        level = shown_level(candidate, evidence)
        found = claim_record(claim, finding, groups, candidate, level, whole=whole)
        found = replace(found, verdict=said_of(found.verdict, certificate.subject))
        name = _first_difference(found, stated)
        if name:
            return f"{name} of {stated.label!r}: not what the counts give"
    floor = floor_record(evidence, candidate.judgement)
    if floor is not None:
        floor = replace(floor, verdict=said_of(floor.verdict, certificate.subject))
    if floor != certificate.floor:
        return "floor: not what the counts give"
    summary = (certificate.suppressed, certificate.violated_level)
    if summary != (not whole, violated_level(evidence, candidate)):
        return "suppressed, violated_level: not what the counts give"
    return ""


def _first_difference(found: ClaimRecord, stated: ClaimRecord) -> str:
    for name in ClaimRecord.__dataclass_fields__:
        one, other = getattr(found, name), getattr(stated, name)
        if isinstance(one, float) and isinstance(other, float):
            if abs(one - other) > TOLERANCE:
                return name
        elif one != other:
            return name
    return ""


def _published(certificate: Certificate) -> Evidence | None:
    """Return the published evidence, or None if cells are missing."""
    claims = [_claim(record) for record in certificate.claims]
    known = [claim for claim in claims if claim is not None]
    if len(known) < len(claims):
        return None
    floor = certificate.floor
    return Evidence(
        claims=tuple(known),
        floor=None
        if floor is None
        else MinScore(
            bound=floor.bound,
            accuracy=floor.accuracy,
            n=floor.n,
            counted=floor.method == "clopper_pearson",
        ),
        constant_target=certificate.constant_target,
    )


def _claim(record: ClaimRecord) -> Claim | None:
    rows: Sequence[Sequence[dict[str, int | float | str] | None]] = record.cells
    cells = [
        [None if content is None else cell_from_content(content) for content in row]
        for row in rows
    ]
    if any(cell is None for row in cells for cell in row):
        return None
    return Claim(
        label=record.label,
        system=record.system,
        form="ratio" if record.form == "ratio" else "difference",
        bound=record.bound,
        groups=record.groups,
        events=record.events,
        cells=tuple(tuple(cell for cell in row if cell is not None) for row in cells),
        absent=record.absent,
        independent=record.independent,
        n_outside=record.n_outside,
    )


def _counts(certificate: Certificate, known: Known) -> str | None:
    """Compare the hash of the counts, salted with the salt of the ledger."""
    if known.evidence is None or known.ledger is None or not certificate.opening.index:
        return None
    found = counts_hash(known.evidence, known.ledger.salt)
    return _same("counts", certificate.counts_sha256, found)


def _entry(certificate: Certificate, ledger: Ledger | None) -> str | None:
    """Compare the opening of the certificate with that of the ledger."""
    opening = certificate.opening
    if ledger is None or not opening.index:
        return None
    written = ledger.opening(opening.entry)
    if written is None:
        return "ledger: it does not hold the opening that the certificate rests on"
    names = (*RECORDED, "previous")
    differing = [name for name in names if written[name] != getattr(opening, name)]
    if not differing and certificate.to_bytes().decode("ascii") not in ledger.answers(
        opening.entry
    ):
        differing.append("certificate")
    return f"ledger: other {', '.join(differing)}" if differing else ""
