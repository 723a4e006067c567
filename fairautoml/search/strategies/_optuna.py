"""What all strategies over an Optuna study share: how Optuna is asked and told."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, cast

import optuna
from optuna.trial import FixedTrial, TrialState

from fairautoml.search.proposal import flat, propose
from fairautoml.search.strategies._coordinates import coordinates
from fairautoml.search.strategies._signal import worst_violation
from fairautoml.spaces import Integer, Range, Real, SearchSpace
from fairautoml.trials import Candidate, ParamValue, Status, Told

Direction = Literal["maximize", "minimize"]

Objectives = Callable[[float, Told], Sequence[float]]
"""Value and result to the numbers that Optuna is told, one per direction."""


class StudyStrategy:
    """Ask and tell over a single in-memory study of at least two objectives with constraints.

    Optuna is asked for the parameters that are absent from a candidate as well: for samplers that
    learn only of parameters that all trials have. Such samplers count generations, and their cost
    does not grow.
    """

    def __init__(
        self,
        space: SearchSpace,
        first: Sequence[Candidate],
        study: optuna.Study,
        *,
        objectives: Objectives,
    ) -> None:
        self._space = space
        self._study = study
        self._objectives = objectives
        self._resting = coordinates(space)
        self._open: defaultdict[str, list[optuna.Trial]] = defaultdict(list)
        for candidate in first:
            study.enqueue_trial(flat(candidate))

    def ask(self) -> Candidate:
        """Return the next candidate."""
        trial = self._study.ask()

        def suggest(name: str, allowed: Range) -> ParamValue:
            return suggested(trial, name, allowed)

        candidate = propose(self._space, suggest)
        for name, allowed in self._resting.items():
            suggest(name, allowed)
        self._open[candidate.key].append(trial)
        return candidate

    def tell(self, told: Told) -> None:
        """Hand value and constraints to Optuna; a broken trial ends as FAIL, without a value."""
        asked = self._open.get(told.trial.candidate.key)
        if not asked:
            return
        trial = asked.pop(0)
        # A trial without constraints counts as feasible, so all are always set, and only here.
        for name, violation in constraint_names(told.violations).items():
            trial.set_constraint(name, violation)
        if told.status is Status.SUCCESS and told.value is not None:
            self._study.tell(trial, self._objectives(told.value, told))
        else:
            # Optuna cannot prune with several objectives.
            self._study.tell(trial, state=TrialState.FAIL)


def constraint_names(violations: Sequence[float]) -> dict[str, float]:
    """Return the violations under the names that Optuna has for them."""
    return {f"constraint_{at}": violation for at, violation in enumerate(violations)}


def value_only(value: float, told: Told) -> Sequence[float]:
    """Tell the value alone."""
    del told
    return (value,)


def value_and_violation(value: float, told: Told) -> Sequence[float]:
    """Tell the value, to be raised, and the worst violation, to be lowered."""
    return value, worst_violation(told)


def new_study(sampler: optuna.samplers.BaseSampler, *directions: Direction) -> optuna.Study:
    """Return an empty study in memory, without a word on the screen."""
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


def suggested(trial: optuna.Trial | FixedTrial, name: str, allowed: Range) -> ParamValue:
    """Return the value that a trial of Optuna has, or draws, for a parameter."""
    if isinstance(allowed, Real):
        # NSGA-II hands out np.float64 next to an upper bound, which is another candidate.
        return float(trial.suggest_float(name, allowed.low, allowed.high, log=allowed.log))
    if isinstance(allowed, Integer):
        return trial.suggest_int(name, allowed.low, allowed.high, log=allowed.log)
    return cast(ParamValue, trial.suggest_categorical(name, list(allowed.values)))
