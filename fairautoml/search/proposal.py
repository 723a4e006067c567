"""One walk through the search space, whoever answers: a random generator, Optuna, ADMM."""

from collections.abc import Callable, Mapping

from fairautoml.spaces import Choice, ParamSpace, Range, SearchSpace
from fairautoml.trials import Candidate, ParamValue

Suggest = Callable[[str, Range], ParamValue]


def propose(space: SearchSpace, suggest: Suggest) -> Candidate:
    """Build a candidate by asking for one value after the other.

    Names are ``learner``, ``lightgbm.num_leaves``, ``encoding``, ``mitigation``,
    ``reweighing.strength``; a choice with a single value is not asked for.
    """
    learner = _pick("learner", tuple(space.learners), suggest)
    params = _walk(space.learners[learner], suggest)
    encoding = _pick("encoding", space.encodings, suggest)
    mitigation = _pick("mitigation", tuple(space.mitigations), suggest)
    return Candidate(
        learner=learner,
        params=params,
        encoding=encoding,
        mitigation=mitigation,
        mitigation_params=_walk(space.mitigations[mitigation], suggest),
    )


def _pick(name: str, values: tuple[str, ...], suggest: Suggest) -> str:
    if len(values) == 1:
        return values[0]
    return str(suggest(name, Choice(values=values, default=values[0])))


def _walk(part: ParamSpace, suggest: Suggest) -> dict[str, ParamValue]:
    return part.walk(lambda param, allowed: suggest(f"{part.name}.{param}", allowed))


def flat(candidate: Candidate) -> dict[str, ParamValue]:
    """Return the candidate as the answers that ``propose`` would ask for."""
    return {
        "learner": candidate.learner,
        "encoding": candidate.encoding,
        "mitigation": candidate.mitigation,
        **_named(candidate.learner, candidate.params),
        **_named(candidate.mitigation, candidate.mitigation_params),
    }


def _named(owner: str, params: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
    return {f"{owner}.{param}": value for param, value in params.items()}
