"""Randomized thresholds over several score columns, by a linear program.

Source: Hardt, Price, Srebro, *Equality of Opportunity in Supervised Learning*, arXiv 1610.02413:
mixing thresholds reaches every point of the convex hull of a group's ROC curve. Here it is the
hull of the curves of all columns together, so no rule that thresholds them, randomized or not, is
more accurate on the fitted rows. A basic solution mixes thresholds in at most as many groups as
there are binding constraints, so few columns are needed.

Scores have one column per model here: ``ScoreRows.scores`` has shape (n_rows, n_columns).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fairautoml.mitigators import Goal, Mitigator, RuntimeRule, ScoreRows
from fairautoml.mitigators._group_program import THRESHOLDS_SERVE, Picks, build_problem
from fairautoml.mitigators._thresholds import ThresholdCandidates

Shares = tuple[tuple[str, float], ...]
"""Trials and their shares in the weighted average that is a column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Accept scores of one column of at least ``threshold`` with probability ``share``."""

    column: int
    threshold: float
    share: float

    def describe(self) -> str:
        """Return a short description; columns are counted from 1."""
        cut = {np.inf: "reject all", -np.inf: "accept all"}.get(
            self.threshold, f"column {self.column + 1} >= {self.threshold:.4f}"
        )
        return cut if self.share == 1.0 else f"{cut} (share {self.share:.3f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRule(RuntimeRule):
    """Accept a row if a column drawn at random for its group reaches its threshold."""

    parts: tuple[tuple[Part, ...], ...]  # per group, the shares sum to 1
    columns: tuple[Shares, ...]  # the trials whose mean each column is
    labels: tuple[str, ...]  # display name of each group
    group_of_cell: tuple[int, ...]  # group of each finest cell, -1 = none
    # threshold on the mean of the columns for rows without a group or of a group without parts
    neutral: float

    needs_sensitive: ClassVar[bool] = True

    @property
    def randomized(self) -> bool:
        """Whether a group has more than one part."""
        return any(len(of_group) > 1 for of_group in self.parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the portable form."""
        parts = [part for of_group in self.parts for part in of_group]
        return {
            "kind": "mixture",
            "randomized": self.randomized,
            "of_cell": np.array(self.group_of_cell, dtype=np.int32),
            "sizes": np.array([len(of_group) for of_group in self.parts], dtype=np.int32),
            "columns": np.array([part.column for part in parts], dtype=np.int32),
            "cuts": np.array([part.threshold for part in parts], dtype=np.float64),
            "shares": np.array([part.share for part in parts], dtype=np.float64),
            "neutral": self.neutral,
        }

    def describe(self) -> str:
        """Return the parts by group in one line."""
        as_if_none = f"mean >= {self.neutral:.4f}"
        return "; ".join(
            f"{label}: {' or '.join(part.describe() for part in of_group) or as_if_none}"
            for label, of_group in zip(self.labels, self.parts, strict=True)
        )

    def compact(self) -> "PoolRule":
        """Return the same rule over the columns that it reads."""
        if -1 in self.group_of_cell or () in self.parts:
            # The mean that decides rows without a group reads all columns.
            return self
        read = sorted({part.column for of_group in self.parts for part in of_group})
        return replace(
            self,
            columns=tuple(self.columns[at] for at in read),
            parts=tuple(
                tuple(replace(part, column=read.index(part.column)) for part in of_group)
                for of_group in self.parts
            ),
        )

    def trials(self) -> Shares:
        """Return all trials behind the columns, and their shares in the mean of the columns."""
        total: dict[str, float] = {}
        for column in self.columns:
            for key, share in column:
                total[key] = total.get(key, 0.0) + share / len(self.columns)
        return tuple(total.items())


def pool_mixture(columns: Sequence[Shares]) -> Mitigator:
    """Return the post-processor that mixes thresholds of the given columns; no plug-in."""
    return Mitigator(
        name="pool_mixture",
        stage="post",
        needs_sensitive_at_predict=True,
        serves=THRESHOLDS_SERVE,
        randomizes=True,
        fit_rules=partial(fit_pool_rules, columns=tuple(columns)),
    )


def fit_pool_rules(
    rows: ScoreRows, goal: Goal, tolerances: Sequence[float], columns: tuple[Shares, ...]
) -> list[tuple[float, PoolRule | None]]:
    """Return the best mixture for every tolerance, or None; gaps are bounded in expectation."""
    first = replace(rows, scores=rows.scores[:, 0])
    problem = build_problem(first, goal)
    # All columns get the same shrunken labels; their own would favour extreme scores.
    labelled = problem.shrunk(first, goal)
    by_column = [
        problem.cuts(replace(labelled, scores=rows.scores[:, at]))
        for at in range(rows.scores.shape[1])
    ]
    merged = [_merged(of_group) for of_group in zip(*by_column, strict=True)]
    solved = problem.mixtures([cuts for cuts, _ in merged], tolerances)
    found: list[tuple[float, PoolRule | None]] = []
    for tolerance, picks in zip(tolerances, solved, strict=True):
        rule = None
        if picks is not None:
            rule = PoolRule(
                parts=_parts(merged, picks),
                columns=columns,
                labels=problem.system.labels,
                group_of_cell=tuple(int(g) for g in problem.system.of_cell),
                neutral=problem.neutral,
            )
        found.append((tolerance, rule))
    return found


def _merged(
    by_column: Sequence[ThresholdCandidates],
) -> tuple[ThresholdCandidates, NDArray[np.int64]]:
    """Merge the thresholds of all columns into one curve; return it with the column of each."""
    accepted = np.concatenate([cuts.accepted for cuts in by_column])
    thresholds = np.concatenate([cuts.thresholds for cuts in by_column])
    sizes = [len(cuts.thresholds) for cuts in by_column]
    column = np.repeat(np.arange(len(by_column)), sizes)
    # The hull expects the order from rejecting to accepting all rows.
    order = np.lexsort((accepted[:, 1], accepted[:, 0]))
    merged = replace(by_column[0], thresholds=thresholds[order], accepted=accepted[order])
    return merged, column[order]


def _parts(
    merged: Sequence[tuple[ThresholdCandidates, NDArray[np.int64]]], picks: Picks
) -> tuple[tuple[Part, ...], ...]:
    # An empty group has no best threshold; it is treated like rows without a group.
    return tuple(
        ()
        if cuts.empty
        else tuple(
            Part(column=int(column[at]), threshold=float(cuts.thresholds[at]), share=share)
            for at, share in of_group
        )
        for (cuts, column), of_group in zip(merged, picks, strict=True)
    )
