"""Texts that differ only in spelling, and texts that stand for a missing value."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data.columns import MOST_SHOWN, Column, Key, encode_levels, few
from fairautoml.exceptions import DegradedWarning, InputError, warn
from fairautoml.runtime._groups import by_spelling, normalized

PLACEHOLDERS = frozenset({
    "", "-", "?", "??", "#n/a", "#na", "<na>", "n/a", "n.a.", "na", "nan", "null",
    "nil", "none", "missing", "unknown", "unknown/invalid", "invalid", "unk",
    "undefined", "unspecified", "not specified", "not available", "not known", "not provided",
    "not reported", "not stated", "not disclosed", "declined", "refused", "no answer",
    "prefer not to say",
})  # fmt: skip
"""Normalized texts that often stand for a missing value."""

MOST_CHECKED = 10_000
"""Categories of a feature up to which their spelling is checked."""


def _spellings(keys: Sequence[Key]) -> list[list[int]]:
    """Return the positions of texts that have other spellings, together."""
    return [same for same in by_spelling(keys).values() if len(same) > 1]


def _n_rows(codes: NDArray[np.integer], keys: Sequence[Key]) -> list[int]:
    return np.bincount(codes[codes >= 0], minlength=len(keys)).tolist()


def refuse_spellings(name: str, codes: NDArray[np.integer], keys: Sequence[Key]) -> None:
    """Raise if values of a column differ only in spelling."""
    several = _spellings(keys)
    if not several:
        return
    n_rows = _n_rows(codes, keys)
    shown = "; ".join(
        " and ".join(f"{_shown(keys[at][1])} ({n_rows[at]} rows)" for at in same)
        for same in several[:MOST_SHOWN]
    )
    kept = max(several[0], key=n_rows.__getitem__)
    other = next(at for at in several[0] if at != kept)
    raise InputError(
        f"{name} holds values that differ only by spaces, case or Unicode form: {shown}. Merge "
        "them by fitting with GroupPolicy(normalize=True) (--normalize), or in pandas with "
        ".str.normalize('NFKC').str.strip().str.casefold() or "
        f".replace({{{_shown(keys[other][1])}: {_shown(keys[kept][1])}}}), or rename one."
    )


def merge_spellings(
    name: str, values: "pd.Series[Any]"
) -> "tuple[pd.Series[Any], tuple[str, ...]]":
    """Return a column with the most frequent of several spellings, and a note per replacement."""
    codes, keys = encode_levels(values, name)
    n_rows = _n_rows(codes, keys)
    replaced: dict[str, str] = {}
    notes: list[str] = []
    for same in _spellings(keys):
        kept = max(same, key=n_rows.__getitem__)
        for at in same:
            if at != kept:
                replaced[keys[at][1]] = keys[kept][1]
                old, new = _shown(keys[at][1]), _shown(keys[kept][1])
                notes.append(f"{name}: {old} ({n_rows[at]} rows) is read as {new}")
    if not replaced:
        return values, ()
    merged = [replaced.get(v, v) if isinstance(v, str) else v for v in values.tolist()]
    return pd.Series(merged, index=values.index, name=values.name, dtype=object), tuple(notes)


def matched_keys(name: str, keys: Sequence[Key], known: Sequence[Key]) -> tuple[Key, ...]:
    """Return the new keys, with other spellings of known texts replaced by these."""
    if all(key in known for key in keys):
        return tuple(keys)
    spellings = by_spelling(known)
    found = {}
    for key in keys:
        same = spellings.get(normalized(key[1]), []) if key[0] == "str" else []
        if len(same) == 1 and key not in known:
            found[key] = known[same[0]]
    if found:
        pairs = [f"{_shown(new[1])} for {_shown(old[1])}" for new, old in found.items()]
        msg = (
            f"{name} has values that differ from those of fit only by spaces, case or Unicode "
            f"form and are taken for them: {', '.join(pairs[:MOST_SHOWN])}"
        )
        warn(msg, DegradedWarning)
    return tuple(found.get(key, key) for key in keys)


def placeholder_notes(
    name: str, codes: NDArray[np.integer], keys: Sequence[Key]
) -> tuple[str, ...]:
    """Warn about groups whose name stands for a missing value, and return the note."""
    n_rows = _n_rows(codes, keys)
    found = [
        f"{_shown(value)} ({n_rows[at]} rows)"
        for at, (kind, value) in enumerate(keys)
        if kind == "str" and normalized(value) in PLACEHOLDERS
    ]
    if not found:
        return ()
    note = (
        f"sensitive {name!r} holds {', '.join(found)}, which is taken as a group of its own. If "
        "it stands for missing values, make them missing, in pandas with .replace(..., None) and "
        "in a file with empty cells, and choose GroupPolicy(missing='own_group') or "
        "GroupPolicy(missing='exclude') (--sensitive-missing)"
    )
    warn(note, DegradedWarning)
    return (note,)


def spelling_hints(columns: Sequence[Column]) -> tuple[str, ...]:
    """Return a warning about features with categories that differ only in spelling."""
    found = []
    for column in columns:
        checked = column.kind == "category" and len(column.levels) <= MOST_CHECKED
        several = _spellings(column.levels) if checked else []
        if several:
            same = " and ".join(_shown(column.levels[at][1]) for at in several[0])
            found.append(f"{column.name!r} ({same})")
    if not found:
        return ()
    hint = (
        "columns of X have categories that differ only by spaces, case or Unicode form and are "
        f"kept apart: {few(found)}. Merge those that mean the same, in pandas with "
        ".str.normalize('NFKC').str.strip().str.casefold()"
    )
    return (hint,)


def _shown(text: str) -> str:
    """Return a text in quotes, escaped where its Unicode form cannot be seen."""
    return repr(text) if unicodedata.is_normalized("NFKC", text) else ascii(text)
