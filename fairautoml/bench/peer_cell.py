"""Run another system on a table: ``python -m fairautoml.bench.peer_cell NAME DATA ...``.

The command takes the arguments of ``fairautoml fit`` and prints the same JSON. Arguments that a
system does not support (strategies, mitigators) are ignored.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from fairautoml.bench.peers import Answer, Decide, Offer, Peers, Question
from fairautoml.bench.ranks import LARGEST_GAP
from fairautoml.cli.arguments import fit_arguments
from fairautoml.cli.tables import Source, fit_estimator_of, request_of
from fairautoml.cli.text import GAPS
from fairautoml.data.groups import GroupSchema
from fairautoml.data.read import build_dataset
from fairautoml.evaluation.judge import judge
from fairautoml.exceptions import FairAutoMLError, ParameterError
from fairautoml.plan import read_options_of
from fairautoml.selection.ensemble import choose
from fairautoml.selection.margin import DRAWS, BoundProbability


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """Decisions on the validation rows of a system."""

    # labels 0 or 1, finest groups (-1 = unknown), decisions 0 or 1
    y: NDArray[np.integer]  # shape (n_rows,)
    cells: NDArray[np.integer]  # shape (n_rows,)
    decisions: NDArray[np.integer]  # shape (n_rows,)


def offer(
    question: Question, seen: Seen, decide: Decide, *, learner: str, seconds: float
) -> Offer:
    """Return a model with its scores on the validation rows of the system."""
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
    """Return the rows by finest group, label and decision, shape (n_cells, 2, 2)."""
    known = seen.cells >= 0
    counts = np.zeros((question.groups.n_cells, 2, 2))
    np.add.at(counts, (seen.cells[known], seen.y[known], seen.decisions[known]), 1.0)
    return counts


def answered(offers: Sequence[Offer], *, n_trials: int) -> Answer:
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
    )


def with_margin(question: Question, answer: Answer) -> Offer:
    """Return the offer that this library would select with its default margin.

    If no offer meets the constraints, return the answer of the system.
    """
    feasible = [one for one in answer.offers if one.feasible and one.counts is not None]
    if not feasible:
        return answer.chosen
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


def _chance(one: Offer, noise: NDArray[np.float64], question: Question) -> float:
    counts = np.zeros((question.groups.n_cells, 2, 2)) if one.counts is None else one.counts
    # The noise of these rows and of as many new rows is that of half the rows.
    return BoundProbability.of_rows(counts.sum(axis=2) / 2.0, noise, question.targets).met(counts)


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


def at_gaps(front: Sequence[Offer]) -> tuple[Offer, ...]:
    """Return the best offer within each of the gaps at which this library is evaluated."""
    found: list[Offer] = []
    for gap in GAPS:
        within = [one for one in front if one.gap is not None and one.gap <= gap]
        best = max(within, key=lambda one: one.score, default=None)
        if best is not None and not any(best is other for other in found):
            found.append(best)
    return tuple(found)


OK, WRONG, NOT_FEASIBLE = 0, 2, 4


def main(argv: Sequence[str] | None = None) -> int:
    """Run a system, evaluate its model on the held-out rows, and print the result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m fairautoml.bench.peer_cell")
    parser.add_argument("system", help="name of the system")
    parser.add_argument(
        "--peers", action="append", type=Path, default=[], help="folder of systems"
    )
    fit_arguments(parser)
    arguments = parser.parse_args(argv)
    try:
        with redirect_stdout(sys.stderr), threadpool_limits(1):
            result = ask(arguments)
    except FairAutoMLError as error:
        sys.stderr.write(f"{parser.prog}: error: {error}\n")
        return WRONG
    sys.stdout.write(json.dumps(result, allow_nan=False) + "\n")
    return OK if result["status"] == "feasible" else NOT_FEASIBLE


def ask(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the result of a system in the format of ``fairautoml fit --json``."""
    peer = Peers(arguments.peers).get(arguments.system)
    model, request = fit_estimator_of(arguments), request_of(arguments)
    settings = model.check_parameters()
    tables = request.open()
    source, groups = tables.search, list(tables.search.groups.columns)
    if not settings.constraints or not set(groups) <= set(source.X.columns):
        msg = (
            f"system {arguments.system!r} needs --constraint, and --sensitive columns not dropped"
        )
        raise ParameterError(msg)
    if source.weight is not None:
        raise ParameterError(f"system {arguments.system!r} takes no --weight; leave it out")
    options = read_options_of(replace(settings, pos_label=tables.positive))
    start = time.monotonic()
    dataset = build_dataset(source.X, source.y, source.sensitive, options=options)
    question = Question(
        X=source.X,
        y=dataset.y,
        groups=_known(dataset.groups),
        constraints=settings.constraints,
        seconds=settings.time_budget,
        n_trials=settings.n_trials,
        seed=settings.seed,
        blind=arguments.blind,
    )
    peer.check(arguments.system, settings.constraints, blind=arguments.blind)
    answer = peer.ask(question)
    chosen = answer.chosen
    result = {
        "dataset": request.data,
        "system": arguments.system,
        "constraint": arguments.constraint,
        "seed": settings.seed,
        "status": _status(chosen),
        "claims": peer.constrained,
        "search": _search(answer, time.monotonic() - start, settings.time_budget),
        "entry": {
            "learner": chosen.learner,
            "constant": _constant(chosen, source),
            "needs_sensitive": peer.reads_groups,
            "randomized": peer.randomized,
        },
    }
    if tables.held is not None:
        judged = _Judged(question=question, held=tables.held, positive=dataset.classes[1])
        result |= judged.all_of(answer)
    return result


def _status(offer: Offer) -> str:
    return "feasible" if offer.feasible else "no_feasible"


def _search(answer: Answer, seconds: float, budget: float | None) -> dict[str, Any]:
    chosen = answer.chosen
    return {
        "n_trials": answer.n_trials,
        "n_feasible": answer.n_feasible,
        "time_budget": budget,
        "seconds": round(seconds if answer.seconds is None else answer.seconds, 3),
        "seconds_to_best": round(chosen.seconds, 3),
        "score": chosen.score,
        "gap": chosen.gap,
    }


def _known(groups: GroupSchema | None) -> GroupSchema:
    if groups is None:
        raise ParameterError("--sensitive is missing: a constraint needs the groups' column")
    return groups


def _constant(chosen: Offer, source: Source) -> bool:
    return len(np.unique(chosen.decide(source.X))) < 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Judged:
    """Held-out rows, read after the system has answered."""

    question: Question
    held: Source
    positive: Any

    def all_of(self, answer: Answer) -> dict[str, Any]:
        """Return the results of the answer, of the offer with our margin, and of the front."""
        found: dict[str, Any] = {"holdout": self.one(answer.chosen)}
        if answer.offers:
            other = with_margin(self.question, answer)
            found["margin"] = {
                "score": other.score,
                "gap": other.gap,
                "status": _status(other),
                "holdout": self.one(other),
            }
        else:
            found["margin"] = {"reason": answer.no_offers}
        if answer.offers:
            front = [self.one(one) for one in at_gaps(answer.front)]
            found["holdout_front"] = [[one["accuracy"], one["gap"]] for one in front]
        return found

    def one(self, offer: Offer) -> dict[str, Any]:
        """Return the results of a model on the rows."""
        y = (self.held.y == self.positive).to_numpy(dtype=np.int8)
        return self.question.judge(self.held.X, y, offer.decide(self.held.X))


if __name__ == "__main__":
    sys.exit(main())
