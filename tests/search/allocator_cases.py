"""Trials and results that the tests of allocators tell of."""

from dataclasses import replace
from itertools import count

from fairautoml.records import (
    Config,
    Fidelity,
    MitigationOption,
    Origin,
    Terms,
    Trial,
    TrialResult,
    TrialState,
)

FULL = Fidelity(folds=1)
"""Of a single fold nothing is screened: every trial is full."""


def terms(*ratios, n_train_rows=1000, fidelity=FULL):
    costly = tuple(
        MitigationOption(name=f"costly{at}", ratio=ratio) for at, ratio in enumerate(ratios)
    )
    return Terms(fidelity=fidelity, n_train_rows=n_train_rows, mitigations=costly)


class Asking:
    """A strategy that always has one more candidate, or up to a limit."""

    def __init__(self, limit=None):
        self.requested = 0
        self._turns = count() if limit is None else iter(range(limit))

    def __call__(self):
        turn = next(self._turns, None)
        if turn is None:
            return None
        self.requested += 1
        return Config(learner="fake", params={"turn": turn})


def scored(
    trial,
    *,
    loss=0.2,
    gap=0.01,
    seconds=1.0,
    status=TrialState.SUCCESS,
    plain_loss=None,
    plain_gap=0.01,
):
    done = status is TrialState.SUCCESS
    return TrialResult(
        trial=trial,
        status=status,
        value=1 - loss if done else None,
        violations=(gap,),
        seconds=seconds,
        plain_value=None if plain_loss is None else 1 - plain_loss,
        plain_violations=() if plain_loss is None else (plain_gap,),
    )


def plain(number, *, fraction=1.0):
    return Trial(
        number=number,
        config=Config(learner="fake", params={"turn": number}),
        fidelity=replace(FULL, rows=fraction),
        origin=Origin.SEARCH,
    )
