"""From wishes and rows to a problem: the goal, what serves it, and the folds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fairautoml.data._scales import NumberPolicy
from fairautoml.data.border import BorderOptions
from fairautoml.data.dataset import Dataset
from fairautoml.data.draws import row_draws
from fairautoml.data.splits import entity_folds, fold_count, stratified_folds
from fairautoml.evaluation.evidence import FEWEST_ROWS, small_groups, thin_groups
from fairautoml.evaluation.problem import Problem, targets_of, tolerance_grid
from fairautoml.exceptions import (
    DegradedWarning,
    InputError,
    MissingSensitiveError,
    SmallGroupWarning,
    warn,
)
from fairautoml.metrics import METRICS
from fairautoml.mitigators import MITIGATORS, Goal, Mitigator, Target
from fairautoml.posing.options import Wishes, check_constraints

MOST_NAMED = 5
"""Small groups that a warning lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is allowed besides the wishes."""

    sensitive_at_predict: bool  # whether the winner may read the sensitive column of new rows
    randomized: bool  # whether rules may decide at random
    refit: bool = False  # whether the winner is trained once more after the search


class Strictness(Protocol):
    """The estimator's parameters on how strictly input is read; the border checks them."""

    sensitive_at_predict: Any
    pos_label: Any
    sensitive_missing: Any
    sensitive_in_X: Any
    max_groups: Any
    sensitive_bins: Any
    constraint: Any
    on_nonfinite: Any
    align: Any
    asked_task: Any


def border_options(asked: Strictness) -> BorderOptions:
    """Return how the border shall read what ``fit`` was given."""
    given = BorderOptions(
        pos_label=asked.pos_label,
        sensitive_missing=asked.sensitive_missing,
        sensitive_in_X=asked.sensitive_in_X,
        max_groups=asked.max_groups,
        numbers=_number_policy(asked),
        on_nonfinite=asked.on_nonfinite,
        align=asked.align,
        task=asked.asked_task,
        at_predict=bool(asked.sensitive_at_predict),
    )
    # A winner that must not need the sensitive column must not have it as a feature either.
    unasked = given.sensitive_in_X == "warn" and not given.at_predict
    return replace(given, sensitive_in_X="drop") if unasked else given


def _number_policy(asked: Strictness) -> NumberPolicy:
    """Return which columns are cut into bands, and which a constraint wants as numbers."""
    about = [c.system for c in check_constraints(asked.constraint) if c.metric.degree]
    named = tuple(dict.fromkeys(name for name in about if name is not None))
    bins = {} if asked.sensitive_bins is None else asked.sensitive_bins
    return NumberPolicy(bins=bins, scales=None if None in about else named)


def make_problem(
    dataset: Dataset,
    wishes: Wishes,
    setting: Setting,
    entities: NDArray[np.integer] | None = None,
) -> Problem:
    """Return the problem: goal, post-processors that serve it, folds."""
    if wishes.constraints and dataset.groups is None:
        msg = (
            f"constraint={wishes.constraints[0].label!r} needs the groups: "
            "fit(X, y, sensitive), one label per row, or the name of a column of X. "
            "For a search without fairness use FairAutoML(constraint=None)."
        )
        raise MissingSensitiveError(msg)
    dataset = _without_small_groups(dataset, wishes, _repeated(entities))
    constrained = targets_of(wishes.constraints, dataset.systems, dataset.small_groups)
    targets, notes = _applicable(constrained)
    notes += (*_thin_groups(dataset, targets), *_lowered_degrees(targets))
    goal = Goal(
        targets=targets,
        objective=wishes.objective.name,
        randomized=setting.randomized,
        task=dataset.task,
    )
    _check_task(dataset, wishes)
    notes += _left_out(wishes.mitigators, goal, setting)
    return Problem(
        dataset=replace(dataset, notes=(*dataset.notes, *notes)),
        folds=_folds(dataset, wishes, entities),
        objective=wishes.objective,
        goal=goal,
        mitigators=_post_processors(wishes.mitigators, goal, setting),
        tolerances=tolerance_grid(goal.targets),
        draws=row_draws(dataset.X, wishes.seed) if setting.randomized else None,
        entities=_repeated(entities),
    )


def _repeated(entities: NDArray[np.integer] | None) -> NDArray[np.integer] | None:
    """Return whose row each one is, None when nobody has two."""
    alone = entities is None or len(np.unique(entities)) == len(entities)
    return None if alone else entities


