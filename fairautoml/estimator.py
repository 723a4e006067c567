"""Parameters and methods that both estimators share."""

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import monotonic
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from fairautoml.certification.certificate import Certificate, certificate_text
from fairautoml.certification.certify import (
    Candidates,
    CandidateSequence,
    certify_models,
    check_request,
    freeze,
    recount,
)
from fairautoml.certification.evidence import Evidence
from fairautoml.certification.ledger import Ledger
from fairautoml.certification.rows import TrainingRows
from fairautoml.certification.verdicts import Reason
from fairautoml.data.files import write_whole
from fairautoml.data.frames import Inputs, check_same_index, entity_ids
from fairautoml.data.options import ColumnOptions, column_options
from fairautoml.data.read import validation_inputs
from fairautoml.data.schema import TableSchema, read_truth
from fairautoml.data.target import TaskOption, check_given, checked_weights
from fairautoml.evaluation.judge import judge
from fairautoml.exceptions import InputError, NoFeasibleModelWarning, ParameterError, warn
from fairautoml.inference.export import export_predictor
from fairautoml.inference.predictor import Predictor, isolated_config
from fairautoml.noisy_constraint import GuessedGroups, Guessing
from fairautoml.parameters import check_choice
from fairautoml.pipeline import FitRequest, FitResult, run_fit
from fairautoml.plan import read_options_of
from fairautoml.records import Entry, OnProgress, Status
from fairautoml.report import Documents, RunView, run_fragment, run_page, view_of
from fairautoml.report.charts import plot_history, plot_pareto
from fairautoml.report.summary import (
    NO_CONSTRAINT,
    constant_notes,
    describe_blocks,
    describe_certificate,
    describe_served,
    headline,
    one_sided_notes,
    plain_label,
    plain_rows,
    result_lines,
    status_of,
    table_from_json,
    table_to_json,
    trials_frame,
    warned_headlines,
)
from fairautoml.report.view import describe_groups
from fairautoml.run_files import locate, storable
from fairautoml.running import ending
from fairautoml.selection.ensemble import scored_by
from fairautoml.selection.leaderboard import DETAILS, Leaderboard, distinct_choices
from fairautoml.selection.pool import Pool
from fairautoml.settings import (
    Dask,
    GroupPolicy,
    LocalProcesses,
    RunStorage,
    ServingOptions,
    Settings,
    check_constraints,
    check_group_policy,
    check_selection,
    file_to_write,
    labels_of,
    naming_parameters,
    one_sensitive,
    own_names,
    plain_parameters,
    validate_settings,
)
from fairautoml.storage.run_folder import library_version

TABLES = ("leaderboard_", "pareto_front_", "trials_")
"""Fitted attributes that are stored as text."""


