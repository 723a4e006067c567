"""What a ledger says of rows: which openings share rows with them, and what these allow."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.certification.chain import Entry
from fairautoml.exceptions import InputError


@dataclass(frozen=True, slots=True)
class History:
    """Openings of rows that overlap, directly or through others, with those asked for."""

    openings: tuple[Entry, ...]  # in the order of the ledger
    spent: bool  # numbers of one of them were shown


def packed_rows(keys: NDArray[np.uint64]) -> str:
    """Return row keys as an entry holds them."""
    return base64.b64encode(keys.astype("<u8").tobytes()).decode()


def openings_in(entries: list[Entry]) -> list[Entry]:
    """Return the entries of a ledger that are openings."""
    return [entry for entry in entries if entry.content["kind"] == "opening"]


def history_of(entries: list[Entry], keys: NDArray[np.uint64]) -> History:
    """Return the openings that share rows with others, also through other openings."""
    left = openings_in(entries)
    found: list[Entry] = []
    reached = keys
    grown = True
    while grown:
        touching = [e for e in left if len(np.intersect1d(_keys(e), reached)) > 0]
        left = [e for e in left if e not in touching]
        found += touching
        reached = np.unique(np.concatenate([reached, *(_keys(e) for e in touching)]))
        grown = len(touching) > 0
    seals = {entry.seal for entry in found}
    spent = any(e.content.get("spent") and e.content.get("opening") in seals for e in entries)
    found.sort(key=entries.index)
    return History(tuple(found), spent)


def last_open(entries: list[Entry], keys: NDArray[np.uint64], hashes: Mapping[str, str]) -> Entry:
    """Return the last opening of rows that are not spent."""
    history = history_of(entries, keys)
    if not history.openings or history.spent:
        state = "spent already" if history.spent else "never opened"
        msg = f"keys: these rows are {state}; only rows with an open ledger can be closed"
        raise InputError(msg)
    last = history.openings[-1]
    if last.content["hashes"] != dict(hashes):
        msg = (
            "hashes: the last opening of these rows was about other candidates or claims; "
            "give those, no others may be looked at any more"
        )
        raise InputError(msg)
    return last


def check_methods(entries: list[Entry], opening: str, methods: str) -> None:
    """Refuse other tests or bounds than an opening was judged by before."""
    told = [e.content for e in entries if e.content.get("opening") == opening]
    before = {one["methods"] for one in told if one.get("methods")}
    if before and methods not in before:
        msg = (
            "read: these rows have answered this question by another test or bound; the better of "
            "two may not be chosen afterwards. Give the evidence of the first time, or new rows"
        )
        raise InputError(msg)


def answers_of(history: History, entries: list[Entry], keys: NDArray[np.uint64]) -> list[Entry]:
    """Return the openings of exactly these rows that have a verdict."""
    told = {e.content["opening"] for e in entries if e.content["kind"] == "verdict"}
    return [e for e in history.openings if e.seal in told and np.array_equal(_keys(e), keys)]


def check_terms(history: History, delta: float, mode: str) -> None:
    """Refuse terms that change between openings: their levels would no longer add up."""
    for entry in history.openings:
        before = (entry.content["delta"], entry.content["mode"])
        if before != (delta, mode):
            msg = (
                f"delta={delta}, openings={mode!r}: these rows were opened with "
                f"delta={before[0]}, openings={before[1]!r}. Keep to that, or certify on rows "
                "that were never opened"
            )
            raise InputError(msg)


def _keys(opening: Entry) -> NDArray[np.uint64]:
    packed = base64.b64decode(opening.content["rows"])
    return np.frombuffer(packed, dtype="<u8").astype(np.uint64)
