"""The ledger: every opening of certification rows, written before they are read.

It prevents accidents, not fraud: whoever deletes the file can start anew.
"""

import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.certification.chain import NO_ENTRY, Chain, Entry
from fairautoml.certification.past_openings import (
    answers_of,
    check_methods,
    check_terms,
    history_of,
    last_open,
    openings_in,
    packed_rows,
)
from fairautoml.certification.verdicts import Verdict
from fairautoml.exceptions import InputError


class Openings(StrEnum):
    """How often the same rows may be opened; declared before the first opening."""

    SINGLE = "single"
    LEDGER = "ledger"


class Prospect(StrEnum):
    """What rows may still give: a new answer, only that to the same question again, or none."""

    NEW = "new"
    SAME = "same"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Leave to read certification rows once."""

    index: int  # 1 for the first opening of these rows, or of rows that overlap with them
    level: float  # error probability that this opening may spend
    delta: float  # error probability over all openings together
    mode: Openings  # how the openings share ``delta``
    previous: str  # hashes of the ledger entry before and of the one of this opening
    entry: str
    spent: bool = False  # the rows were spent before; nothing was written
    answered: bool = False  # the same candidates and claims were judged on the same rows before


def level_of(index: int, delta: float, mode: Openings) -> float:
    """Return what an opening may spend: all at once, or ``6 delta / (pi^2 j^2)``."""
    if mode is Openings.SINGLE:
        return delta if index == 1 else 0.0
    return 6 * delta / (math.pi * index) ** 2


def _first() -> dict[str, str | int]:
    """Return the entry that a ledger begins with."""
    return {"kind": "ledger", "format": 1, "salt": secrets.token_hex(16)}


def _utc() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Ledger:
    """An append-only file with one JSON line per event; each names the hash of the one before."""

    path: Path  # the file; made with the first entry, its folder must be there
    clock: Callable[[], datetime] = field(default=_utc)  # returns the time of an entry

    @property
    def _chain(self) -> Chain:
        return Chain(self.path, self.clock, _first)

    @property
    def salt(self) -> str:
        """Secret of the row keys, drawn when the ledger is made."""
        with self._chain.locked() as (_, entries):
            return str(entries[0].content["salt"])

    def open(
        self,
        keys: NDArray[np.uint64],
        *,
        delta: float,
        mode: Openings,
        hashes: Mapping[str, str],
        seed: int = 0,
    ) -> Opening:
        """Note that rows are about to be read, durably, and return with what level.

        The same question about the same rows, once it was answered, is no further opening: it
        has the same answer.
        """
        if not 0 < delta < 1 or len(keys) == 0:
            msg = (
                f"delta={delta}, keys={len(keys)} rows: delta must be between 0 and 1 and at "
                "least one row must be opened; give for example delta=0.05"
            )
            raise InputError(msg)
        with self._chain.locked() as (stream, entries):
            history = history_of(entries, keys)
            check_terms(history, delta, mode.value)
            told = answers_of(history, entries, keys)
            before = next((e for e in told if e.content["hashes"] == dict(hashes)), None)
            if before is not None:
                return _opening_of(before, answered=True)
            index = len(history.openings) + 1
            spent = history.spent or (mode is Openings.SINGLE and index > 1)
            opening = Opening(
                index=index,
                level=0.0 if spent else level_of(index, delta, mode),
                delta=delta,
                mode=mode,
                previous=entries[-1].seal,
                entry=NO_ENTRY,
                spent=spent,
            )
            if spent:
                return opening
            content = {
                "kind": "opening",
                "index": index,
                "level": opening.level,
                "delta": delta,
                "mode": mode.value,
                "seed": seed,
                "hashes": dict(hashes),
                "rows": packed_rows(keys),
            }
            return replace(opening, entry=self._chain.append(stream, opening.previous, content))

    def check(self, keys: NDArray[np.uint64], *, delta: float, mode: Openings) -> None:
        """Refuse terms that differ from those at the first opening; nothing is opened."""
        with self._chain.locked() as (_, entries):
            check_terms(history_of(entries, keys), delta, mode.value)

    def record(self, opening: Opening, verdict: Verdict, *, methods: str = "") -> bool:
        """Note what came of an opening; return whether its numbers may be shown.

        With a single opening they may. Else only those of a certificate, which ends the ledger
        for these rows; anything else is one bit, "not certified", so that the next candidates
        cannot depend on more.
        """
        released = opening.mode is Openings.SINGLE or verdict is Verdict.CERTIFIED
        with self._chain.locked() as (stream, entries):
            if opening.answered:
                check_methods(entries, opening.entry, methods)
                return released
            self._chain.append(
                stream,
                entries[-1].seal,
                {
                    "kind": "verdict",
                    "opening": opening.entry,
                    "released": "numbers" if released else "not certified",
                    "spent": released,
                    "methods": methods,
                },
            )
        return released

    def check_last(self, keys: NDArray[np.uint64], *, hashes: Mapping[str, str]) -> None:
        """Refuse to close rows whose last opening was about something else; nothing is written."""
        with self._chain.locked() as (_, entries):
            last_open(entries, keys, hashes)

    def close(
        self, keys: NDArray[np.uint64], *, hashes: Mapping[str, str], methods: str = ""
    ) -> Opening:
        """Spend the rows and return their last opening, whose numbers may now be shown."""
        with self._chain.locked() as (stream, entries):
            last = last_open(entries, keys, hashes)
            check_methods(entries, last.seal, methods)
            content = {
                "kind": "verdict",
                "opening": last.seal,
                "released": "numbers",
                "spent": True,
                "methods": methods,
            }
            self._chain.append(stream, entries[-1].seal, content)
            return _opening_of(last)

    def spent(self, keys: NDArray[np.uint64]) -> bool:
        """Whether numbers of these rows, or of rows that overlap with them, were shown."""
        with self._chain.locked() as (_, entries):
            return history_of(entries, keys).spent

    def prospect(self, keys: NDArray[np.uint64], mode: Openings, seed: int = 0) -> Prospect:
        """Return what an opening of the rows could give; nothing is opened."""
        with self._chain.locked() as (_, entries):
            history = history_of(entries, keys)
            single = mode is Openings.SINGLE and len(history.openings) > 0
            if not history.spent and not single:
                return Prospect.NEW
            same = any(e.content.get("seed") == seed for e in answers_of(history, entries, keys))
            return Prospect.SAME if same else Prospect.NONE

    def opening(self, entry: str) -> Mapping[str, Any] | None:
        """Return the opening with this hash as it was written, None if there is none."""
        with self._chain.locked() as (_, entries):
            return next((e.content for e in openings_in(entries) if e.seal == entry), None)


def _opening_of(entry: Entry, *, answered: bool = False) -> Opening:
    return Opening(
        index=entry.content["index"],
        level=entry.content["level"],
        delta=entry.content["delta"],
        mode=Openings(entry.content["mode"]),
        previous=entry.content["previous"],
        entry=entry.seal,
        answered=answered,
    )
