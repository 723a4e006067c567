"""Validate the parameters that do not depend on the data."""

import math
import numbers
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fairautoml.exceptions import InputError, ParameterError
from fairautoml.execution import EXECUTORS
from fairautoml.learners import LEARNERS
from fairautoml.metrics import METRICS, Constraint, Metric, parse_constraints
from fairautoml.mitigators import MITIGATORS
from fairautoml.registry import check_name, check_names
from fairautoml.search.allocators import ALLOCATORS
from fairautoml.search.strategies import STRATEGIES
from fairautoml.selection.ensemble import Confidence

ALL_CORES = -1
"""Value of ``n_jobs`` for one worker per available core, where that is faster."""

DEFAULT_SECONDS = 60.0
"""Time budget when neither seconds nor trials are given."""

LONGEST_BUDGET_SECONDS = 30 * 24 * 3600.0
"""A longer time budget is rejected as a typing error."""


FLAGS = (
    "sensitive_at_predict", "randomized", "refit", "assemble", "strict", "overwrite", "resume",
)  # fmt: skip
"""Parameters that are true or false."""


class Params(Protocol):
    """The estimator's parameters as the user gave them, unchecked."""

    constraint: Any
    objective: Any
    task_option: Any
    time_budget: Any
    n_trials: Any
    learners: Any
    mitigators: Any
    strategy: Any
    allocator: Any
    executor: Any
    scheduler: Any
    memory_limit: Any
    n_jobs: Any
    n_folds: Any
    assemble: Any
    max_models: Any
    confidence: Any
    unseen_group: Any
    on_degenerate: Any
    run_dir: Any
    on_progress: Any
    refit: Any
    random_state: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Parameters of the estimator after checking."""

    constraints: tuple[Constraint, ...]  # empty = plain AutoML
    objective: Metric  # performance metric
    time_budget: float | None  # seconds
    n_trials: int | None  # trials
    learners: tuple[str, ...] | None  # registered names; None = all that fit
    mitigators: tuple[str, ...] | None
    strategy: str  # registered names; ``"auto"`` is resolved later
    allocator: str
    executor: str
    scheduler: str | None  # address of a cluster's scheduler
    memory_mb: float | None  # memory of one trial, MiB
    n_workers: int | None  # trials at the same time
    n_folds: int  # requested cross-validation folds, at least 2
    assemble: bool  # whether an ensemble is built
    max_models: int | None  # trials in the ensemble, None = no limit
    confidence: Confidence  # required probability that the constraint holds on new rows
    seed: int  # root seed


def validate_settings(params: Params) -> Settings:
    """Return the validated parameters."""
    _check_plain(params)
    seconds, trials = check_budget(params.time_budget, params.n_trials)
    return Settings(
        constraints=check_constraints(params.constraint),
        objective=check_objective(_objective(params)),
        time_budget=seconds,
        n_trials=trials,
        learners=check_names("learners", params.learners, LEARNERS),
        mitigators=check_names("mitigators", params.mitigators, MITIGATORS),
        strategy=check_name("strategy", params.strategy, STRATEGIES),
        allocator=check_name("allocator", params.allocator, ALLOCATORS),
        executor=check_name("executor", params.executor, EXECUTORS),
        scheduler=params.scheduler,
        memory_mb=check_memory(params.memory_limit),
        n_workers=check_workers(params.n_jobs),
        n_folds=check_count("n_folds", params.n_folds, least=2),
        # ``refit`` replaces the fold models of a single trial.
        assemble=bool(params.assemble and not params.refit),
        max_models=(
            None
            if params.max_models is None
            else check_count("max_models", params.max_models, least=2)
        ),
        confidence=check_confidence(params.confidence),
        seed=check_seed(params.random_state),
    )


def _check_plain(params: Params) -> None:
    check_choice("unseen_group", params.unseen_group, ("error", "base_model"))
    check_choice("on_degenerate", params.on_degenerate, ("error", "constant"))
    for name in FLAGS:
        value = getattr(params, name)
        # A string such as "False" would silently count as true.
        if not isinstance(value, bool | np.bool_):
            raise ParameterError(f"{name}={value!r} must be True or False")
    if params.on_progress is not None and not callable(params.on_progress):
        msg = f"on_progress={params.on_progress!r} must be None or a function of one argument"
        raise ParameterError(msg)
    if not isinstance(params.scheduler, str | None):
        msg = (
            f"scheduler={params.scheduler!r} must be None or an address, such as 'tcp://host:8786'"
        )
        raise ParameterError(msg)
    if not isinstance(params.run_dir, str | os.PathLike | None):
        msg = f"run_dir={params.run_dir!r} must be None or the path of a folder"
        raise ParameterError(msg)


def _objective(params: Params) -> Any:
    """Return the objective; ``"auto"`` is the default score of scikit-learn for the task."""
    if not isinstance(params.objective, str) or params.objective != "auto":
        return params.objective
    return "r2" if params.task_option == "regression" else "accuracy"


def check_objective(name: Any) -> Metric:
    """Return the performance metric called ``name``."""
    metric = METRICS.get(name) if isinstance(name, str) else None
    if metric is None or metric.kind != "performance":
        known = [n for n in METRICS.names() if METRICS.get(n).kind == "performance"]
        msg = f"objective={name!r} is no performance metric; choose one of {', '.join(known)}"
        raise ParameterError(msg)
    return metric


def check_constraints(value: Any) -> tuple[Constraint, ...]:
    """Return the parsed constraints, an empty tuple for None."""
    try:
        return parse_constraints(value)
    except InputError as exc:
        raise ParameterError(str(exc)) from exc


def check_budget(time_budget: Any, n_trials: Any) -> tuple[float | None, int | None]:
    """Return seconds and trials; 60 seconds when neither is given."""
    if time_budget is None and n_trials is None:
        return DEFAULT_SECONDS, None
    if time_budget is not None:
        if not is_number(time_budget) or not 0 < float(time_budget) <= LONGEST_BUDGET_SECONDS:
            msg = (
                f"time_budget={time_budget!r} must be a positive, finite number of seconds; "
                "give for example 60, or None and n_trials"
            )
            raise ParameterError(msg)
        time_budget = float(time_budget)
    if n_trials is not None:
        n_trials = check_count("n_trials", n_trials, least=1)
    return time_budget, n_trials


def is_number(value: Any) -> bool:
    """Return whether a parameter is a finite number and not a bool."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and math.isfinite(float(value))


