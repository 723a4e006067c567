"""Compute the contributions of features to gaps, as Shapley values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import comb
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.auditing.models import ModelAdapter
from fairautoml.auditing.result import Contributions, Share
from fairautoml.exceptions import InputError
from fairautoml.metrics._table import Rate
from fairautoml.metrics.groups import GroupSystem

MOST_EXACT = 6
"""Largest number of players for which all coalitions are evaluated."""
ORDERS = 200
"""Number of sampled orders for more players; half are the reverse of the others."""

Coalition = frozenset[int]
Value = Callable[[Coalition], float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """Shapley values."""

    values: NDArray[np.float64]  # shape (n_players,): contribution of each player
    standard_errors: NDArray[np.float64]  # shape (n_players,)
    exact: bool  # whether all coalitions were evaluated


def shapley_values(n_players: int, value: Value, *, seed: int = 0) -> Solution:
    """Return the contribution of each player to the value of the grand coalition.

    References
    ----------
    Shapley, "A value for n-person games", 1953; antithetic orders: Mitchell, Cooper, Frank,
    Holmes, "Sampling permutations for Shapley value estimation", JMLR 23 (2022).
    """
    game = cache(value)  # orders share coalitions
    if n_players <= MOST_EXACT:
        exact = np.array([_exact(player, n_players, game) for player in range(n_players)])
        return Solution(values=exact, standard_errors=np.zeros(n_players), exact=True)
    rng = np.random.default_rng(seed)
    pairs = np.empty((ORDERS // 2, n_players))
    for at in range(len(pairs)):
        order = rng.permutation(n_players)
        # The mean over an order and its reverse is one independent draw.
        pairs[at] = (contributions(order, game) + contributions(order[::-1], game)) / 2
    errors = pairs.std(axis=0, ddof=1) / np.sqrt(len(pairs))
    return Solution(values=pairs.mean(axis=0), standard_errors=errors, exact=False)


def mean_of(solutions: Sequence[Solution]) -> Solution:
    """Return the mean solution of independent noisy draws of a game."""
    values = np.array([one.values for one in solutions])
    of_draws = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    of_orders = np.mean([one.standard_errors for one in solutions], axis=0)
    return Solution(
        values=values.mean(axis=0),
        standard_errors=np.hypot(of_draws, of_orders),
        exact=all(one.exact for one in solutions),
    )


def contributions(order: NDArray[np.integer], value: Value) -> NDArray[np.float64]:
    """Return the marginal contribution of each player in this order."""
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
    """Return the mean of ``v(S + player) - v(S)``, with equal weight for each size of ``S``."""
    others = [other for other in range(n_players) if other != player]
    total = 0.0
    for bits in range(2 ** len(others)):
        present = frozenset(other for at, other in enumerate(others) if bits >> at & 1)
        weight = 1 / (n_players * comb(n_players - 1, len(present)))
        total += weight * (value(present | {player}) - value(present))
    return total


REPEATS = 5
"""Number of permutations of an absent block to average."""
MOST_ROWS = 5_000
"""Largest number of rows on which blocks are permuted."""

Blocks = Mapping[str, Sequence[str]]


MEAN_PREDICTION = "mean prediction"
"""What the gap of a regression model is about, in place of a rate."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contrast:
    """The gap to decompose: the rate or mean prediction of one group minus that of another."""

    system: GroupSystem
    rate: Rate | None  # None = the mean prediction
    high: int  # groups with the highest and the lowest rate on all rows
    low: int


def widest(
    system: GroupSystem, rates: Sequence[tuple[Rate | None, NDArray[np.float64]]]
) -> Contrast | None:
    """Return the largest gap of rates by group, or None if one is undefined."""
    if not rates or any(np.isnan(values).any() for _, values in rates):
        return None
    rate, values = max(rates, key=lambda one: float(np.ptp(one[1])))
    high, low = int(values.argmax()), int(values.argmin())
    return Contrast(system=system, rate=rate, high=high, low=low)


