"""Parameters of the estimator: option objects, validation, and the removed names."""

import difflib
import functools
import inspect
import numbers
import os
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, ParamSpec

import numpy as np
from sklearn.model_selection import check_cv as as_splitter

from fairautoml.data.groups import MissingPolicy, UnseenPolicy
from fairautoml.data.sensitive_numbers import check_bins, plain_bins
from fairautoml.data.splits import splitter_name
from fairautoml.data.target import TaskOption
from fairautoml.evaluation.fitting import capture_failure, error_text
from fairautoml.exceptions import InputError, ParameterError, UnknownNameError
from fairautoml.execution import EXECUTORS
from fairautoml.learners import LEARNERS, Learner
from fairautoml.learners._own import chosen_learners, without_objects
from fairautoml.metrics import (
    METRICS,
    Constraint,
    CostMatrix,
    GroupCounts,
    Metric,
    custom_metric,
    parse_constraints,
)
from fairautoml.metrics.custom import SKLEARN_NAMES
from fairautoml.metrics.performance import precision_at
from fairautoml.mitigators import MITIGATORS
from fairautoml.parameters import (
    check_choice,
    check_count,
    check_flag,
    check_integer,
    check_number,
    check_share,
)
from fairautoml.records import OnProgress
from fairautoml.registry import check_name, check_names, unknown_name
from fairautoml.report.progress import default_callbacks
from fairautoml.search.allocators import ALLOCATORS
from fairautoml.search.early_stopping import EarlyStopping
from fairautoml.search.strategies import STRATEGIES
from fairautoml.search.strategies._own import OwnStrategy, own_strategy
from fairautoml.selection.choice import Confidence
from fairautoml.selection.ensemble import TOLERANCE
from fairautoml.selection.pool import Pool

P = ParamSpec("P")

ALL_CORES = -1
"""Value of ``n_jobs`` for one worker per available core, where that is faster."""

DEFAULT_SECONDS = 60.0
"""Time budget when neither seconds nor trials are given."""

DEFAULT_FOLDS = 5
"""Cross-validation folds."""

