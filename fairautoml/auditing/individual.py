"""Count the rows whose decision does not change under flips and small noise."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.auditing.models import (
    LinearRule,
    ModelAdapter,
    UnsupportedModel,
    last_step,
    prepared_values,
    slopes_of,
)
from fairautoml.auditing.noise import Ends, Reach, forest_of, own_range
from fairautoml.auditing.result import IndividualFairness
from fairautoml.exceptions import InputError
from fairautoml.inference.predictor import Predictor

MOST_ROWS = 2_000
"""Largest number of rows to check."""
MOST_COMBINATIONS = 100_000
"""Largest number of combinations of values of the flipped columns."""
TRIES = 20
"""Random perturbations per row and combination of flips."""
MOST_TRIED = 200
"""Largest number of combinations of flips that are perturbed."""
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Similar:
    """Changes under which rows count as similar."""

    flips: tuple[str, ...]  # columns that may take every observed value
    noise: Mapping[str, float]  # largest change of numeric columns, in their own units


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """Range of scores under noise, by ``reach``; the decision boundary is 0."""

    level: str
    reach: Reach
    tolerance: float
    exact: bool


def similar_of(
    flips: Sequence[str], noise: Mapping[str, float] | float | None, table: pd.DataFrame
) -> Similar:
    """Return the similarity, validated against the columns of the table."""
    numeric = [
        name
        for name in table.columns
        if pd.api.types.is_numeric_dtype(table[name])
        and not pd.api.types.is_bool_dtype(table[name])
        and name not in flips
    ]
    if noise is None:
        radii: dict[str, float] = {}
    elif isinstance(noise, Mapping):
        radii = {str(name): float(radius) for name, radius in noise.items()}
    else:
        radii = {name: float(noise) * float(table[name].std(ddof=0)) for name in numeric}
    unknown = sorted((set(flips) - set(table.columns)) | (set(radii) - set(numeric)))
    bad = sorted(name for name, radius in radii.items() if not 0 <= radius < np.inf)
    if unknown or bad:
        raise InputError(
            f"flips=, noise=: columns {unknown} are missing or not allowed, and columns {bad} "
            f"have a negative or infinite radius. X has {list(table.columns)[:20]}; noise is "
            "allowed for numeric columns that are not flipped."
        )
    size = prod(max(1, table[name].nunique()) for name in flips)
    if size > MOST_COMBINATIONS:
        raise InputError(
            f"flips={list(flips)}: found {size:,} combinations of values, allowed are at most "
            f"{MOST_COMBINATIONS:,}. Flip fewer columns."
        )
    return Similar(flips=tuple(flips), noise={n: r for n, r in radii.items() if r > 0})


def individual_fairness(
    model: ModelAdapter, table: pd.DataFrame, similar: Similar, seed: int
) -> IndividualFairness:
    """Return the numbers of rows whose decision is certified or refuted.

    Flips are enumerated. The effect of noise is bounded exactly for linear models, and soundly
    for sums of trees and for ensembles of this library. For other models noise is sampled, which
    can only refute.

    References
    ----------
    Ruoss, Balunovic, Fischer, Vechev, "Learning certified individually fair representations",
    NeurIPS 2020 (arXiv 2002.10312), for the definition; the bounds are different.
    """
    rng = np.random.default_rng(seed)
    at = np.arange(len(table))
    if len(at) > MOST_ROWS:
        at = np.sort(rng.choice(len(at), MOST_ROWS, replace=False))
    rows = table.iloc[at].reset_index(drop=True)
    rows = rows.astype(dict.fromkeys(similar.noise, np.float64))
    decided = model.decide(rows) == 1
    reader, notes = _reader(model, rows, similar, decided)
    stable = np.ones(len(rows), dtype=np.bool_)
    certified, refuted = stable.copy(), ~stable
    for number, flipped in enumerate(_flipped(rows, table, similar.flips)):
        here = (model.decide(flipped) == 1) == decided
        stable &= here
        refuted |= ~here
        if reader is not None:
            sure, wrong = _judged(reader, flipped, decided)
            certified &= sure & here
            refuted |= wrong
        if similar.noise and number < MOST_TRIED:
            refuted |= _tried(model, flipped, similar.noise, decided, rng)
    if reader is None:
        certified = stable & (not similar.noise)
    return IndividualFairness(
        level=_level(reader, similar),
        flips=similar.flips,
        noise=tuple(similar.noise.items()),
        n_rows=len(rows),
        n_certified=int((certified & ~refuted).sum()),
        n_refuted=int(refuted.sum()),
        n_flip_stable=int(stable.sum()),
        notes=notes,
    )


def _level(reader: _Reader | None, similar: Similar) -> str:
    if reader is not None:
        return reader.level
    return "sampled" if similar.noise else "exact, enumeration"


def _flipped(
    rows: pd.DataFrame, table: pd.DataFrame, flips: tuple[str, ...]
) -> Iterator[pd.DataFrame]:
    """Yield the rows, and the rows with every combination of values in the whole table."""
    levels = [table[name].dropna().unique().tolist() for name in flips]
    # The given rows are included because they may have missing values, which flips exclude.
    yield rows
    for values in product(*levels) if flips else ():
        changed = rows.copy()
        for name, value in zip(flips, values, strict=True):
            changed[name] = pd.Series([value] * len(rows), dtype=rows[name].dtype)
        yield changed


def _judged(
    reader: _Reader, rows: pd.DataFrame, decided: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which rows provably keep their decision, and which provably can change it."""
    low, high = reader.reach(rows)
    edge = reader.tolerance
    sure = np.where(decided, low > edge, high < -edge)
    wrong = np.where(decided, low < -edge, high > edge)
    return sure, wrong & reader.exact


