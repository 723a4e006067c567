"""Other systems on the same tables, judged by the same code: one file per system.

``python -m fairautoml.bench.peers NAME`` takes the arguments of ``fairautoml fit`` and prints the
same JSON; what a system does not know (strategies, mitigators) it does not read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data.groups import GroupSchema
from fairautoml.judging import judge
from fairautoml.metrics import Constraint
from fairautoml.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """What another system is asked.

    Parameters
    ----------
    X : DataFrame, shape (n_rows, n_features)
        Features as the user has them, group columns among them.
    y : ndarray of int8, shape (n_rows,)
        0 or 1; 1 is the positive class.
    groups : GroupSchema
        How group columns are read.
    constraints : tuple of Constraint
        What is demanded.
    seconds : float or None
        Wall-clock budget.
    n_trials : int or None
        Budget in trials.
    seed : int
        Root seed.
    """

    X: pd.DataFrame
    y: NDArray[np.int8]
    groups: GroupSchema
    constraints: tuple[Constraint, ...]
    seconds: float | None
    n_trials: int | None
    seed: int

    def judge(
        self, X: pd.DataFrame, y: NDArray[np.integer], decisions: NDArray[np.integer]
    ) -> dict[str, Any]:
        """Return what decisions are worth, as ``fairautoml.judging.judge`` does.

        Parameters
        ----------
        X : DataFrame, shape (n_rows, n_features)
            Rows with the group columns.
        y, decisions : ndarray of int, shape (n_rows,)
            0 or 1.
        """
        cells = self.groups.encode(X[list(self.groups.columns)], unseen="base_model")
        return judge(y, decisions, cells, groups=self.groups, constraints=self.constraints)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """The model of another system, and what it cost.

    Parameters
    ----------
    decide : callable
        From a table like ``Question.X`` to decisions, 0 or 1.
    learner : str
        Kind of the model.
    score : float
        Its accuracy on the system's own validation rows.
    gap : float or None
        Its largest gap there, None when undefined.
    feasible : bool
        Every constraint is met there.
    n_trials, n_feasible : int
        Trials, and those of them that met every constraint there.
    seconds_to_best : float
        When the model was found, from the start of the search.
    """

    decide: Callable[[pd.DataFrame], NDArray[np.integer]]
    learner: str
    score: float
    gap: float | None
    feasible: bool
    n_trials: int
    n_feasible: int
    seconds_to_best: float


Peer = Callable[[Question], Answer]

PEERS: Registry[Peer] = Registry("fairautoml.bench.peers", constant="PEER", kind="system")

__all__ = ["PEERS", "Answer", "Peer", "Question"]
