"""What answers when the target has one class only, so that there is nothing to search."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data._frames import read_table
from fairautoml.data._numbers import OnNonfinite
from fairautoml.data.columns import TableSchema, fit_columns
from fairautoml.data.target import plain_labels
from fairautoml.exceptions import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantClassifier:
    """Answers with the only class that ``fit`` has seen; stands in for a ``FairClassifier``."""

    schema: TableSchema  # how a table is read: new rows are checked as ever
    classes: NDArray[Any]  # shape (1,): the user's label
    groups: None = None
    needs_sensitive: bool = False

    def decisions(self, X: Any, cells: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the position of the class for encoded rows, shape (n_rows,)."""
        return np.zeros(len(cells), dtype=np.int64)


def constant_classifier(
    X: Any, y: Any, on_nonfinite: OnNonfinite, *, extras: Sequence[Any] = ()
) -> ConstantClassifier | None:
    """Return the model of a target with one class; None when it has several or is faulty."""
    table = read_table(X)
    try:
        labels = plain_labels(y)
    except InputError:
        return None
    if len(labels) != table.n_rows or len(set(labels.tolist())) != 1:
        return None
    named = [name for name in extras if isinstance(name, str) and name in table.names]
    schema, _ = fit_columns(table, drop=tuple(named), on_nonfinite=on_nonfinite)
    return ConstantClassifier(schema=schema, classes=np.array(labels[:1].tolist()))
