"""The search space laid flat: one name per choice and hyperparameter, conditional or not.

For searchers that know no conditions: a parameter that is absent keeps a value, which rests.
"""

from collections.abc import Mapping

from fairautoml.search.proposal import flat, propose
from fairautoml.spaces import Choice, Range, SearchSpace
from fairautoml.trials import Candidate, ParamValue


def coordinates(space: SearchSpace) -> dict[str, Range]:
    """Return every name that ``propose`` may ask for, with its range."""
    arms = {
        "learner": tuple(space.learners),
        "encoding": space.encodings,
        "mitigation": tuple(space.mitigations),
    }
    found: dict[str, Range] = {
        name: Choice(values=values, default=values[0]) for name, values in arms.items()
    }
    for part in (*space.learners.values(), *space.mitigations.values()):
        found.update({f"{part.name}.{param}": allowed for param, allowed in part.ranges.items()})
    return {name: allowed for name, allowed in found.items() if not _is_fixed(allowed)}


def _is_fixed(allowed: Range) -> bool:
    return isinstance(allowed, Choice) and len(allowed.values) == 1


def candidate_of(space: SearchSpace, values: Mapping[str, ParamValue]) -> Candidate:
    """Return the candidate at a point of the flat space."""

    def value(name: str, allowed: Range) -> ParamValue:
        return values.get(name, allowed.default)

    return propose(space, value)


def values_of(space: SearchSpace, candidate: Candidate) -> dict[str, ParamValue]:
    """Return a value of every coordinate: the candidate's, elsewhere the default."""
    chosen = flat(candidate)
    return {
        name: chosen.get(name, allowed.default) for name, allowed in coordinates(space).items()
    }


def lies_in(space: SearchSpace, candidate: Candidate) -> bool:
    """Whether a candidate is a complete point of the space."""
    return (
        candidate.learner in space.learners
        and space.learners[candidate.learner].contains(candidate.params)
        and candidate.encoding in space.encodings
        and candidate.mitigation in space.mitigations
        and space.mitigations[candidate.mitigation].contains(candidate.mitigation_params)
    )
