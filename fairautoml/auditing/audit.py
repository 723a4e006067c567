"""What an audit found, and how it is shown."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

from fairautoml.auditing.records import (
    ChangeRow,
    Contributions,
    GapRow,
    ImpactRow,
    IndividualFairness,
    LeakageRow,
    LevellingRow,
    RateRow,
    ScoreRow,
    VerdictRow,
)

FORMAT = 1

Part = Literal[
    "rates",
    "impact",
    "scores",
    "gaps",
    "verdicts",
    "changes",
    "levelling",
    "leakage",
    "contributions",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the decisions of a model are worth to the groups that they speak about.

    Numbers about cells below ``smallest_cell`` rows are not in it. Undefined and suppressed
    numbers are None.

    Parameters
    ----------
    n_rows : int
        Rows.
    labelled : bool
        Whether true labels were given; without them only selection rates and what follows from
        them are here.
    weighted : bool
        Whether rows have weights.
    classes : tuple of str
        Labels of refusal and acceptance, as text.
    delta : float
        Error probability of every interval, bound and verdict.
    independent : bool
        The rows are declared new to the model.
    verdict : str
        On all constraints together.
    rates : tuple of RateRow
        Every rate of every group, with its interval.
    impact : tuple of ImpactRow
        Impact ratio of every group.
    scores : tuple of ScoreRow
        Every performance metric, on everybody and by group.
    gaps : tuple of GapRow
        Every fairness metric on every group system.
    verdicts : tuple of VerdictRow
        One per constraint and group system.
    changes : tuple of ChangeRow
        Against the baseline, if one was given.
    levelling : tuple of LevellingRow
        Whether gaps closed by levelling down.
    leakage : tuple of LeakageRow
        How well groups can be told from scores and features.
    contributions : Contributions or None
        Which feature blocks the gap comes from.
    individual : IndividualFairness or None
        Of how many rows the decision provably stays.
    smallest_cell : int
        Rows from which a cell is shown.
    notes : tuple of str
        What the reader must know.
    format : int
        Of the JSON.
    """

    n_rows: int
    labelled: bool
    weighted: bool
    classes: tuple[str, str]
    delta: float
    independent: bool
    verdict: str
    rates: tuple[RateRow, ...]
    impact: tuple[ImpactRow, ...]
    scores: tuple[ScoreRow, ...]
    gaps: tuple[GapRow, ...]
    verdicts: tuple[VerdictRow, ...] = ()
    changes: tuple[ChangeRow, ...] = ()
    levelling: tuple[LevellingRow, ...] = ()
    leakage: tuple[LeakageRow, ...] = ()
    contributions: Contributions | None = None
    individual: IndividualFairness | None = None
    smallest_cell: int
    notes: tuple[str, ...] = ()
    format: int = FORMAT

    def frame(self, part: Part) -> pd.DataFrame:
        """Return a part as a table, intervals as the columns ``low``, ``high``, ``method``.

        Parameters
        ----------
        part : str
            ``"rates"``, ``"impact"``, ``"scores"``, ``"gaps"``, ``"verdicts"``, ``"changes"``,
            ``"levelling"``, ``"leakage"`` or ``"contributions"``.
        """
        if part == "contributions":
            rows: Sequence[Any] = () if self.contributions is None else self.contributions.shares
        else:
            rows = getattr(self, part)
        return pd.DataFrame([_flat(asdict(row)) for row in rows])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        found = asdict(self)
        if self.individual is not None:
            found["individual"] |= {
                name: getattr(self.individual, name)
                for name in ("certified", "refuted", "unknown", "consistency")
            }
        return found

    def to_json(self) -> str:
        """Return everything as JSON in one line, without NaN or infinity."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def text(self) -> str:
        """Return a report for a terminal; names are shown without control characters."""
        from fairautoml.auditing.rendering import audit_text

        return audit_text(self)

    def _repr_html_(self) -> str:
        from fairautoml.auditing.rendering import audit_html

        return audit_html(self)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its interval as three columns."""
    if "interval" not in row:
        return row
    interval = row.pop("interval") or {}
    return row | {name: interval.get(name) for name in ("low", "high", "method")}
