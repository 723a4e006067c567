"""The estimators: ``FairAutoML`` and ``FairAutoMLRegressor``.

Not the code of the paper of the same name (Wu, Wang, arXiv 2111.06495).
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from fairautoml.data.columns import Key, encode_levels
from fairautoml.data.frames import frame_columns, is_frame
from fairautoml.data.groups import GroupSchema, level_labels, read_sensitive
from fairautoml.data.target import known_labels, plain_numbers
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.explain import Explained
from fairautoml.inference.export import portable_form
from fairautoml.inference.predictor import isolated_config
from fairautoml.inference.restore import restored
from fairautoml.metrics.selected import Bounds, select_top_k
from fairautoml.monitoring.monitor import Deployed, monitor
from fairautoml.monitoring.result import Monitor
from fairautoml.run_files import read_models_of, restore_estimator
from fairautoml.runtime._file import resolved
from fairautoml.runtime._rows import key_of
from fairautoml.settings import GroupPolicy, check_constraints, file_to_write, one_sensitive
from fairautoml.storage.run_folder import (
    is_pickled,
    need_trust,
    read_pickle,
    read_records,
    reading,
)

FARTHEST = 36.0
"""Largest log-odds: further ones are probabilities of 0 or 1 in float64."""


class FairAutoML(ClassifierMixin, Explained):  # type: ignore[misc]
    """Search for the best classifier that meets a fairness constraint.

    For two classes or more; with several, every class counts against all others in a constraint,
    and no certificate is issued. For numbers see ``FairAutoMLRegressor``.

    Parameters
    ----------
    constraint : str, Constraint, list of these, or None, default=None
        For example ``"equalized_odds_difference <= 0.05"``, ``"demographic_parity_ratio >= 0.8"``
        or ``"recall >= 0.6"`` (in every group); it applies to every sensitive column and, with
        several, to their intersection. ``"demographic_parity_difference[sex] <= 0.05"`` applies
        to one of them. None = AutoML without fairness.
    objective : str, CostMatrix or callable, default="auto"
        Performance metric to optimize; ``"auto"`` = ``"accuracy"``. ``"precision_at_100"`` and
        ``"precision_at_10%"`` are those of the rows with the highest scores, which ``rank``
        selects. A scorer of scikit-learn
        (``make_scorer``), or a function of labels and decisions ``(y_true, y_pred)``, with
        ``sample_weight`` if it takes that: both arrays hold positions in ``classes_`` (two
        classes: 1 is the positive one), and greater is better. A run folder keeps its name only.
    time_budget : float or None, default=None
        Seconds that ``fit`` may take, kept within 3 s or 5 %; 60 if neither it nor ``n_trials``
        is given, see ``summary_["time_budget"]``.
    n_trials : int or None, default=None
        Number of trials, the baseline included, promotions to all folds not; reproducible for
        any ``n_jobs``, except with methods that read run times (``flaml_eci``, ``blendsearch``,
        ``cost_aware``, ``cost_aware_simple``).
    learners : list of str, estimators, classes or Learner, AllExcept or None, default=None
        Learners to search over: registered names, estimators of scikit-learn or their classes,
        and ``Learner`` objects; None = all that fit the data; ``AllExcept("xgboost")`` = all but
        some. An estimator keeps its hyperparameters, is cloned for every fold, and needs
        ``predict_proba`` or ``decision_function``. Its name is its class, as in
        ``svc`` or ``svc_2``. It has no portable form: it cannot be exported, and its run folder
        is a pickle.
    mitigators : list of str or None, default=None
        Registered names; None = all that fit the data and the constraint. Rules that decide at
        random within a group are used only if such a mitigator is named here, for example
        ``"randomized_thresholds"``; equal rows still get equal decisions.
    sensitive_at_predict : bool, default=True
        False: the model must not need the sensitive column of new rows; sensitive columns named
        in ``X`` are then not features either.
    strategy : str, optuna.samplers.BaseSampler or FLAML searcher, default="auto"
        How configurations are proposed: a registered name; a sampler, such as
        ``optuna.samplers.GPSampler(seed=0)``, which maximizes the objective and receives the
        violations as constraints; or a searcher without a space, such as ``flaml.CFO()``. Their
        seed is their own.
    allocator : str, default="auto"
        When configurations are promoted or mitigated: a registered name. ``"auto"`` is
        ``"ladder"``, or ``"cost_aware"`` with a time budget if no post-processor supports the
        constraint.
    executor : str, LocalProcesses or Dask, default="auto"
        Where trials run: a registered name, ``LocalProcesses(memory_limit=2000)`` or
        ``Dask("tcp://host:8786")``.
    n_jobs : int or None, default=-1
        Concurrent trials, one thread each. -1 = one per core that this process may use (affinity,
        limits of a container), or one at a time if starting processes would take longer; None =
        1; on a cluster, both mean all threads. At most 8 with ``n_trials`` alone.
    cv : int, splitter or list of (train, test) rows, default=5
        Number of cross-validation folds, stratified by class and group; or a splitter of
        scikit-learn, which receives ``groups`` of ``fit``. Its test parts must hold every row
        exactly once. With ``X_val``, the folds of the validation rows that rules are cross-fitted
        on.
    ensemble : int or ServingOptions, default=8
        Largest number of trials that are averaged, if that is better than the best one alone; 0 =
        no ensemble. Trials that lower the loss too little for their trees are left out;
        ``ServingOptions(max_trees=1000, predict_latency_ms=5)`` limits the cost of a prediction.
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
        estimate, not a certificate: see ``certify``.
    group_policy : GroupPolicy or None, default=None
        How missing, unseen and small groups are handled; None = ``GroupPolicy()``.
    pos_label : label or None, default=None
        The positive class; None = the label that is sorted last.
    run_dir : str, Path, RunStorage or None, default=None
        Folder that stores the run; ``RunStorage`` replaces or resumes a previous run there. None =
        nothing is stored on disk.
    callbacks : callable, list of callables or None, default=None
        Called with a ``Progress`` after each trial; one that raises is not called again. Its
        method ``on_fit_end(model)``, if it has one, is called last, with None if the fit failed.
        ``fairautoml.integrations`` has callbacks for MLflow and Weights & Biases. None = a
        ``ProgressLine`` in a notebook or another interactive session, and ``EarlyStopping`` with
        the default budget; ``[]`` = nothing.
    random_state : int, RandomState, Generator or None, default=None
        Seed; None draws one, see ``seed_``.

    Attributes
    ----------
    leaderboard_ : DataFrame
        One row per classifier: the selected one, then the others, best first; ``leaderboard()``
        returns the distinct choices.
    pareto_front_ : DataFrame
        Rows that are not dominated in objective and largest constraint violation, fairest first.
    trials_ : DataFrame
        One row per trial with its status and, for a failure, its reason.
    best_entry_ : Entry
        The selected entry.
    certificate_ : Certificate or None
        Result of the last ``certify`` of this model; None before it.
    notes_ : tuple of str
        Notes for the user: first groups with a single decision, then changes of the data.
    proxies_ : GuessedGroups or None
        Error rates of the proxies, bounds on the groups, and the corrected gap of the selected
        model.
    summary_ : dict
        Figures of the run: trials, seconds, budget, overhead, margin, best entry, its trees;
        ``headline``, the selected model, its cost in score and the probability that the bound
        holds.
    status_ : {"feasible", "unsure", "infeasible", "no_constraint"}
        ``"feasible"``: the selected model meets the constraint on the search rows, cross-fitted
        and as deployed; it leaves no groups that hold half of the rows with a single decision; it
        is better than the best constant prediction where a model without the constraint is; and
        it is more likely to meet the constraint in the population than not. ``"unsure"``: only
        the last does not hold, or the groups have too few rows to judge the bound.
    feasible_ : bool
        Whether ``status_`` is ``"feasible"`` or ``"no_constraint"``.
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

    __metadata_request__predict_proba = {"sensitive": True, "sensitive_features": False}  # noqa: RUF012
    __metadata_request__decision_function = {"sensitive": True, "sensitive_features": False}  # noqa: RUF012

    def predict_proba(
        self, X: Any, sensitive: Any = None, *, sensitive_features: Any = None
    ) -> NDArray[np.float64]:
        """Return scores of the classes that carry the fairness rule.

        The largest score of a row is that of its prediction, so that a threshold of 0.5, a vote
        or an argmax keeps the rule. Calibration is lost and no score keeps the rule when it is
        recalibrated or thresholded elsewhere; ``base_proba`` returns the probabilities. Without
        a constraint both are equal, also where a threshold was tuned for the objective.

        Parameters
        ----------
        X, sensitive, sensitive_features
            As in ``predict``.

        Returns
        -------
        ndarray of float64, shape (n_rows, n_classes)
            In the order of ``classes_``.
        """
        matrix, cells = self._encoded(X, sensitive, sensitive_features)
        if len(cells) == 0:
            return np.empty((0, len(self.classes_)))
        with isolated_config():
            model = self.model_
            scores = model.fair_scores if model.constrained else model.scores
            return self._columns(scores(matrix, cells))

    def base_proba(
        self, X: Any, sensitive: Any = None, *, sensitive_features: Any = None
    ) -> NDArray[np.float64]:
        """Return the class probabilities of the models, without the rule.

        Parameters
        ----------
        X, sensitive, sensitive_features
            As in ``predict``.

        Returns
        -------
        ndarray of float64, shape (n_rows, n_classes)
            In the order of ``classes_``.
        """
        matrix, cells = self._encoded(X, sensitive, sensitive_features)
        if len(cells) == 0:
            return np.empty((0, len(self.classes_)))
        with isolated_config():
            return self._columns(self.model_.scores(matrix, cells))

    def decision_function(
        self, X: Any, sensitive: Any = None, *, sensitive_features: Any = None
    ) -> NDArray[np.float64]:
        """Return log-odds that decide like ``predict``, within [-36, 36].

        With a constraint they are those of ``predict_proba``.

        Parameters
        ----------
        X, sensitive, sensitive_features
            As in ``predict``.

        Returns
        -------
        ndarray of float64, shape (n_rows,)
            Above 0 where ``classes_[1]`` is predicted. With several classes the logarithms of
            scores, shape (n_rows, n_classes).
        """
        matrix, cells = self._encoded(X, sensitive, sensitive_features)
        if len(cells) == 0:
            return np.empty(0 if len(self.classes_) == 2 else (0, len(self.classes_)))
        with isolated_config():
            proba = self._columns(self.model_.fair_scores(matrix, cells))
        logs = np.log(np.maximum(proba, np.exp(-FARTHEST)))
        if proba.shape[1] > 2:
            return np.asarray(logs)
        return np.clip(logs[:, 1] - logs[:, 0], -FARTHEST, FARTHEST)

    def acceptance_proba(
        self, X: Any, sensitive: Any = None, *, sensitive_features: Any = None
    ) -> NDArray[np.float64]:
        """Return the probability with which the rule decides for ``positive_class_``.

        It is 0 or 1 unless the rule is randomized.

        Parameters
        ----------
        X, sensitive, sensitive_features
            As in ``predict``.

        Returns
        -------
        ndarray of float64, shape (n_rows,)
            With several classes of shape (n_rows, n_classes), in the order of ``classes_``.
        """
        matrix, cells = self._encoded(X, sensitive, sensitive_features)
        if len(cells) == 0:
            return np.empty(0 if len(self.classes_) == 2 else (0, len(self.classes_)))
        with isolated_config():
            return self.model_.acceptance(matrix, cells)

    def rank(
        self,
        X: Any,
        sensitive: Any = None,
        *,
        k: int = 100,
        bounds: Mapping[str, Bounds] | None = None,
        sensitive_features: Any = None,
    ) -> NDArray[np.intp]:
        """Return the k best rows under bounds on the groups' shares among them.

        Rows are ordered by the probability of ``positive_class_`` in ``base_proba``; the rule of
        the constraint is not applied. The sum of these scores is the largest that the bounds
        allow.

        Parameters
        ----------
        X, sensitive, sensitive_features
            As in ``predict``; the column of ``bounds`` is one of ``sensitive`` or of ``X``.
        k : int
            Number of rows, from 1 to n_rows.
        bounds : dict of str -> (float, float) or dict, optional
            Lowest and highest share of each group of a column, ``{"sex": (0.4, 0.6)}``, or of
            single groups, ``{"sex": {"female": (0.4, 1.0)}}``. Labels have the type of the
            column: 1 and "1" are different groups. Several columns hold together.

        Returns
        -------
        ndarray of int, shape (k,)
            Positions of the rows in ``X``, best first.

        Raises
        ------
        InputError
            As in ``predict``; or no k rows meet the bounds; or the model has several classes; or
            the bounds on several columns are too many to solve, see
            ``fairautoml.metrics.selected.select_top_k``.
        ParameterError
            ``k`` or a bound is outside its range, or a column or group is not given.
        """
        matrix, cells = self._encoded(X, sensitive, sensitive_features)
        if len(self.classes_) != 2:
            raise InputError(f"rank needs a model of two classes, not {len(self.classes_)}.")
        groups, limits = None, None
        if bounds is not None:
            given = one_sensitive(sensitive, sensitive_features)
            groups, limits = _bounded_groups(X, given, bounds, self.model_.groups)
        with isolated_config():
            scores = self.model_.scores(matrix, cells)
        return select_top_k(scores, k, groups, limits)

    def to_onnx(self, path: str | Path) -> Path:
        """Write the selected model as an ONNX graph.

        The graph has an input of shape (n_rows, 1) for each feature and each sensitive column that
        the model reads, under its name: text as strings, all else as float32. Missing values are
        ``""`` and NaN. Its outputs have shape (n_rows,): ``decision`` is the label,
        ``fair_score`` and ``base_score`` are those of ``positive_class_`` in ``predict_proba`` and
        ``base_proba``. Labels of groups must be spelled as in ``fit``; rows of other groups get
        the decision of rows without a group, where ``predict`` may raise an error. Scores may
        differ by 1e-6.

        Parameters
        ----------
        path : str or Path
            File to write, such as ``"model.onnx"``; an existing file is replaced.

        Returns
        -------
        Path
            The written file.

        Raises
        ------
        NotFittedError
            ``fit`` has not been called.
        NotPortableError
            A part has no form in ONNX; the message names it. Trees, linear models, encodings,
            thresholds and two classes have one.
        MissingExtraError
            onnx is not installed.
        ParameterError
            The folder of the file does not exist.
        """
        from fairautoml.inference.onnx_graph import write_onnx

        check_is_fitted(self)
        out = file_to_write(path, "to_onnx")
        write_onnx(resolved(*portable_form(self.model_, "base_model")), out)
        return out

    def monitor(
        self,
        X: Any,
        y: Any = None,
        sensitive: Any = None,
        *,
        time: Any = None,
        delta: float = 0.05,
        adapt: bool = False,
        sensitive_features: Any = None,
    ) -> Monitor:
        """Test the decisions of the model since it was deployed.

        Pass all rows since then each time: the more windows, the more is shown, and the
        probability of a false alarm stays below ``delta`` however often it is called.

        Parameters
        ----------
        X : same kind of table as in ``fit``, shape (n_rows, n_features)
            Rows of all windows; they are assumed to be independent within a window.
        y : labels, shape (n_rows,), optional
            True labels, for constraints on error rates.
        sensitive : same form as in ``fit``, optional
            Required unless the groups are columns of ``X``. Unknown groups are counted.
        time : str or array-like, shape (n_rows,), optional
            Time of each row, or the name of that column of ``X``: dates are grouped by month,
            other values are the windows. None = one window.
        delta : float
            Probability of any false alarm, over all windows together.
        adapt : bool
            Whether to compare the model with an adaptive ``mixture_of_experts``; needs ``y``.
            At most another fit is proposed; the model is never changed.
        sensitive_features : optional
            Other name of ``sensitive``.

        Returns
        -------
        Monitor
            ``alarm``, ``alarms``, ``series``; ``text()``, ``to_html()``, ``to_json()``,
            ``to_frame()``.

        Raises
        ------
        MissingSensitiveError
            The groups are needed and not given.
        InputError
            As in ``evaluate``; or the model has several classes or no groups.
        """
        check_is_fitted(self)
        if getattr(self, "pool_", None) is None:
            raise InputError("monitor needs the fitted estimator or its run, not a model file.")
        rows = self._matched(X, one_sensitive(sensitive, sensitive_features), y)
        deployed = Deployed(
            model=self.model_,
            pool=self.pool_,
            constraints=check_constraints(self.constraint),
            certificate=self.certificate_,
            seed=self.seed_,
        )
        return monitor(deployed, rows, self._true_groups(rows), time, delta=delta, adapt=adapt)

    def _row_thresholds(self, X: Any, sensitive: Any) -> NDArray[np.floating] | None:
        """Return the threshold of each row, None for a rule without thresholds."""
        return self.model_.thresholds(*self._encoded(X, sensitive, None))

    def _encoded(
        self, X: Any, sensitive: Any, sensitive_features: Any
    ) -> tuple[Any, NDArray[np.int32]]:
        check_is_fitted(self)
        groups = one_sensitive(sensitive, sensitive_features)
        return self._read(self._matched(X, groups))

    def _columns(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return a column for each class, in the order of ``classes_``."""
        if scores.ndim == 2:
            return scores.astype(np.float64, copy=False)
        columns = [1.0 - scores, scores]
        positive_is_last = bool(self.classes_[1] == self.model_.classes[1])
        return np.column_stack(columns if positive_is_last else columns[::-1])

    def score(
        self,
        X: Any,
        y: Any,
        sensitive: Any = None,
        sample_weight: Any = None,
        *,
        sensitive_features: Any = None,
    ) -> float:
        """Return the mean accuracy, in [0, 1].

        Parameters
        ----------
        X, y, sensitive, sample_weight, sensitive_features
            As in ``evaluate``; ``sensitive`` as in ``predict``.

        Raises
        ------
        MissingSensitiveError
            The groups are needed and not given.
        InputError
            As in ``evaluate``.
        """
        groups = one_sensitive(sensitive, sensitive_features)
        rows, chosen, weight = self._decided(X, y, groups, sample_weight)
        right = known_labels(rows.y, self.model_.classes) == chosen
        return float(np.average(right, weights=weight))


class FairAutoMLRegressor(RegressorMixin, Explained):  # type: ignore[misc]
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
        As for ``FairAutoML``.

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

    def score(
        self,
        X: Any,
        y: Any,
        sensitive: Any = None,
        sample_weight: Any = None,
        *,
        sensitive_features: Any = None,
    ) -> float:
        """Return R squared, at most 1; 1.0 or 0.0 where all true values are equal.

        Parameters
        ----------
        X, y, sensitive, sample_weight, sensitive_features
            As in ``evaluate``; ``sensitive`` as in ``predict``.

        Raises
        ------
        MissingSensitiveError
            The groups are needed and not given.
        InputError
            As in ``evaluate``.
        """
        groups = one_sensitive(sensitive, sensitive_features)
        rows, chosen, weight = self._decided(X, y, groups, sample_weight)
        return float(r2_score(plain_numbers(rows.y), chosen, sample_weight=weight))


def _bounded_groups(
    X: Any, sensitive: Any, bounds: Mapping[str, Bounds], known: GroupSchema | None
) -> tuple[dict[str, NDArray[Any]], dict[str, Bounds]]:
    """Return the groups of each bounded column, and their bounds."""
    if not isinstance(bounds, Mapping) or not bounds:
        raise ParameterError(
            f"bounds={bounds!r} must be a dict of sensitive columns, such as "
            "{'sex': (0.4, 0.6)} or {'sex': {'female': (0.4, 1.0)}}."
        )
    columns = _columns_given(X, sensitive, known)
    groups, limits = {}, {}
    for name, given in bounds.items():
        if str(name) not in columns:
            near = difflib.get_close_matches(str(name), columns, n=5) or list(columns)[:20]
            raise ParameterError(
                f"bounds name {name!r}, which is no column of sensitive or X; name one of them, "
                f"such as {', '.join(map(repr, near))}."
            )
        codes, keys = encode_levels(columns[str(name)], str(name))
        if (codes < 0).any():
            msg = f"{name!r} has {int((codes < 0).sum())} missing values; bounds need all groups."
            raise InputError(msg)
        labels = level_labels(keys)
        groups[str(name)] = np.array(labels, dtype=object)[codes]
        limits[str(name)] = _labelled(given, str(name), dict(zip(keys, labels, strict=True)))
    return groups, limits


def _columns_given(
    X: Any, sensitive: Any, known: GroupSchema | None
) -> "dict[str, pd.Series[Any]]":
    """Return the columns of X and those of ``sensitive``, which come first under their names."""
    columns = frame_columns(X, "X") if is_frame(X) else {}
    listed = isinstance(sensitive, list | tuple)
    names = listed and all(isinstance(one, str) and one in columns for one in sensitive)
    if sensitive is None or isinstance(sensitive, str) or names:
        return columns
    found = read_sensitive(sensitive)
    own = found.columns
    if not found.named and known is not None and len(known.columns) == len(own):
        own = dict(zip(known.columns, own.values(), strict=True))
    return {**own, **{name: column for name, column in columns.items() if name not in own}}


def _labelled(given: Bounds, name: str, labels: Mapping[Key, str]) -> Bounds:
    """Return the bounds under the labels of the groups that they name."""
    if not isinstance(given, Mapping):
        return given
    found = {}
    for label, pair in given.items():
        if key_of(label) not in labels:
            groups = ", ".join(repr(value) for _, value in labels)
            raise ParameterError(f"bounds of {name!r} name {label!r}; its groups are {groups}.")
        found[labels[key_of(label)]] = pair
    return found


def read_predictor(path: Path) -> FairAutoML | FairAutoMLRegressor:
    """Return an estimator that predicts with a model file; it has no leaderboard."""
    predictor, unseen = restored(path)
    model: Any = FairAutoMLRegressor() if predictor.task == "regression" else FairAutoML()
    model.group_policy = GroupPolicy(unseen=unseen)
    model._restore(predictor)
    return cast("FairAutoML | FairAutoMLRegressor", model)


def read_run(folder: Path, *, trust_pickle: bool = False) -> FairAutoML | FairAutoMLRegressor:
    """Return the fitted estimator of a run folder; see ``fairautoml.load_run``."""
    if is_pickled(folder):
        if not trust_pickle:
            raise need_trust(folder)
        return cast("FairAutoML | FairAutoMLRegressor", read_pickle(folder))
    with reading(folder):
        records = read_records(folder)
        models = read_models_of(folder, records["models"])
        regression = records["pool"]["task"] == "regression"
        model = (FairAutoMLRegressor if regression else FairAutoML)()
        restore_estimator(model, records, models)
    return model
