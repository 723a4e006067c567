"""First candidates: a short list that is good on most tables, best value per second first."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fairautoml.spaces._nodes import Place, root_of
from fairautoml.spaces.ranges import Integer, ParamValue, Range, Real
from fairautoml.spaces.space import ParamSpace, SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioMember:
    """One first candidate."""

    learner: str  # registered name
    encoding: str = "codes"  # how categories reach the learner
    # a complete point of the learner's space
    params: Mapping[str, ParamValue] = field(default_factory=dict)


def read_portfolio(text: str, origin: str, space: SearchSpace) -> tuple[PortfolioMember, ...]:
    """Read the first candidates that lie in a search space, in file order.

    Members whose learner the space does not have are left out. An encoding that the space does
    not have becomes its first one; members that so become equal are kept once.
    """
    top = root_of(text, origin).fields(("members",), ())
    members: list[PortfolioMember] = []
    for place in top["members"].items():
        member = _read_member(place, space)
        if member is not None and member not in members:
            members.append(member)
    return tuple(members)


def _read_member(place: Place, space: SearchSpace) -> PortfolioMember | None:
    fields = place.fields(("learner",), ("encoding", "params"))
    learner = fields["learner"].string()
    asked = fields["encoding"].string() if "encoding" in fields else "codes"
    if learner not in space.learners:
        return None
    given = fields["params"].mapping() if "params" in fields else {}
    return PortfolioMember(
        learner=learner,
        encoding=asked if asked in space.encodings else space.encodings[0],
        params=_complete(given, space.learners[learner]),
    )


def _complete(given: Mapping[str, Place], space: ParamSpace) -> dict[str, ParamValue]:
    def take(param: str, allowed: Range) -> ParamValue:
        if param not in given:
            return allowed.default
        value = _value(given[param], allowed)
        if not allowed.contains(value):
            raise given[param].error(f"{value!r} is outside the space of {space.name}: {allowed}")
        return value

    params = space.walk(take)
    for param, place in given.items():
        if param not in params:
            active = ", ".join(params)
            raise place.error(f"{space.name} has no such parameter here; active: {active}")
    return params


def _value(place: Place, allowed: Range) -> ParamValue:
    if isinstance(allowed, Real):
        return place.real()
    return place.integer() if isinstance(allowed, Integer) else place.value()
