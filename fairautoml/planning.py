"""From wishes and rows to a plan: what may be searched, in which order, for which goal."""

import multiprocessing
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from fairautoml.data.border import BorderOptions
from fairautoml.data.dataset import Dataset
from fairautoml.data.draws import row_draws
from fairautoml.data.splits import fold_count, stratified_folds
from fairautoml.evaluation.encoding import has_high_cardinality
from fairautoml.evaluation.evidence import FEWEST_ROWS, thin_groups
from fairautoml.evaluation.problem import Problem, targets_of, tolerance_grid
from fairautoml.exceptions import (
    DegradedWarning,
    InputError,
    MissingSensitiveError,
    SmallGroupWarning,
)
from fairautoml.learners import LEARNERS
from fairautoml.mitigators import MITIGATORS, Goal, Mitigator, Target
from fairautoml.options import Wishes
from fairautoml.run import RunPlan
from fairautoml.spaces import (
    ParamSpace,
    SearchSpace,
    find_portfolio,
    load_space,
    read_portfolio,
)
from fairautoml.trials import Candidate

BASELINE = Candidate(learner="prior")
"""Needs no training, so there is a model from the first moment."""

PORTFOLIO = "default"
AUTO_STRATEGY = "optuna"
AUTO_ALLOCATOR = "flat"

SHORT_BUDGET_SECONDS = 10.0
"""Below this budget starting child processes costs more than it protects ..."""

LARGE_TABLE_ROWS, SHORTEST_ISOLATED_SECONDS = 5000, 3.0
"""... unless the table is so large that a single fold may overrun the budget."""

MOST_NAMED = 5
"""Small groups that a warning lists."""

RESERVE_SHARE = 0.03
"""Share of a time budget kept for what follows the search."""

REFIT_RESERVE_SHARE = 0.15
"""The same when the winner is trained once more."""

MOST_RESERVE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is allowed besides the wishes.

    Parameters
    ----------
    sensitive_at_predict : bool
        Whether the winner may read the sensitive column of new rows.
    randomized : bool
        Whether rules may decide at random.
    refit : bool
        Whether the winner is trained once more after the search.
    """

    sensitive_at_predict: bool
    randomized: bool
    refit: bool = False


class Strictness(Protocol):
    """The estimator's parameters on how strictly input is read; the border checks them."""

    sensitive_at_predict: Any
    pos_label: Any
    sensitive_missing: Any
    sensitive_in_X: Any
    max_groups: Any
    on_nonfinite: Any
    align: Any


def border_options(asked: Strictness, sensitive: Any) -> BorderOptions:
    """Return how the border shall read what ``fit`` was given.

    Parameters
    ----------
    asked : Strictness
        The estimator.
    sensitive : values or name(s) of columns of X
        As given to ``fit``.

    Raises
    ------
    InputError
        An option has a value that does not exist.
    """
    named = isinstance(sensitive, str) or (
        isinstance(sensitive, list | tuple) and all(isinstance(name, str) for name in sensitive)
    )
    given = BorderOptions(
        pos_label=asked.pos_label,
        sensitive_missing=asked.sensitive_missing,
        sensitive_in_X=asked.sensitive_in_X,
        max_groups=asked.max_groups,
        on_nonfinite=asked.on_nonfinite,
        align=asked.align,
    )
    # A winner that must not need the sensitive column must not have it as a feature either.
    blind = not asked.sensitive_at_predict and (named or given.sensitive_in_X == "warn")
    return replace(given, sensitive_in_X="drop") if blind else given


