"""The estimator: ``FairAutoML(constraint=...).fit(X, y, sensitive)``.

Not the code of the paper of the same name (Wu, Wang, arXiv 2111.06495).
"""

import copy
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from fairautoml.data.border import BorderOptions, build_dataset
from fairautoml.data.files import write_csv
from fairautoml.data.new_rows import read_new_rows
from fairautoml.data.target import known_labels
from fairautoml.exceptions import (
    DegradedWarning,
    InputError,
    NoFeasibleModelError,
    NoFeasibleModelWarning,
)
from fairautoml.judging import judge
from fairautoml.options import (
    REGISTRIES,
    Wishes,
    check_budget,
    check_choice,
    check_constraints,
    check_count,
    check_name,
    check_names,
    check_objective,
    check_seed,
    check_share,
    check_workers,
)
from fairautoml.outcome import Outcome, conduct
from fairautoml.planning import BASELINE, Setting, make_plan, make_problem
from fairautoml.run import OnProgress, RunPlan
from fairautoml.store import RunFolder
from fairautoml.summary import run_summary, trials_frame
from fairautoml.trials import Entry


class FairAutoML(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Search for the best classifier that meets a fairness constraint.

    Parameters
    ----------
    constraint : str, Constraint, list of these, or None, default=None
        For example ``"equalized_odds_difference <= 0.05"`` or
        ``"demographic_parity_ratio >= 0.8"``; it speaks about every sensitive column and, with
        several, their intersection. ``"demographic_parity_difference[sex] <= 0.05"`` speaks about
        one of them. None = AutoML without fairness.
    objective : str, default="accuracy"
        Performance metric to be as good as possible.
    time_budget : float or None, default=None
        Seconds that ``fit`` may take, hard. With neither ``time_budget`` nor ``n_trials``: 60.
    n_trials : int or None, default=None
        Number of trials, the baseline included; reproducible for any ``n_jobs``.
    learners, mitigators : list of str or None, default=None
        Registered names to search over; None = all that fit the data and the constraint.
    sensitive_at_predict : bool, default=True
        False: the winner must not need the sensitive column of new rows; sensitive columns named
        in ``X`` are then no features either.
    randomized : bool, default=False
        Allow rules that decide at random within a group; a row still always gets one decision.
    refit : bool, default=False
        Train the chosen candidate once more on all rows instead of serving the mean of its fold
        models. Smaller and faster, but its rule was fitted for the fold models.
    strict : bool, default=False
        Raise ``NoFeasibleModelError`` when no model meets the constraint.
    strategy, allocator, executor : str, default="auto"
        Registered names.
    n_jobs : int or None, default=None
        Trials at the same time, one thread each; -1 = one per core.
    n_folds : int, default=5
        Cross-validation folds.
    pos_label : label or None, default=None
        The positive class; None = the label that is sorted last.
    sensitive_missing : {"error", "own_group", "exclude"}, default="error"
        What a missing sensitive value means.
    unseen_group : {"error", "base_model"}, default="error"
        At predict, a group that ``fit`` has not seen is refused or gets the common threshold.
    sensitive_in_X : {"warn", "drop", "allow"}, default="warn"
        What to do with features that give the sensitive column away.
    max_groups : int, default=50
        Most groups of one sensitive column.
    on_nonfinite : {"error", "impute"}, default="error"
        What to do with infinite features.
    align : {"error", "index"}, default="error"
        What to do with different pandas indices.
    run_dir : str, Path or None, default=None
        Folder that keeps the run; None = nothing is kept on disk.
    overwrite : bool, default=False
        Replace an earlier run in ``run_dir``.
    on_progress : callable or None, default=None
        Called with a ``Progress`` after each trial.
    random_state : int, RandomState, Generator or None, default=None
        Seed; None draws one, see ``seed_``.

    Attributes
    ----------
    leaderboard_ : DataFrame
        One row per classifier, best first.
    pareto_front_ : DataFrame
        The rows that no other beats in objective and gap, fairest first.
    trials_ : DataFrame
        One row per trial with its status; failures say why.
    best_entry_ : Entry
        The entry that is served.
    summary_ : dict
        Figures of the run: trials, seconds, overhead, best entry.
    feasible_ : bool
        Whether it meets the constraint on the search rows (cross-fitted).
    interrupted_ : bool
        Whether the user ended the search.
    classes_, n_features_in_, feature_names_in_, seed_
        As in scikit-learn; the root seed.

    Examples
    --------
    >>> from fairautoml import FairAutoML
    >>> from fairautoml.data import load
    >>> table = load("lending").frame.head(600)
    >>> model = FairAutoML(
    ...     constraint="demographic_parity_difference <= 0.1", n_trials=2, random_state=0
    ... )
    >>> model = model.fit(table.drop(columns="approved"), table["approved"], "sex")
    >>> model.predict(table.drop(columns="approved")).shape
    (600,)
    """

    __metadata_request__fit = {"sensitive": True}  # noqa: RUF012

    def __init__(
        self,
        constraint: Any = None,
        *,
        objective: str = "accuracy",
        time_budget: float | None = None,
        n_trials: int | None = None,
        learners: Sequence[str] | None = None,
        mitigators: Sequence[str] | None = None,
        sensitive_at_predict: bool = True,
        randomized: bool = False,
        refit: bool = False,
        strict: bool = False,
        strategy: str = "auto",
        allocator: str = "auto",
        executor: str = "auto",
        n_jobs: int | None = None,
        n_folds: int = 5,
        pos_label: Any = None,
        sensitive_missing: str = "error",
        unseen_group: str = "error",
        sensitive_in_X: str = "warn",
        max_groups: int = 50,
        on_nonfinite: str = "error",
        align: str = "error",
        run_dir: str | Path | None = None,
        overwrite: bool = False,
        on_progress: OnProgress | None = None,
        random_state: Any = None,
    ) -> None:
        self.constraint = constraint
        self.objective = objective
        self.time_budget = time_budget
        self.n_trials = n_trials
        self.learners = learners
        self.mitigators = mitigators
        self.sensitive_at_predict = sensitive_at_predict
        self.randomized = randomized
        self.refit = refit
        self.strict = strict
        self.strategy = strategy
        self.allocator = allocator
        self.executor = executor
        self.n_jobs = n_jobs
        self.n_folds = n_folds
        self.pos_label = pos_label
        self.sensitive_missing = sensitive_missing
        self.unseen_group = unseen_group
        self.sensitive_in_X = sensitive_in_X
        self.max_groups = max_groups
        self.on_nonfinite = on_nonfinite
        self.align = align
        self.run_dir = run_dir
        self.overwrite = overwrite
        self.on_progress = on_progress
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sensitive: Any = None, sample_weight: Any = None) -> Self:
        """Search, choose, and keep the best classifier that meets the constraint.

        Parameters
        ----------
        X : DataFrame, array or sparse matrix, shape (n_rows, n_features)
            Features; categories and missing values as they are.
        y : array-like, shape (n_rows,)
            Two classes.
        sensitive : array-like, DataFrame, dict, str or list of str, optional
            Group labels, one per row; several columns; or name(s) of columns of ``X``.
        sample_weight : array-like, shape (n_rows,), optional
            Weights of objective, rates and training.

        Returns
        -------
        FairAutoML
            Itself.

        Raises
        ------
        InputError
            Something cannot be used; raised before the first trial.
        NoFeasibleModelError
            With ``strict=True``: no model met the constraint.
        """
        start = time.monotonic()
        wishes, setting = self.check_parameters(), self._setting()
        dataset = build_dataset(X, y, sensitive, sample_weight, options=self._border(sensitive))
        self._remember_names(X)
        problem = make_problem(dataset, wishes, setting)
        plan = make_plan(problem, wishes, setting, start)
        folder = self._open_folder(wishes)
        try:
            outcome = conduct(plan, folder, retrain=self.refit, on_progress=self.on_progress)
            self._finish(outcome, plan, start)
            self._keep(folder)
        finally:
            if folder is not None:
                folder.close()
        self._say_how_it_went(wishes)
        return self

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
        check_is_fitted(self)
        chosen = np.asarray(self.predict(X, sensitive) == self.classes_[1]).astype(np.int64)
        groups = self.pool_.groups
        _, cells = read_new_rows(
            X, sensitive, schema=self.pool_.schema, groups=groups, unseen="base_model"
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
        check_is_fitted(self)
        if max_gap is None and min_score is None:
            raise InputError("select needs max_gap=, min_score= or both")
        check_share("max_gap", max_gap)
        other = copy.copy(self)
        other._serve(self.pool_.select(max_gap=max_gap, min_score=min_score))
        return other

    def check_parameters(self) -> Wishes:
        """Return the parameters as the search will read them; nothing is fitted.

        Raises
        ------
        ParameterError
            One of them is wrong.
        UnknownNameError
            A metric, learner, mitigator, strategy, allocator or executor does not exist.
        """
        seconds, trials = check_budget(self.time_budget, self.n_trials)
        return Wishes(
            constraints=check_constraints(self.constraint),
            objective=check_objective(self.objective),
            time_budget=seconds,
            n_trials=trials,
            learners=check_names("learners", self.learners, REGISTRIES["learners"]),
            mitigators=check_names("mitigators", self.mitigators, REGISTRIES["mitigators"]),
            strategy=check_name("strategy", self.strategy, REGISTRIES["strategy"]),
            allocator=check_name("allocator", self.allocator, REGISTRIES["allocator"]),
            executor=check_name("executor", self.executor, REGISTRIES["executor"]),
            n_workers=check_workers(self.n_jobs),
            n_folds=check_count("n_folds", self.n_folds, least=2),
            seed=check_seed(self.random_state),
        )

    def _setting(self) -> Setting:
        check_choice("unseen_group", self.unseen_group, ("error", "base_model"))
        return Setting(sensitive_at_predict=self.sensitive_at_predict, randomized=self.randomized)

    def _border(self, sensitive: Any) -> BorderOptions:
        named = isinstance(sensitive, str) or (
            isinstance(sensitive, list) and all(isinstance(name, str) for name in sensitive)
        )
        blind = named and not self.sensitive_at_predict
        return BorderOptions(
            pos_label=self.pos_label,
            sensitive_missing=self.sensitive_missing,  # type: ignore[arg-type]
            sensitive_in_X="drop" if blind else self.sensitive_in_X,  # type: ignore[arg-type]
            max_groups=self.max_groups,
            on_nonfinite=self.on_nonfinite,  # type: ignore[arg-type]
            align=self.align,  # type: ignore[arg-type]
        )

    def _remember_names(self, X: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            validate_data(self, X=X, skip_check_array=True)

    def _open_folder(self, wishes: Wishes) -> RunFolder | None:
        if self.run_dir is None:
            return None
        folder = RunFolder(Path(self.run_dir), overwrite=self.overwrite)
        plain = {
            name: value
            for name, value in self.get_params(deep=False).items()
            if isinstance(value, str | int | float | bool | list | type(None))
        }
        constraints = [constraint.label for constraint in wishes.constraints]
        folder.write_json("config.json", {**plain, "constraint": constraints, "seed": wishes.seed})
        return folder

    def _finish(self, outcome: Outcome, plan: RunPlan, start: float) -> None:
        """Set what ``fit`` leaves; training rows are let go."""
        self.pool_ = outcome.pool
        self.interrupted_ = outcome.interrupted
        self.classes_ = outcome.pool.classes
        self.seed_ = plan.seed
        self.notes_ = plan.problem.dataset.notes
        self._serve(outcome.pool.best)
        self.trials_ = trials_frame(outcome.history)
        self.leaderboard_ = outcome.pool.board.frame()
        self.pareto_front_ = outcome.pool.board.front_of(self.leaderboard_)
        seconds = time.monotonic() - start
        self.summary_ = run_summary(outcome.history, plan, self.best_entry_, seconds)

    def _keep(self, folder: RunFolder | None) -> None:
        """Write what a run folder keeps; the model last."""
        if folder is None:
            return
        table = self.leaderboard_
        folder.write("leaderboard.csv", lambda path: write_csv(table, path))
        folder.write("leaderboard.json", lambda path: table.to_json(path, orient="records"))
        folder.write_json("summary.json", self.summary_)
        stored = copy.copy(self)
        stored.on_progress = None
        folder.write_model(stored, {"best": self.summary_["best"]})

    def _say_how_it_went(self, wishes: Wishes) -> None:
        entry = self.best_entry_
        if entry.candidate == BASELINE:
            msg = (
                "only the baseline (everybody gets the class share) finished; "
                "give a larger time_budget or look at trials_"
            )
            warnings.warn(msg, DegradedWarning, stacklevel=3)
        if self.feasible_ or not wishes.constraints:
            return
        worst = max(entry.measures, key=lambda m: m.gap - m.limit)
        found = worst.reason if worst.value is None else f"{worst.value:.4f}"
        msg = (
            f"no model meets {' and '.join(c.label for c in wishes.constraints)} on the search "
            f"rows; the least unfair one is kept: {worst.metric} on {worst.system!r} is {found}. "
            "Give more time or rows, a looser bound, or fewer groups; leaderboard_ has the front"
        )
        if self.strict:
            raise NoFeasibleModelError(msg)
        warnings.warn(msg, NoFeasibleModelWarning, stacklevel=3)

    def _serve(self, entry: Entry) -> None:
        self.best_entry_ = entry
        self.feasible_ = entry.feasible
        self.model_ = self.pool_.classifier(entry)

    def _read(self, X: Any, sensitive: Any) -> tuple[Any, NDArray[np.int32]]:
        model = self.model_
        return read_new_rows(
            X,
            sensitive,
            schema=model.schema,
            groups=model.groups if model.needs_sensitive else None,
            unseen=self.unseen_group,  # type: ignore[arg-type]
        )

    def __sklearn_tags__(self) -> Tags:
        """Binary targets only; missing values and sparse matrices are fine."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.non_deterministic = self.n_trials is None or self.time_budget is not None
        return tags
