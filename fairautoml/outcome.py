"""What a search leaves: the leaderboard, the models that entries are served from, the files."""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.assembly import FairClassifier
from fairautoml.data._frames import as_array, read_table
from fairautoml.data._numbers import OnNonfinite
from fairautoml.data.columns import TableSchema, fit_columns
from fairautoml.data.dataset import Dataset
from fairautoml.data.groups import GroupSchema
from fairautoml.evaluation.fitting import Bag
from fairautoml.evaluation.membership import kept_membership
from fairautoml.evaluation.objective import refit
from fairautoml.exceptions import InputError, NoModelError
from fairautoml.keeping import Keeper
from fairautoml.leaderboard import Leaderboard
from fairautoml.metrics._effective import effective_rows
from fairautoml.mitigators import MITIGATORS, MembershipModel
from fairautoml.run import History, OnProgress, RunPlan, run_search
from fairautoml.trials import Artifacts, BlindRule, Entry


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Entries, and everything needed to serve those on the Pareto front.

    Parameters
    ----------
    board : Leaderboard
        All entries.
    best : Entry
        The one that is served unless the user selects another.
    bags : mapping of str to Bag
        Fold models by trial key, of every trial that has an entry on the front.
    schema, groups, classes
        How new rows are read, as in ``Dataset``.
    seed : int
        Root seed, salt of randomised rules.
    membership : MembershipModel or None
        For rules that read how likely groups are.
    """

    board: Leaderboard
    best: Entry
    bags: Mapping[str, Bag]
    schema: TableSchema
    groups: GroupSchema | None
    classes: NDArray[Any]
    seed: int
    membership: MembershipModel | None = None

    def classifier(self, entry: Entry) -> FairClassifier:
        """Return the classifier of an entry; nothing is trained.

        Parameters
        ----------
        entry : Entry
            One whose models are kept.
        """
        trained_with = entry.candidate.mitigation
        reads_groups = (
            trained_with != "none" and MITIGATORS.get(trained_with).needs_sensitive_at_predict
        )
        return FairClassifier(
            models=self.bags[entry.trial_key],
            rule=entry.rule,
            schema=self.schema,
            groups=self.groups,
            classes=self.classes,
            needs_sensitive=entry.rule.needs_sensitive or reads_groups,
            salt=self.seed,
            membership=self.membership if isinstance(entry.rule, BlindRule) else None,
        )

    def select(self, *, max_gap: float | None, min_score: float | None) -> Entry:
        """Return the entry that fits best, among those whose models are kept.

        Raises
        ------
        InputError
            None fits; the message says how far the front reaches.
        """
        entry = self.board.select(max_gap=max_gap, min_score=min_score, trials=set(self.bags))
        if entry is None:
            front = self.board.pareto_front()
            ends = " to ".join(
                f"{self.board.objective} {e.score:.4f} at gap {e.gap:.4f}"
                for e in (front[0], front[-1])
            )
            msg = (
                f"select(max_gap={max_gap}, min_score={min_score}): no entry fits; the front goes "
                f"from {ends}"
            )
            raise InputError(msg)
        return entry


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What ``conduct`` returns.

    Parameters
    ----------
    history : History
        Everything the search saw.
    pool : Pool
        What can be served.
    interrupted : bool
        Whether the user ended the search.
    """

    history: History
    pool: Pool
    interrupted: bool


