"""The search space as arms and a unit cube: one coordinate per hyperparameter of every part.

Integers and choices are relaxed to [0, 1] and rounded when a candidate is read off; conditional
parameters are flattened: each has its coordinate, which rests while the parameter is absent.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fairautoml.search.strategies._admm_math import Floats
from fairautoml.spaces import Integer, ParamSpace, Range, Real, SearchSpace
from fairautoml.spaces.ranges import same_value
from fairautoml.trials import Candidate, ParamValue


class Arms(NamedTuple):
    """What is chosen in each module."""

    learner: str
    encoding: str
    mitigation: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """A point of the cube under some arms."""

    arms: Arms  # which learner, encoding and mitigation
    point: Floats  # shape (n_coordinates,): where in the cube
    present: NDArray[np.bool_]  # shape (n_coordinates,): coordinates that the candidate depends on
    candidate: Candidate  # what stands there


def to_unit(allowed: Range, value: ParamValue) -> float:
    """Return where a value lies between the bounds of its range, from 0 to 1."""
    if isinstance(allowed, Real | Integer):
        low, high, at = float(allowed.low), float(allowed.high), float(value)
        if allowed.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return (at - low) / (high - low)
    position = next(i for i, known in enumerate(allowed.values) if same_value(known, value))
    return position / max(len(allowed.values) - 1, 1)


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


class Cube:
    """Translates between candidates and points."""

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

    def _place(self, part: ParamSpace) -> dict[str, int]:
        first = len(self._ranges)
        self._ranges.extend(part.ranges.values())
        return {param: first + i for i, param in enumerate(part.ranges)}

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return len(self._ranges)

    @property
    def modules(self) -> tuple[tuple[str, ...], ...]:
        """The arms of each module, in the order of ``Arms``."""
        return tuple(self._space.learners), self._space.encodings, tuple(self._space.mitigations)

    def middle(self) -> Floats:
        """Return the point where every parameter has its default."""
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

    def read(self, arms: Arms, point: Floats) -> Reading:
        """Return the candidate at a point."""
        present = np.zeros(self.size, dtype=bool)
        learner, mitigation = self._parts(arms)
        candidate = Candidate(
            learner=arms.learner,
            params=self._values(learner, self._learners[arms.learner], point, present),
            encoding=arms.encoding,
            mitigation=arms.mitigation,
            mitigation_params=self._values(
                mitigation, self._mitigations[arms.mitigation], point, present
            ),
        )
        return Reading(arms=arms, point=point, present=present, candidate=candidate)

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

    def locate(self, candidate: Candidate) -> Reading | None:
        """Return the point of a candidate, absent parameters at their defaults.

        From then on ``read`` gives exactly this candidate back: the logarithm and its inverse lose
        the last digit, and a trial with another last digit would be another trial.
        """
        arms = Arms(candidate.learner, candidate.encoding, candidate.mitigation)
        if any(arm not in known for arm, known in zip(arms, self.modules, strict=True)):
            return None
        learner, mitigation = self._parts(arms)
        if not (
            learner.contains(candidate.params) and mitigation.contains(candidate.mitigation_params)
        ):
            return None
        point = self.middle()
        self._mark(self._learners[arms.learner], candidate.params, point)
        self._mark(self._mitigations[arms.mitigation], candidate.mitigation_params, point)
        return self.read(arms, point)

    def _mark(
        self, at: Mapping[str, int], params: Mapping[str, ParamValue], point: Floats
    ) -> None:
        for param, value in params.items():
            unit = to_unit(self._ranges[at[param]], value)
            point[at[param]] = unit
            self._exact[at[param], unit] = value
