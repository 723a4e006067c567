"""GeDI: dependence of decisions on a continuous sensitive attribute, such as age.

Source: Giuliani, Misino, Lombardi, "Generalized Disparate Impact for Configurable Fairness
Solutions in ML", ICML 2023, arXiv 2305.18504. With the centred powers
``Phi = [x - mean(x), ..., x^k - mean(x^k)]`` and ``alpha = argmin ||Phi alpha - (v - mean(v))||``,
``GeDI_k(x, v) = ||alpha||_1``; for k = 1 that is ``|cov(x, v)| / var(x)``, and the difference of
means where x is 0 or 1. GeDI in the package maxcorr (0.1.2) is ``HGR * sd(b) / sd(a)``, which is
equal for degree 1 only.

The unit matters: ``GeDI_1(c x, v) = GeDI_1(x, v) / |c|``. In a constraint x is in standard
deviations of the rows that ``fit`` was given.
"""

import math
from dataclasses import dataclass

import numpy as np

from fairautoml.metrics._table import GroupCounts, Metric, Undefined
from fairautoml.records import Floats

CONSTANT = "the attribute has one value only, so nothing can depend on it"
UNBOUND = (
    "it reads the numbers behind the groups and was given none: it applies to a numeric "
    "sensitive column, not about categories"
)
NO_SLOPE = 1e-12
"""Slope of the labels per standard deviation below which it counts as zero."""
NO_DEPENDENCE = "0/0: the labels themselves do not depend on the attribute"


def centred_powers(x: Floats, degree: int, weight: Floats) -> Floats:
    """Return ``x - mean(x), ..., x^k - mean(x^k)``, shape (n_values, degree)."""
    powers: Floats = x[:, None] ** np.arange(1, degree + 1)
    return powers - weight @ powers / weight.sum()


def solver(x: Floats, weight: Floats, degree: int) -> Floats | None:
    """Return the matrix that takes v to alpha, shape (degree, n_values); None for a constant x.

    The degree is lowered to what the values allow: less than the number of distinct ones.
    """
    degree = min(degree, len(np.unique(x[weight > 0])) - 1)
    if degree < 1:
        return None
    root = np.sqrt(weight)
    powers = centred_powers(x, degree, weight) * root[:, None]
    # High powers are larger by orders of magnitude; normalization improves the conditioning.
    length = np.sqrt((powers**2).sum(axis=0))
    return np.linalg.pinv(powers / length) / length[:, None] * root


def _solver_of(table: Floats, values: Floats, degree: int) -> Floats | None:
    """Return the solver of tables of one weight by group, shape (degree, n_groups)."""
    return solver(np.asarray(values, dtype=np.float64), table.sum(axis=(1, 2)), degree)


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfCounts:
    """GeDI of decisions that are counted by the values of the attribute."""

    degree: int  # k, at least 1
    relative: bool  # whether it is divided by ``GeDI_1`` of the labels

    def __call__(self, counts: GroupCounts, values: Floats | None = None) -> float | Undefined:
        if values is None:
            return Undefined(UNBOUND)
        if _solver_of(counts.table, values, 1) is None:
            return Undefined(CONSTANT)
        (value,) = OfTables(degree=self.degree, relative=self.relative)(counts.table[None], values)
        return Undefined(NO_DEPENDENCE) if np.isnan(value) else float(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfTables:
    """GeDI of many tables at once."""

    degree: int  # as in ``OfCounts``
    relative: bool

    def __call__(self, tables: Floats, values: Floats | None = None) -> Floats:
        """Return the value of each table, NaN where it has none, shape (n_tables,)."""
        undefined = np.full(len(tables), np.nan)
        if values is None:
            return undefined
        found = _solver_of(tables[0], values, self.degree)
        line = _solver_of(tables[0], values, 1)
        if found is None or line is None:
            return undefined
        mass = tables.sum(axis=(2, 3))
        accepted = _share(tables[:, :, :, 1].sum(axis=2), mass)
        value: Floats = np.abs(accepted @ found.T).sum(axis=1)
        if not self.relative:
            return value
        slope = np.abs(_share(tables[:, :, 1].sum(axis=2), mass) @ line[0])
        np.divide(value, slope, out=undefined, where=slope > NO_SLOPE)
        return undefined


def _metric(name: str, degree: int, about: str, *, relative: bool = False) -> Metric:
    return Metric(
        name=name,
        about=about,
        kind="fairness",
        on="decisions",
        value=OfCounts(degree=degree, relative=relative),
        many=OfTables(degree=degree, relative=relative),
        greater_is_better=False,
        degree=degree,
        most=math.inf,
    )


# Degree 1 misses nonlinear dependence, such as the rejection of both young and old.
GEDI: tuple[Metric, ...] = (
    _metric("gedi", 1, "Acceptance gained or lost per standard deviation of a number."),
    *(
        _metric(
            f"gedi_{degree}",
            degree,
            f"Sum of the absolute coefficients of a polynomial of degree {degree} of a number.",
        )
        for degree in (2, 3, 5)
    ),
    _metric(
        "gedi_relative",
        1,
        "GeDI of degree 1 of the decisions over that of the labels.",
        relative=True,
    ),
)
