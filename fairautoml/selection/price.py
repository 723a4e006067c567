"""Find the group that causes most of the price of a constraint."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from fairautoml.evaluation.group_sizes import MINIMUM_AS_DIFFERENCE, fewest_rows, too_small
from fairautoml.evaluation.postprocess import Column, expand_column
from fairautoml.evaluation.problem import Problem
from fairautoml.metrics import BoundConstraint
from fairautoml.records import Entry

SMALL = 10
"""Groups with fewer rows than this multiple of the least are tried."""

MOST_TRIED = 5
"""Groups that are tried, the smallest first."""

MOST_OF_IT = 0.5
"""Share of the price that a group must cause to be named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostlyGroup:
    """A group without which the constraint would cost much less."""

    system: str  # grouping
    label: str  # group
    n_rows: int  # rows of the group
    regained: float  # objective regained without the group


def costly_group(
    entry: Entry, column: Column, problem: Problem, price: float, end: float | None = None
) -> CostlyGroup | None:
    """Return the small group that causes at least half of a price, or None."""
    found = None
    before = _best_value(entry, column, problem, problem.goal.targets)
    for system, label, n_rows in _small(problem):
        if before is None or (end is not None and time.monotonic() > end):
            return found
        targets = tuple(
            replace(target, system=target.system.without((label,)))
            if target.system.name == system
            else target
            for target in problem.goal.targets
        )
        after = _best_value(entry, column, problem, targets)
        regained = 0.0 if after is None else after - before
        if regained >= max(MOST_OF_IT * price, 0.0 if found is None else found.regained):
            found = CostlyGroup(system=system, label=label, n_rows=n_rows, regained=regained)
    return found


def _small(problem: Problem) -> Iterator[tuple[str, str, int]]:
    """Yield grouping, name and rows of the smallest groups, the smallest first."""
    sizes: dict[tuple[str, str], int] = {}
    for target in problem.goal.targets:
        limit = MINIMUM_AS_DIFFERENCE if target.metric.is_minimum else target.limit
        few = SMALL * fewest_rows(limit)
        found = too_small(problem.dataset, target, problem.entities, few)
        if found is not None and target.system.n_groups > target.fewest_groups:
            named = zip(found.outside, found.n_rows, strict=True)
            sizes |= {(target.system.name, label): n_rows for label, n_rows in named}
    smallest = sorted(sizes.items(), key=lambda one: (one[1], one[0]))[:MOST_TRIED]
    yield from ((system, label, n_rows) for (system, label), n_rows in smallest)


def _best_value(
    entry: Entry, column: Column, problem: Problem, targets: tuple[BoundConstraint, ...]
) -> float | None:
    """Return the best value of the entry's post-processor on its scores under some targets."""
    restricted = replace(
        problem,
        goal=replace(problem.goal, targets=targets),
        mitigators=tuple(m for m in problem.mitigators if m.name == entry.mitigator),
    )
    values = [e.value for e in expand_column(column, restricted) if e.meets]
    return max(values, default=None)
