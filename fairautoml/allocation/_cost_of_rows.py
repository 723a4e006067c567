"""What a candidate costs on more rows: every trial scores all rows, whatever it is trained on.

So ``seconds = a + b * rows``: a for reading and scoring, b for the training on the rows of all its
models together. On 665,800 rows nearly all of the second that a small model takes is a;
proportional to the rows, four times as many would seem to cost four times as much.
"""

from collections import defaultdict
from dataclasses import dataclass

from fairautoml.allocation._told import is_baseline
from fairautoml.trials import Budget, Origin, Status, Told

FEWEST_PAIRS = 3
"""Candidates of a learner seen at two sizes from which its costs are taken, else those of all."""


@dataclass(slots=True)
class _Line:
    """Sums of a and of b over candidates that were seen at two sizes."""

    n: int = 0
    fixed: float = 0.0
    growing: float = 0.0

    def learn(self, one: tuple[float, float], other: tuple[float, float]) -> None:
        """Take in (rows, seconds) of the same candidate at two sizes."""
        (few, before), (many, after) = sorted((one, other))
        slope = max(0.0, (after - before) / (many - few))
        self.n += 1
        self.fixed += max(0.0, before - slope * few)
        self.growing += slope

    def at(self, rows: float) -> float:
        """Return the seconds of all these candidates together."""
        return self.fixed + self.growing * rows


class RowCosts:
    """Learns a and b, in units of a candidate's own cost, from candidates seen at two sizes.

    Different candidates at different sizes would not do: those that grow are the best, and the
    best are dearer than the others. Before there are any, a is what the baseline took, which
    trains nothing, and without a baseline 0.
    """

    def __init__(self) -> None:
        self._baseline = 0.0
        self._seen: dict[str, tuple[float, float]] = {}
        self._all = _Line()
        self._of_learner: defaultdict[str, _Line] = defaultdict(_Line)

    def learn(self, told: Told) -> None:
        """Take in what a trial cost; only one that went to its end says it."""
        if told.status is not Status.SUCCESS or told.trial.origin is Origin.MITIGATION:
            return
        if is_baseline(told):
            self._baseline = told.seconds
            return
        candidate = told.trial.candidate
        now = (_rows(told.trial.budget), told.seconds)
        before = self._seen.get(candidate.key, now)
        self._seen[candidate.key] = now
        if before[0] != now[0]:
            self._all.learn(before, now)
            self._of_learner[candidate.learner].learn(before, now)

    def seconds(self, told: Told, budget: Budget) -> float:
        """Return what the candidate of a trial is expected to cost at another size."""
        known, rows = _rows(told.trial.budget), _rows(budget)
        if rows == known:
            return told.seconds
        line = self._of_learner.get(told.trial.candidate.learner, self._all)
        if line.n < FEWEST_PAIRS:
            line = self._all
        if line.at(known) > 0:
            return told.seconds * line.at(rows) / line.at(known)
        fixed = min(self._baseline, told.seconds)
        return fixed + (told.seconds - fixed) * rows / known


def _rows(budget: Budget) -> float:
    """Return the rows that all models of a trial are trained on, in those outside one fold."""
    return budget.sample_fraction * budget.folds
