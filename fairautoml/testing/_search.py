"""Contract checks for search spaces and strategies."""

import json
from collections.abc import Sequence

import numpy as np

from fairautoml.records import Budget, Config, Trial, TrialResult, TrialState
from fairautoml.search.space import (
    Choice,
    Condition,
    Integer,
    ParamSpace,
    ParamValue,
    Real,
    SearchSpace,
)
from fairautoml.search.strategies import MakeStrategy
from fairautoml.search.strategies._admm import lies_in

N_POINTS = 5
"""Points drawn from a search space, besides its defaults."""


def check_space(name: str, space: ParamSpace) -> None:
    """Check that a search space keeps the contract of ``fairautoml.search.space``.

    The defaults and every sampled point lie in the space and are plain Python values that survive
    JSON, and the same seed draws the same point.

    Parameters
    ----------
    name : str
        Expected name of the space: the learner or mitigator.
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
        Space to sample from.
    n : int
        Number of sampled points, at least 0.
    """
    rng = np.random.default_rng(0)
    return [space.defaults(), *(space.sample(rng) for _ in range(n))]


BATCH = 8
"""Calls of ``ask`` before the first result."""

ROUNDS = 5

LINEAR = ParamSpace(name="linear", ranges={"c": Real(low=1e-3, high=1e3, log=True, default=1.0)})
TREES = ParamSpace(
    name="trees",
    ranges={
        "kind": Choice(values=("plain", "dart"), default="plain"),
        "leaves": Integer(low=2, high=64, log=True, default=31),
        "drop": Real(low=0.0, high=0.5, default=0.1),
    },
    conditions={"drop": Condition(param="kind", values=("dart",))},
)
SPACES = (
    SearchSpace(learners={"linear": LINEAR, "trees": TREES}, encodings=("codes", "target")),
    SearchSpace(learners={"trees": TREES}),
    SearchSpace(learners={"fixed": ParamSpace(name="fixed")}),
)


def check_strategy(make: MakeStrategy) -> None:
    """Check that a search strategy keeps the contract of ``fairautoml.search.strategies``.

    The strategy samples the initial configurations first and unchanged, stays in its space (also
    one with a single learner or without parameters), is deterministic given the seed and the
    results, accepts many calls of ``ask`` before the first result, and continues after failed
    results and infinite constraint violations. ``ask`` may return None while results are pending.

    Parameters
    ----------
    make : callable
        ``make(space, seed, first)``.

    Raises
    ------
    AssertionError
        The contract is broken; the message says where.
    """
    for space in SPACES:
        name, part = next(iter(space.learners.items()))
        first = (Config(learner=name, params=part.defaults()),)
        sampled = _samples(make, space, first)
        if sampled[:1] != list(first):
            raise AssertionError(f"the initial configuration {first[0]} is not sampled first")
        for config in sampled:
            if not lies_in(space, config):
                raise AssertionError(f"{config} lies outside the space")
        if sampled != _samples(make, space, first):
            raise AssertionError("the same seed and results give different configurations")


def _samples(make: MakeStrategy, space: SearchSpace, first: Sequence[Config]) -> list[Config]:
    strategy = make(space, 3, first)
    found: list[Config] = []
    for _ in range(ROUNDS):
        batch = [config for config in (strategy.ask() for _ in range(BATCH)) if config]
        if not batch:
            raise AssertionError("ask returns None though no result is pending")
        for config in batch:
            strategy.tell(_scored(len(found), config))
            found.append(config)
    return found


def _scored(number: int, config: Config) -> TrialResult:
    """Return a result; every third trial fails, and every second violation is infinite."""
    failed = number % 3 == 2
    return TrialResult(
        trial=Trial(number=number, config=config, budget=Budget(folds=2)),
        status=TrialState.FAILED if failed else TrialState.SUCCESS,
        value=None if failed else 0.5 + number / 1000,
        violations=(float("inf") if number % 2 else -0.01,),
        seconds=0.1,
    )
