"""Verify a certificate: its bytes, its numbers, and the model and data it refers to."""

from dataclasses import dataclass

from fairautoml.certification.bounds import cell_from_content
from fairautoml.certification.certificate import (
    CAVEAT,
    Certificate,
    ClaimRecord,
    Issue,
    counts_hash,
    damage,
)
from fairautoml.certification.evidence import Claim, Evidence, MinScore
from fairautoml.certification.ledger import RECORDED, Ledger, level_of
from fairautoml.certification.verdicts import PASSED, Reason, Verdict, judge_candidate
from fairautoml.exceptions import InputError

SHOWN = (*PASSED, Verdict.VIOLATED)
"""Verdicts that require opened rows and published numbers."""

TOLERANCE = 1e-9
"""Largest difference between numbers of different versions of the numerical libraries."""


ANCHORS = frozenset({"signature", "model", "model file", "data", "ledger"})
"""Checks against something other than the certificate, which is easily forged."""


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
        "numbers": _numbers(certificate, known),
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


def _numbers(certificate: Certificate, known: Known) -> str | None:
    """Recompute all numbers from the given counts or, without them, from the published ones."""
    if not certificate.opening.index:
        return ""
    evidence = _published(certificate) if known.evidence is None else known.evidence
    if evidence is None:
        return None
    found, stated = _reissued(certificate, evidence), certificate
    if (found.verdict, found.reason) != (stated.verdict, stated.reason):
        return (
            f"verdict: the counts give {found.verdict} {found.reason}, the certificate "
            f"says {stated.verdict} {stated.reason}"
        )
    if len(found.claims) != len(stated.claims):
        return "claims: the evidence is about others"
    for one, other in zip(found.claims, stated.claims, strict=True):
        name = _first_difference(one, other)
        if name:
            return f"{name} of {other.label!r}: not what the counts give"
    if found.floor != stated.floor:
        return "floor: not what the counts give"
    summary = (stated.suppressed, stated.violated_level)
    same = summary == (found.suppressed, found.violated_level)
    return "" if same else "suppressed, violated_level: not what the counts give"


def _reissued(certificate: Certificate, evidence: Evidence) -> Certificate:
    """Return the certificate that the evidence gives."""
    judgement = judge_candidate(
        evidence,
        certificate.opening.level,
        passed=certificate.verdict in PASSED,
        reached=certificate.reason != Reason.NOT_TESTED,
    )
    issue = Issue(
        subject=certificate.subject,
        opening=certificate.opening,
        position=certificate.position,
        smallest_cell=certificate.smallest_cell,
        salt="",
    )
    return issue.certificate(evidence, judgement)


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
    if any(content is None for row in record.cells for content in row):
        return None
    cells = tuple(
        tuple(cell_from_content(c) for c in row if c is not None) for row in record.cells
    )
    return Claim(**record.terms(), cells=cells)


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
