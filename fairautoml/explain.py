"""What the decisions of a fitted model depend on: importances, contributions, members."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import t
from sklearn.inspection import permutation_importance
from sklearn.utils.validation import check_is_fitted

from fairautoml.auditing.contributions import (
    MOST_EXACT,
    Contrast,
    check_blocks,
    contributions_of,
    widest,
)
from fairautoml.auditing.models import ModelAdapter, table_of
from fairautoml.auditing.result import Contributions
from fairautoml.data.frames import Inputs
from fairautoml.data.read import columns_of_groups
from fairautoml.data.target import checked_weights
from fairautoml.estimator import Estimator
from fairautoml.evaluation.fitting import CVEnsemble, FittedModel, LearnerModel
from fairautoml.exceptions import InputError, UnknownNameError
from fairautoml.inference.predictor import Predictor, isolated_config
from fairautoml.inference.restore import StoredModels
from fairautoml.metrics import METRICS, GroupCounts, Metric, Undefined, bind_constraints
from fairautoml.metrics.constraint import BoundConstraint
from fairautoml.metrics.groups import GroupSystem
from fairautoml.metrics.tasks import TASKS
from fairautoml.mitigators._training import ChangedColumns
from fairautoml.parameters import check_count
from fairautoml.records import Entry, in_largest_gap
from fairautoml.selection.ensemble import Columns, WeightedAverage
from fairautoml.selection.leaderboard import blocks_of
from fairautoml.settings import check_constraints, check_objective, one_sensitive

WITHOUT_CONSTRAINT = "demographic_parity_difference <= 1.0"
"""Its gap is explained where nothing was constrained."""

FEWEST_ROWS = 10
"""Rows of each label in each group from which a gap is taken apart."""

ERROR = 0.05
"""Error probability of the intervals."""


ARRAYS = (
    "members_ needs the estimator that was fitted, or a pickle of it: run folders and model files "
    "hold models as arrays, without the objects of their libraries"
)
"""Message on a model that was loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureImportance:
    """By how much score and gap fall when the values of a feature are shuffled over the rows."""

    feature: str
    score: float  # fall of the objective, greater is better; positive = the model needs it
    score_low: float
    score_high: float
    gap: float | None  # fall of the largest gap; positive = it adds to the gap
    gap_low: float | None
    gap_high: float | None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Explanation:
    """What the decisions of a model depend on; returned by ``model.explain``.

    Attributes
    ----------
    objective : str
        Metric of the score.
    n_rows, n_repeats : int
        Rows that were used, and how often each feature was shuffled.
    score, gap : float
        Of the model on these rows; the gap is None without groups.
    importances : tuple of FeatureImportance
        Most important for the score first; intervals of 95 %.
    contributions : Contributions or None
        Shapley values of the gap between two groups; None where the gap cannot be taken apart:
        several classes, regression, no groups, or fewer than ten rows of a label in a group.
    """

    objective: str
    n_rows: int
    n_repeats: int
    score: float
    gap: float | None
    importances: tuple[FeatureImportance, ...]
    contributions: Contributions | None

    def to_frame(self) -> pd.DataFrame:
        """Return the importances as a table, one row per feature."""
        return pd.DataFrame([asdict(one) for one in self.importances])

    def plain(self) -> dict[str, Any]:
        """Return plain values, as in ``explanation.json``."""
        return asdict(self)

    def __repr__(self) -> str:
        """Return ``text()``."""
        return self.text()

    def text(self) -> str:
        """Return the importances and the contributions as text."""
        gap = "" if self.gap is None else f", gap {self.gap:.4f}"
        table = self.to_frame().dropna(axis=1, how="all")
        lines = [
            f"{self.objective} {self.score:.4f}{gap} on {self.n_rows:,} rows; fall of both when a "
            f"feature is shuffled, {self.n_repeats} times, 95 % interval",
            table.to_string(index=False, float_format="{:.4f}".format),
        ]
        found = self.contributions
        if found is not None:
            parts = pd.DataFrame([asdict(share) for share in found.shares]).drop(columns="columns")
            parts = parts.rename(columns={"block": "feature", "value": "gap"})
            lines += [
                "",
                f"{found.rate} rate of {found.high} minus that of {found.low}: {found.total:.4f}; "
                f"{found.without:.4f} with all features shuffled; what each feature adds to it "
                "and to the error, with standard errors",
                parts.to_string(index=False, float_format="{:.4f}".format),
            ]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Member:
    """A fitted model that takes part in the score of the deployed model.

    Attributes
    ----------
    trial : str
        Key of its trial.
    weight : float
        Its share in the mean score; the shares of all members sum to 1.
    estimator : object
        The model of its library: a LightGBM or XGBoost ``Booster``, an estimator or pipeline of
        scikit-learn, ...; of a mitigator that combines models, its own object.
    feature_names : tuple of str
        Features of the table, which are the first columns of the transformed matrix.
    """

    trial: str
    weight: float
    estimator: Any
    feature_names: tuple[str, ...]
    _read: Callable[[Any, Any], tuple[Any, NDArray[np.int32]]] = field(repr=False)
    _steps: tuple[Callable[[Any, NDArray[np.int32]], Any], ...] = field(repr=False)

    def transform(self, X: Any, sensitive: Any = None) -> Any:
        """Return the matrix that ``estimator`` takes.

        Parameters
        ----------
        X, sensitive
            As in ``predict``.

        Returns
        -------
        ndarray or sparse matrix of float32, shape (n_rows, n_columns)
            Categories are codes 0, 1, ...; missing values are NaN. A DataFrame for CatBoost.
        """
        matrix, cells = self._read(X, sensitive)
        for step in self._steps:
            matrix = step(matrix, cells)
        return matrix


