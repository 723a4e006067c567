"""Dates and numbers that are written as text, and the parts of dates."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from fairautoml.runtime._base import Array, Floats

CLEAR, DAY_FIRST, MONTH_FIRST, DIGITS = "clear", "day first", "month first", "yyyymmdd"
"""Forms of dates: 2024-12-31, 31.12.2024 and 31 Dec 2024 are clear, 3/4/2024 is not. Any other
form is a format of ``datetime.strptime``."""

PARTS = ("year", "month", "day", "weekday", "hour", "days")
"""Parts of a date; days are counted from the newest date of ``fit``."""

YEARS = ("%y", "%Y", "%G", "%c", "%x", "%D")
"""Parts of a format that give the year."""

LONGEST = 60
"""Most characters of a date or a number."""

_CLOCK = (
    r"(?:(?:T|,?\s+)(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d(?:[.,]\d{1,9})?))?"
    r"(?:\s*(?P<half>[AP])\.?M\.?)?(?:\s*(?P<zone>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?))?)?"
)
_DATES = tuple(
    re.compile(form + _CLOCK, re.IGNORECASE | re.ASCII)
    for form in (
        r"(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})",
        r"(?P<one>\d{1,2})(?P<mark>[-/.])(?P<two>\d{1,2})(?P=mark)(?P<year>\d{4})",
        r"(?P<day>\d{1,2})(?:st|nd|rd|th)?[\s./-]+(?P<name>[A-Z]{3,9})\.?,?[\s./-]*(?P<year>\d{4})",
        r"(?P<name>[A-Z]{3,9})\.?\s+(?P<day>\d{1,2})(?:st|nd|rd|th)?,?\s+(?P<year>\d{4})",
        r"(?P<year>1[89]\d\d|2[01]\d\d)[-/](?P<month>\d\d)",
    )
)
_DIGITS = re.compile(r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)", re.ASCII)
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september",
           "october", "november", "december")  # fmt: skip

_UNREAD = (math.nan, False)
_EPOCH = date(1970, 1, 1).toordinal()
_DAY = 86_400_000
"""Milliseconds of a day."""


def read_date(text: str, form: str) -> tuple[float, bool]:
    """Return days since 1970-01-01 (UTC), NaN for no date, and whether there is a time zone."""
    text = text.strip()
    if len(text) > LONGEST:
        return _UNREAD
    try:
        if "%" in form:
            return _formatted(text, form)
        patterns = (_DIGITS,) if form == DIGITS else _DATES
        match = next(filter(None, (pattern.fullmatch(text) for pattern in patterns)), None)
        return _UNREAD if match is None else _matched(match.groupdict(), form)
    except (ValueError, OverflowError, re.error):  # the last of a format with a part twice
        return _UNREAD


def _formatted(text: str, form: str) -> tuple[float, bool]:
    # A format may have no zone; dates without one are taken for UTC.
    if "%d" in form and not any(part in form for part in YEARS):
        text, form = f"1900 {text}", f"%Y {form}"  # Python 3.13 deprecates a day without a year
    found = datetime.strptime(text, form)
    zoned = found.tzinfo is not None
    plain = found.astimezone(UTC).replace(tzinfo=None) if zoned else found
    clock = (plain - datetime(plain.year, plain.month, plain.day)).total_seconds()
    return plain.toordinal() - _EPOCH + clock / 86_400, zoned


def _matched(found: dict[str, Any], form: str) -> tuple[float, bool]:
    day: Any = found.get("day") or "1"
    month: Any = found.get("month")
    if found.get("one"):
        if found["mark"] != "." and form == CLEAR:
            return _UNREAD
        american = found["mark"] != "." and form == MONTH_FIRST
        month, day = (found["one"], found["two"]) if american else (found["two"], found["one"])
    if found.get("name"):
        month = _month(found["name"].lower())
    days = date(int(found["year"]), int(month), int(day)).toordinal() - _EPOCH
    if not found.get("hour"):
        return float(days), False
    return days + _clock(found) / 86_400, bool(found["zone"])


def _month(name: str) -> int:
    known = [at for at, month in enumerate(_MONTHS, start=1) if month.startswith(name)]
    if name == "sept":
        return 9
    if len(known) != 1:
        raise ValueError(name)
    return known[0]


def _clock(found: dict[str, Any]) -> float:
    """Return the seconds since midnight in UTC."""
    hour, minute = int(found["hour"]), int(found["minute"])
    second = float((found["second"] or "0").replace(",", "."))
    if found["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(hour)
        hour = hour % 12 + 12 * (found["half"] in "pP")
    if hour > 23 or minute > 59 or second >= 60:
        raise ValueError(hour)
    zone = found["zone"] or ""
    digits = zone[1:].replace(":", "") if zone[:1] in ("+", "-") else "0"
    ahead = 60 * int(digits[:2]) + int(digits[2:] or 0)
    return hour * 3600 + (minute - (-ahead if zone[:1] == "-" else ahead)) * 60 + second


def part_of(days: Floats, part: str, newest: int) -> Floats:
    """Return a part of each date, given in days since 1970-01-01; NaN = missing."""
    if part == "days":
        return days - newest
    missing = np.isnan(days)
    # 13:00 is not exactly a number of days.
    clock = np.rint(np.where(missing, 0.0, days) * _DAY).astype(np.int64)
    found = _calendar(clock // _DAY, clock % _DAY, part).astype(np.float64)
    return np.where(missing, np.nan, found)


def _calendar(days: Array, clock: Array, part: str) -> Array:
    if part == "hour":
        return clock // 3_600_000
    if part == "weekday":  # 1970-01-01 was a Thursday, and Monday is 0
        return (days + 3) % 7
    dates = days.astype("M8[D]")
    years, months = dates.astype("M8[Y]"), dates.astype("M8[M]")
    return {
        "year": years.astype(np.int64) + 1970,
        "month": (months - years.astype("M8[M]")).astype(np.int64) + 1,
        "day": (dates - months.astype("M8[D]")).astype(np.int64) + 1,
    }[part]


MARKS = {
    "1234.5": ("", "."),
    "1,234.5": (",", "."),
    "1 234.5": (" ", "."),
    "1'234.5": ("'", "."),
    "1234,5": ("", ","),
    "1.234,5": (".", ","),
    "1 234,5": (" ", ","),
    "1'234,5": ("'", ","),
}
"""Forms of numbers: the marks of thousands and of decimals."""

PLAIN = "1234.5"
"""The form that ``float`` reads."""

_SAME = {" ": "[ \u00a0\u2009\u202f]", "'": "['\u2019]"}
_CODES = "AUD|CAD|CHF|CNY|CZK|DKK|EUR|GBP|INR|JPY|NOK|PLN|SEK|USD"
_UNIT = rf"%|\u2030|[$\u20ac\u00a3\u00a5\u20b9]|(?:{_CODES})"
_AROUND = re.compile(
    rf"(?P<sign>[+-]?)\s*(?P<before>{_UNIT})?\s*(?P<inner>[+-]?)(?P<core>\S.*?)\s*"
    rf"(?P<after>{_UNIT})?"
)


def pattern(form: str) -> re.Pattern[str]:
    """Return what a number of a form looks like, without sign and unit; "007" is a code."""
    thousands, decimal = MARKS[form]
    mark, of = re.escape(decimal), _SAME.get(thousands, re.escape(thousands))
    groups = rf"[1-9]\d{{0,2}}(?:{of}\d{{3}})+|" if thousands else ""
    power = r"(?:[eE][+-]?\d+)?" if form == PLAIN else ""
    return re.compile(rf"(?:(?:{groups}0|[1-9]\d*)(?:{mark}\d*)?|{mark}\d+){power}", re.ASCII)


_NUMBERS = {form: pattern(form) for form in MARKS}
_LARGEST = float(np.finfo(np.float32).max)


def split_unit(text: str) -> tuple[str, str] | None:
    """Return the signed number in a text and its unit, if any; None if it cannot be a number."""
    match = _AROUND.fullmatch(text.strip()) if len(text) <= LONGEST else None
    if match is None or (match["sign"] and match["inner"]):
        return None
    if match["before"] and match["after"]:
        return None
    return match["sign"] + match["inner"] + match["core"], match["before"] or match["after"] or ""


def read_number(text: str, form: str, unit: str) -> float:
    """Return the number in a text, NaN if it is not one of this form and unit."""
    found = split_unit(text)
    return math.nan if found is None or found[1] != unit else plain_number(found[0], form)


def plain_number(text: str, form: str) -> float:
    """Return the number in a text without a unit, NaN if it is not one of this form."""
    sign, core = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    if not _NUMBERS[form].fullmatch(core):
        return math.nan
    thousands, decimal = MARKS[form]
    if thousands:
        core = re.sub(_SAME.get(thousands, re.escape(thousands)), "", core)
    value = float(sign + core.replace(decimal, "."))
    return value if abs(value) <= _LARGEST else math.nan


def read_value(value: Any, form: str, unit: str) -> float:
    """Return a value of a column of numbers as text; a number is one where text is plain too."""
    if isinstance(value, str):
        return read_number(value, form, unit)
    if form != PLAIN or unit or isinstance(value, bool | np.bool_):
        return math.nan
    try:
        return float(value)
    except (OverflowError, TypeError, ValueError):
        return math.nan


LARGEST_DATE = 1e30
"""Whole number that is larger than those that are dates, microseconds included."""

_YEAR_FIRST = re.compile(r"%Y(?:%[A-Za-z])*")


def reads_numbers(form: str) -> bool:
    """Return whether dates of a form may be whole numbers: digits alone, the year first.

    Otherwise a number has no mark between its parts, or has lost the leading zero of a day.
    """
    return form == DIGITS or _YEAR_FIRST.fullmatch(form) is not None


def read_moment(value: Any, form: str) -> tuple[float, bool]:
    """Return what ``read_date`` does of a value of a column of dates as text."""
    if isinstance(value, str):
        return read_date(value, form)
    numeric = isinstance(value, int | float | np.integer | np.floating)
    if reads_numbers(form) and numeric and not isinstance(value, bool):
        # A whole number may be larger than any float.
        whole = -LARGEST_DATE < value < LARGEST_DATE and value == int(value)
        return read_date(str(int(value)), form) if whole else _UNREAD
    if isinstance(value, datetime):
        zoned = value.tzinfo is not None
        return read_date(value.isoformat(" "), CLEAR)[0], zoned
    return read_date(value.isoformat(), CLEAR) if isinstance(value, date) else _UNREAD


def checked_form(column: dict[str, Any]) -> bool:
    """Return whether a column of a file has a form and a part that can be read."""
    form, part = column["form"], column["part"]
    if not isinstance(form, str) or not isinstance(column["unit"], str):
        return False
    if column["kind"] == "datetime":
        known: Sequence[str] = (CLEAR, DAY_FIRST, MONTH_FIRST, DIGITS, "")
        return part in (*PARTS, "") and (form in known or "%" in form)
    return part == "" and (form in MARKS if form else True)
