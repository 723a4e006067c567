"""Build the problem and the plan of a search: space, strategy, allocator, executor, deadline."""

import multiprocessing
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray

from fairautoml.data.dataset import Dataset
from fairautoml.data.encoders import BLOCK, encodings_of, with_blocks
from fairautoml.data.read import ReadOptions
from fairautoml.data.sensitive_numbers import NumberPolicy
from fairautoml.data.splits import (
    entity_folds,
    fold_count,
    row_draws,
    splitter_folds,
    stratified_folds,
)
from fairautoml.evaluation.fitting import capture_failure, error_text
from fairautoml.evaluation.group_sizes import FEWEST_ROWS, GroupSizes, thin_groups
from fairautoml.evaluation.problem import Problem, Training, compares_loss, tolerance_grid
from fairautoml.exceptions import (
    DegradedWarning,
    InputError,
    MissingExtraError,
    MissingSensitiveError,
    ParameterError,
    SmallGroupWarning,
    SpaceError,
    warn,
)
from fairautoml.execution import ResourceLimits
from fairautoml.execution._worker import available_mb, preload
from fairautoml.learners import LEARNERS, Learner
from fairautoml.learners._own import can_be_sent
from fairautoml.metrics import (
    METRICS,
    BoundConstraint,
    ClassCounts,
    GroupCounts,
    Metric,
    Undefined,
    bind_constraints,
)
from fairautoml.mitigators import MITIGATORS, Goal, Mitigator
from fairautoml.records import BASELINE, Config, Fidelity, MitigationOption, ParamValue, Terms
from fairautoml.search.allocators import ALLOCATORS
from fairautoml.search.allocators.ladder import FEWEST_SCREENED, first_fidelity
from fairautoml.search.loop import MAX_PENDING
from fairautoml.search.space import ParamSpace, SearchSpace
from fairautoml.search.space_files import find_space, load_space, read_portfolio
from fairautoml.search.strategies._own import OwnStrategy
from fairautoml.selection.final import REFIT_RESERVE_SHARE
from fairautoml.settings import ALL_CORES, Settings

MOST_TRAIN_ROWS = 100_000
"""Maximum number of training rows of a fold; all rows are scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Complete specification of a search."""

    problem: Problem  # rows, constraints, objective, post-processors
    space: SearchSpace  # learners, encodings, mitigations and their hyperparameters
    first: tuple[Config, ...]  # the portfolio: evaluated before the strategy's own proposals
    # expensive training-time mitigations that the allocator may schedule
    mitigations: tuple[MitigationOption, ...]
    strategy: str  # registered name, or the class of an own strategy
    allocator: str
    executor: str
    limits: ResourceLimits  # of the executor: workers, memory, deadline
    n_trials: int | None  # maximum number of trials
    start: float  # ``time.monotonic()`` at which the budget began
    seed: int  # root seed
    # fast ones that give the first models under a time budget, on few rows of a large table
    early: tuple[Config, ...] = ()
    own_learners: Mapping[str, Learner] = field(default_factory=dict)  # those of the user
    own_strategy: OwnStrategy | None = None  # replaces the registered one
    first_budget: float | None = None  # time budget of the first fit of the run, seconds
    here: bool = False  # whether the first model is trained in this process
    notes: tuple[str, ...] = ()  # features that the search leaves out, for the user


FEWEST_OF_CLASS = 20
"""Rows of the smallest class in a fold below which one fold does not rank configurations."""


def terms_of(plan: Plan) -> Terms:
    """Return what the allocator of a run knows."""
    data, folds = plan.problem.dataset, plan.problem.n_models
    train_rows = int(plan.problem.n_train_rows)
    smallest = data.n_rows if data.task == "regression" else int(np.bincount(data.y).min())
    return Terms(
        fidelity=Fidelity(folds=folds, rows=min(1.0, MOST_TRAIN_ROWS / train_rows)),
        n_train_rows=train_rows,
        mitigations=plan.mitigations,
        row_cost=data.row_cost,
        first=() if plan.limits.deadline is None else plan.early or plan.first[:1],
        quick=bool(plan.early),
        n_trials=plan.n_trials,
        n_workers=plan.limits.workers(1),
        stoppable=plan.executor != "serial",
        screens=smallest >= FEWEST_OF_CLASS * folds,
    )


