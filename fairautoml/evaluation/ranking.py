"""Order of entries, and the Pareto front."""

from collections.abc import Iterable

from fairautoml.records import Entry


def rank_key(entry: Entry) -> tuple[float | str, ...]:
    """Return a key that sorts better entries first.

    Feasible entries come first, the best objective first; then those with too few rows to be
    sure, in the same order; then the others, those with the fewest undefined gaps and of them the
    smallest excess over the limits first. Constant predictors come
    last: they meet most constraints but are useless. Ties go to the better accuracy (objectives on
    scores are the same for all rules of a trial), the smaller gap, the earlier trial, then to the
    mitigator's name and the smaller tolerance, so that the order does not depend on the input
    order.
    """
    if entry.feasible or entry.unsure:
        place = 0.0 if entry.feasible else 0.5
        return (place, -entry.value, -entry.accuracy, entry.gap, *tie(entry))
    if entry.constant and entry.measures:
        return (2.0, -entry.value, entry.gap, *tie(entry))
    missed = max(0.0, entry.known_excess)
    return (1.0, entry.n_undefined, missed, -entry.value, *tie(entry))


def tie(entry: Entry) -> tuple[int, str, float]:
    """Return the part of a key that decides between equal entries."""
    tolerance = -1.0 if entry.tolerance is None else entry.tolerance
    return (entry.trial_number, entry.mitigator, tolerance)


def order(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries, best first."""
    return sorted(entries, key=rank_key)


def best_of(entries: Iterable[Entry]) -> Entry | None:
    """Return the best entry, or None if there are no entries."""
    return min(entries, key=rank_key, default=None)


def pareto_front(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries that are not dominated in objective and excess over the limits.

    They are sorted from the fairest to the best objective. Of equal entries the one of the earlier
    trial stays. Constant predictors are excluded unless all entries are constant, and so are
    entries with more undefined gaps than others.
    """
    every = list(entries)
    varied = [e for e in every if not (e.constant and e.measures)]
    choices = varied if varied else every
    fewest = min((e.n_undefined for e in choices), default=0)
    real = [e for e in choices if e.n_undefined == fewest]
    front: list[Entry] = []
    for entry in sorted(real, key=lambda e: (e.known_excess, -e.value, *tie(e))):
        if not front or entry.value > front[-1].value:
            front.append(entry)
    return front
