"""Search spaces: of one learner or mitigator, and of the whole search."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from fairautoml.spaces.ranges import ParamValue, Range, same_value


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """When a parameter exists: only if another one has one of some values."""

    param: str  # the other parameter; it comes earlier in the space
    values: tuple[ParamValue, ...]  # its values that switch this one on

    def holds(self, params: Mapping[str, ParamValue]) -> bool:
        """Whether it is met by the parameters chosen so far; not by an absent one."""
        if self.param not in params:
            return False
        return any(same_value(params[self.param], value) for value in self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamSpace:
    """The hyperparameters of one learner or mitigator.

    Examples
    --------
    >>> from fairautoml.spaces import Integer
    >>> space = ParamSpace(name="tree", ranges={"depth": Integer(low=1, high=9, default=3)})
    >>> space.defaults()
    {'depth': 3}
    """

    name: str  # registered name of the learner or mitigator
    # every parameter, in the order of the file
    ranges: Mapping[str, Range] = field(default_factory=dict)
    # parameters that exist only under a condition
    conditions: Mapping[str, Condition] = field(default_factory=dict)

    def walk(self, suggest: Callable[[str, Range], ParamValue]) -> dict[str, ParamValue]:
        """Ask for the value of each active parameter, in file order."""
        params: dict[str, ParamValue] = {}
        for param, allowed in self.ranges.items():
            condition = self.conditions.get(param)
            if condition is None or condition.holds(params):
                params[param] = suggest(param, allowed)
        return params

    def defaults(self) -> dict[str, ParamValue]:
        """Return the first guess."""
        return self.walk(lambda _, allowed: allowed.default)

    def sample(self, rng: np.random.Generator) -> dict[str, ParamValue]:
        """Draw a point at random."""
        return self.walk(lambda _, allowed: allowed.sample(rng))

    def contains(self, params: Mapping[str, ParamValue]) -> bool:
        """Whether ``params`` holds the active parameters and no other, all in range."""
        active = self.walk(lambda param, allowed: params.get(param, allowed.default))
        return params.keys() == active.keys() and all(
            self.ranges[param].contains(value) for param, value in params.items()
        )


def _without_mitigation() -> dict[str, ParamSpace]:
    return {"none": ParamSpace(name="none")}


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """All that a search may choose from."""

    learners: Mapping[str, ParamSpace]  # space of each learner
    # ways in which categories reach the learner: ``("codes",)`` or ``("codes", "target")``
    encodings: tuple[str, ...] = ("codes",)
    # space of each training-time mitigation; ``"none"`` has no parameters
    mitigations: Mapping[str, ParamSpace] = field(default_factory=_without_mitigation)