def check_blocks(blocks: Blocks | None, columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the blocks, one per column by default; the last has all columns without block."""
    if blocks is None:
        return {name: (name,) for name in columns}
    found = {str(name): tuple(map(str, members)) for name, members in blocks.items()}
    named = [column for members in found.values() for column in members]
    unknown = sorted(set(named) - set(columns))
    twice = sorted({column for column in named if named.count(column) > 1})
    if not named or unknown or twice:
        raise InputError(
            f"blocks: unknown columns {unknown}, columns in two blocks {twice}; allowed are "
            f"columns of X, each in one block, for example {{'money': [{columns[0]!r}]}}."
        )
    rest = tuple(column for column in columns if column not in named)
    return {**found, "(other columns)": rest} if rest else found


def contributions_of(
    codes: NDArray[np.int64],
    y: NDArray[Any] | None,
    weight: NDArray[np.float64] | None,
    X: pd.DataFrame,
    model: ModelAdapter,
    contrast: Contrast,
    blocks: Mapping[str, tuple[str, ...]],
    seed: int,
) -> Contributions:
    """Return the Shapley values of a gap over feature blocks; ``codes`` are groups, -1 = none.

    With ``y`` also those of the error: the share of wrong decisions, or the mean absolute error.
    The rows of an absent block are permuted jointly, so that the block keeps its distribution but
    is independent of all other columns; no model is refitted.

    References
    ----------
    Heuillet, Couthouis, Diaz-Rodriguez, "Collective eXplainable AI", 2021 (arXiv 2110.01307).
    """
    at = _drawn(codes, seed)
    table, names = X.iloc[at].reset_index(drop=True), list(blocks)
    rng = np.random.default_rng(seed)
    # The order of a block does not depend on the other blocks.
    moved = [[rng.permutation(len(at)) for _ in names] for _ in range(REPEATS)]
    label, group = np.zeros(len(at), dtype=np.int8) if y is None else y[at], codes[at]
    of_row = np.ones(len(at)) if weight is None else weight[at]
    known: dict[tuple[Coalition, int], tuple[float, float]] = {}

    def measured(present: Coalition, repeat: int) -> tuple[float, float]:
        """Return gap and error where the other blocks are permuted."""
        if (present, repeat) in known:
            return known[present, repeat]
        changed = table.copy()
        for block in (b for b in range(len(names)) if b not in present):
            for column in blocks[names[block]]:
                changed[column] = table[column].array[moved[repeat][block]]
        answer = model.decide(changed)
        found = _gap(answer, label, group, of_row, contrast)
        if np.isnan(found):
            shown = ", ".join(names[block] for block in sorted(present)) or "none"
            raise InputError(
                f"blocks: with {shown} present, the {contrast.rate} rate is undefined in a group. "
                "Pass another constraint first, or more rows."
            )
        known[present, repeat] = found, _mean(np.abs(answer - label.astype(float)), of_row)
        return known[present, repeat]

    def solved(which: int) -> Solution:
        games = (lambda present, r=r: measured(present, r)[which] for r in range(REPEATS))
        return mean_of([shapley_values(len(names), game, seed=seed) for game in games])

    gap, error = solved(0), None if y is None else solved(1)
    everything = measured(frozenset(range(len(names))), 0)
    nothing = np.mean([measured(frozenset(), repeat) for repeat in range(REPEATS)], axis=0)
    return Contributions(
        system=contrast.system.name,
        rate=MEAN_PREDICTION if contrast.rate is None else contrast.rate.name,
        high=contrast.system.labels[contrast.high],
        low=contrast.system.labels[contrast.low],
        total=everything[0],
        without=float(nothing[0]),
        error=None if error is None else everything[1],
        error_without=None if error is None else float(nothing[1]),
        exact=gap.exact,
        n_rows=len(at),
        shares=tuple(
            Share(
                block=name,
                columns=blocks[name],
                value=float(gap.values[b]),
                standard_error=float(gap.standard_errors[b]),
                error=None if error is None else float(error.values[b]),
                error_standard_error=None if error is None else float(error.standard_errors[b]),
            )
            for b, name in enumerate(names)
        ),
    )


def _drawn(codes: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return a sample of the rows of all groups."""
    if len(codes) <= MOST_ROWS:
        return np.arange(len(codes))
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(len(codes), MOST_ROWS, replace=False))


def _gap(
    answer: NDArray[Any],
    y: NDArray[Any],
    group: NDArray[np.int64],
    weight: NDArray[Any],
    contrast: Contrast,
) -> float:
    happened = answer
    if contrast.rate is not None:
        mass, happened = contrast.rate.shares(y, answer)
        weight = weight * mass
    high, low = (
        _mean(happened[group == g], weight[group == g]) for g in (contrast.high, contrast.low)
    )
    return high - low


def _mean(happened: NDArray[np.float64], weight: NDArray[Any]) -> float:
    return float(weight @ happened / weight.sum()) if weight.sum() > 0 else float("nan")
