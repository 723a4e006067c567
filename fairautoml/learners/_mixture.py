"""Mixtures of linear experts: model, loss and drift."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logsumexp, softmax


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured on a window before it was learned from."""

    loss: float  # log loss in nats
    # largest gap of decisions between two groups, None where fewer than two have rows
    gap: float | None
    n_experts: int  # experts at that time


@dataclass(slots=True, kw_only=True)
class DriftMonitor:
    """Counts the windows on which loss or gap were too large."""

    # log loss above the best one since the last expert that is too much, in nats
    loss_drift: float
    gap_limit: float  # gap that is too much above
    patience: int  # such windows in a row after which an expert is added, at least 1
    cooldown: int  # windows that must have passed since the last expert, at least 0
    history: list[Measured] = field(default_factory=list)
    n_skipped: int = 0
    n_unpenalised: int = 0
    _best: float = float("inf")
    _in_row: int = 0
    _since: int | None = None

    def wants_expert(self, measured: Measured) -> bool:
        """Record a window; whether it is time for another expert."""
        self.history.append(measured)
        self._since = None if self._since is None else self._since + 1
        drifts = measured.loss > self._best + self.loss_drift
        unfair = measured.gap is not None and measured.gap > self.gap_limit
        self._in_row = self._in_row + 1 if drifts or unfair else 0
        self._best = min(self._best, measured.loss)
        rested = self._since is None or self._since >= self.cooldown
        return self._in_row >= self.patience and rested

    def grown(self) -> None:
        """Start anew: an expert was added, and what is possible may have changed for good."""
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
        """Return the share of each expert in each row, shape (n_rows, n_experts)."""
        shares: Floats = softmax(_linear(matrix, self.v) + self.c, axis=1)
        return shares

    def probability(self, matrix: Floats) -> Floats:
        """Return P(y = 1), shape (n_rows,)."""
        found: Floats = (self.gates(matrix) * expit(self.margins(matrix))).sum(axis=1)
        # Shares add up to 1 up to rounding.
        return np.minimum(found, 1.0)

    def margin(self, matrix: Floats) -> Floats:
        """Return the gate-weighted log-odds, shape (n_rows,); not those of the probability."""
        found: Floats = (self.gates(matrix) * self.margins(matrix)).sum(axis=1)
        return found

    def shapley(self, matrix: Floats, reference: Floats) -> Floats:
        """Return what each column adds to the gate-weighted log-odds, shape (n_rows, n_columns).

        ``phi_j = sum_e g_e(x) w_ej (x_j - mu_j)``: the exact Shapley values of independent
        columns in the game in which the gate is held as it is at x. They add up to
        ``sum_e g_e(x) (margin_e(x) - margin_e(mu))``; they explain neither the probability nor
        how the gate reacts.
        """
        return (self.gates(matrix) @ self.w) * (matrix - reference)

    def joined(self, expert: "Mixture") -> "Mixture":
        """Return the mixture with the first expert of another one besides.

        The newcomer's gate is flat, with the mean share of those that are there.
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
        """Return the mixture whose ``flat()`` was given."""
        half = len(theta) // 2
        parts = [
            (part[:-n_experts].reshape(n_experts, -1), part[-n_experts:])
            for part in (theta[:half], theta[half:])
        ]
        (w, b), (v, c) = parts
        return Mixture(w=w, b=b, v=v, c=c)


def _linear(matrix: Floats, coefficients: Floats) -> Floats:
    # Not BLAS: its rounding of a row depends on how many rows come with it.
    found: Floats = np.einsum("nd,ed->ne", matrix, coefficients)
    return found


Fairness = Literal["demographic_parity", "equalized_odds", "recourse"]
FAIRNESS: tuple[Fairness, ...] = ("demographic_parity", "equalized_odds", "recourse")

MOST_STEPS = 300
"""Iterations of L-BFGS."""

SHORTEST = 1e-6
"""Added to an expert's squared length, so that the distance from its border is defined."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """Rows to learn from."""

    matrix: Floats  # shape (n_rows, n_columns): the rows
    y: Floats  # shape (n_rows,): labels 0 or 1
    weight: Floats  # shape (n_rows,): non-negative weights, not all 0
    group: NDArray[np.int64]  # shape (n_rows,): group of each row, -1 where it is unknown

    def operators(self, fairness: Fairness, accepted: NDArray[np.bool_]) -> list[Floats]:
        """Return what takes the means of the groups, over all rows that count for a notion."""
        counted = {
            "demographic_parity": [self.weight > 0],
            "equalized_odds": [(self.weight > 0) & (self.y == label) for label in (0, 1)],
            "recourse": [(self.weight > 0) & ~accepted],
        }[fairness]
        return [self._means(rows & (self.group >= 0)) for rows in counted]

    def _means(self, counted: NDArray[np.bool_]) -> Floats:
        member = self.group == np.unique(self.group[counted])[:, None]
        mass = member * np.where(counted, self.weight, 0.0)
        found: Floats = mass / mass.sum(axis=1, keepdims=True)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What is paid besides the log loss."""

    # what shall have the same mean in all groups: the probabilities, the probabilities within
    # each label, or the distance of refused rows from the border
    fairness: Fairness = "demographic_parity"
    lam: float = 0.0  # price of the squared difference of two groups, summed over all pairs
    l2: float = 0.0  # price of half the squared coefficients, at least 0


def unfairness(mixture: Mixture, window: Window, fairness: Fairness) -> float | None:
    """Return the largest gap between two groups, of decisions and not of probabilities.

    For recourse it is that of the mean distance of refused rows from the border.
    """
    accepted = mixture.probability(window.matrix) >= 0.5
    value = distances(mixture, window.matrix) if fairness == "recourse" else accepted
    means = [operator @ value for operator in window.operators(fairness, accepted)]
    return max((float(np.ptp(mean)) for mean in means if len(mean) > 1), default=None)


def log_loss(mixture: Mixture, window: Window) -> float:
    """Return the weighted mean log loss in nats."""
    return lost(mixture, window, Price())[0]


def distances(mixture: Mixture, matrix: Floats) -> Floats:
    """Return the gate-weighted distance of each row from the experts' borders, shape (n_rows,)."""
    away = np.abs(mixture.margins(matrix)) / _lengths(mixture)
    found: Floats = (mixture.gates(matrix) * away).sum(axis=1)
    return found


