"""Mitigators of other libraries on the same rows, scores and learner: one file each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.registry import Registry
from fairautoml.spaces import ParamSpace
from fairautoml.trials import ParamValue


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """What another library's mitigator is given.

    Parameters
    ----------
    X, held_X : ndarray of float32, shape (n_rows, n_features) and (n_held, n_features)
        Encoded features of the training and of the held-out rows; the group is not among them.
    y : ndarray of int8, shape (n_rows,)
        Labels 0 or 1 of the training rows.
    group, held_group : ndarray of int, shape (n_rows,) and (n_held,)
        Number of the group.
    scores, held_scores : ndarray of float32, shape (n_rows,) and (n_held,)
        P(y = 1) of the plain model; out of fold on the training rows. Empty for a peer that
        does not ask for them.
    estimator : classifier
        The unfitted learner.
    retrain : callable
        From sample weights, shape (n_rows,), to P(y = 1) of the held-out rows by the learner
        trained with them, as the plain one is.
    metric : str
        What shall be equal.
    values : tuple of float
        Strengths or tolerances.
    params : mapping
        Other parameters.
    seed : int
        Seed of everything random.
    """

    X: Any
    held_X: Any
    y: NDArray[np.int8]
    group: NDArray[np.integer]
    held_group: NDArray[np.integer]
    scores: NDArray[np.float32]
    held_scores: NDArray[np.float32]
    estimator: Any
    retrain: Callable[[NDArray[np.float64]], NDArray[np.float32]]
    metric: str
    values: tuple[float, ...]
    params: Mapping[str, ParamValue]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decided:
    """Decisions at one strength.

    Parameters
    ----------
    strength : float or None
        Which.
    decisions : ndarray of int, shape (n_held,)
        0 or 1.
    outside_cpu : float
        CPU seconds spent in other processes.
    """

    strength: float | None
    decisions: NDArray[np.integer]
    outside_cpu: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MitigationPeer:
    """A mitigator of another library.

    Parameters
    ----------
    needs_sensitive_at_predict : bool
        Whether it reads the groups of new rows.
    randomized : bool
        Whether it decides at random.
    uses_scores : bool
        Whether it works on the plain model's scores.
    serves : frozenset of str
        Metrics that it can make equal.
    decide : callable
        The decisions at every strength.
    space : ParamSpace
        Its parameters; the tolerances of a peer with ``uses_scores`` are no parameter.
    """

    needs_sensitive_at_predict: bool
    randomized: bool
    uses_scores: bool
    serves: frozenset[str]
    decide: Callable[[Question], Sequence[Decided]]
    space: ParamSpace = field(default_factory=lambda: ParamSpace(name="peer"))


ARSENAL_PEERS: Registry[MitigationPeer] = Registry("peers._arsenal", constant="PEER", kind="peer")

__all__ = ["ARSENAL_PEERS", "Decided", "MitigationPeer", "Question"]
