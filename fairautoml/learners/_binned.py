"""Binned training rows, kept as long as the matrix that they were made from.

Cutting columns into bins costs a boosting library a quarter to a half of a short training, and
gives the same bins whatever the labels, the weights and most parameters are.
"""

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from scipy import sparse

Rows = TypeVar("Rows")

MOST_BYTES = 128 * 2**20
"""Bytes of binned rows that one library keeps in one process."""

BYTES_PER_VALUE = 2
"""A bin number takes one byte or two, and a library may keep it by row and by column."""


class Binned(Generic[Rows]):
    """Binned rows by the matrix itself and by all that fixes the bins.

    Only a read-only matrix is remembered, since a writable one may hold other numbers the next
    time. What was made from it is forgotten when the matrix is freed, or, least recently used
    first, when there is too much of it.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, tuple[weakref.ref[Any], Rows, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, X: Any, bins: Hashable, make: Callable[[], Rows]) -> Rows:
        """Return the binned rows of a matrix, made anew when they are not known."""
        if not _read_only(X):
            return make()
        key = (id(X), bins)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][1]
        made = make()
        size = BYTES_PER_VALUE * X.size
        if size <= self.most_bytes:
            # The number of a freed matrix is given away again: its entry has to go before.
            freed = weakref.ref(X, lambda _: self._kept.pop(key, None))
            self._kept[key] = (freed, made, size)
            while sum(entry[2] for entry in self._kept.values()) > self.most_bytes:
                self._kept.popitem(last=False)
        return made


def _read_only(X: Any) -> bool:
    values = X.data if sparse.issparse(X) else X
    return not values.flags.writeable