def check_count(name: str, value: Any, *, least: int) -> int:
    """Return an integer of at least ``least``."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or int(value) < least:
        msg = f"{name}={value!r} must be a whole number of at least {least}"
        raise ParameterError(msg)
    return int(value)


def check_choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """Return the value if it is one of the allowed strings."""
    if not isinstance(value, str) or value not in allowed:
        msg = f"{name}={value!r} must be one of {', '.join(map(repr, allowed))}"
        raise ParameterError(msg)
    return value


def check_workers(n_jobs: Any) -> int | None:
    """Return the number of workers, -1 for one per core, or None."""
    if n_jobs is None:
        return None
    whole = isinstance(n_jobs, numbers.Integral) and not isinstance(n_jobs, bool)
    if not whole or (n_jobs < 1 and n_jobs != ALL_CORES):
        msg = f"n_jobs={n_jobs!r} must be a positive whole number, or -1 for all cores"
        raise ParameterError(msg)
    return int(n_jobs)


def check_memory(value: Any) -> float | None:
    """Return the memory limit in MiB, or None."""
    if value is None:
        return None
    if not is_number(value) or float(value) <= 0:
        msg = f"memory_limit={value!r} must be None or a positive number of MiB for one trial"
        raise ParameterError(msg)
    return float(value)


def check_confidence(value: Any) -> Confidence:
    """Return ``"auto"``, a probability or None."""
    if value is None:
        return None
    if isinstance(value, str) and value == "auto":
        return "auto"
    if not is_number(value) or not 0.5 < float(value) < 1:
        msg = (
            f"confidence={value!r} must be 'auto', None or a number above 0.5 and below 1, "
            "for example 0.95"
        )
        raise ParameterError(msg)
    return float(value)


def check_seed(random_state: Any) -> int:
    """Return the root seed; None draws one."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0] >> 1)
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(0, 2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(0, 2**31 - 1))
    return check_count("random_state", random_state, least=0)


def check_share(name: str, value: Any) -> float | None:
    """Return a number in [0, 1], or None."""
    if value is None:
        return None
    if not is_number(value) or not 0 <= float(value) <= 1:
        msg = f"{name}={value!r} must be a number in [0, 1]"
        raise ParameterError(msg)
    return float(value)
