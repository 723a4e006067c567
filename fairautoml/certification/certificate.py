"""Records, text and JSON of a certificate."""

import hmac
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain, combinations
from typing import Any

import numpy as np

from fairautoml.certification.bounds import (
    Cell,
    Content,
    Count,
    Mean,
    cell_from_content,
    content_of,
)
from fairautoml.certification.evidence import Claim, ClaimTerms, Evidence, MeasuredScore, MinScore
from fairautoml.certification.exact_test import (
    RANGE,
    SAFETY,
    SCREEN,
    TAIL,
    rows_needed,
    rows_needed_above,
)
from fairautoml.certification.ledger import Opening, canonical, chain_hash
from fairautoml.certification.verdicts import (
    PASSED,
    Judgement,
    Reason,
    TestResult,
    Verdict,
    bound_of,
    claim_passes,
    simultaneous_level,
)
from fairautoml.exceptions import InputError
from fairautoml.metrics.groups import listed
from fairautoml.metrics.rates import RATES

STEPS = 20
"""Number of steps between 0 and the claimed bound that the printed bound can take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundSlack:
    """Slack of a certified claim."""

    shown: float  # bound that was shown, at least as strict as the claimed one
    shift_radius: float  # largest shift of all cells' rates under which the claim still holds
    # fewest rows of one cell whose flipped outcomes undo the certificate; None without 0/1
    # outcomes, or if flipping all outcomes of a cell has no effect
    fragility: int | None


def sensitivity(claim: Claim, level: float, *, shown_level: float) -> BoundSlack:
    """Return the slack of a certified claim."""
    bound = shown_bound(claim, shown_level)
    if claim.form == "difference":
        radius = (claim.bound - bound) / 2
    elif claim.form == "ratio":
        radius = _ratio_radius(claim, shown_level)
    else:
        radius = bound - claim.bound
    return BoundSlack(shown=bound, shift_radius=radius, fragility=_fragility(claim, level))


def shown_bound(claim: Claim, level: float) -> float:
    """Return the strictest bound that the cells show at a level, at most that of the claim.

    The exact test tries gaps of ``eps``, ``eps (1 - 1/20)``, ... in this fixed order up to its
    first failure, which needs no correction. Other claims use their one-sided bounds. The gap of
    a ratio is its distance from 1.
    """
    ratio = claim.form == "ratio"
    if claim.form == "minimum" or not isinstance(claim.cells[0][0], Count):
        stricter = max if claim.bounded_below else min
        return stricter(claim.bound, bound_of(claim, level))
    shown = claim.bound
    for step in range(STEPS):
        left = 1 - step / STEPS
        tried = 1 - (1 - claim.bound) * left if ratio else claim.bound * left
        if not claim_passes(claim, tried, level)[0]:
            return shown
        shown = tried
    return shown


def _ratio_radius(claim: Claim, level: float) -> float:
    """Return the largest shift of all rates under which ``theta_g >= tau theta_h`` is shown.

    Uses one-sided bounds of the rates, so that it can be 0 although the exact test passes.
    """
    radius = 1.0
    for cells in claim.cells:
        lower = np.array([cell.lower(level / 2) for cell in cells])
        upper = np.array([cell.upper(level / 2) for cell in cells])
        slack = lower[:, None] - claim.bound * upper[None, :]
        np.fill_diagonal(slack, np.inf)
        radius = min(radius, float(slack.min()) / (1 + claim.bound))
    return max(0.0, radius)


def _fragility(claim: Claim, level: float) -> int | None:
    if not isinstance(claim.cells[0][0], Count):
        return None
    least: int | None = None
    for cells in claim.cells:
        counts = [cell for cell in cells if isinstance(cell, Count)]
        for group, cell in enumerate(counts):
            for sign, most in ((1, cell.n - cell.x), (-1, cell.x)):
                survives = partial(_survives, claim, level, counts, group, sign)
                least = _smaller(survives, most, least)
    return least


def _smaller(survives: Callable[[int], bool], most: int, least: int | None) -> int | None:
    """Return the number of flips, of at most ``most``, that fails, if it is below ``least``."""
    most = most if least is None else min(most, least - 1)
    if most < 1 or survives(most):
        return least
    survived, failed = 0, most
    while failed - survived > 1:
        middle = (survived + failed) // 2
        if survives(middle):
            survived = middle
        else:
            failed = middle
    return failed


def _survives(
    claim: Claim, level: float, cells: Sequence[Count], group: int, sign: int, k: int
) -> bool:
    """Return whether an event still passes with ``k`` outcomes of a cell flipped."""
    flipped = list(cells)
    flipped[group] = replace(cells[group], x=cells[group].x + sign * k)
    changed = replace(claim, events=claim.events[:1], cells=(tuple(flipped),))
    return claim_passes(changed, claim.bound, level)[0]


REASONS = {
    Reason.BOUND_ABOVE_EPS: "the confidence bound exceeds the constraint",
    Reason.BOUND_BELOW_RATIO: "the confidence bound is below the required ratio",
    Reason.BOUND_BELOW_MINIMUM: "the confidence bound is below the required rate",
    Reason.FLOOR_NOT_SHOWN: "the accuracy may be below min_score",
    Reason.NOT_TESTED: (
        "a fairer candidate earlier in the sequence failed; this one was not tested"
    ),
    Reason.NOT_REACHED: "an earlier constraint of the sequence was not certified",
    Reason.TOO_FEW_ROWS: "too few rows in one group",
    Reason.GROUP_ABSENT: "a group has no rows, or rows have no known group",
    Reason.UNDEFINED_CELL: "a rate is undefined because no row has its label or decision",
    Reason.NOT_INDEPENDENT: "the rows were not declared new to the model",
    Reason.SINGLE_GROUP: "there is only one group",
    Reason.CONSTANT_TARGET: "all rows have the same label",
    Reason.NO_EXACT_TEST: "there is no exact test for this metric",
    Reason.NO_CLAIM: "there is no constraint to certify",
    Reason.JOINT_ONLY: "passes alone, but claims are certified jointly or not at all",
    Reason.NO_WEIGHT_LIMIT: "rows have weights, and their largest possible value is unknown",
    Reason.GROUPS_GUESSED: "the groups are noisy labels from proxies, whose errors are estimated",
    Reason.CONSTANT_MODEL: "the selected model is a constant predictor: no row was opened",
}

LISTED = 3
"""Largest number of groups that a line names."""

ROWS_OF: Mapping[str, str] = {name: rate.lacks for name, rate in RATES.items()}
"""Kind of rows on which each rate is measured."""


def certificate_text(certificate: "Certificate") -> str:
    """Return a certificate as plain text."""
    return "\n".join(_lines(certificate)) + "\n"


MOST_CLAIMS = 5
"""Claims that a summary lists."""


def certificate_summary(certificate: "Certificate") -> str:
    """Return verdict, claims and opening of a certificate, without the counts of the groups."""
    opening, subject, claims = certificate.opening, certificate.subject, certificate.claims
    lines = [f"{certificate.verdict}{_because(certificate.reason)}", _statement(certificate)]
    lines += [f"  {_short(claim)}" for claim in claims[:MOST_CLAIMS]]
    if len(claims) > MOST_CLAIMS:
        lines.append(f"  ... and {len(claims) - MOST_CLAIMS} more claims")
    if certificate.floor is not None:
        lines.append(f"  {certificate.floor.label}: {certificate.floor.verdict}")
    lines += [f"  {said}" for said in dict.fromkeys(map(_not_compared, claims)) if said]
    wanted = dict.fromkeys(_more_rows(claim, opening.level) for claim in claims)
    lines += [f"  {more}" for more in wanted if more]
    lines += [line for line in _left_out(subject) if line]
    if certificate.note:
        lines.append(certificate.note)
    if opening.index:
        dropped = f"; {opening.n_dropped:,} opened before were left out" * bool(opening.n_dropped)
        lines.append(f"{opening.n_rows:,} rows{_kind_of_rows(subject)}{dropped}")
        lines += level_lines(opening)
    else:
        lines.append("No row was opened.")
    lines.append(f"Model {certificate.model[:12]}; all numbers: to_bytes(), certificate_text().")
    return "\n".join(lines)


def _short(claim: "ClaimRecord") -> str:
    if claim.verdict not in PASSED or claim.shown is None:
        return f"{claim.label}: {claim.verdict}{_because(claim.reason)}"
    sign = "at least" if claim.bounded_below else "at most"
    return f"{claim.label}: {claim.verdict}, shown to be {sign} {claim.shown:.4g}"


def _lines(certificate: "Certificate") -> Iterator[str]:
    opening, subject = certificate.opening, certificate.subject
    yield f"{certificate.verdict}{_because(certificate.reason)}"
    yield _statement(certificate)
    if certificate.note:
        yield ""
        yield certificate.note
    yield from _left_out(subject)
    for claim in certificate.claims:
        yield ""
        yield from _claim_lines(claim, certificate.opening.level)
    if certificate.floor is not None:
        floor = certificate.floor
        yield ""
        yield f"{floor.label}: {floor.verdict}{_because(floor.reason)}"
        bound = "Clopper-Pearson" if floor.method == "clopper_pearson" else "Hoeffding's bound"
        yield f"  measured {floor.accuracy:.4f} on {floor.n:,} rows; {bound}"
    if certificate.suppressed:
        yield ""
        yield (
            f"Groups with fewer than {certificate.smallest_cell} rows in a cell are not shown, "
            "nor numbers that would reveal them."
        )
    yield ""
    if opening.index:
        yield from _opened(certificate)
    else:
        yield "opening     none: no rows were opened for it"
    if subject.positive:
        yield f"positive    {subject.positive}: accepted means predicted so"
    yield f"model       {certificate.model}"
    libraries = ", ".join(f"{name} {version}" for name, version in subject.libraries)
    yield f"software    fairautoml {subject.version}" + (f"; {libraries}" if libraries else "")
    yield ""
    yield certificate.caveat


def _opened(certificate: "Certificate") -> Iterator[str]:
    opening, subject = certificate.opening, certificate.subject
    yield f"opening     ledger entry {opening.entry}"
    dropped = f"; {opening.n_dropped:,} more were opened before" if opening.n_dropped else ""
    yield f"rows        {opening.n_rows:,}{_kind_of_rows(subject)}{dropped}"
    if len(subject.models) > 1:
        yield (
            f"candidate   {certificate.position + 1} of {len(subject.models)}, from the fairest "
            "to the most accurate"
        )
    yield f"data        {subject.data}"
    yield from level_lines(opening)


def level_lines(opening: Opening, what: str = "tested at level") -> Iterator[str]:
    """Yield the level of an opening, and what it allows for."""
    share = f"{what} {opening.level:.4g} of delta {opening.delta:g}"
    if opening.index == 1:
        yield f"First opening of these rows in the ledger: {share}."
        return
    which = "opening of these rows" if opening.n_earlier else "test of this model"
    yield f"Not the first {which} in the ledger: {share}."
    if opening.n_earlier:
        yield (
            f"The ledger has {_times(opening.n_earlier, 'earlier opening')} of these rows. The "
            "level allows for them only if the model was neither fitted nor selected with their "
            "results."
        )
    if opening.n_attempts:
        yield (
            f"The ledger has {_times(opening.n_attempts, 'earlier test')} of this model that did "
            "not certify it."
        )


def _times(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _left_out(subject: "Subject") -> Iterator[str]:
    for label, outside in zip(subject.claims, subject.outside, strict=False):
        if outside:
            yield ""
            named = listed([*map(repr, outside)], LISTED)
            yield f"{label} leaves out {named}: too few rows in the search"


def _kind_of_rows(subject: "Subject") -> str:
    later = ", later than the training rows" if subject.later else ""
    return f"{later}, entities of {subject.entities}" if subject.entities else later


def _because(reason: str) -> str:
    return f" ({REASONS[Reason(reason)]})" if reason else ""


def _statement(certificate: "Certificate") -> str:
    delta = certificate.opening.delta
    if certificate.verdict == Verdict.CERTIFIED:
        return (
            "In the population these rows came from, every claim below holds; the procedure errs "
            f"with probability at most {delta:g}."
        )
    if certificate.verdict == Verdict.VALIDATED:
        return (
            "Validated on later data, which is no certificate: every claim below holds for the "
            f"population of that time; the procedure errs with probability at most {delta:g} if "
            "the rows are independent."
        )
    if certificate.verdict == Verdict.VIOLATED:
        return (
            "In the population these rows came from, a claim below does not hold; the procedure "
            f"errs with probability at most {delta:g}."
        )
    return "There is no statement about the population these rows came from."


def _claim_lines(claim: "ClaimRecord", level: float) -> Iterator[str]:
    detail = f": {claim.detail}" if claim.detail else ""
    yield f"{claim.label}: {claim.verdict}{_because(claim.reason)}{detail}"
    tail = ""
    if claim.tail is not None and claim.limit is not None:
        # The screen computes no tail.
        largest = f"largest tail {claim.tail:.4g}" if claim.tail > 0 else "decided by its screen"
        tail = f"; {largest}, limit {claim.limit:.4g}"
    yield f"  method {claim.method}{tail}"
    if claim.shown is not None and claim.shift_radius is not None:
        sign = "at least" if claim.bounded_below else "at most"
        radius = f"shift radius {claim.shift_radius:.4g} within each cell"
        yield f"  shown: {sign} {claim.shown:.4g}; {radius}"
    if claim.fragility is not None:
        yield f"  fragility: {claim.fragility} flipped outcomes in one cell would undo it"
    for event, row in zip(claim.events, claim.cells, strict=False):
        for group, cell in zip(claim.groups, row, strict=True):
            yield f"  {event:<10} {group:<24} {_cell(cell)}"
    if claim.n_outside:
        yield f"  {_not_compared(claim)}"
    more = _more_rows(claim, level)
    if more:
        yield f"  {more}"


def _not_compared(claim: "ClaimRecord") -> str:
    if not claim.n_outside:
        return ""
    return f"{claim.n_outside:,} rows are in none of the compared groups of {claim.system!r}"


def _cell(cell: dict[str, int | float | str] | None) -> str:
    if cell is None:
        return "suppressed"
    if cell["kind"] == "count":
        x, n = int(cell["x"]), int(cell["n"])
        return f"{x:,} of {n:,} rows" + (f" ({x / n:.4f})" if n else "")
    known = {name: value for name, value in cell.items() if name in ("mean", "sum_wh", "sum_w")}
    numbers = ", ".join(f"{name} {value:.6g}" for name, value in known.items())
    return f"{cell['n']:,} rows" + (f", {numbers}" if numbers else "")


def _more_rows(claim: "ClaimRecord", level: float) -> str:
    """Return a line with the rows that each group lacks if its true rate is the observed one."""
    if claim.form == "minimum":
        return _more_rows_of_minimum(claim, level)
    testable = claim.form == "difference" and claim.method.startswith("exact")
    open_ = claim.reason in (Reason.BOUND_ABOVE_EPS, Reason.TOO_FEW_ROWS)
    if not testable or not open_ or claim.limit is None:
        return ""
    delta, wanted = claim.limit / TAIL, defaultdict[tuple[str, str], float](float)
    for event, row in zip(claim.events, claim.cells, strict=True):
        known = [cell for cell in row if cell is not None]
        if len(known) < len(claim.groups):
            return ""
        seen = [(int(cell["x"]), int(cell["n"])) for cell in known]
        for pair in combinations(range(len(seen)), 2):
            lacking = _shortfall(claim.bound, delta, *(seen[at] for at in pair))
            for at, more in zip(pair, lacking, strict=True):
                kind = (ROWS_OF.get(event, "rows"), claim.groups[at])
                wanted[kind] = max(wanted[kind], more)
    if not all(map(math.isfinite, wanted.values())):
        return "the measured gap is not below the bound: more such rows would not be enough"
    return _rows_text(wanted)


def _rows_text(wanted: Mapping[tuple[str, str], float]) -> str:
    most = sorted(wanted.items(), key=lambda item: -item[1])[:LISTED]
    listed = [
        f"{math.ceil(more):,} more {rows} in group {group}"
        for (rows, group), more in most
        if more > 0
    ]
    if not listed:
        return ""
    return f"for a power of 80 % at the observed rates: about {' and '.join(listed)}"


def _more_rows_of_minimum(claim: "ClaimRecord", level: float) -> str:
    open_ = claim.reason in (Reason.BOUND_BELOW_MINIMUM, Reason.TOO_FEW_ROWS)
    if not open_ or claim.method != "clopper_pearson" or not 0 < level < 1:
        return ""
    wanted: dict[tuple[str, str], float] = {}
    for event, row in zip(claim.events, claim.cells, strict=True):
        for group, cell in zip(claim.groups, row, strict=True):
            if cell is None:
                return ""
            x, n = int(cell["x"]), int(cell["n"])
            needed = rows_needed_above(claim.bound, delta=level, rate=x / n if n else 0.0)
            if math.isinf(needed):
                return "a measured rate is not above the bound: more such rows would not be enough"
            wanted[ROWS_OF.get(event, "rows"), group] = max(needed - n, 0.0)
    return _rows_text(wanted)


def _shortfall(
    bound: float, delta: float, one: tuple[int, int], two: tuple[int, int]
) -> tuple[float, float]:
    """Return how many rows each of two cells of (events, rows) lacks.

    A cell with more rows than needed reduces the need of the other.
    """
    rates = [x / n if n else 0.0 for x, n in (one, two)]
    gap = abs(rates[0] - rates[1])
    needed = SAFETY * rows_needed(bound, delta=delta, rate=sum(rates) / 2, gap=gap)
    if not math.isfinite(needed):
        return math.inf, math.inf
    sizes = one[1], two[1]
    if max(sizes) > needed:
        needed = 1 / (2 / needed - 1 / max(sizes))
    return max(needed - sizes[0], 0.0), max(needed - sizes[1], 0.0)


FORMAT = 3

CAVEAT = (
    "Assumes independent rows from one population; a statement about the procedure; does not "
    "assert legal compliance. It cannot know whether these rows were looked at elsewhere, whether "
    "copies of them with changed values were, whether a ledger was deleted, or whether the model "
    "will meet another population."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Models, claims and data of a certificate, fixed before the rows are opened."""

    # SHA-256 of the candidates, from the fairest to the most accurate; thresholds and mixture
    # weights are part of a model
    models: tuple[str, ...]
    claims: tuple[str, ...]  # constraints, one per claim, and the floor if there is one, as text
    # declared groups of each claim, in the order of ``claims``; none for the floor
    groups: tuple[tuple[str, ...], ...]
    data: str  # fingerprint of the given rows
    entities: str = ""  # column of the entity of a row; empty = each row is its own entity
    positive: str = ""  # ``repr`` of the label of the positive class; empty = none
    later: bool = False  # rows later than the training rows: no verdict is CERTIFIED then
    version: str  # of this library
    # names and versions of the libraries that the numbers depend on
    libraries: tuple[tuple[str, str], ...] = ()
    # groups with too few rows at ``fit`` that each claim leaves out, in the order of ``claims``
    outside: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRecord(ClaimTerms):
    """One claim with its counts and its verdict."""

    cells: tuple[tuple[Content | None, ...], ...]  # by event and group; None = suppressed
    method: str  # name of the test or bound
    verdict: str  # as in ``TestResult``
    reason: str
    detail: str
    tail: float | None  # largest tail of the exact test
    limit: float | None  # upper limit of the tail
    # as in ``BoundSlack``, simultaneous over candidates and claims; None unless certified
    shown: float | None = None
    shift_radius: float | None = None
    fragility: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorRecord(MeasuredScore):
    """The minimum accuracy with its measured value and its verdict."""

    verdict: str  # as in ``TestResult``
    reason: str
    method: str = "hoeffding"  # name of the bound


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Certificate:
    """What is certified about unseen rows, with all that is needed to verify it.

    Parameters
    ----------
    verdict, reason : str
        Verdict on all claims jointly, and its reason.
    violated_level : float or None
        Level of each one-sided bound behind a VIOLATED.
    claims : tuple of ClaimRecord
        Empty if no rows were opened.
    floor : FloorRecord or None
        The minimum accuracy; None without ``min_score``.
    constant_target : bool
        All certification rows have the same label.
    opening : Opening
        Opening of the certification rows.
    position : int
        Position of this model among the candidates, from 0.
    smallest_cell : int
        Groups with fewer rows in a cell are suppressed.
    suppressed : bool
        Whether groups, and the numbers that would reveal them, are suppressed.
    counts_sha256 : str
        Salted hash of all cells, including suppressed ones.
    subject : Subject
        Models, claims and data.
    note : str
        Human-readable remark; may be empty.
    caveat : str
        Assumptions and limits of the certificate.
    format : int
        Version of the file format.
    """

    verdict: str
    reason: str
    violated_level: float | None
    claims: tuple[ClaimRecord, ...]
    floor: FloorRecord | None
    constant_target: bool
    opening: Opening
    position: int
    smallest_cell: int
    suppressed: bool
    counts_sha256: str
    subject: Subject
    note: str = ""
    caveat: str = CAVEAT
    format: int = FORMAT

    def __repr__(self) -> str:
        """Return a summary of about ten lines; ``certificate_text`` returns the full text."""
        return certificate_summary(self)

    @property
    def model(self) -> str:
        """SHA-256 of the model."""
        return self.subject.models[self.position]

    def to_bytes(self, key: bytes | None = None) -> bytes:
        """Return canonical JSON with its own SHA-256 and, with a key, an HMAC-SHA-256.

        Parameters
        ----------
        key : bytes, optional
            Secret of the signature, without which a certificate can be forged.
        """
        content = json.loads(canonical(asdict(self)))
        content["sha256"] = chain_hash(content)
        if key is not None:
            content["hmac"] = _signature(content, key)
        return canonical(content)

    @classmethod
    def from_bytes(cls, document: bytes) -> "Certificate":
        """Read a certificate without verifying it; see ``verify_certificate``.

        Parameters
        ----------
        document : bytes
            Return value of ``to_bytes``.

        Raises
        ------
        InputError
            The bytes are not a certificate of this format.
        """
        try:
            content = json.loads(document)
            return _certificate(content)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise InputError(
                f"certificate: the {len(document)} bytes are not a certificate of format "
                f"{FORMAT}. Pass a file that fairautoml wrote."
            ) from None


