"""Optimal checklist: "at least M of these N items", found by integer programming.

Source: Zhang, Morris, Ustun, Ghassemi, *Learning Optimal Predictive Checklists*, NeurIPS 2021,
arXiv 2112.01020. The mitigator of this name adds limits on group gaps.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.learners._base import BinaryClassifier, Learner
from fairautoml.learners._checklist import Checklist, LabelledRows, Shape, fit_checklist
from fairautoml.portable import Dump, Positions


class ChecklistBinary(BinaryClassifier):
    """A checklist classifier; ``model_`` is the list, with its optimality gap.

    ``params`` are those of ``fairautoml.learners._checklist.Shape``: ``most_items``,
    ``most_required``, ``cuts``, ``complements``, ``cost`` and ``seconds``.
    """

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Checklist:
        rows = LabelledRows(
            X=X,
            y=y,
            weight=np.ones(len(y)) if weight is None else weight,
            feature_schema=self.feature_schema,
        )
        return fit_checklist(rows, Shape.from_params(self.params), seed=self.seed)

    def _predicted(self, X: Any) -> NDArray[np.floating]:
        return self.model_.scores(X)

    def _dump(self, out: Dump, columns: Positions) -> int:
        found: Checklist = self.model_
        return found.dump(out, columns)


LEARNER = Learner(name="checklist", build=ChecklistBinary, opt_in=True)
