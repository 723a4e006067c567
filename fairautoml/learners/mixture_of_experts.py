"""Mixture of logistic experts with a gate; supports streams and feature contributions.

Source: Sharma, Henderson and Ghosh, *FEAMOE: Fair, Explainable and Adaptive Mixture of Experts*,
IJCAI 2023, arXiv 2210.04995. The procedure is ours, because only the paper's abstract is public.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logsumexp, softmax
from sklearn.utils.validation import check_is_fitted

from fairautoml.data.encoders import fit_design
from fairautoml.exceptions import InputError, ParameterError
from fairautoml.learners._base import BinaryClassifier, Learner
from fairautoml.portable import Dump, Positions
from fairautoml.records import Floats
from fairautoml.threads import one_thread


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Evaluation of a window before training on it."""

    loss: float  # log loss in nats
    # largest gap of decisions between two groups, None when fewer than two have rows
    gap: float | None
    n_experts: int  # number of experts at that time


@dataclass(kw_only=True)
class DriftMonitor:
    """Counts the consecutive windows whose loss or gap was too large."""

    # allowed increase of the log loss over the best one since the last expert, in nats
    loss_drift: float
    gap_limit: float  # largest allowed gap
    patience: int  # number of such consecutive windows before an expert is added, at least 1
    cooldown: int  # smallest number of windows between two added experts, at least 0
    history: list[Measured] = field(default_factory=list)
    n_skipped: int = 0
    n_unpenalised: int = 0
    _best: float = float("inf")
    _in_row: int = 0
    _since: int | None = None

    def wants_expert(self, measured: Measured) -> bool:
        """Record a window and return whether an expert should be added."""
        self.history.append(measured)
        self._since = None if self._since is None else self._since + 1
        drifts = measured.loss > self._best + self.loss_drift
        unfair = measured.gap is not None and measured.gap > self.gap_limit
        self._in_row = self._in_row + 1 if drifts or unfair else 0
        self._best = min(self._best, measured.loss)
        rested = self._since is None or self._since >= self.cooldown
        return self._in_row >= self.patience and rested

    def grown(self) -> None:
        """Reset the counters and the best loss, because an expert was added."""
        self._best, self._in_row, self._since = float("inf"), 0, 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mixture:
    """``p(x) = sum_e g_e(x) sigmoid(w_e x + b_e)`` with ``g(x) = softmax(V x + c)``.

    The form is our reading of the abstract.
    """

    w: Floats  # shape (n_experts, n_columns): coefficients of the experts
    b: Floats  # shape (n_experts,): their intercepts
    v: Floats  # shape (n_experts, n_columns): coefficients of the gate, ``V`` above
    c: Floats  # shape (n_experts,): its intercepts

    @property
    def n_experts(self) -> int:
        """Number of experts."""
        return len(self.b)

    def margins(self, matrix: Floats) -> Floats:
        """Return the log-odds by each expert, shape (n_rows, n_experts)."""
        return _linear(matrix, self.w) + self.b

    def gates(self, matrix: Floats) -> Floats:
        """Return the gate's share of each expert by row, shape (n_rows, n_experts)."""
        return softmax(_linear(matrix, self.v) + self.c, axis=1)

    def probability(self, matrix: Floats) -> Floats:
        """Return P(y = 1), shape (n_rows,)."""
        found: Floats = (self.gates(matrix) * expit(self.margins(matrix))).sum(axis=1)
        # The shares add up to 1 up to rounding.
        return np.minimum(found, 1.0)

    def shapley(self, matrix: Floats, reference: Floats) -> Floats:
        """Return the contribution of each column to the gate-weighted log-odds.

        The shape is (n_rows, n_columns). ``phi_j = sum_e g_e(x) w_ej (x_j - mu_j)``: exact Shapley
        values of independent columns in the game with the gate fixed at x. They add up to
        ``sum_e g_e(x) (margin_e(x) - margin_e(mu))``; they explain neither the probability nor the
        changes of the gate.
        """
        return (self.gates(matrix) @ self.w) * (matrix - reference)

    def joined(self, expert: "Mixture") -> "Mixture":
        """Return the mixture with the first expert of another one added.

        The new expert's gate is constant, with the mean share of the existing experts.
        """
        return Mixture(
            w=np.concatenate((self.w, expert.w[:1])),
            b=np.append(self.b, expert.b[:1]),
            v=np.concatenate((self.v, np.zeros_like(self.v[:1]))),
            c=np.append(self.c, logsumexp(self.c) - np.log(self.n_experts)),
        )

    def flat(self) -> Floats:
        """Return all parameters in one vector."""
        return np.concatenate([self.w.ravel(), self.b, self.v.ravel(), self.c])

    @staticmethod
    def from_flat(theta: Floats, n_experts: int) -> "Mixture":
        """Return the mixture of a vector in the format of ``flat()``."""
        half = len(theta) // 2
        parts = [
            (part[:-n_experts].reshape(n_experts, -1), part[-n_experts:])
            for part in (theta[:half], theta[half:])
        ]
        (w, b), (v, c) = parts
        return Mixture(w=w, b=b, v=v, c=c)