MOST_NAMED = 5
"""Small groups that a warning lists."""


def read_options_of(settings: Settings) -> ReadOptions:
    """Return the options of input validation."""
    policy = settings.group_policy
    # A model that must not need the sensitive column must not have it as a feature either.
    dropped = policy.in_features == "warn" and not settings.sensitive_at_predict
    named = tuple(dict.fromkeys(c.system for c in settings.constraints if c.metric.degree))
    return ReadOptions(
        pos_label=settings.pos_label,
        sensitive_missing=policy.missing,
        sensitive_in_X="drop" if dropped else policy.in_features,
        max_groups=policy.max_groups,
        normalize=policy.normalize,
        numbers=NumberPolicy(
            bins={} if policy.bins is None else policy.bins,
            scales=None if None in named else tuple(name for name in named if name is not None),
        ),
        task=settings.task,
        at_predict=settings.sensitive_at_predict,
    )


def define_problem(
    dataset: Dataset,
    settings: Settings,
    entities: NDArray[np.integer] | None = None,
    training: Training | None = None,
) -> Problem:
    """Return the problem: goal, applicable post-processors, folds."""
    if settings.constraints and dataset.groups is None:
        raise MissingSensitiveError(
            f"constraint={settings.constraints[0].label!r} needs the groups: "
            "fit(X, y, sensitive), one label per row, or the name of a column of X. "
            "For a search without fairness use FairAutoML(constraint=None)."
        )
    constrained = bind_constraints(settings.constraints, dataset.systems, dataset.small_groups)
    targets, notes = _applicable(constrained)
    notes += (*_thin_groups(dataset, targets), *_lowered_degrees(targets))
    goal = Goal(
        targets=targets,
        objective=settings.objective,
        randomized=settings.randomized,
        task=dataset.task,
    )
    _check_task(dataset, settings)
    notes += _left_out(goal, settings)
    return Problem(
        dataset=replace(dataset, notes=(*dataset.notes, *notes)),
        folds=_folds(dataset, settings, entities),
        objective=settings.objective,
        goal=goal,
        mitigators=_post_processors(goal, settings),
        tolerances=tolerance_grid(goal.targets),
        draws=row_draws(dataset.X, settings.seed) if settings.randomized else None,
        entities=_repeated(entities),
        training=training,
    )


def _repeated(entities: NDArray[np.integer] | None) -> NDArray[np.integer] | None:
    """Return the entity of each row, None if every row has its own."""
    alone = entities is None or len(np.unique(entities)) == len(entities)
    return None if alone else entities


def _folds(
    dataset: Dataset, settings: Settings, entities: NDArray[np.integer] | None
) -> NDArray[np.int16]:
    strata, cells = dataset.strata, dataset.cells
    # Only in binary tasks does every fold need every class.
    every = dataset.task == "binary"
    if not isinstance(settings.cv, int):
        return splitter_folds(settings.cv, dataset.X, dataset.y, entities, every_label=every)
    if entities is not None:
        return entity_folds(strata, cells, entities, settings.cv, settings.seed, every_label=every)
    labels = strata if every else np.arange(len(strata)) % 2
    count = fold_count(labels, settings.cv)
    return stratified_folds(strata, cells, count, settings.seed)


def _check_task(dataset: Dataset, settings: Settings) -> None:
    """Raise InputError if a metric is undefined for this kind of target."""
    _try_objective(settings.objective, len(dataset.classes))
    task = dataset.task
    found = f"y has {len(dataset.classes)} classes" if len(dataset.classes) else "y is a number"
    for argument, metric in (
        ("objective", settings.objective),
        *(("constraint", constraint.metric) for constraint in settings.constraints),
    ):
        if task in metric.tasks:
            continue
        kind = [METRICS.get(name) for name in METRICS.names()]
        known = [m.name for m in kind if m.kind == metric.kind and task in m.tasks]
        raise InputError(
            f"{argument}: {metric.name!r} is for a {' or '.join(sorted(metric.tasks))} target, "
            f"and {found} ({task}); choose one of {', '.join(known)}"
        )


