"""Fairness metrics of regression."""

import math
from collections.abc import Callable

import numpy as np

from fairautoml.metrics._table import (
    FIRST_BIN,
    LOSS,
    MASS,
    SUM,
    Form,
    GroupValues,
    Metric,
    Undefined,
)
from fairautoml.records import Floats

Tables = Floats  # shape (n_tables, n_groups, n_columns), as ``GroupValues.table``


def bounded_group_loss(values: GroupValues) -> float | Undefined:
    """Return ``max_g E[(y - f)^2 | g]``, in squared units of the target.

    It is no gap: it is 0 for perfect predictions only.

    References
    ----------
    Agarwal, Dudik, Wu, "Fair regression: quantitative definitions and reduction-based
    algorithms", ICML 2019, arXiv 1905.12843, definition 2.
    """
    return values.lacking() or float(values.means(values.losses).max())


def mean_difference(values: GroupValues) -> float | Undefined:
    """Return ``max_g E[f | g] - min_g E[f | g]``, in units of the target.

    References
    ----------
    Calders, Karim, Kamiran, Ali, Zhang, "Controlling attribute effect in linear regression", ICDM
    2013, section II.
    """
    return values.lacking() or float(np.ptp(values.means(values.prediction)))


def distribution_gap(values: GroupValues) -> float | Undefined:
    """Return ``max_{g, h} sup_z |P(f <= z | g) - P(f <= z | h)|``, in [0, 1].

    The largest gap in any share that a threshold on the prediction may select.

    References
    ----------
    Agarwal, Dudik, Wu, ICML 2019, arXiv 1905.12843, definition 1 (statistical parity).
    """
    return values.lacking() or float(_distances(_heights(values)))


def _heights(values: GroupValues) -> Floats:
    """Return the distribution functions of the predictions at every prediction."""
    points, at = np.unique(values.prediction, return_inverse=True)
    found = np.empty((values.n_groups, len(points)))
    for group in range(values.n_groups):
        inside = values.inside(group)
        steps = np.bincount(at[inside], values.weight[inside], minlength=len(points))
        found[group] = np.cumsum(steps) / steps.sum()
    return found


def _distances(heights: Floats) -> Floats:
    """Return the largest distance between the distribution functions of two groups."""
    return np.ptp(heights, axis=-2).max(axis=-1)


def _per_mass(tables: Floats, part: Floats) -> Floats:
    """Return sums per unit of weight, NaN where a group has none."""
    mass = tables[..., MASS] if part.ndim < tables.ndim else tables[..., MASS, None]
    return np.divide(part, mass, out=np.full_like(part, np.nan), where=mass > 0)


def _losses_of(tables: Tables) -> Floats:
    return _per_mass(tables, tables[..., LOSS]).max(axis=-1)


def _means_of(tables: Tables) -> Floats:
    return np.ptp(_per_mass(tables, tables[..., SUM]), axis=-1)


def _distances_of(tables: Tables) -> Floats:
    return _distances(_per_mass(tables, np.cumsum(tables[..., FIRST_BIN:], axis=-1)))


def _metric(
    value: Callable[[GroupValues], float | Undefined],
    many: Callable[[Tables], Floats],
    about: str,
    form: Form = "difference",
    most: float = math.inf,
) -> Metric:
    return Metric(
        name=value.__name__, about=about, kind="fairness", on="decisions", value=value, many=many,
        greater_is_better=False, form=form, tasks=frozenset({"regression"}), most=most,
    )  # fmt: skip


REGRESSION: tuple[Metric, ...] = (
    _metric(
        bounded_group_loss, _losses_of, "Largest mean squared error of a group.", form="level"
    ),
    _metric(mean_difference, _means_of, "Largest gap in mean prediction."),
    _metric(
        distribution_gap,
        _distances_of,
        "Largest Kolmogorov-Smirnov distance between the predictions of two groups.",
        most=1.0,
    ),
)
