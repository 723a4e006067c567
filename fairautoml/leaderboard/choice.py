"""Which entry is better: the one order that everything uses."""

from collections.abc import Iterable, Sequence

from fairautoml.trials import Entry


def rank_key(entry: Entry) -> tuple[float | str, ...]:
    """Return a key that sorts better entries first.

    Feasible entries come first, the best objective first; then the others, those with the fewest
    undefined gaps and of them the smallest excess over the limits first. One decision for
    everybody comes last: it meets most constraints and helps nobody. Ties go to the better
    accuracy (objectives on scores are the same for all rules of a trial), the smaller gap, the
    earlier trial, then to the mitigator's name and the smaller tolerance, so that no order
    depends on where an entry came from.
    """
    if entry.feasible:
        return (0.0, -entry.value, -entry.accuracy, entry.gap, *_tie(entry))
    if entry.constant and entry.measures:
        return (2.0, -entry.value, entry.gap, *_tie(entry))
    missed = max(0.0, entry.known_excess)
    return (1.0, entry.n_undefined, missed, -entry.value, *_tie(entry))


def _tie(entry: Entry) -> tuple[int, str, float]:
    tolerance = -1.0 if entry.tolerance is None else entry.tolerance
    return (entry.trial_number, entry.mitigator, tolerance)


def order(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries, best first."""
    return sorted(entries, key=rank_key)


def best_of(entries: Iterable[Entry]) -> Entry | None:
    """Return the best entry, None of nothing."""
    return min(entries, key=rank_key, default=None)


def pareto_front(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries that no other beats in objective and excess over the limits.

    From the fairest to the best objective. An entry is dominated by another that is at least as
    good in both and better in one; of equals the earlier trial stays. One decision for everybody
    is no choice and left out unless there is nothing else, and so is an entry with more undefined
    gaps than another.
    """
    every = list(entries)
    varied = [e for e in every if not (e.constant and e.measures)]
    choices = varied if varied else every
    fewest = min((e.n_undefined for e in choices), default=0)
    real = [e for e in choices if e.n_undefined == fewest]
    front: list[Entry] = []
    for entry in sorted(real, key=lambda e: (e.known_excess, -e.value, *_tie(e))):
        if not front or entry.value > front[-1].value:
            front.append(entry)
    return front


def select(
    entries: Sequence[Entry], *, max_gap: float | None, min_value: float | None
) -> Entry | None:
    """Return the best entry under other wishes than those of the search."""
    fitting = [
        entry
        for entry in entries
        if (max_gap is None or entry.gap <= max_gap)
        and (min_value is None or entry.value >= min_value)
    ]
    varied = [entry for entry in fitting if not entry.constant]
    chosen = varied if varied else fitting
    if max_gap is None and min_value is not None:
        return min(chosen, key=lambda e: (e.gap, -e.value, *_tie(e)), default=None)
    return min(chosen, key=lambda e: (-e.value, e.gap, *_tie(e)), default=None)
