"""Ask and tell around FLAML's searchers (FLAML 2.7; Wu, Wang and Huang, AAAI 2021).

FLAML fails on a space with low-cost starts in two nested choices (``add_cost_to_space`` leaves off
after the first), so it is given the flat space: absent parameters keep a value that rests. A
choice is an ordered position, as an unordered one makes FLOW2 change the learner in about every
second proposal. FLAML knows no constraint that suits here (``metric_constraints`` skips a metric
of 0), so it is told a loss with a penalty.
"""

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fairautoml.records import Config, ParamValue, ScoredTrial
from fairautoml.search.loop import propose
from fairautoml.search.space import Integer, Range, Real, SearchSpace, same_value
from fairautoml.search.strategies._admm import config_of, coordinates, lies_in, values_of
from fairautoml.search.strategies._optuna import penalised_loss

with warnings.catch_warnings():
    # Without its extra FLAML regrets that it has no AutoML class, which is not needed here.
    warnings.filterwarnings("ignore", message="flaml.automl is not available")
    from flaml.tune.sample import choice, lograndint, loguniform, randint, uniform
    from flaml.tune.searcher.blendsearch import CFO as FlamlCFO
    from flaml.tune.searcher.blendsearch import BlendSearch as FlamlBlendSearch

__all__ = ["Begin", "FlamlBlendSearch", "FlamlCFO", "FlamlSearch", "started"]

LOSS, SECONDS = "loss", "seconds"
"""Names under which FLAML is told the result; a cost ``time_total_s`` makes it read the clock."""

TRIES = 64
"""Times that FLAML may answer with a point it knows before it counts as out of ideas."""

Point = dict[str, float | int]
"""FLAML's configuration: a number for every coordinate."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Begin:
    """What a FLAML searcher begins with."""

    domains: Mapping[str, Any]  # FLAML's domain of each coordinate
    low_cost: Point  # where a local search starts: the defaults of the learner
    points: list[Point]  # evaluated points to start from, none or the best one
    losses: list[float]  # their losses
    seed: int  # below 2**31


MakeSearcher = Callable[[Begin], Any]
"""Makes one of FLAML's searchers; it minimises ``LOSS``, its cost is ``SECONDS``."""


class _Suggestion(NamedTuple):
    """A proposal whose result is due; FLAML has no name for those that it did not make."""

    name: str | None
    point: Point | None


