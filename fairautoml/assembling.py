"""From the pool of a search to what is served: the ensemble, finer tolerances, the margin.

Nothing is trained: everything is computed from the out-of-fold scores of the trials.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.assembly import (
    Choice,
    Confidence,
    chances_on,
    choose,
    mean_shares,
    shares_by_fold,
)
from fairautoml.evaluation.expansion import Column, column_of, expand_column
from fairautoml.evaluation.membership import learned_membership
from fairautoml.evaluation.problem import Problem
from fairautoml.leaderboard import best_of, order, pareto_front
from fairautoml.metrics import METRICS, GroupCounts, Undefined
from fairautoml.run import History, RunPlan
from fairautoml.trials import Artifacts, Candidate, Entry, TrialResult

ENSEMBLE = "ensemble"
"""Key of the entries of the ensemble, and their learner."""

LIBRARY = 30
"""Columns of lowest log loss that an ensemble is selected from ..."""

SINGLES = 3
"""... next to those of the best entries, which are candidates by themselves too."""

MOST_ROWS = 50_000
"""Rows that shares are selected on."""

FINE, FINE_MANY = 25, 13
"""Tolerances from 0 to the limit that candidates are tried with: two groups, and more."""

FINE_COST = 4.0
"""Time that finer tolerances of a column may take, in times of one result of the search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """How the answer is made from the pool.

    Parameters
    ----------
    assemble : bool
        Whether an ensemble is made.
    max_models : int or None
        Trials that it may be made of; None = no limit.
    confidence : "auto", float or None
        How sure it must be that the constraint holds on new people.
    end : float or None
        ``time.monotonic()`` at which ``fit`` should be done; what would take too long is left out.
    """

    assemble: bool = True
    max_models: int | None = 8
    confidence: Confidence = "auto"
    end: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """How far the served entry stays inside the limits, why, and what that costs.

    Parameters
    ----------
    confidence : "auto", float or None
        What was asked for.
    probability : float
        That the constraints hold on new people, in [0, 1].
    margin : float
        Limit minus cross-fitted gap, the smallest over all constraints; negative when one is
        missed.
    price : float
        Objective lost against the best entry that meets the constraints on the search rows.
    insufficient_evidence : bool
        Whether no entry is as sure as was asked for.
    """

    confidence: Confidence
    probability: float
    margin: float
    price: float
    insufficient_evidence: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """What ``assemble`` returns.

    Parameters
    ----------
    entries : tuple of Entry
        Those of the search and those of the ensemble; of finer tolerances only what is served or
        on the front.
    best : Entry
        What is served.
    margin : Margin or None
        None when nothing is constrained.
    library : frozenset of str
        Trials that an ensemble of this run, or of a longer one, may be made of.
    seconds : float
        What it took.
    """

    entries: tuple[Entry, ...]
    best: Entry
    margin: Margin | None
    library: frozenset[str]
    seconds: float


def assemble(plan: RunPlan, history: History, artifacts: Artifacts, finish: Finish) -> Assembled:
    """Return what is served, and everything it was chosen from.

    Parameters
    ----------
    plan : RunPlan
        The search.
    history : History
        What it saw; at least one entry.
    artifacts : Artifacts
        The scores of the trials.
    finish : Finish
        What is wanted.
    """
    start = time.monotonic()
    work = _Work(plan, history, artifacts, finish)
    singles, library = work.singles(), work.library()
    mixed = work.ensemble(library) if finish.assemble else None
    columns = ([] if mixed is None else [mixed]) + [work.column(r) for r in singles]
    pool = (*history.entries, *(() if mixed is None else expand_column(mixed, work.problem)))
    fine = work.finer(columns)
    plain = best_of((*pool, *fine))
    if plain is None:
        raise ValueError("a search without entries leaves nothing to assemble")
    keys = {column.trial_key for column in columns}
    offered = [e for e in (*pool, *fine) if e.trial_key in keys and e.feasible]
    best, margin = _with_margin(work, plain, offered)
    front = {id(entry) for entry in pareto_front((*pool, *fine))}
    return Assembled(
        entries=(*pool, *(e for e in fine if e is best or id(e) in front)),
        best=best,
        margin=margin,
        library=frozenset(r.trial.key for r in (*library, *singles)),
        seconds=time.monotonic() - start,
    )