def _tried(
    model: ModelAdapter,
    rows: pd.DataFrame,
    noise: Mapping[str, float],
    decided: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Return the rows whose decision some perturbation changes; half of these are corners."""
    found = np.zeros(len(rows), dtype=np.bool_)
    for turn in range(TRIES):
        shifts = rng.uniform(-1, 1, size=(len(noise), len(rows)))
        shifts = np.sign(shifts) if turn % 2 == 0 else shifts
        moved = rows.assign(
            **{
                name: rows[name] + radius * shift
                for (name, radius), shift in zip(noise.items(), shifts, strict=True)
            }
        )
        found |= (model.decide(moved) == 1) != decided
    return found


def _reader(
    model: ModelAdapter, rows: pd.DataFrame, similar: Similar, decided: NDArray[np.bool_]
) -> tuple[_Reader | None, tuple[str, ...]]:
    """Return the range of scores under noise, or None without noise or a readable model."""
    if not similar.noise:
        return None, ()
    if isinstance(model.model, LinearRule):
        return _rule_reader(model.model, similar), ()
    try:
        if isinstance(getattr(model.model, "model_", None), Predictor):
            reach, unread = own_range(model.model, rows, dict(similar.noise), model.sensitive)
            own = _Reader(level="sound, ensemble", reach=reach, tolerance=0.0, exact=False)
            return own, (unread,) if unread else ()
        with warnings.catch_warnings():
            # The last step predicts arrays, although it may have been fitted with names.
            warnings.filterwarnings("ignore", "X (does not have valid|has) feature names")
            return _structure_reader(model, rows, similar, decided), ()
    except UnsupportedModel as unreadable:
        note = f"{unreadable}: noise was sampled, which can refute but not certify"
        return None, (note,)


def _rule_reader(rule: LinearRule, similar: Similar) -> _Reader:
    def reach(rows: pd.DataFrame) -> Ends:
        margin = rule.margin(rows)
        radius = sum(
            abs(rule.coefficients.get(name, 0.0)) * size for name, size in similar.noise.items()
        )
        return margin - radius, margin + radius

    return _Reader(level="exact, linear", reach=reach, tolerance=ROUNDING, exact=True)


def _structure_reader(
    model: ModelAdapter, rows: pd.DataFrame, similar: Similar, decided: NDArray[np.bool_]
) -> _Reader:
    radii = np.array(list(similar.noise.values()))
    slopes = slopes_of(model.model, rows, similar.noise)
    prepared = prepared_values(model.model, model.features(rows))
    final = last_step(model.model)
    if model.sensitive or prepared.shape[1] != len(slopes):
        raise UnsupportedModel("the columns could not be traced through the steps of the pipeline")
    _check_slopes(model, rows, similar, slopes)
    if hasattr(final, "coef_"):
        return _linear_reader(model, final, slopes, prepared, similar, decided)
    forest, tolerance = forest_of(final, prepared)
    sign = _sign(forest.bounds(prepared, prepared)[0], decided, tolerance)
    # The box ignores that columns with a common source move together, which is sound.
    around = np.abs(slopes) @ radii * (1 + ROUNDING)

    def reach(flipped: pd.DataFrame) -> Ends:
        values = prepared_values(model.model, model.features(flipped))
        return _signed(sign, *forest.bounds(values - around, values + around))

    return _Reader(level="sound, trees", reach=reach, tolerance=tolerance, exact=False)


def _linear_reader(
    model: ModelAdapter,
    final: Any,
    slopes: NDArray[np.float64],
    prepared: NDArray[np.float64],
    similar: Similar,
    decided: NDArray[np.bool_],
) -> _Reader:
    weights = np.atleast_2d(np.asarray(final.coef_, dtype=np.float64))
    if not hasattr(final, "decision_function") or weights.shape != (1, len(slopes)):
        raise UnsupportedModel(f"{type(final).__name__} has no single linear score per row")
    own = np.asarray(final.decision_function(prepared), dtype=np.float64)
    constant = float(np.ravel(final.intercept_)[0])
    shift = prepared @ weights[0] + constant - own
    size = 1 + float(np.abs(own).max())
    if not np.abs(shift).max() <= ROUNDING * size:
        raise UnsupportedModel(f"the score of {type(final).__name__} is not linear in its columns")
    sign = _sign(own, decided, ROUNDING * size)
    effects = np.abs(weights[0] @ slopes) * np.array(list(similar.noise.values()))

    def reach(flipped: pd.DataFrame) -> Ends:
        values = prepared_values(model.model, model.features(flipped))
        margin = values @ weights[0] + constant
        known = ~flipped[list(similar.noise)].isna().to_numpy()
        # Noise does not change a missing value.
        radius = known @ effects
        return _signed(sign, margin - radius, margin + radius)

    return _Reader(level="exact, linear", reach=reach, tolerance=ROUNDING * size, exact=True)


def _sign(score: NDArray[np.float64], decided: NDArray[np.bool_], edge: float) -> int:
    """Return 1 if scores above 0 mean the positive class, else -1."""
    clear = np.abs(score) > edge
    for sign in (1, -1):
        if (((sign * score) > 0) == decided)[clear].all():
            return sign
    raise UnsupportedModel("the decision is not the sign of the score")


def _signed(sign: int, low: NDArray[np.float64], high: NDArray[np.float64]) -> Ends:
    return (low, high) if sign > 0 else (-high, -low)


def _check_slopes(
    model: ModelAdapter, rows: pd.DataFrame, similar: Similar, slopes: NDArray[np.float64]
) -> None:
    """Raise unless the columns move through the pipeline by the slopes."""
    before = prepared_values(model.model, model.features(rows))
    for at, (name, radius) in enumerate(similar.noise.items()):
        for side in (-radius, radius):
            moved = rows.assign(**{name: rows[name] + side})
            after = prepared_values(model.model, model.features(moved))
            apart = np.abs(after - before - side * slopes[:, at])
            known = ~rows[name].isna().to_numpy()
            size = 1 + np.abs(np.nan_to_num(before)).max()
            if known.any() and np.nanmax(apart[known], initial=0.0) > 1e-6 * size:
                raise UnsupportedModel(
                    f"column {name!r} does not move linearly through the pipeline"
                )