def _try_objective(metric: Metric, n_classes: int) -> None:
    """Raise InputError if the user's cost or function cannot score decisions of the classes."""
    if metric.name in METRICS.names() or metric.on != "decisions" or n_classes < 2:
        return
    counts = np.ones((1, n_classes, n_classes))
    tally = GroupCounts(counts) if n_classes == 2 else ClassCounts(counts)
    found = capture_failure(lambda: metric.value(tally))
    if isinstance(found, Exception):
        msg = (
            f"objective: {metric.name!r} raised {error_text(found)} on labels 0 to "
            f"{n_classes - 1}, the positions in classes_; give a function of {n_classes} classes"
        )
        raise InputError(msg)
    if isinstance(found, Undefined):
        raise InputError(f"objective: {found.reason}")


def _left_out(goal: Goal, settings: Settings) -> tuple[str, ...]:
    """Return a note on the mitigators that do not support the target or the constraint."""
    number = any(target.metric.degree for target in goal.targets)
    usual = goal.task == "binary" and not number
    if usual or settings.mitigators is not None or not goal.targets:
        return ()
    about = "constraint on a number" if number else f"{goal.task} target"
    every = [MITIGATORS.get(name) for name in MITIGATORS.available()]
    reasons = {m.name: unfit(m, goal, settings) for m in every}
    served = ", ".join(name for name, reason in reasons.items() if not reason)
    why: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        if reason:
            why.setdefault(reason, []).append(name)
    left = "; ".join(f"{', '.join(found)}: {reason}" for reason, found in why.items())
    return (f"mitigators for this {about}: {served}. Left out: {left}",)


def _applicable(
    targets: Sequence[BoundConstraint],
) -> tuple[tuple[BoundConstraint, ...], tuple[str, ...]]:
    """Return the targets with at least two groups, and a note about each other one."""
    notes = []
    for target in targets:
        if not _comparable(target):
            found = ", ".join(map(repr, target.system.labels))
            note = (
                f"sensitive: {target.system.name!r} has a single group ({found}), so "
                f"{target.metric.name} does not apply to it (NOT_APPLICABLE)"
            )
            warn(
                f"{note}; give rows of two groups or more, or use FairAutoML(constraint=None)",
                DegradedWarning,
            )
            notes.append(note)
    return tuple(t for t in targets if _comparable(t)), tuple(notes)


def _lowered_degrees(targets: Sequence[BoundConstraint]) -> tuple[str, ...]:
    """Warn if the degree of a metric exceeds the number of values, and return the notes."""
    notes = []
    for target in targets:
        served = target.system.n_groups - 1
        if served < target.metric.degree:
            note = (
                f"{target.metric.name}[{target.system.name}]: the number has {served + 1} values, "
                f"so degree {served} is used"
            )
            warn(note, DegradedWarning)
            notes.append(note)
    return tuple(notes)


def _comparable(target: BoundConstraint) -> bool:
    return target.system.n_groups >= target.fewest_groups


def apply_group_policy(
    dataset: Dataset, settings: Settings, entities: NDArray[np.integer] | None = None
) -> Dataset:
    """Return the dataset with the groups that each constraint excludes, and warn about them."""
    if dataset.groups is None:
        return dataset
    targets = bind_constraints(settings.constraints, dataset.systems)
    policy, repeated = settings.group_policy, _repeated(entities)
    sizes = GroupSizes(
        dataset=dataset, entities=repeated, min_size=policy.min_size, pool=policy.pool
    )
    found = replace(
        dataset.groups,
        small_groups=sizes.small_groups(targets),
        judgeability=sizes.judgeability(targets),
    )
    if found.headlines:
        warn(" ".join(found.headlines), SmallGroupWarning)
    return replace(dataset, groups=found)


def _thin_groups(dataset: Dataset, targets: Sequence[BoundConstraint]) -> tuple[str, ...]:
    """Warn about groups with too few rows for a rate, and return the note."""
    thin = thin_groups(dataset, targets)
    if not thin:
        return ()
    more = "" if len(thin) <= MOST_NAMED else f"; and {len(thin) - MOST_NAMED} more"
    note = (
        f"insufficient evidence: fewer than {FEWEST_ROWS} rows are behind a rate of "
        f"{'; '.join(thin[:MOST_NAMED])}{more}. A gap measured on them is mostly noise: merge "
        "such groups or give more rows"
    )
    warn(note, SmallGroupWarning)
    return (note,)


