"""The problem that is optimized: data, constraints, objective and mitigators."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import Dataset, GroupSystem, SmallGroups, constrained
from fairautoml.exceptions import ParameterError
from fairautoml.metrics import Constraint, Metric
from fairautoml.mitigators import Goal, Mitigator, Target

TOLERANCES = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2)
"""Tolerances at which every trial is post-processed, in addition to the user's limit."""

FACTORS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
"""Tolerances as multiples of the user's limit, for gaps in units of the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Everything that scoring a rule needs, fixed for the whole run."""

    dataset: Dataset  # the search rows
    folds: NDArray[np.integer]  # shape (n_rows,): fold of each row
    objective: Metric  # performance metric
    goal: Goal  # constraints on group systems, as post-processors see them
    mitigators: tuple[Mitigator, ...]  # post-processors that can serve the goal
    tolerances: tuple[float, ...]  # gaps on the first target that rules are fitted for, rising
    # random number of each row that randomized rules are evaluated with, the same as at
    # prediction; None if randomized rules are not allowed
    draws: NDArray[np.float64] | None = None  # shape (n_rows,)
    # cross-fitted P(cell, y | features), for post-processors that need it
    membership: NDArray[np.float32] | None = None  # shape (n_rows, n_cells, 2)
    entities: NDArray[np.integer] | None = None  # shape (n_rows,): group of related rows

    @property
    def n_folds(self) -> int:
        """Number of folds."""
        return int(self.folds.max()) + 1


def targets_of(
    constraints: Sequence[Constraint],
    systems: Sequence[GroupSystem],
    small_groups: Sequence[SmallGroups] = (),
) -> tuple[Target, ...]:
    """Return one target per constraint and grouping that it applies to."""
    names = [system.name for system in systems]
    for constraint in constraints:
        if constraint.system is not None and constraint.system not in names:
            msg = (
                f"constraint={constraint.label!r} names the groups "
                f"{constraint.system!r}; known are {', '.join(map(repr, names))}. "
                "Name one of these in the brackets, or leave the brackets out."
            )
            raise ParameterError(msg)
        if not any(_speaks_of(constraint, system) for system in systems):
            raise ParameterError(_wrong_kind(constraint, names))
    # Finest first: the tolerance of a front is the gap on the first target.
    return tuple(
        Target(
            metric=constraint.metric.bound(system.values),
            system=constrained(system, constraint.metric.name, small_groups),
            limit=constraint.limit,
        )
        for constraint in constraints
        for system in reversed(systems)
        if _speaks_of(constraint, system)
    )


def _speaks_of(constraint: Constraint, system: GroupSystem) -> bool:
    """Return whether a constraint applies to a grouping, by name and by kind."""
    named = constraint.system is None or constraint.system == system.name
    return named and bool(constraint.metric.degree) == (system.values is not None)


def _wrong_kind(constraint: Constraint, names: Sequence[str]) -> str:
    about = names[0] if constraint.system is None else constraint.system
    if constraint.metric.degree:
        return (
            f"constraint={constraint.label!r} needs a sensitive column of numbers, and the groups "
            f"of {about!r} are categories; use a metric on groups, for example "
            f"'demographic_parity_difference[{about}] <= {constraint.bound}'"
        )
    return (
        f"constraint={constraint.label!r} compares groups, and {about!r} is taken as a number, "
        "because a gedi constraint applies to it. Bound it by gedi alone "
        f"('gedi[{about}] <= {constraint.bound}'), or cut it into groups and constrain those: "
        f"GroupPolicy(bins={{{about!r}: [25, 60]}}) or 'quantiles' (--bins {about}:25,60)"
    )


def tolerance_grid(targets: Sequence[Target]) -> tuple[float, ...]:
    """Return the tolerances of the front: the standard grid and the user's own limit."""
    if not targets:
        return ()
    limit = targets[0].limit
    if np.isinf(targets[0].metric.most):
        # The gap is in units of the target, so only the limit gives its scale.
        return tuple(sorted({factor * limit for factor in FACTORS}))
    return tuple(sorted({*TOLERANCES, limit}))
