"""The trade-offs of a fitted model, judged on held-out rows."""

from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.exceptions import InputError
from fairautoml.mitigators import ScoreModel

if TYPE_CHECKING:
    from fairautoml.automl import Estimator
    from fairautoml.console.sources import Source
    from fairautoml.trials import Entry

GAPS = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2)
"""Largest gaps that are asked for."""


def held_front(model: "Estimator", held: "Source") -> list[list[float | None]]:
    """Return accuracy and gap on held-out rows of what the model would serve for each gap."""
    if model.pool_ is None:
        return []
    bags = {key: _Remembered(bag) for key, bag in model.pool_.bags.items()}
    pool = replace(model.pool_, bags=bags)
    found: list[tuple[Entry, list[float | None]]] = []
    for gap in GAPS:
        try:
            entry = pool.select(max_gap=gap, min_score=None)
        except InputError:
            continue
        if not any(entry is other for other, _ in found):
            # Not model.select(), which makes a certificate and for it a hash of every model.
            served = copy(model)
            served.model_ = pool.classifier(entry)
            judged = held.judge(served)
            found.append((entry, [judged["accuracy"], judged["gap"]]))
    return [point for _, point in found]


@dataclass(slots=True, eq=False)
class _Remembered:
    """Scores the same rows once, whoever asks: ensembles of a front share their models."""

    model: ScoreModel
    known: NDArray[np.float32] | None = None

    def scores(self, X: Any, cells: NDArray[np.integer]) -> NDArray[np.float32]:
        if self.known is None:
            self.known = self.model.scores(X, cells)
        return self.known
