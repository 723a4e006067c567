"""Types and errors of the runtime."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

Spec = Mapping[str, Any]
"""A part of a file: JSON values, with arrays in their places."""

Floats = NDArray[np.floating]
Array = NDArray[Any]


class ModelFileError(ValueError):
    """The file is damaged, no model file, or of another version."""


class NewRowsError(ValueError):
    """The new rows cannot be read; the message names the column and what is allowed."""


DAMAGE = (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError,
          RecursionError, MemoryError)  # fmt: skip
"""What the content of a damaged file can lead to."""

MOST = 10_000_000
"""Largest number of columns, classes or groups; a larger one is damage."""


def small(number: Any) -> int:
    """Return a number from a file by which memory is allocated."""
    if not isinstance(number, int) or not 0 <= number <= MOST:
        raise ModelFileError(f"the number {number!r}, which must be in [0, {MOST}]")
    return number


@contextmanager
def checked(shown: str) -> Iterator[None]:
    """Turn what a damaged file leads to into an error that names the file."""
    try:
        yield
    except NewRowsError:
        raise
    except ModelFileError as error:
        raise ModelFileError(f"{shown} is damaged or no model file: {error}") from error
    except DAMAGE as error:
        msg = f"{shown} is damaged or no model file ({type(error).__name__}); export it again"
        raise ModelFileError(msg) from error
