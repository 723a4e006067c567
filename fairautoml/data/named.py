"""Named datasets with metadata: roles of the columns, source and licence."""

from dataclasses import dataclass, fields
from typing import Any

import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DatasetMetadata:
    """The fields of a ``NamedTable`` that do not need the rows; see there.

    ``features`` names the columns that are known when decisions are made; empty = all that are not
    dropped.
    """

    target: str
    positive_label: str | int | None
    sensitive: tuple[str, ...]
    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    weight: str | None = None
    task: str = "binary"
    notes: str = ""
    licence: str = ""
    citation: str = ""

    def table(self, name: str, frame: pd.DataFrame) -> "NamedTable":
        """Return the table of these facts; the weight is dropped, codes become categories.

        Parameters
        ----------
        name : str
            Name of the table.
        frame : DataFrame
            Its rows; not modified.
        """
        weight = () if self.weight is None else (self.weight,)
        drop = dict.fromkeys((*self.drop, *weight, *self._no_features(frame)))
        facts = {field.name: getattr(self, field.name) for field in fields(DatasetMetadata)}
        frame = frame.assign(**{column: _category(frame[column]) for column in self.categorical})
        return NamedTable(**{**facts, "drop": tuple(drop)}, name=name, frame=frame)

    def _no_features(self, frame: pd.DataFrame) -> tuple[str, ...]:
        kept = {*self.features, *self.sensitive, self.target}
        return tuple(str(c) for c in frame.columns if c not in kept) if self.features else ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NamedTable(DatasetMetadata):
    """A loaded dataset with the metadata needed to learn from it.

    Parameters
    ----------
    name : str
        The name it was loaded by.
    frame : DataFrame
        Features, target and sensitive columns; missing values as missing.
    target : str
        Column of the labels.
    positive_label : str, int or None
        The label whose probability is modelled; None for tables that are not binary.
    sensitive : tuple of str
        Columns of sensitive attributes.
    drop : tuple of str
        Columns that are not features: identifiers, weights, leaked outcomes.
    categorical : tuple of str
        Columns of coded numbers that are categories; they are of dtype ``category`` in ``frame``.
    weight : str or None
        Column of survey weights, also listed in ``drop``.
    task : str
        ``"binary"``, ``"multiclass"``, ``"regression"`` or ``"binary_score"``.
    notes, licence, citation : str
        Remarks, licence and citation of the source.
    """

    name: str
    frame: pd.DataFrame


def _category(column: pd.Series) -> pd.Series:
    """Return a column as categories of text; missing stays missing."""
    codes, values = pd.factorize(column, sort=True)
    texts = pd.Index([code_text(value) for value in values], dtype=object)
    return pd.Series(pd.Categorical.from_codes(codes, texts), index=column.index)


def code_text(value: Any) -> str:
    """Return a value as text, 1.0 as "1": a missing value makes a column of codes a float one."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value)
