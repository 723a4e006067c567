"""Allocator that screens on one fold and promotes the best to all folds.

Asynchronous successive halving (Li et al., arXiv 1810.05934) over training rows and folds: a
configuration is promoted as soon as it is among the best of its rung, and time for the last
promotions is reserved.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from fairautoml.records import Config, Fidelity, Origin, Terms, Trial, TrialResult, TrialState
from fairautoml.search.allocators._base import RECENT, CostModel, is_baseline, merit

FIRST_SHARE, FIRST_SECONDS, FIRST_LIMIT, QUICK_LIMIT = 0.1, 0.3, 0.5, 0.75
"""Share of the time budget for the first model, maximum seconds of a fast one, and time limits of
any and of a fast one as shares of the time left."""

ROWS_PER_SECOND, ROWS_PER_SECOND_UNKNOWN = 100_000, 1_000
"""Training rows per second of a fast configuration on a binary task with few columns, over all
folds, and of one that may be slow, such as a forest."""

OTHERS = 3.0
"""Cost of training other configurations of the learner of a fast first model."""

FEWEST_FIRST_ROWS, FEWEST_ROWS = 2_000, 500
"""Minimum training rows of a fold: of a fast first model, and of any other."""

USUAL_FIRST_ROWS, FIRST_COST = 10_000, 100_000
"""Training rows of a fast first model of a fold, fewer where rows times their cost are more."""


def first_fidelity(terms: Terms, seconds: float) -> Fidelity:
    """Return the fidelity of the first model: all folds, on rows that take a moment."""
    full, pace, fewest = terms.fidelity, ROWS_PER_SECOND_UNKNOWN, FEWEST_ROWS
    allowed = FIRST_SHARE * seconds
    if terms.quick:
        pace, allowed = ROWS_PER_SECOND, min(allowed, FIRST_SECONDS)
        fewest = min(USUAL_FIRST_ROWS, max(FEWEST_FIRST_ROWS, int(FIRST_COST / terms.row_cost)))
    n_rows = max(fewest, allowed * pace / full.folds / terms.row_cost)
    # A sample that is nearly all of the rows would only delay them.
    enough = n_rows < LARGEST * full.rows * terms.n_train_rows
    return replace(full, rows=n_rows / terms.n_train_rows) if enough else full


LARGEST = 0.5
"""Largest sample, as a share of the rows of a full trial, for which a first model is useful."""

SCREENING_SHARE = 0.45
"""Share of the search time in which new configurations come before promotions to all folds."""

SCREEN_SHARE = 0.03
"""Share of the search time that a screening trial may be expected to take; it has fewer rows
otherwise, so that slow learners do not take the time of the others."""

TRIAL_SHARE, UNTRIED_SHARE, LEAST_SECONDS = 0.15, 0.5, 3.0
"""Time limit of a proposal as a share of the search time, of a learner's first one on all folds
as a share of the time left, and in seconds: a worker may have to start and to load a library."""

FULL_SHARE, OWN_SHARE, MARGIN = 0.2, 0.35, 0.75
"""Share of the search time that a trial on all folds may be expected to take, of a learner and of
a screened configuration; rows are reduced otherwise, and raised again with a margin."""

PROMOTION_SHARE, TIMES_THE_USUAL = 0.35, 3.0
"""Time limit of a promotion, as a share of the time left; no limit is below this multiple of the
expected seconds."""

SAMPLED_ROWS, SAMPLE, FEWEST_SAMPLED = 32_000, 0.25, 8_000
"""Training rows above which screening begins on a sample, its share of them and its least rows;
ranks on smaller samples differ too much from those on all rows."""

BEST = 3
"""One in this many configurations is promoted from the sample."""

MEMBERS, RESERVED, FEWEST = 8, 3, 4
"""Configurations that are promoted to all folds without a time budget, those that time is reserved
for, and the first ones, which may be farther from the best."""

SPARE = 1.1
"""Factor on the time that is reserved for promotions."""

CLOSE, CLOSE_LEARNER, CLOSE_FEWEST = 0.02, 0.03, 0.05
"""Relative distances from the lowest log loss at which a configuration, the best one of another
learner, or one of the first ones is promoted to all folds."""

OF_LEARNER = 6
"""Best screened configurations of a learner that may be promoted to all folds. More of them are
nearly equal models, which an ensemble does not use."""

EARLY, EARLY_SHARE = 4, 0.1
"""Screened configurations from which the best one is promoted at once if that takes at most this
share of the time left: a search that is interrupted then has a model of all rows and folds."""

BARRIER = 16
"""Without a time budget, the best configuration is promoted after every so many proposals."""

FEWEST_SCREENED = 5_000
"""Training rows below which nothing is screened: folds are cheap and their ranks noisy, and models
of all folds for an ensemble are worth more than further configurations."""


@dataclass(slots=True, eq=False)
class _Rung:
    """Successful trials at one step below all folds, and the configurations promoted from it."""

    results: dict[str, TrialResult] = field(default_factory=dict)  # by configuration
    promoted: set[str] = field(default_factory=set)

    def best_third(self) -> list[TrialResult]:
        """Return the best third by log loss, without those promoted."""
        ranked = sorted(self.results.values(), key=_loss)
        return self._open(ranked[: len(ranked) // BEST])

    def eligible(self) -> list[TrialResult]:
        """Return the results that are worth all folds, best first, without those promoted.

        They are close to the lowest log loss and among the best of their learner, or the best by
        the objective under the constraints.
        """
        ranked = sorted(self.results.values(), key=_loss)
        if not ranked:
            return []
        lowest = _loss(ranked[0])[0]
        chosen, of_learner = [ranked[0], max(ranked, key=merit)], Counter[str]()
        for at, one in enumerate(ranked):
            before = of_learner[one.trial.config.learner]
            of_learner[one.trial.config.learner] += 1
            apart = _loss(one)[0] - lowest
            close = CLOSE_FEWEST if at < FEWEST else CLOSE if before else CLOSE_LEARNER
            if before < OF_LEARNER and apart <= close * abs(lowest):
                chosen.append(one)
        return self._open(list({one.trial.key: one for one in chosen}.values()))

    def _open(self, ranked: list[TrialResult]) -> list[TrialResult]:
        return [one for one in ranked if one.trial.config.key not in self.promoted]


def _loss(scored: TrialResult) -> tuple[float, int]:
    loss = math.inf if scored.log_loss is None else scored.log_loss
    return loss, scored.trial.number


class Ladder:
    """Screens configurations on one fold, and promotes the best ones to all folds.

    Above 32,000 training rows screening begins on a quarter of them. Under a time budget the first
    model is a fast one on few rows, promotions begin after 45 % of the search time, and the rows
    of a slow learner are reduced. With a number of trials, the first proposal has all folds, and
    promotions come after all proposals.
    Subclasses add mitigations.
    """

    schedules_mitigation = False
    screens = True

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.costs = CostModel()
        self._sample, self._one = _Rung(), _Rung()
        self._rows: dict[str, float] = {}  # rows of each configuration on all folds
        self._kind_rows: dict[tuple[str, str], float] = {}  # those of a learner and mitigation
        self._pending: dict[int, float] = {}  # expected seconds by trial
        self._wide: dict[int, int] = {}  # threads of pending trials with more than one
        self._searched: deque[float] = deque(maxlen=RECENT)
        self._best: dict[Fidelity, tuple[float, str]] = {}
        self._last: deque[TrialResult] | None = None
        self._total: float | None = None
        self.n_proposed = 0
        self._has_model = False
        self._early = deque(terms.first)
        few = terms.n_trials is not None and terms.n_trials <= 1 + MEMBERS
        small = terms.n_train_rows * terms.fidelity.rows < FEWEST_SCREENED
        one = terms.fidelity.folds == 1
        self._flat = few or small or one or not (self.screens and terms.screens)

    def next_trial(
        self, ask: Callable[[], Config | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return the next trial, or None if there is none now."""
        if seconds_left is not None and seconds_left <= 0:
            return None
        if number > 0 and self._total is None:
            self._total = seconds_left
        if self._wide and self._n_busy >= self.terms.n_workers:
            return None
        trial = self._next(ask, number, self._at_start(seconds_left))
        if trial is not None:
            expected = self.expected(trial)
            self._pending[number] = self.longest if expected is None else expected
        return trial

    def record(self, scored: TrialResult) -> None:
        """Record the cost and the result of a trial."""
        trial = scored.trial
        self._pending.pop(trial.number, None)
        self._wide.pop(trial.number, None)
        if self.terms.quick and trial.config in self.terms.first:
            n_rows = trial.fidelity.rows * self.terms.n_train_rows
            usual = n_rows * self.terms.row_cost / ROWS_PER_SECOND
            self.costs.learn(scored, growing=usual, times=OTHERS)
        else:
            self.costs.learn(scored)
        if trial.origin is Origin.MITIGATION:
            return
        if not is_baseline(scored):
            self._searched.append(scored.seconds)
        if scored.status is not TrialState.SUCCESS or is_baseline(scored):
            return
        self._has_model = True
        if trial.fidelity.folds < self.terms.fidelity.folds:
            # The rows of one that is promoted from the sample were chosen then.
            whole = bool(trial.parent) or trial.fidelity.rows >= self._rows_of(trial)
            (self._one if whole else self._sample).results[trial.config.key] = scored
        elif scored.log_loss is not None:
            now = (scored.log_loss, trial.key)
            self._best[trial.fidelity] = min(now, self._best.get(trial.fidelity, now))

    @property
    def longest(self) -> float:
        """Seconds of the longest recent trial of the search, 0 before the first."""
        return max(self._searched, default=0.0)

    def expected(self, trial: Trial) -> float | None:
        """Return the expected seconds of a trial, None if nothing is known."""
        return self.costs.seconds(trial)

    def mitigation(self, number: int, left: float | None) -> Trial | None:
        """Return the training-time mitigation that is due."""
        return None

    def proposal(self, ask: Callable[[], Config | None]) -> Config | None:
        """Return a new configuration, None to end the search for new ones."""
        return ask()

    def rest(self, number: int, left: float | None) -> Trial | None:
        """Return a trial for when there are no more proposals and no trial is pending."""
        if self._last is None or (left is not None and not self._last):
            n_open = max(0, MEMBERS - len(self._one.promoted)) if left is None else None
            self._last = deque(self._one.eligible()[:n_open])
        return self._promoted_last(number, left)

    def _next(
        self, ask: Callable[[], Config | None], number: int, left: float | None
    ) -> Trial | None:
        if number == 0:
            config = ask()
            fidelity = self.terms.fidelity
            return None if config is None else Trial(number=0, config=config, fidelity=fidelity)
        if left is not None and (self._early or not self._has_model):
            return self._first(ask, number, left)
        trial = self.mitigation(number, left)
        if trial is None:
            trial = self._promotion(number, left)
        if trial is None and self._worth_asking(left):
            trial = self._proposal(ask, number, left)
        if trial is None and self._last is not None:
            trial = self._promoted_last(number, left)
        if trial is None and not self._pending:
            trial = self.rest(number, left)
        if trial is None and left is not None:
            trial = self._completed(number, left)
        return trial

    def _at_start(self, seconds_left: float | None) -> float | None:
        """Return the time left at the start of a trial that waits for a running one."""
        if seconds_left is None or len(self._pending) < self.terms.n_workers:
            return seconds_left
        return seconds_left - min(self._pending.values())

    def _first(self, ask: Callable[[], Config | None], number: int, left: float) -> Trial | None:
        """Return a trial that gives a first model soon, on all folds and few rows."""
        fidelity = first_fidelity(self.terms, left if self._total is None else self._total)
        if self._early:
            config: Config | None = self._early.popleft()
        elif any(running > 0 for running in self._pending):
            return None  # The rows of the next trial depend on its result.
        else:
            config = self.proposal(ask)
        if config is None:
            return None
        trial = Trial(number=number, config=config, fidelity=fidelity)
        trial = self._on(trial, self.costs.most_rows(trial))
        limit = QUICK_LIMIT if self.terms.quick and config in self.terms.first else FIRST_LIMIT
        return replace(trial, max_seconds=max(limit * left, LEAST_SECONDS))

    def _proposal(
        self, ask: Callable[[], Config | None], number: int, left: float | None
    ) -> Trial | None:
        """Return the trial of a new configuration on the lowest rung."""
        config = self.proposal(ask)
        if config is None:
            return None
        self.n_proposed += 1
        trial = Trial(number=number, config=config, fidelity=self.terms.fidelity)
        trial = self._on(trial, self._affordable_rows(trial, left))
        self._rows[config.key] = trial.fidelity.rows
        if not self._flat and not (left is None and self.n_proposed == 1):
            trial = replace(trial, fidelity=replace(trial.fidelity, folds=1))
            if self.terms.fidelity.rows * self.terms.n_train_rows > SAMPLED_ROWS:
                trial = self._sampled(trial)
        elif config.mitigation == "none" and trial.fidelity in self._best:
            trial = replace(trial, rival=self._best[trial.fidelity][1])
        return self._limited(trial, TRIAL_SHARE * self._total, left) if self._total else trial

    def _sampled(self, trial: Trial) -> Trial:
        """Return the trial on a sample, on less of it where the learner is slow."""
        n_rows, rows = self.terms.n_train_rows, trial.fidelity.rows
        if rows * n_rows > SAMPLED_ROWS:
            rows *= max(SAMPLE, FEWEST_SAMPLED / (rows * n_rows))
        allowed = SCREEN_SHARE * (self._total or math.inf)
        while True:
            trial = replace(trial, fidelity=replace(trial.fidelity, rows=rows))
            if self._seconds(trial) <= allowed or rows * n_rows <= FEWEST_FIRST_ROWS:
                return trial
            rows /= 2

    def _affordable_rows(self, trial: Trial, left: float | None) -> float:
        """Return the share of the rows at which all folds take at most their share of the time."""
        most, kind = self.costs.most_rows(trial), (trial.config.learner, trial.config.mitigation)
        if left is None or self._total is None:
            return most
        allowed, full = FULL_SHARE * self._total, trial.fidelity.rows
        rows = min(self._kind_rows.get(kind, full), most)
        while rows * self.terms.n_train_rows > FEWEST_ROWS and self._on_all(trial, rows) > allowed:
            rows /= 2
        # More rows only with a margin, so that the rows of a learner do not go back and forth.
        while 2 * rows <= min(full, most) and self._on_all(trial, 2 * rows) <= MARGIN * allowed:
            rows *= 2
        self._kind_rows[kind] = rows
        return rows

    def _rows_of(self, trial: Trial) -> float:
        """Return the rows of a screened configuration on all folds, now that its cost is known."""
        key, rows = trial.config.key, self.terms.fidelity.rows
        if self._total is None:
            return self._rows.get(key, rows)
        rows = min(rows, self.costs.most_rows(trial))
        while rows > trial.fidelity.rows and self._on_all(trial, rows) > OWN_SHARE * self._total:
            rows /= 2
        self._rows[key] = max(rows, trial.fidelity.rows)
        return self._rows[key]

    def _on_all(self, trial: Trial, rows: float) -> float:
        """Return the expected seconds of a configuration on all folds."""
        at = replace(trial, fidelity=replace(self.terms.fidelity, rows=rows))
        expected = self.costs.seconds(at)
        if expected is None:
            expected = 0.0 if self.terms.stoppable else self.costs.untried(at)
        return expected

    def _on(self, trial: Trial, rows: float) -> Trial:
        """Return the trial on at most a share of the rows."""
        least = FEWEST_ROWS / self.terms.n_train_rows
        rows = min(trial.fidelity.rows, max(least, rows))
        return replace(trial, fidelity=replace(trial.fidelity, rows=rows))

    def _limited(self, trial: Trial, seconds: float, left: float | None) -> Trial:
        """Return the trial with a time limit, so that one that hangs leaves time to others."""
        usual = self.costs.seconds(trial)
        if left is None:
            return trial
        # A full trial of an untried learner may be the only one that the time allows.
        untried = UNTRIED_SHARE * left if usual is None and self._flat else 0.0
        seconds = max(seconds, untried, LEAST_SECONDS, TIMES_THE_USUAL * (usual or 0.0))
        return replace(trial, max_seconds=seconds) if seconds < left else trial

    def _promotion(self, number: int, left: float | None) -> Trial | None:
        for scored in self._sample.best_third():
            trial = self._promoted(scored, number, folds=1)
            if self._fits(trial, left) and self._fits(self._whole(trial), left):
                self._sample.promoted.add(trial.config.key)
                return self._limited(trial, TRIAL_SHARE * (self._total or 0.0), left)
        return self._first_that_fits(self._due(left), number, left)

    def _due(self, left: float | None) -> list[TrialResult]:
        """Return the results that are to be promoted to all folds now, best first."""
        eligible = self._one.eligible()
        if left is None or self._total is None:
            passed = self.n_proposed // BARRIER
            return eligible[:1] if len(self._one.promoted) < passed else []
        if not eligible:
            return []
        expected = [self._seconds(self._promoted(one, -1)) for one in eligible]
        n_reserved = max(0, RESERVED - len(self._one.promoted))
        reserve = SPARE * n_reserved * sum(expected) / len(expected) / self.terms.n_workers
        if left <= max((1 - SCREENING_SHARE) * self._total, reserve):
            return eligible
        early = not self._one.promoted and len(self._one.results) >= EARLY
        return eligible[:1] if early and expected[0] <= EARLY_SHARE * left else []

    def _promoted_last(self, number: int, left: float | None) -> Trial | None:
        while self._last:
            trial = self._first_that_fits([self._last.popleft()], number, left)
            if trial is not None:
                return trial
        return None

    def _first_that_fits(
        self, due: Iterable[TrialResult], number: int, left: float | None
    ) -> Trial | None:
        trials = [self._promoted(scored, number) for scored in due]
        fitting = [trial for trial in trials if self._fits(trial, left)]
        if not fitting:
            return None
        # One that takes much of the time comes after those that do not.
        short = (one for one in fitting if self._seconds(one) <= PROMOTION_SHARE * (left or 0.0))
        trial = next(short, fitting[0])
        self._one.promoted.add(trial.config.key)
        if left is not None and not self._worth_asking(left - self._seconds(trial)):
            trial = self._widened(trial, len(fitting))
        return self._limited(trial, PROMOTION_SHARE * (left or 0.0), left)

    @property
    def _n_busy(self) -> int:
        """Number of cores that pending trials use."""
        return len(self._pending) + sum(n - 1 for n in self._wide.values())

    def _widened(self, trial: Trial, n_due: int) -> Trial:
        """Return one of the last trials with the threads of the cores that would be idle."""
        free = self.terms.n_workers - self._n_busy
        if free <= n_due:
            return trial
        self._wide[trial.number] = free // n_due
        return replace(trial, n_threads=free // n_due)

    def _completed(self, number: int, left: float) -> Trial | None:
        """Return the best result of a sample on all folds, for when all rows take too long."""
        for trial in self._completions(number):
            if self._fits(trial, left):
                self._sample.promoted.add(trial.config.key)
                self._one.promoted.add(trial.config.key)
                return self._limited(trial, PROMOTION_SHARE * left, left)
        return None

    def _completions(self, number: int) -> list[Trial]:
        """Return the trials of all folds on the rows of a result, best results first."""
        results = (*self._one.eligible(), *self._sample.eligible())
        return [self._promoted(one, number, rows=one.trial.fidelity.rows) for one in results]

    def _promoted(
        self,
        scored: TrialResult,
        number: int,
        *,
        folds: int | None = None,
        rows: float | None = None,
    ) -> Trial:
        """Return the trial of a result, on all folds and the rows of its learner by default."""
        before, folds = scored.trial, self.terms.fidelity.folds if folds is None else folds
        if rows is None:
            rows = self._rows.get(before.config.key, before.fidelity.rows)
        same = rows == before.fidelity.rows
        return Trial(
            number=number,
            config=before.config,
            fidelity=Fidelity(rows=rows, folds=folds),
            origin=Origin.PROMOTION,
            parent=before.key,
            n_taken=before.fidelity.folds if same else 0,
        )

    def _whole(self, trial: Trial) -> Trial:
        return replace(trial, fidelity=replace(trial.fidelity, folds=self.terms.fidelity.folds))

    def _seconds(self, trial: Trial) -> float:
        expected = self.costs.seconds(trial)
        return 0.0 if expected is None else expected

    def _fits(self, trial: Trial, left: float | None) -> bool:
        return left is None or self._seconds(trial) <= left

    def _worth_asking(self, left: float | None) -> bool:
        """Return whether a new configuration could still reach all folds."""
        if left is None:
            return True
        if self._flat:
            return left > min(self._searched, default=0.0) / self.terms.fidelity.folds
        completions = [] if self._one.promoted else self._completions(-1)
        last = min(map(self._seconds, completions), default=0.0)
        if completions and left - self.longest < last:
            return False
        screened = (*self._one.results.values(), *self._sample.results.values())
        known = (self._whole(one.trial) for one in screened)
        return left > min(map(self._seconds, known), default=0.0)


ALLOCATOR = Ladder
