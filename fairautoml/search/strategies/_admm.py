"""ADMM: operator splitting, sub-problem solvers and the unit-hypercube encoding.

Liu et al., AAAI 2020, arXiv 1905.00424, Algorithm 2 with growing sub-problem budgets. A constraint
``gap <= limit`` becomes ``gap - limit + slack = 0`` with ``slack`` in [0, limit] in closed form.
"""

# Integers and choices are relaxed to [0, 1] and rounded when a configuration is decoded.
# Conditional parameters are flattened: an inactive parameter keeps its coordinate unchanged, also
# for searchers without support for conditions.

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fairautoml.records import Config, ParamValue
from fairautoml.search.space import Integer, ParamSpace, Range, Real, SearchSpace, same_value

if TYPE_CHECKING:
    from fairautoml.search.strategies._surrogate import Surrogate

Floats = NDArray[np.float64]

UNIT_OF_ZERO_LIMIT = 0.01
"""Divisor of a gap whose limit is 0."""


def normalised(gap: Floats, limit: Floats) -> tuple[Floats, Floats]:
    """Return gaps and limits in units of the limits, so that one penalty suits all constraints."""
    strict = limit == 0
    unit = np.where(strict, UNIT_OF_ZERO_LIMIT, limit)
    return gap / unit, np.where(strict, 0.0, 1.0)


def best_slack(gap: Floats, limit: Floats, mu: Floats, rho: float) -> Floats:
    """Return the slack in [0, limit] that minimises the penalty at this gap."""
    return np.clip(limit - gap - mu / rho, 0.0, limit)


def residual(gap: Floats, limit: Floats, slack: Floats, mu: Floats, rho: float) -> Floats:
    """Return ``gap - limit + slack + mu / rho`` of each constraint."""
    return gap - limit + slack + mu / rho


def penalty(gap: Floats, limit: Floats, slack: Floats, mu: Floats, rho: float) -> float:
    """Return ``rho / 2`` times the squared residuals, summed over the constraints.

    With ``best_slack`` each residual is ``max(0, gap - limit + mu/rho) + min(0, gap + mu/rho)``.
    """
    return float(rho / 2 * np.sum(residual(gap, limit, slack, mu, rho) ** 2))


def next_mu(gap: Floats, limit: Floats, slack: Floats, mu: Floats, rho: float) -> Floats:
    """Return the next dual variables, negative where the slack was fitted at another point."""
    return mu + rho * (gap - limit + slack)


def coupling(relaxed: Floats, copy: Floats, dual: Floats, rho: float) -> float:
    """Return ``rho / 2 |relaxed - b|^2`` with ``b = copy - dual / rho``."""
    return float(rho / 2 * np.sum((relaxed - anchor(copy, dual, rho)) ** 2))


def anchor(copy: Floats, dual: Floats, rho: float) -> Floats:
    """Return ``b = copy - dual / rho``, the centre of the coupling penalty."""
    return copy - dual / rho


def next_copy(
    relaxed: Floats, dual: Floats, rho: float, nearest: Callable[[Floats], Floats]
) -> tuple[Floats, Floats]:
    """Return the integer copies (delta-min, closed form) and their next dual variables."""
    copy = nearest(relaxed + dual / rho)
    return copy, dual + rho * (relaxed - copy)


class Arms(NamedTuple):
    """One bandit arm per module."""

    learner: str
    encoding: str
    mitigation: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """A point of the unit hypercube and its configuration under given arms."""

    arms: Arms  # learner, encoding and mitigation
    point: Floats  # shape (n_coordinates,): position in the hypercube
    present: NDArray[np.bool_]  # shape (n_coordinates,): coordinates of active parameters
    config: Config  # the decoded configuration


def to_unit(allowed: Range, value: ParamValue) -> float:
    """Return the position of a value between the bounds of its range, from 0 to 1."""
    if isinstance(allowed, Real | Integer):
        low, high, at = float(allowed.low), float(allowed.high), float(value)
        if allowed.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return (at - low) / (high - low)
    position = next(i for i, known in enumerate(allowed.values) if same_value(known, value))
    return position / max(len(allowed.values) - 1, 1)


