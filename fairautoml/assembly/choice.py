"""Which rule is served: what it is worth against the risk that it breaks the constraint.

No margin is set: rules of tighter tolerances are compared with those of looser ones, so the margin
is whatever the better rule keeps.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fairautoml.trials import Entry

Confidence = Literal["auto"] | float | None
"""How sure it must be that the constraint holds on new people."""


EVEN = 0.5
"""Probability below which a constraint is rather missed than met."""

DISAGREEING = 0.05
"""Share of the rows that two good models decide otherwise."""


def clear_lead(error: float | None, n_rows: int) -> float:
    """Return by how much a single trial must be ahead of a mean of several to be served.

    It is the standard error of a difference in accuracy, or the same share of an error.
    """
    lead = float(np.sqrt(DISAGREEING / n_rows))
    return lead if error is None else lead * abs(error)


def choose(
    entries: Sequence[Entry],
    confidence: Literal["auto"] | float,
    *,
    chance: Callable[[Entry], float],
    worth: Callable[[Entry], float],
    fallback: float,
    steady: Callable[[Entry], bool] = lambda entry: True,
    ahead: float = 0.0,
) -> Entry:
    """Return the entry to serve.

    ``"auto"`` takes the largest ``worth P + fallback (1 - P)``: a rule that breaks the constraint
    counts like one decision for everybody. Rules worth no more than that are left out while there
    are others. A number takes the best entry that is so likely to
    hold, and where none is the likeliest one.
    """
    chances = np.array([chance(entry) for entry in entries])
    values = np.array([worth(entry) for entry in entries])
    sure = np.ones(len(entries), dtype=bool) if confidence == "auto" else chances >= confidence
    if not sure.any():
        return entries[int(chances.argmax())]
    worths = _expected(values, chances, fallback) if confidence == "auto" else values
    calm = np.array([steady(entry) for entry in entries])
    return entries[_ahead(np.where(sure, worths, -np.inf), calm, ahead)]


def lacks_evidence(probability: float, confidence: Confidence) -> bool:
    """Return whether a rule is less sure than was asked for; ``"auto"`` asks for even odds."""
    if confidence is None:
        return False
    return probability < (EVEN if confidence == "auto" else confidence)


def _ahead(worths: NDArray[np.float64], steady: NDArray[np.bool_], ahead: float) -> int:
    """Return the place of the best, of the best steady one unless others are ahead of it."""
    best, calm = int(worths.argmax()), int(np.where(steady, worths, -np.inf).argmax())
    return calm if steady[calm] and worths[best] <= worths[calm] + ahead else best


def _expected(
    values: NDArray[np.float64], chances: NDArray[np.float64], fallback: float
) -> NDArray[np.float64]:
    """Return what each rule is worth with its risk."""
    # A rule worth less than the fallback would be rewarded for breaking the constraint.
    useful = values > fallback
    floor = fallback if useful.any() else float(values.min())
    expected = floor + (values - floor) * chances
    return np.where(useful, expected, -np.inf) if useful.any() else expected
