"""The predictor: fold models and a decision rule."""

import itertools
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn
from joblib import Parallel, cpu_count, delayed
from numpy.typing import NDArray

from fairautoml.data.groups import GroupSchema, UnseenPolicy
from fairautoml.data.read import read_new_rows
from fairautoml.data.schema import TableSchema
from fairautoml.data.splits import row_draws
from fairautoml.metrics._table import TaskName
from fairautoml.metrics.tasks import TASKS
from fairautoml.mitigators import GroupProbabilityModel, ScoreModel
from fairautoml.records import PortableRule, Rule, acceptance
from fairautoml.runtime._rules import fair_scores, row_thresholds
from fairautoml.threads import one_limit, one_thread

BLOCK_ROWS = 20_000
"""Rows per thread at least; fewer are scored faster by one."""


def isolated_config() -> AbstractContextManager[None]:
    """Return a context with the configuration of scikit-learn that the learners expect.

    Metadata routing or pandas output, set by the caller, would break pipelines inside a learner.
    """
    return sklearn.config_context(enable_metadata_routing=False, transform_output="default")


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """Models and a decision rule; equal rows always get the same decision."""

    models: ScoreModel  # predict the scores
    rule: Rule  # maps scores to decisions
    schema: TableSchema  # validates and encodes a table
    groups: GroupSchema | None  # validates and encodes sensitive values
    # the user's labels of rejection and acceptance, or of several classes; empty in regression
    classes: NDArray[Any]  # shape (n_classes,)
    needs_sensitive: bool  # whether models or rule need the groups
    salt: int  # seed of the draws of a randomised rule
    # group probability model of rules that need it
    membership: GroupProbabilityModel | None = None
    task: TaskName = "binary"  # {"binary", "multiclass", "regression"}
    constrained: bool = True  # whether the rule serves a constraint

    def read(
        self, X: Any, sensitive: Any, *, unseen: UnseenPolicy, warns: bool = False
    ) -> tuple[Any, NDArray[np.int32]]:
        """Return matrix and groups of new rows; the groups are read if the model needs them."""
        groups = self.groups if self.needs_sensitive else None
        return read_new_rows(
            X, sensitive, schema=self.schema, groups=groups, unseen=unseen, warns=warns
        )

    def scores(self, X: Any, cells: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the scores of encoded rows; of a mixture the mean of its columns."""
        found = self._model_scores(X, cells).astype(np.float64)
        mixed = self.task == "binary" and found.ndim == 2
        return found.mean(axis=1) if mixed else found

    def fair_scores(self, X: Any, cells: NDArray[np.int32]) -> NDArray[np.floating]:
        """Return scores that decide like the rule."""
        known = self._model_scores(X, cells)
        chosen = self.decisions(X, cells, known)
        rule = self._portable_rule()
        if self.task == "multiclass" and rule["kind"] == "other":
            decided: NDArray[np.floating] = np.eye(known.shape[1])[chosen]
            return (known + decided) / 2
        return fair_scores(rule, known, cells, chosen, self._drawn(X))

    def thresholds(self, X: Any, cells: NDArray[np.int32]) -> NDArray[np.floating] | None:
        """Return the threshold of each row, of a mixture the drawn one; None for other rules."""
        return row_thresholds(self._portable_rule(), cells, self._drawn(X))

    def _portable_rule(self) -> dict[str, Any]:
        rule = self.rule
        return rule.to_dict() if isinstance(rule, PortableRule) else {"kind": "other"}

    def _drawn(self, X: Any) -> NDArray[np.float64] | None:
        return row_draws(X, self.salt) if self.rule.randomized else None

    def decisions(
        self, X: Any, cells: NDArray[np.int32], scores: NDArray[np.floating] | None = None
    ) -> NDArray[Any]:
        """Return the class position or the predicted number of encoded rows, shape (n_rows,).

        The draws of a randomised rule depend on the content of the row only, so that repeated
        predictions of a row give the same decision.
        """
        accepted = self.acceptance(X, cells, scores)
        if not self.rule.randomized:
            return TASKS.get(self.task).answers(accepted)
        return (row_draws(X, self.salt) < accepted).astype(np.int64)

    def acceptance(
        self, X: Any, cells: NDArray[np.int32], scores: NDArray[np.floating] | None = None
    ) -> NDArray[np.float64]:
        """Return the probability of acceptance under the rule, or as in ``Task``.

        ``scores`` are precomputed scores of the same rows, optional.
        """
        with one_limit():
            shares = None if self.membership is None else self.membership.membership(X)
            known = self._model_scores(X, cells) if scores is None else scores
        # Not self.scores, which are float64: the rule was fitted on float32.
        return acceptance(self.rule, known, cells, shares)

    def _model_scores(self, X: Any, cells: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the scores of the models, in one block of rows per core where there are many."""
        n_blocks = min(cpu_count(), len(cells) // BLOCK_ROWS)
        if n_blocks < 2:
            with one_limit():
                return self.models.scores(X, cells)
        edges = np.linspace(0, len(cells), n_blocks + 1).astype(int)
        blocks = [slice(a, b) for a, b in itertools.pairwise(edges.tolist())]
        # The limit is set here first, so that what the threads restore is the limit itself.
        with one_limit(), one_thread():
            found = Parallel(n_jobs=n_blocks, prefer="threads")(
                delayed(self.models.scores)(X[rows], cells[rows]) for rows in blocks
            )
        return np.concatenate(found)