def make_problem(dataset: Dataset, wishes: Wishes, setting: Setting) -> Problem:
    """Return the problem: goal, post-processors that serve it, folds.

    Parameters
    ----------
    dataset : Dataset
        Search rows.
    wishes : Wishes
        Constraints, objective, post-processors by name.
    setting : Setting
        What is allowed.

    Raises
    ------
    MissingSensitiveError
        A constraint without groups.
    InputError
        A constraint on groups that do not exist, or a post-processor that cannot serve it.

    Warns
    -----
    DegradedWarning
        A sensitive column has a single group, so that no constraint applies to it.
    SmallGroupWarning
        A constrained group has fewer than 20 rows behind a rate.
    """
    if wishes.constraints and dataset.groups is None:
        msg = (
            f"constraint={wishes.constraints[0].label!r} needs the groups: "
            "fit(X, y, sensitive), one label per row, or the name of a column of X. "
            "For a search without fairness use FairAutoML(constraint=None)."
        )
        raise MissingSensitiveError(msg)
    targets, notes = _applicable(targets_of(wishes.constraints, dataset.systems))
    notes += _small_groups(dataset, targets)
    goal = Goal(
        targets=targets,
        objective=wishes.objective.name,
        randomized=setting.randomized,
    )
    return Problem(
        dataset=replace(dataset, notes=(*dataset.notes, *notes)),
        folds=stratified_folds(
            dataset.y, dataset.cells, fold_count(dataset.y, wishes.n_folds), wishes.seed
        ),
        objective=wishes.objective,
        goal=goal,
        mitigators=_post_processors(wishes.mitigators, goal, setting),
        tolerances=tolerance_grid(goal.targets),
        draws=row_draws(dataset.X, wishes.seed) if setting.randomized else None,
    )


def _applicable(targets: Sequence[Target]) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """Return the targets that compare two groups or more, and a note about each other one."""
    notes = []
    for target in targets:
        if target.system.n_groups < 2:
            found = ", ".join(map(repr, target.system.labels))
            note = (
                f"sensitive: {target.system.name!r} has a single group ({found}), so "
                f"{target.metric.name} does not apply to it (NOT_APPLICABLE)"
            )
            warnings.warn(
                f"{note}; give rows of two groups or more, or use FairAutoML(constraint=None)",
                DegradedWarning,
                stacklevel=4,
            )
            notes.append(note)
    return tuple(t for t in targets if t.system.n_groups >= 2), tuple(notes)


def _small_groups(dataset: Dataset, targets: Sequence[Target]) -> tuple[str, ...]:
    """Warn about groups whose rates are mostly chance, and return the note."""
    thin = thin_groups(dataset, targets)
    if not thin:
        return ()
    more = "" if len(thin) <= MOST_NAMED else f"; and {len(thin) - MOST_NAMED} more"
    note = (
        f"insufficient evidence: fewer than {FEWEST_ROWS} rows are behind a rate of "
        f"{'; '.join(thin[:MOST_NAMED])}{more}. A gap measured on them is mostly chance: merge "
        "such groups or give more rows"
    )
    warnings.warn(note, SmallGroupWarning, stacklevel=4)
    return (note,)


def _post_processors(
    names: Sequence[str] | None, goal: Goal, setting: Setting
) -> tuple[Mitigator, ...]:
    chosen = MITIGATORS.names() if names is None else ("none", *names)
    found = []
    for name in dict.fromkeys(chosen):
        mitigator = MITIGATORS.get(name)
        reason = _unfit(mitigator, goal, setting)
        if mitigator.stage == "post" and reason == "":
            found.append(mitigator)
        if names is not None and reason:
            raise InputError(f"mitigators: {name!r} {reason}; leave it out of the list")
    return tuple(found)


def _unfit(mitigator: Mitigator, goal: Goal, setting: Setting) -> str:
    """Why a mitigator cannot be used, empty when it can."""
    if not mitigator.can_serve(goal):
        metrics = sorted({t.metric.name for t in goal.targets} - set(mitigator.serves or ()))
        return f"cannot serve {', '.join(metrics)}"
    if mitigator.needs_sensitive_at_predict and not setting.sensitive_at_predict:
        return "needs the sensitive column at predict, and sensitive_at_predict=False"
    return ""


def make_space(dataset: Dataset, wishes: Wishes, goal: Goal, setting: Setting) -> SearchSpace:
    """Return the space: learners that can read the rows, encodings, training-time mitigations.

    Parameters
    ----------
    dataset : Dataset
        Search rows.
    wishes : Wishes
        Learners and mitigators by name.
    goal : Goal
        Constraints.
    setting : Setting
        What is allowed.

    Raises
    ------
    InputError
        No learner can be used, or a named one cannot.
    """
    return SearchSpace(
        learners=_learner_spaces(dataset, wishes.learners),
        encodings=("codes", "target") if has_high_cardinality(dataset.layout) else ("codes",),
        mitigations=_mitigation_spaces(wishes.mitigators, goal, setting),
    )


