"""The estimators: ``FairAutoML`` and ``FairAutoMLRegressor``.

Not the code of the paper of the same name (Wu, Wang, arXiv 2111.06495).
"""

from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Self

from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags

from fairautoml.data.frames import Inputs, check_same_index
from fairautoml.data.target import TaskOption, check_given
from fairautoml.evaluation.postprocess import OnProgress
from fairautoml.exceptions import ParameterError
from fairautoml.pipeline import FitMixin
from fairautoml.plan import read_options_of
from fairautoml.run_files import locate
from fairautoml.settings import (
    Dask,
    GroupPolicy,
    LocalProcesses,
    RunStorage,
    Settings,
    one_sensitive,
    refuse_removed,
    renamed,
    validate_settings,
)


class Estimator(FitMixin):
    """Parameters and ``fit`` of both estimators."""

    task_option: TaskOption = "auto"

    __metadata_request__fit = {"sensitive": True, "sensitive_features": False}  # noqa: RUF012

    @refuse_removed
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
        strategy: str = "auto",
        allocator: str = "auto",
        executor: str | LocalProcesses | Dask = "auto",
        n_jobs: int | None = -1,
        cv: int = 5,
        ensemble: int = 8,
        refit: bool = False,
        confidence: str | float | None = "auto",
        group_policy: GroupPolicy | None = None,
        pos_label: Any = None,
        run_dir: str | Path | RunStorage | None = None,
        callbacks: OnProgress | Sequence[OnProgress] | None = None,
        random_state: Any = None,
        certify: str | bool | float = False,
        min_score: float | None = None,
        delta: float = 0.05,
        openings: str = "single",
        split: str = "random",
        ledger: str | Path | None = None,
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
        self.certify = certify
        self.min_score = min_score
        self.delta = delta
        self.openings = openings
        self.split = split
        self.ledger = ledger

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
        if removed := renamed(params, self.get_params(deep=False)):
            raise ValueError(removed)
        found: Self = super().set_params(**params)  # type: ignore[misc]
        return found

    def fit(
        self,
        X: Any,
        y: Any,
        sensitive: Any = None,
        sample_weight: Any = None,
        groups: Any = None,
        time: Any = None,
        proxies: Any = None,
        proxy_errors: Any = None,
        *,
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
            is then not a feature: all rows of one entity are in one fold, and held out together.
        time : array-like, shape (n_rows,), or str, optional
            Time of each row, for ``split="time"``: numbers or dates (strings as 2020-01-31), or
            the name of that column of ``X``, which is then not a feature.
        proxies, proxy_errors : optional
            Instead of ``sensitive``: three columns (or their names in ``X``) of noisy labels of
            two groups, or one such column with P(label b | true group a), shape (2, 2); see
            ``proxies_``.
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
        given = Inputs(
            X=X, y=y, sensitive=sensitive, sample_weight=sample_weight, groups=groups, time=time,
            proxies=proxies,
        )  # fmt: skip
        check_same_index(given)
        self._search(given, settings, read_options_of(settings), start, proxy_errors)
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
        locate(settings.storage)
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
        Registered names to search over; None = all that fit the data and the constraint. Rules
        that decide at random within a group are used only if such a mitigator is named here, for
        example ``"randomized_thresholds"``; equal rows still get equal decisions.
    sensitive_at_predict : bool, default=True
        False: the model must not need the sensitive column of new rows; sensitive columns named
        in ``X`` are then not features either.
    strategy, allocator : str, default="auto"
        Registered names.
    executor : str, LocalProcesses or Dask, default="auto"
        Where trials run: a registered name, ``LocalProcesses(memory_limit=2000)`` or
        ``Dask("tcp://host:8786")``.
    n_jobs : int or None, default=-1
        Concurrent trials, one thread each. -1 = one per core that this process may use (affinity,
        limits of a container), or one at a time if starting processes would take longer; None =
        1; on a cluster, both mean all threads. At most 8 with ``n_trials`` alone.
    cv : int, default=5
        Cross-validation folds.
    ensemble : int, default=8
        Largest number of trials that are averaged, if that is better than the best one alone; 0 =
        no ensemble. The cost of a prediction grows with it.
    refit : bool, default=False
        Train the selected configuration once more on all rows instead of averaging its fold
        models. Smaller and faster, but the rule was fitted to the fold models, and no ensemble is
        built. Skipped with a warning if it would exceed ``time_budget``.
    confidence : "auto", float or None, default="auto"
        Required probability that the constraint holds on new rows. ``"auto"`` trades the score
        against the risk on as many new rows as were searched (a model that violates the
        constraint is valued like a constant predictor); a number in (0.5, 1) is the least
        probability, also on the fewer rows of a 30 % hold-out (3 for 7 that were searched); None
        applies the bound to the search rows only. See ``summary_["margin"]``. This is an
        estimate, not a certificate.
    group_policy : GroupPolicy or None, default=None
        How missing, unseen and small groups are handled; None = ``GroupPolicy()``.
    pos_label : label or None, default=None
        The positive class; None = the label that is sorted last.
    run_dir : str, Path, RunStorage or None, default=None
        Folder that stores the run; ``RunStorage`` replaces or resumes a previous run there. None =
        nothing is stored on disk.
    callbacks : callable, list of callables or None, default=None
        Called with a ``Progress`` after each trial; one that raises is not called again.
    random_state : int, RandomState, Generator or None, default=None
        Seed; None draws one, see ``seed_``.
    certify : "auto", bool or float, default=False
        Whether rows are held out from the search for a certificate: True, False, the share of the
        rows (at most 0.5), or ``"auto"``: as many as the plan says, none if the power would be
        below a half or rows were opened before. A few entries, from the fairest to the selected
        one, are then tested in this order; the last that passes is selected. If none passes, the
        selected entry stays, with its verdict.
    min_score : float or None, default=None
        Accuracy to certify in the same test.
    delta : float, default=0.05
        Error probability of the certificate.
    openings : {"single", "ledger"}, default="single"
        One certificate for the same rows; or several fits share ``delta`` until one is certified.
    split : {"random", "time"}, default="random"
        How rows are held out: at random within the groups, or the last ones by ``time``, which
        validates on later data and never certifies.
    ledger : str, Path or None, default=None
        File that records which rows were opened; None = one file of the user for all tables with
        these columns (``FAIRAUTOML_STATE_HOME``), shared by all values of ``run_dir``.

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
    certificate_ : Certificate
        What is certified for the selected model on unseen rows, with the reason if nothing is.
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
    pos_label
        Must be None.

    Attributes
    ----------
    leaderboard_, pareto_front_, trials_, best_entry_, notes_, summary_, feasible_
        As for ``FairAutoML``; ``certificate_`` is never CERTIFIED, because no exact test exists.

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
