"""Ask and tell around Optuna's samplers."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, cast

import optuna
from optuna.trial import FixedTrial
from optuna.trial import TrialState as OptunaTrialState

from fairautoml.records import Config, ParamValue, ScoredTrial, TrialState
from fairautoml.search.loop import flat, propose
from fairautoml.search.space import Integer, Range, Real, SearchSpace
from fairautoml.search.strategies._admm import coordinates

PENALTY = 10.0
"""Loss per unit of a small violation; steep enough that the constraints come first.

FLAML's own penalty (``metric_constraints``) is 1e10 until something is feasible, then starts at 1.
A constant keeps results comparable that were told at different times.
"""


def bounded(violation: float) -> float:
    """Squeeze a violation into [-1, 1], in the same order: ``v / (1 + |v|)``."""
    if math.isinf(violation):
        return math.copysign(1.0, violation)
    return violation / (1.0 + abs(violation))


def worst_violation(scored: ScoredTrial) -> float:
    """Return the largest violation, squeezed into [-1, 1]; -1 without constraints."""
    return max(map(bounded, scored.violations), default=-1.0)


def penalised_loss(scored: ScoredTrial) -> float | None:
    """Return one minus the value, plus ``PENALTY`` times what the constraints are missed by.

    Errors of numbers, and violations of what bounds them, are in units of the target: where the
    value is beyond 1, it is the unit of both.
    """
    if (
        scored.status is not TrialState.SUCCESS
        or scored.value is None
        or not math.isfinite(scored.value)
    ):
        return None
    unit = max(1.0, abs(scored.value))
    missed = sum(max(bounded(violation / unit), 0.0) for violation in scored.violations)
    return 1.0 - scored.value + PENALTY * unit * missed


Direction = Literal["maximize", "minimize"]

Objectives = Callable[[float, ScoredTrial], Sequence[float]]
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
        first: Sequence[Config],
        study: optuna.Study,
        *,
        objectives: Objectives,
    ) -> None:
        self._space = space
        self._study = study
        self._objectives = objectives
        self._resting = coordinates(space)
        self._open: defaultdict[str, list[optuna.Trial]] = defaultdict(list)
        for config in first:
            study.enqueue_trial(flat(config))

    def ask(self) -> Config:
        """Return the next candidate."""
        trial = self._study.ask()

        def suggest(name: str, allowed: Range) -> ParamValue:
            return suggested(trial, name, allowed)

        config = propose(self._space, suggest)
        for name, allowed in self._resting.items():
            suggest(name, allowed)
        self._open[config.key].append(trial)
        return config

    def tell(self, scored: ScoredTrial) -> None:
        """Hand value and constraints to Optuna; a broken trial ends as FAIL, without a value."""
        pending = self._open.get(scored.trial.config.key)
        if not pending:
            return
        trial = pending.pop(0)
        # A trial without constraints counts as feasible, so all are always set, and only here.
        for name, violation in constraint_names(scored.violations).items():
            trial.set_constraint(name, violation)
        if scored.status is TrialState.SUCCESS and scored.value is not None:
            self._study.tell(trial, self._objectives(scored.value, scored))
        else:
            # Optuna cannot prune with several objectives.
            self._study.tell(trial, state=OptunaTrialState.FAIL)


def constraint_names(violations: Sequence[float]) -> dict[str, float]:
    """Return the violations under the names that Optuna has for them."""
    return {f"constraint_{at}": violation for at, violation in enumerate(violations)}


def value_only(value: float, scored: ScoredTrial) -> Sequence[float]:
    """Tell the value alone."""
    del scored
    return (value,)


def value_and_violation(value: float, scored: ScoredTrial) -> Sequence[float]:
    """Tell the value, to be raised, and the worst violation, to be lowered."""
    return value, worst_violation(scored)


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
