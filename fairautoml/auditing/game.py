"""Shapley values of a game of a few players, exact or from sampled orders with their errors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

MOST_EXACT = 6
"""Players up to which all coalitions are valued."""
ORDERS = 200
"""Orders that are sampled beyond, half of them the reverse of the other half."""

Coalition = frozenset[int]
Value = Callable[[Coalition], float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """Shapley values."""

    values: NDArray[np.float64]  # shape (n_players,): what each player contributes
    standard_errors: NDArray[np.float64]  # shape (n_players,)
    exact: bool  # whether all coalitions were valued


def remembered(value: Value) -> Value:
    """Return the game that values each coalition once."""
    known: dict[Coalition, float] = {}

    def look_up(coalition: Coalition) -> float:
        if coalition not in known:
            known[coalition] = value(coalition)
        return known[coalition]

    return look_up


def shapley_values(n_players: int, value: Value, *, seed: int = 0) -> Solution:
    """Return what each player contributes to the value of all of them.

    References
    ----------
    Shapley, "A value for n-person games", 1953; antithetic orders: Mitchell, Cooper, Frank,
    Holmes, "Sampling permutations for Shapley value estimation", JMLR 23 (2022).
    """
    game = remembered(value)
    if n_players <= MOST_EXACT:
        exact = np.array([_exact(player, n_players, game) for player in range(n_players)])
        return Solution(values=exact, standard_errors=np.zeros(n_players), exact=True)
    rng = np.random.default_rng(seed)
    pairs = np.empty((ORDERS // 2, n_players))
    for at in range(len(pairs)):
        order = rng.permutation(n_players)
        # An order and its reverse err in opposite directions: their mean is one independent draw.
        pairs[at] = (contributions(order, game) + contributions(order[::-1], game)) / 2
    errors = pairs.std(axis=0, ddof=1) / np.sqrt(len(pairs))
    return Solution(values=pairs.mean(axis=0), standard_errors=errors, exact=False)


def mean_of(solutions: Sequence[Solution]) -> Solution:
    """Return the mean solution of games whose values are independent draws of the same ones."""
    values = np.array([one.values for one in solutions])
    of_draws = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    of_orders = np.mean([one.standard_errors for one in solutions], axis=0)
    return Solution(
        values=values.mean(axis=0),
        standard_errors=np.hypot(of_draws, of_orders),
        exact=all(one.exact for one in solutions),
    )


def contributions(order: NDArray[np.integer], value: Value) -> NDArray[np.float64]:
    """Return what each player adds when players come in this order; the sum is that of all."""
    added = np.empty(len(order))
    present: Coalition = frozenset()
    before = value(present)
    for player in order.tolist():
        present = present | {player}
        after = value(present)
        added[player] = after - before
        before = after
    return added


def _exact(player: int, n_players: int, value: Value) -> float:
    """Return the mean of ``v(S + player) - v(S)``, each size of ``S`` weighing the same."""
    others = [other for other in range(n_players) if other != player]
    total = 0.0
    for bits in range(2 ** len(others)):
        present = frozenset(other for at, other in enumerate(others) if bits >> at & 1)
        weight = 1 / (n_players * comb(n_players - 1, len(present)))
        total += weight * (value(present | {player}) - value(present))
    return total
