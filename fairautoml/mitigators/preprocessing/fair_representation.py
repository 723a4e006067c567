"""Fair representation: features encoded so that the group cannot be predicted from them.

The linear encoder moves the rows as little as possible until the means of all groups are equal, so
that no linear model can predict the group: Belrose, Schneider-Joseph, Ravfogel, Cotterell, Raff
and Biderman, *LEACE: Perfect linear concept erasure in closed form*, NeurIPS 2023, arXiv
2306.03819, theorem 4.3. The network encoder learns hidden units that retain features and label but
not the group, and then applies the same linear step. Neither needs the group of new rows. Other
models could still detect the group, so only linear learners are trained on the representation.
Where features and group are related through the label only, the proxies of the group also predict
the label: use a lower strength.

The network minimises ``log loss of the label + squared error of the features, mean per column +
price * share of a unit's variance that lies between the groups, mean per unit + l2``: the three
terms of Zemel, Wu, Swersky, Pitassi and Dwork, *Learning Fair Representations*, ICML 2013,
equation 4, for tanh units instead of prototypes. The variance share, unlike a distance of means,
does not vanish for small units.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from fairautoml.data.dataset import FeatureSchema
from fairautoml.data.encoders import Design, fit_design
from fairautoml.data.splits import row_draws
from fairautoml.mitigators._base import FitBaseLearner, Mitigator, ScoreModel, TrainRows
from fairautoml.mitigators._training import (
    PARITY,
    RowGroups,
    refuse_sparse,
    row_groups,
    train_on_changed,
)
from fairautoml.portable import Dump, Positions
from fairautoml.records import Floats, ParamValues
from fairautoml.threads import one_thread

L2 = 1e-3
"""Penalty of the squared coefficients; keeps the optimum finite."""

STILL = 1e-3
"""Added to a unit's variance, so that nearly constant units have no spurious share."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """The hidden units."""

    coefficients: Floats  # shape (n_columns, n_units): incoming weights
    intercepts: Floats  # shape (n_units,): intercepts of the units

    def apply(self, matrix: Floats) -> Floats:
        """Return the units' values in (-1, 1), shape (n_rows, n_units)."""
        return np.tanh(matrix @ self.coefficients + self.intercepts)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """Training data and objective of a network encoder."""

    matrix: Floats  # shape (n_rows, n_columns): rows of known group
    y: Floats  # shape (n_rows,): labels 0 or 1
    share: Floats  # shape (n_rows,): share of each row in a mean, 1 in total
    member: Floats  # shape (n_rows, n_groups): 1 in the column of the row's group
    n_units: int  # hidden units
    price: float  # penalty of a unit that determines the group, in nats

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the weights of layer, features and label, each with intercepts."""
        n, k = self.matrix.shape[1], self.n_units
        return (n, k), (k,), (k, n), (n,), (k,), (1,)

    def value_and_gradient(self, theta: Floats) -> tuple[float, Floats]:
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

    def _leak(self, z: Floats) -> tuple[float, Floats]:
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


def split(theta: Floats, shapes: tuple[tuple[int, ...], ...]) -> tuple[Floats, ...]:
    """Return the parts of a flat vector in the given shapes."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    parts = np.split(theta, ends[:-1])
    return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))


def fit_layer(lesson: Lesson, seed: int) -> Layer:
    """Return the fitted hidden layer."""
    rng = np.random.default_rng(seed)
    # Sums of inputs of variance 1 start with variance 1 (Glorot and Bengio 2010).
    start = [
        rng.normal(0, 1 / np.sqrt(shape[0]), shape) if len(shape) == 2 else np.zeros(shape)
        for shape in lesson.shapes
    ]
    # The weight of a constant column is hardly learned, so noise in it would remain.
    start[0][np.ptp(lesson.matrix, axis=0) == 0] = 0.0
    found = minimize(
        lesson.value_and_gradient,
        np.concatenate([part.ravel() for part in start]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 150},
    )
    coefficients, intercepts, *_ = split(found.x, lesson.shapes)
    return Layer(coefficients=coefficients, intercepts=intercepts)


