"""What a certificate holds: plain frozen records, written to and read from canonical JSON."""

import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from fairautoml.certification.cells import Content, cell_from_content
from fairautoml.certification.ledger import Openings
from fairautoml.certification.rendering import certificate_summary
from fairautoml.certification.sealing import canonical, seal_of
from fairautoml.certification.sequence import Procedure
from fairautoml.certification.verdicts import Reason, Verdict
from fairautoml.exceptions import InputError

FORMAT = 1

CAVEAT = (
    "Assumes independent rows from one population; a statement about the procedure; does not "
    "assert legal compliance."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is certified, all of it fixed before the rows are opened.

    Parameters
    ----------
    models : tuple of str
        SHA-256 of the model files of the candidates, from the fairest to the most accurate;
        thresholds and mixture weights are part of the files.
    claims : tuple of str
        Constraints, one per claim, and the floor if there is one, as text.
    groups : tuple of tuple of str
        Declared groups of each claim, in the order of ``claims``; none for the floor.
    data : str
        Fingerprint of the source table.
    split_seed : int
        Seed of the draw of the certification rows.
    stratified_by : str
        Column by which they were drawn.
    entities : str
        Column that says whose row it is; empty = every row is its own.
    positive : str
        Label of the positive class as Python shows it: accepted means decided so; empty = none.
    split : {"random", "time"}
        How they were drawn; ``"time"`` takes the last rows, and nothing is CERTIFIED then.
    version : str
        Version of this library.
    libraries : tuple of (str, str)
        Names and versions of those that the numbers depend on.
    outside : tuple of tuple of str
        Groups that each claim leaves out, in the order of ``claims``, because they had too few
        rows at ``fit``; empty = none does.
    """

    models: tuple[str, ...]
    claims: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    data: str
    split_seed: int
    stratified_by: str
    entities: str = ""
    positive: str = ""
    split: str = "random"
    version: str
    libraries: tuple[tuple[str, str], ...] = ()
    outside: tuple[tuple[str, ...], ...] = ()

    @property
    def hashes(self) -> dict[str, str]:
        """Hashes of the frozen list and of what is claimed, for the ledger."""
        return {
            "candidates": seal_of(list(self.models)),
            "claims": seal_of([list(self.claims), [list(names) for names in self.groups]]),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRecord:
    """One claim with what was seen and shown of it.

    Parameters
    ----------
    label, system, form, bound, groups, events, absent, independent
        As in ``Claim``.
    cells : tuple of tuple of (dict or None), or None
        By event and group; None where a small group is suppressed, None altogether while the
        ledger is open.
    method : str
        Test or bound that decides.
    verdict, reason, detail : str
        What was shown.
    tail, limit : float or None
        Largest tail of the exact test and what it must not exceed.
    shown : float or None
        Bound that was shown, simultaneous over candidates and claims; only if certified.
    shift_radius : float or None
        As in ``Sensitivity``.
    fragility : int or None
        As in ``Sensitivity``.
    """

    label: str
    system: str
    form: str
    bound: float
    groups: tuple[str, ...]
    events: tuple[str, ...]
    cells: tuple[tuple[Content | None, ...], ...] | None
    absent: tuple[str, ...]
    independent: bool
    method: str
    verdict: str
    reason: str
    detail: str
    tail: float | None
    limit: float | None
    shown: float | None
    shift_radius: float | None
    fragility: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorRecord:
    """The accuracy floor with what was seen and shown of it.

    Parameters
    ----------
    bound : float
        Accuracy claimed.
    accuracy : float
        Accuracy seen.
    n : int
        Rows.
    verdict, reason : str
        What was shown.
    method : str
        Which bound decided.
    """

    bound: float
    accuracy: float
    n: int
    verdict: str
    reason: str
    method: str = "hoeffding"

    @property
    def label(self) -> str:
        """The claim as text."""
        return f"accuracy >= {self.bound}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningRecord:
    """Which opening of the rows the certificate rests on.

    Parameters
    ----------
    mode, index, level, delta, previous, entry, spent
        As in ``Opening``.
    released : bool
        The numbers may be shown.
    """

    mode: str
    index: int
    level: float
    delta: float
    previous: str
    entry: str
    spent: bool
    released: bool

    @property
    def read(self) -> bool:
        """Whether the rows were read: some were set aside, and they were not spent before."""
        return self.index > 0 and not self.spent


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What may be said about unseen rows, with all that is needed to check it.

    Parameters
    ----------
    verdict, reason : str
        On all claims together.
    violated_level : float or None
        Level of each one-sided bound behind a VIOLATED.
    claims : tuple of ClaimRecord
        Empty while the ledger is open.
    floor : FloorRecord or None
        With ``min_score``.
    constant_target : bool
        All certification rows have the same label.
    opening : OpeningRecord
        Which opening.
    procedure : str
        How the candidates were gone through.
    position : int
        Of the candidate shipped, from 0.
    smallest_cell : int
        Groups with fewer rows in a cell are suppressed.
    suppressed : bool
        Some are; then numbers from which they could be computed are left out too.
    counts_sha256 : str
        Salted hash of all cells, also of suppressed ones.
    subject : Subject
        What is certified.
    note : str
        What the plan says of the rows that it would take, for people; may be empty.
    caveat : str
        What it rests on and what it does not say.
    format : int
        Of the file.
    """

    verdict: str
    reason: str
    violated_level: float | None
    claims: tuple[ClaimRecord, ...]
    floor: FloorRecord | None
    constant_target: bool
    opening: OpeningRecord
    procedure: str
    position: int
    smallest_cell: int
    suppressed: bool
    counts_sha256: str
    subject: Subject
    note: str = ""
    caveat: str = CAVEAT
    format: int = FORMAT

    def __str__(self) -> str:
        """Return a summary of about ten lines; ``certificate_text`` has all."""
        return certificate_summary(self)

    @property
    def model(self) -> str:
        """SHA-256 of the model file that is shipped."""
        return self.subject.models[self.position]

    def to_bytes(self, key: bytes | None = None) -> bytes:
        """Return canonical JSON with its own SHA-256 and, with a key, an HMAC-SHA-256.

        Parameters
        ----------
        key : bytes, optional
            Secret; without it anybody could write a certificate.
        """
        content = json.loads(canonical(asdict(self)))
        content["sha256"] = seal_of(content)
        if key is not None:
            content["hmac"] = _signature(content, key)
        return canonical(content)

    @classmethod
    def from_bytes(cls, document: bytes) -> "Certificate":
        """Read a certificate; ``verify_certificate`` says whether to believe it.

        Parameters
        ----------
        document : bytes
            As ``to_bytes`` gives them.

        Raises
        ------
        InputError
            No certificate of this format.
        """
        try:
            content = json.loads(document)
            return _certificate(content)
        except (ValueError, TypeError, KeyError, AttributeError):
            msg = (
                f"certificate: {len(document)} bytes are no certificate of format {FORMAT}; give "
                "a file that certify() or fairautoml wrote"
            )
            raise InputError(msg) from None


def damage(document: bytes, key: bytes | None = None) -> str:
    """Return what is wrong with the bytes of a certificate, empty if nothing is.

    Parameters
    ----------
    document : bytes
        A certificate.
    key : bytes, optional
        With which it was signed.
    """
    try:
        content = json.loads(document)
        whole = isinstance(content, dict) and canonical(content) == document
    except ValueError:
        whole = False
    if not whole:
        return "the bytes are not those of a certificate"
    signature = content.pop("hmac", None)
    if key is not None and not _signed(content, signature, key):
        return "the signature is missing or not made with this key"
    seal = content.pop("sha256", None)
    return "" if seal == seal_of(content) else "the content does not have the SHA-256 it states"


def _signature(content: Mapping[str, Any], key: bytes) -> str:
    # The last line of a file of text ends in a newline, which is no part of the secret.
    return hmac.new(key.strip(), canonical(content), "sha256").hexdigest()


def _signed(content: Mapping[str, Any], signature: object, key: bytes) -> bool:
    expected = _signature(content, key)
    return isinstance(signature, str) and hmac.compare_digest(
        signature.encode(), expected.encode()
    )


def _certificate(content: dict[str, Any]) -> Certificate:
    fields = {name: content[name] for name in content if name not in ("sha256", "hmac")}
    if fields["format"] != FORMAT:
        raise ValueError
    floor = fields["floor"]
    fields |= {
        "claims": tuple(_claim(claim) for claim in fields["claims"]),
        "floor": None if floor is None else FloorRecord(**floor),
        "opening": OpeningRecord(**fields["opening"]),
        "subject": _subject(fields["subject"]),
    }
    certificate = Certificate(**fields)
    _check(certificate)
    return certificate


def _check(certificate: Certificate) -> None:
    """Raise unless all names are known, the position is one and the cells can be read."""
    Verdict(certificate.verdict)
    Reason(certificate.reason)
    Procedure(certificate.procedure)
    Openings(certificate.opening.mode)
    if not 0 <= certificate.position < len(certificate.subject.models):
        raise ValueError
    for claim in certificate.claims:
        for content in chain.from_iterable(claim.cells or ()):
            if content is not None:
                cell_from_content(content)


def _claim(content: dict[str, Any]) -> ClaimRecord:
    cells = content["cells"]
    rows = None if cells is None else tuple(tuple(row) for row in cells)
    names = {name: tuple(content[name]) for name in ("groups", "events", "absent")}
    return ClaimRecord(**{**content, **names, "cells": rows})


def _subject(content: dict[str, Any]) -> Subject:
    names = {name: tuple(content[name]) for name in ("models", "claims")}
    groups = tuple(tuple(group) for group in content["groups"])
    outside = tuple(tuple(group) for group in content.get("outside", ()))
    libraries = tuple((str(name), str(version)) for name, version in content["libraries"])
    named = {"groups": groups, "outside": outside, "libraries": libraries}
    return Subject(**{**content, **names, **named})
