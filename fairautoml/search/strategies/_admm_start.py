"""One run of the operator splitting from one start: theta-min, z-min, duals, and again.

Liu et al., AAAI 2020, arXiv 1905.00424, Algorithm 2 with sub-problem budgets that grow.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from fairautoml.exceptions import ParameterError
from fairautoml.search.strategies import _admm_math as math_of
from fairautoml.search.strategies._admm_cube import Arms, Cube, Reading
from fairautoml.search.strategies._admm_math import Floats
from fairautoml.search.strategies._admm_solvers import ArmSolver, PointSolver, raised_bound

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Splitting:
    """Penalties of the splitting and budgets of its sub-problems.

    The defaults of the budgets suit runs of 20 to 100 trials; ``PAPER`` has those of the paper.
    """

    # penalty that couples relaxed integers (scaled to [0, 1]) and their copies, positive
    rho: float = 1.0
    rho_gap: float = 0.1  # penalty of the constraints, in units of their limits, positive
    bound: float = 0.7  # loss from which on an arm is worthless, positive
    # evaluations of the first theta-min, how many more each next one has, and at the most
    evaluations: int = 4
    growth: int = 2
    most: int = 128
    pulls: int = 6  # bandit pulls of each z-min, at least 1
    starts: int = 2  # learners to start from, in the order of the first candidates, at least 1
    # fit the slack again at the arms it is used at, instead of taking theta-min's
    refit_slack: bool = False

    def __post_init__(self) -> None:
        for name in ("rho", "rho_gap", "bound"):
            _check(name, getattr(self, name), lowest="more than 0", ok=getattr(self, name) > 0)
        for name in ("evaluations", "most", "pulls", "starts"):
            _check(name, getattr(self, name), lowest="at least 1", ok=getattr(self, name) >= 1)
        _check("growth", self.growth, lowest="at least 0", ok=self.growth >= 0)


def _check(name: str, value: float, *, lowest: str, ok: bool) -> None:
    if not ok:
        default = Splitting.__dataclass_fields__[name].default
        msg = f"{name} must be {lowest}; found {value!r}; leave it out for {default!r}"
        raise ParameterError(msg)


PAPER = Splitting(evaluations=16, growth=8, most=128, pulls=16, starts=1)
"""Budgets of Liu et al. 2020, for runs of several hundred trials."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """A point that was evaluated and did not fail."""

    reading: Reading  # arms, point and candidate
    loss: float  # one minus the objective
    gap: Floats  # shape (n_constraints,): in units of the limit
    limit: Floats  # shape (n_constraints,)


@dataclass(slots=True, kw_only=True)
class _Phase:
    """A sub-problem being solved."""

    kind: Literal["theta", "z"]
    size: int
    issued: int = 0
    done: int = 0
    best: Outcome | None = None
    best_value: float = math.inf
    values: list[float] = field(default_factory=list)

    def offer(self, outcome: Outcome, value: float) -> None:
        if value < self.best_value:
            self.best, self.best_value = outcome, value


class Start:
    """Iterates from one start; asked for points and told their outcomes, in any order.

    Duals wait until a phase is complete; until then the rest of the phase may be asked for.
    """

    def __init__(
        self,
        cube: Cube,
        splitting: Splitting,
        origin: Reading,
        log: Sequence[Outcome],
        points: PointSolver,
        arms: ArmSolver,
    ) -> None:
        self._cube = cube
        self._how = splitting
        self._log = log
        self._points = points
        self._bandit = arms
        self.iteration = 0
        self.arms: Arms = origin.arms
        self.point: Floats = origin.point
        self.copy: Floats = cube.nearest(origin.point)
        self.dual: Floats = np.zeros(cube.size)
        # Without a dimension until the first outcome tells how many constraints there are.
        self.mu: Floats = np.zeros(())
        self.slack: Floats = np.zeros(())
        self._budget = min(splitting.evaluations, splitting.most)
        self._phase = self._theta_phase()

    def propose(self) -> Reading | None:
        """Return the next point to evaluate, None while the phase waits for outcomes."""
        phase = self._phase
        if phase.issued == phase.size:
            return None
        phase.issued += 1
        if phase.kind == "z":
            return self._cube.read(self._bandit.pull(), self.point)
        best = phase.best
        incumbent = None if best is None else self._at_rest(best.reading)
        return self._cube.read(self.arms, self._points.point(self.point, incumbent))

    def offer(self, outcome: Outcome) -> None:
        """Hear of an evaluation that another start or nobody asked for."""
        if self._phase.kind == "theta" and outcome.reading.arms == self.arms:
            self._phase.offer(outcome, self._theta_value(outcome))

    def accept(self, reading: Reading, outcome: Outcome | None) -> None:
        """Learn what came of a point that was proposed."""
        phase = self._phase
        phase.done += 1
        if phase.kind == "z":
            value = math.inf if outcome is None else self._z_value(outcome)
            self._bandit.learn(reading.arms, value)
            phase.values.append(value)
            if outcome is not None:
                phase.offer(outcome, value)
        elif outcome is not None:
            self.offer(outcome)
        if phase.done == phase.size:
            self._next_phase()

    def _next_phase(self) -> None:
        if self._phase.kind == "theta":
            self._phase = self._z_phase(self._phase.best)
        else:
            self._close(self._phase)
            self._phase = self._theta_phase()

    def _theta_phase(self) -> _Phase:
        """Begin theta-min; what the log knows of these arms is valued anew, at no cost."""
        size = 1 if self._cube.is_fixed(self.arms) else self._budget
        phase = _Phase(kind="theta", size=size)
        for outcome in self._log:
            if outcome.reading.arms == self.arms:
                phase.offer(outcome, self._theta_value(outcome))
        return phase

    def _z_phase(self, best: Outcome | None) -> _Phase:
        """Take theta-min's point and begin z-min; its own arms are known there."""
        phase = _Phase(kind="z", size=self._how.pulls)
        if best is not None:
            self.point = self._at_rest(best.reading)
            self.slack = math_of.best_slack(best.gap, best.limit, self.mu, self._how.rho_gap)
            phase.offer(best, self._z_value(best))
        return phase

    def _close(self, phase: _Phase) -> None:
        """Take z-min's arms, then delta-min and the duals."""
        how, best = self._how, phase.best
        bound = raised_bound(self._bandit.bound, phase.values, self._logged_values(phase))
        self._bandit.bound = bound
        if best is not None:
            self.arms = best.reading.arms
            slack = self._slack_at(best)
            self.mu = math_of.next_mu(best.gap, best.limit, slack, self.mu, how.rho_gap)
        # On real-valued coordinates the copy is the point itself and the dual stays 0.
        self.copy, self.dual = math_of.next_copy(
            self.point, self.dual, how.rho, self._cube.nearest
        )
        self.iteration += 1
        self._budget = min(self._budget + how.growth, how.most)
        logger.debug("iteration %d: arms %s, mu %s", self.iteration, self.arms, self.mu)

    def _logged_values(self, phase: _Phase) -> list[float]:
        """Return the log's values, only when no pull was worth anything."""
        if min(phase.values) < self._bandit.bound:
            return []
        return [self._z_value(outcome) for outcome in self._log]

    def _at_rest(self, reading: Reading) -> Floats:
        """Return the point with absent coordinates where they stay, at ``clip(b)``."""
        resting = np.clip(math_of.anchor(self.copy, self.dual, self._how.rho), 0.0, 1.0)
        return np.where(reading.present, reading.point, resting)

    def _theta_value(self, outcome: Outcome) -> float:
        rho, relaxed = self._how.rho_gap, self._cube.relaxed
        slack = math_of.best_slack(outcome.gap, outcome.limit, self.mu, rho)
        point = self._at_rest(outcome.reading)
        return (
            outcome.loss
            + math_of.penalty(outcome.gap, outcome.limit, slack, self.mu, rho)
            + math_of.coupling(
                point[relaxed], self.copy[relaxed], self.dual[relaxed], self._how.rho
            )
        )

    def _slack_at(self, outcome: Outcome) -> Floats:
        if not self._how.refit_slack:
            return self.slack
        return math_of.best_slack(outcome.gap, outcome.limit, self.mu, self._how.rho_gap)

    def _z_value(self, outcome: Outcome) -> float:
        slack = self._slack_at(outcome)
        return outcome.loss + math_of.penalty(
            outcome.gap, outcome.limit, slack, self.mu, self._how.rho_gap
        )
