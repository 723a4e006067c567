"""What a search leaves: the leaderboard, the models that entries are served from, the files."""

import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairautoml.assembly import Assembled, FairClassifier, Finish, models_of
from fairautoml.data._frames import as_array, read_table
from fairautoml.data._numbers import OnNonfinite
from fairautoml.data.columns import TableSchema, fit_columns
from fairautoml.data.dataset import Dataset, TaskName
from fairautoml.data.groups import GroupSchema
from fairautoml.evaluation.fitting import Bag
from fairautoml.evaluation.membership import kept_membership
from fairautoml.evaluation.problem import Problem
from fairautoml.exceptions import (
    DegradedWarning,
    InputError,
    NoFeasibleModelError,
    NoFeasibleModelWarning,
    NoModelError,
    SmallGroupWarning,
)
from fairautoml.finishing.assembling import assemble
from fairautoml.finishing.keeping import Keeper
from fairautoml.finishing.news import bad_news, no_model, no_time_left
from fairautoml.finishing.refitting import refitted
from fairautoml.finishing.summary import margin_notes, shortfall
from fairautoml.leaderboard import Leaderboard
from fairautoml.metrics._effective import effective_rows
from fairautoml.mitigators import MITIGATORS, MembershipModel, ScoreModel
from fairautoml.posing.options import Wishes
from fairautoml.running.history import History
from fairautoml.running.prospects import Tidier
from fairautoml.running.results import OnProgress, unbroken
from fairautoml.running.run import RunPlan, is_over, run_search
from fairautoml.store.scratch import scratch
from fairautoml.trials import Artifacts, BlindRule, Entry

FINISH_SECONDS, FINISH_SHARE = 1.0, 0.3
"""That the answer may take after the search, whatever is left, and as a share of the budget."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Entries, and everything needed to serve those on the Pareto front.

    Parameters
    ----------
    board : Leaderboard
        All entries.
    best : Entry
        The one that is served unless the user selects another.
    bags : mapping of str to ScoreModel
        Fold models by trial key, of every trial that an entry on the front takes.
    schema, groups, classes
        How new rows are read, as in ``Dataset``.
    seed : int
        Root seed, salt of randomised rules.
    membership : MembershipModel or None
        For rules that read how likely groups are.
    task : {"binary", "multiclass", "regression"}
        What kind of target it is.
    rows_by_label : ndarray of int64, shape (n_cells, 2), or None
        Search rows that count, by finest cell and label, whatever they weigh; None without two
        classes.
    """

    board: Leaderboard
    best: Entry
    bags: Mapping[str, ScoreModel]
    schema: TableSchema
    groups: GroupSchema | None
    classes: NDArray[Any]
    seed: int
    membership: MembershipModel | None = None
    task: TaskName = "binary"
    rows_by_label: NDArray[np.int64] | None = None

    def classifier(self, entry: Entry) -> FairClassifier:
        """Return the classifier of an entry; nothing is trained.

        Parameters
        ----------
        entry : Entry
            One whose models are kept.
        """
        return FairClassifier(
            models=models_of(entry, self.bags),
            rule=entry.rule,
            schema=self.schema,
            groups=self.groups,
            classes=self.classes,
            needs_sensitive=bool(self.board.asks_groups(entry)),
            salt=self.seed,
            membership=self.membership if isinstance(entry.rule, BlindRule) else None,
            task=self.task,
        )

    def serving(self, entry: Entry) -> "Pool":
        """Return the pool as it is when another entry is served: the board puts it first.

        Parameters
        ----------
        entry : Entry
            One whose models are kept.
        """
        return replace(self, board=replace(self.board, served=entry), best=entry)

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
    assembled : Assembled
        How the served entry was chosen.
    interrupted : bool
        Whether the user ended the search.
    """

    history: History
    pool: Pool
    assembled: Assembled
    interrupted: bool


def conduct(
    plan: RunPlan,
    keeper: Keeper | None,
    *,
    finish: Finish,
    retrain: bool,
    on_progress: OnProgress | None,
) -> Outcome:
    """Run the search, choose, and load what can be served.

    Parameters
    ----------
    plan : RunPlan
        What to search.
    keeper : Keeper or None
        Keeps every trial as it ends; without one nothing stays on the disk.
    finish : Finish
        How the answer is made from what was found.
    retrain : bool
        Train the chosen candidate once on all rows instead of serving its fold models, if there
        is time for it.
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
        study = None if keeper is None else keeper.study
        if over := is_over(plan, study):
            used = time.monotonic() - plan.start
            warnings.warn(no_time_left(used), DegradedWarning, stacklevel=4)
        history, finished = run_search(
            plan,
            artifacts,
            study=study,
            keep=None if keeper is None else keeper.keep,
            on_progress=unbroken(on_progress),
        )
        if history.best is None and not finished:
            raise KeyboardInterrupt
        if history.best is None:
            raise NoModelError(no_model(history.results))
        if finish.end is not None:
            least = min(FINISH_SECONDS, FINISH_SHARE * (finish.end - plan.start))
            finish = replace(finish, end=max(finish.end, time.monotonic() + least))
        # A run that goes on and has spent its budget before is given its whole answer again.
        whole = replace(finish, end=None) if over else finish
        assembled = assemble(plan, history, artifacts, whole)
        made = refitted(assembled.best, plan, history.results, finish.end) if retrain else {}
        pool = make_pool(assembled, plan, artifacts, made)
        Tidier(artifacts, history.results, history.entries).tidy()
    return Outcome(history=history, pool=pool, assembled=assembled, interrupted=not finished)


