"""Made-up runs on a simulated clock, in which the right decisions of an allocator are known.

Nothing is trained, and nothing is said about real data. In a world, the k-th candidate of the
search has a loss, a cost and a chance to be fair; mitigating it costs ``r`` times as much, harms
it a little, and makes it fair with probability 0.8.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fairautoml.execution import ResourceLimits
from fairautoml.execution.virtual import VirtualExecutor
from fairautoml.records import (
    Allocator,
    Config,
    Origin,
    Trial,
    TrialResult,
    TrialState,
)
from fairautoml.search.loop import Proposals, SearchLoop, StopCondition

BUDGET = 3600.0
FILL = 0.5
"""What counts as the loss while there is no fair model."""

FIRST_SECONDS = 5.0
POINTS = 60
N_CANDIDATES = 2000
MITIGATION = "world"
BASELINE = Config(learner="baseline")
BASELINE_LOSS = 0.5
GAP = 0.01
"""Distance from the limit, on either side: rules look at its sign only."""


class World:
    """What every candidate would bring and cost, plain and mitigated.

    The draws come in exactly this order, so the numbers of a seed never change.
    """

    def __init__(self, seed: int, ratio: float, n: int = N_CANDIDATES) -> None:
        draws, k = np.random.default_rng(seed), np.arange(1, n + 1)
        self.fair = draws.random(n) < 0.03
        noise = np.abs(draws.normal(0, 0.012, n))
        self.loss = 0.13 + 0.10 * np.exp(-k / 60) + noise + 0.06 * self.fair
        # The cost grows as the search moves to complex models.
        self.seconds = 0.2 + 0.05 * k * draws.uniform(0.3, 1.0, n)
        self.mitigated_loss = self.loss + draws.normal(0.006, 0.004, n)
        self.mitigated_seconds = self.seconds * ratio * draws.uniform(0.8, 1.2, n)
        self.mitigated_fair = draws.random(n) < 0.8


def area(trace: Sequence[tuple[float, float]], budget: float = BUDGET) -> float:
    """Return the mean best fair loss over logarithmic time, from 5 s to the budget."""
    value, at, out = FILL, 0, []
    for moment in np.geomspace(FIRST_SECONDS, budget, POINTS):
        while at < len(trace) and trace[at][0] <= moment:
            value, at = min(trace[at][1], FILL), at + 1
        out.append(value)
    return float(np.mean(out))


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What an allocator made of a world."""

    # time and best fair loss after every finished trial
    trace: list[tuple[float, float]] = field(default_factory=list)
    search_seconds: float = 0.0  # time of the trials of either kind that ended
    mitigation_seconds: float = 0.0
    largest_mitigation: float = 0.0  # longest mitigation that ended, seconds
    n_trials: int = 0  # trials that ended, and mitigations among them
    n_mitigations: int = 0
    # largest excess of the time of mitigations over that of the search, seconds
    most_over: float = 0.0

    @property
    def final(self) -> float:
        """Best fair loss at the end, 0.5 without any."""
        return min(self.trace[-1][1], FILL) if self.trace else FILL

    def add(self, now: float, scored: TrialResult) -> None:
        """Take in a result."""
        self.n_trials += 1
        if scored.trial.config.mitigation == "none":
            self.search_seconds += scored.seconds
        else:
            self.n_mitigations += 1
            self.mitigation_seconds += scored.seconds
            self.largest_mitigation = max(self.largest_mitigation, scored.seconds)
        over = self.mitigation_seconds - self.search_seconds
        self.most_over = max(self.most_over, over - self.largest_mitigation)
        best = self.trace[-1][1] if self.trace else math.inf
        if scored.value is not None and max(scored.violations) <= 0:
            best = min(best, 1.0 - scored.value)
        self.trace.append((now, best))


class _InOrder:
    """The strategy of a world: the baseline, then its candidates one after the other."""

    def __init__(self, n: int) -> None:
        self._turns = iter(range(n))
        self._baseline = True

    def ask(self) -> Config | None:
        """Return the next candidate."""
        if self._baseline:
            self._baseline = False
            return BASELINE
        turn = next(self._turns, None)
        return None if turn is None else Config(learner="world", params={"turn": turn})

    def tell(self, scored: TrialResult) -> None:
        """Learn nothing."""


class _Play:
    """Trials and results of a world."""

    def __init__(self, world: World, *, with_plain: bool) -> None:
        self._world = world
        self._with_plain = with_plain

    def run(self, trial: Trial) -> TrialResult:
        """Return the result of a trial at once; its seconds pass on the simulated clock."""
        return TrialResult(trial=trial, status=TrialState.SUCCESS, seconds=self._seconds(trial))

    def score(self, result: TrialResult) -> TrialResult:
        """Return what is told of a result; one that was cut off has no value."""
        loss, violation = self._outcome(result.trial)
        done = result.status is TrialState.SUCCESS
        return TrialResult(
            trial=result.trial,
            status=result.status,
            value=1.0 - loss if done else None,
            violations=(violation if done else math.inf,),
            seconds=result.seconds,
        )

    def _seconds(self, trial: Trial) -> float:
        if trial.config == BASELINE:
            return 0.0
        turn = int(trial.config.params["turn"])
        plain = float(self._world.seconds[turn])
        if trial.config.mitigation == "none":
            return plain
        mitigated = float(self._world.mitigated_seconds[turn])
        # A post-processing needs the plain scores; who has not paid for them pays now.
        missing = self._with_plain and trial.origin is Origin.SEARCH
        return mitigated + plain if missing else mitigated

    def _outcome(self, trial: Trial) -> tuple[float, float]:
        if trial.config == BASELINE:
            return BASELINE_LOSS, math.inf
        turn, world = int(trial.config.params["turn"]), self._world
        if trial.config.mitigation == "none":
            loss, is_fair = world.loss[turn], world.fair[turn]
        else:
            loss, is_fair = world.mitigated_loss[turn], world.mitigated_fair[turn]
        return float(loss), -GAP if is_fair else GAP


def play(
    world: World,
    allocator: Allocator,
    *,
    budget: float = BUDGET,
    n_workers: int = 1,
    with_plain: bool = False,
) -> Outcome:
    """Run the real search loop over a world on the simulated clock."""
    outcome = Outcome()
    executor = VirtualExecutor(ResourceLimits(n_workers=n_workers, deadline=budget))
    scene = _Play(world, with_plain=with_plain)

    def score(result: TrialResult) -> TrialResult:
        scored = scene.score(result)
        outcome.add(executor.now(), scored)
        return scored

    SearchLoop(
        objective=scene.run,
        score=score,
        proposals=Proposals(_InOrder(len(world.loss))),
        allocator=allocator,
        executor=executor,
        stop=StopCondition(deadline=budget),
    ).run()
    return outcome