def _linear(matrix: Floats, coefficients: Floats) -> Floats:
    # Not BLAS, whose rounding of a row depends on the number of rows.
    return np.einsum("nd,ed->ne", matrix, coefficients)


Fairness = Literal["demographic_parity", "equalized_odds", "recourse"]
FAIRNESS: tuple[Fairness, ...] = get_args(Fairness)

MOST_STEPS = 300
"""Largest number of L-BFGS iterations."""

SHORTEST = 1e-6
"""Added to an expert's squared length, so that the distance from its boundary is defined."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """A batch of training rows."""

    matrix: Floats  # shape (n_rows, n_columns): the rows
    y: Floats  # shape (n_rows,): labels 0 or 1
    weight: Floats  # shape (n_rows,): non-negative weights, not all 0
    group: NDArray[np.int64]  # shape (n_rows,): group of each row, -1 where it is unknown

    def operators(self, fairness: Fairness, accepted: NDArray[np.bool_]) -> list[Floats]:
        """Return the averaging operators of the groups, over the rows of the notion."""
        counted = {
            "demographic_parity": [self.weight > 0],
            "equalized_odds": [(self.weight > 0) & (self.y == label) for label in (0, 1)],
            "recourse": [(self.weight > 0) & ~accepted],
        }[fairness]
        return [self._means(rows & (self.group >= 0)) for rows in counted]

    def _means(self, counted: NDArray[np.bool_]) -> Floats:
        member = self.group == np.unique(self.group[counted])[:, None]
        mass = member * np.where(counted, self.weight, 0.0)
        return mass / mass.sum(axis=1, keepdims=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Penalties in addition to the log loss."""

    # quantity whose group means are equalised: the probabilities, the probabilities within each
    # label, or the distance of rejected rows from the decision boundary
    fairness: Fairness = "demographic_parity"
    lam: float = 0.0  # penalty of the squared difference of two groups, summed over all pairs
    l2: float = 0.0  # penalty of half the squared coefficients, at least 0


def unfairness(mixture: Mixture, window: Window, fairness: Fairness) -> float | None:
    """Return the largest gap of decisions between two groups.

    For recourse it is the gap of the mean distance of rejected rows from the decision boundary.
    """
    accepted = mixture.probability(window.matrix) >= 0.5
    value = distances(mixture, window.matrix) if fairness == "recourse" else accepted
    means = [operator @ value for operator in window.operators(fairness, accepted)]
    return max((float(np.ptp(mean)) for mean in means if len(mean) > 1), default=None)


def distances(mixture: Mixture, matrix: Floats) -> Floats:
    """Return the gate-weighted distance of each row from the experts' boundaries."""
    away = np.abs(mixture.margins(matrix)) / _lengths(mixture)
    return (mixture.gates(matrix) * away).sum(axis=1)


def _lengths(mixture: Mixture) -> Floats:
    return np.sqrt((mixture.w**2).sum(axis=1) + SHORTEST)


def lost(mixture: Mixture, window: Window, price: Price) -> tuple[float, Mixture]:
    """Return the penalised loss, and the gradient in the shape of a mixture."""
    share = (window.weight / window.weight.sum())[:, None]
    margins = window.matrix @ mixture.w.T + mixture.b
    log_gates = log_softmax(window.matrix @ mixture.v.T + mixture.c, axis=1)
    said = log_gates - np.logaddexp(0, (1 - 2 * window.y)[:, None] * margins)
    log_likelihood = np.logaddexp.reduce(said, axis=1, keepdims=True)
    # Responsibilities: posterior probability of each expert, given the label.
    blamed = np.exp(said - log_likelihood)
    gates, positive = np.exp(log_gates), expit(margins)
    by_margin = share * blamed * (positive - window.y[:, None])
    by_gate = share * (gates - blamed)
    value = -float((share * log_likelihood).sum())
    value += price.l2 / 2 * float((mixture.w**2).sum() + (mixture.v**2).sum())
    by_w = price.l2 * mixture.w
    if price.lam > 0:
        paid, on_margin, on_gate, on_w = _priced(mixture, margins, gates, positive, window, price)
        value, by_w = value + paid, by_w + on_w
        by_margin, by_gate = by_margin + on_margin, by_gate + on_gate
    return value, Mixture(
        w=by_margin.T @ window.matrix + by_w,
        b=by_margin.sum(axis=0),
        v=by_gate.T @ window.matrix + price.l2 * mixture.v,
        c=by_gate.sum(axis=0),
    )


