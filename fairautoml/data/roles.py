"""Which column of a table is what, as the command line says it."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from fairautoml.data.derive import parse_overlapping
from fairautoml.exceptions import ParameterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Which column is what, as the user said it."""

    target: str | None  # column of the labels; None = as the named dataset has it
    sensitive: tuple[str, ...]  # sensitive columns
    drop: tuple[str, ...] = ()  # columns that are no features
    weight: str | None = None  # column of sample weights
    # derived columns and row filters, as in ``fairautoml.data.derive``
    derive: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    text: tuple[str, ...] = ()  # columns that held text in the table as it was read
    # indicator columns of groups that may overlap, each such as ``"identity=black,muslim"``
    overlapping: tuple[str, ...] = ()
    # columns that guess a group that no column holds, and are no features
    proxies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [*self.sensitive, *(parse_overlapping(text)[0] for text in self.overlapping)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            msg = f"--sensitive, --overlapping: {twice[0]!r} is named twice; name it once"
            raise ParameterError(msg)

    @property
    def tables(self) -> dict[str, tuple[str, ...]]:
        """The indicator columns of groups that may overlap, by the name of their table."""
        return dict(parse_overlapping(text) for text in self.overlapping)

    @property
    def sensitive_columns(self) -> tuple[str, ...]:
        """All columns that say something about groups, each once."""
        indicators = [column for columns in self.tables.values() for column in columns]
        return tuple(dict.fromkeys([*self.sensitive, *indicators]))

    def arranged(self, frame: pd.DataFrame) -> "pd.DataFrame | dict[str, Any]":
        """Return the sensitive columns of a table in the form that ``fit`` takes."""
        if not self.overlapping:
            return frame[list(self.sensitive)]
        tables = {name: frame[list(columns)] for name, columns in self.tables.items()}
        return {**{name: frame[name] for name in self.sensitive}, **tables}
