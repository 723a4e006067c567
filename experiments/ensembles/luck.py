"""How much of a choice by hindsight is luck: the same choice, judged on rows it was not made on.

The best of twelve trials on the held-out rows is better there than it is; chosen on one half of
them and judged on the other it is not.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ensembles.rows import HeldRows
from fairautoml.metrics import Constraint
from fairautoml.records import Entry
from fairautoml.selection.ensemble import SMALLEST_PROBABILITY

LUCKLESS = ("hindsight halves", "ensemble halves")
"""The best trial by hindsight of one half, and the ensemble, both on the other half."""


def on_other_halves(
    held: HeldRows,
    trials: Mapping[str, Sequence[Entry]],
    averaged: Sequence[Entry],
    constraint: Constraint,
) -> dict[str, float | None]:
    """Return the accuracies at the limit of ``LUCKLESS``, means over both ways round."""
    order = np.random.default_rng([held.seed, len(held.y)]).permutation(len(held.y))
    halves = [held.part(rows) for rows in np.array_split(order, 2)]
    chosen, ensemble = [], []
    for here, there in (halves, halves[::-1]):
        fronts = list(trials.values())
        known = [here.at_limit(entries, constraint) for entries in fronts]
        best = fronts[int(np.argmax([-np.inf if v is None else v for v in known]))]
        chosen.append(there.at_limit(best, constraint))
        ensemble.append(there.at_limit(averaged, constraint))
    return dict(zip(LUCKLESS, (_mean(chosen), _mean(ensemble)), strict=True))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def log_losses(held: HeldRows, entry: Entry | None) -> dict[str, float]:
    """Return the log loss on the held-out rows of the ensemble, and the lowest of all trials."""
    found = {"hindsight": min(_log_loss(held, {key: 1.0}) for key in held.scores)}
    if entry is not None:
        found["ensemble"] = _log_loss(held, dict(entry.members) or {entry.trial_key: 1.0})
    return found


def _log_loss(held: HeldRows, shares: Mapping[str, float]) -> float:
    scores = sum(share * held.scores[key] for key, share in shares.items())
    given = np.where(held.y == 1, scores, 1.0 - scores)
    losses = -np.log(np.maximum(given, SMALLEST_PROBABILITY))
    return float(np.average(losses, weights=held.weight))
