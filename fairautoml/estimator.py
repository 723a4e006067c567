"""Methods of the fitted estimator: predict, score, evaluate, select and report."""

import copy
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import sklearn
from numpy.typing import NDArray
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from fairautoml.certification.certificate import Certificate, certificate_text
from fairautoml.certification.certify import Certified
from fairautoml.certification.planning import is_number
from fairautoml.certification.verdicts import Reason
from fairautoml.data.dataset import task_of
from fairautoml.data.files import write_whole
from fairautoml.data.frames import Inputs, align_inputs, check_length, read_weights
from fairautoml.data.groups import GroupSchema
from fairautoml.data.read import read_new_rows
from fairautoml.data.schema import TableSchema, read_truth
from fairautoml.data.target import (
    TaskOption,
    check_given,
    known_labels,
    plain_labels,
    plain_numbers,
)
from fairautoml.evaluation.tasks import TASKS
from fairautoml.exceptions import DegradedWarning, InputError, ParameterError, warn
from fairautoml.inference.predictor import ConstantClassifier, Predictor
from fairautoml.metrics import (
    METRICS,
    ClassCounts,
    Constraint,
    GroupCounts,
    GroupValues,
    Rate,
    Tally,
    TaskName,
    Undefined,
    bind_constraints,
    largest_defined,
)
from fairautoml.metrics._table import MASS
from fairautoml.metrics.rates import SHOWN as RATES_SHOWN
from fairautoml.metrics.rates import with_compared
from fairautoml.noisy_constraint import GuessedGroups, Guessing
from fairautoml.outcome import (
    Pool,
    describe_certificate,
    describe_served,
    group_headlines,
    headline,
    one_sided_notes,
)
from fairautoml.records import Entry
from fairautoml.report import Documents, RunView, run_fragment, run_page, view_of
from fairautoml.report.charts import plot_history, plot_pareto
from fairautoml.report.view import describe_groups
from fairautoml.selection.leaderboard import Leaderboard
from fairautoml.settings import check_constraints, check_share
from fairautoml.storage.run_folder import library_version

SHOWN: dict[TaskName, tuple[str, ...]] = {
    "binary": ("accuracy", "balanced_accuracy", "f1"),
    "multiclass": ("accuracy", "balanced_accuracy", "f1_macro"),
    "regression": ("rmse", "mae", "r2"),
}
"""Performance metrics of each kind of target."""

TWO_CLASSES = np.array([0, 1])


def judge(
    y: NDArray[Any],
    decisions: NDArray[Any],
    cells: NDArray[np.integer],
    *,
    groups: GroupSchema | None,
    constraints: tuple[Constraint, ...],
    weight: NDArray[np.float64] | None = None,
    classes: NDArray[Any] = TWO_CLASSES,
) -> dict[str, Any]:
    """Return scores, gaps and group rates as plain values; undefined ones are None."""
    task = task_of(classes)
    outcome = np.eye(len(classes))[decisions] if task == "multiclass" else decisions
    weights = np.ones(len(y)) if weight is None else weight
    tally = TASKS.get(task).tally
    one_group = np.zeros(len(y), dtype=np.int64)
    pooled = tally(one_group, y, outcome, weights, n_groups=1)
    found: dict[str, Any] = {
        "n_rows": len(y),
        "n_unknown_group": int(_outside(cells, groups).sum()),
        "majority": _majority(pooled),
        **{name: _plain(METRICS.get(name).value(pooled)) for name in SHOWN[task]},
    }
    if groups is None:
        return found
    counts = tally(cells, y, outcome, weights, n_groups=groups.n_cells)
    values: dict[str, float | None] = {}
    gaps: dict[str, float | None] = {}
    excess: list[float | None] = []
    for target in bind_constraints(constraints, groups.systems, groups.small_groups):
        one = target.result(counts)
        gap = None if one.value is None else one.gap
        values[target.label], gaps[target.label] = one.value, gap
        excess.append(None if gap is None else gap - one.limit)
    found["gap"], found["excess"] = largest_defined(list(gaps.values())), largest_defined(excess)
    found["gaps"], found["values"] = gaps, values
    shown = with_compared(RATES_SHOWN, [constraint.metric for constraint in constraints])
    found["rates"] = {
        system.name: _rates(
            counts.merged(system.of_cell, system.n_groups, system.masks),
            system.labels,
            classes,
            shown,
        )
        for system in groups.systems
        if system.values is None
    }
    return found


