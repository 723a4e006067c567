"""Collect the candidates for the final model: single trials, an ensemble, a randomized mixture.

They are compared by their cross-fitted value, computed from the out-of-fold scores of the trials.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fairautoml.evaluation.evaluate import refit
from fairautoml.evaluation.fitting import CVEnsemble
from fairautoml.evaluation.membership import learned_membership
from fairautoml.evaluation.postprocess import Column, column_of, expand_column
from fairautoml.evaluation.problem import Problem, strictest
from fairautoml.exceptions import DegradedWarning, warn
from fairautoml.metrics._table import effective_rows
from fairautoml.mitigators import Mitigator
from fairautoml.records import BASELINE, Config, Entry, TrialResult, TrialState
from fairautoml.selection.choice import ENSEMBLE, MIXTURE, CandidateRules, SelectionOptions
from fairautoml.selection.ensemble import (
    mean_shares,
    shares_by_fold,
    weighted_sums,
    worth_their_cost,
)
from fairautoml.selection.leaderboard import TrialLog
from fairautoml.selection.low_variance import QUIETED, low_variance_thresholds, shared_limits
from fairautoml.selection.mixture import PoolRule, pool_mixture
from fairautoml.selection.pool import milliseconds
from fairautoml.selection.selectable import SelectableTrials, selectable
from fairautoml.storage.artifacts import Artifacts

MIXES = "randomized_thresholds"
"""Post-processor that must be among the mitigators for a mixture to be built."""

MOST_ROWS = 50_000
"""Most rows that ensemble shares are selected on."""

FINE, FINE_MANY = 25, 13
"""Number of tolerances from 0 to the limit: for two groups, and for more."""

FINE_COST = 4.0
"""Expected time of the finer tolerances of a column, as a multiple of the mean scoring time."""
ENSEMBLE_COST, ENSEMBLE_SECONDS = 1.3, 0.3
"""Expected time of an ensemble: its rules (same multiple), and its shares (seconds)."""


def collect_candidates(
    problem: Problem, history: TrialLog, artifacts: Artifacts, options: SelectionOptions
) -> CandidateRules:
    """Return all candidate rules for the final model."""
    work = _Work(problem, history, artifacts, options)
    singles = [work.column(result) for result in work.prospects.singles()]
    mixed = work.ensemble(work.prospects.library()) if options.ensemble else None
    columns = singles if mixed is None else [mixed, *singles]
    mixture = work.mixture(columns) if options.ensemble else None
    columns = columns if mixture is None else [*columns, mixture]
    made = [work.expanded(column) for column in (mixed, mixture) if column is not None]
    return CandidateRules(
        usual=(*history.entries, *(entry for entries in made for entry in entries)),
        fine=tuple(work.finer(columns)),
        columns={column.trial_key: column for column in columns},
        deployable=selectable(history.results, history.entries),
        n_trees={r.trial.key: r.n_trees / problem.n_models for r in history.results},
        max_trees=options.max_trees,
    )


class _Work:
    """Steps of building the candidate rules."""

    def __init__(
        self, problem: Problem, history: TrialLog, artifacts: Artifacts, options: SelectionOptions
    ) -> None:
        self.problem = learned_membership(problem, artifacts)
        self.options = options
        self._artifacts = artifacts
        self._number = 1 + max((r.trial.number for r in history.results), default=-1)
        self._scoring_seconds = list(history.scoring_seconds)
        self._mixes: tuple[Mitigator, ...] = ()
        self.prospects = SelectableTrials.of(history.results, history.entries)

    def column(self, result: TrialResult) -> Column:
        """Return the scores of a trial."""
        return column_of(result, self._artifacts.scores(result.trial.key))

    def ensemble(self, library: Sequence[TrialResult]) -> Column | None:
        """Return the weighted mean of trials, or None if a single trial is best."""
        if len(library) < 2 or not self._in_time(ENSEMBLE_COST, ENSEMBLE_SECONDS):
            return None
        columns = np.stack([self._artifacts.scores(r.trial.key) for r in library])
        by_fold = self._shares(columns)
        chosen = np.flatnonzero(mean_shares(by_fold, most=self.options.ensemble))
        kept = self._worth_their_cost(chosen, library, columns, by_fold)
        if len(kept) < len(chosen):
            library, columns = [library[at] for at in kept], columns[kept]
            by_fold = self._shares(columns)
        shares = mean_shares(by_fold, most=self.options.ensemble)
        at = np.flatnonzero(shares).tolist()
        if len(at) < 2:
            return None
        members = [library[i] for i in at]
        return Column(
            trial_key=ENSEMBLE,
            trial_number=self._number,
            config=_config_of(ENSEMBLE, members),
            seconds=sum(r.seconds for r in members),
            deployed=weighted_sums(shares.astype(np.float32), columns),
            by_fold=weighted_sums(by_fold.astype(np.float32), columns),
            members=tuple((library[i].trial.key, float(shares[i])) for i in at),
        )

    def mixture(self, columns: Sequence[Column]) -> Column | None:
        """Return the columns side by side, or None if they must not be mixed at random."""
        problem = self.problem
        allowed = any(mitigator.name == MIXES for mitigator in problem.mitigators)
        chosen = self._affordable(columns)
        if (
            not (allowed and problem.goal.targets and problem.objective.on == "decisions")
            or len(chosen) < 2
            or not self._in_time(FINE_COST)
        ):
            return None
        parts = [column.members or ((column.trial_key, 1.0),) for column in chosen]
        self._mixes = (pool_mixture(parts),)
        folds = range(problem.n_folds)
        return Column(
            trial_key=MIXTURE,
            trial_number=self._number + 1,
            config=Config(learner=MIXTURE),
            seconds=0.0,
            deployed=np.stack([column.deployed for column in chosen], axis=1),
            by_fold=np.stack(
                [np.stack([c.of_fold(fold) for c in chosen], axis=1) for fold in folds]
            ),
        )

    def _affordable(self, columns: Sequence[Column]) -> list[Column]:
        """Return the first columns that together use at most ``ensemble`` trials."""
        chosen: list[Column] = []
        behind: set[str] = set()
        for column in columns:
            keys = behind | {key for key, _ in column.members or ((column.trial_key, 1.0),)}
            if len(keys) <= self.options.ensemble:
                chosen.append(column)
                behind = keys
        return chosen

    def expanded(self, column: Column, tolerances: tuple[float, ...] | None = None) -> list[Entry]:
        """Return the entries of a column, at the usual tolerances or the given ones."""
        problem = self.problem
        if tolerances is not None:
            problem = replace(problem, tolerances=tolerances)
        if column.trial_key != MIXTURE:
            return list(expand_column(column, problem, self.options.end))
        mixed = replace(problem, mitigators=self._mixes)
        found = expand_column(column, mixed, self.options.end)
        return [self._of_mixture(entry) for entry in found]

    def _of_mixture(self, entry: Entry) -> Entry:
        """Return an entry of the mixture reduced to the columns that its rule reads."""
        if not isinstance(entry.rule, PoolRule):
            raise TypeError(f"The rule of a mixture must be a PoolRule, got {entry.rule!r}.")
        rule = entry.rule.compact()
        members = [r for r in self.prospects.results if r.trial.key in dict(rule.trials())]
        return replace(
            entry,
            rule=rule,
            members=rule.trials(),
            config=_config_of(MIXTURE, members),
            seconds=sum(result.seconds for result in members),
        )

    def _worth_their_cost(
        self,
        kept: NDArray[np.int64],
        library: Sequence[TrialResult],
        columns: NDArray[np.float32],
        by_fold: NDArray[np.float64],
    ) -> NDArray[np.int64]:
        """Return the members that pay for their trees, within the limits of the options."""
        options, data, rows = self.options, self.problem.dataset, self._rows

        def reduced(cost: NDArray[np.floating], most: float) -> NDArray[np.int64]:
            return kept[
                worth_their_cost(
                    columns[kept][:, rows],
                    data.y[rows],
                    data.weight[rows],
                    by_fold[:, kept][self.problem.folds[rows]].T,
                    cost,
                    tolerance=options.tolerance,
                    most=most,
                    task=data.task,
                )
            ]

        n_trees = [library[at].n_trees for at in kept]
        kept = reduced(np.array(n_trees, dtype=np.float64), options.max_trees)
        if np.isfinite(options.max_ms):
            models = [CVEnsemble(self._artifacts.models(library[at].trial.key)) for at in kept]
            took = np.array([1000 * milliseconds(model, data) for model in models])
            kept = reduced(took, 1000 * options.max_ms)
        return kept

    @cached_property
    def _rows(self) -> NDArray[np.int64]:
        """At most ``MOST_ROWS`` rows that the ensemble is selected on."""
        n_rows = self.problem.dataset.n_rows
        if n_rows <= MOST_ROWS:
            return np.arange(n_rows)
        rng = np.random.default_rng([self.options.seed, n_rows])
        return np.sort(rng.choice(n_rows, MOST_ROWS, replace=False))

    def _shares(self, columns: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the ensemble shares of the columns by fold."""
        data, rows = self.problem.dataset, self._rows
        return shares_by_fold(
            columns[:, rows],
            data.y[rows],
            data.weight[rows],
            self.problem.folds[rows],
            most=self.options.ensemble,
            task=data.task,
        )

    def finer(self, columns: Sequence[Column]) -> list[Entry]:
        """Return entries of the columns at tolerances between the usual ones."""
        targets = self.problem.goal.targets
        if not targets or self.options.confidence is None:
            return []
        many = self.problem.dataset.n_cells > 2
        least, limit = strictest(targets[0]), targets[0].limit
        grid = np.linspace(least, limit, FINE_MANY if many else FINE).tolist()
        between = tuple(t for t in grid if t not in self.problem.tolerances)
        found = [
            entry
            for column in columns
            if between and self._in_time(FINE_COST)
            for entry in self.expanded(column, between)
            if entry.tolerance is not None
        ]
        return [*found, *self._quiet(columns)]

    def _quiet(self, columns: Sequence[Column]) -> list[Entry]:
        """Return low-variance entries if ``confidence`` is a number."""
        problem, confidence = self.problem, self.options.confidence
        limit = problem.goal.targets[0].limit
        allowed = any(m.name == QUIETED for m in problem.mitigators)
        if not isinstance(confidence, float) or limit == 0 or not allowed:
            return []
        quiet = low_variance_thresholds(confidence, self.options.new_rows, self._clustering())
        if not quiet.can_serve(problem.goal):
            return []
        problem = replace(problem, mitigators=(quiet,), tolerances=shared_limits(limit))
        return [
            entry
            for column in columns
            if column.trial_key != MIXTURE and self._in_time(FINE_COST)
            for entry in expand_column(column, problem, self.options.end)
        ]

    def _clustering(self) -> float:
        """Return the design effect of individuals with several rows."""
        whose, weight = self.problem.entities, self.problem.dataset.weight
        if whose is None:
            return 1.0
        one_group = np.zeros(len(weight), dtype=np.int64)
        rows = effective_rows(one_group, weight, 1)
        return float((rows / effective_rows(one_group, weight, 1, whose))[0])

    def _in_time(self, results: float, seconds: float = 0.0) -> bool:
        """Return whether the time left covers ``results`` mean scoring times plus ``seconds``."""
        end = self.options.end
        if end is None:
            return True
        if not self._scoring_seconds:
            self._scoring_seconds = [self._measured()]
        usual = sum(self._scoring_seconds) / len(self._scoring_seconds)
        return time.monotonic() + results * usual + seconds < end

    def _measured(self) -> float:
        """Measure the scoring time if all results stem from a previous run."""
        start = time.monotonic()
        self.expanded(self.column(self.prospects.results[0]))
        return time.monotonic() - start


