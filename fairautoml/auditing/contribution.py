"""Which feature blocks the gap between two groups comes from: permuted blocks, Shapley values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.auditing.cells import cells_of, outcome
from fairautoml.auditing.game import Coalition, mean_of, shapley_values
from fairautoml.auditing.models import Decider
from fairautoml.auditing.records import Contributions, Share
from fairautoml.auditing.rows import AuditRows
from fairautoml.data.dataset import GroupSystem
from fairautoml.exceptions import InputError
from fairautoml.metrics import Metric
from fairautoml.metrics._table import Rate

REPEATS = 5
"""Permutations of an absent block that are averaged."""
MOST_ROWS = 5_000
"""Rows that blocks are permuted on at most."""

Blocks = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """The gap that is taken apart: the rate of one group less that of another."""

    system: GroupSystem  # groups
    rate: Rate  # which rate
    high: int  # groups with the highest and the lowest rate on all rows
    low: int


def question_of(rows: AuditRows, system: GroupSystem, metric: Metric) -> Question | None:
    """Return the widest gap behind a metric, None when a rate has no value."""
    cells = [cells_of(rows, system, rate) for rate in metric.rates]
    if not cells or any(np.isnan(cell.values).any() for cell in cells):
        return None
    widest = max(cells, key=lambda cell: float(np.ptp(cell.values)))
    return Question(
        system=system,
        rate=widest.rate,
        high=int(widest.values.argmax()),
        low=int(widest.values.argmin()),
    )


def check_blocks(blocks: Blocks | None, columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the blocks, one per column by default; columns of no block are the last one."""
    if blocks is None:
        return {name: (name,) for name in columns}
    found = {str(name): tuple(map(str, members)) for name, members in blocks.items()}
    named = [column for members in found.values() for column in members]
    unknown = sorted(set(named) - set(columns))
    twice = sorted({column for column in named if named.count(column) > 1})
    if not named or unknown or twice:
        msg = (
            f"blocks: unknown columns {unknown}, columns in two blocks {twice}; allowed are "
            f"columns of X, each in one block, for example {{'money': [{columns[0]!r}]}}"
        )
        raise InputError(msg)
    rest = tuple(column for column in columns if column not in named)
    return {**found, "(other columns)": rest} if rest else found


def contributions_of(
    rows: AuditRows,
    X: pd.DataFrame,
    model: Decider,
    question: Question,
    blocks: Mapping[str, tuple[str, ...]],
    seed: int,
) -> Contributions:
    """Return the Shapley values of a gap over feature blocks.

    A block that is absent has its rows permuted jointly, so that it keeps its distribution and
    loses its relation to everything else; nothing is refitted.

    References
    ----------
    Heuillet, Couthouis, Diaz-Rodriguez, "Collective eXplainable AI", 2021 (arXiv 2110.01307).
    """
    codes = rows.codes(question.system)
    at = _drawn(codes, seed)
    table, names = X.iloc[at].reset_index(drop=True), list(blocks)
    moved = _orders(len(at), len(names), seed)
    y, group = None if rows.y is None else rows.y[at], codes[at]
    weight = np.ones(len(at)) if rows.weight is None else rows.weight[at]

    def value(present: Coalition, repeat: int) -> float:
        changed = table.copy()
        for block in (b for b in range(len(names)) if b not in present):
            for column in blocks[names[block]]:
                changed[column] = table[column].array[moved[repeat, block]]
        found = _gap(model.decide(changed), y, group, weight, question)
        if np.isnan(found):
            shown = ", ".join(names[block] for block in sorted(present)) or "none"
            msg = (
                f"blocks: with {shown} present the {question.rate} rate has no value in a group; "
                "explain another constraint or give more rows"
            )
            raise InputError(msg)
        return found

    solution = mean_of(
        [
            shapley_values(len(names), partial(value, repeat=repeat), seed=seed)
            for repeat in range(REPEATS)
        ]
    )
    everything = frozenset(range(len(names)))
    return Contributions(
        system=question.system.name,
        rate=question.rate.name,
        high=question.system.labels[question.high],
        low=question.system.labels[question.low],
        total=value(everything, 0),
        without=float(np.mean([value(frozenset(), repeat) for repeat in range(REPEATS)])),
        exact=solution.exact,
        n_rows=len(at),
        shares=tuple(
            Share(
                block=name,
                columns=blocks[name],
                value=float(solution.values[b]),
                standard_error=float(solution.standard_errors[b]),
            )
            for b, name in enumerate(names)
        ),
    )


def _drawn(codes: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return rows of all groups, for an absent block is drawn from everybody."""
    if len(codes) <= MOST_ROWS:
        return np.arange(len(codes))
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(len(codes), MOST_ROWS, replace=False))


def _orders(n_rows: int, n_blocks: int, seed: int) -> NDArray[np.int64]:
    """Return the row orders of every block, the same whichever blocks are absent with it."""
    rng = np.random.default_rng(seed)
    return np.array(
        [[rng.permutation(n_rows) for _ in range(n_blocks)] for _ in range(REPEATS)],
        dtype=np.int64,
    )


def _gap(
    decision: NDArray[np.integer],
    y: NDArray[np.integer] | None,
    group: NDArray[np.int64],
    weight: NDArray[Any],
    question: Question,
) -> float:
    here, happened = outcome(y, decision, question.rate)
    high, low = (
        _mean(happened[here & (group == g)], weight[here & (group == g)])
        for g in (question.high, question.low)
    )
    return high - low


def _mean(happened: NDArray[np.bool_], weight: NDArray[Any]) -> float:
    return float(weight @ happened / weight.sum()) if weight.sum() > 0 else float("nan")
