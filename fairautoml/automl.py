"""The estimators: ``FairAutoML`` and ``FairAutoMLRegressor``.

Not the code of the paper of the same name (Wu, Wang, arXiv 2111.06495).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Self

from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags

from fairautoml.data.frames import Inputs, align_inputs
from fairautoml.data.target import TaskOption, check_given
from fairautoml.evaluation.postprocess import OnProgress
from fairautoml.exceptions import ParameterError
from fairautoml.inference.predictor import constant_classifier
from fairautoml.pipeline import FitMixin
from fairautoml.plan import read_options_of
from fairautoml.settings import Settings, validate_settings


class Estimator(FitMixin):
    """Parameters and ``fit`` of both estimators."""

    task_option: TaskOption = "auto"
    set_params: Callable[..., Any]

    __metadata_request__fit = {"sensitive": True}  # noqa: RUF012

    def __init__(
        self,
        constraint: Any = None,
        *,
        objective: str = "auto",
        time_budget: float | None = None,
        n_trials: int | None = None,
        learners: Sequence[str] | None = None,
        mitigators: Sequence[str] | None = None,
        sensitive_at_predict: bool = True,
        randomized: bool = False,
        refit: bool = False,
        assemble: bool = True,
        max_models: int | None = 8,
        confidence: str | float | None = "auto",
        strict: bool = False,
        strategy: str = "auto",
        allocator: str = "auto",
        executor: str = "auto",
        scheduler: str | None = None,
        memory_limit: float | None = None,
        n_jobs: int | None = -1,
        n_folds: int = 5,
        pos_label: Any = None,
        sensitive_missing: str = "error",
        unseen_group: str = "error",
        sensitive_in_X: str = "warn",
        max_groups: int = 50,
        sensitive_bins: Any = None,
        on_nonfinite: str = "error",
        on_degenerate: str = "error",
        align: str = "error",
        run_dir: str | Path | None = None,
        overwrite: bool = False,
        resume: bool = False,
        storage: str | None = None,
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
        self.assemble = assemble
        self.max_models = max_models
        self.confidence = confidence
        self.strict = strict
        self.strategy = strategy
        self.allocator = allocator
        self.executor = executor
        self.scheduler = scheduler
        self.memory_limit = memory_limit
        self.n_jobs = n_jobs
        self.n_folds = n_folds
        self.pos_label = pos_label
        self.sensitive_missing = sensitive_missing
        self.unseen_group = unseen_group
        self.sensitive_in_X = sensitive_in_X
        self.max_groups = max_groups
        self.sensitive_bins = sensitive_bins
        self.on_nonfinite = on_nonfinite
        self.on_degenerate = on_degenerate
        self.align = align
        self.run_dir = run_dir
        self.overwrite = overwrite
        self.resume = resume
        self.storage = storage
        self.on_progress = on_progress
        self.random_state = random_state

    def fit(
        self,
        X: Any,
        y: Any,
        sensitive: Any = None,
        sample_weight: Any = None,
        groups: Any = None,
        proxies: Any = None,
        proxy_errors: Any = None,
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

        Returns
        -------
        Self

        Raises
        ------
        InputError
            The input is invalid; raised before the first trial.
        NoFeasibleModelError
            With ``strict=True``: no model met the constraint.
        """
        start = monotonic()
        check_given(y)
        settings, options = self.check_parameters(), read_options_of(self)
        constant = None
        if self.on_degenerate == "constant" and self.task_option != "regression":
            constant = constant_classifier(X, y, options.on_nonfinite, extras=(groups,))
        if constant is not None:
            self._remember_names(constant.schema)
            self._fit_constant(constant, settings)
            return self
        given = Inputs(
            X=X,
            y=y,
            sensitive=sensitive,
            sample_weight=sample_weight,
            groups=groups,
            proxies=proxies,
        )
        self._search(align_inputs(given, options.align), settings, options, start, proxy_errors)
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
        self._place()
        return settings

    def _allowed(self, tags: Tags) -> Tags:
        """Return the tags of the accepted input."""
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.non_deterministic = self.n_trials is None or self.time_budget is not None
        return tags


