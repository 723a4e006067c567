"""Interface of other systems in a sweep, and their registry.

A system is a file ``NAME.py`` with the constant ``PEER`` in a folder beside the sweep, or an entry
point of the group ``fairautoml.peers``. ``python -m fairautoml.bench.peers FILE.py ...`` calls
``main`` of such a file.
"""

import importlib
import sys
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.data.groups import GroupSchema
from fairautoml.evaluation.judge import judge
from fairautoml.exceptions import InputError, ParameterError, UnknownNameError
from fairautoml.metrics import BoundConstraint, Constraint, bind_constraints
from fairautoml.registry import unknown_name


def load_file(file: Path) -> ModuleType:
    """Import a Python file.

    The folder that holds its outermost package is put on ``sys.path``, so the packages in that
    folder can import each other.
    """
    file = file.resolve()
    if not file.is_file():
        raise InputError(f"there is no file {file}; correct the path to it")
    root = file.parent
    while (root / "__init__.py").exists():
        root = root.parent
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    name = ".".join(file.relative_to(root).with_suffix("").parts)
    module = importlib.import_module(name)
    if module.__file__ is None or Path(module.__file__).resolve() != file:
        raise InputError(
            f"{file} cannot be imported as {name!r}: {module.__file__} has that name; rename one"
        )
    return module


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """Problem that another system solves."""

    # raw columns, including the group columns
    X: pd.DataFrame  # shape (n_rows, n_features)
    y: NDArray[np.int8]  # shape (n_rows,): 0 or 1; 1 is the positive class
    groups: GroupSchema  # how group columns are read
    constraints: tuple[Constraint, ...]  # constraints to meet
    seconds: float | None  # wall-clock budget
    n_trials: int | None  # budget in trials
    seed: int  # root seed
    n_jobs: int = 1  # cores that it may use
    # whether models must not read the group columns, except in training
    blind: bool = False

    @property
    def features(self) -> pd.DataFrame:
        """Columns that models may read: all, or those without groups."""
        return self.X.drop(columns=list(self.groups.columns)) if self.blind else self.X

    @property
    def cells(self) -> NDArray[np.int32]:
        """Finest group of each row."""
        return self.cells_of(self.X)

    @property
    def targets(self) -> tuple[BoundConstraint, ...]:
        """Constraints bound to their groupings."""
        return bind_constraints(self.constraints, self.groups.systems)

    def cells_of(self, X: pd.DataFrame) -> NDArray[np.int32]:
        """Return the finest groups of rows, -1 for an unknown group."""
        return self.groups.encode(X[list(self.groups.columns)], unseen="base_model")

    def judge(
        self, X: pd.DataFrame, y: NDArray[np.integer], decisions: NDArray[np.integer]
    ) -> dict[str, Any]:
        """Return scores and gaps of decisions, as ``fairautoml.evaluation.judge.judge`` does."""
        return judge(
            y, decisions, self.cells_of(X), groups=self.groups, constraints=self.constraints
        )


Decide = Callable[[pd.DataFrame], NDArray[np.integer]]
"""Function from a table like ``Question.X`` to decisions, 0 or 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offer:
    """A model of a system, with its scores on the validation rows of the system."""

    decide: Decide  # predicts 0 or 1
    learner: str  # kind of the model
    score: float  # accuracy on the validation rows
    gap: float | None  # largest gap there, None if undefined
    feasible: bool  # every constraint is met there
    seconds: float  # time since the start of the search


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """Result of another system."""

    chosen: Offer  # model that the system selected
    n_trials: int  # models trained
    n_feasible: int  # offers that met every constraint on the validation rows
    offers: tuple[Offer, ...] = ()  # alternatives
    # Pareto front in accuracy and gap on the validation rows
    front: tuple[Offer, ...] = ()
    # returns the offer that this library's margin selects, None if no offer is feasible
    margin: Callable[[], Offer | None] | None = None
    no_offers: str = ""  # why there are no offers; empty if there are
    seconds: float | None = None  # run time, if the system runs in its own process


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Peer:
    """Another system."""

    about: str  # one line about the system
    ask: Callable[[Question], Answer]  # solves a question
    # whether its rule needs the group of a new row, in addition to the features
    reads_groups: bool = False
    randomized: bool = False  # whether its decisions may be randomized
    constrained: bool = True  # whether it reads the constraint
    metrics: Set[str] | None = None  # supported fairness metrics, None = all
    blind: bool = False  # whether its models can predict without the group columns

    def check(
        self, name: str, constraints: tuple[Constraint, ...], *, blind: bool = False
    ) -> None:
        """Raise ParameterError for constraints and options that the system does not support."""
        if blind and not self.blind:
            raise ParameterError(f"system {name!r} does not support --blind; leave it out")
        for constraint in constraints:
            metric = constraint.metric.name
            if self.metrics is not None and metric not in self.metrics:
                known = ", ".join(sorted(self.metrics))
                msg = f"system {name!r} does not support {metric!r}; it supports {known}"
                raise ParameterError(msg)


GROUP = "fairautoml.peers"


class Peers:
    """Registry of the systems in folders and in entry points; listing imports none."""

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
        """Return the system called ``name``."""
        if name not in self._places:
            raise UnknownNameError(unknown_name("system", name, self.names()))
        place = self._places[name]
        return load_file(place).PEER if isinstance(place, Path) else place.load()


if __name__ == "__main__":
    sys.exit(load_file(Path(sys.argv[1])).main(sys.argv[2:]))