class Explained(Estimator):
    """Methods of both estimators that explain the decisions."""

    explanation_: Explanation | None = None

    @property
    def columns_(self) -> pd.DataFrame:
        """Kind and encoding of each column of ``X``, or why it is left out."""
        check_is_fitted(self)
        pool = getattr(self, "pool_", None)  # a model file has none
        return (self.model_ if pool is None else pool).schema.described()

    @property
    def blocks_(self) -> pd.DataFrame:
        """Best classifier of all columns, of each block, and of late fusion; empty without blocks.

        Late fusion is an average of models that read one block each.
        """
        check_is_fitted(self, "leaderboard_")
        blocks, objective = self.pool_.schema.options.blocks, self.pool_.board.objective
        table = self.leaderboard_ if blocks else self.leaderboard_.head(0)
        return blocks_of(table, blocks, objective)

    @property
    def members_(self) -> tuple[Member, ...]:
        """Fitted models behind the scores, for explainers such as ``shap.TreeExplainer``.

        The weighted mean of their predictions is that of ``base_proba``, which the rule then
        turns into decisions.

        Raises
        ------
        NotFittedError
            ``fit`` has not been called.
        InputError
            The model was loaded from a run folder or a model file, which hold no objects of other
            libraries; a pickle does.
        """
        check_is_fitted(self)
        if getattr(self, "pool_", None) is None:
            raise InputError(ARRAYS)
        read, names = self._model_input, self.model_.schema.labels
        return tuple(
            Member(
                trial=trial,
                weight=weight,
                estimator=estimator,
                feature_names=names,
                _read=read,
                _steps=steps,
            )
            for trial, model, share in _parts(self.model_, self.best_entry_)
            for estimator, weight, steps in _leaves(model, share, ())
        )

    def _model_input(self, X: Any, sensitive: Any) -> tuple[Any, NDArray[np.int32]]:
        return self._read(self._matched(X, sensitive))

    def explain(
        self,
        X: Any,
        y: Any,
        sensitive: Any = None,
        sample_weight: Any = None,
        *,
        n_repeats: int = 10,
        max_rows: int = 2000,
        random_state: int = 0,
        sensitive_features: Any = None,
    ) -> Explanation:
        """Compute what the decisions, the score and the gap depend on.

        Importances are those of ``sklearn.inspection.permutation_importance``, in the objective
        and in the largest gap; correlated features share theirs. The gap between two groups is
        taken apart into Shapley values of the features. ``report`` shows the result.

        Parameters
        ----------
        X, y, sensitive, sample_weight, sensitive_features
            As in ``evaluate``; rows that ``fit`` has not seen, assumed to be independent. A
            sensitive column that is not one of ``X`` is shuffled too if the model reads it.
        n_repeats : int, default=10
            How often each feature is shuffled, at least 2. Each time the rows are also drawn
            anew with replacement for the interval, which covers both sources of error.
        max_rows : int, default=2000
            A random sample of this size is used of more rows.
        random_state : int, default=0
            Seed of sample, shuffling and intervals.

        Returns
        -------
        Explanation
            Also ``explanation_``.

        Raises
        ------
        MissingSensitiveError
            The groups are needed and not given.
        InputError
            As in ``evaluate``; or ``X`` is a sparse matrix.
        """
        check_is_fitted(self)
        check_count("n_repeats", n_repeats, least=2)
        check_count("max_rows", max_rows, least=1)
        if getattr(self, "pool_", None) is None:
            raise InputError("explain needs the fitted estimator or its run, not a model file.")
        if sparse.issparse(X):
            raise InputError("explain needs a table; X is a sparse matrix: give X.toarray()")
        given = one_sensitive(sensitive, sensitive_features)
        if self._guessing is not None and given is None:
            raise InputError("explain needs the true groups of the rows: give sensitive=")
        rows = self._matched(X, given, y, sample_weight)
        with isolated_config():
            explainer = _explainer(self, rows, max_rows, random_state)
            found = explainer.explanation(n_repeats, random_state)
        self.explanation_ = found
        return found

    def _explained(self) -> dict[str, Any]:
        return {} if self.explanation_ is None else self.explanation_.plain()

    def _serve(self, pool: Any, entry: Entry) -> None:
        super()._serve(pool, entry)
        self.explanation_ = None