LONGEST_BUDGET_SECONDS = 30 * 24 * 3600.0
"""A longer time budget is rejected as a typing error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPolicy:
    """How groups are read, and which groups a constraint compares.

    Parameters
    ----------
    missing : {"error", "own_group", "exclude"}, default="error"
        A missing sensitive value is rejected, a group of its own, or outside the constraint.
    unseen : {"error", "base_model"}, default="error"
        Whether ``predict`` rejects a group that ``fit`` has not seen, or applies the common
        threshold.
    in_features : {"warn", "drop", "allow"}, default="warn"
        How features that reveal the sensitive column are handled.
    min_size : "auto" or int, default="auto"
        Least number of rows behind each compared rate of a group; a constraint leaves out smaller
        groups, whose rows stay in training. ``"auto"`` = ``max(1 / e, 0.25 / e**2)`` with ``e``
        the bound, at least 0.05; 1 leaves out no group with rows.
    pool : bool, default=False
        Whether two or more groups below ``min_size`` are compared as one, ``"(other)"``, if they
        have that many rows together.
    max_groups : int, default=50
        Largest number of groups of one sensitive column.
    normalize : bool, default=False
        Whether labels and groups that differ only by spaces, case or Unicode form are merged into
        the most frequent spelling; they are refused otherwise.
    bins : dict of str to list of float or "quantiles", or None, default=None
        Cut points of numeric sensitive columns: ``{"age": [25, 60]}`` makes the groups age<=25,
        25<age<=60 and age>60. A number without bins is constrained by ``"gedi[age] <= 0.1"``.

    Raises
    ------
    InputError
        A value is not allowed.
    """

    missing: MissingPolicy = "error"
    unseen: UnseenPolicy = "error"
    in_features: Literal["warn", "drop", "allow"] = "warn"
    min_size: int | Literal["auto"] = "auto"
    pool: bool = False
    max_groups: int = 50
    normalize: bool = False
    bins: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_choice("GroupPolicy.missing", self.missing, ("error", "own_group", "exclude"))
        check_choice("GroupPolicy.unseen", self.unseen, ("error", "base_model"))
        check_choice("GroupPolicy.in_features", self.in_features, ("warn", "drop", "allow"))
        if not isinstance(self.min_size, str) or self.min_size != "auto":
            check_count("GroupPolicy.min_size", self.min_size, least=1, also="'auto' or ")
        check_count("GroupPolicy.max_groups", self.max_groups, least=1)
        check_flag("GroupPolicy.pool", self.pool)
        check_flag("GroupPolicy.normalize", self.normalize)
        if self.bins is not None:
            check_bins(self.bins)


@dataclass(frozen=True, slots=True)
class RunStorage:
    """Where a run is stored, and what happens to a previous run there.

    Parameters
    ----------
    path : str or Path
        Folder of the run.
    if_exists : {"error", "overwrite", "resume"}, default="error"
        ``"overwrite"`` replaces a previous run. ``"resume"`` continues it, however it ended:
        data, constraint and search must be the same; the budget may be larger and includes what
        was used before.
    url : str or None, default=None
        Address of a PostgreSQL database that records the trials,
        ``"postgresql+psycopg://user@host/database"``; None = ``study.db`` in the folder.

    Raises
    ------
    ParameterError
        A value is not allowed.
    """

    path: str | os.PathLike[str]
    if_exists: Literal["error", "overwrite", "resume"] = "error"
    url: str | None = field(default=None, repr=False)  # it may hold a password

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | os.PathLike):
            raise ParameterError(f"RunStorage.path={self.path!r} must be the path of a folder")
        if "\0" in os.fspath(self.path):
            raise ParameterError(f"RunStorage.path={self.path!r} has a null byte; leave it out")
        check_choice("RunStorage.if_exists", self.if_exists, ("error", "overwrite", "resume"))
        if not isinstance(self.url, str | None):
            raise ParameterError(
                "RunStorage.url must be None or a text such as "
                f"'postgresql+psycopg://user@host/database', not a {type(self.url).__name__}"
            )


@dataclass(frozen=True, slots=True)
class LocalProcesses:
    """Trials in child processes of this machine.

    Parameters
    ----------
    memory_limit : float or None, default=None
        Memory that one trial may take, MiB, besides the table itself; None = an equal share of
        the available memory.
    """

    memory_limit: float | None = None

    def __post_init__(self) -> None:
        check_memory(self.memory_limit)


@dataclass(frozen=True, slots=True)
class Dask:
    """Trials on a Dask cluster.

    Parameters
    ----------
    address : str or None, default=None
        Address of the scheduler, such as ``"tcp://host:8786"``; None = that of Dask's
        configuration or of the open client.
    memory_limit : float or None, default=None
        As for ``LocalProcesses``.
    """

    address: str | None = None
    memory_limit: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.address, str | None):
            raise ParameterError(
                f"Dask.address={self.address!r} must be None or an address, such as "
                "'tcp://host:8786'"
            )
        check_memory(self.memory_limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOptions:
    """How large the deployed model may be.

    First the members of the ensemble are reduced, to two at least, and the rule is fitted and
    evaluated again on their out-of-fold scores; then the fold models of each trial. With fewer
    fold models the gap on new rows varies more than was estimated.

    Parameters
    ----------
    max_trials : int, default=8
        Largest number of trials in an ensemble; 0 = a single trial.
    tolerance : float, default=0.001
        Largest rise of the ensemble's cross-fitted loss, as a share of it, that is accepted for
        fewer trees; 0 = no member is left out that lowers the loss.
    max_trees : int or None, default=None
        Most trees of the selected model, over all its fold models.
    predict_latency_ms : float or None, default=None
        Most milliseconds that the models may take for one row, as measured in ``fit``. Reading
        the row takes one or two more.
    """

    max_trials: int = 8
    tolerance: float = TOLERANCE
    max_trees: int | None = None
    predict_latency_ms: float | None = None

    def __post_init__(self) -> None:
        check_ensemble(self.max_trials)
        check_share("ServingOptions.tolerance", self.tolerance)
        if self.max_trees is not None:
            check_count("ServingOptions.max_trees", self.max_trees, least=1, also="None or ")
        if self.predict_latency_ms is not None:
            name, wanted = "ServingOptions.predict_latency_ms", "None or a positive number"
            check_number(name, self.predict_latency_ms, wanted, lambda ms: ms > 0)


@dataclass(frozen=True, slots=True)
class AllExcept:
    """All learners but some: ``FairAutoML(learners=AllExcept("xgboost"))``.

    Parameters
    ----------
    names : str or sequence of str
        Registered names of learners that are not searched.

    Raises
    ------
    ParameterError
        A value is not a name, or there is none.
    UnknownNameError
        A name is not registered.
    """

    names: str | Sequence[str]

    def __post_init__(self) -> None:
        given: Any = self.names
        names = (given,) if isinstance(given, str) or not isinstance(given, Iterable) else given
        names = tuple(names)
        if not names or not all(isinstance(name, str) for name in names):
            known = ", ".join(LEARNERS.names())
            raise ParameterError(f"AllExcept({self.names!r}): give names out of {known}")
        # A learner whose library is missing can be left out, too.
        for name in names:
            if name not in LEARNERS.names():
                raise UnknownNameError(unknown_name("learner", name, LEARNERS.names()))
        object.__setattr__(self, "names", names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Parameters of the estimator after checking."""

    constraints: tuple[Constraint, ...]  # empty = plain AutoML
    objective: Metric  # performance metric
    time_budget: float | None  # seconds
    first_budget: float | None  # that of the first fit of a resumed run, which sets its space
    n_trials: int | None  # trials
    learners: tuple[str, ...] | None  # names; None = all that fit
    left_out: tuple[str, ...]  # learners that are not among these
    own_learners: Mapping[str, Learner]  # those of ``learners`` that are not registered
    mitigators: tuple[str, ...] | None
    sensitive_at_predict: bool  # whether the model may read the sensitive column of new rows
    randomized: bool  # whether rules may randomize: a named mitigator does
    strategy: str | OwnStrategy  # a registered name; ``"auto"`` is resolved later
    allocator: str
    executor: str
    scheduler: str | None  # address of a cluster's scheduler
    memory_mb: float | None  # memory of one trial, MiB
    n_workers: int | None  # trials at the same time
    cv: Any  # requested cross-validation folds, at least 2, or a splitter
    serving: ServingOptions  # limits of the deployed model
    refit: bool  # whether the selected model is trained once more after the search
    confidence: Confidence  # required probability that the constraint holds on new rows
    group_policy: GroupPolicy
    pos_label: Any  # the positive class; None = the label that is sorted last
    task: TaskOption
    storage: RunStorage | None  # None = nothing is stored
    callbacks: tuple[OnProgress, ...]
    seed: int  # root seed


