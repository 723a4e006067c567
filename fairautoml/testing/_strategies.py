"""The contract of a search strategy."""

from collections.abc import Sequence

from fairautoml.search.strategies import MakeStrategy
from fairautoml.search.strategies._coordinates import lies_in
from fairautoml.spaces import Choice, Condition, Integer, ParamSpace, Real, SearchSpace
from fairautoml.trials import Budget, Candidate, Status, Told, Trial

BATCH = 8
"""Candidates asked for before the first result."""

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

    It proposes the given candidates first and as they are, stays in its space, also one with a
    single learner or without parameters, gives the same proposals for the same seed and results,
    takes many asks before the first result, and goes on after results that failed or whose
    constraints are infinitely far off. It may return None from ``ask`` while results are due.

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
        first = (Candidate(learner=name, params=part.defaults()),)
        proposed = _proposals(make, space, first)
        if proposed[:1] != list(first):
            raise AssertionError(f"the given candidate {first[0]} is not proposed first")
        for candidate in proposed:
            if not lies_in(space, candidate):
                raise AssertionError(f"{candidate} lies outside the space")
        if proposed != _proposals(make, space, first):
            raise AssertionError("the same seed and results do not give the same proposals")


def _proposals(
    make: MakeStrategy, space: SearchSpace, first: Sequence[Candidate]
) -> list[Candidate]:
    strategy = make(space, 3, first)
    found: list[Candidate] = []
    for _ in range(ROUNDS):
        batch = [candidate for candidate in (strategy.ask() for _ in range(BATCH)) if candidate]
        if not batch:
            raise AssertionError("ask returns None though no result is due")
        for candidate in batch:
            strategy.tell(_told(len(found), candidate))
            found.append(candidate)
    return found


def _told(number: int, candidate: Candidate) -> Told:
    """Every third trial fails; the others have one constraint, at times infinitely far off."""
    failed = number % 3 == 2
    return Told(
        trial=Trial(number=number, candidate=candidate, budget=Budget(folds=2)),
        status=Status.FAILED if failed else Status.SUCCESS,
        value=None if failed else 0.5 + number / 1000,
        violations=(float("inf") if number % 2 else -0.01,),
        seconds=0.1,
    )
