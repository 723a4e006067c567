"""Scores shifted by a polynomial of a number such as age, then one common threshold.

Source of the constraint: Giuliani, Misino, Lombardi, "Generalized Disparate Impact for
Configurable Fairness Solutions in ML", ICML 2023. The bound applies to decisions, while projected
scores only bound the dependence of scores; the projections (coarse and fine) are therefore just
some of the polynomials tried, and rules are chosen by the measured GeDI of the decisions. Shifted
scores need no clipping to [0, 1], because they are compared with a threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from fairautoml.mitigators._base import FittedRules, Goal, Mitigator, RuntimeRule, ScoreRows
from fairautoml.mitigators._gedi import Search, Term
from fairautoml.mitigators._group_program import CommonRule, rules_within, thresholds
from fairautoml.records import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftedRule(RuntimeRule):
    """Accept a row when its score reaches the threshold plus the polynomial of its number."""

    threshold: float  # for a row at the mean of all powers
    shifts: tuple[float, ...]  # shift of each finest cell, in units of the score
    # name of each number, and the coefficients of its powers, in standard deviations
    terms: tuple[Term, ...]

    needs_sensitive: ClassVar[bool] = True

    def to_dict(self) -> dict[str, Any]:
        cuts = self.threshold + np.array([*self.shifts, 0.0])
        return thresholds(range(len(self.shifts)), cuts[None, :])

    def describe(self) -> str:
        terms = [
            " ".join(
                f"{factor:+.4f} {name}" + ("" if power == 1 else f"^{power}")
                for power, factor in enumerate(factors, 1)
            )
            for name, factors in self.terms
        ]
        return f">= {self.threshold:.4f} {' '.join(terms)} (centred powers, standard deviations)"


def fit_rules(rows: ScoreRows, goal: Goal, tolerances: Sequence[float]) -> FittedRules:
    """Return the best rule for every tolerance; one always exists (reject all rows)."""
    if not goal.targets:
        return []
    search = Search(rows, goal)
    search.try_projections()
    search.try_prices(tolerances)
    gap, value = np.concatenate(search.gaps), np.concatenate(search.values)
    return rules_within(gap, value, tolerances, partial(_rule, search))


def _rule(search: Search, at: int) -> Rule:
    threshold, shifts, terms = search.chosen(at)
    if not np.isfinite(threshold) or not shifts.any():
        return CommonRule(threshold=threshold)
    return ShiftedRule(threshold=threshold, shifts=tuple(shifts.tolist()), terms=terms)


MITIGATOR = Mitigator(
    name="gedi_projection",
    stage="post",
    needs_sensitive_at_predict=True,
    serves=frozenset({"gedi", "gedi_2", "gedi_3", "gedi_5", "gedi_relative"}),
    fit_rules=fit_rules,
)
