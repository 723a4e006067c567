"""FLAML with ``metric_constraints``; the best model of its log that meets the constraints."""

from functools import partial

import numpy as np

from fairautoml.bench.peers import Answer, Offer, Peer, Question
from peers._flaml import Logged, Searched, decider, search
from peers._offers import Candidate, Seen, counted, front_of, with_margin


def ask(question: Question) -> Answer:
    """Return the best model of FLAML's log that meets the constraints, trained once more.

    It is trained on the rows that it was logged with, as another model would have another gap;
    that is not in the budget. Without a feasible one it is the model that FLAML returns.
    """
    found = search(question, constrained=True)
    best = min(found.lines, key=lambda line: (not line.feasible, line.loss))
    offers = tuple(_offer(found, line) for line in found.lines)
    at = found.lines.index(best)
    chosen = offers[at] if best.feasible else _served(found, best)
    return Answer(
        chosen=chosen,
        n_trials=len(found.lines),
        n_feasible=sum(line.feasible for line in found.lines),
        offers=offers,
        front=front_of(offers),
        margin=partial(with_margin, found.question, offers),
    )


def _served(found: Searched, line: Logged) -> Offer:
    return Offer(
        decide=decider(lambda: found.model),
        learner=line.learner,
        score=1.0 - line.loss,
        gap=line.gap,
        feasible=line.feasible,
        seconds=line.seconds,
    )


def _offer(found: Searched, line: Logged) -> Candidate:
    """Return a line of the log; the claim is FLAML's own, the counts are of all its folds."""
    rows = found.trials[line.trial]
    seen = Seen(
        y=np.concatenate(rows.y),
        cells=np.concatenate(rows.cells),
        decisions=np.concatenate(rows.decisions),
    )
    return Candidate(
        decide=decider(lambda: found.model_of(line)),
        learner=line.learner,
        score=1.0 - line.loss,
        gap=line.gap,
        feasible=line.feasible,
        seconds=line.seconds,
        counts=counted(found.question, seen),
    )


PEER = Peer(about="FLAML with metric_constraints, the best feasible one", ask=ask)
