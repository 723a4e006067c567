"""The certifier as a user gets it: a ledger on disk, openings in order, one certificate."""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fairautoml.certification.certificate import Certificate, Subject
from fairautoml.certification.certify import Read, Terms, certify
from fairautoml.certification.evidence import Evidence
from fairautoml.certification.ledger import Ledger, Openings, chain_hash
from fairautoml.certification.verdicts import Verdict
from guarantee.outcomes import DELTA

Certifier = Callable[[Subject, Read, Ledger, NDArray[np.uint64], Terms], Certificate]
"""``certify``, or something worse that is put in its place."""

KEYS = np.arange(1, 9, dtype=np.uint64)
"""Rows that are opened; each repetition has a ledger of its own, so any will do."""


def open_in_turn(
    openings: Sequence[Sequence[Evidence]], certifier: Certifier = certify
) -> Certificate:
    """Return the certificate of the first opening that gives one, else of the last opening."""
    mode = Openings.SINGLE if len(openings) == 1 else Openings.LEDGER
    terms = Terms(delta=DELTA, openings=mode)
    with tempfile.TemporaryDirectory(prefix="fairautoml-") as place:
        ledger = Ledger(Path(place) / "ledger.jsonl")
        for number, candidates in enumerate(openings):
            read = partial(tuple[Evidence, ...], candidates)
            certificate = certifier(_subject(candidates, number), read, ledger, KEYS, terms)
            if certificate.verdict == Verdict.CERTIFIED:
                break
    return certificate


def _subject(candidates: Sequence[Evidence], number: int) -> Subject:
    claims = candidates[0].claims
    return Subject(
        models=tuple(chain_hash([number, position]) for position in range(len(candidates))),
        claims=tuple(claim.label for claim in claims),
        groups=tuple(claim.groups for claim in claims),
        data="population of known truth",
        split_seed=0,
        stratified_by="group",
        version="",
    )