def _parts(model: Predictor, entry: Entry) -> Iterator[tuple[str, Any, float]]:
    """Yield trial, model and share of the parts of a mean."""
    models = model.models
    if isinstance(models, Columns):
        shares = dict.fromkeys(models.models, 0.0)
        for trial, share in (one for column in models.columns for one in column):
            shares[trial] += share / len(models.columns)
        yield from ((trial, models.models[trial], share) for trial, share in shares.items())
    elif isinstance(models, WeightedAverage):
        keys = [key for key, _ in entry.members]
        for trial, (part, share) in zip(keys, models.members, strict=True):
            yield trial, part, share
    else:
        yield entry.trial_key, models, 1.0


_Steps = tuple[Callable[[Any, NDArray[np.int32]], Any], ...]


def _leaves(model: Any, weight: float, steps: _Steps) -> Iterator[tuple[Any, float, _Steps]]:
    """Yield the models inside a model with their weights and transformations."""
    if isinstance(model, CVEnsemble):
        for fold in model.models:
            yield from _leaves(fold, weight / len(model), steps)
    elif isinstance(model, FittedModel):
        encoder = model.encoder
        yield from _leaves(model.model, weight, (*steps, lambda X, _: encoder.transform(X)))
    elif isinstance(model, ChangedColumns):
        yield from _leaves(model.model, weight, (*steps, model.change.apply))
    elif isinstance(model, LearnerModel):
        estimator = model.estimator
        native = getattr(estimator, "model_", None)
        fill: Any = None if model.empty is None else model.empty.fill
        prepare = getattr(estimator, "native_input", None)
        first: _Steps = () if fill is None else (lambda X, _: fill(X),)
        more: _Steps = () if prepare is None else (lambda X, _: prepare(X),)
        yield (estimator if native is None else native), weight, (*steps, *first, *more)
    elif isinstance(model, StoredModels):
        raise InputError(ARRAYS)
    else:
        yield getattr(model, "booster", model), weight, steps


