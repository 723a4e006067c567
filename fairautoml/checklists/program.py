"""The integer program of checklists with a fixed number of required items.

Source: Zhang et al., arXiv 2112.01020, section 3. Two things differ. Decisions take the place of
mistakes as variables, so that rows of equal items share one whatever their labels; and every row
that enters a limit has both of its rows, "accepted, hence M items are checked" and "refused, hence
fewer are": with one of them, as published, a limit can be met on paper by a mistake not made.
M is no variable: the programs of M = 1, 2, ... are each much tighter than the one over all.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from fairautoml.checklists.descent import Chosen, Lists
from fairautoml.checklists.patterns import Rates

INFEASIBLE = 2
"""Status of ``scipy.optimize.milp``: there is no such checklist, none better than asked."""

OPTIMAL = 0

MOST_ENTRIES = 1_000_000
"""Entries of the largest program that is tried, 2,400 patterns of 200 items and limits. Beyond it
reading the program alone takes the solver seconds, by which it overruns its time limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """What the solver found out about the checklists with a given M."""

    chosen: Chosen | None  # the best list that it met, if it is better than the one it had to beat
    bound: float  # no list of this M has a smaller value; the value to beat if none is smaller
    status: str  # what the solver said


def solve(lists: Lists, required: int, *, beat: float, seconds: float) -> Solved:
    """Look for the best checklist that asks for exactly ``required`` items."""
    program = _Program(lists, required)
    if program.n_entries > MOST_ENTRIES:
        status = f"not asked: {program.n_entries} entries, at most {MOST_ENTRIES} are tried"
        return Solved(chosen=None, bound=min(lists.patterns.least, beat), status=status)
    rows = program.rows()
    if beat < np.inf:
        # Half a tie-break: anything better is better by more than that.
        most = beat - program.constant - 0.5 * lists.per_required
        rows.append(LinearConstraint(program.objective[None], -np.inf, most))
    found = milp(
        program.objective,
        integrality=program.integrality,
        bounds=program.bounds,
        constraints=rows,
        options={"time_limit": seconds, "mip_rel_gap": 0.0},
    )
    if found.status == INFEASIBLE:
        return Solved(chosen=None, bound=beat, status=found.message)
    bound = lists.patterns.least
    if found.mip_dual_bound is not None:
        bound = max(bound, program.constant + float(found.mip_dual_bound))
    chosen = None
    if found.x is not None:
        picked = np.flatnonzero(found.x[: lists.patterns.n_items] > 0.5)
        # Its mistakes and gaps are counted anew: the solver's own are within its tolerance only.
        counted = lists.chosen(tuple(picked.tolist()), required)
        if counted.excess == 0 and counted.value < beat:
            chosen = counted
    if found.status == OPTIMAL and chosen is not None:
        bound = chosen.value
    return Solved(chosen=chosen, bound=min(bound, beat), status=found.message)


class _Program:
    """Variables: items, then decisions on the patterns that matter, then one per limited gap."""

    def __init__(self, lists: Lists, required: int) -> None:
        self.lists, self.required = lists, required
        patterns = lists.patterns
        tests = (patterns.column[:, None] == np.unique(patterns.column)).astype(np.float32)
        self.one_per_column = tests.T
        # At most one item of a column is chosen, and at most so many.
        self.reach = np.minimum(
            (patterns.checked.astype(np.float32) @ tests > 0).sum(axis=1), lists.most_items
        )
        limited = any(rates.slope.any() for rates in patterns.rates)
        within = self.reach >= required
        self.free = np.flatnonzero(within if limited else within & (patterns.value != 0))
        self.limited = limited
        self.n_items, self.n_free = patterns.n_items, len(self.free)
        self.n_gaps = len(patterns.rates)
        self.n_entries = int(patterns.checked[self.free].sum()) * (1 + limited)
        n_columns = self.n_items + self.n_free + self.n_gaps
        self.objective = np.zeros(n_columns)
        self.objective[: self.n_items] = lists.per_item
        self.objective[self.n_items : self.n_items + self.n_free] = patterns.value[self.free]
        self.integrality = np.ones(n_columns)
        self.integrality[self.n_items + self.n_free :] = 0
        self.bounds = Bounds(np.zeros(n_columns), np.ones(n_columns))
        self.constant = patterns.base + lists.per_required * required

    def rows(self) -> list[LinearConstraint]:
        """Return the constraints."""
        patterns, required = self.lists.patterns, self.required
        count = sparse.csr_array(patterns.checked[self.free].astype(np.float64))
        value, reach = patterns.value[self.free], self.reach[self.free]
        all_items = np.ones((1, self.n_items))
        found = [
            self._row(self.one_per_column, None, -np.inf, 1.0),
            self._row(all_items, None, float(required), float(self.lists.most_items)),
        ]
        gains = np.flatnonzero(self.limited | (value < 0))
        costs = np.flatnonzero(self.limited | (value > 0))
        if len(gains):
            only_if = self._decisions(gains, np.full(len(gains), -float(required)))
            found.append(self._row(count[gains], only_if, 0.0, np.inf))
        if len(costs):
            whenever = self._decisions(costs, -(reach[costs] - required + 1.0))
            found.append(self._row(count[costs], whenever, -np.inf, required - 1.0))
        for at, rates in enumerate(patterns.rates):
            found += self._gap(at, rates)
        return found

    def _decisions(self, at: NDArray[np.integer], factor: NDArray[np.float64]) -> Any:
        shape = (len(at), self.n_free)
        return sparse.csr_array((factor, (np.arange(len(at)), at)), shape=shape)

    def _row(
        self, items: Any, decisions: Any, low: Any, high: Any, least: Any = None
    ) -> LinearConstraint:
        """Return constraints on items, decisions and the variables of the gaps, None = none."""
        widths = (self.n_items, self.n_free, self.n_gaps)
        blocks = (items, decisions, least)
        n_rows = next(block.shape[0] for block in blocks if block is not None)
        parts = [
            sparse.csr_array((n_rows, width) if block is None else block)
            for block, width in zip(blocks, widths, strict=True)
        ]
        return LinearConstraint(sparse.hstack(parts, format="csr"), low, high)

    def _gap(self, at: int, rates: Rates) -> list[LinearConstraint]:
        """Return: every rate is at least the gap's own variable, and not too far above it."""
        least = np.zeros((len(rates.offset), self.n_gaps))
        least[:, at] = -1.0
        slope = rates.slope[:, self.free]
        above = self._row(None, slope, -rates.offset, np.inf, least)
        if rates.form == "difference":
            below = self._row(None, slope, -np.inf, rates.limit - rates.offset, least)
            return [above, below]
        share = 1.0 - rates.limit
        below = self._row(None, share * slope, -np.inf, -share * rates.offset, least)
        # A ratio of 0 to 0 is none: somebody must be accepted.
        counted = np.atleast_2d(slope.any(axis=0)).astype(np.float64)
        return [above, below, self._row(None, counted, 1.0, np.inf)]
