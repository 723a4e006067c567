"""Whether a point of the front may be asked for, and what must be said of it."""

from typing import Any

from fairautoml.certification.wishes import is_number
from fairautoml.exceptions import DegradedWarning, InputError, ParameterError, warn
from fairautoml.finishing.headlines import group_headlines
from fairautoml.finishing.outcome import Pool
from fairautoml.metrics import METRICS
from fairautoml.posing.options import check_share
from fairautoml.trials import Entry


def check_selection(pool: Pool, max_gap: Any, min_score: Any) -> None:
    """Refuse wishes that no entry can be measured by.

    Parameters
    ----------
    pool : Pool
        What can be served.
    max_gap, min_score : object
        As the user gave them to ``select``.

    Raises
    ------
    ParameterError
        One is no number, or not in its range.
    InputError
        Neither is given, or ``max_gap`` is and no gap was measured.
    """
    if max_gap is None and min_score is None:
        raise InputError("select needs max_gap=, min_score= or both")
    if max_gap is not None:
        _check_gap(max_gap, pool)
    if min_score is not None and not is_number(min_score):
        raise ParameterError(f"min_score={min_score!r} must be a number, the least objective")
    if max_gap is not None and not pool.best.measures:
        msg = (
            f"select(max_gap={max_gap}): no gap was measured, because fit had no constraint "
            "or a single group; use min_score=, or fit with FairAutoML(constraint=...) and "
            "two groups or more"
        )
        raise InputError(msg)


def _check_gap(max_gap: Any, pool: Pool) -> None:
    most = max((METRICS.get(m.metric).most for m in pool.best.measures), default=1.0)
    if most <= 1.0:
        check_share("max_gap", max_gap)
    elif not is_number(max_gap) or max_gap < 0:
        raise ParameterError(f"max_gap={max_gap!r} must be a number of at least 0")


def alike_notes(entry: Entry) -> tuple[str, ...]:
    """Warn of an entry that decides alike for everybody, and return the same as a note.

    Parameters
    ----------
    entry : Entry
        What is to be served.
    """
    if not (entry.constant and entry.measures):
        return ()
    note = (
        "what select has found decides alike for everybody, which is no choice: nothing that "
        "tells people apart fits; give a larger max_gap, or look at pareto_front_"
    )
    warn(note, DegradedWarning)
    return (note,)


def warned_headlines(pool: Pool) -> tuple[str, ...]:
    """Warn of groups that what is served leaves with one decision, and return the same as notes.

    Parameters
    ----------
    pool : Pool
        What is served.
    """
    found = group_headlines(pool.board, pool.best, pool.classes)
    for sentence in found:
        warn(sentence, DegradedWarning)
    return found
