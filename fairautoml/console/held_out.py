"""Rows of a table that are set aside before the search, to judge its result on."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.console.sources import Source, check_columns
from fairautoml.data._numbers import to_float32
from fairautoml.data._per_row import read_weights
from fairautoml.data.parts import read_extra
from fairautoml.data.splits import first_rows, holdout_split, latest_rows
from fairautoml.data.strata import strata_of_column
from fairautoml.data.target import MOST_CLASSES, plain_labels, plain_numbers
from fairautoml.data.times import ranks_of_times
from fairautoml.exceptions import InputError

MOST_GROUPS = 50
"""Values of a sensitive number up to which each is taken for a group."""


def hold_out(
    source: Source,
    fraction: float,
    seed: int,
    *,
    whose: str | None = None,
    when: str | None = None,
) -> tuple[Source, Source]:
    """Set rows aside: the same share of every label and group, or the last ones."""
    people = None
    if whose is not None:
        check_columns(source.X, "--groups", (whose,))
        people = pd.factorize(source.X[whose], use_na_sentinel=False)[0]
    if when is None:
        held = _drawn(source, _cells(source), people, fraction, seed)
    else:
        check_columns(source.X, "--time-column", (when,))
        times = ranks_of_times(read_extra(when, source.X, "time")[0], f"time={when!r}")
        held = latest_rows(times, _cells(source, MOST_GROUPS), fraction, entities=people)
    if held.all() or not held.any():
        by = {"--groups": whose, "--time-column": when}
        named = "".join(f" with {option} {name!r}" for option, name in by.items() if name)
        raise InputError(
            f"--holdout {fraction}{named}: too few people, or too few different times, for two "
            "parts; leave one of these options out, or give more rows"
        )
    return source.take(np.flatnonzero(~held)), source.take(np.flatnonzero(held))


def refuse_new_classes(search: Source, held: Source) -> None:
    """Refuse held-out rows of a class that the search cannot learn, before it begins."""
    new = set(held.y.dropna()) - set(search.y.dropna())
    if new:
        raise InputError(
            f"--holdout: class(es) {', '.join(sorted(map(repr, new)))} of the target are only "
            "among the rows set aside; leave these out with --keep, or set another share aside"
        )


def refuse_unjudgeable(held: Source, *, regression: bool, infinite: bool) -> None:
    """Refuse held-out rows that nothing could be judged on, before the search begins."""
    try:
        (plain_numbers if regression else plain_labels)(held.y)
        if held.weight is not None:
            read_weights(held.weight, len(held.y))
        for name, column in held.X.select_dtypes("number").items() if not infinite else ():
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
            to_float32(values[:, None], (str(name),), "error")
    except InputError as error:
        raise InputError(f"--holdout: the rows set aside cannot be judged: {error}") from None


def _cells(source: Source, most: int | None = None) -> NDArray[np.int64]:
    """Return the combination of sensitive values of each row.

    A number with more than ``most`` values is left out: its values are no groups, they are cut
    into bands or constrained as a number.
    """
    cells = np.zeros(len(source.y), dtype=np.int64)
    for name in source.groups:
        codes, levels = pd.factorize(source.groups[name], use_na_sentinel=False)
        number = pd.api.types.is_numeric_dtype(source.groups[name])
        if most is None or len(levels) <= most or not number:
            cells = cells * len(levels) + codes
    return cells


def _drawn(
    source: Source,
    cells: NDArray[np.int64],
    people: NDArray[np.int64] | None,
    fraction: float,
    seed: int,
) -> NDArray[np.bool_]:
    """Return which rows are drawn, by label and group of a person's first row."""
    labels = strata_of_column(source.y, MOST_CLASSES)
    whose = np.arange(len(labels)) if people is None else people
    first = first_rows(whose)
    drawn = holdout_split(labels[first], cells[first], fraction, seed)[1]
    return np.isin(whose, drawn)
