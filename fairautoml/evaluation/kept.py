"""Values that are made once and kept, as long as they fit into the memory set aside."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

from scipy import sparse


class Sized(Protocol):
    """Something that knows what it weighs."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        ...


Value = TypeVar("Value", bound=Sized)


class Kept:
    """Values by key; when there is too much of them, those go that were asked for longest ago.

    A value never drives out what was asked for since it was asked for itself. So of values that
    are wanted in turn, again and again, and do not fit, some stay: if each drove out the oldest,
    which is the one that is wanted next, none would be found again.

    It is empty again after pickling: what was kept here is of no use in another process.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._asked: dict[Hashable, int] = {}
        self._turn = 0

    def __reduce__(self) -> tuple[type["Kept"], tuple[int]]:
        return Kept, (self.most_bytes,)

    @property
    def nbytes(self) -> int:
        """Bytes that are kept now."""
        return sum(value.nbytes for value in self._values.values())

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of a key, made now when it is not kept."""
        before = self._asked.get(key, self._turn + 1)
        self._turn += 1
        self._asked[key] = self._turn
        if key in self._values:
            self._values.move_to_end(key)
            known: Value = self._values[key]
            return known
        made = make()
        leaving = self._leaving(made.nbytes, before)
        if leaving is not None:
            for other in leaving:
                del self._values[other]
            self._values[key] = made
        return made

    def _leaving(self, nbytes: int, before: int) -> list[Hashable] | None:
        """Return what has to go for a value of that size, None when it is not to be kept.

        Only what was last asked for before that turn may go.
        """
        found: list[Hashable] = []
        room = self.most_bytes - self.nbytes
        for other, value in self._values.items():
            if room >= nbytes or self._asked[other] > before:
                break
            found.append(other)
            room += value.nbytes
        return found if room >= nbytes else None


def memory_of(X: Any) -> int:
    """Return the bytes of a dense or CSR matrix."""
    return sum(int(part.nbytes) for part in _parts(X))


def freeze(X: Any) -> None:
    """Make a dense or CSR matrix read-only, in place."""
    for part in _parts(X):
        part.flags.writeable = False


def writable(X: Any) -> Any:
    """Return an array or CSR matrix itself, or a copy when it is read-only."""
    return X if all(part.flags.writeable for part in _parts(X)) else X.copy()


def _parts(X: Any) -> tuple[Any, ...]:
    return (X.data, X.indices, X.indptr) if sparse.issparse(X) else (X,)