def _post_processors(goal: Goal, settings: Settings) -> tuple[Mitigator, ...]:
    names = settings.mitigators
    chosen = MITIGATORS.available() if names is None else ("none", *names)
    found = []
    for name in dict.fromkeys(chosen):
        mitigator = MITIGATORS.get(name)
        reason = unfit(mitigator, goal, settings)
        # Thresholds by known group are better than rules on group probabilities.
        aside = mitigator.needs_membership and settings.sensitive_at_predict
        wanted = names is not None or not (mitigator.extra or mitigator.opt_in or aside)
        if mitigator.stage == "post" and wanted and reason == "":
            found.append(mitigator)
        if names is not None and reason:
            raise InputError(f"mitigators: {name!r} {reason}; leave it out of the list")
    return tuple(found)


def unfit(mitigator: Mitigator, goal: Goal, settings: Settings) -> str:
    """Return why a mitigator cannot be used, empty if it can."""
    if goal.task not in mitigator.tasks:
        return f"cannot serve a {goal.task} target"
    if not mitigator.can_serve(goal):
        metrics = sorted({t.metric.name for t in goal.targets} - set(mitigator.serves or ()))
        overlap = any(t.system.overlapping for t in goal.targets) and not mitigator.overlapping
        return "cannot serve " + ("groups that overlap" if overlap else ", ".join(metrics))
    if mitigator.needs_sensitive_at_predict and not settings.sensitive_at_predict:
        return "needs the sensitive column at predict, and sensitive_at_predict=False"
    if mitigator.randomizes and not goal.randomized:
        return "decides at random, which is used only if it is named in mitigators"
    return ""


SMALL = Config(
    learner="lightgbm", params={"n_estimators": 30, "num_leaves": 8, "learning_rate": 0.2}
)
"""First configuration of the portfolio, by its non-default parameters: fast, and on few rows as
good as any other."""

MOST_TRAINED_HERE, MAX_INLINE_COST = 100_000, 3_000_000
"""Rows trained and rows predicted, over all folds, up to which the first model is trained in this
process; for two classes and few columns."""

PORTFOLIO = "default"
AUTO_STRATEGY = "optuna_tpe"
AUTO_ALLOCATOR, MITIGATING_ALLOCATOR = "ladder", "cost_aware"

SHORT_BUDGET_SECONDS = 10.0
"""Time budget below which a second configuration is tried on few rows, and starting child
processes costs more than it protects."""

LARGE_TABLE_ROWS, LARGE_TABLE_VALUES, SHORTEST_ISOLATED_SECONDS = 5000, 500_000, 3.0
"""Rows, or rows times columns, from which a single fold may overrun a short budget; child
processes are then started from this time budget on, and so they are with several workers."""

LEAST_ROWS_ISOLATED = 50_000
"""Rows over all trials, without a time budget, from which all cores are faster than one despite
the cost of starting processes."""

WORKER_MB = 500.0
"""Free memory per worker, MiB, when the number of workers is automatic: 200 MiB of libraries, and
rows."""

LONG_TABLE_COLUMNS, SHORTEST_ISOLATED_SECONDS_LONG = 40, 5.0
"""Tables with at most so many columns need a longer budget for child processes, because one
worker can reduce the rows of a trial whose folds are too slow."""

RESERVE_SHARES, RESERVE_SECONDS, ASSEMBLED_ROWS_PER_SECOND = (0.08, 0.2), 0.4, 100_000
"""Time reserved for the steps after the search (ensemble, margin, leaderboard): least and largest
share of the time budget; between them, fixed seconds plus one second per so many rows."""

MOST_RESERVE_SECONDS, ROWS_PER_SECOND = 5.0, 10_000
"""Largest reserve, plus one second per so many rows."""

LEAST_SECONDS, LEAST_ROWS_PER_SECOND = 0.8, 400_000
"""Least time of the search on a large table, even if reading it used up a short budget: fixed
seconds plus one second per so many rows."""


def start_workers(settings: Settings, n_rows: int = 0, n_columns: int = 0) -> None:
    """Preload the libraries of the workers if trials will run in child processes."""
    isolated = settings.executor == "auto" and _isolated(settings, n_rows, n_columns)
    if (isolated or settings.executor == "local") and not multiprocessing.current_process().daemon:
        preload()