def _priced(
    mixture: Mixture,
    margins: Floats,
    gates: Floats,
    positive: Floats,
    window: Window,
    price: Price,
) -> tuple[float, Floats, Floats, Floats]:
    """Return the unfairness penalty and its gradient by margins, gate logits and lengths."""
    probability = (gates * positive).sum(axis=1)
    recourse = price.fairness == "recourse"
    lengths = _lengths(mixture)
    by_expert = np.abs(margins) / lengths if recourse else positive
    value = (gates * by_expert).sum(axis=1)
    slope = np.sign(margins) / lengths if recourse else positive * (1 - positive)
    paid, by_value = 0.0, np.zeros(len(value))
    for operator in window.operators(price.fairness, probability >= 0.5):
        mean = operator @ value
        # Over all pairs: sum (m_a - m_b)^2 = G sum m^2 - (sum m)^2.
        apart = len(mean) * mean - mean.sum()
        paid += price.lam * float(mean @ apart)
        by_value += 2 * price.lam * apart @ operator
    felt = by_value[:, None] * gates
    by_w = np.zeros_like(mixture.w)
    if recourse:
        # A longer coefficient vector brings every row closer to the boundary.
        by_w = -((felt * by_expert).sum(axis=0) / lengths**2)[:, None] * mixture.w
    return paid, felt * slope, felt * (by_expert - value[:, None]), by_w


