"""A network with one hidden layer whose units know the features and the label, not the group.

Minimised is ``log loss of the label + squared error of the features, mean per column + price *
share of a unit's variance that lies between the groups, mean per unit + l2``: the three terms of
Zemel, Wu, Swersky, Pitassi and Dwork, *Learning Fair Representations*, ICML 2013, equation 4, for
tanh units instead of prototypes. The variance share, unlike a distance of means, does not become
small when a unit does.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

L2 = 1e-3
"""Price of the squared coefficients, so that the optimum is finite."""

STILL = 1e-3
"""Added to a unit's variance: the shares of a unit that hardly moves are noise."""

MOST_STEPS = 150
"""Iterations of L-BFGS."""

Grads = tuple[NDArray[np.float64], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """The hidden units."""

    coefficients: NDArray[np.float64]  # shape (n_columns, n_units): incoming weights
    intercepts: NDArray[np.float64]  # shape (n_units,): what a unit adds to them

    def apply(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the units' values in (-1, 1), shape (n_rows, n_units)."""
        found: NDArray[np.float64] = np.tanh(matrix @ self.coefficients + self.intercepts)
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """What a network shall learn."""

    matrix: NDArray[np.float64]  # shape (n_rows, n_columns): rows of known group
    y: NDArray[np.float64]  # shape (n_rows,): labels 0 or 1
    share: NDArray[np.float64]  # shape (n_rows,): share of each row in a mean, 1 in total
    member: NDArray[np.float64]  # shape (n_rows, n_groups): 1 in the column of the row's group
    n_units: int  # hidden units
    price: float  # of a unit that tells the group entirely, in nats

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of the layer's weights, the features' and the label's, each with intercepts."""
        n, k = self.matrix.shape[1], self.n_units
        return (n, k), (k,), (k, n), (n,), (k,), (1,)

    def value_and_gradient(self, theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return what is minimised and its gradient."""
        w, b, v, c, u, d = split(theta, self.shapes)
        z = np.tanh(self.matrix @ w + b)
        margin, apart = z @ u + d, z @ v + c - self.matrix
        of_label = self.share * (expit(margin) - self.y)
        of_features = (2 / self.matrix.shape[1]) * self.share[:, None] * apart
        leak, leak_z = self._leak(z)
        value = (
            self.share @ (np.logaddexp(0, margin) - self.y * margin)
            + self.share @ (apart**2).mean(axis=1)
            + self.price * leak
            + L2 / 2 * sum(float((part**2).sum()) for part in (w, v, u))
        )
        into = np.outer(of_label, u) + of_features @ v.T + self.price * leak_z
        into *= 1 - z**2
        gradient = (
            self.matrix.T @ into + L2 * w,
            into.sum(axis=0),
            z.T @ of_features + L2 * v,
            of_features.sum(axis=0),
            z.T @ of_label + L2 * u,
            of_label.sum(keepdims=True),
        )
        return float(value), np.concatenate([part.ravel() for part in gradient])

    def _leak(self, z: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the mean share of variance between groups, and its gradient by unit value."""
        mass = self.share @ self.member
        means = (self.member * self.share[:, None]).T @ z / mass[:, None]
        overall = self.share @ z
        from_mean = z - overall
        of_group = self.member @ means - overall
        between = mass @ (means - overall) ** 2
        total = self.share @ from_mean**2 + STILL
        by_value = 2 * self.share[:, None] * (of_group * total - between * from_mean) / total**2
        return float((between / total).mean()), by_value / z.shape[1]


def split(theta: NDArray[np.float64], shapes: tuple[tuple[int, ...], ...]) -> Grads:
    """Return the parts of a flat vector in their shapes."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    parts = np.split(theta, ends[:-1])
    return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))


def fit_layer(lesson: Lesson, seed: int) -> Layer:
    """Return the hidden layer that has learned the lesson."""
    rng = np.random.default_rng(seed)
    # Sums of inputs of variance 1 start with variance 1 (Glorot and Bengio 2010).
    start = [
        rng.normal(0, 1 / np.sqrt(shape[0]), shape) if len(shape) == 2 else np.zeros(shape)
        for shape in lesson.shapes
    ]
    found = minimize(
        lesson.value_and_gradient,
        np.concatenate([part.ravel() for part in start]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": MOST_STEPS},
    )
    coefficients, intercepts, *_ = split(found.x, lesson.shapes)
    return Layer(coefficients=coefficients, intercepts=intercepts)
