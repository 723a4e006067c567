"""From evidence and findings to the records of a certificate."""

from fairautoml.certification.cells import Bets, Cell, Count, Mean
from fairautoml.certification.claims import Claim, Evidence
from fairautoml.certification.exact import RANGE, SCREEN, TAIL
from fairautoml.certification.ledger import Opening
from fairautoml.certification.numbers import Sensitivity, sensitivity
from fairautoml.certification.records import ClaimRecord, FloorRecord, OpeningRecord, Subject
from fairautoml.certification.sealing import seal_of
from fairautoml.certification.sequence import Shipped
from fairautoml.certification.verdicts import Finding, Judgement, Verdict, simultaneous_level


def claim_record(
    claim: Claim,
    finding: Finding,
    hidden: tuple[bool, ...],
    shipped: Shipped,
    level: float,
    *,
    whole: bool,
) -> ClaimRecord:
    """Return a claim as the certificate holds it."""
    room: Sensitivity | None = None
    if whole and finding.verdict is Verdict.CERTIFIED:
        room = sensitivity(claim, shipped.level, shown_level=level)
    cells = tuple(
        tuple(None if hide else cell.content() for cell, hide in zip(row, hidden, strict=True))
        for row in claim.cells
    )
    return ClaimRecord(
        label=claim.label,
        system=claim.system,
        form=claim.form,
        bound=claim.bound,
        groups=claim.groups,
        events=claim.events,
        cells=cells,
        absent=claim.absent,
        independent=claim.independent,
        method=method_of(claim),
        verdict=finding.verdict.value,
        reason=finding.reason.value,
        detail=finding.detail,
        tail=finding.tail if whole else None,
        limit=finding.limit,
        shown=None if room is None else room.bound,
        shift_radius=None if room is None else room.shift_radius,
        fragility=None if room is None else room.fragility,
    )


def shown_level(level: float, shipped: Shipped, evidence: Evidence) -> float:
    """Return the level of each printed bound, so that all of them hold together."""
    return level / (shipped.n_candidates * max(1, len(evidence.claims)))


def floor_record(evidence: Evidence, judgement: Judgement) -> FloorRecord | None:
    """Return the floor as the certificate holds it, None without one."""
    floor = evidence.floor
    if floor is None:
        return None
    found = judgement.findings[-1] if judgement.findings else judgement
    return FloorRecord(
        bound=floor.bound,
        accuracy=floor.accuracy,
        n=floor.n,
        verdict=found.verdict.value,
        reason=found.reason.value,
        method=floor.method,
    )


def said_of(verdict: str, subject: Subject) -> str:
    """Return what a verdict is called: nothing is certified on rows that are merely later."""
    later = subject.split == "time" and verdict == Verdict.CERTIFIED
    return Verdict.VALIDATED.value if later else str(verdict)


def violated_level(evidence: Evidence, shipped: Shipped) -> float | None:
    """Return the level of each one-sided bound behind a VIOLATED, None for other verdicts."""
    if shipped.judgement.verdict is not Verdict.VIOLATED:
        return None
    return simultaneous_level(evidence, shipped.level)


def counts_hash(evidence: Evidence, salt: str) -> str:
    """Return the salted hash of all counts; without the salt small counts could be tried out."""
    cells = [
        [[cell.content() for cell in row] for row in claim.cells] for claim in evidence.claims
    ]
    floor = evidence.floor
    rows = None if floor is None else [floor.accuracy, floor.n]
    return seal_of([salt, cells, rows])


def method_of(claim: Claim) -> str:
    """Return the name of the test or bound that decides a claim."""
    if not claim.cells:
        return "none"
    cell: Cell = claim.cells[0][0]
    if isinstance(cell, Count):
        return f"exact_unconditional ({SCREEN:g}/{RANGE:g}/{TAIL:g})"
    if isinstance(cell, Mean):
        return cell.method
    return "betting" if isinstance(cell, Bets) else "hoeffding_weighted"


def opening_record(opening: Opening, *, released: bool) -> OpeningRecord:
    """Return an opening as the certificate holds it."""
    return OpeningRecord(
        mode=opening.mode.value,
        index=opening.index,
        level=opening.level,
        delta=opening.delta,
        previous=opening.previous,
        entry=opening.entry,
        spent=opening.spent,
        released=released,
    )
