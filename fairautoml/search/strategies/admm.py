"""Operator splitting (ADMM) over real parameters, integers and arms under constraints.

Liu, Ram et al., "An ADMM Based Framework for AutoML Pipeline Configuration", AAAI 2020, arXiv
1905.00424; constraints as in Ram et al., arXiv 2006.09635.
"""

# Differences from the papers: gaps in units of their limits with a separate penalty, the slack in
# closed form, one Gaussian process over all arms for theta-min and every fourth point drawn,
# several starts that share one log, and a random restart of a start that finds nothing new.
# Results on one fold are losses and penalties; the dual variables of the constraints follow
# results on all folds alone. The result of a run is the best feasible evaluation in the log, not
# the last iterate.

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fairautoml.records import Config, TrialResult, TrialState
from fairautoml.search.space import SearchSpace
from fairautoml.search.strategies._admm import (
    Arms,
    Bandit,
    HalfLocal,
    Outcome,
    Reading,
    Splitting,
    Start,
    UnitHypercube,
    normalised,
)
from fairautoml.search.strategies._surrogate import Surrogate

PATIENCE = 64
"""Known points in a row after which ``ask`` restarts at a random point."""

SHORT_RUNS = Splitting()


class ADMM:
    """Ask-and-tell over one or more starts of the splitting.

    Points in the log are answered from it, so a repeated pull of an arm costs no trial. The
    strategy ignores the seconds of a trial, which the allocator manages.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        first: Sequence[Config],
        splitting: Splitting = SHORT_RUNS,
    ) -> None:
        self._cube = UnitHypercube(space)
        self._unit: float | None = None
        self._waiting = list(first)
        self._open: defaultdict[str, list[tuple[Start | None, Reading | None]]] = defaultdict(list)
        self._known: dict[str, Outcome | None] = {}
        self._log: list[Outcome] = []
        self._splitting = splitting
        self._rng = np.random.default_rng(seed)
        origins = origins_of(self._cube, first)[: splitting.starts]
        children = np.random.SeedSequence(seed).spawn(len(origins))
        self._starts = [
            self._begin(origin, np.random.default_rng(child))
            for origin, child in zip(origins, children, strict=True)
        ]

    def _begin(self, origin: Reading, rng: np.random.Generator) -> Start:
        bandit = Bandit(self._cube.modules, rng, self._splitting.bound)
        model = Surrogate(self._cube, rng) if self._splitting.modelled else None
        return Start(self._cube, self._splitting, origin, self._log, HalfLocal(rng), bandit, model)

    def ask(self) -> Config | None:
        """Return the next configuration, or None while every start waits for results."""
        if self._waiting:
            config = self._waiting.pop(0)
            self._open[config.key].append((None, self._cube.locate(config)))
            return config
        for _ in range(PATIENCE):
            turn = self._next()
            if turn is None:
                return None
            start, reading = turn
            if reading.config.key not in self._known:
                return self._handed_out(start, reading)
            known = self._known[reading.config.key]
            start.accept(reading, None if known is None else replace(known, reading=reading))
        self._restart(start)
        turn = self._next()
        return None if turn is None else self._handed_out(*turn)

    def _restart(self, stuck: Start) -> None:
        """Replace a start that finds nothing new by one at a random point; keep the log."""
        learner, encoding, mitigation = (
            arms[int(self._rng.integers(len(arms)))] for arms in self._cube.modules
        )
        arms = Arms(learner, encoding, mitigation)
        origin = self._cube.read(arms, self._rng.random(self._cube.size))
        self._starts[self._starts.index(stuck)] = self._begin(origin, self._rng.spawn(1)[0])

    def _next(self) -> tuple[Start, Reading] | None:
        """Return the next point of the start with the fewest iterations that is not waiting."""
        for start in sorted(self._starts, key=lambda one: one.iteration):
            reading = start.propose()
            if reading is not None:
                return start, reading
        return None

    def _handed_out(self, start: Start, reading: Reading) -> Config:
        self._open[reading.config.key].append((start, reading))
        return reading.config

    def tell(self, scored: TrialResult) -> None:
        """Add the result to the log and pass it to the starts."""
        key = scored.trial.config.key
        pending = self._open.get(key)
        if not pending:
            return
        start, reading = pending.pop(0)
        if self._unit is None and scored.value is not None and np.isfinite(scored.value):
            self._unit = max(1.0, abs(scored.value))
        outcome = None if reading is None else outcome_of(scored, reading, unit=self._unit)
        # A worker that was killed from outside says nothing about the configuration.
        if scored.status is not TrialState.WORKER_LOST:
            self._known[key] = outcome
        if outcome is not None:
            self._log.append(outcome)
            for other in self._starts:
                if other is not start:
                    other.offer(outcome)
        if start is not None and reading is not None:
            start.accept(reading, outcome)

    def revise(self, scored: TrialResult) -> None:
        """Take the gaps of a configuration from its result on all folds.

        Its loss stays that of one fold, which is compared with the losses of others on that fold.
        """
        key = scored.trial.config.key
        known = self._known.get(key)
        if known is None:
            return
        whole = outcome_of(scored, known.reading, unit=self._unit)
        if whole is None:
            return
        revised = replace(whole, loss=known.loss)
        self._known[key] = revised
        for at, outcome in enumerate(self._log):
            if outcome.reading.config.key == key:
                self._log[at] = replace(revised, reading=outcome.reading)
        for start in self._starts:
            start.revise(revised)


def origins_of(cube: UnitHypercube, first: Sequence[Config]) -> list[Reading]:
    """Return one start per learner, those of the initial configurations first.

    A portfolio is sorted by value per second, so inexpensive learners come first; measured seconds
    would make a run depend on the load of the machine.
    """
    found: dict[str, Reading] = {}
    for reading in map(cube.locate, first):
        if reading is not None and reading.arms.learner not in found:
            found[reading.arms.learner] = reading
    learners, encodings, mitigations = cube.modules
    point = cube.middle()
    for reading in found.values():
        point = np.where(reading.present, reading.point, point)
    arms = {name: reading.arms for name, reading in found.items()}
    for name in learners:
        arms.setdefault(name, Arms(name, encodings[0], mitigations[0]))
    return [cube.read(one, point) for one in arms.values()]


def outcome_of(
    scored: TrialResult, reading: Reading, *, unit: float | None = None
) -> Outcome | None:
    """Return the outcome of a trial, or None if the trial failed or a gap is unknown."""
    violations = np.array(scored.violations, dtype=float)
    if scored.status is not TrialState.SUCCESS or scored.value is None:
        return None
    if not np.isfinite(scored.value) or not np.isfinite(violations).all():
        return None
    limits = np.array(scored.limits, dtype=float) if scored.limits else np.zeros_like(violations)
    gap, limit = normalised(np.maximum(violations + limits, 0.0), limits)
    loss = (1.0 - scored.value) / (1.0 if unit is None else unit)
    screened = scored.trial.fidelity.folds == 1
    return Outcome(reading=reading, loss=loss, gap=gap, limit=limit, screened=screened)


STRATEGY = ADMM
