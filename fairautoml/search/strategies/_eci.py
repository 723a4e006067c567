"""Estimated cost for improvement (ECI): which learner to spend the next seconds on.

Wang, Wu, Weimer and Zhu, "FLAML", MLSys 2021, arXiv 1911.04706, and FLAML's code
(``automl/automl.py``, ``_select_estimator``; ``automl/state.py``), release 2.7. Pure functions of
frozen accounts; all costs in seconds.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

GROWTH = 4.0
"""Factor by which FLAML enlarges its sample of rows."""

LEAST = 1e-9
"""Cost that stands for 0."""

MOST = 1e15
"""Cost that stands for one without a bound, so that every learner keeps a chance."""

COST_TO_LIGHTGBM: Mapping[str, float] = {
    "lightgbm": 1.0,
    "xgboost": 1.6,
    "extra_trees": 1.9,
    "random_forest": 2.0,
    "catboost": 15.0,
    "logistic_regression": 25.0,
}
"""FLAML's relative cost of a first trial; a learner that is not listed counts as 1, as there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What one learner cost and brought."""

    total: float = 0.0  # k0: seconds spent on it so far
    # k1 and K2: what ``total`` was when its best and its previous best were found
    at_best: float = 0.0
    at_best_before: float = 0.0
    best: float = math.inf  # the two losses, ``inf`` before the first result
    best_before: float = math.inf
    seconds_of_best: float = 0.0  # what its best trial cost
    # rows that its best trial was trained on, as a share of the most so far, in (0, 1]
    fraction: float = 1.0
    failures: int = 0  # trials without a loss before the first one with a loss

    @property
    def tried(self) -> bool:
        """Whether there is a result with a loss."""
        return math.isfinite(self.best)


def booked(account: Account, loss: float | None, seconds: float, fraction: float) -> Account:
    """Return the account after one more trial."""
    total = account.total + seconds
    if loss is None or loss >= account.best:
        failures = account.failures if account.tried else account.failures + 1
        return Account(
            total=total,
            at_best=account.at_best,
            at_best_before=account.at_best_before,
            best=account.best,
            best_before=account.best_before,
            seconds_of_best=account.seconds_of_best,
            fraction=account.fraction,
            failures=failures,
        )
    return Account(
        total=total,
        at_best=total,
        at_best_before=account.at_best,
        best=loss,
        best_before=account.best if account.tried else 2 * loss,
        seconds_of_best=seconds,
        fraction=fraction,
        failures=account.failures,
    )


def cost_of_improvement(account: Account, best_overall: float) -> float:
    """Return the ECI of a learner that has a result.

    ``ECI1 = max(K1 - K2, K0 - K1)``; on fewer than all rows no more than ``ECI2``, the cost of the
    best configuration on up to four times the rows; behind the best learner at least twice the
    gap divided by the speed so far.
    """
    own = max(account.at_best - account.at_best_before, account.total - account.at_best)
    if account.fraction < 1:
        own = min(own, account.seconds_of_best * min(GROWTH, 1 / account.fraction))
    gap = account.best - best_overall
    speed = _speed(account)
    if gap > 0 and speed != 0:
        own = max(own, 2 * gap / speed)
    return min(own, MOST) if own != 0 else LEAST


def _speed(account: Account) -> float:
    gained = account.best_before - account.best
    spent = account.total - account.at_best_before
    return (gained if gained != 0 else account.best) / (spent if spent != 0 else 1e-10)


def cost_of_first(learner: str, reference: str, seconds: float, failures: int) -> float:
    """Return the ECI of a learner without a result, from the first trial of another one."""
    relative = COST_TO_LIGHTGBM.get(learner, 1.0) / COST_TO_LIGHTGBM.get(reference, 1.0)
    return seconds * relative * 2.0 ** min(failures, 64)


def shares(costs: Mapping[str, float]) -> dict[str, float]:
    """Return the probability of each learner: proportional to ``1 / ECI``."""
    total = sum(1 / cost for cost in costs.values())
    return {name: 1 / cost / total for name, cost in costs.items()}
