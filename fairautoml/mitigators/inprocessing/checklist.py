"""Optimal checklist whose group gaps on the training rows are within their limits.

Source: Zhang, Morris, Ustun, Ghassemi, *Learning Optimal Predictive Checklists*, NeurIPS 2021,
arXiv 2112.01020, section 3 (group fairness constraints). The learner of this name has no limits;
the mitigator trains its own checklist, for any learner of the configuration.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.exceptions import InputError
from fairautoml.learners.checklist import Checklist, RateGap, Shape, fit_checklist
from fairautoml.metrics import BoundConstraint
from fairautoml.mitigators._base import (
    FitBaseLearner,
    Mitigator,
    RateMetrics,
    ScoreModel,
    TrainRows,
)
from fairautoml.portable import Dump, Positions
from fairautoml.records import ParamValues
from fairautoml.runtime._rules import groups_of

NAME = "checklist"

LEAST_SECONDS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecklistModel:
    """A checklist as a score model."""

    checklist: Checklist  # the checklist with its optimality gap

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        return self.checklist.scores(X).astype(np.float32)

    def dump(self, out: Dump, columns: Positions) -> int:
        return out.node("probability", {"of": self.checklist.dump(out, columns)})


def train(rows: TrainRows, fit_base: FitBaseLearner, params: ParamValues, seed: int) -> ScoreModel:
    """Return the checklist with the fewest mistakes within the limits of all targets.

    A group without rows of a rate is excluded from that rate, as in the reductions.
    """
    shape = Shape.from_params(params)
    left = fit_base.seconds_left()
    if left is not None:
        shape = replace(shape, seconds=max(LEAST_SECONDS, min(left, shape.seconds)))
    gaps = _gaps(rows, rows.targets, float(params["limit_share"]))
    found = fit_checklist(
        rows.X, rows.y, rows.weight, rows.feature_schema, shape, gaps=gaps, seed=seed
    )
    return ChecklistModel(checklist=found)


def _gaps(
    rows: TrainRows, targets: Sequence[BoundConstraint], limit_share: float
) -> list[RateGap]:
    if not targets:
        msg = (
            f"{NAME}: there is no constraint to meet; give one, or use the learner {NAME!r} "
            "without any"
        )
        raise InputError(msg)
    return [
        RateGap(
            name=f"{rate} on {target.system.name!r}",
            groups=groups_of(target.system.of_cell, rows.cells),
            n_groups=target.system.n_groups,
            rate=rate,
            form=target.metric.form,
            limit=limit_share * target.limit,
        )
        for target in targets
        for rate in target.metric.rates
    ]


MITIGATOR = Mitigator(
    name=NAME,
    stage="in",
    needs_sensitive_at_predict=False,
    serves=RateMetrics(difference="linear", ratio="acceptance"),
    cost="costly",
    opt_in=True,
    ratio=10.0,
    train=train,
)
