"""Mixtures of linear experts: the model, its loss and drift detection."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logsumexp, softmax


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


Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mixture:
    """``p(x) = sum_e g_e(x) sigmoid(w_e x + b_e)`` with ``g(x) = softmax(V x + c)``.

    Sharma, Henderson and Ghosh, *FEAMOE: Fair, Explainable and Adaptive Mixture of Experts*,
    IJCAI 2023, arXiv 2210.04995; the form is our reading of its abstract.
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

    def margin(self, matrix: Floats) -> Floats:
        """Return the gate-weighted log-odds, shape (n_rows,); not those of the probability."""
        return (self.gates(matrix) * self.margins(matrix)).sum(axis=1)

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
FAIRNESS: tuple[Fairness, ...] = ("demographic_parity", "equalized_odds", "recourse")

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


def log_loss(mixture: Mixture, window: Window) -> float:
    """Return the weighted mean log loss in nats."""
    return lost(mixture, window, Price())[0]


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
