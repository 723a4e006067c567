"""The estimator: ``FairAutoML(constraint=...).fit(X, y, sensitive)``.

Not the code of the paper of the same name (Wu, Wang, arXiv 2111.06495).
"""

import copy
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags

from fairautoml.data.border import build_dataset
from fairautoml.data.dataset import Dataset
from fairautoml.exceptions import DegradedWarning, NoFeasibleModelError
from fairautoml.keeping import (
    Earlier,
    Place,
    begin,
    keep_model,
    place_of,
    write_config,
)
from fairautoml.options import Wishes, check_wishes
from fairautoml.outcome import (
    ConstantClassifier,
    Outcome,
    conduct,
    constant_classifier,
    finish_of,
    say_how_it_went,
)
from fairautoml.planning import make_plan
from fairautoml.posing import Setting, border_options, make_problem
from fairautoml.run import OnProgress, RunPlan
from fairautoml.serving import Served, own_settings
from fairautoml.store import RunFolder
from fairautoml.summary import margin_notes, run_summary, trials_frame


class FairAutoML(Served, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
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
        Seconds that ``fit`` may take, hard; 60 with neither ``time_budget`` nor ``n_trials``, as
        ``summary_["time_budget"]`` then says.
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
        models. Smaller and faster, but its rule was fitted for the fold models, and no ensemble
        is made.
    assemble : bool, default=True
        Average several trials where that is better than the best one alone.
    max_models : int or None, default=8
        Trials in an ensemble at the most; None = no limit. New rows cost as many predictions.
    confidence : "auto", float or None, default="auto"
        How sure it must be that the constraint holds on new people. ``"auto"`` weighs the score
        against the risk (a broken constraint makes a model worth as little as one decision for
        everybody); a number in (0.5, 1) is the least probability; None asks for the bound on the
        search rows only. See ``summary_["margin"]``; an estimate, no certificate.
    strict : bool, default=False
        Raise ``NoFeasibleModelError`` when no model meets the constraint.
    strategy, allocator, executor : str, default="auto"
        Registered names.
    scheduler : str or None, default=None
        Address of a cluster's scheduler, for ``executor="dask"``.
    memory_limit : float or None, default=None
        Memory that one trial may take, MiB, besides the table itself; None = a fair share of what
        the machine has to give.
    n_jobs : int or None, default=None
        Trials at the same time, one thread each; -1 = one per core; None = 1, or all threads of a
        cluster.
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
        Called with a ``Progress`` after each trial.
    random_state : int, RandomState, Generator or None, default=None
        Seed; None draws one, see ``seed_``.

    Attributes
    ----------
    leaderboard_ : DataFrame
        One row per classifier: the served one, then the others, best first.
    pareto_front_ : DataFrame
        The rows that no other beats in objective and gap, fairest first.
    trials_ : DataFrame
        One row per trial with its status; failures say why.
    best_entry_ : Entry
        The entry that is served.
    notes_ : tuple of str
        What was done to the data that the user should know.
    summary_ : dict
        Figures of the run: trials, seconds, budget, overhead, margin, best entry.
    feasible_ : bool
        Whether it meets the constraint on the search rows (cross-fitted).
    interrupted_ : bool
        Whether the user ended the search.
    positive_class_ : label or None
        The class that ``pos_label`` names; None when ``fit`` has seen one class only.
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
        assemble: bool = True,
        max_models: int | None = 8,
        confidence: str | float | None = "auto",
        strict: bool = False,
        strategy: str = "auto",
        allocator: str = "auto",
        executor: str = "auto",
        scheduler: str | None = None,
        memory_limit: float | None = None,
        n_jobs: int | None = None,
        n_folds: int = 5,
        pos_label: Any = None,
        sensitive_missing: str = "error",
        unseen_group: str = "error",
        sensitive_in_X: str = "warn",
        max_groups: int = 50,
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
        self.on_nonfinite = on_nonfinite
        self.on_degenerate = on_degenerate
        self.align = align
        self.run_dir = run_dir
        self.overwrite = overwrite
        self.resume = resume
        self.storage = storage
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
        wishes, options = self.check_parameters(), border_options(self, sensitive)
        constant = None
        if self.on_degenerate == "constant":
            constant = constant_classifier(X, y, options.on_nonfinite)
        if constant is not None:
            self._remember_names(constant.schema)
            self._be_constant(constant, wishes)
            return self
        dataset = build_dataset(X, y, sensitive, sample_weight, options=options)
        self._remember_names(dataset.schema)
        self._search(dataset, wishes, start)
        return self

    def check_parameters(self) -> Wishes:
        """Return the parameters as the search will read them; nothing is fitted.

        Raises
        ------
        ParameterError
            One of them is wrong.
        UnknownNameError
            A metric, learner, mitigator, strategy, allocator or executor does not exist.
        """
        wishes = check_wishes(self)
        self._place()
        return wishes

    def _search(self, dataset: Dataset, wishes: Wishes, start: float) -> None:
        setting = Setting(
            sensitive_at_predict=self.sensitive_at_predict,
            randomized=self.randomized,
            refit=self.refit,
        )
        with ExitStack() as stack:
            place = self._place()
            earlier = Earlier(place) if place is not None and self.resume else None
            if earlier is not None:
                stack.callback(earlier.folder.close)
                start -= earlier.past.seconds
                if self.random_state is None:
                    wishes = replace(wishes, seed=earlier.past.seed)
            plan = make_plan(make_problem(dataset, wishes, setting), wishes, setting, start)
            keeper = begin(
                plan, earlier if earlier is not None else place, self._parameters(wishes)
            )
            if keeper is not None:
                stack.callback(keeper.close)
            with own_settings():
                outcome = conduct(
                    plan,
                    keeper,
                    finish=finish_of(wishes, start),
                    retrain=self.refit,
                    on_progress=self.on_progress,
                )
            self._finish(outcome, plan, wishes, start)
            if keeper is not None:
                keeper.finish(self._stored(), self.leaderboard_, self.summary_)
        say_how_it_went(outcome, plan, wishes, feasible=self.feasible_, strict=self.strict)

    def _place(self) -> Place | None:
        return place_of(
            self.run_dir, overwrite=self.overwrite, resume=self.resume, storage=self.storage
        )

    def _parameters(self, wishes: Wishes) -> dict[str, Any]:
        constraints = [constraint.label for constraint in wishes.constraints]
        return {**self.get_params(deep=False), "constraint": constraints}

    def _finish(self, outcome: Outcome, plan: RunPlan, wishes: Wishes, start: float) -> None:
        """Set what ``fit`` leaves; training rows are let go."""
        self.pool_ = outcome.pool
        self.interrupted_ = outcome.interrupted
        self.classes_ = np.sort(outcome.pool.classes)
        self.positive_class_ = outcome.pool.classes[1]
        self.seed_ = plan.seed
        self.notes_ = (*plan.problem.dataset.notes, *margin_notes(outcome.assembled.margin))
        self._applies = bool(plan.problem.goal.targets) or not wishes.constraints
        self._serve(outcome.pool, outcome.pool.best)
        self.trials_ = trials_frame(outcome.history)
        self.leaderboard_ = outcome.pool.board.frame()
        self.pareto_front_ = outcome.pool.board.front_of(self.leaderboard_)
        seconds, budget = time.monotonic() - start, wishes.time_budget
        self.summary_ = run_summary(
            outcome.history, plan, outcome.assembled, seconds=seconds, time_budget=budget
        )

    def _stored(self) -> Self:
        """Return what is written to the disk: no callback, no password."""
        stored = copy.copy(self)
        stored.on_progress = None
        place = self._place()
        stored.storage = None if place is None else place.storage
        return stored

    def _be_constant(self, model: ConstantClassifier, wishes: Wishes) -> None:
        """Set what ``fit`` leaves when there is nothing to search."""
        self.pool_, self.best_entry_ = None, None
        self.model_ = model
        self.classes_ = model.classes
        self.positive_class_ = None
        self.feasible_ = self.interrupted_ = False
        self.seed_ = wishes.seed
        self.trials_ = self.leaderboard_ = self.pareto_front_ = pd.DataFrame()
        self.summary_ = {"n_trials": 0, "best": None}
        label = model.classes.tolist()[0]
        note = (
            f"y has only 1 class: {label!r}; predict always answers with it, and no constraint "
            "can be judged (NOT_APPLICABLE)"
        )
        self.notes_ = (*model.schema.notes, note)
        place = self._place()
        if place is not None:
            folder = RunFolder(place.path, overwrite=self.overwrite)
            write_config(folder, self._parameters(wishes), place, wishes.seed)
            keep_model(folder, self._stored(), self.leaderboard_, self.summary_)
            folder.close()
        if self.strict and wishes.constraints:
            raise NoFeasibleModelError(f"{note}; give rows of both classes")
        warnings.warn(note, DegradedWarning, stacklevel=3)

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