def _learner_spaces(dataset: Dataset, names: Sequence[str] | None) -> dict[str, ParamSpace]:
    weighted = bool((dataset.weight != dataset.weight[0]).any())
    found: dict[str, ParamSpace] = {}
    for name in LEARNERS.names() if names is None else names:
        learner = LEARNERS.get(name)
        reason = ""
        if dataset.layout.sparse and not learner.handles_sparse:
            reason = "cannot read a sparse X"
        elif weighted and not learner.handles_weights:
            reason = "cannot use sample_weight"
        if reason and names is not None:
            raise InputError(f"learners: {name!r} {reason}; leave it out of the list")
        # Unasked, only what is installed anyway and learns something is searched.
        if not reason and (names is not None or (not learner.extra and name != BASELINE.learner)):
            found[name] = load_space("learners", name, learner.space)
    if not found:
        raise InputError("X is sparse or weighted and no learner can use it; give a dense X")
    return found


def _mitigation_spaces(
    names: Sequence[str] | None, goal: Goal, setting: Setting
) -> dict[str, ParamSpace]:
    spaces = {"none": ParamSpace(name="none")}
    if not goal.targets:
        return spaces
    for name in MITIGATORS.names() if names is None else names:
        mitigator = MITIGATORS.get(name)
        if mitigator.stage != "post" and not _unfit(mitigator, goal, setting):
            spaces[name] = load_space("mitigators", name, mitigator.space)
    return spaces


def first_candidates(space: SearchSpace) -> tuple[Candidate, ...]:
    """Return the portfolio members that lie in the space, then the other learners' defaults.

    Parameters
    ----------
    space : SearchSpace
        What may be searched.
    """
    found: Any = find_portfolio(PORTFOLIO)
    text, origin = found
    members = [
        Candidate(learner=m.learner, encoding=m.encoding, params=m.params)
        for m in read_portfolio(text, origin, space)
    ]
    listed = {candidate.learner for candidate in members}
    for name, part in space.learners.items():
        if name not in listed:
            members.append(Candidate(learner=name, params=part.defaults()))
    return tuple(members)


def make_plan(problem: Problem, wishes: Wishes, setting: Setting, start: float) -> RunPlan:
    """Return the plan of the search, ``"auto"`` resolved.

    Parameters
    ----------
    problem : Problem
        What to solve.
    wishes : Wishes
        Budget, names, seed.
    setting : Setting
        What is allowed.
    start : float
        ``time.monotonic()`` at which ``fit`` began; the budget counts from there.
    """
    deadline = None
    if wishes.time_budget is not None:
        reserve = min(MOST_RESERVE_SECONDS, RESERVE_SHARE * wishes.time_budget)
        if setting.refit:
            reserve = REFIT_RESERVE_SHARE * wishes.time_budget
        deadline = start + wishes.time_budget - reserve
    space = make_space(problem.dataset, wishes, problem.goal, setting)
    executor = _executor(wishes, problem.dataset.n_rows)
    return RunPlan(
        problem=problem,
        space=space,
        baseline=BASELINE,
        first=first_candidates(space),
        strategy=AUTO_STRATEGY if wishes.strategy == "auto" else wishes.strategy,
        allocator=AUTO_ALLOCATOR if wishes.allocator == "auto" else wishes.allocator,
        executor=executor,
        n_workers=1 if executor == "serial" else wishes.n_workers,
        n_trials=wishes.n_trials,
        deadline=deadline,
        seed=wishes.seed,
    )


def _executor(wishes: Wishes, n_rows: int) -> str:
    """Return where trials run: in child processes when a deadline or more workers need them."""
    if wishes.executor != "auto":
        return wishes.executor
    seconds = wishes.time_budget
    large = n_rows > LARGE_TABLE_ROWS
    least = SHORTEST_ISOLATED_SECONDS if large else SHORT_BUDGET_SECONDS
    if wishes.n_workers == 1 and (seconds is None or seconds < least):
        return "serial"
    if multiprocessing.current_process().daemon:
        msg = (
            "this process is a daemon (a worker of a pool) and may not start processes: trials "
            "run one after the other, and a trial is stopped between folds only"
        )
        warnings.warn(msg, DegradedWarning, stacklevel=4)
        return "serial"
    return "local"
