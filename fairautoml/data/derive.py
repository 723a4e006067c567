"""Derived group columns and row filters: ``--derive`` and ``--keep``.

Three forms, all one line of text::

    age_group=age<=25        two groups, named by the comparison: "age<=25" and "age>25"
    age_band=age:25,60       bands between cuts: "age<=25", "25<age<=60", "age>60"
    race=African-American,Caucasian        (keep) rows whose race is one of these
"""

import difflib
import itertools
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fairautoml.data.named import code_text
from fairautoml.data.sensitive_numbers import QUANTILES, bin_labels
from fairautoml.exceptions import ParameterError
from fairautoml.registry import nearest

OPPOSITES = {"<=": ">", ">=": "<", "==": "!=", "!=": "==", "<": ">=", ">": "<="}
"""Comparisons, two-letter ones first so that they are recognised first."""
COMPARISON = re.compile(
    rf"^(?P<source>.+?)\s*(?P<operator>{'|'.join(OPPOSITES)})\s*(?P<value>.+)$"
)
BINS_HELP = "write column:cut,cut or column:quantiles"
DERIVE_HELP = "write name=column<=number, name=column==text or name=column:cut,cut"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two groups by comparing a column with a value."""

    name: str  # column to make
    source: str  # column it is made from
    operator: str  # {"<=", ">=", "<", ">", "==", "!="}: comparison; the first four are of numbers
    value: str  # value to compare with, as written


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberBands:
    """Groups of a numeric column between cuts; a cut belongs to the band below it."""

    name: str  # column to make
    source: str  # column it is made from
    cuts: tuple[float, ...]  # increasing


Derivation = Comparison | NumberBands


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFilter:
    """Rows to keep: those where a column has one of some values."""

    source: str  # the column
    values: tuple[str, ...]  # values as text; a number matches its digits


def parse_derive(text: str) -> Derivation:
    """Read a derivation."""
    name, sign, rule = text.partition("=")
    name, rule = name.strip(), rule.strip()
    if not name or not sign or not rule or rule.startswith("=") or name[-1] in "<>!":
        raise ParameterError(f"derive is {text!r}; {DERIVE_HELP}")
    found = COMPARISON.match(rule)
    if found is None:
        return _parse_bands(name, rule, text)
    made = Comparison(name=name, **found.groupdict())
    if made.operator not in ("==", "!="):
        _number(made.value, text)
    return made


def _parse_bands(name: str, rule: str, text: str) -> NumberBands:
    source, sign, cuts = rule.rpartition(":")
    if not source or not sign:
        raise ParameterError(f"derive is {text!r}; {DERIVE_HELP}")
    numbers = tuple(_number(cut, text) for cut in cuts.split(","))
    if any(low >= high for low, high in itertools.pairwise(numbers)):
        raise ParameterError(f"derive is {text!r}; its cuts must increase")
    return NumberBands(name=name, source=source.strip(), cuts=numbers)


def parse_bins(text: str) -> tuple[str, list[float] | str]:
    """Read the bins of a sensitive column, as ``GroupPolicy.bins`` takes them.

    Unlike a derived column they leave the table as it is, and new rows need nothing but the
    column itself.
    """
    name, sign, cuts = (part.strip() for part in text.rpartition(":"))
    if not name or not sign or not cuts:
        raise ParameterError(f"bins is {text!r}; {BINS_HELP}")
    if cuts == QUANTILES:
        return name, QUANTILES
    try:
        return name, [float(cut) for cut in cuts.split(",")]
    except ValueError:
        raise ParameterError(f"bins is {text!r}; {BINS_HELP}") from None


def parse_overlapping(text: str) -> tuple[str, tuple[str, ...]]:
    """Parse the indicator columns of groups that may overlap."""
    name, _, listed = (part.strip() for part in text.partition("="))
    columns = tuple(column.strip() for column in listed.split(","))
    if not name or not all(columns) or len(set(columns)) < len(columns):
        remedy = "write name=column,column, such as identity=black,muslim, each once"
        raise ParameterError(f"overlapping is {text!r}; {remedy}")
    return name, columns


def _number(text: str, whole: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise ParameterError(f"derive is {whole!r}; {text!r} is not a number; {DERIVE_HELP}")
    return number


def apply_derive(
    frame: pd.DataFrame, derivation: Derivation, *, new_rows: bool = False
) -> pd.DataFrame:
    """Return the table with the derived column of text; missing stays missing."""
    _check_column(frame, derivation.source, "derive")
    if derivation.name in frame.columns:
        msg = f"derive makes the column {derivation.name!r}, which exists; choose another name"
        raise ParameterError(msg)
    groups = (
        _banded(frame, derivation)
        if isinstance(derivation, NumberBands)
        else _split(frame, derivation, new_rows=new_rows)
    )
    known = frame[derivation.source].notna()
    return frame.assign(**{derivation.name: groups.where(known)})


def _split(frame: pd.DataFrame, rule: Comparison, *, new_rows: bool) -> pd.Series:
    if rule.operator in ("==", "!="):
        texts = _texts(frame[rule.source])
        if not new_rows:
            _check_values(texts, (rule.value,), rule.source, "derive")
        chosen = (texts == rule.value) == (rule.operator == "==")
    else:
        compare = {"<=": "le", ">=": "ge", "<": "lt", ">": "gt"}[rule.operator]
        chosen = getattr(_numeric(frame, rule.source), compare)(float(rule.value))
    yes = f"{rule.source}{rule.operator}{rule.value}"
    no = f"{rule.source}{OPPOSITES[rule.operator]}{rule.value}"
    return pd.Series(np.where(chosen, yes, no), index=frame.index, dtype=object)


def _banded(frame: pd.DataFrame, rule: NumberBands) -> pd.Series:
    labels = bin_labels(rule.source, rule.cuts)
    at = np.searchsorted(np.array(rule.cuts), _numeric(frame, rule.source), side="left")
    # Missing sorts above all cuts; it is taken out by the caller.
    return pd.Series(np.array(labels, dtype=object)[at], index=frame.index, dtype=object)


def parse_keep(text: str) -> RowFilter:
    """Read a choice of rows."""
    source, _, values = text.partition("=")
    chosen = tuple(value.strip() for value in values.split(","))
    if not source.strip() or not all(chosen):
        raise ParameterError(f"keep is {text!r}; write column=value,value")
    return RowFilter(source=source.strip(), values=chosen)


def apply_keep(frame: pd.DataFrame, keep: RowFilter) -> pd.DataFrame:
    """Return the chosen rows, numbered anew."""
    _check_column(frame, keep.source, "keep")
    texts = _texts(frame[keep.source])
    _check_values(texts, keep.values, keep.source, "keep")
    return frame[texts.isin(keep.values)].reset_index(drop=True)


def _texts(column: pd.Series) -> pd.Series:
    """Return values as text: 1 and 1.0 are "1"; missing is None."""
    written = [
        None if missing else code_text(value)
        for value, missing in zip(column.tolist(), column.isna(), strict=True)
    ]
    return pd.Series(written, index=column.index, dtype=object)


def _numeric(frame: pd.DataFrame, source: str) -> pd.Series:
    if not pd.api.types.is_numeric_dtype(frame[source]):
        msg = f"derive compares {source!r} with numbers, but it holds text; use == or !="
        raise ParameterError(msg)
    return frame[source].astype(np.float64)


def _check_column(frame: pd.DataFrame, source: str, argument: str) -> None:
    if source not in frame.columns:
        names = [str(name) for name in frame.columns]
        hint = nearest(source, names, f"the table has: {', '.join(names)}")
        raise ParameterError(f"{argument} names the column {source!r}; {hint}")


def _check_values(texts: pd.Series, values: tuple[str, ...], source: str, argument: str) -> None:
    known = sorted(set(texts.dropna()))
    unknown = [value for value in values if value not in known]
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=5, cutoff=0.4) or known[:10]
        msg = f"{argument}: no row has {source}={unknown[0]!r}; near values: {', '.join(near)}"
        raise ParameterError(msg)
