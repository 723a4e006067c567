"""Another system on a table: ``python -m fairautoml.bench.peer_cell NAME DATA ...``.

It takes the arguments of ``fairautoml fit`` and prints the same JSON; what a system does not know
(strategies, mitigators) it does not read.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from fairautoml.bench.choosing import at_gaps, with_margin
from fairautoml.bench.peers import Answer, Offer, Peers, Question
from fairautoml.console.arguments import fit_arguments
from fairautoml.console.asked import fit_estimator_of, request_of
from fairautoml.console.sources import Source
from fairautoml.data.border import build_dataset
from fairautoml.data.groups import GroupSchema
from fairautoml.exceptions import FairAutoMLError, ParameterError
from fairautoml.posing.setting import border_options

OK, WRONG, NOT_FEASIBLE = 0, 2, 4


def main(argv: Sequence[str] | None = None) -> int:
    """Ask a system, judge its model on the held-out rows, print the result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m fairautoml.bench.peer_cell")
    parser.add_argument("system", help="who is asked")
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
    """Return the result of a system in the words of ``fairautoml fit --json``."""
    peer = Peers(arguments.peers).get(arguments.system)
    model, request = fit_estimator_of(arguments), request_of(arguments)
    wishes = model.check_parameters()
    tables = request.open()
    source, groups = tables.search, list(tables.search.groups.columns)
    if not wishes.constraints or not set(groups) <= set(source.X.columns):
        msg = (
            f"system {arguments.system!r} needs --constraint, and --sensitive columns not dropped"
        )
        raise ParameterError(msg)
    if source.weight is not None:
        raise ParameterError(f"system {arguments.system!r} takes no --weight; leave it out")
    model.set_params(pos_label=tables.positive)
    start = time.monotonic()
    dataset = build_dataset(source.X, source.y, source.sensitive, options=border_options(model))
    question = Question(
        X=source.X,
        y=dataset.y,
        groups=_known(dataset.groups),
        constraints=wishes.constraints,
        seconds=wishes.time_budget,
        n_trials=wishes.n_trials,
        seed=wishes.seed,
        blind=arguments.blind,
    )
    peer.check(arguments.system, wishes.constraints, blind=arguments.blind)
    answer = peer.ask(question)
    chosen = answer.chosen
    result = {
        "dataset": request.data,
        "system": arguments.system,
        "constraint": arguments.constraint,
        "seed": wishes.seed,
        "status": _status(chosen),
        "claims": peer.constrained,
        "search": _search(answer, time.monotonic() - start, wishes.time_budget),
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
    """Held-out rows, opened when the system has answered."""

    question: Question
    held: Source
    positive: Any

    def all_of(self, answer: Answer) -> dict[str, Any]:
        """Return what the answer, the one with our margin, and the front are worth here."""
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
        """Return what a model is worth on the rows."""
        y = (self.held.y == self.positive).to_numpy(dtype=np.int8)
        return self.question.judge(self.held.X, y, offer.decide(self.held.X))


if __name__ == "__main__":
    sys.exit(main())