def _config_of(name: str, members: Sequence[TrialResult]) -> Config:
    """Return a config that names all encodings and mitigations of several trials."""
    configs = [result.trial.config for result in members]
    return Config(
        learner=name,
        encoding="+".join(sorted({c.encoding for c in configs})),
        mitigation="+".join(sorted({c.mitigation for c in configs})),
    )


BROKEN = frozenset(
    {
        TrialState.FAILED,
        TrialState.CRASHED,
        TrialState.OUT_OF_MEMORY,
        TrialState.WORKER_LOST,
        TrialState.DISK_FULL,
    }
)
"""States of trials that ended by an error or a lack of resources."""

RARE = 0.2
"""Share of rows outside the most common label below which the other labels are rare."""

NEARLY = 0.1
"""Share of a label's frequency below which its prediction is reported as rare."""


def diagnose_run(history: TrialLog, best: Entry, objective: str) -> list[str]:
    """Return warnings about a run that do not concern its constraints."""
    if best.config == BASELINE:
        return [_only_baseline(history.results)]
    news = [_hardly_ever(best, objective), _disk_full(history.results)]
    return [msg for msg in news if msg]


def advice_on_refused(
    refused: Entry, served: Entry, entries: Sequence[Entry], objective: str
) -> str:
    """Return a remedy where the best model that meets the constraint is not acceptable."""
    if _rewards_constant(refused, objective):
        return _blame(refused)
    if served.constant and all(entry.value <= served.value for entry in entries):
        return "no model found, fair or not, has a higher value: give more time, rows or features"
    return "give a looser bound or fewer groups"