def _outside(cells: NDArray[np.integer], groups: GroupSchema | None) -> NDArray[np.bool_]:
    """Return which rows have no group in at least one grouping."""
    found = cells < 0
    for system in () if groups is None else groups.systems:
        if not system.overlapping:
            found = found | (system.of_cell[cells] < 0)
    return found


def _majority(counts: Tally) -> float | None:
    if isinstance(counts, GroupValues):
        mass = counts.weight.sum()
        mean = np.average(counts.y, weights=counts.weight) if mass > 0 else 0.0
        spread = np.average((counts.y - mean) ** 2, weights=counts.weight) if mass > 0 else None
        return None if spread is None else float(np.sqrt(spread))
    by_label = counts.table.sum(axis=(0, 2))
    return float(by_label.max() / by_label.sum()) if by_label.sum() > 0 else None


def _plain(value: float | Undefined) -> float | None:
    return None if isinstance(value, Undefined) else float(value)


def _columns(
    counts: Tally, classes: NDArray[Any], shown: Sequence[Rate]
) -> dict[str, NDArray[np.float64]]:
    """Return the reported values by group, NaN where undefined."""
    if isinstance(counts, GroupValues):
        return {
            "mean_prediction": counts.means(counts.prediction),
            "mean_target": counts.means(counts.y),
            "rmse": np.sqrt(counts.means(counts.losses)),
        }
    if isinstance(counts, ClassCounts):
        names = [str(label) for label in classes.tolist()]
        found: dict[str, NDArray[np.float64]] = {}
        for rate in shown:
            values = counts.rates(rate)
            titles = [rate.name] if rate.classless else [f"{rate.name}[{name}]" for name in names]
            found |= dict(zip(titles, values, strict=True))
        return found
    plain = GroupCounts(counts.table)
    return {rate.name: plain.rates(rate) for rate in shown}


def _weights(counts: Tally) -> NDArray[np.float64]:
    table = counts.table
    found: NDArray[np.float64] = table[:, MASS] if table.ndim == 2 else table.sum(axis=(1, 2))
    return found


def _rates(
    counts: Tally, labels: tuple[str, ...], classes: NDArray[Any], shown: Sequence[Rate]
) -> dict[str, dict[str, float | None]]:
    table, weight = _columns(counts, classes, shown), _weights(counts)
    return {
        label: {
            "weight": float(weight[at]),
            **{r: None if np.isnan(v[at]) else float(v[at]) for r, v in table.items()},
        }
        for at, label in enumerate(labels)
    }


def check_selection(pool: Pool, max_gap: Any, min_score: Any) -> None:
    """Raise an error if the arguments of ``select`` are invalid or no gap was measured."""
    if max_gap is None and min_score is None:
        raise InputError("select needs max_gap=, min_score= or both")
    if max_gap is not None:
        _check_gap(max_gap, pool)
    if min_score is not None and not is_number(min_score):
        raise ParameterError(f"min_score={min_score!r} must be a number, the least objective")
    if max_gap is not None and not pool.best.measures:
        msg = (
            f"select(max_gap={max_gap}): no gap was measured, because fit had no constraint "
            "or a single group; use min_score=, or fit with FairAutoML(constraint=...) and "
            "two groups or more"
        )
        raise InputError(msg)


def _check_gap(max_gap: Any, pool: Pool) -> None:
    most = max((METRICS.get(m.metric).most for m in pool.best.measures), default=1.0)
    if most <= 1.0:
        check_share("max_gap", max_gap)
    elif not is_number(max_gap) or max_gap < 0:
        raise ParameterError(f"max_gap={max_gap!r} must be a number of at least 0")


def constant_notes(entry: Entry) -> tuple[str, ...]:
    """Warn about a constant predictor, and return the note."""
    if not (entry.constant and entry.measures):
        return ()
    note = (
        "Only a constant predictor matches the arguments of select. Give a larger max_gap, or "
        "choose from pareto_front_."
    )
    warn(note, DegradedWarning)
    return (note,)


def warned_headlines(pool: Pool) -> tuple[str, ...]:
    """Warn about groups in which the selected model makes a single decision; return the notes."""
    found = group_headlines(pool.board, pool.best, pool.classes)
    for sentence in found:
        warn(sentence, DegradedWarning)
    return found


