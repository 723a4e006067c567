"""What a search leaves: the leaderboard, the models that entries are served from, the files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.assembly import Assembled, FairClassifier, Finish, models_of
from fairautoml.data.columns import TableSchema
from fairautoml.data.dataset import TaskName
from fairautoml.data.groups import GroupSchema
from fairautoml.evaluation.fitting import Bag
from fairautoml.evaluation.membership import kept_membership
from fairautoml.evaluation.problem import Problem
from fairautoml.exceptions import (
    DegradedWarning,
    InputError,
    NoFeasibleModelError,
    NoFeasibleModelWarning,
    SmallGroupWarning,
    warn,
)
from fairautoml.finishing.headlines import constant_headline, group_headlines
from fairautoml.finishing.news import advice_on_constant, bad_news
from fairautoml.finishing.summary import margin_notes, shortfall
from fairautoml.leaderboard import Leaderboard
from fairautoml.metrics._table import effective_rows
from fairautoml.mitigators import MITIGATORS, MembershipModel, ScoreModel
from fairautoml.posing.options import Wishes
from fairautoml.running.history import History
from fairautoml.running.run import RunPlan
from fairautoml.trials import Artifacts, BlindRule, Entry


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Entries, and everything needed to serve those on the Pareto front."""

    board: Leaderboard  # all entries
    best: Entry  # the one that is served unless the user selects another
    # fold models by trial key, of every trial that an entry on the front takes
    bags: Mapping[str, ScoreModel]
    schema: TableSchema  # how new rows are read, as in ``Dataset``
    groups: GroupSchema | None
    classes: NDArray[Any]
    seed: int  # root seed, salt of randomised rules
    membership: MembershipModel | None = None  # for rules that read how likely groups are
    task: TaskName = "binary"  # {"binary", "multiclass", "regression"}: what kind of target it is
    # people of the search whose rows count, by finest cell and label, whatever they weigh; None
    # without two classes
    rows_by_label: NDArray[np.int64] | None = None  # shape (n_cells, 2)

    def classifier(self, entry: Entry) -> FairClassifier:
        """Return the classifier of an entry; nothing is trained."""
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
        """Return the pool as it is when another entry is served: the board puts it first."""
        return replace(self, board=replace(self.board, served=entry), best=entry)

    def select(self, *, max_gap: float | None, min_score: float | None) -> Entry:
        """Return the entry that fits best, among those whose models are kept."""
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
    """What ``conduct`` returns."""

    history: History  # everything the search saw
    pool: Pool  # what can be served
    assembled: Assembled  # how the served entry was chosen
    interrupted: bool  # whether the user ended the search

    @property
    def constant_headline(self) -> str | None:
        """Sentence on a constant that is served because it is worth more than the model chosen."""
        outdone = self.assembled.outdone
        if outdone is None:
            return None
        board, constant = self.pool.board, self.assembled.best
        advice = advice_on_constant(outdone, constant, board.entries, board.objective)
        return constant_headline(outdone, constant, advice)


def make_pool(
    assembled: Assembled, plan: RunPlan, artifacts: Artifacts, made: Mapping[str, ScoreModel]
) -> Pool:
    """Load the models that can be served and let go of all training rows."""
    dataset, best = plan.problem.dataset, assembled.best
    board = Leaderboard(
        entries=assembled.entries,
        systems=dataset.systems,
        small_groups=dataset.small_groups,
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
        rows_by_label=_people_by_label(plan.problem),
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
    """Return how the answer is to be made."""
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
    """Warn of what the user should know of a run, mostly of nothing."""
    best, lacking = outcome.pool.best, margin_notes(outcome.assembled.margin)
    constant = outcome.constant_headline
    news = bad_news(outcome.history, best, plan.baseline, plan.problem.objective.name)
    if constant is not None:
        news = []
    for msg in (*group_headlines(outcome.pool.board, best, outcome.pool.classes), *news, *lacking):
        warn(msg, SmallGroupWarning if msg in lacking else DegradedWarning)
    if feasible or not wishes.constraints:
        return
    msg = shortfall(best, [c.label for c in wishes.constraints]) if constant is None else constant
    if strict:
        raise NoFeasibleModelError(msg)
    warn(msg, NoFeasibleModelWarning)


def _rows_by_cell(problem: Problem) -> NDArray[np.float64]:
    dataset = problem.dataset
    n_cells = 1 if dataset.groups is None else dataset.groups.n_cells
    return effective_rows(dataset.cells, dataset.weight, n_cells, problem.entities)


def _people_by_label(problem: Problem) -> NDArray[np.int64] | None:
    """Return how many people are behind a weight, so that small groups are told by people.

    One who has several rows of a label is counted once, in the cell of the first.
    """
    dataset = problem.dataset
    if dataset.task != "binary":
        return None
    n_cells = 1 if dataset.groups is None else dataset.groups.n_cells
    counted = np.flatnonzero(dataset.weight > 0)
    if problem.entities is not None:
        whose = np.c_[problem.entities[counted], dataset.y[counted]]
        counted = counted[np.unique(whose, axis=0, return_index=True)[1]]
    at = 2 * dataset.cells[counted].astype(np.int64) + dataset.y[counted]
    return np.bincount(at, minlength=2 * n_cells).reshape(n_cells, 2)
