"""Rows with guesses of the group, as a table of counts: all that a corrected gap needs of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data._keys import key_of, level_arrays, sort_levels
from fairautoml.data._sensitive import level_labels, read_sensitive
from fairautoml.exceptions import InputError

Array = NDArray[np.float64]
Compared = Literal["demographic_parity", "equal_opportunity", "equalized_odds"]

_CONDITIONS: dict[str, tuple[int, ...]] = {
    "demographic_parity": (-1,),
    "equal_opportunity": (1,),
    "equalized_odds": (0, 1),
}
"""Labels within which decisions are compared; -1 = all rows."""

MOST_CELLS = 1_000_000
"""Of what all proxies say together: a hundred groups in three columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyTable:
    """Counts of the rows by label, decision and what each proxy says."""

    counts: Array  # shape (n_labels, 2, n_groups, ...): one axis of groups for each proxy
    groups: tuple[str, ...]  # names
    proxies: tuple[str, ...]
    n_dropped: int  # rows left out because a proxy has no value

    def of_proxy(self, at: int) -> Array:
        """Return the counts of one proxy, shape (n_labels, 2, n_groups)."""
        others = tuple(2 + i for i in range(len(self.proxies)) if i != at)
        found: Array = self.counts.sum(axis=others)
        return found

    def redrawn(self, rng: np.random.Generator) -> "ProxyTable":
        """Return as many rows drawn from these, with replacement."""
        n = int(self.counts.sum())
        drawn = rng.multinomial(n, self.counts.ravel() / n).astype(np.float64)
        return replace(self, counts=drawn.reshape(self.counts.shape))


def tabulate(decision: Any, proxies: Any, y: Any, compare: str) -> ProxyTable:
    """Check the rows and count them."""
    if compare not in _CONDITIONS:
        msg = f"compare={compare!r}: allowed are {', '.join(map(repr, _CONDITIONS))}"
        raise InputError(msg)
    columns = read_sensitive(proxies).columns
    codes, labels = _shared_codes(list(columns.values()))
    if len(labels) ** len(columns) > MOST_CELLS:
        msg = (
            f"proxies: {len(columns)} columns hold {len(labels)} different values, too many for "
            "groups; a guess names a group: cut probabilities first, as in p > 0.5"
        )
        raise InputError(msg)
    decided = _zero_one(decision, "decision", len(codes))
    condition = np.zeros(len(codes), dtype=np.int64)
    if compare != "demographic_parity":
        if y is None:
            msg = f"y is needed for compare={compare!r}: rates within a label are compared"
            raise InputError(msg)
        wanted = _CONDITIONS[compare]
        label = _zero_one(y, "y", len(codes))
        condition = np.where(np.isin(label, wanted), label - min(wanted), -1)
    said = (codes >= 0).all(axis=1)
    kept = said & (condition >= 0)
    shape = (len(_CONDITIONS[compare]), 2, *(len(labels) for _ in columns))
    counts = np.zeros(shape)
    np.add.at(counts, (condition[kept], decided[kept], *codes[kept].T), 1.0)
    if not counts.any(axis=tuple(range(1, counts.ndim))).all():
        msg = f"decision: no rows with a proxy and the label that compare={compare!r} needs"
        raise InputError(msg)
    return ProxyTable(
        counts=counts, groups=labels, proxies=tuple(columns), n_dropped=int((~said).sum())
    )


def _shared_codes(
    columns: Sequence["pd.Series[Any]"],
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return codes of all proxies over one set of groups, -1 = no guess."""
    long = pd.concat([column.astype(object) for column in columns], ignore_index=True)
    codes, keys = sort_levels(*level_arrays(long, "proxies"))
    if len(keys) < 2:
        msg = f"proxies: they name {len(keys)} group(s); a gap needs at least two"
        raise InputError(msg)
    return codes.reshape(len(columns), -1).T, level_labels(keys)


def _zero_one(values: Any, name: str, n_rows: int) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.shape != (n_rows,):
        msg = f"{name} has shape {array.shape} and proxies has {n_rows} rows; give one per row"
        raise InputError(msg)
    if not np.isin(array, (0, 1)).all():
        strange = next(v for v in array.tolist() if key_of(v)[1] not in {0, 1})
        msg = f"{name} holds {strange!r}; allowed are 0 and 1"
        raise InputError(msg)
    return array.astype(np.int64)