MOST_LEVELS = 1_000
"""Most values of an integer whose levels are listed."""


def _values_of(allowed: Range) -> Sequence[ParamValue]:
    """Return the values of a range in their order, none if there are too many."""
    if isinstance(allowed, Real):
        return ()
    if not isinstance(allowed, Integer):
        return allowed.values
    values = range(allowed.low, allowed.high + 1)
    return values if len(values) <= MOST_LEVELS else ()


def from_unit(allowed: Range, unit: float) -> ParamValue:
    """Return the value of a range that is nearest to a coordinate."""
    if isinstance(allowed, Real):
        return min(max(_between(allowed, unit), allowed.low), allowed.high)
    if isinstance(allowed, Integer):
        return min(max(_rounded(allowed, unit), allowed.low), allowed.high)
    return allowed.values[round(unit * (len(allowed.values) - 1))]


def _between(allowed: Real | Integer, unit: float) -> float:
    if not allowed.log:
        return allowed.low + unit * (allowed.high - allowed.low)
    low, high = math.log(allowed.low), math.log(allowed.high)
    return math.exp(low + unit * (high - low))


def _rounded(allowed: Integer, unit: float) -> int:
    value = _between(allowed, unit)
    if not allowed.log:
        return round(value)
    # Nearest in the logarithm: the border between n and n + 1 is their geometric mean.
    below = math.floor(value)
    return below if value * value < below * (below + 1) else below + 1


class UnitHypercube:
    """Encodes configurations as points of the unit hypercube and decodes them."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._ranges: list[Range] = []
        self._learners = {name: self._place(part) for name, part in space.learners.items()}
        self._mitigations = {name: self._place(part) for name, part in space.mitigations.items()}
        self._exact: dict[tuple[int, float], ParamValue] = {
            (at, to_unit(allowed, allowed.default)): allowed.default
            for at, allowed in enumerate(self._ranges)
        }
        self.relaxed: NDArray[np.bool_] = np.array(
            [not isinstance(allowed, Real) for allowed in self._ranges], dtype=bool
        )
        self._levels = {
            at: np.array([to_unit(allowed, value) for value in values])
            for at, allowed in enumerate(self._ranges)
            if (values := _values_of(allowed))
        }

    def _place(self, part: ParamSpace) -> dict[str, int]:
        first = len(self._ranges)
        self._ranges.extend(part.ranges.values())
        return {param: first + i for i, param in enumerate(part.ranges)}

    @property
    def size(self) -> int:
        return len(self._ranges)

    @property
    def modules(self) -> tuple[tuple[str, ...], ...]:
        """Arms of each module, in the order of ``Arms``."""
        return tuple(self._space.learners), self._space.encodings, tuple(self._space.mitigations)

    def middle(self) -> Floats:
        """Return the point of the default values."""
        return np.array(
            [to_unit(allowed, allowed.default) for allowed in self._ranges], dtype=float
        )

    def is_fixed(self, arms: Arms) -> bool:
        """Whether these arms have no parameter at all."""
        return not self._learners[arms.learner] and not self._mitigations[arms.mitigation]

    def nearest(self, point: Floats) -> Floats:
        """Return the point with every relaxed coordinate moved to its nearest level."""
        levels = np.clip(point, 0.0, 1.0)
        for at in np.flatnonzero(self.relaxed):
            allowed = self._ranges[at]
            levels[at] = to_unit(allowed, from_unit(allowed, levels[at]))
        return levels

    def rounded(self, points: Floats) -> Floats:
        """Return points with every relaxed coordinate of few levels at its nearest level."""
        found = points.copy()
        for at, levels in self._levels.items():
            found[:, at] = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, points[:, at])]
        return found

    def presence(self, arms: Arms, points: Floats) -> NDArray[np.bool_]:
        """Return which coordinates have an active parameter, shape of the points."""
        learner, mitigation = self._parts(arms)
        pairs = (
            (learner, self._learners[arms.learner]),
            (mitigation, self._mitigations[arms.mitigation]),
        )
        parents = sorted({at[one.param] for part, at in pairs for one in part.conditions.values()})
        levels = np.column_stack([np.zeros(len(points)), self.rounded(points)[:, parents]])
        _, first, which = np.unique(levels, axis=0, return_index=True, return_inverse=True)
        found = np.array([self.read(arms, points[at]).present for at in first])
        return found[which]

    def read(self, arms: Arms, point: Floats) -> Reading:
        """Return the configuration at a point."""
        present = np.zeros(self.size, dtype=bool)
        arms = arms._replace(
            encoding=self._space.encoding_of(arms.learner, arms.encoding),
            mitigation=self._space.mitigation_of(arms.learner, arms.mitigation),
        )
        learner, mitigation = self._parts(arms)
        config = Config(
            learner=arms.learner,
            params=self._values(learner, self._learners[arms.learner], point, present),
            encoding=arms.encoding,
            mitigation=arms.mitigation,
            mitigation_params=self._values(
                mitigation, self._mitigations[arms.mitigation], point, present
            ),
        )
        return Reading(arms=arms, point=point, present=present, config=config)

    def _parts(self, arms: Arms) -> tuple[ParamSpace, ParamSpace]:
        return self._space.learners[arms.learner], self._space.mitigations[arms.mitigation]

    def _values(
        self, part: ParamSpace, at: Mapping[str, int], point: Floats, present: NDArray[np.bool_]
    ) -> dict[str, ParamValue]:
        def value(param: str, allowed: Range) -> ParamValue:
            present[at[param]] = True
            unit = float(point[at[param]])
            known = self._exact.get((at[param], unit))
            return from_unit(allowed, unit) if known is None else known

        return part.walk(value)

    def locate(self, config: Config) -> Reading | None:
        """Return the point of a configuration, inactive parameters at their defaults.

        Afterwards ``read`` returns exactly this configuration: the logarithm and its inverse lose
        the last digit, which would make it a different configuration.
        """
        arms = Arms(config.learner, config.encoding, config.mitigation)
        if any(arm not in known for arm, known in zip(arms, self.modules, strict=True)):
            return None
        learner, mitigation = self._parts(arms)
        if not (learner.contains(config.params) and mitigation.contains(config.mitigation_params)):
            return None
        point = self.middle()
        self._mark(self._learners[arms.learner], config.params, point)
        self._mark(self._mitigations[arms.mitigation], config.mitigation_params, point)
        return self.read(arms, point)

    def _mark(
        self, at: Mapping[str, int], params: Mapping[str, ParamValue], point: Floats
    ) -> None:
        for param, value in params.items():
            unit = to_unit(self._ranges[at[param]], value)
            point[at[param]] = unit
            self._exact[at[param], unit] = value


LOCAL_STEP = 0.1
"""Standard deviation of a local step, in units of a parameter's whole range."""

