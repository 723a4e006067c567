"""Texts that differ only by spaces, case or Unicode form."""

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fairautoml.data._keys import Key
from fairautoml.exceptions import DegradedWarning, InputError, warn

ZERO_WIDTH = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))
"""Zero-width spaces, joiners and the byte order mark, as ``str.translate`` drops them."""

MOST_SHOWN = 5
"""Sets of spellings that a message lists."""


def normalized(text: str) -> str:
    """Return a text without differences of spaces, case and Unicode form."""
    plain = unicodedata.normalize("NFKC", text).translate(ZERO_WIDTH)
    return unicodedata.normalize("NFKC", " ".join(plain.split()).casefold())


def refuse_spellings(name: str, codes: NDArray[np.integer], keys: Sequence[Key]) -> None:
    """Refuse values of a column that are one text in several spellings."""
    spellings: dict[str, list[int]] = {}
    for at, (kind, value) in enumerate(keys):
        if kind == "str":
            spellings.setdefault(normalized(value), []).append(at)
    several = [found for found in spellings.values() if len(found) > 1]
    if not several:
        return
    n_rows = np.bincount(codes[codes >= 0], minlength=len(keys))
    shown = "; ".join(
        " and ".join(f"{_shown(keys[at][1])} ({n_rows[at]} rows)" for at in found)
        for found in several[:MOST_SHOWN]
    )
    kept = max(several[0], key=lambda at: int(n_rows[at]))
    other = next(at for at in several[0] if at != kept)
    msg = (
        f"{name} holds values that differ only by spaces, case or Unicode form: {shown}. Merge "
        "them, in pandas with .str.normalize('NFKC').str.strip().str.casefold() or "
        f".replace({{{_shown(keys[other][1])}: {_shown(keys[kept][1])}}}), or rename one."
    )
    raise InputError(msg)


def matched_keys(name: str, keys: Sequence[Key], known: Sequence[Key]) -> tuple[Key, ...]:
    """Return new keys, a text that is a known one in another spelling being the known one."""
    if all(key in known for key in keys):
        return tuple(keys)
    spellings: dict[str, list[Key]] = {}
    for key in known:
        if key[0] == "str":
            spellings.setdefault(normalized(key[1]), []).append(key)
    found = {}
    for key in keys:
        same = spellings.get(normalized(key[1]), []) if key[0] == "str" else []
        if len(same) == 1 and key not in known:
            found[key] = same[0]
    if found:
        pairs = [f"{_shown(new[1])} for {_shown(old[1])}" for new, old in found.items()]
        msg = (
            f"{name} has values that differ from groups of fit only by spaces, case or Unicode "
            f"form and are taken for them: {', '.join(pairs[:MOST_SHOWN])}"
        )
        warn(msg, DegradedWarning)
    return tuple(found.get(key, key) for key in keys)


def _shown(text: str) -> str:
    """Return a text in quotes, escaped where its Unicode form cannot be seen."""
    return repr(text) if unicodedata.is_normalized("NFKC", text) else ascii(text)