def damage(document: bytes, key: bytes | None = None) -> str:
    """Return a description of the damage to a certificate's bytes, empty if there is none."""
    try:
        content = json.loads(document)
        whole = isinstance(content, dict) and canonical(content) == document
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        return "the bytes are not those of a certificate"
    signature = content.pop("hmac", None)
    if key is not None and not _signed(content, signature, key):
        return "the signature is missing or not made with this key"
    seal = content.pop("sha256", None)
    return "" if seal == chain_hash(content) else "the content does not have the SHA-256 it states"


def _signature(content: Mapping[str, Any], key: bytes) -> str:
    # A text file ends with a newline, which is not part of the secret.
    return hmac.new(key.strip(), canonical(content), "sha256").hexdigest()


def _signed(content: Mapping[str, Any], signature: object, key: bytes) -> bool:
    expected = _signature(content, key)
    return isinstance(signature, str) and hmac.compare_digest(
        signature.encode(), expected.encode()
    )


def _certificate(content: dict[str, Any]) -> Certificate:
    fields = {name: _tuples(content[name]) for name in content if name not in ("sha256", "hmac")}
    if fields["format"] != FORMAT:
        raise ValueError
    floor = fields["floor"]
    fields |= {
        "claims": tuple(ClaimRecord(**claim) for claim in fields["claims"]),
        "floor": None if floor is None else FloorRecord(**floor),
        "opening": Opening(**fields["opening"]),
        "subject": Subject(**fields["subject"]),
    }
    certificate = Certificate(**fields)
    _check(certificate)
    return certificate


