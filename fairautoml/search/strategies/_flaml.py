"""Ask-and-tell interface to the searchers of FLAML 2.7 (Wu, Wang and Huang, AAAI 2021)."""

# FLAML fails on a space with low-cost starts in two nested choices (``add_cost_to_space`` stops
# after the first), so it receives the flat space, in which inactive parameters keep their value.
# A choice is encoded as an ordered position, because an unordered one makes FLOW2 change the
# learner in about every second proposal. FLAML's ``metric_constraints`` skip a metric of 0, so
# constraints enter the loss as a penalty.

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fairautoml.records import Config, ParamValue, TrialResult
from fairautoml.search.loop import propose
from fairautoml.search.space import Integer, Range, Real, SearchSpace, coordinates, same_value
from fairautoml.search.strategies._optuna import penalised_loss

with warnings.catch_warnings():
    # Without its extra FLAML warns about its missing AutoML class, which is not needed here.
    warnings.filterwarnings("ignore", message="flaml.automl is not available")
    from flaml.tune.sample import choice, lograndint, loguniform, randint, uniform
    from flaml.tune.searcher.blendsearch import CFO as FlamlCFO
    from flaml.tune.searcher.blendsearch import BlendSearch as FlamlBlendSearch

__all__ = ["FlamlBlendSearch", "FlamlCFO", "FlamlSearch"]

LOSS, SECONDS = "loss", "seconds"
"""Keys of the result for FLAML; a cost named ``time_total_s`` would make it read the clock."""

TRIES = 64
"""Failed suggestions in a row after which a random configuration is drawn."""

Point = dict[str, float | int]
"""Configuration of FLAML: a number for every coordinate."""


MakeSearcher = Callable[..., Any]
"""Returns a FLAML searcher; its arguments are those of FLAML's own searchers."""


class _Suggestion(NamedTuple):
    """A pending proposal; ``name`` is None if FLAML did not make it."""

    name: str | None
    point: Point | None


class FlamlSearch:
    """Proposes the initial configurations and the defaults of other learners, then runs FLAML.

    FLAML's local search starts from the best of them, so ``ask`` returns None until all of their
    results are known.
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
        """Return the next configuration, or None while FLAML waits for results."""
        if self._waiting:
            return self._hand_out(self._waiting.pop(0), None)
        if self._searcher is None:
            if self._due:
                return None
            self._begin()
        for _ in range(TRIES):
            self._number += 1
            name = f"trial_{self._number}"
            point = self._searcher.suggest(name) if self._coordinates else None
            if point is not None:
                return self._hand_out(self._read(point), name, point)
        if self._due:
            return None
        drawn = propose(self._space, lambda _, allowed: allowed.sample(self._rng))
        return self._hand_out(drawn, None)

    def tell(self, scored: TrialResult) -> None:
        """Pass loss and seconds to FLAML; a failed trial is an error without a loss."""
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
        if point is None and self._coordinates and self._space.contains(config):
            point = self._point(config.flat())
        self._open[config.key].append(_Suggestion(name, point))
        self._due += 1
        return config

    def _begin(self) -> None:
        """Create the searcher at the best start and pass it the results of the others."""
        if not self._coordinates:
            return
        low_cost = self._point({})
        best = min(self._started, key=lambda one: one[1], default=None)
        if best is not None and "learner" in low_cost:
            low_cost["learner"] = best[0]["learner"]
        self._searcher = self._make(
            metric=LOSS,
            mode="min",
            space={name: domain_of(one) for name, one in self._coordinates.items()},
            low_cost_partial_config=low_cost,
            points_to_evaluate=[] if best is None else [dict(best[0])],
            evaluated_rewards=[] if best is None else [best[1]],
            seed=self._seed,
            cost_attr=SECONDS,
        )
        for start in self._started:
            if start is not best:
                self._learn(None, *start)

    def _learn(self, name: str | None, point: Point, loss: float, seconds: float) -> None:
        self._number += 1
        known = f"start_{self._number}" if name is None else name
        # FLAML reads a start point in both forms.
        flat = {f"config/{key}": value for key, value in point.items()}
        result = {LOSS: loss, SECONDS: seconds, "config": point, **flat}
        self._searcher.on_trial_complete(known, result)

    def _point(self, chosen: Mapping[str, ParamValue]) -> Point:
        """Return a number for every coordinate: of its chosen value, else of the default."""
        return {
            name: coded(one, chosen.get(name, one.default))
            for name, one in self._coordinates.items()
        }

    def _read(self, point: Mapping[str, float | int]) -> Config:
        values = {name: decoded(one, point[name]) for name, one in self._coordinates.items()}
        return propose(self._space, lambda name, allowed: values.get(name, allowed.default))


def _starts_of_the_others(space: SearchSpace, first: Sequence[Config]) -> list[Config]:
    """Return the defaults of learners without a start: a local search rarely leaves its own."""
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
    """Return FLAML's domain for a range; a choice becomes the positions of its values."""
    if isinstance(allowed, Real):
        real = loguniform if allowed.log else uniform
        return real(allowed.low, allowed.high)
    if isinstance(allowed, Integer):
        # FLAML excludes the upper bound.
        whole = lograndint if allowed.log else randint
        return whole(allowed.low, allowed.high + 1)
    return choice(list(range(len(allowed.values))))


def coded(allowed: Range, value: ParamValue) -> float | int:
    """Return the number that encodes a value in FLAML's domain."""
    if isinstance(allowed, Real):
        return float(value)
    if isinstance(allowed, Integer):
        return int(value)
    return next(at for at, known in enumerate(allowed.values) if same_value(known, value))


def decoded(allowed: Range, number: float) -> ParamValue:
    """Return the plain Python value that FLAML's number encodes."""
    if isinstance(allowed, Real):
        return min(max(float(number), allowed.low), allowed.high)
    if isinstance(allowed, Integer):
        return min(max(round(float(number)), allowed.low), allowed.high)
    return allowed.values[int(number)]
