"""Texts that were meant as numbers: decimal commas, thousands separators, one cell of junk.

Such a column is one category per value. Nothing is converted, for what a text means only the user
knows ("1,234" is two numbers, and a postal code is none), but it is said.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data._column import Column
from fairautoml.data._keys import Key

MOST_ALIKE = 0.9
"""Share of the values from which they are taken for numbers."""

PLAIN = re.compile(r"\s*[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\s*")
"""A number as files of most programs hold it: not "007", which is a code."""

CODE = re.compile(r"\s*0\d+\s*")
"""A code such as "007"."""


def _form(thousands: str, decimal: str) -> str:
    groups = rf"[1-9]\d{{0,2}}(?:{re.escape(thousands)}\d{{3}})+|" if thousands else ""
    mark = re.escape(decimal)
    return rf"\s*[+-]?(?:(?:{groups}0|[1-9]\d*)(?:{mark}\d*)?|{mark}\d+)\s*"


def _arguments(thousands: str, decimal: str) -> str:
    """Return the arguments with which ``pandas.read_csv`` reads such numbers."""
    given = [] if decimal == "." else [f"decimal={decimal!r}"]
    if thousands:
        given.append(f"thousands={thousands!r}")
    # The faster engine leaves them as they are, without a word.
    return ", ".join(given if thousands.isascii() else [*given, "engine='python'"])


_MARKS = (
    (",", "."),  # 1,234.5
    ("", ","),  # 1,5
    (".", ","),  # 1.234,5
    *((space, decimal) for space in " \u00a0\u202f'\u2019" for decimal in ".,"),  # 1 234,5
)

FORMS = {_arguments(*marks): re.compile(_form(*marks)) for marks in _MARKS}
"""Numbers as people of some country write them, by what ``pandas.read_csv`` must be told."""

LOCAL = re.compile("|".join(_form(*marks) for marks in _MARKS))
"""Any of them."""

MOST_READ = 1000
"""Texts that the country is told by."""


_NUMBERS = frozenset({"int", "float"})


def like_numbers(column: Column, rows: NDArray[np.integer[Any]]) -> str:
    """Return how much a column of categories looks like numbers, with an example; else nothing."""
    plain = np.array([_matches(PLAIN, level) or level[0] in _NUMBERS for level in column.levels])
    local = np.array([_matches(LOCAL, level) for level in column.levels]) & ~plain
    share = float(rows[plain | local].sum() / rows.sum())
    if share < MOST_ALIKE:
        return ""
    values = [value for _, value in column.levels]
    odd = [value for value, fine in zip(values, plain, strict=True) if not fine]
    if local.any():
        why = _needed([value for value, found in zip(values, local, strict=True) if found])
    elif 2 * sum(bool(CODE.fullmatch(str(value))) for value in odd) > len(odd):
        return ""
    elif odd:
        why = f"{odd[0]!r}, which is no number"
    else:
        why = f"{values[0]!r}, which pandas.to_numeric reads"
    return f"{column.name!r} ({share:.0%} of the values, for example {why})"


def said_of_numbers(found: str) -> str:
    """Return the warning about columns that look like numbers."""
    return (
        f"columns of X are text although they look like numbers: {found}. Each value is a "
        "category, and one that fit has not seen is missing at predict. Read them with these "
        "arguments of pandas.read_csv, correct the cells that are no numbers, or declare codes as "
        "such with astype('category'); in a file for the command line write numbers as 1234.5"
    )


def _matches(form: re.Pattern[str], level: Key) -> bool:
    kind, value = level
    return kind == "str" and bool(form.fullmatch(value))


def _needed(texts: Sequence[str]) -> str:
    """Return an example, and the arguments that most of the texts need to be read as numbers."""
    told = {
        text: [given for given, form in FORMS.items() if form.fullmatch(text)]
        for text in texts[:: -(-len(texts) // MOST_READ)]
    }
    best = max(FORMS, key=lambda given: sum(given in fitting for fitting in told.values()))
    # "1,234" can be read in two ways, "1,234.5" in one.
    example = min((text for text in told if best in told[text]), key=lambda text: len(told[text]))
    return f"{example!r}, which needs {best}"