def validate_settings(params: Any) -> Settings:
    """Return the validated parameters of an estimator."""
    seconds, trials = check_budget(params.time_budget, params.n_trials)
    mitigators = check_names("mitigators", params.mitigators, MITIGATORS)
    executor = _executor_options(params.executor)
    learners, own, left_out = check_learners(params.learners, params.task_option)
    return Settings(
        constraints=check_constraints(params.constraint),
        objective=check_objective(_objective(params)),
        time_budget=seconds,
        first_budget=seconds,
        n_trials=trials,
        learners=learners,
        left_out=left_out,
        own_learners=own,
        mitigators=mitigators,
        sensitive_at_predict=check_flag("sensitive_at_predict", params.sensitive_at_predict),
        randomized=any(MITIGATORS.get(name).randomizes for name in mitigators or ()),
        strategy=check_strategy(params.strategy),
        allocator=check_name("allocator", params.allocator, ALLOCATORS),
        executor=executor[0],
        scheduler=executor[1],
        memory_mb=executor[2],
        n_workers=check_workers(params.n_jobs),
        cv=check_cv(params.cv),
        serving=_serving_options(params),
        refit=check_flag("refit", params.refit),
        confidence=check_confidence(params.confidence),
        group_policy=check_group_policy(params.group_policy),
        pos_label=check_label(params.pos_label),
        task=params.task_option,
        storage=check_run_dir(params.run_dir),
        callbacks=check_callbacks(params.callbacks, params.time_budget, params.n_trials),
        seed=check_seed(params.random_state),
    )


