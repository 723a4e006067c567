"""When a costly mitigation is worth its seconds: the rules, their guards and their ablations.

Our design; not a reproduction of the formulas of Wu and Wang, FairAutoML, arXiv 2111.06495, whose
abstract says that the decision is made on the fly from accuracy, fairness and resources.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fairautoml.allocation._clock import now_or_never
from fairautoml.allocation._state import Memory, Pair

Test = Literal["full", "simple", "gain", "greedy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which test is made, and which of its parts are on; the defaults are the full rule."""

    test: Test = "full"  # ``"full"``: expected gain per expected second against that of the search
    # try the cheapest base once as soon as that costs no more than the search so far, to learn
    # the ratio
    early: bool = True
    prune: bool = True  # drop bases that cannot beat the best fair loss
    # divide costs by the estimated probability that a mitigated model is fair; else by 1
    learn_odds: bool = True
    cap: bool = True  # no mitigation while mitigations have cost more than the search
    last_chance: bool = True  # mitigate at the end rather than have no fair model


def choose(memory: Memory, rules: Rules, left: float | None, longest: float = 0.0) -> Pair | None:
    """Return what to mitigate now, None = search on."""
    pairs = memory.pairs(prune=rules.prune)
    if not pairs:
        return None
    if rules.last_chance and (saved := _last_chance(memory, pairs, left, longest)) is not None:
        return saved
    if rules.cap and memory.committed > memory.search.spent:
        return None
    pair = _first_of_its_kind(memory, pairs) if rules.early else None
    if pair is None:
        pair = TESTS[rules.test](memory, pairs, rules)
    return pair if pair is not None and fits(pair, left) else None


def fits(pair: Pair, left: float | None) -> bool:
    """Whether the pair is expected to end in time."""
    return left is None or pair.seconds <= left


def _last_chance(
    memory: Memory, pairs: list[Pair], left: float | None, longest: float
) -> Pair | None:
    if left is None or memory.mitigating or memory.best_fair < math.inf:
        return None
    pair = min(pairs, key=_cost)
    return pair if now_or_never(pair.seconds, left, longest) else None


def _first_of_its_kind(memory: Memory, pairs: list[Pair]) -> Pair | None:
    """Return the cheapest pair of a mitigation never tried, once the search has paid for it."""
    unknown = [p for p in pairs if p.arm.n == 0 and p.arm.n_open == 0]
    pair = min(unknown, key=_cost, default=None)
    return pair if pair is not None and pair.seconds <= memory.search.spent else None


def _full(memory: Memory, pairs: list[Pair], rules: Rules) -> Pair | None:
    """Compare gain per second of the best pair with that of the search."""
    search = memory.search
    if math.isinf(memory.best_fair):
        pair = _best(pairs)
        patience = max(search.cost_of_improvement, search.since)
        return pair if pair.seconds / _odds(pair, rules) <= patience else None

    def speed(pair: Pair) -> float:
        gain = max(0.0, memory.best_fair - pair.base.loss - pair.arm.shift)
        return _per_second(gain, pair.seconds / _odds(pair, rules))

    pair = max(pairs, key=speed)
    # A better base must still be mitigated, unless bases of the search tend to be fair.
    after = (1 - search.share_fair) * pair.arm.ratio * search.full_seconds / _odds(pair, rules)
    rival = _per_second(search.gain, search.cost_of_improvement + after)
    found = speed(pair)
    return pair if found > 0 and found >= rival else None


def _simple(memory: Memory, pairs: list[Pair], rules: Rules) -> Pair | None:
    """Mitigate the best base when that costs no more than the next improvement of the search."""
    del rules
    pair = _best(pairs)
    search = memory.search
    return pair if pair.seconds <= max(search.cost_of_improvement, search.since) else None


def _gain(memory: Memory, pairs: list[Pair], rules: Rules) -> Pair | None:
    """Mitigate when that promises more than the last improvement of the search."""
    del rules
    pair = min(pairs, key=lambda p: (p.base.loss + p.arm.shift, p.seconds))
    promised = memory.best_fair - pair.base.loss - pair.arm.shift
    return pair if promised > 0 and promised >= memory.search.gain else None


def _greedy(memory: Memory, pairs: list[Pair], rules: Rules) -> Pair | None:
    del memory, rules
    return _best(pairs)


TESTS: dict[Test, Callable[[Memory, list[Pair], Rules], Pair | None]] = {
    "full": _full,
    "simple": _simple,
    "gain": _gain,
    "greedy": _greedy,
}


def _best(pairs: list[Pair]) -> Pair:
    """Return the pair of the best base; among several mitigations of it, the cheapest."""
    return min(pairs, key=lambda pair: (pair.base.loss, pair.seconds))


def _cost(pair: Pair) -> float:
    return pair.seconds


def _odds(pair: Pair, rules: Rules) -> float:
    return pair.arm.odds if rules.learn_odds else 1.0


def _per_second(gain: float, seconds: float) -> float:
    """Return the quotient; a gain that costs nothing is worth everything."""
    if seconds > 0:
        return gain / seconds
    return math.inf if gain > 0 else 0.0
