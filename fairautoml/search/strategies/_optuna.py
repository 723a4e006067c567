"""What all strategies over an Optuna study share; Optuna's trial objects never leave this file."""

import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, cast

import optuna
from optuna.trial import FrozenTrial, TrialState

from fairautoml.search.proposal import flat, propose
from fairautoml.search.strategies._coordinates import coordinates
from fairautoml.search.strategies._signal import worst_violation
from fairautoml.spaces import Integer, Range, Real, SearchSpace
from fairautoml.trials import Candidate, ParamValue, Status, Told

STARTUP_TRIALS = 12
"""Draws at random (and portfolio members) before the Parzen estimator takes over."""

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)

MOST_REMEMBERED = 1000
"""Results that a sampler works with; its time per proposal grows with them."""

KEPT_OF_EACH = 250
"""Best and newest results that it keeps when it has to forget."""

MakeStudy = Callable[[int], optuna.Study]
"""``make(number)``: a fresh study, the one with this number of the strategy's studies."""

Objectives = Callable[[float, Told], Sequence[float]]
"""Value and result to the numbers that Optuna is told, one per direction."""


class StudyStrategy:
    """Ask and tell over in-memory Optuna studies with constraints.

    One study chooses learner, encoding and mitigation; each of them has a study of its own for its
    parameters, which learns from the trials of that learner alone. A sampler that had all
    parameters of all learners in one study would model those of every learner for each proposal.

    Parameters
    ----------
    space : SearchSpace
        What may be chosen.
    first : sequence of Candidate
        Proposed first, in order.
    make_study : callable
        Makes a fresh study, also whenever one has to forget, which a single one never does:
        samplers of that kind count generations, and their cost does not grow.
    objectives : callable
        What a successful trial is told as.
    one_study : bool
        Whether all lies in a single study, in which Optuna is asked for the parameters that are
        absent from a candidate as well; for samplers that learn only of parameters that all
        trials have.
    """

    def __init__(
        self,
        space: SearchSpace,
        first: Sequence[Candidate],
        make_study: MakeStudy,
        *,
        objectives: Objectives,
        one_study: bool = False,
    ) -> None:
        self._space = space
        self._make_study = make_study
        self._objectives = objectives
        self._one_study = one_study
        self._resting = coordinates(space) if one_study else {}
        self._made = 0
        self._studies: dict[str, optuna.Study] = {}
        self._open: defaultdict[str, list[dict[str, optuna.Trial]]] = defaultdict(list)
        for candidate in first:
            self._enqueue(candidate)

    def ask(self) -> Candidate:
        """Return the next candidate."""
        trials = {"": self._study("").ask()}

        def suggest(name: str, allowed: Range) -> ParamValue:
            owner = self._owner(name)
            if owner not in trials:
                trials[owner] = self._study(owner).ask()
            return _suggest(trials[owner], name, allowed)

        candidate = propose(self._space, suggest)
        for name, allowed in self._resting.items():
            suggest(name, allowed)
        self._open[candidate.key].append(trials)
        return candidate

    def tell(self, told: Told) -> None:
        """Hand value and constraints to Optuna; a broken trial ends as FAIL, without a value."""
        asked = self._open.get(told.trial.candidate.key)
        if not asked:
            return
        for owner, trial in asked.pop(0).items():
            self._tell(owner, trial, told)

    def _owner(self, name: str) -> str:
        """Return whose study a parameter lies in, the empty name for the choice of arms."""
        owner, dot, _ = name.partition(".")
        return owner if dot and not self._one_study else ""

    def _study(self, owner: str) -> optuna.Study:
        if owner not in self._studies:
            self._studies[owner] = self._fresh()
        return self._studies[owner]

    def _fresh(self) -> optuna.Study:
        self._made += 1
        return self._make_study(self._made - 1)

    def _enqueue(self, candidate: Candidate) -> None:
        parts: defaultdict[str, dict[str, ParamValue]] = defaultdict(dict)
        for name, value in flat(candidate).items():
            parts[self._owner(name)][name] = value
        for owner, values in parts.items():
            self._study(owner).enqueue_trial(values)

    def _tell(self, owner: str, trial: optuna.Trial, told: Told) -> None:
        # A trial without constraints counts as feasible, so all are always set, and only here.
        for at, violation in enumerate(told.violations):
            trial.set_constraint(f"constraint_{at}", violation)
        frozen = self._settled(trial, told)
        if frozen.state is TrialState.FAIL or self._one_study:
            return
        study = self._studies[owner]
        if trial.study is not study:
            study.add_trial(frozen)
        done = study.get_trials(deepcopy=False, states=FINISHED)
        if len(done) > MOST_REMEMBERED:
            self._forget(owner, done)

    def _settled(self, trial: optuna.Trial, told: Told) -> FrozenTrial:
        """Tell the study in which the trial was asked for."""
        if told.status is Status.SUCCESS and told.value is not None:
            return trial.study.tell(trial, self._objectives(told.value, told))
        # Optuna cannot prune with several objectives.
        prunes = told.status is Status.PRUNED and len(trial.study.directions) == 1
        return trial.study.tell(trial, state=TrialState.PRUNED if prunes else TrialState.FAIL)

    def _forget(self, owner: str, done: Sequence[FrozenTrial]) -> None:
        """Begin a new study with the best and the newest results."""
        best = sorted(done, key=_merit, reverse=True)[:KEPT_OF_EACH]
        kept = {trial.number: trial for trial in (*best, *done[-KEPT_OF_EACH:])}
        study = self._studies[owner] = self._fresh()
        study.add_trials(kept[number] for number in sorted(kept))


def _merit(trial: FrozenTrial) -> tuple[float, float]:
    """Less violation first, then more value; both objectives of ours begin with the value."""
    missed = sum(max(0.0, value) for value in trial.constraints.values())
    return -missed, trial.values[0] if trial.values else -math.inf


def value_only(value: float, told: Told) -> Sequence[float]:
    """Tell the value alone."""
    del told
    return (value,)


def value_and_violation(value: float, told: Told) -> Sequence[float]:
    """Tell the value, to be raised, and the worst violation, to be lowered."""
    return value, worst_violation(told)


def parzen(seed: int) -> optuna.samplers.TPESampler:
    """Return the estimator for conditional spaces and concurrent trials.

    Parameters
    ----------
    seed : int
        Seed of its draws.
    """
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


def new_study(
    sampler: optuna.samplers.BaseSampler, *directions: Literal["maximize", "minimize"]
) -> optuna.Study:
    """Return an empty study in memory, without a word on the screen.

    Parameters
    ----------
    sampler : optuna.samplers.BaseSampler
        Who proposes.
    *directions : str
        ``"maximize"`` or ``"minimize"``, one per objective.
    """
    with quiet():
        return optuna.create_study(directions=list(directions), sampler=sampler)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from announcing a new study; its log level is put back."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


def _suggest(trial: optuna.Trial, name: str, allowed: Range) -> ParamValue:
    if isinstance(allowed, Real):
        # NSGA-II hands out np.float64 next to an upper bound, which is another candidate.
        return float(trial.suggest_float(name, allowed.low, allowed.high, log=allowed.log))
    if isinstance(allowed, Integer):
        return trial.suggest_int(name, allowed.low, allowed.high, log=allowed.log)
    return cast(ParamValue, trial.suggest_categorical(name, list(allowed.values)))