ROUNDING = 1e-10
"""Share of the largest variance below which a direction is constant."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Erasure:
    """``x - moved (x - mean)``."""

    mean: Floats  # shape (n_columns,): weighted mean of the rows it was fitted on
    # subtracted part, as a linear map of rows
    moved: Floats  # shape (n_columns, n_columns)

    def apply(self, matrix: Floats) -> Floats:
        """Return the rows with equal group means, shape (n_rows, n_columns)."""
        return matrix - (matrix - self.mean) @ self.moved


def fit_erasure(
    matrix: Floats,
    weight: Floats,
    group: NDArray[np.integer],
    strength: float,
) -> Erasure:
    """Return the map that makes the weighted means of all groups equal."""
    share = weight / weight.sum()
    mean = share @ matrix
    centred = matrix - mean
    values, vectors = np.linalg.eigh((centred * share[:, None]).T @ centred)
    kept = values > ROUNDING * max(float(values[-1]), 0.0)
    deviation, axes = np.sqrt(values[kept]), vectors[:, kept]
    belongs = indicators(group)
    # Covariance with the group indicators, in axes in which the rows have variance 1.
    association = (axes.T @ ((centred * share[:, None]).T @ belongs)) / deviation[:, None]
    left, size, _ = np.linalg.svd(association, full_matrices=False)
    span = left[:, size > ROUNDING]
    moved = ((axes / deviation) @ span) @ ((axes * deviation) @ span).T
    return Erasure(mean=mean, moved=strength * moved)


def indicators(group: NDArray[np.integer]) -> Floats:
    """Return one-hot encoded groups, shape (n_rows, number of observed groups)."""
    return (group[:, None] == np.unique(group)).astype(np.float64)


NAME = "fair_representation"

PRICE = 10.0
"""Penalty at strength 1 of a unit that determines the group; exceeds any other gain."""

ROWS_LOOKED_AT = 10_000
"""Largest subsample that a network is trained on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Representation:
    """The transformation of rows; the group of a row is not needed."""

    design: Design  # encoded rows to numbers
    layer: Layer | None  # hidden units, None for the linear encoder
    erasure: Erasure  # equalises the means of the groups

    def apply(self, X: NDArray[np.floating], cells: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the representation, shape (n_rows, n_columns)."""
        with one_thread():
            matrix = self.design.matrix(X)
            encoded = matrix if self.layer is None else self.layer.apply(matrix)
            return self.erasure.apply(encoded).astype(np.float32)

    def dump(self, out: Dump, columns: Positions) -> Positions:
        layer = None
        if self.layer is not None:
            layer = {
                "coefficients": self.layer.coefficients, "intercepts": self.layer.intercepts
            }  # fmt: skip
        mean, moved = self.erasure.mean, self.erasure.moved
        content = {
            "design": self.design.portable(columns), "layer": layer, "mean": mean, "moved": moved
        }  # fmt: skip
        return out.step("represented", content, len(mean))


def train(rows: TrainRows, fit_base: FitBaseLearner, params: ParamValues, seed: int) -> ScoreModel:
    """Train on the representation: numeric, imputed, one column per frequent category."""
    groups = row_groups(rows, NAME)
    refuse_sparse(rows.feature_schema, NAME)
    if float(params["strength"]) == 0:
        return fit_base(rows)
    with one_thread():
        change = _representation(rows, groups, params, seed)
    feature_schema = FeatureSchema(n_features=len(change.erasure.mean), linear_only=True)
    return train_on_changed(rows, change, fit_base, feature_schema)


def _representation(
    rows: TrainRows, groups: RowGroups, params: ParamValues, seed: int
) -> Representation:
    strength = float(params["strength"])
    # Rows and groups are sorted by content: training amplifies rounding of sums, which must
    # depend neither on the order of the table nor on names.
    order = np.lexsort((rows.weight, rows.y, row_draws(rows.X, seed)))
    known = order[groups.of_row[order] >= 0]
    design = fit_design(rows.X[known], rows.feature_schema, rows.weight[known])
    matrix, layer = design.matrix(rows.X[known]), None
    if params["encoder"] == "network":
        seen = known[:ROWS_LOOKED_AT]
        weight, member = rows.weight[seen], indicators(groups.of_row[seen])
        lesson = Lesson(
            matrix=matrix[:ROWS_LOOKED_AT],
            y=rows.y[seen].astype(np.float64),
            share=weight / weight.sum(),
            member=member[:, np.argsort(weight @ member, kind="stable")],
            n_units=int(params["n_units"]),
            price=PRICE * strength,
        )
        layer = fit_layer(lesson, seed)
        matrix = layer.apply(matrix)
    erasure = fit_erasure(matrix, rows.weight[known], groups.of_row[known], strength)
    return Representation(design=design, layer=layer, erasure=erasure)


MITIGATOR = Mitigator(
    name=NAME,
    stage="pre",
    needs_sensitive_at_predict=False,
    serves=PARITY,
    cost="cheap",
    opt_in=True,
    linear_only=True,
    ratio=2.0,
    train=train,
)
