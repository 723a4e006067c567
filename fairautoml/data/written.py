"""Find out how dates and numbers are written as text: only what has one reading is read.

Values are read by the code of the runtime, so that an exported model reads new rows in the same
way.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fairautoml.runtime._written import (
    CLEAR,
    DAY_FIRST,
    DIGITS,
    MARKS,
    MONTH_FIRST,
    plain_number,
    read_date,
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

_SHORT_YEAR = re.compile(r"(\d{1,2}[-/. ](?:\d{1,2}|[A-Za-z]{3,9})[-/. ])(\d\d)(?!\d)")
_SHORT_YEAR_FIRST = re.compile(r"\d\d[-/.]\d\d[-/.]\d\d(?!\d)")

_GLANCE = 50
"""Texts of a column that are read first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the texts of a column are read."""

    kind: Literal["datetime", "number"]
    form: str  # of ``runtime/_written.py``
    unit: str = ""  # "%", "$", "EUR", ..., of numbers
    zoned: bool | None = None  # whether dates have a time zone
    # the numbers or days since 1970-01-01 of the texts it was found from, in their order
    values: NDArray[np.float64] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why texts that are dates or numbers have no single reading."""

    kind: Literal["datetime", "number"]
    reason: str


def reading_of(texts: Sequence[str], *, codes: bool) -> Reading | Doubt | None:
    """Return the only reading of distinct texts; None if they are not all dates or numbers.

    With ``codes``, whole numbers are categories or identifiers.
    """
    return _date_reading(texts) or _number_reading(texts, codes=codes)


def _date_reading(texts: Sequence[str]) -> Reading | Doubt | None:
    if all(len(text.strip()) == 8 and text.strip().isdigit() for text in texts):
        return _digits_reading(texts)
    if clear := _dates(texts, CLEAR):
        return _of_dates(clear, CLEAR)
    found = {form: _dates(texts, form) for form in (DAY_FIRST, MONTH_FIRST)}
    forms = [form for form, dates in found.items() if dates]
    if len(forms) > 1:
        return Doubt("datetime", "the day or the month could come first")
    return _of_dates(found[forms[0]], forms[0]) if forms else None


def has_short_year(text: str) -> bool:
    """Return whether a text is a date with a year of two digits, in whatever order."""
    text = text.strip()
    forms = []
    if _SHORT_YEAR.match(text):
        forms = [(_SHORT_YEAR.sub(r"\g<1>20\2", text, count=1), DAY_FIRST)]
        forms.append((forms[0][0], MONTH_FIRST))
    if _SHORT_YEAR_FIRST.match(text):
        forms.append((f"20{text}", CLEAR))
    return any(not math.isnan(read_date(*one)[0]) for one in forms)


def _dates(texts: Sequence[str], form: str) -> list[tuple[float, bool]]:
    """Return all texts as dates, empty if one is none."""
    found = []
    for text in texts:
        date = read_date(text, form)
        if math.isnan(date[0]):
            return []
        found.append(date)
    return found


def _of_dates(dates: Sequence[tuple[float, bool]], form: str) -> Reading | Doubt:
    if len({zoned for _, zoned in dates}) > 1:
        return Doubt("datetime", "some have a time zone and others none")
    days = np.array([day for day, _ in dates])
    return Reading(kind="datetime", form=form, zoned=dates[0][1], values=days)


def _digits_reading(texts: Sequence[str]) -> Reading | Doubt | None:
    years = [int(text.strip()[:4]) for text in texts]
    within = YEARS[0] <= min(years) and max(years) <= YEARS[1]
    dates = _dates(texts, DIGITS) if within and len(texts) >= FEWEST_DIGITS else []
    return _of_dates(dates, DIGITS) if dates else None


def _number_reading(texts: Sequence[str], *, codes: bool) -> Reading | Doubt | None:
    parts: list[tuple[str, str]] = []
    for text in texts:
        found = split_unit(text)
        if found is None:
            return None
        if len(parts) < _GLANCE and all(math.isnan(plain_number(found[0], f)) for f in MARKS):
            return None
        parts.append(found)
    numbers, units = [number for number, _ in parts], sorted({unit for _, unit in parts})
    form, values = next(((f, v) for f in MARKS if (v := _numbers(numbers, f))), ("", []))
    if not form:
        return None
    if len(units) > 1:
        shown = ", ".join(repr(unit) if unit else "none" for unit in units)
        return Doubt("number", f"several units: {shown}")
    if not units[0] and (len(texts) < FEWEST_LEVELS or _are_codes(texts, codes=codes)):
        return None
    if any(_numbers(numbers, rival) not in ([], values) for rival in _rivals(form)):
        return Doubt("number", "in which a mark could be that of thousands or of decimals")
    return Reading(kind="number", form=form, unit=units[0], values=np.array(values))


def _numbers(texts: Sequence[str], form: str) -> list[float]:
    """Return all texts as numbers, empty if one is none."""
    found = []
    for text in texts:
        number = plain_number(text, form)
        if math.isnan(number):
            return []
        found.append(number)
    return found


def _rivals(form: str) -> list[str]:
    """Return the forms in which a mark of this form means something else."""
    thousands, decimal = MARKS[form]
    return [
        other
        for other, marks in MARKS.items()
        if marks[0] == decimal or (thousands and marks[1] == thousands)
    ]


def _are_codes(texts: Sequence[str], *, codes: bool) -> bool:
    """Return whether whole numbers may be codes, as those of one length may always be."""
    if not all(text.strip().isdigit() for text in texts):
        return False
    return codes or len({len(text.strip()) for text in texts}) == 1


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
