"""Another system for the bench: the majority class for everyone."""

import numpy as np

from fairautoml.bench.peers import Answer, Offer, Peer


def _ask(question):
    label = int(question.y.mean() > 0.5)

    def decide(X):
        return np.full(len(X), label, dtype=np.int8)

    found = question.judge(question.X, question.y, decide(question.X))
    chosen = Offer(
        decide=decide,
        learner="majority",
        score=found["accuracy"],
        gap=found["gap"],
        feasible=found["excess"] is not None and found["excess"] <= 0,
        seconds=0.0,
    )
    return Answer(chosen=chosen, n_trials=1, n_feasible=int(chosen.feasible))


PEER = Peer(about="the majority class", ask=_ask, blind=True)