def make_space(dataset: Dataset, settings: Settings, goal: Goal, allocator: str) -> SearchSpace:
    """Return the space: applicable learners, encodings and training-time mitigations."""
    seconds = 0.0 if settings.first_budget is None else settings.first_budget
    learners = _learner_spaces(dataset, settings.learners, seconds, settings.left_out)
    mitigations = _mitigation_spaces(
        goal,
        settings,
        costly=settings.mitigators is not None
        and not ALLOCATORS.get(allocator).schedules_mitigation,
    )
    return SearchSpace(
        learners=learners,
        encodings=_encodings(dataset),
        native_learners=tuple(n for n in learners if LEARNERS.get(n).native_categories),
        mitigations=mitigations,
        excluded=_excluded(learners, mitigations),
    )


def _encodings(dataset: Dataset) -> tuple[str, ...]:
    found = encodings_of(dataset.feature_schema, group_columns=bool(dataset.group_columns))
    options, sensitive = dataset.schema.options, set(dataset.sensitive_features)
    if not options.blocks or options.fusion == "early":
        return found
    groups_in = {
        name: not sensitive or not sensitive.isdisjoint(columns)
        for name, columns in options.blocks.items()
    }
    return with_blocks(found, groups_in, late=options.fusion == "late")


def _excluded(learners: Iterable[str], mitigations: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the learners that could undo what a mitigation removes, with that mitigation."""
    other = [name for name in learners if not LEARNERS.get(name).linear]
    removers = [
        name for name in mitigations if name != "none" and MITIGATORS.get(name).linear_only
    ]
    if removers and len(other) == len(list(learners)):
        known = [name for name in LEARNERS.available() if LEARNERS.get(name).linear]
        raise InputError(
            f"mitigators: {removers[0]!r} needs a linear learner, because others could restore "
            f"the groups from what it leaves; found learners={other}. Add one of {known} to "
            f"learners, or leave {removers[0]!r} out"
        )
    return tuple((name, remover) for remover in removers for name in other)


def _learner_spaces(
    dataset: Dataset,
    names: Sequence[str] | None,
    seconds: float = 0.0,
    left_out: Collection[str] = (),
) -> dict[str, ParamSpace]:
    found: dict[str, ParamSpace] = {}
    for name in LEARNERS.available() if names is None else names:
        if name in left_out:
            continue
        learner = LEARNERS.get(name)
        reason = _unusable(learner, dataset)
        if reason and names is not None:
            raise InputError(f"learners: {name!r} {reason}; leave it out of the list")
        if names is not None and learner.extra:
            # Its optional library is imported here, not by every fit; a missing one is an error.
            learner.build({}, dataset.feature_schema, 0)
        if names is None and (reason or not _by_default(learner, dataset, seconds)):
            continue
        found[name] = load_space("learners", name, learner.space)
    if not found and left_out:
        raise InputError(f"learners: AllExcept leaves none; left out are {', '.join(left_out)}")
    if not found:
        raise InputError("X is sparse or weighted and no learner can use it; give a dense X")
    return found


def _by_default(learner: Learner, dataset: Dataset, seconds: float) -> bool:
    """Return whether a learner is searched by default with a time budget of so many seconds.

    An optional one never with a number of trials alone: the result would depend on what is
    installed.
    """
    if learner.opt_in or learner.name == BASELINE.learner:
        return False
    if not learner.extra:
        return True
    if seconds < learner.least_seconds or dataset.n_rows > learner.most_rows:
        return False
    try:
        learner.build({}, dataset.feature_schema, 0)
    except MissingExtraError:
        return False
    return True


def _unusable(learner: Learner, dataset: Dataset) -> str:
    """Return why a learner cannot use the rows, empty if it can."""
    if dataset.task not in learner.tasks:
        return f"cannot learn a {dataset.task} target"
    if dataset.feature_schema.sparse and not learner.handles_sparse:
        return "cannot read a sparse X"
    weighted = bool((dataset.weight != dataset.weight[0]).any())
    return "cannot use sample_weight" if weighted and not learner.handles_weights else ""


def _pair_notes(space: SearchSpace) -> tuple[str, ...]:
    """Return a note on the mitigators that are combined with linear learners only."""
    removers = sorted({mitigation for _, mitigation in space.excluded})
    linear = [name for name in space.learners if LEARNERS.get(name).linear]
    return tuple(
        f"mitigators: {name!r} is combined with {', '.join(linear)} only; other learners could "
        "restore the groups from what it leaves"
        for name in removers
    )


def _missing_learners(left_out: Collection[str]) -> tuple[str, ...]:
    """Warn about each learner whose library is missing, and return the notes."""
    missing = {name: why for name, why in LEARNERS.missing().items() if name not in left_out}
    notes = tuple(f"left out of the search: {why}" for why in missing.values())
    for note in notes:
        warn(note, DegradedWarning)
    return notes


def _mitigation_spaces(goal: Goal, settings: Settings, *, costly: bool) -> dict[str, ParamSpace]:
    """Return the spaces of the training-time mitigations that the strategy chooses from."""
    spaces = {"none": ParamSpace(name="none")}
    for mitigator in _trained(goal, settings):
        if mitigator.cost != "costly" or costly:
            spaces[mitigator.name] = load_space("mitigators", mitigator.name, mitigator.space)
    return spaces


def _trained(goal: Goal, settings: Settings) -> list[Mitigator]:
    """Return the training-time mitigators that serve the goal."""
    if not goal.targets:
        return []
    names = settings.mitigators
    chosen = MITIGATORS.available() if names is None else names
    found = [MITIGATORS.get(name) for name in chosen]
    return [
        mitigator
        for mitigator in found
        if mitigator.stage != "post"
        and not unfit(mitigator, goal, settings)
        and (names is not None or not (mitigator.extra or mitigator.opt_in))
    ]


def _mitigation_options(mitigators: Sequence[Mitigator]) -> tuple[MitigationOption, ...]:
    """Return the mitigations that an allocator may schedule, with their default parameters."""
    return tuple(
        MitigationOption(
            name=mitigator.name,
            params=load_space("mitigators", mitigator.name, mitigator.space).defaults(),
            ratio=mitigator.ratio,
        )
        for mitigator in mitigators
        if mitigator.cost == "costly"
    )


def initial_configs(space: SearchSpace) -> tuple[Config, ...]:
    """Return the portfolio members that lie in the space, then the other learners' defaults.

    An inexpensive training-time mitigation was requested by name, so it is tried early, with the
    first configuration that is not the fast default and whose learner it may be combined with.
    """
    found = find_space("portfolios", PORTFOLIO)
    if found is None:
        msg = f"search_spaces/portfolios/{PORTFOLIO}.yaml is missing; install fairautoml again"
        raise SpaceError(msg)
    members = list(read_portfolio(*found, space))
    listed = {config.learner for config in members}
    for name, part in space.learners.items():
        if name not in listed:
            members.append(
                Config(learner=name, params=part.defaults(), encoding=space.encodings[0])
            )
    usual = 1 if len(members) > 1 and _fast_default(members) is not None else 0
    mitigated = [
        replace(
            next(
                config
                for config in (*members[usual:], *members)
                if space.mitigation_of(config.learner, name) == name
            ),
            mitigation=name,
            mitigation_params=part.defaults(),
        )
        for name, part in space.mitigations.items()
        if name != "none" and MITIGATORS.get(name).cost != "costly"
    ]
    of_blocks = [
        replace(members[min(usual, len(members) - 1)], encoding=encoding)
        for encoding in space.encodings
        if BLOCK in encoding and encoding != members[min(usual, len(members) - 1)].encoding
    ]
    return (*members[: usual + 1], *of_blocks, *mitigated, *members[usual + 1 :])


def _strategy_name(strategy: str | OwnStrategy) -> str:
    if isinstance(strategy, OwnStrategy):
        return strategy.name
    return AUTO_STRATEGY if strategy == "auto" else strategy


def make_plan(
    problem: Problem,
    settings: Settings,
    start: float,
    *,
    again: bool = False,
) -> Plan:
    """Return the plan of the search, ``"auto"`` resolved."""
    deadline = None
    if settings.time_budget is not None:
        most = MOST_RESERVE_SECONDS + problem.dataset.n_rows / ROWS_PER_SECOND
        reserve = min(most, _reserve(settings.time_budget, problem))
        if settings.refit:
            reserve += (REFIT_RESERVE_SHARE - RESERVE_SHARES[0]) * settings.time_budget
        deadline = start + settings.time_budget - reserve
    allocator = settings.allocator
    if allocator == "auto":
        allocator = _auto_allocator(problem, settings)
    own = settings.strategy if isinstance(settings.strategy, OwnStrategy) else None
    space = make_space(problem.rows, settings, problem.goal, allocator)
    missing = _missing_learners(settings.left_out) if settings.learners is None else ()
    notes = (*missing, *_pair_notes(space))
    mitigations: tuple[MitigationOption, ...] = ()
    if ALLOCATORS.get(allocator).schedules_mitigation:
        mitigations = _mitigation_options(_trained(problem.goal, settings))
    executor = _executor(settings, *problem.rows.X.shape)
    # A training-time mitigation changes the gaps, so that the log loss is not all that matters.
    only_rules = set(space.mitigations) <= {"none"} and not mitigations
    screened = problem.n_train_rows >= FEWEST_SCREENED
    problem = replace(problem, by_loss=only_rules and screened and compares_loss(problem))
    first = _fast_first(initial_configs(space), problem.rows)
    plan = Plan(
        problem=problem,
        space=space,
        first=first,
        early=_early(first, problem.rows),
        mitigations=mitigations,
        strategy=_strategy_name(settings.strategy),
        own_strategy=own,
        own_learners=settings.own_learners,
        allocator=allocator,
        executor=executor,
        limits=ResourceLimits(
            n_workers=_n_workers(settings, executor),
            deadline=deadline,
            memory_mb=settings.memory_mb,
            scheduler=settings.scheduler,
        ),
        n_trials=settings.n_trials,
        start=start,
        seed=settings.seed,
        first_budget=settings.first_budget,
        notes=notes,
    )
    if settings.time_budget is None:
        return plan
    plan = _in_time(plan, again=again)
    return replace(plan, here=_soon_here(plan, settings.time_budget))


def _auto_allocator(problem: Problem, settings: Settings) -> str:
    """Return the ladder, with training-time mitigations where only they serve the constraint.

    They are chosen by measured times, so not with a number of trials alone.
    """
    served = any(m.name not in ("none", "common_threshold") for m in problem.mitigators)
    if served or settings.first_budget is None or not _trained(problem.goal, settings):
        return AUTO_ALLOCATOR
    return MITIGATING_ALLOCATOR


def _in_time(plan: Plan, *, again: bool) -> Plan:
    """Return the plan with the least time to search a large table."""
    n_rows, limits = plan.problem.rows.n_rows, plan.limits
    if n_rows <= LARGE_TABLE_ROWS or again or limits.deadline is None:
        return plan
    least = time.monotonic() + LEAST_SECONDS + n_rows / LEAST_ROWS_PER_SECOND
    return replace(plan, limits=replace(limits, deadline=max(limits.deadline, least)))


def _soon_here(plan: Plan, time_budget: float) -> bool:
    """Return whether the first model is trained in this process instead of in a worker."""
    # Other executors have their own time and memory limits; a memory limit needs a child process.
    if not plan.early or plan.executor != "local" or plan.limits.memory_mb is not None:
        return False
    terms = terms_of(plan)
    fidelity = first_fidelity(terms, time_budget)
    trained = fidelity.folds * fidelity.rows * terms.n_train_rows * terms.row_cost
    cost = plan.problem.dataset.n_rows * terms.row_cost
    return trained <= MOST_TRAINED_HERE and cost <= MAX_INLINE_COST


WIDE_COLUMNS = 2_000
"""Columns of a sparse table from which a linear model comes first: the five folds of a small
boosted model take a second per 10,000 columns, those of a linear one a fifth of it."""


def _fast_first(first: tuple[Config, ...], dataset: Dataset) -> tuple[Config, ...]:
    """Return the configurations, the linear ones first on a wide sparse table.

    With text they come after the first one.
    """
    start = 0 if _is_wide(dataset) else 1
    if start and not dataset.feature_schema.texts:
        return first
    return (*first[:start], *sorted(first[start:], key=lambda config: config.learner != LINEAR))


LINEAR = "logistic_regression"
FAST_LINEAR: dict[str, ParamValue] = {"C": 0.1, "numeric": "scaled"}
"""Linear learner, and its parameters on few rows."""


def _is_wide(dataset: Dataset) -> bool:
    schema = dataset.feature_schema
    return schema.sparse and schema.n_features >= WIDE_COLUMNS


def _early(first: Sequence[Config], dataset: Dataset) -> tuple[Config, ...]:
    """Return the configurations of the first models, empty if the portfolio has no fast ones."""
    if _is_wide(dataset) and first[0].learner == LINEAR:
        return (first[0],)
    small = _fast_default(first)
    if small is None:
        return ()
    # On few rows of a large table a linear model may be the best one.
    linear = [config for config in first if config.learner == LINEAR]
    wanted = linear[:1] if _large(*dataset.X.shape) else []
    return (*(replace(one, params={**one.params, **FAST_LINEAR}) for one in wanted), small)


def _fast_default(first: Sequence[Config]) -> Config | None:
    """Return the fast default configuration if the portfolio starts with it."""
    small = first[0]
    fits = small.learner == SMALL.learner and SMALL.params.items() <= small.params.items()
    return small if fits else None


def _reserve(time_budget: float, problem: Problem) -> float:
    low, high = (share * time_budget for share in RESERVE_SHARES)
    groups, rows = problem.dataset.groups, problem.dataset.n_rows
    if groups is not None and any(m.needs_membership for m in problem.mitigators):
        # Rules on group probabilities cost one pass per group.
        rows *= groups.n_cells
    return min(high, max(low, RESERVE_SECONDS + rows / ASSEMBLED_ROWS_PER_SECOND))


def _executor(settings: Settings, n_rows: int, n_columns: int) -> str:
    """Return the executor: child processes if a limit or several workers need them."""
    if _several(settings) and settings.executor == "serial":
        raise ParameterError(
            f"n_jobs={settings.n_workers} needs trials in child processes, and executor='serial' "
            "has none; give executor='local', or n_jobs=1"
        )
    if settings.executor not in ("auto", "local"):
        return settings.executor
    isolated = _isolated(settings, n_rows, n_columns)
    # Child processes cannot import what a notebook defines.
    isolated = isolated and (_several(settings) or can_be_sent(settings.own_learners))
    if settings.executor == "auto" and not isolated:
        return "serial"
    if multiprocessing.current_process().daemon:
        msg = (
            "this process is a daemon (a worker of a pool) and may not start processes: trials "
            "run one after the other, and a trial is stopped between folds only"
        )
        warn(msg, DegradedWarning)
        return "serial"
    return "local"


def _n_workers(settings: Settings, executor: str) -> int | None:
    """Return the number of concurrent trials; None = one per thread of the cluster."""
    if executor == "serial":
        return 1
    if settings.n_workers != ALL_CORES:
        return settings.n_workers
    if executor == "dask":
        return None
    n_workers, memory = int(cpu_count()), available_mb()
    if settings.time_budget is None:
        # More workers would be idle.
        n_workers = min(n_workers, MAX_PENDING)
    return n_workers if memory is None else max(1, min(n_workers, int(memory / WORKER_MB)))


def _large(n_rows: int, n_columns: int) -> bool:
    """Whether a single fold may take seconds."""
    return n_rows > LARGE_TABLE_ROWS or n_rows * n_columns > LARGE_TABLE_VALUES


def _several(settings: Settings) -> bool:
    """Whether the user asks for several workers."""
    return settings.n_workers not in (None, 1, ALL_CORES)


def _isolated(settings: Settings, n_rows: int, n_columns: int) -> bool:
    """Whether trials run in child processes by default."""
    seconds, large = settings.time_budget, _large(n_rows, n_columns)
    several = _several(settings)
    if seconds is None:
        everywhere = settings.n_workers == ALL_CORES and cpu_count() > 1
        trained = n_rows * (settings.n_trials or 0)
        return several or (everywhere and trained >= LEAST_ROWS_ISOLATED)
    least = SHORTEST_ISOLATED_SECONDS
    if not several and not large:
        least = SHORT_BUDGET_SECONDS
    elif not several and n_columns <= LONG_TABLE_COLUMNS:
        least = SHORTEST_ISOLATED_SECONDS_LONG
    return seconds >= least
