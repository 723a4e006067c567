"""The classifier that is deployed: models, rule, and how to read new rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.assembly.mixture import PoolRule
from fairautoml.data.columns import TableSchema
from fairautoml.data.draws import row_draws
from fairautoml.data.groups import GroupSchema
from fairautoml.mitigators import MembershipModel, ScoreModel
from fairautoml.tasks import TASKS, TaskName
from fairautoml.threads import one_limit
from fairautoml.trials import Rule, acceptance


@dataclass(frozen=True, slots=True, kw_only=True)
class FairClassifier:
    """Scores of the models, decided by the rule; the same row always gets the same decision."""

    models: ScoreModel  # what scores a row
    rule: Rule  # what decides on a score
    schema: TableSchema  # how a table is read
    groups: GroupSchema | None  # how sensitive values are read
    # the user's labels for refusal and acceptance, or of several classes; empty for numbers
    classes: NDArray[Any]  # shape (2,)
    needs_sensitive: bool  # whether models or rule read the groups
    salt: int  # seed of the draws of a randomised rule
    # what a rule reads that weighs how likely groups are
    membership: MembershipModel | None = None
    task: TaskName = "binary"  # {"binary", "multiclass", "regression"}: what kind of target it is

    def scores(self, X: Any, cells: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return P(y = 1) of encoded rows, of a mixture the mean of its columns."""
        with one_limit():
            found = self.models.scores(X, cells).astype(np.float64)
        return found.mean(axis=1) if isinstance(self.rule, PoolRule) else found

    def decisions(
        self,
        X: Any,
        cells: NDArray[np.int32],
        scores: NDArray[np.floating] | None = None,
    ) -> NDArray[Any]:
        """Return the position of the class, or the number, for encoded rows, shape (n_rows,).

        A randomised rule draws by the content of the row, so a row is never decided twice in
        different ways and nobody can try again.
        """
        accepted = self.acceptance(X, cells, scores)
        if not self.rule.randomized:
            return TASKS.get(self.task).answers(accepted)
        return (row_draws(X, self.salt) < accepted).astype(np.int64)

    def acceptance(
        self,
        X: Any,
        cells: NDArray[np.int32],
        scores: NDArray[np.floating] | None = None,
    ) -> NDArray[np.float64]:
        """Return the probability of acceptance under the rule, or as in ``Task``.

        ``scores`` are those of the models on the same rows, where they are known already.
        """
        with one_limit():
            shares = None if self.membership is None else self.membership.membership(X)
            known = self.models.scores(X, cells) if scores is None else scores
        # Not of self.scores, which are float64: the rule was fitted on float32.
        return acceptance(self.rule, known, cells, shares)