def _serving_options(params: Any) -> ServingOptions:
    given = params.ensemble
    if not isinstance(given, ServingOptions):
        given = ServingOptions(max_trials=check_ensemble(given))
    # ``refit`` replaces the fold models of a single trial.
    return replace(given, max_trials=0) if params.refit else given


def _executor_options(value: Any) -> tuple[str, str | None, float | None]:
    """Return the executor's name, the address of its scheduler and the memory limit in MiB."""
    if isinstance(value, Dask):
        return "dask", value.address, check_memory(value.memory_limit)
    if isinstance(value, LocalProcesses):
        return "local", None, check_memory(value.memory_limit)
    return check_name("executor", value, EXECUTORS), None, None


def check_strategy(value: Any) -> str | OwnStrategy:
    """Return the name of a strategy, or the one of the given sampler or searcher."""
    if isinstance(value, str):
        return check_name("strategy", value, STRATEGIES)
    own = own_strategy(value)
    if own is None:
        raise ParameterError(
            f"strategy={value!r} must be 'auto' or one of {', '.join(STRATEGIES.names())}, or a "
            "sampler such as optuna.samplers.GPSampler(), or a searcher of FLAML without a space, "
            "such as flaml.CFO()"
        )
    return own


def check_selection(pool: Pool, max_gap: Any, min_score: Any) -> None:
    """Raise an error if the arguments of ``select`` are invalid or no gap was measured."""
    if max_gap is None and min_score is None:
        msg = "select: give max_gap= (--max-gap), min_score= (--min-score), or both"
        raise ParameterError(msg)
    if max_gap is not None:
        _check_gap(max_gap, pool)
    if min_score is not None:
        check_number("min_score", min_score, "a number, the least objective", lambda _: True)
    if max_gap is not None and not pool.best.measures:
        raise InputError(
            f"select(max_gap={max_gap}): no gap was measured, because fit had no constraint "
            "or a single group; use min_score=, or fit with FairAutoML(constraint=...) and "
            "two groups or more"
        )


def _check_gap(max_gap: Any, pool: Pool) -> None:
    bounds = (METRICS.get(m.metric).largest_bound for m in pool.best.measures)
    if max(bounds, default=1.0) <= 1.0:
        check_share("max_gap", max_gap)
    else:
        check_number("max_gap", max_gap, "a number of at least 0", lambda gap: gap >= 0)


def check_group_policy(value: Any) -> GroupPolicy:
    """Return the group policy, the default one for None."""
    if value is None:
        return GroupPolicy()
    if not isinstance(value, GroupPolicy):
        raise ParameterError(
            f"group_policy={value!r} must be None or a GroupPolicy, for example "
            "GroupPolicy(missing='own_group')"
        )
    return value


def check_label(value: Any) -> Any:
    """Return the positive label."""
    if not isinstance(value, Hashable) or isinstance(value, tuple | frozenset):
        raise ParameterError(
            f"pos_label={value!r} is of type {type(value).__name__}; it must be one label of y, "
            "such as 'yes' or 1"
        )
    return value


