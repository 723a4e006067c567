"""What all strategies over an Optuna study share; Optuna's trial objects never leave this file."""

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, cast

import optuna

from fairautoml.search.proposal import flat, propose
from fairautoml.search.strategies._coordinates import coordinates
from fairautoml.search.strategies._signal import worst_violation
from fairautoml.spaces import Integer, Range, Real, SearchSpace
from fairautoml.trials import Candidate, ParamValue, Status, Told

STARTUP_TRIALS = 12
"""Draws at random (and portfolio members) before the Parzen estimator takes over."""

Objectives = Callable[[float, Told], Sequence[float]]
"""Value and result to the numbers that Optuna is told, one per direction."""


class StudyStrategy:
    """Ask and tell over an in-memory Optuna study with constraints.

    Parameters
    ----------
    space : SearchSpace
        What may be chosen.
    first : sequence of Candidate
        Proposed first, in order.
    study : optuna.Study
        A fresh study.
    objectives : callable
        What a successful trial is told as.
    every_name : bool
        Whether Optuna is asked for the parameters that are absent from a candidate as well; for
        samplers that learn only of parameters that all trials have.
    """

    def __init__(
        self,
        space: SearchSpace,
        first: Sequence[Candidate],
        study: optuna.Study,
        *,
        objectives: Objectives,
        every_name: bool = False,
    ) -> None:
        self._space = space
        self._study = study
        self._objectives = objectives
        self._resting = coordinates(space) if every_name else {}
        self._open: defaultdict[str, list[optuna.Trial]] = defaultdict(list)
        for candidate in first:
            self._study.enqueue_trial(flat(candidate))

    def ask(self) -> Candidate:
        """Return the next candidate."""
        trial = self._study.ask()
        candidate = propose(self._space, lambda name, allowed: _suggest(trial, name, allowed))
        for name, allowed in self._resting.items():
            _suggest(trial, name, allowed)
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
        self._study.tell(trial, self._objectives(told.value, told))


def value_only(value: float, told: Told) -> Sequence[float]:
    """Tell the value alone."""
    del told
    return (value,)


def value_and_violation(value: float, told: Told) -> Sequence[float]:
    """Tell the value, to be raised, and the worst violation, to be lowered."""
    return value, worst_violation(told)


def parzen(seed: int) -> optuna.samplers.TPESampler:
    """Return the estimator for conditional spaces and concurrent trials.

    Parameters
    ----------
    seed : int
        Seed of its draws.
    """
    with warnings.catch_warnings():
        # "multivariate", "group" and "constant_liar" are marked experimental in Optuna 5.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            multivariate=True,
            group=True,
            constant_liar=True,
            n_startup_trials=STARTUP_TRIALS,
            seed=seed,
        )


def new_study(
    sampler: optuna.samplers.BaseSampler, *directions: Literal["maximize", "minimize"]
) -> optuna.Study:
    """Return an empty study in memory, without a word on the screen.

    Parameters
    ----------
    sampler : optuna.samplers.BaseSampler
        Who proposes.
    *directions : str
        ``"maximize"`` or ``"minimize"``, one per objective.
    """
    with quiet():
        return optuna.create_study(directions=list(directions), sampler=sampler)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from announcing a new study; its log level is put back."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


def _suggest(trial: optuna.Trial, name: str, allowed: Range) -> ParamValue:
    if isinstance(allowed, Real):
        # NSGA-II hands out np.float64 next to an upper bound, which is another candidate.
        return float(trial.suggest_float(name, allowed.low, allowed.high, log=allowed.log))
    if isinstance(allowed, Integer):
        return trial.suggest_int(name, allowed.low, allowed.high, log=allowed.log)
    return cast(ParamValue, trial.suggest_categorical(name, list(allowed.values)))
