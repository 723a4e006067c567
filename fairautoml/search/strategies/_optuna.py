"""Ask-and-tell interface to Optuna's samplers."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Literal, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FixedTrial
from optuna.trial import TrialState as OptunaTrialState

from fairautoml.records import Config, ParamValue, TrialResult, TrialState
from fairautoml.search.loop import propose
from fairautoml.search.space import Integer, Range, Real, SearchSpace, coordinates
from fairautoml.storage.study import quiet

PENALTY = 10.0
"""Loss per unit of a small violation; large enough that the constraints come first.

FLAML's own penalty (``metric_constraints``) is 1e10 until a trial is feasible, then starts at 1.
With a constant penalty, results from different times are comparable.
"""


def bounded(violation: float) -> float:
    """Map a violation monotonically to [-1, 1]: ``v / (1 + |v|)``."""
    if math.isinf(violation):
        return math.copysign(1.0, violation)
    return violation / (1.0 + abs(violation))


def penalised_loss(scored: TrialResult) -> float | None:
    """Return one minus the value plus ``PENALTY`` times the bounded constraint violations.

    Regression errors and their violations are in units of the target: if the absolute value is
    above 1, violations are divided and the penalty is multiplied by it.
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

Objectives = Callable[[float, TrialResult], Sequence[float]]
"""Computes the objective values for Optuna from value and result, one per direction."""


class StudyStrategy:
    """Ask-and-tell over one in-memory study with at least two objectives and constraints.

    Inactive parameters are sampled as well, for samplers that learn only from parameters that all
    trials have.
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
            study.enqueue_trial(config.flat())

    def ask(self) -> Config:
        """Return the next configuration."""
        trial = self._study.ask()

        def suggest(name: str, allowed: Range) -> ParamValue:
            return suggested(trial, name, allowed)

        config = propose(self._space, suggest)
        for name, allowed in self._resting.items():
            suggest(name, allowed)
        self._open[config.key].append(trial)
        return config

    def tell(self, scored: TrialResult) -> None:
        """Pass value and constraints to Optuna; a failed trial ends as FAIL without a value."""
        pending = self._open.get(scored.trial.config.key)
        if not pending:
            return
        trial = pending.pop(0)
        # Optuna treats a trial without constraints as feasible, so all of them are set.
        for name, violation in constraint_names(scored.violations).items():
            trial.set_constraint(name, violation)
        if scored.status is TrialState.SUCCESS and scored.value is not None:
            self._study.tell(trial, self._objectives(scored.value, scored))
        else:
            # Optuna cannot prune with several objectives.
            self._study.tell(trial, state=OptunaTrialState.FAIL)


def constraint_names(violations: Sequence[float]) -> dict[str, float]:
    """Return the violations under Optuna's names."""
    return {f"constraint_{at}": violation for at, violation in enumerate(violations)}


def value_only(value: float, scored: TrialResult) -> Sequence[float]:
    """Return the value as the only objective."""
    del scored
    return (value,)


def value_and_violation(value: float, scored: TrialResult) -> Sequence[float]:
    """Return the value, to maximize, and the worst violation in [-1, 1], to minimize."""
    return value, max(map(bounded, scored.violations), default=-1.0)


def new_study(sampler: optuna.samplers.BaseSampler, *directions: Direction) -> optuna.Study:
    """Return an empty in-memory study, without Optuna's log message."""
    with quiet():
        return optuna.create_study(directions=list(directions), sampler=sampler)


def suggested(trial: optuna.Trial | FixedTrial, name: str, allowed: Range) -> ParamValue:
    """Return the value of a parameter that an Optuna trial has or draws."""
    if isinstance(allowed, Real):
        # NSGA-II returns np.float64 next to an upper bound, which changes the configuration key.
        return float(trial.suggest_float(name, allowed.low, allowed.high, log=allowed.log))
    if isinstance(allowed, Integer):
        return trial.suggest_int(name, allowed.low, allowed.high, log=allowed.log)
    return cast(ParamValue, trial.suggest_categorical(name, list(allowed.values)))


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return Optuna's distributions of all parameters with more than one value."""
    found: dict[str, BaseDistribution] = {}
    for name, allowed in coordinates(space).items():
        trial = FixedTrial({name: allowed.default})
        suggested(trial, name, allowed)
        found |= trial.distributions
    return found