def _tuples(value: Any) -> Any:
    """Return plain values with tuples in place of lists."""
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    if isinstance(value, dict):
        return {name: _tuples(one) for name, one in value.items()}
    return value


def _check(certificate: Certificate) -> None:
    """Raise unless the names and the position are valid and the cells can be read."""
    Verdict(certificate.verdict)
    Reason(certificate.reason)
    if not 0 <= certificate.position < len(certificate.subject.models):
        raise ValueError
    for claim in certificate.claims:
        for content in chain.from_iterable(claim.cells):
            if content is not None:
                cell_from_content(content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """What a certificate is made of, besides the evidence and its verdict."""

    subject: Subject
    opening: Opening
    position: int  # of the model among the candidates
    smallest_cell: int  # fewest rows of a cell whose counts are published
    salt: str  # of the ledger

    def certificate(self, evidence: Evidence, judgement: Judgement) -> Certificate:
        """Return the certificate of a candidate."""
        hidden = suppressed_groups(evidence.claims, self.smallest_cell)
        whole = not any(map(any, hidden))
        violated = judgement.verdict is Verdict.VIOLATED
        return Certificate(
            verdict=self._verdict(judgement.verdict),
            reason=judgement.reason.value,
            violated_level=simultaneous_level(evidence, self.opening.level) if violated else None,
            claims=tuple(
                self._claim(claim, finding, groups, len(evidence.claims), whole=whole)
                for claim, finding, groups in zip(
                    evidence.claims, judgement.of_claims(evidence), hidden, strict=False
                )
            ),
            floor=self._floor(evidence.floor, judgement),
            constant_target=evidence.constant_target,
            opening=self.opening,
            position=self.position,
            smallest_cell=self.smallest_cell,
            suppressed=not whole,
            counts_sha256=counts_hash(evidence, self.salt),
            subject=self.subject,
        )

    def _verdict(self, verdict: Verdict) -> str:
        """Return the verdict, with VALIDATED instead of CERTIFIED on later rows."""
        later = self.subject.later and verdict is Verdict.CERTIFIED
        return (Verdict.VALIDATED if later else verdict).value

    def _claim(
        self,
        claim: Claim,
        finding: TestResult,
        hidden: tuple[bool, ...],
        n_claims: int,
        *,
        whole: bool,
    ) -> ClaimRecord:
        slack: dict[str, Any] = {}
        if whole and finding.verdict is Verdict.CERTIFIED:
            # All printed bounds hold simultaneously.
            level = self.opening.level
            shared = level / (len(self.subject.models) * n_claims)
            slack = asdict(sensitivity(claim, level, shown_level=shared))
        return ClaimRecord(
            **claim.terms(),
            cells=tuple(
                tuple(None if h else content_of(cell) for cell, h in zip(row, hidden, strict=True))
                for row in claim.cells
            ),
            method=method_of(claim),
            verdict=self._verdict(finding.verdict),
            reason=finding.reason.value,
            detail=finding.detail,
            tail=finding.tail if whole else None,
            limit=finding.limit,
            **slack,
        )

    def _floor(self, floor: MinScore | None, judgement: Judgement) -> FloorRecord | None:
        if floor is None:
            return None
        found = judgement.findings[-1] if judgement.findings else judgement
        return FloorRecord(
            bound=floor.bound,
            accuracy=floor.accuracy,
            n=floor.n,
            verdict=self._verdict(found.verdict),
            reason=found.reason.value,
            method=floor.method,
        )


def counts_hash(evidence: Evidence, salt: str) -> str:
    """Return the hash of all counts, salted so that small counts cannot be guessed."""
    cells = [
        [[content_of(cell) for cell in row] for row in claim.cells] for claim in evidence.claims
    ]
    floor = evidence.floor
    rows = None if floor is None else [floor.accuracy, floor.n]
    return chain_hash([salt, cells, rows])


def method_of(claim: Claim) -> str:
    """Return the name of the test or bound of a claim."""
    if not claim.cells:
        return "none"
    cell: Cell = claim.cells[0][0]
    if isinstance(cell, Count) and claim.form == "minimum":
        return "clopper_pearson"
    if isinstance(cell, Count):
        return f"exact_unconditional ({SCREEN:g}/{RANGE:g}/{TAIL:g})"
    return "hoeffding" if isinstance(cell, Mean) else "hoeffding_weighted"


SMALLEST_CELL = 10
"""Fewest rows of a cell whose counts are published."""


def suppressed_groups(claims: Sequence[Claim], smallest: int) -> tuple[tuple[bool, ...], ...]:
    """Return which groups of each claim are not published.

    A group with fewer than ``smallest`` rows in a cell is hidden in all claims on its grouping.
    Totals would reveal a single hidden group, hence at least two are hidden, with at least
    ``smallest`` rows in total. Sums over overlapping groupings reveal cells, hence with several
    groupings one small cell hides all cells.
    """
    systems = {(claim.system, claim.groups) for claim in claims}
    hidden = {system: _hidden(claims, system, smallest) for system in systems}
    if len(systems) > 1 and any(any(flags) for flags in hidden.values()):
        return tuple((True,) * len(claim.groups) for claim in claims)
    return tuple(hidden[(claim.system, claim.groups)] for claim in claims)


def _hidden(
    claims: Sequence[Claim], system: tuple[str, tuple[str, ...]], smallest: int
) -> tuple[bool, ...]:
    rows = [cells for c in claims if (c.system, c.groups) == system for cells in c.cells]
    least = [min(cells[g].n for cells in rows) for g in range(len(system[1]))] if rows else []
    return hidden_among(least, smallest) if rows else (False,) * len(system[1])


def hidden_among(sizes: Sequence[float], smallest: float) -> tuple[bool, ...]:
    """Return which groups of one grouping are not published."""
    by_size = sorted(range(len(sizes)), key=sizes.__getitem__)
    hidden = [g for g in by_size if sizes[g] < smallest]
    if not hidden:
        return (False,) * len(sizes)
    for group in by_size[len(hidden) :]:
        if len(hidden) >= 2 and sum(sizes[g] for g in hidden) >= smallest:
            break
        hidden.append(group)
    return tuple(g in hidden for g in range(len(sizes)))
