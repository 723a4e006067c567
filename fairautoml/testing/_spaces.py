"""The contract of a search space."""

import json

import numpy as np

from fairautoml.spaces import ParamSpace, ParamValue

N_POINTS = 5
"""Points drawn from a search space, besides its defaults."""


def check_space(name: str, space: ParamSpace) -> None:
    """Check that a search space keeps the contract of ``fairautoml.spaces``.

    Its defaults and every sampled point lie in it, are plain Python values that survive JSON, and
    the same seed draws the same point.

    Parameters
    ----------
    name : str
        What the space should be called: the learner or mitigator.
    space : ParamSpace
        The space to check.

    Raises
    ------
    AssertionError
        The contract is broken; the message says where.
    """
    if space.name != name:
        raise AssertionError(f"the space of {name} is called {space.name!r}")
    for params in points(space, n=20 * N_POINTS):
        if not space.contains(params):
            raise AssertionError(f"{name}: its own point {params} lies outside the space")
        again = json.loads(json.dumps(params, allow_nan=False))
        if not space.contains(again) or again != params:
            raise AssertionError(f"{name}: {params} becomes {again} in JSON")
    first, second = (space.sample(np.random.default_rng(3)) for _ in range(2))
    if first != second:
        raise AssertionError(f"{name}: one seed draws {first} and {second}")


def points(space: ParamSpace, n: int) -> list[dict[str, ParamValue]]:
    """Return the defaults of a space and ``n`` points drawn from it.

    Parameters
    ----------
    space : ParamSpace
        Where to draw.
    n : int
        How many, at least 0.
    """
    rng = np.random.default_rng(0)
    return [space.defaults(), *(space.sample(rng) for _ in range(n))]
