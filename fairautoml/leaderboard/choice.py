"""Which entry is better: the one order that everything uses."""

from collections.abc import Iterable, Sequence

from fairautoml.trials import Entry


def rank_key(entry: Entry) -> tuple[float, ...]:
    """Return a key that sorts better entries first.

    Feasible entries come first, the best objective first; then the others, the smallest excess
    over the limits first. One decision for everybody comes last: it meets most constraints and
    helps nobody. Ties go to the smaller gap, then to the earlier trial.

    Parameters
    ----------
    entry : Entry
        A leaderboard row.
    """
    if entry.feasible:
        return (0.0, -entry.value, entry.gap, entry.trial_number)
    if entry.constant and entry.measures:
        return (2.0, -entry.value, entry.gap, entry.trial_number)
    return (1.0, entry.excess, -entry.value, entry.trial_number)


def order(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries, best first.

    Parameters
    ----------
    entries : iterable of Entry
        Any order; the result does not depend on it.
    """
    return sorted(entries, key=rank_key)


def best_of(entries: Iterable[Entry]) -> Entry | None:
    """Return the best entry, None of nothing.

    Parameters
    ----------
    entries : iterable of Entry
        What to choose from.
    """
    return min(entries, key=rank_key, default=None)


def pareto_front(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries that no other beats in objective and excess over the limits.

    From the fairest to the best objective. An entry is dominated by another that is at least as
    good in both and better in one; of equals the earlier trial stays.

    Parameters
    ----------
    entries : iterable of Entry
        What to choose from.
    """
    front: list[Entry] = []
    for entry in sorted(entries, key=lambda e: (e.excess, -e.value, e.trial_number)):
        if not front or entry.value > front[-1].value:
            front.append(entry)
    return front


def select(
    entries: Sequence[Entry], *, max_gap: float | None, min_score: float | None
) -> Entry | None:
    """Return the best entry under other wishes than those of the search.

    Parameters
    ----------
    entries : sequence of Entry
        What to choose from.
    max_gap : float or None
        Largest gap over all constraints and group systems; None = no limit.
    min_score : float or None
        Least objective, in its natural direction; the fairest such entry is returned unless
        ``max_gap`` is given too.

    Returns
    -------
    Entry or None
        None when no entry fits; never a constant one where another fits.
    """
    fitting = [
        entry
        for entry in entries
        if (max_gap is None or entry.gap <= max_gap)
        and (min_score is None or _reaches(entry, min_score))
    ]
    varied = [entry for entry in fitting if not entry.constant]
    chosen = varied if varied else fitting
    if max_gap is None and min_score is not None:
        return min(chosen, key=lambda e: (e.gap, -e.value, e.trial_number), default=None)
    return min(chosen, key=lambda e: (-e.value, e.gap, e.trial_number), default=None)


def _reaches(entry: Entry, min_score: float) -> bool:
    wanted = min_score if entry.value == entry.score else -min_score
    return entry.value >= wanted
