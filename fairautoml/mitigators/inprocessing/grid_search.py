"""Grid search over the prices of violations: one deterministic model.

Source: Agarwal et al., *A Reductions Approach to Fair Classification*, arXiv 1803.02453, section
4 (grid search); the lattice and the choice by error and violation are those of fairlearn 0.15.
"""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fairautoml.mitigators._base import FitBaseLearner, Mitigator, ScoreModel, TrainRows
from fairautoml.mitigators.inprocessing._reductions import SERVES, Members, Moments, moments_of
from fairautoml.records import Floats, ParamValues


def train(rows: TrainRows, fit_base: FitBaseLearner, params: ParamValues, seed: int) -> ScoreModel:
    """Return the model with the best mean of error and largest violation.

    Ends early when one more training would exceed the time left; the plain model comes first and
    is always trained.
    """
    members = Members(rows=rows, moments=moments_of(rows), fit_base=fit_base)
    for multipliers in grid(
        members.moments, int(params["grid_size"]), float(params["grid_limit"])
    ):
        members.add(multipliers)
    share = float(params["constraint_weight"])
    violations = np.array(members.gammas).max(axis=1)
    values = (1 - share) * np.array(members.errors) + share * violations
    return members.models[int(values.argmin())]


def grid(moments: Moments, size: int, limit: float) -> Floats:
    """Return multipliers spread over all signs and directions, the smallest first.

    The signed multipliers are evenly spaced points of the coarsest lattice with at least ``size``
    points, always including 0, the plain model. The last group of every rate needs no price,
    because its distance follows from the others.
    """
    free = np.concatenate([np.arange(len(s)) < len(s) - 1 for s in moments.shares])
    points, reach = _points(int(free.sum()), size)
    steps = np.linspace(0, len(points) - 1, size).round().astype(np.int64)
    signed = np.zeros((size, len(free)))
    signed[:, free] = points[steps] * (limit / reach)
    nearest = np.abs(signed).sum(axis=1).argmin()
    signed[nearest] = 0.0
    order = np.argsort(np.abs(signed).sum(axis=1), kind="stable")
    return np.hstack([signed.clip(min=0), (-signed).clip(min=0)])[order]


def _points(dim: int, size: int) -> tuple[NDArray[np.int64], int]:
    """Return the points of the coarsest lattice with at least ``size`` points, and its reach."""
    if size <= 2 * dim + 1:
        units = np.eye(dim, dtype=np.int64)
        return np.vstack([-units, np.zeros_like(units[:1]), units[::-1]]), 1
    for reach in itertools.count(2):
        points = list(_lattice(dim, reach))
        if len(points) >= size:
            break
    return np.array(points), reach


def _lattice(dim: int, reach: int) -> Iterator[tuple[int, ...]]:
    """Yield the integer points with absolute sum up to ``reach``, in lexicographic order."""
    if dim == 0:
        yield ()
        return
    for first in range(-reach, reach + 1):
        for rest in _lattice(dim - 1, reach - abs(first)):
            yield (first, *rest)


MITIGATOR = Mitigator(
    name="grid_search",
    stage="in",
    needs_sensitive_at_predict=False,
    serves=SERVES,
    cost="costly",
    ratio=11.0,
    train=train,
)
