"""What a fitted estimator does: decide new rows, be judged, serve another point of the front."""

import copy
from contextlib import AbstractContextManager
from typing import Any, Self

import numpy as np
import pandas as pd
import sklearn
from numpy.typing import NDArray
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from fairautoml.assembly import FairClassifier
from fairautoml.certification import Certificate, Reason
from fairautoml.certifying import Certified
from fairautoml.data._align import Inputs, align_inputs
from fairautoml.data._guess_columns import read_truth
from fairautoml.data._per_row import check_length, read_weights
from fairautoml.data.columns import TableSchema
from fairautoml.data.new_rows import read_new_rows
from fairautoml.data.target import (
    AskedTask,
    check_given,
    known_labels,
    plain_labels,
    plain_numbers,
)
from fairautoml.exceptions import InputError
from fairautoml.finishing.constant import ConstantClassifier
from fairautoml.finishing.headline import headline
from fairautoml.finishing.headlines import one_sided_notes
from fairautoml.finishing.outcome import Pool
from fairautoml.finishing.summary import describe_certificate, describe_served
from fairautoml.leaderboard import Leaderboard
from fairautoml.posing.guessing import GuessedGroups, Guessing
from fairautoml.posing.options import check_constraints
from fairautoml.serving.judging import judge
from fairautoml.serving.selecting import alike_notes, check_selection, warned_headlines
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


def _has_classes(model: "Served") -> bool:
    return model.asked_task != "regression"


