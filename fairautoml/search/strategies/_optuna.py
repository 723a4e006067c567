"""Ask-and-tell interface to Optuna's samplers, in one study or one study per part of the space.

For the Parzen estimator results are stored here and loaded into Optuna's studies before a draw. A
draw depends only on the seed, the number of the proposal and these results, so a strategy can be
restored from its record.
"""

import math
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, cast

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FixedTrial, create_trial
from optuna.trial import TrialState as OptunaTrialState

from fairautoml.records import Config, Origin, ParamValue, TrialResult, TrialState
from fairautoml.search.loop import propose
from fairautoml.search.space import Integer, Range, Real, SearchSpace, coordinates
from fairautoml.storage.study import quiet

PENALTY = 10.0
"""Loss per unit of a small violation; large enough that the constraints come first.

FLAML's own penalty (``metric_constraints``) is 1e10 until a trial is feasible, then starts at 1.
With a constant penalty, results from different times are comparable.
"""


def bounded(violation: float) -> float:
    """Map a violation monotonically to [-1, 1]: ``v / (1 + |v|)``."""
    if math.isinf(violation):
        return math.copysign(1.0, violation)
    return violation / (1.0 + abs(violation))


def penalised_loss(scored: TrialResult) -> float | None:
    """Return one minus the value plus ``PENALTY`` times the bounded constraint violations.

    Regression errors and their violations are in units of the target: if the absolute value is
    above 1, violations are divided and the penalty is multiplied by it.
    """
    if (
        scored.status is not TrialState.SUCCESS
        or scored.value is None
        or not math.isfinite(scored.value)
    ):
        return None
    unit = max(1.0, abs(scored.value))
    missed = sum(max(bounded(violation / unit), 0.0) for violation in scored.violations)
    return 1.0 - scored.value + PENALTY * unit * missed


Direction = Literal["maximize", "minimize"]

Objectives = Callable[[float, TrialResult], Sequence[float]]
"""Computes the objective values for Optuna from value and result, one per direction."""


class StudyStrategy:
    """Ask-and-tell over one in-memory study with at least two objectives and constraints.

    Inactive parameters are sampled as well, for samplers that learn only from parameters that all
    trials have.
    """

    def __init__(
        self,
        space: SearchSpace,
        first: Sequence[Config],
        study: optuna.Study,
        *,
        objectives: Objectives,
    ) -> None:
        self._space = space
        self._study = study
        self._objectives = objectives
        self._resting = coordinates(space)
        self._open: defaultdict[str, list[optuna.Trial]] = defaultdict(list)
        for config in first:
            study.enqueue_trial(config.flat())

    def ask(self) -> Config:
        trial = self._study.ask()
        suggest = partial(suggested, trial)
        config = propose(self._space, suggest)
        for name, allowed in self._resting.items():
            suggest(name, allowed)
        self._open[config.key].append(trial)
        return config

    def tell(self, scored: TrialResult) -> None:
        """Pass value and constraints to Optuna; a failed trial ends as FAIL without a value."""
        pending = self._open.get(scored.trial.config.key)
        if not pending:
            return
        trial = pending.pop(0)
        # Optuna treats a trial without constraints as feasible, so all of them are set.
        for name, violation in constraint_names(scored.violations).items():
            trial.set_constraint(name, violation)
        if scored.status is TrialState.SUCCESS and scored.value is not None:
            self._study.tell(trial, self._objectives(scored.value, scored))
        else:
            # Optuna cannot prune with several objectives.
            self._study.tell(trial, state=OptunaTrialState.FAIL)


def constraint_names(violations: Sequence[float]) -> dict[str, float]:
    """Return the violations under Optuna's names."""
    return {f"constraint_{at}": violation for at, violation in enumerate(violations)}


def value_only(value: float, scored: TrialResult) -> Sequence[float]:
    """Return the value as the only objective."""
    return (value,)


def value_and_violation(value: float, scored: TrialResult) -> Sequence[float]:
    """Return the value, to maximize, and the worst violation in [-1, 1], to minimize.

    Where post-processing meets the constraints of any model, it is that without post-processing.
    """
    violations = scored.violations if scored.violations else scored.plain_violations
    return value, max(map(bounded, violations), default=-1.0)


def new_study(sampler: optuna.samplers.BaseSampler, *directions: Direction) -> optuna.Study:
    """Return an empty in-memory study, without Optuna's log message."""
    with quiet():
        return optuna.create_study(directions=list(directions), sampler=sampler)


def suggested(trial: optuna.Trial | FixedTrial, name: str, allowed: Range) -> ParamValue:
    """Return the value of a parameter that an Optuna trial has or draws."""
    if isinstance(allowed, Real):
        # NSGA-II returns np.float64 next to an upper bound, which changes the configuration key.
        return float(trial.suggest_float(name, allowed.low, allowed.high, log=allowed.log))
    if isinstance(allowed, Integer):
        return trial.suggest_int(name, allowed.low, allowed.high, log=allowed.log)
    return cast(ParamValue, trial.suggest_categorical(name, list(allowed.values)))


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return Optuna's distributions of all parameters with more than one value."""
    found: dict[str, BaseDistribution] = {}
    for name, allowed in coordinates(space).items():
        trial = FixedTrial({name: allowed.default})
        suggested(trial, name, allowed)
        found |= trial.distributions
    return found