PRIOR = 10.0
"""Both parameters of the Beta prior of every arm (Liu et al. 2020, alpha_0 and delta_0)."""


class HalfLocal:
    """Alternates uniform draws and Gaussian steps from the incumbent; starts at ``current``."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._local = True
        self._begun = False

    def point(self, current: Floats, incumbent: Floats | None) -> Floats:
        """Return the next point; the first one is ``current`` if there is no incumbent."""
        first, self._begun = not self._begun, True
        if incumbent is None:
            return current if first else self._rng.random(len(current))
        self._local = not self._local
        if not self._local:
            return self._rng.random(len(current))
        step = self._rng.normal(0.0, LOCAL_STEP, len(current))
        return np.clip(incumbent + step, 0.0, 1.0)


def reward(value: float, bound: float) -> float:
    """Return the success probability, from 1 at value 0 to 0 at the bound and above."""
    return 1.0 - min(max(value / bound, 0.0), 1.0)


class Bandit:
    """Combinatorial Thompson sampling with Beta posteriors (Liu et al. 2020, section 4).

    Counts persist over the iterations.
    """

    def __init__(
        self, modules: Sequence[tuple[str, ...]], rng: np.random.Generator, bound: float
    ) -> None:
        self.bound = bound
        self._rng = rng
        self._modules = modules
        self._pulls = [np.zeros(len(arms)) for arms in modules]
        self._wins = [np.zeros(len(arms)) for arms in modules]

    def pull(self) -> Arms:
        """Draw a value of every arm and return the best arm of each module."""
        learner, encoding, mitigation = (
            arms[int(np.argmax(self._rng.beta(PRIOR + wins, PRIOR + pulls - wins)))]
            for arms, pulls, wins in zip(self._modules, self._pulls, self._wins, strict=True)
        )
        return Arms(learner, encoding, mitigation)

    def learn(self, arms: Arms, value: float) -> None:
        """Count a pull, and a success with probability ``reward(value, bound)``."""
        won = self._rng.random() < reward(value, self.bound)
        for module, arm in enumerate(arms):
            at = self._modules[module].index(arm)
            self._pulls[module][at] += 1
            self._wins[module][at] += won


def raised_bound(bound: float, pulled: Sequence[float], logged: Sequence[float]) -> float:
    """Return the next bound: the median of the log if every pull reached the old one."""
    if not logged or min(pulled, default=-math.inf) < bound:
        return bound
    return max(bound, float(np.median(logged)))


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Splitting:
    """Penalties of the splitting and budgets of its sub-problems.

    The budgets suit runs of 20 to 100 trials. Those of the paper, for several hundred, are 16
    evaluations, growing by 8 to 128, and 16 pulls, from one start.
    """

    # penalty that couples relaxed integers (scaled to [0, 1]) and their copies, positive
    rho: float = 1.0
    rho_gap: float = 0.1  # penalty of the constraints, in units of their limits, positive
    bound: float = 0.7  # loss at which the reward of an arm is 0, positive
    # evaluations of the first theta-min, their increase per iteration, and their maximum
    evaluations: int = 4
    growth: int = 2
    most: int = 128
    pulls: int = 6  # bandit pulls of each z-min, at least 1
    starts: int = 2  # starting learners, in the order of the initial configurations, at least 1
    # choose points of theta-min by a Gaussian process, as Liu et al. do, not by draws alone
    modelled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """Result of a successful evaluation."""

    reading: Reading  # arms, point and configuration
    loss: float  # one minus the objective
    gap: Floats  # shape (n_constraints,): in units of the limit
    limit: Floats  # shape (n_constraints,)
    # one fold ranks configurations, but its gaps differ by more than those of configurations do
    screened: bool = False  # whether it was evaluated on one fold only


@dataclass(slots=True, kw_only=True)
class _Phase:
    """A sub-problem being solved."""

    kind: Literal["theta", "z"]
    size: int
    issued: int = 0
    done: int = 0
    best: Outcome | None = None
    best_value: float = math.inf
    exhausted: bool = False  # the model found no new point with these arms
    values: list[float] = field(default_factory=list)

    def offer(self, outcome: Outcome, value: float) -> None:
        if value < self.best_value:
            self.best, self.best_value = outcome, value


SAMPLED_EVERY = 4
"""One in this many points of theta-min is drawn without the model."""


class Start:
    """ADMM iterations from one start; points and their outcomes may come in any order.

    The dual variables are updated when a phase is complete.
    """

    def __init__(
        self,
        cube: UnitHypercube,
        splitting: Splitting,
        origin: Reading,
        log: Sequence[Outcome],
        points: HalfLocal,
        arms: Bandit,
        surrogate: "Surrogate | None" = None,
    ) -> None:
        self._cube = cube
        self._how = splitting
        self._log = log
        self._points = points
        self._bandit = arms
        self._surrogate = surrogate
        self.iteration = 0
        self.arms: Arms = origin.arms
        self.point: Floats = origin.point
        self.copy: Floats = cube.nearest(origin.point)
        self.dual: Floats = np.zeros(cube.size)
        # Scalar until the first outcome shows the number of constraints.
        self.mu: Floats = np.zeros(())
        self.slack: Floats = np.zeros(())
        self._budget = min(splitting.evaluations, splitting.most)
        self._phase = self._theta_phase()

    def propose(self) -> Reading | None:
        """Return the next point to evaluate, or None while the phase waits for outcomes."""
        phase = self._phase
        if phase.issued == phase.size:
            return None
        phase.issued += 1
        if phase.kind == "z":
            return self._cube.read(self._bandit.pull(), self.point)
        best = phase.best
        incumbent = None if best is None else self._at_rest(best.reading)
        modelled = self._modelled(phase, incumbent)
        if modelled is not None:
            return modelled
        return self._cube.read(self.arms, self._points.point(self.point, incumbent))

    def _modelled(self, phase: _Phase, incumbent: Floats | None) -> Reading | None:
        """Return the point that the model chooses, None if it does not choose this one."""
        drawn = phase.exhausted or phase.issued % SAMPLED_EVERY == 0 or len(self._log) < 2
        if self._surrogate is None or incumbent is None or drawn:
            return None
        values = [self._z_value(outcome) for outcome in self._log]
        found = self._surrogate.best(self.arms, self._log, values, incumbent)
        phase.exhausted = found is None
        return found

    def offer(self, outcome: Outcome) -> None:
        """Receive an evaluation that this start did not propose."""
        if self._phase.kind == "theta" and outcome.reading.arms == self.arms:
            self._phase.offer(outcome, self._theta_value(outcome))

    def revise(self, outcome: Outcome) -> None:
        """Update the dual variables of the constraints by an outcome on all folds."""
        rho = self._how.rho_gap
        slack = best_slack(outcome.gap, outcome.limit, self.mu, rho)
        self.mu = next_mu(outcome.gap, outcome.limit, slack, self.mu, rho)

    def accept(self, reading: Reading, outcome: Outcome | None) -> None:
        """Receive the outcome of a proposed point, None for a failure."""
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
        if phase.done < phase.size:
            return
        if phase.kind == "theta":
            self._phase = self._z_phase(phase.best)
        else:
            self._close(phase)
            self._phase = self._theta_phase()

    def _theta_phase(self) -> _Phase:
        """Begin theta-min; known outcomes of these arms are evaluated with the new duals."""
        size = 1 if self._cube.is_fixed(self.arms) else self._budget
        phase = _Phase(kind="theta", size=size)
        for outcome in self._log:
            if outcome.reading.arms == self.arms:
                phase.offer(outcome, self._theta_value(outcome))
        return phase

    def _z_phase(self, best: Outcome | None) -> _Phase:
        """Begin z-min at the best point of theta-min."""
        phase = _Phase(kind="z", size=self._how.pulls)
        if best is not None:
            self.point = self._at_rest(best.reading)
            self.slack = best_slack(best.gap, best.limit, self.mu, self._how.rho_gap)
            phase.offer(best, self._z_value(best))
        return phase

    def _close(self, phase: _Phase) -> None:
        """Take the arms of z-min, solve delta-min and update the duals."""
        how, best = self._how, phase.best
        logged = [self._z_value(outcome) for outcome in self._log]
        self._bandit.bound = raised_bound(self._bandit.bound, phase.values, logged)
        if best is not None:
            self.arms = best.reading.arms
            if not best.screened:
                self.mu = next_mu(best.gap, best.limit, self.slack, self.mu, how.rho_gap)
        # On real-valued coordinates the copy equals the point and the dual stays 0.
        self.copy, self.dual = next_copy(self.point, self.dual, how.rho, self._cube.nearest)
        self.iteration += 1
        self._budget = min(self._budget + how.growth, how.most)
        logger.debug("iteration %d: arms %s, mu %s", self.iteration, self.arms, self.mu)

    def _at_rest(self, reading: Reading) -> Floats:
        """Return the point with the coordinates of inactive parameters at ``clip(b)``."""
        resting = np.clip(anchor(self.copy, self.dual, self._how.rho), 0.0, 1.0)
        return np.where(reading.present, reading.point, resting)

    def _theta_value(self, outcome: Outcome) -> float:
        rho, relaxed = self._how.rho_gap, self._cube.relaxed
        slack = best_slack(outcome.gap, outcome.limit, self.mu, rho)
        point = self._at_rest(outcome.reading)
        return (
            outcome.loss
            + penalty(outcome.gap, outcome.limit, slack, self.mu, rho)
            + coupling(point[relaxed], self.copy[relaxed], self.dual[relaxed], self._how.rho)
        )

    def _z_value(self, outcome: Outcome) -> float:
        rho = self._how.rho_gap
        return outcome.loss + penalty(outcome.gap, outcome.limit, self.slack, self.mu, rho)
