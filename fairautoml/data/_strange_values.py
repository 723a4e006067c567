"""New rows whose values say nothing to a model: not seen at fit, or all missing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data._column import Column
from fairautoml.data._text_hints import few

MOST_UNSEEN = 0.5
"""Share of the values of a column that may be unseen without a word."""

FEWEST_ROWS = 20
"""Rows below which a column may well be missing in all of them."""


def strange_values(
    columns: Sequence[Column],
    given: "Sequence[pd.Series[Any] | NDArray[Any]]",
    matrix: NDArray[np.float32],
) -> tuple[str, ...]:
    """Return what to say of columns of new rows that are mostly unseen or have no value."""
    unread = np.isnan(matrix)
    unseen: list[str] = []
    empty: list[str] = []
    for at in np.flatnonzero(unread.any(axis=0)).tolist():
        column, there = columns[at], np.asarray(pd.notna(given[at]))
        if column.kind == "category" and there.any():
            new = there & unread[:, at]
            share = float(new.sum() / there.sum())
            if share > MOST_UNSEEN:
                unseen.append(_shown(column.name, share, pd.Series(given[at])[new].iloc[0]))
        elif unread[:, at].all() and len(unread) >= FEWEST_ROWS:
            empty.append(repr(column.name))
    told = ((_said_of_unseen, unseen), (_said_of_empty, empty))
    return tuple(say(few(found)) for say, found in told if found)


def _shown(name: str, share: float, example: Any) -> str:
    return f"{name!r} ({share:.0%} of the values, for example {str(example)!r})"


def _said_of_unseen(found: str) -> str:
    return (
        f"columns of X hold mostly categories that fit has not seen: {found}. They are read as "
        "missing. Write them as in the rows of fit, or fit again, with rows that have them or "
        "without columns whose values are always new, such as dates as text or numbers of persons"
    )


def _said_of_empty(found: str) -> str:
    return (
        f"columns of X have values at fit and none in these rows: {found}. They are read as "
        "missing. Give their values, or fit again without these columns"
    )