class _Work:
    """The steps of one assembly, over what they share."""

    def __init__(
        self, plan: RunPlan, history: History, artifacts: Artifacts, finish: Finish
    ) -> None:
        self.seed = plan.seed
        self.problem = learned_membership(plan.problem, artifacts)
        self.finish = finish
        self._artifacts = artifacts
        self._number = 1 + max((r.trial.number for r in history.results), default=-1)
        self._settle = history.settle_seconds / max(1, len(history.results))
        self._best: dict[str, Entry] = {}
        for entry in order(e for e in history.entries if not (e.constant and e.measures)):
            self._best.setdefault(entry.trial_key, entry)
        # In the order asked, not told: the same with any number of workers.
        self._results = sorted(
            (r for r in history.results if r.trial.key in self._best),
            key=lambda result: result.trial.number,
        )

    def singles(self) -> list[TrialResult]:
        """Return the trials with the best entries."""
        place = {key: at for at, key in enumerate(self._best)}
        return sorted(self._results, key=lambda r: place[r.trial.key])[:SINGLES]

    def library(self) -> list[TrialResult]:
        """Return the trials that an ensemble is selected from."""
        sound = [r for r in self._results if r.log_loss is not None]
        lowest = sorted(sound, key=lambda r: (r.log_loss, r.trial.number))[:LIBRARY]
        keys = {r.trial.key for r in (*lowest, *self.singles())}
        return [r for r in sound if r.trial.key in keys]

    def column(self, result: TrialResult) -> Column:
        """Return the scores of a trial."""
        return column_of(result, self._artifacts.scores(result.trial.key))

    def ensemble(self, library: Sequence[TrialResult]) -> Column | None:
        """Return the mean of trials, None when no two of them are better than one."""
        if len(library) < 2 or not self._in_time(FINE_COST):
            return None
        columns = np.stack([self._artifacts.scores(r.trial.key) for r in library])
        by_fold = self._shares(columns)
        shares = mean_shares(by_fold, most=self.finish.max_models)
        at = np.flatnonzero(shares).tolist()
        if len(at) < 2:
            return None
        members = [library[i] for i in at]
        return Column(
            trial_key=ENSEMBLE,
            trial_number=self._number,
            candidate=_mixture_of(members),
            seconds=sum(r.seconds for r in members),
            deployed=shares.astype(np.float32) @ columns,
            by_fold=by_fold.astype(np.float32) @ columns,
            members=tuple(
                (r.trial.key, float(shares[i])) for r, i in zip(members, at, strict=True)
            ),
        )

    def _shares(self, columns: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the shares of the columns by fold, selected on some of the rows."""
        data = self.problem.dataset
        rows = np.arange(data.n_rows)
        if data.n_rows > MOST_ROWS:
            rng = np.random.default_rng([self.seed, data.n_rows])
            rows = np.sort(rng.choice(data.n_rows, MOST_ROWS, replace=False))
        return shares_by_fold(
            columns[:, rows],
            data.y[rows],
            data.weight[rows],
            self.problem.folds[rows],
            most=self.finish.max_models,
        )

    def finer(self, columns: Sequence[Column]) -> list[Entry]:
        """Return entries of the columns between those of the usual tolerances."""
        targets, groups = self.problem.goal.targets, self.problem.dataset.groups
        if not targets or self.finish.confidence is None:
            return []
        many = groups is not None and groups.n_cells > 2
        grid = np.linspace(0.0, targets[0].limit, FINE_MANY if many else FINE).tolist()
        between = tuple(t for t in grid if t not in self.problem.tolerances)
        problem = replace(self.problem, tolerances=between)
        found: list[Entry] = []
        for column in columns if between else ():
            if self._in_time(FINE_COST):
                found += [e for e in expand_column(column, problem) if e.tolerance is not None]
        return found

    def _in_time(self, results: float) -> bool:
        """Whether there is time left for as much as so many results of the search took."""
        end = self.finish.end
        return end is None or time.monotonic() + results * self._settle < end


def _mixture_of(members: Sequence[TrialResult]) -> Candidate:
    """Return what an ensemble is called: all encodings and mitigations of its members."""
    candidates = [result.trial.candidate for result in members]
    return Candidate(
        learner=ENSEMBLE,
        encoding="+".join(sorted({c.encoding for c in candidates})),
        mitigation="+".join(sorted({c.mitigation for c in candidates})),
    )


def _with_margin(
    work: _Work, plain: Entry, offered: Sequence[Entry]
) -> tuple[Entry, Margin | None]:
    """Return what is served in place of the entry that is best on the search rows."""
    problem, confidence = work.problem, work.finish.confidence
    if not plain.measures:
        return plain, None
    chances = chances_on(problem.dataset, problem.goal.targets, work.seed)
    if confidence is None or not plain.feasible:
        chance = chances.met(plain.counts)
        insufficient = isinstance(confidence, float) and chance < confidence
        chosen = Choice(entry=plain, probability=chance, insufficient=insufficient)
    else:
        on_scores = problem.objective.on == "scores"
        chosen = choose(
            # All rules of a column are worth the same on scores: the choice is within the best.
            [e for e in order(offered) if not on_scores or e.value == plain.value],
            confidence,
            chance=lambda entry: chances.met(entry.counts),
            worth=lambda entry: entry.accuracy if on_scores else entry.value,
            fallback=_worth_of_alike(problem),
        )
    entry = chosen.entry
    return entry, Margin(
        confidence=confidence,
        probability=chosen.probability,
        margin=-entry.excess,
        price=plain.value - entry.value,
        insufficient_evidence=chosen.insufficient,
    )


def _worth_of_alike(problem: Problem) -> float:
    """Return what the better of the two decisions for everybody is worth."""
    data, metric = problem.dataset, problem.objective
    metric = METRICS.get("accuracy") if metric.on == "scores" else metric
    found = []
    for decision in (0.0, 1.0):
        everybody = np.full(data.n_rows, decision)
        value = metric.value(
            GroupCounts.from_rows(
                np.zeros_like(data.cells), data.y, everybody, data.weight, n_groups=1
            )
        )
        if not isinstance(value, Undefined):
            found.append(value if metric.greater_is_better else -value)
    return max(found, default=0.0)