class FairAutoML(Estimator, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Search for the best classifier that meets a fairness constraint.

    For two classes or more; with several, every class counts against all others in a constraint,
    and no certificate is issued. For numbers see ``FairAutoMLRegressor``.

    Parameters
    ----------
    constraint : str, Constraint, list of these, or None, default=None
        For example ``"equalized_odds_difference <= 0.05"`` or
        ``"demographic_parity_ratio >= 0.8"``; it applies to every sensitive column and, with
        several, to their intersection. ``"demographic_parity_difference[sex] <= 0.05"`` applies
        to one of them. None = AutoML without fairness.
    objective : str, default="auto"
        Performance metric to optimize; ``"auto"`` = ``"accuracy"``.
    time_budget : float or None, default=None
        Seconds that ``fit`` may take, kept within 3 s or 5 %; 60 if neither it nor ``n_trials``
        is given, see ``summary_["time_budget"]``.
    n_trials : int or None, default=None
        Number of trials, the baseline included; reproducible for any ``n_jobs``, except with
        methods that read run times (``flaml_eci``, ``blendsearch``, ``cost_aware``,
        ``cost_aware_simple``).
    learners, mitigators : list of str or None, default=None
        Registered names to search over; None = all that fit the data and the constraint.
    sensitive_at_predict : bool, default=True
        False: the model must not need the sensitive column of new rows; sensitive columns named
        in ``X`` are then not features either.
    randomized : bool, default=False
        Allow rules that randomize within a group; equal rows still get equal decisions.
    refit : bool, default=False
        Train the selected configuration once more on all rows instead of averaging its fold
        models. Smaller and faster, but the rule was fitted to the fold models, and no ensemble is
        built. Skipped with a warning if it would exceed ``time_budget``.
    assemble : bool, default=True
        Average several trials if that is better than the best one alone.
    max_models : int or None, default=8
        Largest number of trials in an ensemble; None = no limit. The cost of a prediction grows
        with it.
    confidence : "auto", float or None, default="auto"
        Required probability that the constraint holds on new rows. ``"auto"`` trades the score
        against the risk on as many new rows as were searched (a model that violates the
        constraint is valued like a constant predictor); a number in (0.5, 1) is the least
        probability, also on the fewer rows of a 30 % hold-out (3 for 7 that were searched); None
        applies the bound to the search rows only. See ``summary_["margin"]``. This is an
        estimate, not a certificate: see ``certify``.
    strict : bool, default=False
        Raise ``NoFeasibleModelError`` when no model meets the constraint.
    strategy, allocator, executor : str, default="auto"
        Registered names.
    scheduler : str or None, default=None
        Address of a cluster's scheduler, for ``executor="dask"``.
    memory_limit : float or None, default=None
        Memory that one trial may take, MiB, besides the table itself; None = an equal share of
        the available memory.
    n_jobs : int or None, default=-1
        Concurrent trials, one thread each. -1 = one per core that this process may use (affinity,
        limits of a container), or one at a time if starting processes would take longer; None =
        1; on a cluster, both mean all threads. At most 8 with ``n_trials`` alone.
    n_folds : int, default=5
        Cross-validation folds.
    pos_label : label or None, default=None
        The positive class; None = the label that is sorted last.
    sensitive_missing : {"error", "own_group", "exclude"}, default="error"
        How a missing sensitive value is handled.
    unseen_group : {"error", "base_model"}, default="error"
        Whether ``predict`` rejects a group that ``fit`` has not seen, or applies the common
        threshold.
    sensitive_in_X : {"warn", "drop", "allow"}, default="warn"
        How features that reveal the sensitive column are handled.
    max_groups : int, default=50
        Largest number of groups of one sensitive column.
    sensitive_bins : dict of str to list of float or "quantiles", or None, default=None
        Cut points of numeric sensitive columns: ``{"age": [25, 60]}`` makes the groups age<=25,
        25<age<=60 and age>60. A number without bins is constrained by ``"gedi[age] <= 0.1"``.
    on_nonfinite : {"error", "impute"}, default="error"
        How infinite features are handled.
    on_degenerate : {"error", "constant"}, default="error"
        Whether a ``y`` of one class is rejected, or ``predict`` always returns that class.
    align : {"error", "index"}, default="error"
        How different pandas indices are handled.
    run_dir : str, Path or None, default=None
        Folder that stores the run; None = nothing is stored on disk.
    overwrite : bool, default=False
        Replace a previous run in ``run_dir``.
    resume : bool, default=False
        Continue the run in ``run_dir``, however it ended: data, constraint and search must be the
        same; the budget may be larger and includes what was used before.
    storage : str or None, default=None
        Address of a PostgreSQL database that records the trials,
        ``"postgresql+psycopg://user@host/database"``; None = ``study.db`` in ``run_dir``.
    on_progress : callable or None, default=None
        Called with a ``Progress`` after each trial; an error in it ends only the calls.
    random_state : int, RandomState, Generator or None, default=None
        Seed; None draws one, see ``seed_``.

    Attributes
    ----------
    leaderboard_ : DataFrame
        One row per classifier: the selected one, then the others, best first.
    pareto_front_ : DataFrame
        Rows that are not dominated in objective and largest constraint violation, fairest first.
    trials_ : DataFrame
        One row per trial with its status and, for a failure, its reason.
    best_entry_ : Entry
        The selected entry.
    certificate_ : Certificate or None
        What ``certify`` found last for the selected model; None before.
    notes_ : tuple of str
        Notes for the user: first groups with a single decision, then changes of the data.
    proxies_ : GuessedGroups or None
        Error rates of the proxies, bounds on the groups, and the corrected gap of the selected
        model.
    summary_ : dict
        Figures of the run: trials, seconds, budget, overhead, margin, best entry; ``headline``,
        the selected model, its cost in score and the probability that the bound holds.
    feasible_ : bool
        Whether the selected model meets the constraint on the search rows, cross-fitted and as
        deployed, and is not constant.
    interrupted_ : bool
        Whether the user ended the search.
    positive_class_ : label or None
        Label that counts as accepted: ``pos_label``, or the last one; None unless ``fit`` has
        seen two classes.
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
    >>> model = model.fit(table.drop(columns="repaid"), table["repaid"], "sex")
    >>> model.predict(table.drop(columns="repaid")).shape
    (600,)
    """

    def __sklearn_tags__(self) -> Tags:
        """Return the tags of scikit-learn."""
        return self._allowed(super().__sklearn_tags__())


class FairAutoMLRegressor(Estimator, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Search for the best regressor that meets a fairness constraint.

    Parameters are those of ``FairAutoML``, with these differences.

    Parameters
    ----------
    constraint : str, Constraint, list of these, or None, default=None
        ``"mean_difference <= 500"`` (gap of the groups' mean predictions, in units of ``y``),
        ``"distribution_gap <= 0.1"`` (Kolmogorov-Smirnov distance of their predictions) or
        ``"bounded_group_loss <= 2.0"`` (largest mean squared error of a group).
    objective : {"auto", "r2", "rmse", "mae"}, default="auto"
        ``"auto"`` = ``"r2"``.
    pos_label, on_degenerate
        Ignored in regression; ``pos_label`` must be None.

    Attributes
    ----------
    leaderboard_, pareto_front_, trials_, best_entry_, notes_, summary_, feasible_
        As for ``FairAutoML``; ``certify`` never finds CERTIFIED, because no exact test exists.

    Examples
    --------
    >>> from fairautoml import FairAutoMLRegressor
    >>> from fairautoml.data import load
    >>> table = load("lending").frame.head(600)
    >>> model = FairAutoMLRegressor(
    ...     constraint="mean_difference <= 1.0", n_trials=2, random_state=0
    ... )
    >>> model = model.fit(table.drop(columns=["repaid", "income"]), table["income"], "sex")
    >>> model.predict(table.drop(columns=["repaid", "income"])).shape
    (600,)
    """

    task_option = "regression"

    def __sklearn_tags__(self) -> Tags:
        """Return the tags of scikit-learn."""
        return self._allowed(super().__sklearn_tags__())