@dataclass(frozen=True, kw_only=True, eq=False)
class _Explainer:
    """Rows whose decisions are explained, and the metrics that the explanation is in."""

    model: Predictor
    table: pd.DataFrame  # shape (n_rows, n_columns), all columns of X
    features: tuple[str, ...]  # columns that the model may read
    apart: str | None  # name of the sensitive columns if they are read and not among ``table``
    sensitive: Any  # as given, if it names columns of the table
    y: NDArray[Any]
    weight: NDArray[np.float64]
    cells: NDArray[np.int32]  # true groups, which are never shuffled
    served: NDArray[np.int32]  # groups as the model reads them, if they are apart
    targets: tuple[BoundConstraint, ...]
    objective: Metric

    @cached_property
    def shuffled(self) -> pd.DataFrame:
        """The columns to shuffle; that of the groups apart holds positions of rows."""
        found = self.table[list(self.features)].copy()
        if self.apart is not None:
            found[self.apart] = np.arange(len(found))
        return found

    def read(self, shuffled: pd.DataFrame) -> tuple[Any, NDArray[np.int32]]:
        """Return matrix and groups of shuffled columns as the model reads them."""
        full = self.table.copy()
        for name in self.features:
            full[name] = shuffled[name].array
        model, given = self.model, full if self.model.schema.named else full.to_numpy()
        if self.apart is None:
            return model.read(given, self.sensitive, unseen="base_model")
        return model.schema.transform(given), self.served[shuffled[self.apart].to_numpy()]

    def decide(self, shuffled: pd.DataFrame) -> NDArray[Any]:
        """Return the user's labels or numbers that the model predicts."""
        chosen, classes = self.model.decisions(*self.read(shuffled)), self.model.classes
        return classes[chosen] if len(classes) else chosen

    def values(
        self, shuffled: pd.DataFrame, weights: Mapping[str, NDArray[np.float64]]
    ) -> dict[str, float]:
        """Return score and gap with each of several weights of the rows."""
        model, metric, task = self.model, self.objective, TASKS.get(self.model.task)
        matrix, cells = self.read(shuffled)
        chosen = model.decisions(matrix, cells)
        scores = model.scores(matrix, cells) if metric.on == "scores" else None
        outcome = np.eye(len(model.classes))[chosen] if model.task == "multiclass" else chosen
        sign, one = (1 if metric.greater_is_better else -1), np.zeros(len(self.y), dtype=np.int64)
        found = {}
        for name, weight in weights.items():
            if scores is None:
                score = metric.value(task.tally(one, self.y, outcome, weight, n_groups=1))
            else:
                score = metric.value(self.y, scores, weight)
            found[f"{name} score"] = np.nan if isinstance(score, Undefined) else sign * score
            found[f"{name} gap"] = self._gap(outcome, weight)
        return found

    def _gap(self, outcome: NDArray[Any], weight: NDArray[np.float64]) -> float:
        if not self.targets:
            return np.nan
        n_cells = len(self.targets[0].system.of_cell)
        task = TASKS.get(self.model.task)
        counts = task.tally(self.cells, self.y, outcome, weight, n_groups=n_cells)
        results = [target.result(counts) for target in self.targets]
        counted = in_largest_gap(results)
        return float(np.max([np.nan if one.value is None else one.gap for one in counted]))

    def explanation(self, n_repeats: int, seed: int) -> Explanation:
        """Return importances and contributions."""
        rng, base = np.random.default_rng(seed), self.values(self.shuffled, {"all": self.weight})
        drops = []
        for repeat in range(n_repeats):
            drawn = rng.multinomial(len(self.y), np.full(len(self.y), 1 / len(self.y)))

            def judged(_: Any, X: Any, __: Any, drawn: Any = drawn) -> dict[str, float]:
                return self.values(X, {"all": self.weight, "drawn": self.weight * drawn})

            found = permutation_importance(
                _Fitted(), self.shuffled, self.y, scoring=judged, n_repeats=1,
                random_state=seed + repeat,
            )  # fmt: skip
            drops.append({name: one.importances[:, 0] for name, one in found.items()})
        score, gap = _estimated(drops, "score"), _estimated(drops, "gap")
        listed = [
            FeatureImportance(
                feature=str(name),
                score=score.mean[at],
                score_low=score.low[at],
                score_high=score.high[at],
                gap=_known(gap.mean[at]),
                gap_low=_known(gap.low[at]),
                gap_high=_known(gap.high[at]),
            )
            for at, name in enumerate(self.shuffled.columns)
        ]
        listed.sort(key=lambda one: -one.score)
        sign = 1 if self.objective.greater_is_better else -1
        return Explanation(
            objective=self.objective.name,
            n_rows=len(self.y),
            n_repeats=n_repeats,
            score=sign * base["all score"],
            gap=_known(base["all gap"]),
            importances=tuple(listed),
            contributions=self._contributions(listed, seed),
        )

    def _contributions(self, listed: list[FeatureImportance], seed: int) -> Contributions | None:
        """Take the first gap that can be taken apart; of many features the rest is one block."""
        contrast = next(filter(None, map(self._contrast, self.targets)), None)
        if contrast is None:
            return None
        ordered = sorted(listed, key=lambda one: -abs(one.gap or 0.0))
        n_alone = len(ordered) if len(ordered) <= MOST_EXACT else MOST_EXACT - 1
        alone = {one.feature: (one.feature,) for one in ordered[:n_alone]}
        adapter = ModelAdapter(model=self.decide, classes=self.model.classes)
        blocks = check_blocks(alone, list(self.shuffled.columns))
        return contributions_of(
            self._groups(contrast.system), self.y, self.weight, self.shuffled, adapter, contrast,
            blocks, seed,
        )  # fmt: skip

    def _groups(self, system: GroupSystem) -> NDArray[np.int64]:
        """Return the true group of each row, -1 = unknown."""
        # Cell -1 selects the last element.
        return np.append(system.of_cell, -1)[self.cells].astype(np.int64)

    def _contrast(self, target: BoundConstraint) -> Contrast | None:
        """Return the largest gap of a constraint's rates, None if it cannot be taken apart."""
        system, rates = target.system, target.metric.rates
        if self.model.task != "binary" or not rates or system.overlapping:
            return None
        groups = self._groups(system)
        counts = [np.bincount(groups[(groups >= 0) & (self.y == label)],
                              minlength=system.n_groups) for label in (0, 1)]  # fmt: skip
        if system.n_groups < 2 or np.min(counts) < FEWEST_ROWS:
            return None
        decided = self.model.decisions(*self.read(self.shuffled))
        table = GroupCounts.from_rows(
            groups, self.y, decided, self.weight, n_groups=system.n_groups
        )
        return widest(system, [(rate, table.rates(rate)) for rate in rates])