STARTUP_TRIALS = 12
"""Random draws and initial configurations before the Parzen estimator is used."""

MOST_REMEMBERED = 1000
"""Maximum number of results of a sampler, whose time per proposal grows with them."""

KEPT_OF_EACH = 250
"""Number of best and of newest results that are kept when it is exceeded."""

INFRASTRUCTURE_FAILURES = frozenset(
    {TrialState.WORKER_LOST, TrialState.STOPPED, TrialState.DISK_FULL}
)
"""States that say nothing about the configuration."""

FAILED = 1e9
"""Objective value of a failure under several objectives; it is never compared, because a failure
also has an infinite violation and ranks last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Result of a trial in Optuna's terms; ``values`` is empty unless the trial is complete."""

    state: OptunaTrialState
    values: tuple[float, ...]
    violations: tuple[float, ...]

    @property
    def rank_key(self) -> tuple[float, float]:
        """Rank key: less violation first, then greater first objective value."""
        missed = sum(max(0.0, violation) for violation in self.violations)
        return -missed, self.values[0] if self.values else -math.inf


@dataclass(slots=True)
class Row:
    """A trial of a study: its parameters and, when it has ended, its outcome."""

    params: dict[str, ParamValue] = field(default_factory=dict)
    outcome: Outcome | None = None
    running: optuna.Trial | None = None


