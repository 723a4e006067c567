"""What a search leaves: the leaderboard and the models that entries are served from."""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.assembly import FairClassifier
from fairautoml.data.columns import TableSchema
from fairautoml.data.dataset import Dataset
from fairautoml.data.groups import GroupSchema
from fairautoml.evaluation.fitting import Bag
from fairautoml.evaluation.objective import refit
from fairautoml.exceptions import InputError, NoModelError
from fairautoml.leaderboard import Leaderboard
from fairautoml.mitigators import MITIGATORS
from fairautoml.run import History, OnProgress, RunPlan, effective_rows, run_search
from fairautoml.store import RunFolder
from fairautoml.summary import describe_candidate, describe_entry
from fairautoml.trials import Artifacts, Entry, TrialResult


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
    """

    board: Leaderboard
    best: Entry
    bags: Mapping[str, Bag]
    schema: TableSchema
    groups: GroupSchema | None
    classes: NDArray[Any]
    seed: int

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
    folder: RunFolder | None,
    *,
    retrain: bool,
    on_progress: OnProgress | None,
) -> Outcome:
    """Run the search and load what can be served.

    Parameters
    ----------
    plan : RunPlan
        What to search.
    folder : RunFolder or None
        Keeps every trial as it ends; without one nothing stays on the disk.
    retrain : bool
        Train the chosen candidate once on all rows instead of serving its fold models.
    on_progress : callable or None
        Called with a ``Progress`` after each trial.

    Raises
    ------
    NoModelError
        Not a single trial gave a model.
    """
    with ExitStack() as stack:
        artifacts = _temporary(stack) if folder is None else folder.artifacts

        def keep(result: TrialResult, best: Entry | None) -> None:
            if folder is not None:
                shown = None
                if best is not None:
                    shown = describe_entry(best, plan.problem.objective.name)
                folder.append_trial({**describe_candidate(result), "best": shown})

        history, finished = run_search(plan, artifacts, keep=keep, on_progress=on_progress)
        if history.best is None:
            failures = [
                f"{r.trial.candidate.learner}: {r.status} {r.error}" for r in history.results
            ]
            raise NoModelError("no trial gave a model; " + "; ".join(failures))
        entries = tuple(history.entries)
        pool = make_pool(entries, history.best, plan, artifacts, retrain=retrain)
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
        bags[best.trial_key] = Bag(refit(best.candidate, dataset, plan.seed))
    return Pool(
        board=board,
        best=best,
        bags=bags,
        schema=dataset.schema,
        groups=dataset.groups,
        classes=dataset.classes,
        seed=plan.seed,
    )


def _rows_by_cell(dataset: Dataset) -> NDArray[np.float64]:
    n_cells = 1 if dataset.groups is None else dataset.groups.n_cells
    return effective_rows(dataset.cells, dataset.weight, n_cells)