def check_run_dir(value: Any) -> RunStorage | None:
    """Return the storage of the run, None if nothing is stored."""
    if value is None or isinstance(value, RunStorage):
        return value
    if not isinstance(value, str | os.PathLike):
        msg = f"run_dir={value!r} must be None, the path of a folder or a RunStorage"
        raise ParameterError(msg)
    return RunStorage(value)


def check_callbacks(value: Any, time_budget: Any, n_trials: Any) -> tuple[OnProgress, ...]:
    """Return the callbacks as a tuple.

    None is a progress line in an interactive session, and with the default budget early stopping.
    """
    if value is None:
        return (*default_callbacks(), *early_stopping(time_budget, n_trials))
    listed = tuple(value) if isinstance(value, list | tuple) else (value,)
    # A class is callable, too, and would be called with the progress as its argument.
    if not all(callable(callback) and not isinstance(callback, type) for callback in listed):
        raise ParameterError(
            f"callbacks={value!r} must be None, a function of one argument, an object such as "
            "EarlyStopping(), or a list of these"
        )
    timed = time_budget is not None or n_trials is None
    if not timed and any(isinstance(callback, EarlyStopping) for callback in listed):
        raise ParameterError(
            "callbacks: EarlyStopping needs time_budget=, of which its patience is a share; "
            "n_trials alone gives a reproducible number of trials"
        )
    return listed


def early_stopping(time_budget: Any, n_trials: Any) -> tuple[EarlyStopping, ...]:
    """Return the callback that ends a search without a budget of the user, else nothing."""
    return (EarlyStopping(),) if time_budget is None and n_trials is None else ()


def check_learners(
    value: Any, task: TaskOption
) -> tuple[tuple[str, ...] | None, dict[str, Learner], tuple[str, ...]]:
    """Return the names of the learners, the user's own ones, and those that are left out."""
    if isinstance(value, AllExcept):
        return None, {}, tuple(value.names)
    return *chosen_learners(value, regression=task == "regression"), ()


def plain_learners(params: Any) -> Any:
    """Return ``learners=`` of an estimator, the user's own ones by name."""
    if isinstance(params.learners, AllExcept):
        return params.learners
    return without_objects(params.learners, regression=params.task_option == "regression")


def check_cv(value: Any) -> Any:
    """Return the number of folds, or a splitter with ``split``, also of given pairs of rows."""
    if hasattr(value, "split") and not isinstance(value, str | bytes | np.ndarray):
        return value
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        return as_splitter(value)
    also = "a splitter of scikit-learn, pairs of (train rows, test rows) or "
    return check_count("cv", value, least=2, also=also)


def check_ensemble(value: Any) -> int:
    """Return the largest number of trials in an ensemble, 0 for none."""
    wanted = (
        "the largest number of trials in the ensemble, a whole number of at least 2, or 0 for a "
        "single trial"
    )
    return check_integer("ensemble", value, wanted, lambda most: most == 0 or most >= 2)


def plain_parameters(params: Any) -> dict[str, Any]:
    """Return the parameters of an estimator as JSON values, without storage and callbacks."""
    plain = dict(params.get_params(deep=False))
    del plain["callbacks"], plain["run_dir"], plain["random_state"]
    if not isinstance(params.strategy, str):
        plain["strategy"] = type(params.strategy).__name__
    plain["learners"] = plain_learners(params)
    if isinstance(params.learners, AllExcept):
        plain["learners"] = {"AllExcept": list(params.learners.names)}
    if not isinstance(params.cv, numbers.Integral):
        plain["cv"] = splitter_name(params.cv)
    if not isinstance(params.objective, str):
        plain["objective"] = check_objective(params.objective).about
    plain["constraint"] = [c.label for c in check_constraints(params.constraint)]
    policy, executor = params.group_policy, params.executor
    if isinstance(params.ensemble, ServingOptions):
        plain["ensemble"] = _plain_options(params.ensemble)
    if policy is not None:
        bins = None if policy.bins is None else plain_bins(policy.bins)
        plain["group_policy"] = _plain_options(replace(policy, bins=bins))
    if not isinstance(executor, str):
        plain["executor"] = {type(executor).__name__: _plain_options(executor)}
    found = {name: _plain(value) for name, value in plain.items()}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, str | int | float | bool | list | dict | None)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return list(value) if isinstance(value, tuple) else value


