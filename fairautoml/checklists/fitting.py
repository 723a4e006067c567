"""From a table to its best checklist."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fairautoml.checklists.descent import Chosen, Lists, descend
from fairautoml.checklists.fitted import Checklist, fit_log_odds
from fairautoml.checklists.items import find_items
from fairautoml.checklists.patterns import Patterns, RateGap, merge
from fairautoml.checklists.program import solve
from fairautoml.data.dataset import FeatureLayout
from fairautoml.exceptions import FairAutoMLError, InputError
from fairautoml.threads import one_thread
from fairautoml.trials import ParamValue

DESCENT_SHARE = 0.5
"""Share of the time that the descents may take from the solver."""

SOLVED = 1e-4
"""Share of the smallest mistake within which value and bound are the same."""


class NoChecklistError(FairAutoMLError, RuntimeError):
    """No checklist meets the limits, or none was found in time; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What checklists are allowed, what they cost, and how long the best one is looked for."""

    most_items: int = 5  # largest number of items, N, at least 1
    most_required: int = 3  # largest number that must be checked, M, at least 1
    cuts: int = 3  # quantiles at which numbers are cut, at least 1
    complements: bool = True  # whether the opposite of every item is an item too
    # mistakes on both labels cost the same, or so that both labels cost the same in all
    cost: Literal["errors", "balanced"] = "errors"  # {"errors", "balanced"}
    seconds: float = 60.0  # time limit, positive

    @classmethod
    def from_params(cls, params: Mapping[str, ParamValue]) -> "Shape":
        """Return the shape that hyperparameters of the same names stand for."""
        usual = cls()
        return cls(
            most_items=int(params.get("most_items", usual.most_items)),
            most_required=int(params.get("most_required", usual.most_required)),
            cuts=int(params.get("cuts", usual.cuts)),
            complements=bool(params.get("complements", usual.complements)),
            cost="balanced" if params.get("cost", usual.cost) == "balanced" else "errors",
            seconds=float(params.get("seconds", usual.seconds)),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledRows:
    """Training rows of a checklist."""

    X: NDArray[np.floating]  # shape (n_rows, n_features): encoded features, dense
    y: NDArray[np.integer]  # shape (n_rows,): labels 0 or 1, both occurring
    weight: NDArray[np.float64]  # shape (n_rows,): sample weights; rows of weight 0 are left out
    layout: FeatureLayout  # what the columns are


def fit_checklist(
    rows: LabelledRows, shape: Shape, *, gaps: Sequence[RateGap] = (), seed: int = 0
) -> Checklist:
    """Return the checklist of the fewest mistakes whose group gaps are within their limits.

    Of equal mistakes the list with fewer items, then the one that asks for fewer. Limits hold on
    the training rows, by the decisions of the list itself.
    """
    deadline = time.monotonic() + shape.seconds
    used = rows.weight > 0
    X, y, weight = rows.X[used], rows.y[used], rows.weight[used]
    if not len(y) or (y == y[0]).all():
        msg = (
            f"y: a checklist needs rows of both labels with weight, found {np.unique(y).tolist()}"
        )
        raise InputError(msg)
    items, checked = find_items(X, rows.layout, cuts=shape.cuts, complements=shape.complements)
    column = np.array([item.column for item in items])
    # The mean mistake costs about 1, whatever the unit of the weights.
    cost = weight / weight.mean() * _costs(y, weight, shape.cost)
    kept = [replace(gap, groups=gap.groups[used]) for gap in gaps]
    patterns = merge(checked, column, y, cost, weight, kept)
    with one_thread():
        best, bound = _best(patterns, shape, gaps, seed=seed, deadline=deadline)
    found = tuple(items[at] for at in best.items)
    counts = checked[:, list(best.items)].sum(axis=1)
    wrong = (counts >= best.required) != (y == 1)
    return Checklist(
        items=found,
        required=best.required,
        log_odds=fit_log_odds(counts, y, weight, n_items=len(found), required=best.required),
        mistakes=float(weight[wrong].sum()),
        gap=(best.value - bound) / best.value,
        optimal=bound >= best.value - SOLVED * patterns.step,
    )


def _costs(
    y: NDArray[np.integer], weight: NDArray[np.float64], cost: Literal["errors", "balanced"]
) -> NDArray[np.float64]:
    if cost == "errors":
        return np.ones(len(y))
    positive = weight[y == 1].sum() / weight[y == 0].sum()
    return np.where(y == 1, 1.0, positive)


def _best(
    patterns: Patterns, shape: Shape, gaps: Sequence[RateGap], *, seed: int, deadline: float
) -> tuple[Chosen, float]:
    """Return the best list found and a bound on the value of all."""
    most_items = min(shape.most_items, len(np.unique(patterns.column)))
    most_required = min(shape.most_required, most_items)
    lists = Lists(patterns=patterns, most_items=most_items, most_required=most_required)
    left = deadline - time.monotonic()
    best = descend(lists, seed=seed, deadline=time.monotonic() + DESCENT_SHARE * left)
    bound, statuses = np.inf, []
    for required in range(1, most_required + 1):
        # What earlier programs leave over goes to the later ones.
        left = (deadline - time.monotonic()) / (most_required - required + 1)
        beat = np.inf if best is None else best.value
        if left <= 0:
            bound = min(bound, patterns.least)
            statuses.append("not begun: the time was up")
            continue
        solved = solve(lists, required, beat=beat, seconds=left)
        bound = min(bound, solved.bound)
        statuses.append(solved.status)
        best = best if solved.chosen is None else solved.chosen
    if best is None:
        raise NoChecklistError(_none_found(lists, shape, gaps, bound, statuses))
    return best, min(bound, best.value)


def _none_found(
    lists: Lists, shape: Shape, gaps: Sequence[RateGap], bound: float, statuses: Sequence[str]
) -> str:
    limits = ", ".join(f"{gap.name} within {gap.limit:g}" for gap in gaps) or "no limits"
    allowed = f"at most {lists.most_items} items, at most {lists.most_required} required"
    if bound == np.inf:
        return (
            f"checklist: no list with {allowed} has {limits}; raise the limit, allow more items "
            "or give more columns"
        )
    said = "; ".join(dict.fromkeys(statuses))
    return (
        f"checklist: no list with {allowed} and {limits} was found in {shape.seconds:g} s (the "
        f"solver: {said}); raise seconds or the limit"
    )
