"""New features that keep what tells the label and drop what tells the group.

The linear encoder moves the rows as little as possible until the means of all groups are equal, so
that no linear model can tell the group (LEACE, arXiv 2306.03819). The network learns hidden units
that know features and label but not the group (after Zemel et al., *Learning Fair
Representations*, ICML 2013), whose means are then made equal by the same linear step. A learner
that bends may still find the group in what is not linear. Where features and group are related
through the label only, what tells the group is what tells the label: a lower strength keeps some.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import FeatureLayout
from fairautoml.data.design import Design, fit_design
from fairautoml.data.draws import row_draws
from fairautoml.mitigators._base import FitBase, Mitigator, ScoreModel, TrainRows
from fairautoml.mitigators._encoder import Layer, Lesson, fit_layer
from fairautoml.mitigators._erasure import Erasure, fit_erasure, indicators
from fairautoml.mitigators._pre import (
    PARITY,
    ChangedColumns,
    RowGroups,
    refuse_sparse,
    row_groups,
    share,
)
from fairautoml.threads import one_thread
from fairautoml.trials import ParamValue

NAME = "fair_representation"

PRICE = 10.0
"""Of a unit that tells the group, at strength 1: more than any label or feature is worth."""

LOOKED_AT = 10_000
"""Rows that a network learns from."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Representation:
    """How rows become their representation; the group of a row is not needed."""

    design: Design  # encoded rows to numbers
    layer: Layer | None  # hidden units, None for the linear encoder
    erasure: Erasure  # what makes the means of the groups equal

    def apply(self, X: NDArray[np.floating], cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the representation, shape (n_rows, n_columns)."""
        del cells
        with one_thread():
            matrix = self.design.matrix(X)
            encoded = matrix if self.layer is None else self.layer.apply(matrix)
            return self.erasure.apply(encoded).astype(np.float32)


def train(
    rows: TrainRows, fit_base: FitBase, params: Mapping[str, ParamValue], seed: int
) -> ScoreModel:
    """Train on the representation: numbers only, gaps filled, one column per frequent level."""
    groups = row_groups(rows, NAME)
    refuse_sparse(rows.layout, NAME)
    if share(params["strength"]) == 0:
        return fit_base(rows)
    with one_thread():
        change = _representation(rows, groups, params, seed)
    encoded = change.apply(rows.X, rows.cells)
    layout = FeatureLayout(n_features=encoded.shape[1])
    return ChangedColumns(change=change, model=fit_base(replace(rows, X=encoded, layout=layout)))


def _representation(
    rows: TrainRows, groups: RowGroups, params: Mapping[str, ParamValue], seed: int
) -> Representation:
    strength = share(params["strength"])
    # Rows and groups in an order of their own: rounding of a sum, which a network's training
    # makes large, must not depend on the table's order nor on names.
    order = np.lexsort((rows.weight, rows.y, row_draws(rows.X, seed)))
    known = order[groups.of_row[order] >= 0]
    design = fit_design(rows.X[known], rows.layout, rows.weight[known])
    matrix, layer = design.matrix(rows.X[known]), None
    if params["encoder"] == "network":
        seen = known[:LOOKED_AT]
        weight, member = rows.weight[seen], indicators(groups.of_row[seen])
        lesson = Lesson(
            matrix=matrix[:LOOKED_AT],
            y=rows.y[seen].astype(np.float64),
            share=weight / weight.sum(),
            member=member[:, np.argsort(weight @ member, kind="stable")],
            n_units=int(params["n_units"]),
            price=PRICE * strength,
        )
        layer = fit_layer(lesson, seed)
        matrix = layer.apply(matrix)
    erasure = fit_erasure(matrix, rows.weight[known], groups.of_row[known], strength)
    return Representation(design=design, layer=layer, erasure=erasure)


MITIGATOR = Mitigator(
    name=NAME,
    stage="pre",
    needs_sensitive_at_predict=False,
    serves=PARITY,
    cost="cheap",
    opt_in=True,
    ratio=2.0,
    train=train,
)
