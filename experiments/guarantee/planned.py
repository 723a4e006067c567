"""Planner cells: as many rows as the planner asks for, under just what it assumes."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fairautoml.certification.evidence import Evidence, claim_from_counts
from fairautoml.certification.ledger import level_of
from fairautoml.certification.planning import Assumptions, plan_certification
from fairautoml.certification.verdicts import Verdict
from fairautoml.exceptions import InputError
from fairautoml.metrics import Constraint, GroupCounts
from guarantee.opened import open_in_turn
from guarantee.outcomes import CERTIFIER, DELTA, Outcome

POWER = 0.8
"""Answer rate that the planner promises."""

AT_HAND = 100_000
"""Rows of each group that the planner is offered; more than it ever takes here."""


@dataclass(frozen=True)
class PlannedCell:
    """A truth that meets the constraint, with the rows that the planner asks for."""

    bound: float  # largest difference allowed
    gap: float  # True gap, below the bound
    n_groups: int  # groups of equal size, the first of which stands against the others

    part = "planner"

    @property
    def key(self) -> str:
        """All of it, in order."""
        return f"planner-eps{self.bound:g}-gap{self.gap:g}-g{self.n_groups}"

    @cached_property
    def constraint(self) -> Constraint:
        """Demographic parity."""
        return Constraint.parse(f"demographic_parity_difference <= {self.bound}")

    @cached_property
    def rows(self) -> int:
        """Rows of each group, from the planner."""
        plan = plan_certification(
            self.constraint,
            {f"group {number}": AT_HAND for number in range(self.n_groups)},
            delta=level_of(1, DELTA),
            power=POWER,
            assumptions=Assumptions(gap=self.gap),
        )
        if plan.n_rows_needed is None:
            msg = f"gap={self.gap}: must lie below bound={self.bound}; else no rows would do"
            raise InputError(msg)
        return plan.n_rows_needed

    def once(self, rng: np.random.Generator) -> tuple[Outcome, ...]:
        """Return what was said of a draw."""
        rates = np.full(self.n_groups, Assumptions().rate - self.gap / 2)
        rates[0] += self.gap
        accepted = rng.binomial(self.rows, rates)
        table = np.zeros((self.n_groups, 2, 2))
        table[:, 1, 0], table[:, 1, 1] = self.rows - accepted, accepted
        names = [f"group {number}" for number in range(self.n_groups)]
        claim = claim_from_counts(self.constraint, GroupCounts(table), names)
        verdict = open_in_turn([[Evidence(claims=(claim,))]]).verdict
        return (
            Outcome(
                procedure=CERTIFIER,
                certified=verdict == Verdict.CERTIFIED,
                claimed=verdict == Verdict.VIOLATED,
                excess=self.gap - self.bound,
            ),
        )


PLANNED = tuple(
    PlannedCell(bound, gap, n_groups)
    for bound, gap, n_groups in (
        (0.2, 0.0, 2),
        (0.1, 0.0, 2),
        (0.05, 0.0, 2),
        (0.1, 0.05, 2),
        (0.1, 0.0, 5),
    )
)
