"""The estimators: ``FairAutoML`` and ``FairAutoMLRegressor``.

Not the code of the paper of the same name (Wu, Wang, arXiv 2111.06495).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from fairautoml.data.target import known_labels, plain_numbers
from fairautoml.estimator import Estimator
from fairautoml.inference.predictor import isolated_config
from fairautoml.settings import (
    one_sensitive,
)


class FairAutoML(ClassifierMixin, Estimator):  # type: ignore[misc]
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
        Number of trials, the baseline included, promotions to all folds not; reproducible for
        any ``n_jobs``, except with methods that read run times (``flaml_eci``, ``blendsearch``,
        ``cost_aware``, ``cost_aware_simple``).
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
        estimate, not a certificate: see ``certify``.
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
        Result of the last ``certify`` of this model; None before it.
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

    __metadata_request__predict_proba = {"sensitive": True, "sensitive_features": False}  # noqa: RUF012

    def predict_proba(
        self, X: Any, sensitive: Any = None, *, sensitive_features: Any = None
    ) -> NDArray[np.float64]:
        """Return the class probabilities, or the acceptance probability of a randomized rule.

        The thresholds of the rule are not applied: ``predict`` may differ from the larger
        probability.

        Parameters
        ----------
        X, sensitive, sensitive_features
            As in ``predict``.

        Returns
        -------
        ndarray of float64, shape (n_rows, n_classes)
            In the order of ``classes_``.
        """
        check_is_fitted(self)
        groups = one_sensitive(sensitive, sensitive_features)
        matrix, cells = self._read(self._matched(X, groups))
        if len(cells) == 0:
            return np.empty((0, len(self.classes_)))
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

    def __sklearn_tags__(self) -> Tags:
        """Return the tags of scikit-learn."""
        return self._allowed(super().__sklearn_tags__())


class FairAutoMLRegressor(RegressorMixin, Estimator):  # type: ignore[misc]
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

    def __sklearn_tags__(self) -> Tags:
        """Return the tags of scikit-learn."""
        return self._allowed(super().__sklearn_tags__())