def conduct(
    plan: RunPlan,
    keeper: Keeper | None,
    *,
    retrain: bool,
    on_progress: OnProgress | None,
) -> Outcome:
    """Run the search and load what can be served.

    Parameters
    ----------
    plan : RunPlan
        What to search.
    keeper : Keeper or None
        Keeps every trial as it ends; without one nothing stays on the disk.
    retrain : bool
        Train the chosen candidate once on all rows instead of serving its fold models.
    on_progress : callable or None
        Called with a ``Progress`` after each trial.

    Raises
    ------
    NoModelError
        Not a single trial gave a model.
    KeyboardInterrupt
        The user ended the search before the first model.
    """
    with ExitStack() as stack:
        artifacts = _temporary(stack) if keeper is None else keeper.artifacts
        history, finished = run_search(
            plan,
            artifacts,
            study=None if keeper is None else keeper.study,
            keep=None if keeper is None else keeper.keep,
            on_progress=on_progress,
        )
        if history.best is None and not finished:
            raise KeyboardInterrupt
        if history.best is None:
            failures = [
                f"{r.trial.candidate.learner}: {r.status} {r.error}" for r in history.results
            ]
            msg = (
                f"no trial of {len(failures)} gave a model ({'; '.join(failures)}); "
                "give a larger time_budget or other learners"
            )
            raise NoModelError(msg)
        entries = tuple(history.entries)
        pool = make_pool(entries, history.best, plan, artifacts, retrain=retrain)
        for result in history.results:
            # Forests are large, and nothing off the front can be chosen any more.
            if result.trial.key not in pool.bags:
                artifacts.drop_models(result.trial.key)
    return Outcome(history=history, pool=pool, interrupted=not finished)


def _temporary(stack: ExitStack) -> Artifacts:
    made = stack.enter_context(tempfile.TemporaryDirectory(prefix="fairautoml-"))
    artifacts = Artifacts(Path(made))
    artifacts.prepare()
    return artifacts


def make_pool(
    entries: tuple[Entry, ...], best: Entry, plan: RunPlan, artifacts: Artifacts, *, retrain: bool
) -> Pool:
    """Load the models that can be served and let go of all training rows.

    Parameters
    ----------
    entries : tuple of Entry
        All of them.
    best : Entry
        The chosen one.
    plan : RunPlan
        The search that found them.
    artifacts : Artifacts
        Where the fold models lie.
    retrain : bool
        Train the chosen candidate once on all rows instead of serving its fold models.
    """
    dataset = plan.problem.dataset
    board = Leaderboard(
        entries=entries,
        systems=dataset.systems,
        objective=plan.problem.objective.name,
        n_rows=_rows_by_cell(dataset),
    )
    keys = {entry.trial_key for entry in (*board.pareto_front(), best)}
    bags = {key: Bag(artifacts.models(key)) for key in sorted(keys)}
    if retrain:
        targets = plan.problem.goal.targets
        bags[best.trial_key] = Bag(refit(best.candidate, dataset, plan.seed, targets))
    return Pool(
        board=board,
        best=best,
        bags=bags,
        schema=dataset.schema,
        groups=dataset.groups,
        classes=dataset.classes,
        seed=plan.seed,
        membership=kept_membership(
            artifacts, [isinstance(entry.rule, BlindRule) for entry in board.entries]
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantClassifier:
    """Answers with the only class that ``fit`` has seen; stands in for a ``FairClassifier``.

    Parameters
    ----------
    schema : TableSchema
        How a table is read: new rows are checked as ever.
    classes : ndarray of shape (1,)
        The user's label.
    """

    schema: TableSchema
    classes: NDArray[Any]
    groups: None = None
    needs_sensitive: bool = False

    def decisions(self, X: Any, cells: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the position of the class for encoded rows, shape (n_rows,)."""
        return np.zeros(len(cells), dtype=np.int64)


def constant_classifier(X: Any, y: Any, on_nonfinite: OnNonfinite) -> ConstantClassifier | None:
    """Return the model of a target with one class; None when it has several or is faulty.

    Parameters
    ----------
    X, y
        As in ``fit``.
    on_nonfinite : {"error", "impute"}
        As in ``fit``.
    """
    table, labels = read_table(X), as_array(y, "y")
    if labels.ndim != 1 or len(labels) != table.n_rows or pd.isna(labels).any():
        return None
    if len(set(labels.tolist())) != 1:
        return None
    schema, _ = fit_columns(table, drop=(), on_nonfinite=on_nonfinite)
    return ConstantClassifier(schema=schema, classes=labels[:1].copy())


def _rows_by_cell(dataset: Dataset) -> NDArray[np.float64]:
    n_cells = 1 if dataset.groups is None else dataset.groups.n_cells
    return effective_rows(dataset.cells, dataset.weight, n_cells)