def fitted(start: Mixture, window: Window, price: Price) -> Mixture:
    """Return the mixture that L-BFGS finds from a start."""

    def value_and_gradient(theta: Floats) -> tuple[float, Floats]:
        value, gradient = lost(Mixture.from_flat(theta, start.n_experts), window, price)
        return value, gradient.flat()

    found = minimize(
        value_and_gradient,
        start.flat(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": MOST_STEPS},
    )
    return Mixture.from_flat(found.x, start.n_experts)


def stepped(
    mixture: Mixture, window: Window, price: Price, *, rate: float, n_frozen: int
) -> Mixture:
    """Return the mixture after one step of gradient descent."""
    _, gradient = lost(mixture, window, price)
    gradient.w[:n_frozen] = 0.0
    gradient.b[:n_frozen] = 0.0
    return Mixture.from_flat(mixture.flat() - rate * gradient.flat(), mixture.n_experts)


SPREAD = 0.3
"""Standard deviation of the noise that breaks the symmetry of equal experts and gates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertSettings:
    """Training settings; all but the first two apply to streams only."""

    C: float = 1.0  # inverse L2 strength of experts and gates, positive
    n_experts: int = 3  # number of experts that ``fit`` trains
    # fairness notion
    fairness: Fairness = "demographic_parity"
    lam: float = 20.0  # penalty of the squared difference between two groups
    rate: float = 0.2  # step size of gradient descent
    steps: int = 50  # gradient steps per window
    window: int = 500  # rows per evaluation and update; longer tables are split
    # limits on the increase of the log loss over the best one, in nats, and on the decision gap
    loss_drift: float = 0.05
    gap_limit: float = 0.05
    # consecutive windows over a limit, and windows since the last expert, before one is added
    patience: int = 2
    cooldown: int = 4
    max_experts: int = 10  # largest number of experts

    def __post_init__(self) -> None:
        if self.fairness not in FAIRNESS:
            msg = f"fairness={self.fairness!r}; allowed: {', '.join(FAIRNESS)}"
            raise ParameterError(msg)
        for name in ("C", "rate"):
            if not getattr(self, name) > 0:
                raise ParameterError(f"{name}={getattr(self, name)}; it must be positive")
        for name in ("n_experts", "steps", "window", "patience", "max_experts"):
            if not getattr(self, name) >= 1:
                raise ParameterError(f"{name}={getattr(self, name)}; it must be at least 1")
        for name in ("lam", "loss_drift", "gap_limit", "cooldown"):
            if not getattr(self, name) >= 0:
                raise ParameterError(f"{name}={getattr(self, name)}; it must be at least 0")


class MixtureOfExperts(BinaryClassifier):
    """A mixture of logistic experts; ``fit`` for a table, ``partial_fit`` for a stream.

    On a stream each window is evaluated first and then used for training, by gradient steps on
    the log loss plus a penalty of the differences between groups. When loss or gap stay too large,
    an expert is trained on the window and added, and the existing experts are frozen. Groups are
    used in ``partial_fit`` only, never for prediction.

    Examples
    --------
    >>> import numpy as np
    >>> from fairautoml.data.dataset import FeatureSchema
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 2)).astype(np.float32)
    >>> y, sex = (X[:, 0] > 0).astype(np.int8), rng.integers(2, size=500)
    >>> model = MixtureOfExperts({"lam": 20.0}, FeatureSchema(n_features=2), seed=0)
    >>> model = model.partial_fit(X, y, sex)
    >>> model.contributions(X[:3]).shape
    (3, 2)
    """

    def fit(self, X: Any, y: NDArray[Any], sample_weight: NDArray[Any] | None = None) -> Self:
        """Train ``n_experts`` on a whole table, without groups, from scratch."""
        self._forget(self._settings())
        super().fit(X, y, sample_weight)
        return self

    def _forget(self, settings: ExpertSettings) -> None:
        self.model_: Any = None
        self.n_frozen_ = 0
        self.monitor_ = DriftMonitor(
            loss_drift=settings.loss_drift,
            gap_limit=settings.gap_limit,
            patience=settings.patience,
            cooldown=settings.cooldown,
        )

    def partial_fit(
        self,
        X: NDArray[np.floating],
        y: NDArray[Any],
        sensitive: Any = None,
        sample_weight: NDArray[Any] | None = None,
    ) -> Self:
        """Evaluate and train on the next rows of a stream, window by window.

        The first window fits the scaling of numbers and the first expert. A window with one class
        is skipped and counted; a window with one group is used without the penalty.
        """
        settings = self._settings()
        y, weight = np.asarray(y), _weights(sample_weight, len(y))
        group = _groups(sensitive, len(y))
        _check_stream(X.shape, y, weight, group, self.feature_schema.n_features)
        if not hasattr(self, "monitor_"):
            self._forget(settings)
        n_windows = max(1, round(len(y) / settings.window))
        with one_thread():
            for at in np.array_split(np.arange(len(y)), n_windows):
                counted = at[weight[at] > 0]
                if len(np.unique(y[counted])) < 2:
                    self.monitor_.n_skipped += 1
                    continue
                if len(np.unique(group[counted][group[counted] >= 0])) < 2:
                    self.monitor_.n_unpenalised += 1
                rows = (X[at], y[at], weight[at], group[at])
                if self.model_ is None:
                    self._start(self._first(*rows), settings)
                else:
                    self._learn(self._window(*rows), settings)
        return self

    def contributions(self, X: NDArray[np.floating]) -> Floats:
        """Return the contribution of each feature to the gate-weighted log-odds.

        The shape is (n_rows, n_features). Exact Shapley values of independent features against the
        mean of the training rows, in the game with the gate fixed at the row; see
        ``Mixture.shapley`` for what they do not explain.
        """
        check_is_fitted(self, "classes_")
        found = np.zeros((X.shape[0], self.n_features_in_))
        if self.model_ is not None:
            of_columns = self.model_.shapley(self.design_.matrix(X), self.reference_)
            # The columns of one feature act as a single player.
            np.add.at(found.T, self.design_.source, of_columns.T)
        return found

    def _settings(self) -> ExpertSettings:
        known = {one.name for one in fields(ExpertSettings)}
        unknown = sorted(set(self.params) - known)
        if unknown:
            msg = f"params: {', '.join(unknown)} not known; allowed: {', '.join(sorted(known))}"
            raise ParameterError(msg)
        given: Any = self.params
        return ExpertSettings(**given)

    def _train(self, X: Any, y: NDArray[Any], weight: NDArray[Any] | None) -> Mixture:
        settings = self._settings()
        with one_thread():
            no_groups = np.full(len(y), -1)
            window = self._first(X, y, _weights(weight, len(y)), no_groups)
            price = replace(_price(settings, window), lam=0.0)
            single = fitted(_blank(window), window, price)
            if settings.n_experts == 1:
                return single
            start = _parted(single, window, settings.n_experts, self.seed)
            return fitted(start, window, price)

    def _predicted(self, X: Any) -> NDArray[np.floating]:
        return self.model_.probability(self.design_.matrix(X))

    def _dump(self, out: Dump, columns: Positions) -> int:
        found: Mixture = self.model_
        weights = {"w": found.w, "b": found.b, "v": found.v, "c": found.c}
        return out.node("experts", {**weights, "design": self.design_.portable(columns)})

    def _first(self, X: Any, y: NDArray[Any], weight: Floats, group: NDArray[np.int64]) -> Window:
        """Fit the scaling on the first rows, and return them as a window."""
        self.design_ = fit_design(X, self.feature_schema, weight)
        window = self._window(X, y, weight, group)
        self.reference_ = weight @ window.matrix / weight.sum()
        return window

    def _window(self, X: Any, y: NDArray[Any], weight: Floats, group: NDArray[np.int64]) -> Window:
        matrix = self.design_.matrix(X)
        return Window(matrix=matrix, y=y.astype(np.float64), weight=weight, group=group)

    def _start(self, window: Window, settings: ExpertSettings) -> None:
        self.classes_ = np.array([0, 1], dtype=np.int8)
        self.n_features_in_, self.only_class_ = self.feature_schema.n_features, None
        self.model_ = fitted(_blank(window), window, _price(settings, window))

    def _learn(self, window: Window, settings: ExpertSettings) -> None:
        measured = Measured(
            loss=lost(self.model_, window, Price())[0],
            gap=unfairness(self.model_, window, settings.fairness),
            n_experts=self.model_.n_experts,
        )
        price = _price(settings, window)
        for _ in range(settings.steps):
            self.model_ = stepped(
                self.model_, window, price, rate=settings.rate, n_frozen=self.n_frozen_
            )
        wanted = self.monitor_.wants_expert(measured)
        if wanted and self.model_.n_experts < settings.max_experts:
            self.n_frozen_ = self.model_.n_experts
            self.model_ = self.model_.joined(fitted(_blank(window), window, price))
            self.monitor_.grown()


def _price(settings: ExpertSettings, window: Window) -> Price:
    l2 = 1 / (settings.C * float(window.weight.sum()))
    return Price(fairness=settings.fairness, lam=settings.lam, l2=l2)


def _blank(window: Window) -> Mixture:
    """Return a single untrained expert."""
    flat = np.zeros((1, window.matrix.shape[1]))
    return Mixture(w=flat, b=np.zeros(1), v=flat, c=np.zeros(1))


def _parted(single: Mixture, window: Window, n_experts: int, seed: int) -> Mixture:
    """Return several perturbed copies of one expert; identical ones would stay identical."""
    rng = np.random.default_rng(seed)
    shape = (n_experts, single.w.shape[1])
    # The weight of a constant column is hardly learned, so noise in it would remain.
    varies = np.ptp(window.matrix, axis=0) > 0
    return Mixture(
        w=single.w + rng.normal(0, SPREAD, shape) * varies,
        b=np.repeat(single.b, n_experts),
        v=rng.normal(0, SPREAD, shape) * varies,
        c=np.zeros(n_experts),
    )


def _groups(sensitive: Any, n_rows: int) -> NDArray[np.int64]:
    if sensitive is None:
        return np.full(n_rows, -1, dtype=np.int64)
    codes, _ = pd.factorize(pd.Series(sensitive))
    return codes.astype(np.int64)


def _weights(weight: NDArray[Any] | None, n_rows: int) -> Floats:
    return np.ones(n_rows) if weight is None else np.asarray(weight, dtype=np.float64)


def _check_stream(
    shape: tuple[int, ...], y: NDArray[Any], weight: Floats, group: NDArray[np.int64], width: int
) -> None:
    if shape != (len(y), width):
        msg = f"X has shape {shape}; for {len(y)} labels it must be ({len(y)}, {width})"
        raise InputError(msg)
    for name, found in (("sensitive", group), ("sample_weight", weight)):
        if found.shape != (len(y),):
            msg = f"{name} has shape {found.shape}; it must be ({len(y)},), one value per row"
            raise InputError(msg)
    others = sorted(set(np.unique(y).tolist()) - {0, 1})
    if others:
        raise InputError(f"y has the values {others}; allowed are the labels 0 and 1")
    wrong = ~(np.isfinite(weight) & (weight >= 0))
    if wrong.any():
        msg = (
            f"sample_weight: {int(wrong.sum())} of {len(y)} weights are negative or not finite; "
            "allowed are numbers of at least 0"
        )
        raise InputError(msg)


LEARNER = Learner(name="mixture_of_experts", build=MixtureOfExperts, opt_in=True)
