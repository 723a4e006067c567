"""First small models within a part of the budget, trained on as many rows as that allows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from fairautoml.trials import Allocator, Budget, Candidate, Terms, Told, Trial

ROWS_PER_SECOND = 100_000
"""Rows of two classes and few columns that a small model trains on in a second, all folds
together."""

ROWS_PER_SECOND_UNKNOWN = 1_000
"""The same of a learner that may be slow, such as a forest."""

SHARE, MOST_SECONDS = 0.1, 0.3
"""Of the budget, that the first model may take; a small one also no more than so many seconds."""

FEWEST_ROWS = 2_000
"""That each is trained on at least; where a fold has fewer, all rows are affordable too."""

FEWEST_ROWS_UNKNOWN = 500
"""The same of a learner that may be slow."""

LARGEST = 0.5
"""With a larger share of the rows of a full trial there is no need for a lighter one."""

SLOWER, SHARE_OF_REST = 2.0, 0.75
"""A candidate takes at most so many times as long as the smaller one before it, and comes only if
that is no more of the time left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """What is tried on few rows before everything else."""

    # tried after the baseline, each if the one before it says that there is time for it
    candidates: tuple[Candidate, ...]
    budget: Budget  # what each may spend; without a limit of time


class LightStart:
    """Tries the baseline and small candidates on few rows before full trials.

    Neither allocator nor strategy hears of the small candidates.
    """

    def __init__(self, allocator: Allocator, light: Light) -> None:
        self.mitigates = allocator.mitigates
        self._allocator = allocator
        self._light = light
        self._last = len(light.candidates)
        self._seconds: float | None = 0.0

    def next_trial(
        self, ask: Callable[[], Candidate | None], *, number: int, seconds_left: float | None
    ) -> Trial | None:
        """Return a light trial, or what the allocator says."""
        if 0 < number <= self._last and not self._in_time(seconds_left):
            self._last = number - 1
        if number > self._last:
            return self._allocator.next_trial(ask, number=number, seconds_left=seconds_left)
        candidate = self._light.candidates[number - 1] if number else ask()
        if candidate is None:
            return None
        self._seconds = None if number else 0.0
        return Trial(number=number, candidate=candidate, budget=self._light.budget)

    def record(self, told: Told) -> None:
        """Pass on what the allocator has asked for, and the baseline: what scoring costs."""
        if told.trial.number == 0 or told.trial.number > self._last:
            self._allocator.record(told)
        else:
            self._seconds = told.seconds

    def _in_time(self, left: float | None) -> bool:
        """Return whether there is time for the next, as far as the one before it says."""
        if self._seconds is None:
            return False
        return left is None or SLOWER * self._seconds <= SHARE_OF_REST * left


def light_fraction(terms: Terms, seconds: float, *, quick: bool = True) -> float | None:
    """Return the share of the rows for a light trial, None where a full one is affordable."""
    full, allowed = terms.budget, SHARE * seconds
    pace, fewest = ROWS_PER_SECOND_UNKNOWN, FEWEST_ROWS_UNKNOWN
    if quick:
        pace, fewest = ROWS_PER_SECOND, FEWEST_ROWS
        rows = full.folds * full.sample_fraction * terms.n_train_rows
        few = full.one_fold * terms.n_train_rows < fewest
        if rows * terms.row_cost <= pace * (allowed if few else min(allowed, MOST_SECONDS)):
            return None
        allowed = min(allowed, MOST_SECONDS)
    affordable = allowed * pace / full.models_of_a_sample / terms.row_cost
    share = max(fewest, affordable) / terms.n_train_rows
    held = min(share, full.one_fold)
    return held if (held if quick else share) < LARGEST * full.sample_fraction else None


def on_all_rows(
    first: tuple[Candidate, ...], small: Candidate | None, light: Light | None
) -> tuple[Candidate, ...]:
    """Return the first candidates of full trials, without the one tried on few rows."""
    return first[1:] if light is not None and small in light.candidates else first


def begun_with(planned: Light | None, own: Budget, past: Mapping[int, Trial]) -> Light | None:
    """Return what an earlier run began with, so that it is not run again, else what is planned."""
    if 0 not in past:
        return planned
    budget = replace(past[0].budget, seconds=None)
    if budget == own and (planned is None or planned.budget != budget):
        return None
    found: list[Candidate] = []
    for number, candidate in enumerate((None,) if planned is None else planned.candidates, 1):
        then, asked = past.get(number), candidate
        if then is not None:
            light = then.budget.sample_fraction == budget.sample_fraction
            asked = then.candidate if light else None
        if asked is None:
            break
        found.append(asked)
    return Light(candidates=tuple(found), budget=budget)