def no_model(results: Sequence[TrialResult]) -> str:
    """Return the error message of a run in which no trial succeeded."""
    if not results:
        return "The time budget ended before the first trial began. Increase time_budget."
    failures = "; ".join(f"{r.trial.config.learner}: {r.status} {r.error}" for r in results)
    return (
        f"All {len(results)} trials failed ({failures}). Increase time_budget or choose other "
        "learners."
    )


def no_time_left(used: float) -> str:
    """Return the warning of a resumed run whose time budget is used up."""
    return (
        f"The time budget is used up ({used:.1f} s); the existing model is kept. To continue, "
        "pass a larger time_budget (--time)."
    )


def _disk_full(results: Sequence[TrialResult]) -> str:
    """Return a warning about trials that failed on a full disk, or an empty string."""
    lost = [result for result in results if result.status is TrialState.DISK_FULL]
    if not lost:
        return ""
    return (
        f"{len(lost)} of {len(results)} trials were lost because the disk was full "
        f"({lost[0].error}). Free some space, or set TMPDIR or run_dir to a larger disk."
    )


def _only_baseline(results: Sequence[TrialResult]) -> str:
    others = [r for r in results if r.status is TrialState.SUCCESS and r.trial.number > 0]
    failed = [r for r in results if r.status in BROKEN]
    if others:
        return (
            "No trial beats the baseline (a constant score). Increase the budget, loosen the "
            "bound, or for classification choose an objective such as 'balanced_accuracy'; see "
            "trials_."
        )
    if failed:
        first = failed[0]
        return (
            f"Only the baseline (a constant score) is left: {len(failed)} of {len(results)} "
            f"trials failed, the first ({first.trial.config.learner}) with {first.error}. See "
            "trials_."
        )
    return "Only the baseline (a constant score) finished. Increase the budget; see trials_."