class Served:
    """The part of the estimator that reads what ``fit`` has left and trains nothing."""

    __metadata_request__predict = {"sensitive": True}  # noqa: RUF012
    __metadata_request__predict_proba = {"sensitive": True}  # noqa: RUF012
    __metadata_request__score = {"sensitive": True}  # noqa: RUF012

    asked_task: AskedTask
    constraint: Any
    unseen_group: Any
    align: Any

    pool_: Pool | None
    model_: FairClassifier | ConstantClassifier
    best_entry_: Entry | None
    leaderboard_: pd.DataFrame
    pareto_front_: pd.DataFrame
    notes_: tuple[str, ...]
    feasible_: bool
    classes_: NDArray[Any]
    summary_: dict[str, Any]
    certificate_: Certificate
    proxies_: GuessedGroups | None
    _guessing: Guessing | None = None
    _entry_notes: tuple[str, ...] = ()
    _certified: Certified
    _applies: bool

    def predict(self, X: Any, sensitive: Any = None) -> NDArray[Any]:
        """Return one class, or number, per row, always the same for the same row.

        Parameters
        ----------
        X : same kind of table as in ``fit``, shape (n_rows, n_features)
            New rows, or none; a warning names columns that are mostly unseen or have no value.
        sensitive : same form as in ``fit``, optional
            Needed when the chosen classifier reads the groups and they are no columns of ``X``.

        Returns
        -------
        ndarray of shape (n_rows,)
            Labels as in ``classes_``; numbers in regression.

        Raises
        ------
        MissingSensitiveError
            The groups are needed and not given.
        InputError
            Columns are missing, a group was not seen at ``fit``, or the pandas indices of ``X``
            and ``sensitive`` differ and ``align="error"``.
        """
        check_is_fitted(self)
        chosen = self._decide(self._matched(X, sensitive))
        classes: NDArray[Any] = self.model_.classes
        return classes[chosen] if len(classes) else chosen

    @available_if(_has_classes)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any, sensitive: Any = None) -> NDArray[np.float64]:
        """Return the models' class probabilities, or the acceptance probability when randomised.

        The rule's thresholds are not in it: ``predict`` may differ from the larger probability.

        Parameters
        ----------
        X, sensitive
            As in ``predict``.

        Returns
        -------
        ndarray of float64, shape (n_rows, n_classes)
            In the order of ``classes_``.
        """
        check_is_fitted(self)
        matrix, cells = self._read(self._matched(X, sensitive))
        if len(cells) == 0:
            return np.empty((0, len(self.classes_)))
        if isinstance(self.model_, ConstantClassifier):
            return np.ones((len(cells), 1))
        with own_settings():
            one = (
                self.model_.acceptance(matrix, cells)
                if self.model_.rule.randomized
                else self.model_.scores(matrix, cells)
            )
        if one.ndim == 2:
            return np.asarray(one, dtype=np.float64)
        columns = [1.0 - one, one]
        positive_is_last = bool(self.classes_[1] == self.model_.classes[1])
        return np.column_stack(columns if positive_is_last else columns[::-1])

    def score(self, X: Any, y: Any, sensitive: Any = None, sample_weight: Any = None) -> float:
        """Return what scikit-learn's estimators do: mean accuracy, or R squared of numbers.

        Parameters
        ----------
        X, y, sensitive, sample_weight
            As in ``evaluate``; ``sensitive`` as in ``predict``.

        Returns
        -------
        float
            In [0, 1]; R squared is at most 1, and 1.0 or 0.0 where all true values are equal.

        Raises
        ------
        MissingSensitiveError
            The groups are needed and not given.
        InputError
            As in ``evaluate``.
        """
        check_is_fitted(self)
        rows = self._matched(X, sensitive, y, sample_weight)
        chosen = self._decide(rows)
        weight = _checked(rows, len(chosen))
        classes = self.model_.classes
        if len(classes) == 0:
            return float(r2_score(plain_numbers(rows.y), chosen, sample_weight=weight))
        if len(classes) == 1:
            right = np.asarray(plain_labels(rows.y) == classes[0])
        else:
            right = known_labels(rows.y, classes) == chosen
        return float(np.average(right, weights=weight))

    def evaluate(
        self,
        X: Any,
        y: Any,
        sensitive: Any = None,
        sample_weight: Any = None,
        proxies: Any = None,
    ) -> dict[str, Any]:
        """Judge the decisions on rows with known labels.

        Parameters
        ----------
        X, y, sensitive, sample_weight
            As in ``fit``; groups are judged when ``fit`` was given groups. After
            ``fit(..., proxies=)`` the true groups of these rows, if they are known.
        proxies : as in ``fit``, or the column of ``proxies_.proxy`` alone, optional
            Guesses of the groups: the gaps are then corrected ones. None = the columns of ``X``
            that ``fit`` was told of.

        Returns
        -------
        dict
            ``accuracy`` and others, of numbers ``rmse``, ``mae`` and ``r2``; by metric and group
            system ``values``, as the metric has them, and ``gaps``, how far they are from parity
            (of a ratio one minus it); ``gap``, the largest; ``rates`` by group; rows whose
            group is missing or unknown to ``fit`` are counted in ``n_unknown_group`` and are in
            no gap of that column. Undefined
            values are None. With guesses ``gaps`` are corrected, ``intervals`` are their 95 %
            bootstrap intervals, and ``proxy_gaps`` are those of the guesses as they stand.

        Raises
        ------
        MissingSensitiveError
            The groups are needed and not given.
        InputError
            As in ``predict``; or a label is missing or new, a length differs, or a weight is
            negative or not finite.
        """
        pool, guessing = self._searched(), self._guesses_for(sensitive, proxies)
        rows = self._matched(X, sensitive, y, sample_weight, proxies)
        groups = self._true_groups(rows) if guessing is None else guessing.said_by(rows)
        schema, known = pool.schema, pool.groups
        _, cells = read_new_rows(
            rows.X, groups, schema=schema, groups=known, unseen="base_model", judged=True
        )
        chosen = self._decide(rows)
        weight = _checked(rows, len(chosen))
        regression = pool.task == "regression"
        found = judge(
            plain_numbers(rows.y) if regression else known_labels(rows.y, pool.classes),
            chosen,
            cells,
            groups=pool.groups,
            constraints=check_constraints(self.constraint),
            weight=weight,
            classes=pool.classes,
        )
        if guessing is None:
            return found
        said = np.where(cells >= 0, pool.board.systems[0].of_cell[cells], -1)
        # Rates by guessed group would read like those of the groups.
        del found["rates"]
        told = guessing.judged(known_labels(rows.y, pool.classes), chosen, said)
        return {**found, **told, "n_unknown_group": int((said < 0).sum())}

    def _guesses_for(self, sensitive: Any, proxies: Any) -> Guessing | None:
        """Return how guesses are read, None when the groups themselves are judged."""
        if proxies is not None and self._guessing is None:
            raise InputError(
                "evaluate: fit was not given proxies, so how often they are wrong is not known. "
                "Give sensitive=, or measure the decisions with fairautoml.weak_proxy_gap"
            )
        return self._guessing if proxies is not None or sensitive is None else None

    def _true_groups(self, rows: Inputs) -> Any:
        """Return the groups that were given; after guesses under the name that ``fit`` knows."""
        if self._guessing is None or rows.sensitive is None:
            return rows.sensitive
        return {self._guessing.guess.name: read_truth(rows.sensitive, rows.X)}

    def select(self, *, max_gap: float | None = None, min_score: float | None = None) -> Self:
        """Return a copy that serves another point of the front; nothing is trained.

        Leaderboard, page and pictures of the copy are those of what it serves, and it can select
        again. It has a verdict of its own, never that of what was served before: what it passed
        in its turn when the certification rows were opened, else INCONCLUSIVE.

        Parameters
        ----------
        max_gap : float or None
            Largest gap over all constraints and groups, in [0, 1] (of a ratio one minus it), or
            in units of the target where the constraint is; the best objective within it is chosen.
        min_score : float or None
            Least objective; the fairest entry that reaches it is chosen.

        Raises
        ------
        InputError
            Neither is given, ``max_gap`` is given and no gap was measured, or no entry fits; the
            message says how far the front reaches.
        """
        pool = self._searched()
        check_selection(pool, max_gap, min_score)
        entry = pool.select(max_gap=max_gap, min_score=min_score)
        other = copy.copy(self)
        other.pool_ = served = pool.serving(entry)
        other._serve(served, entry)
        table = self.leaderboard_.drop(columns="verdict")
        other._tabulate(served.board, served.board.reordered(table, pool.board))
        best = describe_served(served.board, entry)
        first = warned_headlines(served)
        last = (*one_sided_notes(served.board, entry), *alike_notes(entry))
        # Notes on the margin are about the entry that the search has chosen.
        outside = () if pool.groups is None else pool.groups.headlines
        kept = (n for n in self.notes_ if n not in self._entry_notes and n not in outside)
        other._entry_notes = (*first, *last)
        other.notes_ = (*outside, *first, *kept, *last)
        certificate = describe_certificate(other.certificate_)
        other.summary_ = {
            **self.summary_,
            "margin": None,
            "headline": headline(served.board, entry, None),
            "headlines": [*outside, *first],
            "notes": list(other.notes_),
            "best": best,
            "certificate": certificate,
            "proxies": None if other.proxies_ is None else other.proxies_.plain(),
        }
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
        self.certificate_ = self._certified.of(entry, self.model_)
        guessing = self._guessing
        self.proxies_ = None if guessing is None else guessing.of(entry, pool.board.systems)

    def _tabulate(self, board: Leaderboard, table: pd.DataFrame) -> None:
        """Set the leaderboard, with the verdict of each entry that has one, and the front."""
        none = self.certificate_.reason is Reason.NO_CERTIFICATION_SET
        verdicts = [
            (None if none else self.certificate_.verdict)
            if entry is board.served
            else self._certified.verdict_on(entry)
            for entry in board.ordered
        ]
        table.insert(2, "verdict", pd.Series(verdicts, dtype=object, index=table.index))
        self.leaderboard_ = table
        self.pareto_front_ = board.front_of(table)

    def _remember_names(self, schema: TableSchema) -> None:
        self.n_features_in_ = len(schema.names_in)
        if schema.named:
            self.feature_names_in_ = np.array(schema.names_in, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _matched(
        self,
        X: Any,
        sensitive: Any,
        y: Any = None,
        sample_weight: Any = None,
        proxies: Any = None,
    ) -> Inputs:
        given = Inputs(X=X, y=y, sensitive=sensitive, sample_weight=sample_weight, proxies=proxies)
        return align_inputs(given, self.align)

    def _decide(self, rows: Inputs) -> NDArray[Any]:
        """Return the position of each decision in the classes of the model, or the number."""
        matrix, cells = self._read(rows)
        if len(cells) == 0:
            return np.empty(0, dtype=np.int64 if len(self.model_.classes) else np.float64)
        with own_settings():
            return np.asarray(self.model_.decisions(matrix, cells))

    def _read(self, rows: Inputs) -> tuple[Any, NDArray[np.int32]]:
        model = self.model_
        return read_new_rows(
            rows.X,
            rows.sensitive,
            schema=model.schema,
            groups=model.groups if model.needs_sensitive else None,
            unseen=self.unseen_group,
            tell=True,
        )


def _checked(rows: Inputs, n_rows: int) -> NDArray[np.float64] | None:
    """Check that there are rows with one label each, and return the weights."""
    if n_rows == 0:
        raise InputError("Found array with 0 sample(s) (X); give at least one row to evaluate.")
    check_given(rows.y)
    check_length(n_rows, rows.y, "y")
    return None if rows.sample_weight is None else read_weights(rows.sample_weight, n_rows)
