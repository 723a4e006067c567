"""Held-out rows with the scores of a pool, and what rules are worth on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.measures import accuracy_at
from fairautoml.data.dataset import Dataset
from fairautoml.evaluation.judge import judge
from fairautoml.inference.predictor import Predictor
from fairautoml.metrics import Constraint
from fairautoml.mitigators import Goal, ScoreModel, ScoreRows
from fairautoml.mitigators._group_program import build_problem
from fairautoml.mitigators.postprocessing.group_thresholds import MITIGATOR as THRESHOLDS
from fairautoml.records import Entry, Rule, best_of
from fairautoml.selection.ensemble import models_of


@dataclass(frozen=True, slots=True)
class Known:
    """A model whose scores of the rows at hand are known already."""

    known: NDArray[np.float32]

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return them."""
        return self.known


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldRows:
    """Rows that no model, share, rule or choice was made on."""

    X: Any  # shape (n_rows, n_features): encoded as at fit
    y: NDArray[np.integer]  # shape (n_rows,): labels 0 or 1
    cells: NDArray[np.int32]  # shape (n_rows,): finest cells
    weight: NDArray[np.float64] | None  # shape (n_rows,): sample weights
    # by trial: the mean of its fold models, as it is served
    scores: Mapping[str, NDArray[np.float32]]  # shape (n_rows,)
    dataset: Dataset  # the search rows; says what groups and classes mean
    seed: int  # salt of rules that decide at random

    def part(self, rows: NDArray[np.integer]) -> "HeldRows":
        """Return some of the rows."""
        return replace(
            self,
            X=self.X[rows],
            y=self.y[rows],
            cells=self.cells[rows],
            weight=None if self.weight is None else self.weight[rows],
            scores={key: column[rows] for key, column in self.scores.items()},
        )

    def worth(self, entry: Entry, constraint: Constraint) -> dict[str, Any]:
        """Return accuracy, gap and majority of an entry, decided as it would be served."""
        bags: dict[str, ScoreModel] = {k: Known(self.scores[k]) for k in entry.sources}
        return self._judged(models_of(entry, bags), entry.rule, constraint)

    def _judged(self, models: ScoreModel, rule: Rule, constraint: Constraint) -> dict[str, Any]:
        classifier = Predictor(
            models=models,
            rule=rule,
            schema=self.dataset.schema,
            groups=self.dataset.groups,
            classes=self.dataset.classes,
            needs_sensitive=True,
            salt=self.seed,
        )
        found = judge(
            self.y,
            classifier.decisions(self.X, self.cells),
            self.cells,
            groups=self.dataset.groups,
            constraints=(constraint,),
            weight=self.weight,
        )
        return {name: found[name] for name in ("accuracy", "gap", "majority")}

    def at_limit(self, entries: Sequence[Entry], constraint: Constraint) -> float | None:
        """Return the accuracy of the held-out front where its gap equals the limit.

        Linear between neighbouring points of the front; None when no entry has so small a gap.
        """
        worths = [self.worth(entry, constraint) for entry in entries]
        found = accuracy_at([(w["accuracy"], w["gap"]) for w in worths], constraint.limit)
        return None if np.isnan(found) else found

    def oracle(
        self, entries: Sequence[Entry], goal: Goal, constraint: Constraint, *, shrink: bool
    ) -> dict[str, Any] | None:
        """Return the worth of the program fitted on these very rows; None without a rule."""
        one = best_of(entries)
        if one is None:
            return None
        models = models_of(one, {key: Known(self.scores[key]) for key in one.sources})
        weight = np.ones(len(self.y)) if self.weight is None else self.weight
        groups = self.dataset.groups
        rows = ScoreRows(
            scores=models.scores(self.X, self.cells),
            y=self.y,
            weight=weight,
            cells=self.cells,
            n_cells=1 if groups is None else groups.n_cells,
        )
        fit: Any = THRESHOLDS.fit_rules
        limits = (constraint.limit,)
        ((_, rule),) = (
            fit(rows, goal, limits)
            if shrink
            else build_problem(rows, goal).rules(rows, limits, randomized=False)
        )
        return None if rule is None else self._judged(models, rule, constraint)