def _folds(
    dataset: Dataset, wishes: Wishes, entities: NDArray[np.integer] | None
) -> NDArray[np.int16]:
    strata, cells = dataset.strata, dataset.cells
    # One of two classes has to be in every fold, one of several or a stratum of numbers has not.
    every = dataset.task == "binary"
    if entities is not None:
        return entity_folds(
            strata, cells, entities, wishes.n_folds, wishes.seed, every_label=every
        )
    labels = strata if every else np.arange(len(strata)) % 2
    count = fold_count(labels, wishes.n_folds)
    return stratified_folds(strata, cells, count, wishes.seed)


def _check_task(dataset: Dataset, wishes: Wishes) -> None:
    """Refuse metrics that say nothing about this kind of target."""
    task = dataset.task
    found = f"y has {len(dataset.classes)} classes" if len(dataset.classes) else "y is a number"
    for argument, metric in (
        ("objective", wishes.objective),
        *(("constraint", constraint.metric) for constraint in wishes.constraints),
    ):
        if task in metric.tasks:
            continue
        kind = [METRICS.get(name) for name in METRICS.names()]
        known = [m.name for m in kind if m.kind == metric.kind and task in m.tasks]
        msg = (
            f"{argument}: {metric.name!r} is for a {' or '.join(sorted(metric.tasks))} target, "
            f"and {found} ({task}); choose one of {', '.join(known)}"
        )
        raise InputError(msg)


def _left_out(names: Sequence[str] | None, goal: Goal, setting: Setting) -> tuple[str, ...]:
    """Return a note about those that cannot serve a target of another kind, or a number."""
    number = any(target.metric.degree for target in goal.targets)
    if (goal.task == "binary" and not number) or names is not None or not goal.targets:
        return ()
    about = "constraint on a number" if number else f"{goal.task} target"
    every = [MITIGATORS.get(name) for name in MITIGATORS.available()]
    reasons = {m.name: unfit(m, goal, setting) for m in every}
    served = ", ".join(name for name, reason in reasons.items() if not reason)
    why: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        if reason:
            why.setdefault(reason, []).append(name)
    left = "; ".join(f"{', '.join(found)}: {reason}" for reason, found in why.items())
    return (f"mitigators for this {about}: {served}. Left out: {left}",)


def _applicable(targets: Sequence[Target]) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """Return the targets that compare two groups or more, and a note about each other one."""
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


def _lowered_degrees(targets: Sequence[Target]) -> tuple[str, ...]:
    """Warn about polynomials of more degrees than a number has values, and return the notes."""
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


def _comparable(target: Target) -> bool:
    return target.system.n_groups >= target.fewest_groups


def _without_small_groups(
    dataset: Dataset, wishes: Wishes, entities: NDArray[np.integer] | None
) -> Dataset:
    """Fix which groups each constraint leaves out, and warn about them."""
    if dataset.groups is None:
        return dataset
    targets = targets_of(wishes.constraints, dataset.systems)
    found = replace(dataset.groups, small_groups=small_groups(dataset, targets, entities))
    if found.headlines:
        warn(" ".join(found.headlines), SmallGroupWarning)
    return replace(dataset, groups=found)


def _thin_groups(dataset: Dataset, targets: Sequence[Target]) -> tuple[str, ...]:
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
    warn(note, SmallGroupWarning)
    return (note,)


def _post_processors(
    names: Sequence[str] | None, goal: Goal, setting: Setting
) -> tuple[Mitigator, ...]:
    chosen = MITIGATORS.available() if names is None else ("none", *names)
    found = []
    for name in dict.fromkeys(chosen):
        mitigator = MITIGATORS.get(name)
        reason = unfit(mitigator, goal, setting)
        # With the groups at hand their own thresholds are better than how likely they are.
        aside = mitigator.needs_membership and setting.sensitive_at_predict
        wanted = names is not None or not (mitigator.extra or mitigator.opt_in or aside)
        if mitigator.stage == "post" and wanted and reason == "":
            found.append(mitigator)
        if names is not None and reason:
            raise InputError(f"mitigators: {name!r} {reason}; leave it out of the list")
    return tuple(found)


def unfit(mitigator: Mitigator, goal: Goal, setting: Setting) -> str:
    """Why a mitigator cannot be used, empty when it can."""
    if goal.task not in mitigator.tasks:
        return f"cannot serve a {goal.task} target"
    if not mitigator.can_serve(goal):
        metrics = sorted({t.metric.name for t in goal.targets} - set(mitigator.serves or ()))
        overlap = any(t.system.overlapping for t in goal.targets) and not mitigator.overlapping
        return "cannot serve " + ("groups that overlap" if overlap else ", ".join(metrics))
    if mitigator.needs_sensitive_at_predict and not setting.sensitive_at_predict:
        return "needs the sensitive column at predict, and sensitive_at_predict=False"
    if mitigator.randomizes and not goal.randomized:
        return "decides at random, and randomized=False"
    return ""
