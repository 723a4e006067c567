"""FLAML, then this library's exact threshold program on its validation scores.

The rules are fitted by the program behind ``group_thresholds`` on the labels as they are; the
search is FLAML's, one model is served, and its rows are those that FLAML set aside.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.bench.peers import Answer, Peer, Question
from fairautoml.evaluation.problem import tolerance_grid
from fairautoml.mitigators import Goal, ScoreRows
from fairautoml.mitigators._group_program import build_problem
from fairautoml.records import Rule
from peers._flaml import search
from peers._offers import Candidate, Seen, answered, offer
from peers._scored import ScoredModel, scored_best

HALF = 0.5
FINE = 13
"""Tolerances up to the limit that the margin may choose from."""


def ask(question: Question) -> Answer:
    """Return the best threshold rule on FLAML's most accurate model."""
    found = search(question, constrained=False)
    best = scored_best(found)
    rows = ScoreRows(
        scores=best.scores.astype(np.float32),
        y=best.y,
        weight=np.ones(len(best.y)),
        cells=best.cells.astype(np.int32),
        n_cells=question.groups.n_cells,
    )
    limit = question.targets[0].limit
    tolerances = sorted({*tolerance_grid(question.targets), *np.linspace(0.0, limit, FINE)})
    problem = build_problem(rows, Goal(targets=question.targets))
    rules = problem.rules(rows, tolerances, randomized=False)
    offers = [_offer(question, best, rule) for _, rule in rules if rule is not None]
    return answered(question, offers, n_trials=len(found.lines))


def _offer(question: Question, best: ScoredModel, rule: Rule) -> Candidate:
    def decided(scores: NDArray[np.floating], cells: NDArray[np.integer]) -> NDArray[np.int8]:
        # As the rule was fitted: on scores of single precision.
        accepted = rule.decide(scores.astype(np.float32), cells)
        return (np.asarray(accepted) > HALF).astype(np.int8)

    def decide(X: pd.DataFrame) -> NDArray[np.integer]:
        return decided(best.score(X), question.cells_of(X))

    seen = Seen(y=best.y, cells=best.cells, decisions=decided(best.scores, best.cells))
    return offer(question, seen, decide, learner=best.learner, seconds=best.seconds)


PEER = Peer(about="FLAML, then this library's exact threshold program", ask=ask, reads_groups=True)
