"""From what a system found to its answer: the best of its own, and the one with our margin."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.assembly.chances import DRAWS, Chances
from fairautoml.assembly.choice import choose
from fairautoml.bench.measures import LARGEST_GAP
from fairautoml.bench.peers import Answer, Decide, Offer, Question
from fairautoml.console.fronts import GAPS
from fairautoml.serving.judging import judge


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """Decisions on rows of the system's own."""

    # labels 0 or 1, finest cells (-1 = not known), decisions 0 or 1
    y: NDArray[np.integer]  # shape (n_rows,)
    cells: NDArray[np.integer]  # shape (n_rows,)
    decisions: NDArray[np.integer]  # shape (n_rows,)


def offer(
    question: Question, seen: Seen, decide: Decide, *, learner: str, seconds: float
) -> Offer:
    """Return a model with what it is worth on the system's own rows."""
    found = judge(
        seen.y,
        seen.decisions,
        seen.cells,
        groups=question.groups,
        constraints=question.constraints,
    )
    return Offer(
        decide=decide,
        learner=learner,
        score=found["accuracy"],
        gap=found["gap"],
        feasible=found["excess"] is not None and found["excess"] <= 0,
        seconds=seconds,
        counts=counted(question, seen),
    )


def counted(question: Question, seen: Seen) -> NDArray[np.float64]:
    """Return the rows by finest cell, label and decision, shape (n_cells, 2, 2)."""
    known = seen.cells >= 0
    counts = np.zeros((question.groups.n_cells, 2, 2))
    np.add.at(counts, (seen.cells[known], seen.y[known], seen.decisions[known]), 1.0)
    return counts


def answered(offers: Sequence[Offer], *, n_trials: int) -> Answer:
    """Return the answer of a user who takes the best offer that meets the constraints.

    Without one, it is the offer of the smallest gap. Its front is that of all offers, whether the
    system shows them or not.
    """
    feasible = [one for one in offers if one.feasible]
    if feasible:
        chosen = max(feasible, key=lambda one: one.score)
    else:
        chosen = min(offers, key=lambda one: np.inf if one.gap is None else one.gap)
    return Answer(
        chosen=chosen,
        n_trials=n_trials,
        n_feasible=len(feasible),
        offers=tuple(offers),
        front=front_of(offers),
    )


def with_margin(question: Question, answer: Answer) -> Offer:
    """Return the offer that this library would have chosen, by its own default margin.

    Where no offer meets the constraints it is the system's own answer.
    """
    feasible = [one for one in answer.offers if one.feasible and one.counts is not None]
    if not feasible:
        return answer.chosen
    rng = np.random.default_rng([question.seed, DRAWS])
    noise = rng.standard_normal((DRAWS, question.groups.n_cells, 3))
    chances = [_chance(one, noise, question) for one in feasible]
    labels = np.bincount(question.y, minlength=2)
    # The choice reads what it is given by these two functions only: positions do.
    positions: Any = range(len(feasible))
    chance: Any = chances.__getitem__
    worth: Any = [one.score for one in feasible].__getitem__
    fallback = float(labels.max() / labels.sum())
    at: Any = choose(positions, "auto", chance=chance, worth=worth, fallback=fallback)
    found: Offer = feasible[at]
    return found


def _chance(one: Offer, noise: NDArray[np.float64], question: Question) -> float:
    counts = np.zeros((question.groups.n_cells, 2, 2)) if one.counts is None else one.counts
    # Its noise and that of as many new people: half as many rows.
    return Chances.of_rows(counts.sum(axis=2) / 2.0, noise, question.targets).met(counts)


def front_of(offers: Sequence[Offer]) -> tuple[Offer, ...]:
    """Return the offers that no other one beats in both accuracy and gap."""
    known = [
        (one.gap, -one.score, at)
        for at, one in enumerate(offers)
        if one.gap is not None and one.gap < LARGEST_GAP
    ]
    best, found = np.inf, []
    for _, loss, at in sorted(known):
        if loss < best:
            best = loss
            found.append(offers[at])
    return tuple(found)


def at_gaps(front: Sequence[Offer]) -> tuple[Offer, ...]:
    """Return the offers that the system would choose for each largest gap, as ours is asked."""
    found: list[Offer] = []
    for gap in GAPS:
        within = [one for one in front if one.gap is not None and one.gap <= gap]
        best = max(within, key=lambda one: one.score, default=None)
        if best is not None and not any(best is other for other in found):
            found.append(best)
    return tuple(found)
