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
    """The parameters that both estimators have, and ``fit``."""

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
        certify: str | bool | float = False,
        min_score: float | None = None,
        delta: float = 0.05,
        openings: str = "single",
        split: str = "random",
        ledger: str | Path | None = None,
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
        self.certify = certify
        self.min_score = min_score
        self.delta = delta
        self.openings = openings
        self.split = split
        self.ledger = ledger
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
        time: Any = None,
        proxies: Any = None,
        proxy_errors: Any = None,
    ) -> Self:
        """Search, choose, and keep the best model that meets the constraint.

        Parameters
        ----------
        X : DataFrame, array or sparse matrix, shape (n_rows, n_features)
            Features; categories and missing values as they are.
        y : array-like, shape (n_rows,)
            Two classes or more; numbers for ``FairAutoMLRegressor``.
        sensitive : array-like, DataFrame, dict, str or list of str, optional
            Group labels, one per row; several columns; or name(s) of columns of ``X``. A DataFrame
            of indicators in a dict, ``{"identity": table}``, is groups that may overlap.
        sample_weight : array-like, shape (n_rows,), optional
            Weights of objective, rates and training.
        groups : array-like, shape (n_rows,), or str, optional
            Whose row it is, or the name of that column of ``X``, which is no feature then: all
            rows of one person are set aside or none, and are in one fold.
        time : array-like, shape (n_rows,), or str, optional
            When it was, for ``split="time"``; numbers or dates (texts as 2020-01-31), or the name
            of that column of ``X``, which is no feature then.
        proxies, proxy_errors : optional
            In place of ``sensitive``: three columns (or their names in ``X``) that guess one of
            two groups, or one with P(it says b | true group a), shape (2, 2); see ``proxies_``.

        Returns
        -------
        Self

        Raises
        ------
        InputError
            Something cannot be used; raised before the first trial.
        NoFeasibleModelError
            With ``strict=True``: no model met the constraint.
        """
        start = monotonic()
        check_given(y)
        settings, options = self.check_parameters(), read_options_of(self)
        constant = None
        if self.on_degenerate == "constant" and self.task_option != "regression":
            constant = constant_classifier(X, y, options.on_nonfinite, extras=(groups, time))
        if constant is not None:
            self._remember_names(constant.schema)
            self._fit_constant(constant, settings)
            return self
        given = Inputs(
            X=X, y=y, sensitive=sensitive, sample_weight=sample_weight, groups=groups, time=time,
            proxies=proxies,
        )  # fmt: skip
        self._search(align_inputs(given, options.align), settings, options, start, proxy_errors)
        return self

    def check_parameters(self) -> Settings:
        """Return the parameters as the search will read them; nothing is fitted.

        Raises
        ------
        ParameterError
            One of them is wrong.
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
        """Return tags that say what the border takes."""
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
        ``"demographic_parity_ratio >= 0.8"``; it speaks about every sensitive column and, with
        several, their intersection. ``"demographic_parity_difference[sex] <= 0.05"`` speaks about
        one of them. None = AutoML without fairness.
    objective : str, default="auto"
        Performance metric to be as good as possible; ``"auto"`` = ``"accuracy"``.
    time_budget : float or None, default=None
        Seconds that ``fit`` may take, kept within 3 s or 5 %; 60 with neither it nor
        ``n_trials``, as ``summary_["time_budget"]`` then says.
    n_trials : int or None, default=None
        Number of trials, the baseline included; reproducible for any ``n_jobs``, but where
        seconds decide (``flaml_eci``, ``blendsearch``, ``cost_aware``, ``cost_aware_simple``).
    learners, mitigators : list of str or None, default=None
        Registered names to search over; None = all that fit the data and the constraint.
    sensitive_at_predict : bool, default=True
        False: the winner must not need the sensitive column of new rows; sensitive columns named
        in ``X`` are then no features either.
    randomized : bool, default=False
        Allow rules that decide at random within a group; a row still always gets one decision.
    refit : bool, default=False
        Train the chosen candidate once more on all rows instead of serving the mean of its fold
        models. Smaller and faster, but its rule was fitted for the fold models, and no ensemble
        is made. Left out with a warning where it would take more time than ``time_budget`` has.
    assemble : bool, default=True
        Average several trials where that is better than the best one alone.
    max_models : int or None, default=8
        Trials in an ensemble at the most; None = no limit. New rows cost as many predictions.
    confidence : "auto", float or None, default="auto"
        How sure it must be that the constraint holds on new people. ``"auto"`` weighs the score
        against the risk on as many as were searched (a broken constraint makes a model worth as
        little as one decision for everybody); a number in (0.5, 1) is the least probability, also
        on as few as a 30 % check holds out (3 for 7 that were searched); None asks for the bound
        on the search rows only. See ``summary_["margin"]``; no certificate.
    certify : "auto", bool or float, default=False
        Whether rows are set aside, unseen by the search, for a certificate: True, False, the
        share of the rows (at most 0.5), or ``"auto"``: as many as the plan says, none where the
        power would be below a half or rows were opened before. What is served is then the last
        that passes of a few entries from the fairest to the one chosen; where none does, the
        chosen one, with its verdict.
    min_score : float or None, default=None
        Accuracy that is certified in the same pass.
    delta : float, default=0.05
        Probability with which the certificate may err.
    openings : {"single", "ledger"}, default="single"
        One certificate for the same rows; or several fits share ``delta`` until one is certified.
    split : {"random", "time"}, default="random"
        How rows are set aside: at random within the groups, or the last ones by ``time``, which
        is validated on later data and never certified.
    ledger : str, Path or None, default=None
        File that remembers which rows were opened; None = the user's own, for all tables with
        these columns (``FAIRAUTOML_STATE_HOME``), so that another ``run_dir`` forgets nothing.
    strict : bool, default=False
        Raise ``NoFeasibleModelError`` when no model meets the constraint.
    strategy, allocator, executor : str, default="auto"
        Registered names.
    scheduler : str or None, default=None
        Address of a cluster's scheduler, for ``executor="dask"``.
    memory_limit : float or None, default=None
        Memory that one trial may take, MiB, besides the table itself; None = a fair share of what
        the machine has to give.
    n_jobs : int or None, default=-1
        Trials at the same time, one thread each. -1 = one per core that this process may use
        (affinity, limits of a container), or one at a time where starting processes would take
        longer; None = 1; both mean all threads of a cluster. Under ``n_trials`` alone at most 8.
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
    sensitive_bins : dict of str to list of float or "quantiles", or None, default=None
        Sensitive columns of numbers to cut into groups, and where: ``{"age": [25, 60]}`` makes
        age<=25, 25<age<=60 and age>60. A number that is not cut is constrained by
        ``"gedi[age] <= 0.1"``.
    on_nonfinite : {"error", "impute"}, default="error"
        What to do with infinite features.
    on_degenerate : {"error", "constant"}, default="error"
        A ``y`` of one class is refused, or ``predict`` always answers with it.
    align : {"error", "index"}, default="error"
        What to do with different pandas indices.
    run_dir : str, Path or None, default=None
        Folder that keeps the run; None = nothing is kept on disk.
    overwrite : bool, default=False
        Replace an earlier run in ``run_dir``.
    resume : bool, default=False
        Go on with the run in ``run_dir``, however it ended: data, constraint and search must be
        the same, the budget may be larger and counts what was used before.
    storage : str or None, default=None
        Address of a PostgreSQL database that records the trials,
        ``"postgresql+psycopg://user@host/database"``; None = ``study.db`` in ``run_dir``.
    on_progress : callable or None, default=None
        Called with a ``Progress`` after each trial; an error in it ends nothing but the calls.
    random_state : int, RandomState, Generator or None, default=None
        Seed; None draws one, see ``seed_``.

    Attributes
    ----------
    leaderboard_ : DataFrame
        One row per classifier: the served one, then the others, best first.
    pareto_front_ : DataFrame
        The rows that no other beats in objective and largest excess over a limit, fairest first.
    trials_ : DataFrame
        One row per trial with its status; failures say why.
    best_entry_ : Entry
        The entry that is served.
    certificate_ : Certificate
        What may be said of it about unseen people, and why not more.
    notes_ : tuple of str
        What the user should know: groups that get one decision first, then what was done to the
        data.
    proxies_ : GuessedGroups or None
        How the proxies err, bounds on their groups, and the corrected gap of what is served.
    summary_ : dict
        Figures of the run: trials, seconds, budget, overhead, margin, best entry; ``headline``,
        what is served, its price and how likely the bound holds.
    feasible_ : bool
        Whether it meets the constraint on the search rows, cross-fitted and as deployed, and is
        not constant.
    interrupted_ : bool
        Whether the user ended the search.
    positive_class_ : label or None
        What accepted means: ``pos_label``, or the last; None unless ``fit`` has seen two classes.
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
        """Missing values and sparse matrices are fine."""
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
        Of no use here.

    Attributes
    ----------
    leaderboard_, pareto_front_, trials_, best_entry_, notes_, summary_, feasible_
        As for ``FairAutoML``; ``certificate_`` is never CERTIFIED, since there is no exact test.

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
        """Missing values and sparse matrices are fine."""
        return self._allowed(super().__sklearn_tags__())