class StudyTrials:
    """Trials of one study in order of creation; the Optuna study is built when needed."""

    def __init__(
        self, directions: Sequence[Direction], distributions: Mapping[str, BaseDistribution]
    ) -> None:
        self._directions = directions
        self._distributions = distributions
        self._rows: dict[int, Row] = {}
        self._n_done = 0
        self._study: optuna.Study | None = None

    def sample(self, seed: int) -> optuna.Trial:
        """Return an Optuna trial for drawing; the caller must end it as failed after use."""
        # Otherwise its draws beyond the configuration's parameters would count as running.
        sampler = parzen(seed)
        study = self._filled(sampler)
        study.sampler = sampler
        return study.ask()

    def enter(self, number: int, params: Mapping[str, ParamValue]) -> None:
        """Add a proposal as a running trial."""
        row = self._rows[number] = Row(dict(params))
        if self._study is not None:
            self._show(self._study, row)

    def complete(self, number: int, outcome: Outcome) -> None:
        """Record the outcome of a proposal; an infrastructure failure is removed."""
        row = self._rows[number]
        if self._study is not None and row.running is not None:
            _end(self._study, row.running, outcome)
        row.running, row.outcome = None, outcome
        if outcome.state is OptunaTrialState.FAIL:
            del self._rows[number]
            return
        self._n_done += 1
        if self._n_done > MOST_REMEMBERED:
            self._forget()

    def _filled(self, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
        if self._study is None:
            self._study = new_study(sampler, *self._directions)
            for row in self._rows.values():
                self._show(self._study, row)
        return self._study

    def _show(self, study: optuna.Study, row: Row) -> None:
        """Add a trial to the study under the next number."""
        distributions = {name: self._distributions[name] for name in row.params}
        if row.outcome is None:
            study.enqueue_trial(row.params)
            row.running = study.ask(fixed_distributions=distributions)
            return
        outcome = row.outcome
        study.add_trial(
            create_trial(
                state=outcome.state,
                values=outcome.values if outcome.values else None,
                params=row.params,
                distributions=distributions,
                constraints=constraint_names(outcome.violations),
            )
        )

    def _forget(self) -> None:
        """Keep the best, the newest and the running trials; the study is rebuilt from them."""
        done = [(n, row.outcome) for n, row in self._rows.items() if row.outcome is not None]
        best = sorted(done, key=lambda item: item[1].rank_key, reverse=True)[:KEPT_OF_EACH]
        kept = {number for number, _ in (*best, *done[-KEPT_OF_EACH:])}
        self._rows = {
            number: row
            for number, row in self._rows.items()
            if row.outcome is None or number in kept
        }
        self._n_done = len(kept)
        self._study = None


class ParzenStrategy:
    """Ask-and-tell over the constrained Parzen estimator; replays recorded proposals.

    One study chooses learner, encoding and mitigation; each of these has its own study for its
    parameters. With all parameters in one study, the sampler would model the parameters of every
    learner for each proposal.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        first: Sequence[Config],
        *,
        directions: Sequence[Direction],
        objectives: Objectives,
    ) -> None:
        self._space = space
        self._seed = seed
        self._first = deque(first)
        self._directions = directions
        self._objectives = objectives
        self._n_sampled = 0
        self._distributions = distributions(space)
        self._memories: dict[str, StudyTrials] = {}
        self._open: defaultdict[str, deque[tuple[int, tuple[str, ...]]]] = defaultdict(deque)

    def ask(self) -> Config:
        return self._sample(self._first.popleft().flat() if self._first else {})

    def recall(self, config: Config) -> None:
        """Replay a recorded proposal instead of the next ``ask``."""
        if self._first:
            self._first.popleft()
        self._enter(config)

    def hear(self, scored: TrialResult) -> None:
        """Receive the result of a configuration that this strategy did not propose."""
        config = scored.trial.config
        if config.mitigation not in self._space.mitigations:  # The allocator has added it.
            config = replace(config, mitigation="none", mitigation_params={})
        if scored.trial.origin is Origin.SEARCH and config.learner in self._space.learners:
            self._enter(config)
            self.tell(replace(scored, trial=replace(scored.trial, config=config)))

    def tell(self, scored: TrialResult) -> None:
        """Receive value and constraints; a failure ranks below every success."""
        key = scored.trial.config.key
        waiting = self._open.get(key)
        if waiting is None:
            return
        number, owners = waiting.popleft()
        if not waiting:
            del self._open[key]
        outcome = self._outcome(scored)
        for owner in owners:
            self._memories[owner].complete(number, outcome)

    def _sample(self, known: Mapping[str, ParamValue]) -> Config:
        """Return a configuration with the known values and draws for all others."""
        fixed = FixedTrial(dict(known))
        drawn: dict[str, optuna.Trial] = {}

        def suggest(name: str, allowed: Range) -> ParamValue:
            owner = _owner(name)
            if name not in known and owner not in drawn:
                drawn[owner] = self._memory(owner).sample(self._seed_of(len(drawn)))
            return suggested(fixed if name in known else drawn[owner], name, allowed)

        config = propose(self._space, suggest)
        for trial in drawn.values():
            trial.study.tell(trial, state=OptunaTrialState.FAIL)
        self._enter(config)
        return config

    def _parts(self, config: Config) -> dict[str, dict[str, ParamValue]]:
        """Return the parameters of a configuration by owning study."""
        parts: dict[str, dict[str, ParamValue]] = {"": {}}
        for name, value in config.flat().items():
            if name in self._distributions:
                parts.setdefault(_owner(name), {})[name] = value
        return parts

    def _enter(self, config: Config) -> None:
        """Add a proposal as it is trained, so that a recorded one is added in the same way."""
        parts = self._parts(config)
        for owner, params in parts.items():
            self._memory(owner).enter(self._n_sampled, params)
        self._open[config.key].append((self._n_sampled, tuple(parts)))
        self._n_sampled += 1

    def _memory(self, owner: str) -> StudyTrials:
        if owner not in self._memories:
            self._memories[owner] = StudyTrials(self._directions, self._distributions)
        return self._memories[owner]

    def _seed_of(self, turn: int) -> int:
        """Return the seed of the ``turn``-th draw of the next proposal."""
        sequence = np.random.SeedSequence([self._seed, self._n_sampled, turn])
        return int(sequence.generate_state(1, np.uint32)[0])

    def _outcome(self, scored: TrialResult) -> Outcome:
        values: tuple[float, ...] = ()
        if scored.status is TrialState.SUCCESS and scored.value is not None:
            values = tuple(float(value) for value in self._objectives(scored.value, scored))
        if values and not any(map(math.isnan, values)):
            state = OptunaTrialState.COMPLETE
            return Outcome(state=state, values=values, violations=scored.violations)
        return self._failure(scored)

    def _failure(self, scored: TrialResult) -> Outcome:
        """Return the outcome of a trial without a value."""
        # Optuna ignores FAIL trials. An arm that always fails would then look unexplored, and
        # would be drawn more often than the best one.
        if scored.status in INFRASTRUCTURE_FAILURES:
            return Outcome(state=OptunaTrialState.FAIL, values=(), violations=scored.violations)
        violations = tuple(math.inf for _ in scored.violations) or (math.inf,)
        if len(self._directions) == 1:
            return Outcome(state=OptunaTrialState.PRUNED, values=(), violations=violations)
        # Optuna cannot prune with several objectives.
        values = tuple(-FAILED if way == "maximize" else FAILED for way in self._directions)
        return Outcome(state=OptunaTrialState.COMPLETE, values=values, violations=violations)


def _owner(name: str) -> str:
    """Return the owning study of a parameter; the choice of arms has an empty name."""
    owner, dot, _ = name.partition(".")
    return owner if dot else ""


def _end(study: optuna.Study, trial: optuna.Trial, outcome: Outcome) -> None:
    # Optuna treats a trial without constraints as feasible, so all of them are set.
    for name, violation in constraint_names(outcome.violations).items():
        trial.set_constraint(name, violation)
    study.tell(trial, outcome.values if outcome.values else None, state=outcome.state)


def parzen(seed: int) -> optuna.samplers.TPESampler:
    """Return a TPE sampler for conditional spaces and concurrent trials."""
    with warnings.catch_warnings():
        # "multivariate", "group" and "constant_liar" are marked experimental in Optuna 5.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            multivariate=True,
            group=True,
            constant_liar=True,
            n_startup_trials=STARTUP_TRIALS,
            seed=seed,
        )