def _lengths(mixture: Mixture) -> Floats:
    found: Floats = np.sqrt((mixture.w**2).sum(axis=1) + SHORTEST)
    return found


def lost(mixture: Mixture, window: Window, price: Price) -> tuple[float, Mixture]:
    """Return loss and price, and the gradient in the shape of a mixture."""
    share = (window.weight / window.weight.sum())[:, None]
    margins = window.matrix @ mixture.w.T + mixture.b
    log_gates = log_softmax(window.matrix @ mixture.v.T + mixture.c, axis=1)
    said = log_gates - np.logaddexp(0, (1 - 2 * window.y)[:, None] * margins)
    log_likelihood = np.logaddexp.reduce(said, axis=1, keepdims=True)
    # Responsibilities: how likely it was each expert who spoke, given the label.
    blamed = np.exp(said - log_likelihood)
    gates, positive = np.exp(log_gates), expit(margins)
    by_margin = share * blamed * (positive - window.y[:, None])
    by_gate = share * (gates - blamed)
    value = -float((share * log_likelihood).sum())
    value += price.l2 / 2 * float((mixture.w**2).sum() + (mixture.v**2).sum())
    by_w = price.l2 * mixture.w
    if price.lam > 0:
        seen = _Seen(mixture=mixture, margins=margins, gates=gates, positive=positive)
        paid, on_margin, on_gate, on_w = _priced(seen, window, price)
        value, by_w = value + paid, by_w + on_w
        by_margin, by_gate = by_margin + on_margin, by_gate + on_gate
    return value, Mixture(
        w=by_margin.T @ window.matrix + by_w,
        b=by_margin.sum(axis=0),
        v=by_gate.T @ window.matrix + price.l2 * mixture.v,
        c=by_gate.sum(axis=0),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A mixture and what it says of the rows of a window."""

    mixture: Mixture
    margins: Floats
    gates: Floats
    positive: Floats


def _priced(seen: _Seen, window: Window, price: Price) -> tuple[float, Floats, Floats, Floats]:
    """Return the price of unfairness and its gradient by margins, gate logits and lengths."""
    probability = (seen.gates * seen.positive).sum(axis=1)
    recourse = price.fairness == "recourse"
    lengths = _lengths(seen.mixture)
    by_expert = np.abs(seen.margins) / lengths if recourse else seen.positive
    value = (seen.gates * by_expert).sum(axis=1)
    slope = np.sign(seen.margins) / lengths if recourse else seen.positive * (1 - seen.positive)
    paid, by_value = 0.0, np.zeros(len(value))
    for operator in window.operators(price.fairness, probability >= 0.5):
        mean = operator @ value
        # Over all pairs: sum (m_a - m_b)^2 = G sum m^2 - (sum m)^2.
        apart = len(mean) * mean - mean.sum()
        paid += price.lam * float(mean @ apart)
        by_value += 2 * price.lam * apart @ operator
    felt = by_value[:, None] * seen.gates
    by_w = np.zeros_like(seen.mixture.w)
    if recourse:
        # A longer expert brings every row nearer to its border.
        by_w = -((felt * by_expert).sum(axis=0) / lengths**2)[:, None] * seen.mixture.w
    return paid, felt * slope, felt * (by_expert - value[:, None]), by_w


def fitted(start: Mixture, window: Window, price: Price) -> Mixture:
    """Return the mixture of least loss that is found from a start, by L-BFGS."""

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
