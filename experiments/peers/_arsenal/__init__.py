"""Mitigators of other libraries on the same rows, scores and learner: one file each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.records import ParamValue
from fairautoml.registry import Registry
from fairautoml.search.space import ParamSpace


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """What another library's mitigator is given."""

    # encoded features of the training and of the held-out rows; the group is not among them
    X: Any  # shape (n_rows, n_features) and (n_held, n_features)
    held_X: Any  # shape (n_rows, n_features) and (n_held, n_features)
    y: NDArray[np.int8]  # shape (n_rows,): labels 0 or 1 of the training rows
    group: NDArray[np.integer]  # shape (n_rows,) and (n_held,): number of the group
    held_group: NDArray[np.integer]  # shape (n_rows,) and (n_held,)
    scores: NDArray[np.float32]  # shape (n_rows,) and (n_held,): P(y = 1) of the plain model
    held_scores: NDArray[np.float32]  # shape (n_rows,) and (n_held,)
    estimator: Any  # the unfitted learner
    # from sample weights, shape (n_rows,), to P(y = 1) of the held-out rows by the learner
    # trained with them, as the plain one is
    retrain: Callable[[NDArray[np.float64]], NDArray[np.float32]]
    metric: str  # what shall be equal
    values: tuple[float, ...]  # strengths or tolerances
    params: Mapping[str, ParamValue]  # other parameters
    seed: int  # seed of everything random


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decided:
    """Decisions at one strength."""

    strength: float | None  # which
    decisions: NDArray[np.integer]  # shape (n_held,): 0 or 1
    outside_cpu: float = 0.0  # CPU seconds spent in other processes


@dataclass(frozen=True, slots=True, kw_only=True)
class MitigationPeer:
    """A mitigator of another library."""

    needs_sensitive_at_predict: bool  # whether it reads the groups of new rows
    randomized: bool  # whether it decides at random
    uses_scores: bool  # whether it works on the plain model's scores
    serves: frozenset[str]  # metrics that it can make equal
    decide: Callable[[Question], Sequence[Decided]]  # the decisions at every strength
    space: ParamSpace = field(default_factory=lambda: ParamSpace(name="peer"))  # its parameters


ARSENAL_PEERS: Registry[MitigationPeer] = Registry("peers._arsenal", constant="PEER", kind="peer")

__all__ = ["ARSENAL_PEERS", "Decided", "MitigationPeer", "Question"]
