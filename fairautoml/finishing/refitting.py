"""The winner trained once more on all rows, where the time that is left allows it."""

import logging
import time
from collections.abc import Sequence

from fairautoml.evaluation.fitting import Bag
from fairautoml.evaluation.objective import refit
from fairautoml.exceptions import DegradedWarning, warn
from fairautoml.running.run import RunPlan
from fairautoml.trials import Entry, TrialResult

logger = logging.getLogger(__name__)

REFIT_RESERVE_SHARE = 0.15
"""Share of a time budget that the search leaves for it."""

SOON = 1.0
"""Seconds that a training may take whatever is left, and by which it may be late unsaid."""


def refitted(
    best: Entry, plan: RunPlan, results: Sequence[TrialResult], end: float | None
) -> dict[str, Bag]:
    """Return the winner's model by its trial, none where training it would take too long."""
    n_rows = plan.problem.dataset.n_rows
    trial = next(result for result in results if result.trial.key == best.trial_key)
    expected = expected_seconds(trial, plan.problem.n_folds)
    begun = time.monotonic()
    what = f"training {best.candidate.learner} once more on all {n_rows:,} rows"
    if end is not None and expected > max(SOON, end - begun):
        _warn(
            f"refit was left out: {what} would take about {expected:.0f} s, and "
            f"{max(0.0, end - begun):.0f} s are left; the mean of its fold models is served",
            expected,
        )
        return {}
    logger.info("%s, for about %.1f s", what, expected)
    targets = plan.problem.goal.targets
    model = Bag(refit(best.candidate, plan.problem.dataset, plan.seed, targets))
    now = time.monotonic()
    if end is not None and now > end + SOON:
        msg = f"refit overran time_budget by {now - end:.0f} s: {what} took {now - begun:.0f} s"
        _warn(f"{msg}, and about {expected:.0f} s were expected", now - begun)
    return {best.trial_key: model}


def expected_seconds(result: TrialResult, n_folds: int) -> float:
    """Return what one training on all rows takes, if it takes as long per row as in the trial."""
    budget = result.trial.budget
    share = budget.sample_fraction * (n_folds - 1) / n_folds
    return result.seconds / budget.folds / share


def _warn(msg: str, seconds: float) -> None:
    budget = max(1.0, seconds / REFIT_RESERVE_SHARE)
    advice = f"give a time_budget of {budget:.0f} s or more, n_trials alone, or refit=False"
    warn(f"{msg}; {advice}", DegradedWarning)
