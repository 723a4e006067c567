"""Tree-structured Parzen estimator by Optuna, constrained, multivariate, grouped.

Bergstra et al. 2011; Watanabe, arXiv 2304.11127 (constraints, multivariate kernels). ``group``
makes conditional spaces work, ``constant_liar`` concurrent trials. Optuna's own trial objects
never leave this file.
"""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import cast

import optuna

from fairautoml.search.proposal import flat, propose
from fairautoml.spaces import Integer, Range, Real, SearchSpace
from fairautoml.trials import Candidate, ParamValue, Status, Told

STARTUP_TRIALS = 12
"""Draws at random (and portfolio members) before the estimator takes over."""


class OptunaTPE:
    """Ask and tell over an in-memory Optuna study; one value to raise, n constraints.

    Parameters
    ----------
    space : SearchSpace
        What may be chosen.
    seed : int
        Seed of the sampler.
    first : sequence of Candidate
        Proposed first, in order.
    """

    def __init__(self, space: SearchSpace, seed: int, first: Sequence[Candidate]) -> None:
        self._space = space
        with warnings.catch_warnings():
            # "multivariate", "group" and "constant_liar" are marked experimental in Optuna 5.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                multivariate=True,
                group=True,
                constant_liar=True,
                n_startup_trials=STARTUP_TRIALS,
                seed=seed,
            )
        self._study = _quietly_created(sampler)
        self._open: defaultdict[str, list[optuna.Trial]] = defaultdict(list)
        for candidate in first:
            self._study.enqueue_trial(flat(candidate))

    def ask(self) -> Candidate:
        """Return the next candidate."""
        trial = self._study.ask()
        candidate = propose(self._space, lambda name, allowed: _suggest(trial, name, allowed))
        self._open[candidate.key].append(trial)
        return candidate

    def tell(self, told: Told) -> None:
        """Hand value and constraints to Optuna; a broken trial ends as FAIL, without a value."""
        asked = self._open.get(told.trial.candidate.key)
        if not asked:
            return
        trial = asked.pop(0)
        if told.status is not Status.SUCCESS or told.value is None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return
        # A trial without constraints counts as feasible, so all are always set, and only here.
        for at, violation in enumerate(told.violations):
            trial.set_constraint(f"constraint_{at}", violation)
        self._study.tell(trial, told.value)


def _quietly_created(sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(direction="maximize", sampler=sampler)
    finally:
        optuna.logging.set_verbosity(level)


def _suggest(trial: optuna.Trial, name: str, allowed: Range) -> ParamValue:
    if isinstance(allowed, Real):
        return trial.suggest_float(name, allowed.low, allowed.high, log=allowed.log)
    if isinstance(allowed, Integer):
        return trial.suggest_int(name, allowed.low, allowed.high, log=allowed.log)
    return cast(ParamValue, trial.suggest_categorical(name, list(allowed.values)))


STRATEGY = OptunaTPE
