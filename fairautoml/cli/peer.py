"""Run another system on a table: ``python -m fairautoml.cli.peer NAME DATA ...``.

The command takes the arguments of ``fairautoml fit`` and prints the same JSON. Arguments that a
system does not support (strategies, mitigators) are ignored.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from joblib import cpu_count
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from fairautoml.bench.peers import Answer, Offer, Peers, Question
from fairautoml.cli._base import NOT_FEASIBLE, OK, USAGE, fit_arguments
from fairautoml.cli.tables import Source, fit_estimator_of, request_of
from fairautoml.cli.text import GAPS
from fairautoml.data.read import build_dataset
from fairautoml.exceptions import FairAutoMLError, ParameterError
from fairautoml.plan import read_options_of
from fairautoml.settings import ALL_CORES
from fairautoml.threads import threads


def at_gaps(front: Sequence[Offer]) -> tuple[Offer, ...]:
    """Return the best offer within each of the gaps at which this library is evaluated."""
    found: list[Offer] = []
    for gap in GAPS:
        within = [one for one in front if one.gap is not None and one.gap <= gap]
        best = max(within, key=lambda one: one.score, default=None)
        if best is not None and not any(best is other for other in found):
            found.append(best)
    return tuple(found)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a system, evaluate its model on the held-out rows, and print the result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m fairautoml.cli.peer")
    parser.add_argument("system", help="name of the system")
    parser.add_argument(
        "--peers", action="append", type=Path, default=[], help="folder of systems"
    )
    fit_arguments(parser)
    arguments = parser.parse_args(argv)
    try:
        cores = cpu_count() if arguments.jobs == ALL_CORES else arguments.jobs
        with redirect_stdout(sys.stderr), threadpool_limits(cores), threads(cores):
            result = ask(arguments, cores)
    except FairAutoMLError as error:
        sys.stderr.write(f"{parser.prog}: error: {error}\n")
        return USAGE
    sys.stdout.write(json.dumps(result, allow_nan=False) + "\n")
    return OK if result["status"] == "feasible" else NOT_FEASIBLE


def ask(arguments: argparse.Namespace, n_jobs: int) -> dict[str, Any]:
    """Return the result of a system in the format of ``fairautoml fit --json``."""
    peer = Peers(arguments.peers).get(arguments.system)
    # Nothing is certified on the held-out rows, so the seed draws them.
    model, request = fit_estimator_of(arguments), replace(request_of(arguments), certified=False)
    settings = model.check_parameters()
    tables = request.open()
    source, groups = tables.search, list(tables.search.groups.columns)
    if not settings.constraints or not set(groups) <= set(source.X.columns):
        raise ParameterError(
            f"system {arguments.system!r} needs --constraint, and --sensitive columns not dropped"
        )
    if source.weight is not None:
        raise ParameterError(f"system {arguments.system!r} takes no --weight; leave it out")
    options = read_options_of(replace(settings, pos_label=tables.positive))
    start = time.monotonic()
    dataset = build_dataset(source.X, source.y, source.sensitive, options=options)
    if dataset.groups is None:
        raise ParameterError("--sensitive is missing: a constraint needs the groups' column")
    question = Question(
        X=source.X,
        y=dataset.y,
        groups=dataset.groups,
        constraints=settings.constraints,
        seconds=settings.time_budget,
        n_trials=settings.n_trials,
        seed=settings.seed,
        n_jobs=n_jobs,
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
            "constant": len(np.unique(chosen.decide(source.X))) < 2,
            "needs_sensitive": peer.reads_groups,
            "randomized": peer.randomized,
        },
    }
    if tables.held is not None:
        result |= _held_out(question, tables.held, dataset.classes[1], answer)
    return result


def _status(offer: Offer) -> str:
    return "feasible" if offer.feasible else "infeasible"


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


def _held_out(question: Question, held: Source, positive: Any, answer: Answer) -> dict[str, Any]:
    """Return the results of the answer, of the offer with our margin, and of the front."""
    y = (held.y == positive).to_numpy(dtype=np.int8)

    def judged(offer: Offer) -> dict[str, Any]:
        return question.judge(held.X, y, offer.decide(held.X))

    found: dict[str, Any] = {"holdout": judged(answer.chosen)}
    if answer.margin is None:
        found["margin"] = {"reason": answer.no_offers}
    else:
        other = answer.margin()
        other = answer.chosen if other is None else other
        found["margin"] = {
            "score": other.score,
            "gap": other.gap,
            "status": _status(other),
            "holdout": judged(other),
        }
    if answer.offers:
        front = [judged(one) for one in at_gaps(answer.front)]
        found["holdout_front"] = [[one["accuracy"], one["gap"]] for one in front]
    return found


if __name__ == "__main__":
    sys.exit(main())
