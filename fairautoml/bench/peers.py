"""Other systems on the same tables, judged by the same code: what one is, and where they are.

A system is a file ``NAME.py`` with the constant ``PEER`` in a folder beside the sweep, or an entry
point of the group ``fairautoml.peers``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.bench.plugins import load_file
from fairautoml.data.groups import GroupSchema
from fairautoml.evaluation.problem import targets_of
from fairautoml.exceptions import InputError, ParameterError, UnknownNameError
from fairautoml.metrics import Constraint
from fairautoml.mitigators import Target
from fairautoml.registry import unknown_name
from fairautoml.serving.judging import judge


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """What another system is asked.

    Parameters
    ----------
    X : DataFrame, shape (n_rows, n_features)
        Columns as the user has them, group columns among them.
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
    blind : bool
        Whether models must do without the group columns, which are then read in training only.
    """

    X: pd.DataFrame
    y: NDArray[np.int8]
    groups: GroupSchema
    constraints: tuple[Constraint, ...]
    seconds: float | None
    n_trials: int | None
    seed: int
    blind: bool = False

    @property
    def features(self) -> pd.DataFrame:
        """What models may read: all columns, or those that do not hold groups."""
        return self.X.drop(columns=list(self.groups.columns)) if self.blind else self.X

    @property
    def cells(self) -> NDArray[np.int32]:
        """Finest group cell of each row."""
        return self.cells_of(self.X)

    @property
    def targets(self) -> tuple[Target, ...]:
        """What is demanded of which groups."""
        return targets_of(self.constraints, self.groups.systems)

    def cells_of(self, X: pd.DataFrame) -> NDArray[np.int32]:
        """Return the finest group cells of rows, -1 where the group is not known.

        Parameters
        ----------
        X : DataFrame, shape (n_rows, n_features)
            Rows with the group columns.
        """
        return self.groups.encode(X[list(self.groups.columns)], unseen="base_model")

    def judge(
        self, X: pd.DataFrame, y: NDArray[np.integer], decisions: NDArray[np.integer]
    ) -> dict[str, Any]:
        """Return what decisions are worth, as ``fairautoml.serving.judging.judge`` does.

        Parameters
        ----------
        X : DataFrame, shape (n_rows, n_features)
            Rows with the group columns.
        y, decisions : ndarray of int, shape (n_rows,)
            0 or 1.
        """
        return judge(
            y, decisions, self.cells_of(X), groups=self.groups, constraints=self.constraints
        )


Decide = Callable[[pd.DataFrame], NDArray[np.integer]]
"""From a table like ``Question.X`` to decisions, 0 or 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offer:
    """A model that a system has found, and what it is worth on the system's own rows.

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
    seconds : float
        When it was found, from the start of the search.
    counts : ndarray of float64, shape (n_cells, 2, 2), optional
        Validation rows by finest cell, label and decision; None where the system does not say.
    """

    decide: Decide
    learner: str
    score: float
    gap: float | None
    feasible: bool
    seconds: float
    counts: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What another system found, and what it chose.

    Parameters
    ----------
    chosen : Offer
        The system's own answer.
    n_trials : int
        Models trained.
    n_feasible : int
        Offers that met every constraint on its validation rows; one training may give many.
    offers : tuple of Offer
        What it could have answered instead, with their counts; our margin chooses among them.
    front : tuple of Offer
        The best of what it tried, by its own rows, in accuracy and gap; what it would choose for
        a few largest gaps is judged after its time.
    no_offers : str
        Why there are no offers; empty when there are.
    seconds : float or None
        What the system took, where it runs in a process of its own; None = as it was asked here.
    """

    chosen: Offer
    n_trials: int
    n_feasible: int
    offers: tuple[Offer, ...] = ()
    front: tuple[Offer, ...] = ()
    no_offers: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Peer:
    """Another system.

    Parameters
    ----------
    about : str
        What it is, in one line.
    ask : callable
        From a question to its answer.
    reads_groups : bool
        Whether its rule needs the group of a new person, beyond what the features tell.
    randomized : bool
        Whether it may decide at random.
    constrained : bool
        Whether it reads the constraint.
    metrics : frozenset of str or None
        Fairness metrics that it can be asked for, None = all.
    blind : bool
        Whether it can do without the group columns but in training.
    """

    about: str
    ask: Callable[[Question], Answer]
    reads_groups: bool = False
    randomized: bool = False
    constrained: bool = True
    metrics: frozenset[str] | None = None
    blind: bool = False

    def check(
        self, name: str, constraints: tuple[Constraint, ...], *, blind: bool = False
    ) -> None:
        """Refuse what the system has no words for.

        Parameters
        ----------
        name : str
            Name of the system.
        constraints : tuple of Constraint
            What is demanded.
        blind : bool
            Whether its models must do without the group columns.

        Raises
        ------
        ParameterError
            A metric is not one of its own, or it needs the groups.
        """
        if blind and not self.blind:
            raise ParameterError(f"system {name!r} cannot be asked with --blind; leave it out")
        for constraint in constraints:
            metric = constraint.metric.name
            if self.metrics is not None and metric not in self.metrics:
                known = ", ".join(sorted(self.metrics))
                msg = f"system {name!r} cannot be asked for {metric!r}; it knows {known}"
                raise ParameterError(msg)


PARITY_OR_ODDS = frozenset({"demographic_parity_difference", "equalized_odds_difference"})
"""Fairness metrics that most systems know."""

GROUP = "fairautoml.peers"


class Peers:
    """The systems in folders and those that installed packages register; listing imports none.

    Parameters
    ----------
    folders : sequence of Path
        Each file in one whose name has no leading underscore is a system.

    Raises
    ------
    InputError
        A folder does not exist, or two systems have the same name.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self.folders = tuple(dict.fromkeys(folder.resolve() for folder in folders))
        self._places: dict[str, Any] = {point.name: point for point in entry_points(group=GROUP)}
        for folder in self.folders:
            if not folder.is_dir():
                raise InputError(f"there is no folder {folder} of systems; correct its path")
            for file in sorted(folder.glob("[!_]*.py")):
                if file.stem in self._places:
                    taken = self._places[file.stem]
                    raise InputError(
                        f"system {file.stem!r} is both {taken} and {file}; rename one"
                    )
                self._places[file.stem] = file

    def names(self) -> tuple[str, ...]:
        """Return all names, sorted."""
        return tuple(sorted(self._places))

    def get(self, name: str) -> Peer:
        """Return the system called ``name``.

        Raises
        ------
        UnknownNameError
            No system has that name.
        """
        if name not in self._places:
            raise UnknownNameError(unknown_name("system", name, self.names()))
        place = self._places[name]
        found: Peer = load_file(place).PEER if isinstance(place, Path) else place.load()
        return found
