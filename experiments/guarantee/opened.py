"""The certifier as a user gets it: a ledger on disk, openings in order, one certificate."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fairautoml.certification.certificate import Certificate, Subject
from fairautoml.certification.certify import Issued, Read, Terms, certify
from fairautoml.certification.evidence import Evidence
from fairautoml.certification.ledger import Ledger, chain_hash
from fairautoml.certification.verdicts import Verdict
from guarantee.outcomes import DELTA

Certifier = Callable[[Subject, Read, Ledger, NDArray[np.uint64], Terms], Issued]
"""``certify``, or something worse that is put in its place."""

KEYS = np.arange(1, 9, dtype=np.uint64)
"""Rows that are opened; each repetition has a ledger of its own, so any will do."""


def open_in_turn(
    openings: Sequence[Sequence[Evidence]], certifier: Certifier = certify
) -> Certificate:
    """Return the certificate of the first opening that gives one, else of the last opening.

    Of several candidates the last that was certified is shipped, the first if none was.
    """
    with tempfile.TemporaryDirectory(prefix="fairautoml-") as place:
        ledger = Ledger(Path(place) / "ledger.jsonl")
        for number, candidates in enumerate(openings):
            subject, terms = _subject(candidates, number), Terms(delta=DELTA)
            issued = certifier(subject, lambda _, found=candidates: found, ledger, KEYS, terms)
            certified = [one for one in issued.each if one and one.verdict == Verdict.CERTIFIED]
            if certified:
                return certified[-1]
    return issued.served


def _subject(candidates: Sequence[Evidence], number: int) -> Subject:
    claims = candidates[0].claims
    return Subject(
        models=tuple(chain_hash([number, position]) for position in range(len(candidates))),
        claims=tuple(claim.label for claim in claims),
        groups=tuple(claim.groups for claim in claims),
        data="population of known truth",
        version="",
    )