class FlamlSearch:
    """The given candidates and other learners' defaults first; then FLAML, told what came of them.

    A local search from the best of many starts needs the results of all starts, so ``ask``
    returns None until they are in.
    """

    def __init__(
        self, space: SearchSpace, seed: int, first: Sequence[Config], make: MakeSearcher
    ) -> None:
        self._space = space
        self._make = make
        self._coordinates = coordinates(space)
        self._waiting = [*first, *_starts_of_the_others(space, first)]
        self._open: defaultdict[str, list[_Suggestion]] = defaultdict(list)
        self._due = 0
        self._number = 0
        self._started: list[tuple[Point, float, float]] = []
        self._searcher: Any = None
        sequence = np.random.SeedSequence(seed)
        self._seed = int(sequence.generate_state(1, np.uint32)[0] >> 1)
        self._rng = np.random.default_rng(sequence)

    def ask(self) -> Config | None:
        """Return the next candidate; None while FLAML waits for results."""
        if self._waiting:
            return self._hand_out(self._waiting.pop(0), None)
        if self._searcher is None:
            if self._due:
                return None
            self._searcher = self._begin()
        for _ in range(TRIES):
            self._number += 1
            name = f"asked_{self._number}"
            point = self._searcher.suggest(name) if self._coordinates else None
            if point is not None:
                return self._hand_out(self._read(point), name, point)
        return None if self._due else self._drawn()

    def tell(self, scored: ScoredTrial) -> None:
        """Hand loss and seconds to FLAML; a broken trial is told as an error, without a loss."""
        pending = self._open.get(scored.trial.config.key)
        if not pending:
            return
        name, point = pending.pop(0)
        self._due -= 1
        loss = penalised_loss(scored)
        if point is None:
            return
        if self._searcher is None:
            if loss is not None:
                self._started.append((point, loss, scored.seconds))
        elif loss is not None:
            self._learn(name, point, loss, scored.seconds)
        elif name is not None:
            self._searcher.on_trial_complete(name, None, error=True)

    def _hand_out(self, config: Config, name: str | None, point: Point | None = None) -> Config:
        if point is None and self._coordinates and lies_in(self._space, config):
            point = self._point(values_of(self._space, config))
        self._open[config.key].append(_Suggestion(name, point))
        self._due += 1
        return config

    def _drawn(self) -> Config:
        """Return a random candidate when FLAML only repeats itself and nothing is due."""
        drawn = propose(self._space, lambda _, allowed: allowed.sample(self._rng))
        return self._hand_out(drawn, None)

    def _begin(self) -> Any:
        """Make the searcher at the best start and tell it of the others.

        It reads off the position of its low-cost start which learner it begins with.
        """
        if not self._coordinates:
            return None
        low_cost = self._point({name: one.default for name, one in self._coordinates.items()})
        best = min(self._started, key=lambda one: one[1], default=None)
        points = [] if best is None else [dict(best[0])]
        if best is not None and "learner" in low_cost:
            low_cost["learner"] = best[0]["learner"]
        searcher = self._make(
            Begin(
                domains={name: domain_of(one) for name, one in self._coordinates.items()},
                low_cost=low_cost,
                points=points,
                losses=[] if best is None else [best[1]],
                seed=self._seed,
            )
        )
        self._searcher = searcher
        for start in self._started:
            if start is not best:
                self._learn(None, *start)
        return searcher

    def _learn(self, name: str | None, point: Point, loss: float, seconds: float) -> None:
        self._number += 1
        known = f"told_{self._number}" if name is None else name
        # FLAML reads a start point in both forms.
        flat = {f"config/{key}": value for key, value in point.items()}
        result = {LOSS: loss, SECONDS: seconds, "config": point, **flat}
        self._searcher.on_trial_complete(known, result)

    def _point(self, values: Mapping[str, ParamValue]) -> Point:
        return {name: coded(one, values[name]) for name, one in self._coordinates.items()}

    def _read(self, point: Mapping[str, float | int]) -> Config:
        values = {name: decoded(one, point[name]) for name, one in self._coordinates.items()}
        return config_of(self._space, values)


def started(kind: Any, begin: Begin) -> Any:
    """Return one of FLAML's searchers, told where to begin."""
    return kind(
        metric=LOSS,
        mode="min",
        space=dict(begin.domains),
        low_cost_partial_config=begin.low_cost,
        points_to_evaluate=begin.points,
        evaluated_rewards=begin.losses,
        seed=begin.seed,
        cost_attr=SECONDS,
    )


def _starts_of_the_others(space: SearchSpace, first: Sequence[Config]) -> list[Config]:
    """Return the low-cost start, its defaults, of every learner that has no first candidate.

    A local search hardly ever leaves a learner, so it must not begin at one by chance.
    """
    known = {config.learner for config in first}
    return [
        Config(
            learner=name,
            params=part.defaults(),
            encoding=space.encodings[0],
            mitigation=next(iter(space.mitigations)),
            mitigation_params=next(iter(space.mitigations.values())).defaults(),
        )
        for name, part in space.learners.items()
        if name not in known
    ]


def domain_of(allowed: Range) -> Any:
    """Return FLAML's domain of a range; a choice becomes the positions of its values."""
    if isinstance(allowed, Real):
        real = loguniform if allowed.log else uniform
        return real(allowed.low, allowed.high)
    if isinstance(allowed, Integer):
        # FLAML leaves out the upper bound.
        whole = lograndint if allowed.log else randint
        return whole(allowed.low, allowed.high + 1)
    return choice(list(range(len(allowed.values))))


def coded(allowed: Range, value: ParamValue) -> float | int:
    """Return the number that stands for a value in FLAML's domain."""
    if isinstance(allowed, Real):
        return float(value)
    if isinstance(allowed, Integer):
        return int(value)
    return next(at for at, known in enumerate(allowed.values) if same_value(known, value))


def decoded(allowed: Range, number: float) -> ParamValue:
    """Return the value that FLAML's number stands for, a plain Python value of the range."""
    if isinstance(allowed, Real):
        return min(max(float(number), allowed.low), allowed.high)
    if isinstance(allowed, Integer):
        return min(max(round(float(number)), allowed.low), allowed.high)
    return allowed.values[int(number)]
