"""Find out how dates and numbers are written as text: only what has one reading is read.

Values are read by the code of the runtime, so that an exported model reads new rows alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fairautoml.inference.runtime._written import (
    CLEAR,
    DAY_FIRST,
    DIGITS,
    MARKS,
    MONTH_FIRST,
    read_date,
    read_number,
    split_unit,
)

FEWEST_LEVELS = 20
"""Distinct values below which numbers without a unit are likely meant as categories."""

FEWEST_DIGITS = 3
"""Distinct texts such as 20241231 from which they are dates: few codes of 8 digits would be."""

YEARS = (1900, 2100)
"""First and last year of a date written as 20241231."""

MIN_READABLE_SHARE = 0.9
"""Smallest share of dates or numbers among the values that is named."""

_GLANCE = 50
"""Texts of a column that are read first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the texts of a column are read."""

    kind: Literal["datetime", "number"]
    form: str  # of ``inference/runtime/_written.py``
    unit: str = ""  # "%", "$", "EUR", ..., of numbers

    @property
    def shown(self) -> str:
        """The form in words."""
        if self.kind == "datetime":
            return "" if self.form == CLEAR else f", {self.form}"
        return f", {self.form}{f' {self.unit}' if self.unit else ''}"


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why texts that are dates or numbers have no single reading."""

    kind: Literal["datetime", "number"]
    reason: str


def reading_of(texts: Sequence[str], *, unique: bool) -> Reading | Doubt | None:
    """Return the only reading of distinct texts; None if they are not all dates or numbers.

    With ``unique``, whole numbers are identifiers.
    """
    return _date_reading(texts) or _number_reading(texts, unique=unique)


def _date_reading(texts: Sequence[str]) -> Reading | Doubt | None:
    if all(len(text.strip()) == 8 and text.strip().isdigit() for text in texts):
        return _digits_reading(texts)
    if _all_read(texts[:_GLANCE], CLEAR) and _all_read(texts, CLEAR):
        return _of_form(texts, CLEAR)
    forms = [
        form
        for form in (DAY_FIRST, MONTH_FIRST)
        if _all_read(texts[:_GLANCE], form) and _all_read(texts, form)
    ]
    if len(forms) > 1:
        return Doubt("datetime", "the day or the month could come first")
    return _of_form(texts, forms[0]) if forms else None


def _of_form(texts: Sequence[str], form: str) -> Reading | Doubt:
    if len({read_date(text, form)[1] for text in texts}) > 1:
        return Doubt("datetime", "some have a time zone and others none")
    return Reading(kind="datetime", form=form)


def _all_read(texts: Sequence[str], form: str) -> bool:
    return all(not math.isnan(read_date(text, form)[0]) for text in texts)


def _digits_reading(texts: Sequence[str]) -> Reading | None:
    years = [int(text.strip()[:4]) for text in texts]
    within = YEARS[0] <= min(years) and max(years) <= YEARS[1]
    if len(texts) < FEWEST_DIGITS or not within or not _all_read(texts, DIGITS):
        return None
    return Reading(kind="datetime", form=DIGITS)


def _number_reading(texts: Sequence[str], *, unique: bool) -> Reading | Doubt | None:
    if any(split_unit(text) is None for text in texts[:_GLANCE]):
        return None
    parts = [found for text in texts if (found := split_unit(text)) is not None]
    forms = _forms(parts[:_GLANCE]) and _forms(parts)
    if len(parts) < len(texts) or not forms:
        return None
    units = sorted({unit for _, unit in parts})
    if len(units) > 1:
        shown = ", ".join(repr(unit) if unit else "none" for unit in units)
        return Doubt("number", f"several units: {shown}")
    unit = units[0]
    if not unit and (len(texts) < FEWEST_LEVELS or _are_codes(texts, unique=unique)):
        return None
    if len(forms) > 1 and not _alike(texts, forms, unit):
        return Doubt("number", "in which a mark could be that of thousands or of decimals")
    return Reading(kind="number", form=forms[0], unit=unit)


def _forms(parts: Sequence[tuple[str, str]]) -> list[str]:
    """Return the forms in which all texts are numbers, whatever their units."""
    return [
        form
        for form in MARKS
        if all(not math.isnan(read_number(number, form, "")) for number, _ in parts)
    ]


def _are_codes(texts: Sequence[str], *, unique: bool) -> bool:
    """Return whether whole numbers may be codes: all of one length, or one for each row."""
    if not all(text.strip().isdigit() for text in texts):
        return False
    return unique or len({len(text.strip()) for text in texts}) == 1


def _alike(texts: Sequence[str], forms: Sequence[str], unit: str) -> bool:
    first, *others = ([read_number(text, form, unit) for text in texts] for form in forms)
    return all(first == other for other in others)


def best_date_form(texts: Sequence[str]) -> str:
    """Return the form in which most texts are dates, empty if in none; "?" = day or month first.

    For columns that the user calls dates, whose other values are missing.
    """
    read = {
        form: [read_date(text, form)[0] for text in texts]
        for form in (CLEAR, DAY_FIRST, MONTH_FIRST, DIGITS)
    }
    n_read = {form: int(np.count_nonzero(~np.isnan(days))) for form, days in read.items()}
    best = max(n_read, key=lambda form: n_read[form])
    if not n_read[best]:
        return ""
    undecided = best == DAY_FIRST and n_read[MONTH_FIRST] == n_read[DAY_FIRST]
    return "?" if undecided else best
