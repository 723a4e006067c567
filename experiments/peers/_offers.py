"""Candidates of another system: how they are judged, and which of them is selected."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.bench.peers import Answer, Decide, Offer, Question
from fairautoml.bench.tables import LARGEST_GAP
from fairautoml.evaluation.judge import judge
from fairautoml.metrics import BoundConstraint
from fairautoml.selection.choice import choose
from fairautoml.selection.margin import (
    DRAWS,
    BoundProbability,
    TargetNoise,
    drawn_groups,
    noise_by_label,
)

PARITY_OR_ODDS = frozenset({"demographic_parity_difference", "equalized_odds_difference"})
"""Fairness metrics that most systems support."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """Decisions on the validation rows of a system."""

    # labels 0 or 1, finest groups (-1 = unknown), decisions 0 or 1
    y: NDArray[np.integer]  # shape (n_rows,)
    cells: NDArray[np.integer]  # shape (n_rows,)
    decisions: NDArray[np.integer]  # shape (n_rows,)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate(Offer):
    """A model whose decisions on the validation rows are known."""

    # validation rows by finest group, label and decision
    counts: NDArray[np.float64]  # shape (n_cells, 2, 2)


def offer(
    question: Question, seen: Seen, decide: Decide, *, learner: str, seconds: float
) -> Candidate:
    """Return a model with its scores on the validation rows of the system."""
    found = judge(
        seen.y,
        seen.decisions,
        seen.cells,
        groups=question.groups,
        constraints=question.constraints,
    )
    return Candidate(
        decide=decide,
        learner=learner,
        score=found["accuracy"],
        gap=found["gap"],
        feasible=found["excess"] is not None and found["excess"] <= 0,
        seconds=seconds,
        counts=counted(question, seen),
    )


def counted(question: Question, seen: Seen) -> NDArray[np.float64]:
    """Return the rows by finest group, label and decision, shape (n_cells, 2, 2)."""
    known = seen.cells >= 0
    counts = np.zeros((question.groups.n_cells, 2, 2))
    np.add.at(counts, (seen.cells[known], seen.y[known], seen.decisions[known]), 1.0)
    return counts


def answered(question: Question, offers: Sequence[Candidate], *, n_trials: int) -> Answer:
    """Return the answer that selects the best feasible offer, else the one of the smallest gap."""
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
        margin=partial(with_margin, question, offers),
    )


def with_margin(question: Question, offers: Sequence[Candidate]) -> Offer | None:
    """Return the offer that this library would select with its default margin.

    None if no offer meets the constraints.
    """
    feasible = [one for one in offers if one.feasible]
    if not feasible:
        return None
    rng = np.random.default_rng([question.seed, DRAWS])
    noise = rng.standard_normal((DRAWS, question.groups.n_cells, 3))
    chances = [_chance(one, noise, question) for one in feasible]
    labels = np.bincount(question.y, minlength=2)
    # ``choose`` reads its candidates through these two functions only, so positions suffice.
    positions: Any = range(len(feasible))
    chance: Any = chances.__getitem__
    worth: Any = [one.score for one in feasible].__getitem__
    fallback = float(labels.max() / labels.sum())
    at: Any = choose(positions, "auto", chance=chance, worth=worth, fallback=fallback)
    found: Offer = feasible[at]
    return found


def _chance(one: Candidate, noise: NDArray[np.float64], question: Question) -> float:
    # The noise of these rows and of as many new rows is that of half the rows.
    half = one.counts.sum(axis=2) / 2.0
    return draws_of_rows(half, noise, question.targets).met(one.counts)


def draws_of_rows(
    n_rows: NDArray[np.float64], noise: NDArray[np.float64], targets: Sequence[BoundConstraint]
) -> BoundProbability:
    """Return the draws for independent rows that all weigh the same."""
    found = []
    for target in targets:
        member = drawn_groups(target.system)
        rows = member.astype(np.float64) @ n_rows
        found.append(
            TargetNoise(
                target=target,
                n_rows=np.column_stack([rows.sum(axis=1), rows]),
                noise=noise_by_label(member, n_rows, noise),
            )
        )
    return BoundProbability(tuple(found))


def front_of(offers: Sequence[Offer]) -> tuple[Offer, ...]:
    """Return the offers that are not dominated in accuracy and gap."""
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