def _rewards_constant(entry: Entry, objective: str) -> bool:
    """Return whether predicting always the most common label has a high accuracy."""
    if objective != "accuracy" or entry.counts.ndim == 2:
        return False
    by_label = entry.counts.sum(axis=(0, 2))
    return bool(1 - by_label.max() / by_label.sum() < RARE)


def _blame(entry: Entry) -> str:
    by_label = entry.counts.sum(axis=(0, 2))
    others = "objective='balanced_accuracy'" + (" or 'f1'" if len(by_label) == 2 else "")
    return (
        f"{by_label.max() / by_label.sum():.1%} of the rows have the same label, and "
        f"objective='accuracy' rewards always predicting it; give {others} (--objective)"
    )


def _hardly_ever(best: Entry, objective: str) -> str:
    """Return a warning that the rare class is hardly ever predicted, or an empty string."""
    if not _rewards_constant(best, objective) or best.counts.shape[1] != 2:
        return ""
    total, by_label, by_decision = (best.counts.sum(axis=a) for a in (None, (0, 2), (0, 1)))
    rare = int(by_label.argmin())
    if by_decision[rare] >= NEARLY * by_label[rare]:
        return ""
    verb, kind = (("rejects", "negative"), ("accepts", "positive"))[rare]
    return (
        f"The model {verb} {by_decision[rare] / total:.2%} of the rows, but "
        f"{by_label[rare] / total:.2%} have the {kind} label. {_blame(best)}"
    )


logger = logging.getLogger(__name__)

REFIT_RESERVE_SHARE = 0.15
"""Share of the time budget that the search reserves for the refit."""

SOON = 1.0
"""Seconds that a refit may always take, and may overrun the budget by without a warning."""


def refit_final(
    best: Entry, problem: Problem, results: Sequence[TrialResult], options: SelectionOptions
) -> dict[str, CVEnsemble]:
    """Return the refitted best model by trial key; empty without a refit or time for it."""
    if not options.refit:
        return {}
    n_rows, end = problem.rows.n_rows, options.end
    trial = next(result for result in results if result.trial.key == best.trial_key)
    expected = expected_seconds(trial, problem.n_train_rows / n_rows)
    begun = time.monotonic()
    what = f"training {best.config.learner} on all {n_rows:,} rows"
    if end is not None and expected > max(SOON, end - begun):
        _warn(
            f"Refit was skipped: {what} would take about {expected:.0f} s, but "
            f"{max(0.0, end - begun):.0f} s are left. The mean of its fold models is used",
            expected,
        )
        return {}
    logger.info("%s (expected: %.1f s)", what, expected)
    targets = problem.goal.targets
    model = CVEnsemble(refit(best.config, problem.rows, options.seed, targets))
    now = time.monotonic()
    if end is not None and now > end + SOON:
        msg = f"Refit exceeded time_budget by {now - end:.0f} s: {what} took {now - begun:.0f} s"
        _warn(f"{msg}, but about {expected:.0f} s were expected", now - begun)
    return {best.trial_key: model}


def expected_seconds(result: TrialResult, outside: float) -> float:
    """Return the expected seconds on all rows; ``outside`` is the share outside a fold."""
    trial = result.trial
    seconds = result.seconds / (trial.fidelity.folds - trial.n_taken)
    return seconds / (trial.fidelity.rows * outside)


def _warn(msg: str, seconds: float) -> None:
    budget = max(1.0, seconds / REFIT_RESERVE_SHARE)
    advice = f"Give a time_budget of {budget:.0f} s or more, n_trials alone, or refit=False."
    warn(f"{msg}. {advice}", DegradedWarning)
