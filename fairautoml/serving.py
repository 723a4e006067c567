"""What a fitted estimator does: decide new rows, be judged, serve another point of the front."""

import copy
from contextlib import AbstractContextManager
from typing import Any, Self

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fairautoml.assembly import FairClassifier
from fairautoml.data.new_rows import read_new_rows
from fairautoml.data.target import known_labels
from fairautoml.exceptions import InputError
from fairautoml.judging import judge
from fairautoml.options import check_constraints, check_share
from fairautoml.outcome import ConstantClassifier, Pool
from fairautoml.trials import Entry


def own_settings() -> AbstractContextManager[None]:
    """Return a context in which scikit-learn works as our learners expect.

    The caller's ``sklearn.set_config`` speaks about the caller's estimators: routing or pandas
    output would break the pipelines inside a learner.
    """
    found: AbstractContextManager[None] = sklearn.config_context(
        enable_metadata_routing=False, transform_output="default"
    )
    return found


class Served:
    """The part of the estimator that reads what ``fit`` has left and trains nothing."""

    constraint: Any
    unseen_group: Any

    pool_: Pool | None
    model_: FairClassifier | ConstantClassifier
    best_entry_: Entry | None
    feasible_: bool
    classes_: NDArray[Any]
    _applies: bool

    def predict(self, X: Any, sensitive: Any = None) -> NDArray[Any]:
        """Return one class per row, always the same for the same row.

        Parameters
        ----------
        X : same kind of table as in ``fit``, shape (n_rows, n_features)
            New rows.
        sensitive : same form as in ``fit``, optional
            Needed when the chosen classifier reads the groups and they are no columns of ``X``.

        Returns
        -------
        ndarray of shape (n_rows,)
            Labels as in ``classes_``.

        Raises
        ------
        MissingSensitiveError
            The groups are needed and not given.
        InputError
            Columns are missing, or a group was not seen at ``fit``.
        """
        check_is_fitted(self)
        matrix, cells = self._read(X, sensitive)
        with own_settings():
            chosen: NDArray[Any] = self.classes_[self.model_.decisions(matrix, cells)]
        return chosen

    def predict_proba(self, X: Any, sensitive: Any = None) -> NDArray[np.float64]:
        """Return the models' class probabilities, or the acceptance probability when randomised.

        The rule's thresholds are not in it: ``predict`` may differ from the larger probability.

        Parameters
        ----------
        X, sensitive
            As in ``predict``.

        Returns
        -------
        ndarray of float64, shape (n_rows, 2)
            In the order of ``classes_``.
        """
        check_is_fitted(self)
        matrix, cells = self._read(X, sensitive)
        if isinstance(self.model_, ConstantClassifier):
            return np.ones((len(cells), 1))
        with own_settings():
            one = (
                self.model_.acceptance(matrix, cells)
                if self.model_.rule.randomized
                else self.model_.scores(matrix, cells)
            )
        return np.column_stack([1.0 - one, one])

    def evaluate(
        self, X: Any, y: Any, sensitive: Any = None, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Judge the decisions on rows with known labels.

        Parameters
        ----------
        X, y, sensitive, sample_weight
            As in ``fit``; groups are judged when ``fit`` was given groups.

        Returns
        -------
        dict
            ``accuracy`` and others, ``gap``, ``gaps`` by metric and group system, ``rates`` by
            group; rows of a group unknown to ``fit`` are counted in ``n_unknown_group`` and are
            in no gap. Undefined values are None.
        """
        groups = self._searched().groups
        chosen = np.asarray(self.predict(X, sensitive) == self.classes_[1]).astype(np.int64)
        _, cells = read_new_rows(
            X, sensitive, schema=self.model_.schema, groups=groups, unseen="base_model"
        )
        return judge(
            known_labels(y, self.classes_),
            chosen,
            cells,
            groups=groups,
            constraints=check_constraints(self.constraint),
            weight=None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64),
        )

    def select(self, *, max_gap: float | None = None, min_score: float | None = None) -> Self:
        """Return a copy that serves another point of the front; nothing is trained.

        Parameters
        ----------
        max_gap : float or None
            Largest gap over all constraints and groups, in [0, 1]; the best objective within it
            is chosen.
        min_score : float or None
            Least objective; the fairest entry that reaches it is chosen.

        Raises
        ------
        InputError
            Neither is given, or no entry fits; the message says how far the front reaches.
        """
        pool = self._searched()
        if max_gap is None and min_score is None:
            raise InputError("select needs max_gap=, min_score= or both")
        check_share("max_gap", max_gap)
        other = copy.copy(self)
        other._serve(pool, pool.select(max_gap=max_gap, min_score=min_score))
        return other

    def _searched(self) -> Pool:
        check_is_fitted(self)
        if self.pool_ is None:
            msg = (
                "fit has seen one class only (on_degenerate='constant'), so there is nothing to "
                "judge or to select; fit with rows of both classes"
            )
            raise InputError(msg)
        return self.pool_

    def _serve(self, pool: Pool, entry: Entry) -> None:
        self.best_entry_ = entry
        self.feasible_ = entry.feasible and self._applies
        self.model_ = pool.classifier(entry)

    def _read(self, X: Any, sensitive: Any) -> tuple[Any, NDArray[np.int32]]:
        model = self.model_
        return read_new_rows(
            X,
            sensitive,
            schema=model.schema,
            groups=model.groups if model.needs_sensitive else None,
            unseen=self.unseen_group,
        )
