"""Types and errors of the runtime."""

from collections.abc import Mapping
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
