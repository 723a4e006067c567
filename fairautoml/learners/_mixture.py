"""A gated mixture of logistic experts: probabilities and what each column adds to them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp, softmax

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