class Estimator(BaseEstimator):  # type: ignore[misc]
    """Parameters and methods of both estimators."""

    task_option: TaskOption = "auto"
    pool_: Pool
    model_: Predictor
    best_entry_: Entry
    leaderboard_: pd.DataFrame
    pareto_front_: pd.DataFrame
    notes_: tuple[str, ...]
    feasible_: bool
    status_: str
    classes_: NDArray[Any]
    summary_: dict[str, Any]
    certificate_: Certificate | None
    proxies_: GuessedGroups | None
    _guessing: Guessing | None = None
    _entry_notes: tuple[str, ...] = ()
    _sequence: CandidateSequence
    _training_rows: TrainingRows
    _certificates: tuple[tuple[Entry, Certificate], ...] = ()
    _applies: bool

    __metadata_request__fit = {"sensitive": True, "sensitive_features": False}  # noqa: RUF012
    __metadata_request__predict = {"sensitive": True, "sensitive_features": False}  # noqa: RUF012
    __metadata_request__score = {"sensitive": True, "sensitive_features": False}  # noqa: RUF012

    @naming_parameters
    def __init__(
        self,
        constraint: Any = None,
        *,
        objective: Any = "auto",
        time_budget: float | None = None,
        n_trials: int | None = None,
        learners: Any = None,
        mitigators: Sequence[str] | None = None,
        sensitive_at_predict: bool = True,
        strategy: str = "auto",
        allocator: str = "auto",
        executor: str | LocalProcesses | Dask = "auto",
        n_jobs: int | None = -1,
        cv: Any = 5,
        ensemble: int | ServingOptions = 8,
        refit: bool = False,
        confidence: str | float | None = "auto",
        group_policy: GroupPolicy | None = None,
        pos_label: Any = None,
        run_dir: str | Path | RunStorage | None = None,
        callbacks: OnProgress | Sequence[OnProgress] | None = None,
        random_state: Any = None,
    ) -> None:
        self.constraint = constraint
        self.objective = objective
        self.time_budget = time_budget
        self.n_trials = n_trials
        self.learners = learners
        self.mitigators = mitigators
        self.sensitive_at_predict = sensitive_at_predict
        self.strategy = strategy
        self.allocator = allocator
        self.executor = executor
        self.n_jobs = n_jobs
        self.cv = cv
        self.ensemble = ensemble
        self.refit = refit
        self.confidence = confidence
        self.group_policy = group_policy
        self.pos_label = pos_label
        self.run_dir = run_dir
        self.callbacks = callbacks
        self.random_state = random_state

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name.

        Parameters
        ----------
        **params
            As of the constructor.

        Raises
        ------
        ValueError
            A parameter does not exist.
        """
        if found := own_names(params, self.get_params(deep=False)):
            raise ValueError(found)
        return super().set_params(**params)

    def fit(
        self,
        X: Any,
        y: Any,
        sensitive: Any = None,
        sample_weight: Any = None,
        groups: Any = None,
        proxies: Any = None,
        proxy_errors: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sensitive_val: Any = None,
        columns: ColumnOptions | None = None,
        sensitive_features: Any = None,
    ) -> Self:
        """Search for the best model that meets the constraint.

        Parameters
        ----------
        X : DataFrame, array or sparse matrix, shape (n_rows, n_features)
            Features; categories and missing values are allowed.
        y : array-like, shape (n_rows,)
            Two classes or more; numbers for ``FairAutoMLRegressor``.
        sensitive : array-like, DataFrame, dict, str or list of str, optional
            Group labels, one per row; several columns; or name(s) of columns of ``X``. A DataFrame
            of indicators in a dict, ``{"identity": table}``, gives groups that may overlap.
        sample_weight : array-like, shape (n_rows,), optional
            Weights in training, objective and group rates.
        groups : array-like, shape (n_rows,), or str, optional
            Entity of each row (for example a person), or the name of that column of ``X``, which
            is then not a feature: all rows of one entity are in one fold.
        proxies, proxy_errors : optional
            Instead of ``sensitive``: three columns (or their names in ``X``) of noisy labels of
            two groups, or one such column with P(label b | true group a), shape (2, 2); see
            ``proxies_``.
        X_val, y_val, sensitive_val : optional
            Validation rows, in the form of ``X``, ``y`` and ``sensitive``. They replace the
            cross-validation: one model of each configuration is trained on ``X``, and selection,
            thresholds and all figures are those of the validation rows, of weight 1. No model is
            trained on them, unless ``refit=True`` trains the last one on both.
        columns : ColumnOptions, optional
            Which columns are text, dates, categories or no features; see ``columns_``.
        sensitive_features : optional
            Other name of ``sensitive``.

        Returns
        -------
        Self

        Raises
        ------
        InputError
            The input is invalid; raised before the first trial.

        Warns
        -----
        NoFeasibleModelWarning
            No model met the constraint; issued last, after attributes and run folder are written.
        """
        start = monotonic()
        sensitive = one_sensitive(sensitive, sensitive_features)
        check_given(y)
        settings = self.check_parameters()
        inputs = self._matched(X, sensitive, y, sample_weight, proxies, groups)
        request = FitRequest(
            inputs=inputs,
            validation=validation_inputs(X_val, y_val, sensitive_val, inputs),
            settings=settings,
            read=replace(read_options_of(settings), columns=column_options(columns)),
            start=start,
            proxy_errors=proxy_errors,
            seeded=self.random_state is not None,
            parameters={**plain_parameters(self), "task": self.task_option},
        )
        with ending(settings.callbacks, self):
            run_fit(request, lambda result: self._publish(result, entity_ids(groups, X)))
        return self

    def check_parameters(self) -> Settings:
        """Return the validated parameters without fitting.

        Raises
        ------
        ParameterError
            A parameter is wrong.
        UnknownNameError
            A metric, learner, mitigator, strategy, allocator or executor does not exist.
        """
        settings = validate_settings(self)
        if self.task_option == "regression" and self.pos_label is not None:
            msg = f"pos_label={self.pos_label!r} names a class; regression has none, leave it out"
            raise ParameterError(msg)
        if settings.storage is not None:
            locate(settings.storage)
        return settings

    def _publish(self, result: FitResult, entities: tuple[NDArray[Any] | None, str]) -> Self:
        """Set the fitted attributes, and return the estimator to store."""
        pool, plan = result.pool, result.plan
        self.pool_ = pool
        self.interrupted_ = result.interrupted
        self.seed_ = plan.seed
        self.notes_ = result.notes
        self._entry_notes = (*result.rule_headlines, *result.rule_notes)
        self._applies = result.applies
        self._guessing = result.guessing
        dataset, self._certificates = plan.problem.rows, ()
        self._training_rows = TrainingRows.of(dataset.X, dataset.y, *entities)
        self._sequence = freeze(pool.board, pool.best, set(pool.bags))
        self._serve(pool, pool.best)
        self.trials_ = trials_frame(result.history)
        self._tabulate(pool.board, pool.board.frame())
        self.summary_ = {
            **result.summary(),
            "certificate": None,
            "positive_class": plain_label(self.positive_class_),
            "proxies": None if self.proxies_ is None else self.proxies_.plain(),
        }
        return storable(self)

    def _restore(self, model: Predictor) -> None:
        """Set what ``predict`` needs."""
        self._remember_names(model.schema)
        self.model_ = model
        if model.task != "regression":
            self.classes_ = np.sort(model.classes)
        self.positive_class_ = model.classes[1] if model.task == "binary" else None

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        tables = {name: table_to_json(state[name]) for name in TABLES if name in state}
        return {**state, **tables}

    def __setstate__(self, state: dict[str, Any]) -> None:
        stored = {name: state[name] for name in TABLES if isinstance(state.get(name), str)}
        tables = {name: table_from_json(text) for name, text in stored.items()}
        super().__setstate__({**state, **tables})

    def predict(
        self, X: Any, sensitive: Any = None, *, sensitive_features: Any = None
    ) -> NDArray[Any]:
        """Predict a class, or a number, for each row; equal rows get equal predictions.

        Parameters
        ----------
        X : same kind of table as in ``fit``, shape (n_rows, n_features)
            New rows, possibly none; a warning names columns with mostly unseen or no values.
        sensitive : same form as in ``fit``, optional
            Required if the selected model reads the groups and they are not columns of ``X``.
        sensitive_features : optional
            Other name of ``sensitive``.

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
            and ``sensitive`` differ.
        """
        check_is_fitted(self)
        groups = one_sensitive(sensitive, sensitive_features)
        chosen = self._decide(self._matched(X, groups))
        classes: NDArray[Any] = self.model_.classes
        return classes[chosen] if len(classes) else chosen

    def evaluate(
        self,
        X: Any,
        y: Any,
        sensitive: Any = None,
        sample_weight: Any = None,
        proxies: Any = None,
        *,
        sensitive_features: Any = None,
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
        sensitive_features : optional
            Other name of ``sensitive``.

        Returns
        -------
        dict
            ``accuracy`` and others, in regression ``rmse``, ``mae`` and ``r2``; ``values`` of the
            metrics by grouping, and ``gaps``, their distances from parity (one minus a ratio or
            minimum); ``gap``, the largest; ``rates`` by group. Rows whose group is missing or
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
        check_is_fitted(self)
        sensitive = one_sensitive(sensitive, sensitive_features)
        pool, guessing = self.pool_, self._guesses_for(sensitive, proxies)
        rows = self._matched(X, sensitive, y, sample_weight, proxies)
        groups = self._true_groups(rows) if guessing is None else guessing.said_by(rows)
        cells = pool.groups_of(rows.X, groups)
        chosen = self._decide(rows)
        weight = checked_weights(rows, len(chosen))
        y = pool.labels_of(rows.y)
        found = judge(
            y,
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
        max_gap_of = guessing.judged(y, chosen, said)
        return {**found, **max_gap_of, "n_unknown_group": int((said < 0).sum())}

    def certify(
        self,
        X: Any,
        y: Any,
        sensitive: Any = None,
        sample_weight: Any = None,
        *,
        sensitive_features: Any = None,
        groups: Any = None,
        delta: float = 0.05,
        min_score: float | None = None,
        later: bool = False,
        candidates: str | None = None,
        ledger: str | Path | None = None,
    ) -> Certificate:
        """Test on new rows whether the constraint holds in the population they come from.

        The ledger records the rows. The same model on the same rows returns the same certificate;
        further models are tested on rows that were never opened, or at a stricter level, and so is
        a model that was not certified before on new rows.

        Parameters
        ----------
        X, y, sensitive, sample_weight, sensitive_features
            As in ``evaluate``; independent rows that ``fit`` has not seen.
        groups : array-like, shape (n_rows,), or str, optional
            Entity of each row, if entities have several rows; None = the column of ``X`` that
            ``fit`` was given, if it is there. Entities of ``fit`` raise an error.
        delta : float, default=0.05
            Error probability, in (0, 0.5), of all certificates of the same rows together, and of
            all tests of this model up to its first certificate. The first test uses 80 % of it.
        min_score : float or None, default=None
            Accuracy to certify in the same test.
        later : bool, default=False
            The rows are later than the training rows: a passed test is VALIDATED_ON_LATER_DATA and
            never CERTIFIED.
        candidates : {"front"} or None, default=None
            Test entries of the Pareto front in the order fixed at ``fit``, from the fairest to the
            most accurate, up to the first failure; see ``leaderboard_["verdict"]`` and ``select``.
            None tests the selected model alone.
        ledger : str, Path or None, default=None
            File that records which rows were opened; None = one file of the user for all tables
            (``FAIRAUTOML_STATE_HOME``).

        Returns
        -------
        Certificate
            Of the selected model; also ``certificate_``.

        Raises
        ------
        InputError
            As in ``evaluate``; or rows of ``fit`` are among the rows.
        """
        check_is_fitted(self)
        pool, sensitive = self.pool_, one_sensitive(sensitive, sensitive_features)
        if candidates is not None:
            check_choice("candidates", candidates, ("front",))
        request = check_request(delta=delta, min_score=min_score, later=later, ledger=ledger)
        rows = self._matched(X, sensitive, y, sample_weight, groups=groups)
        check_given(y)
        listed, entries = self._candidates(pool, candidates)
        with isolated_config():
            served, each = certify_models(listed, rows, request)
        pairs = zip(entries, each, strict=True)
        self._certificates = tuple((e, one) for e, one in pairs if one is not None)
        self.certificate_ = served
        self.summary_ = {**self.summary_, "certificate": describe_certificate(served)}
        self._tabulate(pool.board, self.leaderboard_)
        return served

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

    def leaderboard(self, *, all: bool = False) -> pd.DataFrame:
        """Return the distinct choices, or all classifiers.

        Parameters
        ----------
        all : bool, default=False
            False: the selected one, the Pareto front with the best score first, in which those of
            one trial or ensemble with nearly the same score and gap are one row, and the best
            one of each other trial. True: every classifier, as in ``leaderboard_``.

        Returns
        -------
        DataFrame
            The columns of ``leaderboard_``, without details for the distinct choices; and
            ``front``, whether a row is on the Pareto front.

        Raises
        ------
        NotFittedError
            ``fit`` has not been called.
        """
        check_is_fitted(self, "leaderboard_")
        ranks, table = self.pareto_front_["rank"], self.leaderboard_
        if all:
            found = table.copy()
            found.insert(1, "front", table["rank"].isin(ranks))
            return found
        found = distinct_choices(table, ranks, self.pool_.board.objective)
        values = [name for name in found if str(name).endswith("]")]
        return found.drop(columns=[*DETAILS, *values])

    def select(self, *, max_gap: float | None = None, min_score: float | None = None) -> Self:
        """Return a copy that uses another entry of the Pareto front; nothing is trained.

        Leaderboard, report and plots of the copy are those of its entry, and the copy can select
        again. Its certificate is the one of its entry, if ``certify(candidates="front")`` gave
        it one, else None.

        Parameters
        ----------
        max_gap : float or None
            Largest allowed gap over all constraints and groups, in [0, 1] (one minus a ratio), or
            in units of the target; the entry with the best objective within it is selected. Beside
            other constraints a minimum must be met; alone, its gap is one minus the rate.
        min_score : float or None
            Least objective; the fairest entry that reaches it is selected.

        Raises
        ------
        InputError
            Neither is given, ``max_gap`` is given and no gap was measured, or no entry matches;
            the message gives the ends of the front.
        """
        check_is_fitted(self)
        pool = self.pool_
        check_selection(pool, max_gap, min_score)
        served = pool.serving(pool.select(max_gap=max_gap, min_score=min_score))
        table = served.board.reordered(self.leaderboard_, pool.board)
        return copy.copy(self)._show(served, table)

    def reselect(self, constraint: Any) -> Self:
        """Return a copy that serves the best model under another constraint; nothing is trained.

        The other constraint is evaluated on the out-of-fold decisions of every entry. Those with
        stored models, the Pareto front of the fit, can be served; their rules were fitted to the
        constraint of ``fit``. Certificates do not carry over.

        Parameters
        ----------
        constraint : str, Constraint or list of those
            As in the constructor, on the groups given to ``fit``.

        Raises
        ------
        ParameterError
            The constraint is invalid or names unknown groups.
        InputError
            ``fit`` had no groups or only noisy ones, or it was a regression. A warning
            ``NoFeasibleModelWarning`` says that no stored model meets the constraint.
        """
        check_is_fitted(self)
        parsed = check_constraints(constraint)
        if not parsed:
            msg = f"reselect: constraint={constraint!r} is none; name one, or use select()"
            raise ParameterError(msg)
        if self._guessing is not None:
            raise InputError("reselect needs true groups; this fit had noisy ones (proxies=)")
        other, served = copy.copy(self), self.pool_.reselected(parsed)
        other.constraint, other._certificates, other._applies = constraint, (), True
        other._sequence = freeze(served.board, served.best, set(served.bags))
        other._show(served, served.board.frame())
        if not other.feasible_:
            msg = f"No stored model meets {', '.join(labels_of(constraint))}; fit with it instead."
            warn(msg, NoFeasibleModelWarning)
        return other

    def _show(self, served: Pool, table: pd.DataFrame) -> Self:
        """Serve another entry, with its figures, on a copy of the fitted estimator."""
        entry, earlier, self.pool_ = served.best, self.pool_.headlines, served
        self._serve(served, entry)
        self._tabulate(served.board, table)
        best, certificate = describe_served(served.board, entry), self.certificate_
        first = warned_headlines(served)
        last = (*one_sided_notes(served.board, entry), *constant_notes(entry))
        # Notes on the margin are about the entry that the search selected.
        kept = [n for n in self.notes_ if n not in (*self._entry_notes, *earlier)]
        self._entry_notes = (*first, *last)
        self.notes_ = (*served.headlines, *first, *kept, *last)
        judged = () if served.groups is None else served.groups.judgeability
        self.summary_ = {
            **self.summary_,
            "margin": None,
            "headline": headline(served.board, entry, None),
            "statement": result_lines(served.board, entry, None, labels_of(self.constraint)),
            "headlines": [*served.headlines, *first],
            "judgeability": [asdict(one) for one in judged],
            "notes": list(self.notes_),
            "blocks": describe_blocks(served),
            "n_trees": served.n_trees,
            "best": best,
            "certificate": None if certificate is None else describe_certificate(certificate),
            "proxies": None if self.proxies_ is None else self.proxies_.plain(),
        }
        return self

    def _serve(self, pool: Pool, entry: Entry) -> None:
        self.best_entry_ = entry
        self.status_ = status_of(entry, applies=self._applies)
        self.feasible_ = self.status_ in (Status.FEASIBLE, NO_CONSTRAINT)
        self._restore(pool.classifier(entry))
        self.certificate_ = self._certificate_of(entry)
        guessing = self._guessing
        self.proxies_ = None if guessing is None else guessing.of(entry, pool.board.systems)

    def _certificate_of(self, entry: Entry) -> Certificate | None:
        return next((one for other, one in self._certificates if other is entry), None)

    def _candidates(self, pool: Pool, which: str | None) -> tuple[Candidates, tuple[Entry, ...]]:
        """Return the served model, or the candidates that were fixed at ``fit``, with entries."""
        entries = (pool.best,) if which is None else self._sequence.checked(pool.best)
        obstacle = Reason.NONE
        if self._guessing is not None:
            obstacle = Reason.GROUPS_GUESSED
        elif pool.best.constant and pool.best.measures:
            obstacle = Reason.CONSTANT_MODEL
        candidates = Candidates(
            models=tuple((scored_by(entry), pool.classifier(entry)) for entry in entries),
            served=next(at for at, entry in enumerate(entries) if entry is pool.best),
            constraints=check_constraints(self.constraint),
            training=self._training_rows,
            obstacle=obstacle,
        )
        return candidates, entries

    def _tabulate(self, board: Leaderboard, table: pd.DataFrame) -> None:
        """Set the Pareto front and the leaderboard, with the verdicts of ``certify`` if any."""
        table = table.drop(columns="verdict", errors="ignore")
        if self._certificates:
            found = [self._certificate_of(entry) for entry in board.ordered]
            verdicts = [None if one is None else one.verdict for one in found]
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
        groups: Any = None,
    ) -> Inputs:
        given = Inputs(
            X=X, y=y, sensitive=sensitive, sample_weight=sample_weight, groups=groups,
            proxies=proxies,
        )  # fmt: skip
        check_same_index(given)
        return given

    def _decide(self, rows: Inputs) -> NDArray[Any]:
        """Return the position of each decision in the classes of the model, or the number."""
        matrix, cells = self._read(rows)
        if len(cells) == 0:
            return np.empty(0, dtype=np.int64 if len(self.model_.classes) else np.float64)
        with isolated_config():
            return np.asarray(self.model_.decisions(matrix, cells))

    def _decided(
        self, X: Any, y: Any, sensitive: Any, sample_weight: Any
    ) -> tuple[Inputs, NDArray[Any], NDArray[np.float64] | None]:
        """Return rows with labels, their decisions and their weights."""
        check_is_fitted(self)
        rows = self._matched(X, sensitive, y, sample_weight)
        chosen = self._decide(rows)
        return rows, chosen, checked_weights(rows, len(chosen))

    def _read(self, rows: Inputs) -> tuple[Any, NDArray[np.int32]]:
        unseen = check_group_policy(self.group_policy).unseen
        return self.model_.read(rows.X, rows.sensitive, unseen=unseen, warns=True)

    def export(self, path: str | Path) -> Path:
        """Write the selected model to one file for ``fairautoml.load_predictor``.

        The file predicts with NumPy alone, needs neither this library's dependencies nor a
        pickle, and gives the same predictions.

        Parameters
        ----------
        path : str or Path
            File to write, such as ``"model.fair"``; an existing file is replaced.

        Returns
        -------
        Path
            The written file.

        Raises
        ------
        NotFittedError
            ``fit`` has not been called.
        NotPortableError
            A learner or a rule of the model cannot be exported; the message names it.
        ParameterError
            The folder of the file does not exist.
        """
        check_is_fitted(self)
        out = file_to_write(path, "export")
        about = {
            "versions": {name: library_version(name) for name in SHOWN_VERSIONS},
            "headline": self.summary_["headline"],
            "feasible": self.feasible_,
        }
        unseen = check_group_policy(self.group_policy).unseen
        export_predictor(self.model_, out, unseen=unseen, about=about)
        return out

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
        """
        out = file_to_write(path, "report")
        write_whole(run_page(self._view(out.stem)), out)
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
            return super()._repr_html_()
        return run_fragment(self._view())

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Return the display for Jupyter: after ``fit`` the report, before it scikit-learn's."""
        bundle: dict[str, str] = super()._repr_mimebundle_(include=include, exclude=exclude)
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
        stored = frozenset(pool.bags)
        return Documents(
            name=name,
            leaderboard=plain_rows(model.leaderboard_),
            summary=model.summary_,
            groups=describe_groups(pool.board, pool.rows_by_label, pool.groups, stored),
            config={"constraint": labels_of(model.constraint)},
            trials=plain_rows(model.trials_),
            certificate=None if certificate is None else json.loads(certificate.to_bytes()),
            certificate_text="" if certificate is None else certificate_text(certificate),
            versions={lib: library_version(lib) for lib in SHOWN_VERSIONS},
            explanation=self._explained(),
        )

    def _explained(self) -> dict[str, Any]:
        """Return the explanation of the selected model as plain values, none without one."""
        return {}

    def __sklearn_tags__(self) -> Tags:
        """Return the tags of scikit-learn, to which the mixins add the kind of estimator."""
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.non_deterministic = self.n_trials is None or self.time_budget is not None
        return tags


def recounted(model: Any, inputs: Inputs, certificate: Certificate, ledger: Ledger) -> Evidence:
    """Return the evidence of a certificate, counted again on the rows that its opening read."""
    candidates, _ = model._candidates(model.pool_, None)
    min_score = None if certificate.floor is None else certificate.floor.bound
    with isolated_config():
        return recount(candidates, inputs, min_score, ledger, certificate.opening.entry)


SHOWN_VERSIONS = ("fairautoml", "scikit-learn", "lightgbm", "xgboost", "numpy", "pandas")