def _temporary(stack: ExitStack) -> Artifacts:
    artifacts = Artifacts(stack.enter_context(scratch()), durable=False)
    artifacts.prepare()
    return artifacts


def make_pool(
    assembled: Assembled, plan: RunPlan, artifacts: Artifacts, made: Mapping[str, ScoreModel]
) -> Pool:
    """Load the models that can be served and let go of all training rows.

    Parameters
    ----------
    assembled : Assembled
        All entries and the chosen one.
    plan : RunPlan
        The search that found them.
    artifacts : Artifacts
        Where the fold models lie.
    made : mapping of str to ScoreModel
        Served in place of the fold models, by trial key.
    """
    dataset, best = plan.problem.dataset, assembled.best
    board = Leaderboard(
        entries=assembled.entries,
        systems=dataset.systems,
        objective=plan.problem.objective.name,
        n_rows=_rows_by_cell(plan.problem),
        served=best,
        readers=_readers(assembled.entries),
        sensitive_features=dataset.sensitive_features,
    )
    keys = {key for entry in (*board.pareto_front(), best) for key in entry.sources}
    bags = {k: made[k] if k in made else Bag(artifacts.models(k)) for k in sorted(keys)}
    return Pool(
        board=board,
        best=best,
        bags=bags,
        schema=dataset.schema,
        groups=dataset.groups,
        classes=dataset.classes,
        task=dataset.task,
        seed=plan.seed,
        membership=kept_membership(
            artifacts, [isinstance(entry.rule, BlindRule) for entry in board.entries]
        ),
        rows_by_label=_rows_by_label(dataset),
    )


def _readers(entries: tuple[Entry, ...]) -> frozenset[str]:
    """Return the trials whose training-time mitigation needs the groups of new rows."""
    found = {entry.trial_key: entry.candidate.mitigation for entry in entries if not entry.members}
    return frozenset(
        key
        for key, name in found.items()
        if name != "none" and MITIGATORS.get(name).needs_sensitive_at_predict
    )


def finish_of(
    wishes: Wishes, start: float, certifiable: Callable[[Entry], float] | None = None
) -> Finish:
    """Return how the answer is to be made.

    Parameters
    ----------
    wishes : Wishes
        What the user wants.
    start : float
        ``time.monotonic()`` at which ``fit`` began.
    certifiable : callable or None
        What an entry keeps of its worth for how likely it is certified, in (0, 1].
    """
    return Finish(
        assemble=wishes.assemble,
        max_models=wishes.max_models,
        confidence=wishes.confidence,
        end=None if wishes.time_budget is None else start + wishes.time_budget,
        certifiable=certifiable,
    )


def say_how_it_went(
    outcome: Outcome, plan: RunPlan, wishes: Wishes, *, feasible: bool, strict: bool
) -> None:
    """Warn of what the user should know of a run, mostly of nothing.

    Parameters
    ----------
    outcome : Outcome
        Of the run.
    plan : RunPlan
        What was searched.
    wishes : Wishes
        What was asked for.
    feasible : bool
        Whether what is served meets the constraints on the search rows.
    strict : bool
        Whether it is an error when it does not.

    Raises
    ------
    NoFeasibleModelError
        It does not, and that is an error.
    """
    best, lacking = outcome.pool.best, margin_notes(outcome.assembled.margin)
    news = bad_news(outcome.history, best, plan.baseline, plan.problem.objective.name)
    for msg in (*news, *lacking):
        warnings.warn(msg, SmallGroupWarning if msg in lacking else DegradedWarning, stacklevel=4)
    if feasible or not wishes.constraints:
        return
    msg = shortfall(best, [c.label for c in wishes.constraints])
    if strict:
        raise NoFeasibleModelError(msg)
    warnings.warn(msg, NoFeasibleModelWarning, stacklevel=4)


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
    known = labels.ndim == 1 and len(labels) == table.n_rows and not pd.isna(labels).any()
    if not known or len(set(labels.tolist())) != 1:
        return None
    schema, _ = fit_columns(table, drop=(), on_nonfinite=on_nonfinite)
    return ConstantClassifier(schema=schema, classes=labels[:1].copy())


def _rows_by_cell(problem: Problem) -> NDArray[np.float64]:
    dataset = problem.dataset
    n_cells = 1 if dataset.groups is None else dataset.groups.n_cells
    return effective_rows(dataset.cells, dataset.weight, n_cells, problem.entities)


def _rows_by_label(dataset: Dataset) -> NDArray[np.int64] | None:
    """Return how many people are behind a weight, so that small groups are told by people."""
    if dataset.task != "binary":
        return None
    n_cells = 1 if dataset.groups is None else dataset.groups.n_cells
    counted = dataset.weight > 0
    at = 2 * dataset.cells[counted].astype(np.int64) + dataset.y[counted]
    return np.bincount(at, minlength=2 * n_cells).reshape(n_cells, 2)
