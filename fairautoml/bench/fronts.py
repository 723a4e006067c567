"""The trade-offs of a fitted model, judged on held-out rows."""

from typing import TYPE_CHECKING

from fairautoml.exceptions import InputError

if TYPE_CHECKING:
    from fairautoml.automl import Estimator
    from fairautoml.sources import Source

GAPS = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2)
"""Largest gaps that are asked for."""


def held_front(model: "Estimator", held: "Source") -> list[list[float | None]]:
    """Return accuracy and gap on held-out rows of what the model would serve for each gap.

    Parameters
    ----------
    model : FairAutoML
        Fitted with a constraint, to two classes.
    held : Source
        Rows that the search has not seen.

    Returns
    -------
    list of [accuracy, gap]
        Without repetitions; a gap that the front does not reach is left out.
    """
    found: dict[str, list[float | None]] = {}
    for gap in GAPS:
        try:
            other = model.select(max_gap=gap)
        except InputError:
            continue
        key = repr(other.best_entry_)
        if key not in found:
            judged = held.judge(other)
            found[key] = [judged["accuracy"], judged["gap"]]
    return list(found.values())
