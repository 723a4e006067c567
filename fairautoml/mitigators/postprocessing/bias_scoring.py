"""Group-unaware rule that shifts the threshold by estimated group membership (bias scores).

Source: Chen, Klochkov, Liu, *Post-hoc Bias Scoring Is Optimal for Fair Classification*, ICLR 2024,
arXiv 2310.05725: without the group at decision time, the most accurate rule under a limit on group
gaps flips the unconstrained decision where a weighted sum of bias scores exceeds 1. Written
without the division (their score over confidence), for any number of groups: accept when
``score - sum_k lam_k P(group k | x) / P(group k)`` exceeds a threshold, with
``P(group k, y | x) / P(group k, y)`` for label rates. P(cell, y | x) is predicted by a model that
does not use the group of a row. As the score may be miscalibrated, the threshold is searched too,
and gaps are counted on observed labels and groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics._table import Rate
from fairautoml.mitigators._base import (
    FittedRules,
    Goal,
    Mitigator,
    RateMetrics,
    ScoreRows,
    scales,
)
from fairautoml.mitigators._blind_rules import (
    Band,
    Table,
    bands_of,
    canonical,
    cell_weights,
    search,
    thinned,
)
from fairautoml.mitigators._group_program import CommonRule, needed
from fairautoml.mitigators._thresholds import gain_weights, shrunk
from fairautoml.records import Floats, Rule
from fairautoml.runtime._rules import RULES
from fairautoml.threads import one_thread

MOST_ROWS = 20_000
"""Largest subsample for the search; the final rule is chosen on all rows."""

MOST_SHARES = 400_000
"""Largest number of rows times multipliers in the search; limits its memory and time."""

FEWEST_ROWS = 4_000
"""Smallest subsample for the search, for many groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupBias:
    """Contribution of one constrained rate to the threshold."""

    rate: Rate  # share of accepted rows
    system: str  # name of the group system
    labels: tuple[str, ...]  # display name of each group
    group_of_cell: tuple[int, ...]  # group of each finest cell, -1 = none
    multipliers: tuple[float, ...]  # one per group, 0 for a group without such rows


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasScoreRule:
    """Accept a row when its score exceeds the threshold plus the bias of its likely groups."""

    threshold: float  # for rows without bias
    biases: tuple[GroupBias, ...]  # one per constrained rate and group system
    priors: tuple[tuple[float, float], ...]  # P(cell, y) of the rows that the rule was fitted on

    needs_sensitive: ClassVar[bool] = False
    randomized: ClassVar[bool] = False

    def decide(self, scores: NDArray[np.floating], cells: NDArray[np.integer]) -> Floats:
        """Raise an error, because this rule does not use cells."""
        msg = (
            "this rule reads P(cell, y | features) and was given cells; use decide_by(scores, "
            "membership) or trials.acceptance(rule, scores, cells, membership)"
        )
        raise ValueError(msg)

    def decide_by(self, scores: NDArray[np.floating], membership: NDArray[np.floating]) -> Floats:
        """Return 1.0 for accepted rows, else 0.0; shape (n_rows,)."""
        nowhere = np.full(len(scores), -1)
        decided = RULES["bias"](self.to_dict(), scores, nowhere, membership)
        return np.asarray(decided, dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        per_share = self._per_share()
        return {
            "kind": "bias", "randomized": False, "threshold": self.threshold, "bias": per_share
        }  # fmt: skip

    def _per_share(self) -> Floats:
        """Return the contribution of each P(cell, y | x) to the threshold, shape (n_cells, 2)."""
        priors = np.array(self.priors)
        total = np.zeros_like(priors)
        for bias in self.biases:
            group = np.array(bias.group_of_cell)
            counted = bias.rate.linear()[0]
            for g, multiplier in enumerate(bias.multipliers):
                if multiplier != 0:
                    share = (priors[group == g] @ counted).sum()
                    total[group == g] += multiplier / share * counted
        return total

    def describe(self) -> str:
        parts = [f"score >= {self.threshold:.4f} + bias of the likely groups"]
        for bias in self.biases:
            each = ", ".join(
                f"{label} {multiplier:+.4f}"
                for label, multiplier in zip(bias.labels, bias.multipliers, strict=True)
            )
            parts.append(f"{bias.system} ({bias.rate}): {each}")
        return "; ".join(parts)


def fit_rules(rows: ScoreRows, goal: Goal, tolerances: Sequence[float]) -> FittedRules:
    """Return the best rule for every tolerance, with a gap within it on the rows.

    A group without rows of a rate is excluded from that constraint; with fewer than two groups
    left the constraint has no effect. Where no bias helps, in particular where the features do
    not predict the groups, the rule is one common threshold. Where the tolerance allows little
    more than a constant decision, it is raised by the gap that one row causes.
    """
    if not goal.targets:
        return []
    ordered, cells = canonical(rows)
    targets = needed(goal.targets)
    bands = bands_of(ordered, cells, targets, scales(targets, goal.targets[0].limit))
    gain = gain_weights(ordered, goal.objective)
    labels = shrunk(ordered, goal, ordered.cells, ordered.n_cells).y
    n_multipliers = sum(len(band.groups) for band in bands)
    most = max(FEWEST_ROWS, MOST_SHARES // max(n_multipliers, 1))
    tables = [Table(ordered, labels, bands, gain)] * 3
    for at, n in ((1, min(MOST_ROWS, most)), (2, FEWEST_ROWS)):
        few, kept = thinned(ordered, n)
        fewer = len(kept) < len(tables[at - 1].scores)
        tables[at] = Table(few, labels[kept], bands, gain) if fewer else tables[at - 1]
    everything, searched, first = tables
    # The many small products are faster on one thread.
    with one_thread():
        found = search(first, searched, everything, tolerances)
    priors = np.empty((rows.n_cells, 2))
    weights = cell_weights(ordered)
    priors[cells] = (weights / max(weights.sum(), np.finfo(float).tiny)).reshape(-1, 2)
    return [
        (tolerance, _rule(multipliers, threshold, bands, priors))
        for tolerance, (multipliers, threshold) in zip(tolerances, found, strict=True)
    ]


def _rule(multipliers: Floats, threshold: float, bands: Sequence[Band], priors: Floats) -> Rule:
    if not multipliers.any():
        return CommonRule(threshold=threshold)
    biases = []
    start = 0
    for band in bands:
        of_group = np.zeros(band.system.n_groups)
        of_group[list(band.groups)] = multipliers[start : start + len(band.groups)]
        start += len(band.groups)
        biases.append(
            GroupBias(
                rate=band.rate,
                system=band.system.name,
                labels=band.system.labels,
                group_of_cell=tuple(band.system.of_cell.tolist()),
                multipliers=tuple(of_group.tolist()),
            )
        )
    return BiasScoreRule(
        threshold=threshold,
        biases=tuple(biases),
        priors=tuple((float(zero), float(one)) for zero, one in priors),
    )


MITIGATOR = Mitigator(
    name="bias_scoring",
    stage="post",
    needs_sensitive_at_predict=False,
    needs_membership=True,
    serves=RateMetrics(difference="monotone"),
    fit_rules=fit_rules,
)