def _plain_options(
    options: GroupPolicy | LocalProcesses | Dask | ServingOptions,
) -> dict[str, Any]:
    return {option.name: _plain(getattr(options, option.name)) for option in fields(options)}


def restored_parameters(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that ``plain_parameters`` wrote, ready for ``set_params``."""
    found = dict(plain)
    if isinstance(policy := found.get("group_policy"), Mapping):
        found["group_policy"] = GroupPolicy(**policy)
    if isinstance(serving := found.get("ensemble"), Mapping):
        found["ensemble"] = ServingOptions(**serving)
    if isinstance(learners := found.get("learners"), Mapping):
        found["learners"] = AllExcept(learners["AllExcept"])
    if isinstance(executor := found.get("executor"), Mapping):
        ((name, options),) = executor.items()
        found["executor"] = {"Dask": Dask, "LocalProcesses": LocalProcesses}[name](**options)
    return found


OTHER_NAMES: Mapping[str, str] = {
    "constraints": "is called constraint={value!r}",
    "cost": "is given as objective=CostMatrix(...)",
    "early_stopping": "is given as callbacks=EarlyStopping()",
    "estimator_list": "is called learners={value!r}",
    "eval_metric": "is called objective={value!r}",
    "exclude_learners": "is given as learners=AllExcept({value!r})",
    "max_iter": "is called n_trials={value!r}",
    "max_time": "is called time_budget={value!r}, in seconds",
    "memory_limit": "is given as executor=LocalProcesses(memory_limit={value!r})",
    "metric": "is called objective={value!r}",
    "n_folds": "is called cv={value!r}",
    "n_splits": "is called cv={value!r}",
    "scoring": "is called objective={value!r}",
    "seed": "is called random_state={value!r}",
    "sensitive": "is an argument of fit: model.fit(X, y, sensitive={value!r})",
    "sensitive_features": "is an argument of fit: model.fit(X, y, sensitive_features=...)",
    "storage": "is given as run_dir=RunStorage(path, url=...)",
    "time_limit": "is called time_budget={value!r}, in seconds",
    "timeout": "is called time_budget={value!r}, in seconds",
    "verbose": "is given as callbacks=ProgressLine(), or callbacks=[] for no output",
}
"""Names that parameters have in other libraries, and what to use instead."""


def one_sensitive(sensitive: Any, sensitive_features: Any) -> Any:
    """Return the groups that were given under one of the two names of the argument."""
    if sensitive is not None and sensitive_features is not None:
        msg = "sensitive and sensitive_features are two names of one argument; give only one"
        raise TypeError(msg)
    return sensitive if sensitive_features is None else sensitive_features


def own_names(names: Mapping[str, Any], known: Collection[str]) -> str:
    """Return what parameters of other libraries are called here, empty without any."""
    return "; ".join(
        f"{name} {OTHER_NAMES[name].format(value=value)}"
        for name, value in names.items()
        if name in OTHER_NAMES and name not in known
    )


def naming_parameters(init: Callable[P, None]) -> Callable[P, None]:
    """Let ``__init__`` raise a TypeError that gives the names of parameters here.

    The signature stays that of ``init``, which scikit-learn reads.
    """
    known = frozenset(inspect.signature(init).parameters)

    @functools.wraps(init)
    def checked(*args: P.args, **kwargs: P.kwargs) -> None:
        if found := own_names(kwargs, known):
            raise TypeError(found)
        init(*args, **kwargs)

    return checked


def _objective(params: Any) -> Any:
    """Return the objective; ``"auto"`` is the default score of scikit-learn for the task."""
    if not isinstance(params.objective, str) or params.objective != "auto":
        return params.objective
    return "r2" if params.task_option == "regression" else "accuracy"


def check_objective(name: Any) -> Metric:
    """Return the performance metric called ``name``, or that of a cost matrix or a function."""
    if isinstance(name, CostMatrix):
        return name.metric
    if callable(name) and not isinstance(name, type):
        metric = custom_metric(name)
        if metric.on == "decisions":
            _try(metric, name)
        return metric
    if isinstance(name, str):
        name = SKLEARN_NAMES.get(name, name)
    known = [n for n in METRICS.names() if METRICS.get(n).kind == "performance"]
    if not isinstance(name, str) or (name not in known and precision_at(name) is None):
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f"did you mean {near[0]}? all" if near else "choose one of"
        msg = f"objective={name!r} is no performance metric; {hint}: {', '.join(known)}; or "
        msg += "precision_at_100 (the best 100 rows) or precision_at_10%; or "
        msg += "give a CostMatrix, a function (y_true, y_pred) or a scorer of scikit-learn"
        raise ParameterError(msg)
    return METRICS.get(name)


def _try(metric: Metric, given: Any) -> None:
    """Call the user's function once, so that its mistakes end the fit before the first trial."""
    error = capture_failure(lambda: metric.value(GroupCounts(np.ones((1, 2, 2)))))
    if isinstance(error, Exception):
        raise ParameterError(
            f"objective={given!r} raised {error_text(error)} when it was called with labels and "
            "decisions, both 0 or 1 with 1 for the positive class; give a function (y_true, "
            "y_pred) of two such arrays that returns a number, or a scorer of scikit-learn "
            "without pos_label"
        ) from error


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
        wanted = (
            f"a number of seconds above 0 and at most {LONGEST_BUDGET_SECONDS:.0f} (30 days), "
            "such as 60, or None with n_trials"
        )
        time_budget = check_number(
            "time_budget",
            time_budget,
            wanted,
            lambda seconds: 0 < seconds <= LONGEST_BUDGET_SECONDS,
        )
    if n_trials is not None:
        n_trials = check_count("n_trials", n_trials, least=1)
    return time_budget, n_trials


def check_workers(n_jobs: Any) -> int | None:
    """Return the number of workers, -1 for one per core, or None."""
    if n_jobs is None:
        return None
    wanted = "a positive whole number, or -1 for all cores"
    return check_integer("n_jobs", n_jobs, wanted, lambda count: count >= 1 or count == ALL_CORES)


def check_memory(value: Any) -> float | None:
    """Return the memory limit in MiB, or None."""
    if value is None:
        return None
    wanted = "None or a positive number of MiB for one trial"
    return check_number("memory_limit", value, wanted, lambda limit: limit > 0)


def check_confidence(value: Any) -> Confidence:
    """Return ``"auto"``, a probability or None."""
    if value is None:
        return None
    if isinstance(value, str) and value == "auto":
        return "auto"
    wanted = "'auto', None or a number above 0.5 and below 1, for example 0.95"
    return check_number("confidence", value, wanted, lambda sure: 0.5 < sure < 1)


def check_seed(random_state: Any) -> int:
    """Return the root seed; None draws one."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0] >> 1)
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(0, 2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(0, 2**31 - 1))
    return check_count("random_state", random_state, least=0)


def labels_of(constraint: Any) -> list[str]:
    """Return the constraints of the parameter as texts."""
    if constraint is None:
        return []
    listed = constraint if isinstance(constraint, list | tuple) else [constraint]
    return [one if isinstance(one, str) else one.label for one in listed]


def file_to_write(path: str | Path, method: str) -> Path:
    """Return the path, or raise an error if it cannot be that of a file."""
    out = Path(path)
    if out.is_dir() or not out.parent.is_dir():
        raise ParameterError(f"{method}: {str(out)!r} must be a file in a folder that exists")
    return out