def isolated_config() -> AbstractContextManager[None]:
    """Return a context with the configuration of scikit-learn that the learners expect.

    Metadata routing or pandas output, set by the caller, would break pipelines inside a learner.
    """
    found: AbstractContextManager[None] = sklearn.config_context(
        enable_metadata_routing=False, transform_output="default"
    )
    return found


def _has_classes(model: "PredictMixin") -> bool:
    return model.task_option != "regression"


class PredictMixin:
    """Methods of the fitted estimator that train nothing."""

    __metadata_request__predict = {"sensitive": True}  # noqa: RUF012
    __metadata_request__predict_proba = {"sensitive": True}  # noqa: RUF012
    __metadata_request__score = {"sensitive": True}  # noqa: RUF012

    task_option: TaskOption
    constraint: Any
    unseen_group: Any
    align: Any

    pool_: Pool | None
    model_: Predictor | ConstantClassifier
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
        """Predict a class, or a number, for each row; equal rows get equal predictions.

        Parameters
        ----------
        X : same kind of table as in ``fit``, shape (n_rows, n_features)
            New rows, possibly none; a warning names columns with mostly unseen or no values.
        sensitive : same form as in ``fit``, optional
            Required if the selected model reads the groups and they are not columns of ``X``.

        Returns
        -------
        ndarray of shape (n_rows,)
            Labels as in ``classes_``; numbers in regression.

        Raises
        ------
        MissingSensitiveError
            The groups are required and not given.
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
        """Return the class probabilities, or the acceptance probability of a randomized rule.

        The thresholds of the rule are not applied: ``predict`` may differ from the larger
        probability.

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
        with isolated_config():
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
        """Return the mean accuracy, or R squared in regression, as scikit-learn does.

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
        """Evaluate the predictions on rows with known labels.

        Parameters
        ----------
        X, y, sensitive, sample_weight
            As in ``fit``; groups are evaluated if ``fit`` received groups. After
            ``fit(..., proxies=)`` the true groups of these rows, if they are known.
        proxies : as in ``fit``, or the column of ``proxies_.proxy`` alone, optional
            Noisy group labels; the gaps are then corrected. None = the columns of ``X`` that
            ``fit`` received as proxies.

        Returns
        -------
        dict
            ``accuracy`` and others, in regression ``rmse``, ``mae`` and ``r2``; ``values`` of the
            metrics by grouping, and ``gaps``, their distances from parity (one minus a ratio);
            ``gap``, the largest of these; ``rates`` by group. Rows whose group is missing or
            unknown to ``fit`` are counted in ``n_unknown_group`` and excluded from the gaps of
            that column. Undefined values are None. With proxies, ``gaps`` are corrected,
            ``intervals`` are their 95 % bootstrap intervals, and ``proxy_gaps`` are uncorrected.

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
        # Rates by noisy group label could be mistaken for those of the groups.
        del found["rates"]
        max_gap_of = guessing.judged(known_labels(rows.y, pool.classes), chosen, said)
        return {**found, **max_gap_of, "n_unknown_group": int((said < 0).sum())}

    def _guesses_for(self, sensitive: Any, proxies: Any) -> Guessing | None:
        """Return the reader of noisy group labels, None if the true groups are given."""
        if proxies is not None and self._guessing is None:
            raise InputError(
                "evaluate: fit was not given proxies, so their error rates are unknown. "
                "Give sensitive=, or measure the decisions with fairautoml.weak_proxy_gap"
            )
        return self._guessing if proxies is not None or sensitive is None else None

    def _true_groups(self, rows: Inputs) -> Any:
        """Return the given groups; after proxies, under the name that ``fit`` used."""
        if self._guessing is None or rows.sensitive is None:
            return rows.sensitive
        return {self._guessing.guess.name: read_truth(rows.sensitive, rows.X)}

    def select(self, *, max_gap: float | None = None, min_score: float | None = None) -> Self:
        """Return a copy that uses another entry of the Pareto front; nothing is trained.

        Leaderboard, report and plots of the copy are those of its entry, and the copy can select
        again. Its verdict is the one that its entry got when the certification rows were opened,
        else INCONCLUSIVE.

        Parameters
        ----------
        max_gap : float or None
            Largest allowed gap over all constraints and groups, in [0, 1] (one minus a ratio), or
            in units of the target if the constraint is; the entry with the best objective within
            it is selected.
        min_score : float or None
            Least objective; the fairest entry that reaches it is selected.

        Raises
        ------
        InputError
            Neither is given, ``max_gap`` is given and no gap was measured, or no entry matches;
            the message gives the ends of the front.
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
        last = (*one_sided_notes(served.board, entry), *constant_notes(entry))
        # Notes on the margin are about the entry that the search selected.
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
                "evaluate or to select; fit with rows of both classes"
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
        """Set the leaderboard with the verdicts, and the Pareto front."""
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
        with isolated_config():
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
    """Validate rows and labels, and return the weights."""
    if n_rows == 0:
        raise InputError("Found array with 0 sample(s) (X); give at least one row to evaluate.")
    check_given(rows.y)
    check_length(n_rows, rows.y, "y")
    return None if rows.sample_weight is None else read_weights(rows.sample_weight, n_rows)


SHOWN_VERSIONS = ("fairautoml", "scikit-learn", "lightgbm", "xgboost", "numpy", "pandas")


class ReportMixin:
    """Methods that report and plot a fitted estimator."""

    def report(self, path: str | Path) -> Path:
        """Write the report of the run: one HTML file that needs no network.

        Parameters
        ----------
        path : str or Path
            File to write; an existing file is replaced.

        Returns
        -------
        Path
            The written file.

        Raises
        ------
        NotFittedError
            ``fit`` has not been called.
        ParameterError
            The folder of the file does not exist.
        InputError
            The target had one class only, so nothing was searched.
        """
        out = Path(path)
        if out.is_dir() or not out.parent.is_dir():
            raise ParameterError(f"report: {str(out)!r} must be a file in a folder that exists")
        page = run_page(self._view(out.stem))
        write_whole(page, out)
        return out

    def plot_pareto(self, ax: Any = None) -> Any:
        """Plot objective against gap with the Pareto front and the selected entry.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.

        Raises
        ------
        NotFittedError
            ``fit`` has not been called.
        ParameterError
            The run had no constraint.
        MissingExtraError
            matplotlib is not installed.
        """
        return plot_pareto(self._view(), ax)

    def plot_history(self, ax: Any = None) -> Any:
        """Plot the best objective so far against seconds.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.

        Raises
        ------
        NotFittedError
            ``fit`` has not been called.
        MissingExtraError
            matplotlib is not installed.
        """
        return plot_history(self._view(), ax)

    def _repr_html_(self) -> str:
        """Return the compact report of a fitted estimator, else scikit-learn's diagram."""
        if getattr(self, "pool_", None) is None:
            diagram: str = super()._repr_html_()  # type: ignore[misc]
            return diagram
        return run_fragment(self._view())

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Return the display for Jupyter: after ``fit`` the report, before it scikit-learn's."""
        bundle: dict[str, str] = super()._repr_mimebundle_(  # type: ignore[misc]
            include=include, exclude=exclude
        )
        # sklearn.set_config(display="text") disables HTML.
        if "text/html" in bundle and getattr(self, "pool_", None) is not None:
            bundle["text/html"] = run_fragment(self._view())
        return bundle

    def _view(self, name: str = "fairautoml") -> RunView:
        check_is_fitted(self, "summary_")
        return view_of(self._documents(name))

    def _documents(self, name: str) -> Documents:
        model: Any = self
        certificate, pool = model.certificate_, model.pool_
        return Documents(
            name=name,
            leaderboard=_records(model.leaderboard_),
            summary=model.summary_,
            groups={} if pool is None else describe_groups(pool.board, pool.rows_by_label),
            config={"constraint": _labels(model.constraint)},
            trials=_records(model.trials_),
            certificate=json.loads(certificate.to_bytes()),
            certificate_text=certificate_text(certificate),
            versions={lib: library_version(lib) for lib in SHOWN_VERSIONS},
        )


def _labels(constraint: Any) -> list[str]:
    if constraint is None:
        return []
    listed = constraint if isinstance(constraint, list | tuple) else [constraint]
    return [one if isinstance(one, str) else one.label for one in listed]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as plain values, None for missing ones."""
    plain = table.astype(object).where(table.notna(), None)
    return [{str(k): v for k, v in row.items()} for row in plain.to_dict("records")]