class _Fitted:
    """What ``permutation_importance`` takes; the scorer knows the model."""

    def fit(self) -> None:
        """Do nothing."""


def _explainer(model: Explained, rows: Inputs, max_rows: int, seed: int) -> _Explainer:
    """Return the explainer of a sample of the rows."""
    predictor, pool = model.model_, model.pool_
    cells = pool.groups_of(rows.X, model._true_groups(rows))
    # Checks the groups as predict does, and says what is wrong with the columns, once.
    _, served = model._read(rows)
    weight, y = checked_weights(rows, len(cells)), pool.labels_of(rows.y)
    at = np.arange(len(cells))
    if len(at) > max_rows:
        at = np.sort(np.random.default_rng(seed).choice(at, max_rows, replace=False))
    table = table_of(rows.X)
    groups = predictor.groups
    inside = () if groups is None else columns_of_groups(rows.sensitive, groups)
    wanted = {*map(str, predictor.schema.names_read)}
    if predictor.needs_sensitive:
        wanted |= {*inside}
    named = predictor.schema.named
    apart = None
    if groups is not None and predictor.needs_sensitive and not inside:
        apart = f"{', '.join(groups.columns)} (sensitive)"
    return _Explainer(
        model=predictor,
        table=table.iloc[at].reset_index(drop=True),
        features=tuple(name for name in table.columns if name in wanted or not named),
        apart=apart,
        sensitive=rows.sensitive if inside else None,
        y=y[at],
        weight=np.ones(len(at)) if weight is None else weight[at],
        cells=cells[at],
        served=served[at],
        targets=_targets(model),
        objective=_objective(model),
    )


def _objective(model: Explained) -> Metric:
    given, name = model.objective, model.pool_.board.objective
    if not isinstance(given, str):
        return check_objective(given)
    try:
        return METRICS.get(name)
    except UnknownNameError:
        msg = (
            f"explain: run folders keep only the name of the function {name!r}, the objective; "
            "give it with model.set_params(objective=...)"
        )
        raise InputError(msg) from None


def _targets(model: Explained) -> tuple[BoundConstraint, ...]:
    pool = model.pool_
    if pool.groups is None:
        return ()
    constraints = check_constraints(model.constraint)
    if not constraints and pool.task == "regression":
        return ()
    if not constraints:
        constraints = check_constraints(WITHOUT_CONSTRAINT)
    return tuple(bind_constraints(constraints, pool.groups.systems, pool.groups.small_groups))


@dataclass(frozen=True, slots=True)
class _Importances:
    """Mean importances of the features with their intervals, NaN where undefined."""

    mean: list[float]
    low: list[float]
    high: list[float]


def _estimated(drops: list[dict[str, NDArray[np.float64]]], of: str) -> _Importances:
    means = np.mean([one[f"all {of}"] for one in drops], axis=0)
    errors = np.std([one[f"drawn {of}"] for one in drops], axis=0, ddof=1)
    width = t.ppf(1 - ERROR / 2, len(drops) - 1) * errors
    return _Importances(means.tolist(), (means - width).tolist(), (means + width).tolist())


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
