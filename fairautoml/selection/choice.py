"""Choose the entry to deploy, with a safety margin, and describe the choice.

Without a number, ``confidence="auto"`` maximizes the expected utility: a rule that violates the
constraint on as many new rows as were searched counts like a constant prediction. A probability
above ``SURE`` counts like ``SURE``, because nothing is gained by more certainty.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fairautoml.evaluation.group_sizes import MINIMUM_AS_DIFFERENCE, GroupSizes, fewest_rows
from fairautoml.evaluation.postprocess import Column, expand_column
from fairautoml.evaluation.problem import Problem
from fairautoml.metrics import METRICS, BoundConstraint
from fairautoml.records import BASELINE, Entry, GroupUnawareRule, best_of, order, pareto_front, tie
from fairautoml.selection.ensemble import TOLERANCE
from fairautoml.selection.feasibility import (
    EVEN,
    FeasibilityCheck,
    clear_lead,
    constant_value,
    is_unconstrained,
)
from fairautoml.selection.margin import BoundProbability, chances_on

Confidence = Literal["auto"] | float | None
"""Required probability that the constraint holds in the population; "auto": see above."""

SURE = 0.99
"""Probability that is as good as certainty."""

HELD_OUT = 3 / 7
"""Held-out rows per search row if 30 % of the rows are held out."""

SAME_CHANCE = 0.005
"""Largest difference of two probabilities that are reported as equal."""

ENSEMBLE = "ensemble"
"""Trial key and learner name of the entries of the ensemble."""

MIXTURE = "mixture"
"""Trial key and learner name of the entries of the randomized mixture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionOptions:
    """Options of the selection of the final model."""

    # most trials in an ensemble, and in a mixture if randomized rules are allowed; 0 = neither
    ensemble: int = 8
    tolerance: float = TOLERANCE  # rise of the ensemble's loss that fewer trees may cost
    max_trees: float = np.inf  # most trees of the selected model
    max_ms: float = np.inf  # most milliseconds of its models for one row
    confidence: Confidence = "auto"  # required probability that the constraint holds
    end: float | None = None  # ``time.monotonic()`` at which ``fit`` should be done
    # new rows per search row that the constraint must hold on; ``inf`` = the population, None = as
    # many as the search rows for ``"auto"``, the population for a number
    audit_ratio: float | None = None
    seed: int = 0  # root seed
    refit: bool = False  # whether the selected model is trained once more on all rows

    @property
    def new_rows(self) -> float:
        """New rows per search row that the constraint must hold on."""
        if self.audit_ratio is not None:
            return self.audit_ratio
        return 1.0 if self.confidence == "auto" else np.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRules:
    """Candidate rules for the final model, before a margin is chosen."""

    # entries of the usual tolerances: of all trials, the ensemble, the mixture
    usual: tuple[Entry, ...]
    # entries at the tolerances between, of the columns that a margin is chosen on
    fine: tuple[Entry, ...]
    columns: Mapping[str, Column]  # those columns by trial key
    deployable: frozenset[str]  # keys of the trials whose models are stored
    # trees of one fold model of each trial, and how many the selected model may have
    n_trees: Mapping[str, float] = field(default_factory=dict)
    max_trees: float = np.inf

    def can_serve(self, entry: Entry) -> bool:
        """Return whether all models of an entry are stored, and one fold of them is allowed."""
        stored = self.deployable.issuperset(entry.sources)
        n_trees = sum(self.n_trees.get(key, 0.0) for key in entry.sources)
        return stored and n_trees <= self.max_trees


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """Entry with the best score among those that meet the bounds, which was not selected."""

    score: float  # objective, in its natural direction
    probability: float  # that the constraints hold in the population, in [0, 1]
    # less likely to meet the constraints; a single trial whose lead over an ensemble is within
    # noise; no better than an unconstrained model that meets them
    reason: Literal["probability", "noise", "unconstrained"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostlyGroup:
    """A group without which the constraint would cost much less."""

    system: str  # grouping
    label: str  # group
    n_rows: int  # rows of the group
    regained: float  # objective regained without the group


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """Safety margin of the selected entry, its reason and its cost."""

    confidence: Confidence  # requested probability
    probability: float  # that the constraints hold in the population, in [0, 1]
    # probability that the measured gaps of a hold-out of ``n_holdout`` rows are within the bounds
    holdout_probability: float
    n_holdout: int
    gap_interval: tuple[float, float] | None  # 95 % interval of the largest gap in the population
    margin: float  # limit minus cross-fitted gap, the smallest over all constraints
    # objective lost against the best entry that meets the constraints on the search rows
    price: float
    insufficient_evidence: bool  # whether the probability is below the requested one
    # share of the best entry's gain over a constant predictor that the selected one keeps, at
    # most 1; None if there is no gain
    kept: float | None = None
    passed_over: PassedOver | None = None  # entry of a better score, and why it is not selected
    costly_group: CostlyGroup | None = None  # group that causes most of the constraint's price


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalChoice:
    """The selected entry, and those that it was selected from."""

    entries: tuple[Entry, ...]  # those of the search and those of the ensemble
    best: Entry  # the selected entry
    margin: Margin | None = None  # None without constraints, and for a constant
    # entry that would have been selected if it were acceptable, with the reason that it is not
    refused: Entry | None = None


def choose(
    entries: Sequence[Entry],
    confidence: Literal["auto"] | float,
    *,
    chance: Callable[[Entry], float],
    worth: Callable[[Entry], float],
    fallback: float,
    steady: Callable[[Entry], bool] = lambda entry: True,
    ahead: float = 0.0,
) -> Entry:
    """Return the selected entry.

    ``"auto"`` maximizes ``fallback + (worth - fallback) min(1, P / SURE)``. Rules that are worth
    no more than a constant are excluded unless there are no others. A number selects the best
    entry whose probability is at least that large, or the most likely entry if there is none.
    """
    chances = np.array([chance(entry) for entry in entries])
    values = np.array([worth(entry) for entry in entries])
    sure = np.ones(len(entries), dtype=bool) if confidence == "auto" else chances >= confidence
    if not sure.any():
        return entries[int(chances.argmax())]
    worths = values
    if confidence == "auto":
        worths = _expected(values, np.minimum(1.0, chances / SURE), fallback)
    calm = np.array([steady(entry) for entry in entries])
    return entries[_ahead(np.where(sure, worths, -np.inf), calm, ahead)]


def _ahead(worths: NDArray[np.float64], steady: NDArray[np.bool_], ahead: float) -> int:
    """Return the index of the best steady entry unless another exceeds it by ``ahead``."""
    best, calm = int(worths.argmax()), int(np.where(steady, worths, -np.inf).argmax())
    return calm if steady[calm] and worths[best] <= worths[calm] + ahead else best


def _expected(
    values: NDArray[np.float64], chances: NDArray[np.float64], fallback: float
) -> NDArray[np.float64]:
    """Return the expected utility of each rule."""
    # A rule worth less than the fallback would be rewarded for breaking the constraint.
    useful = values > fallback
    floor = fallback if useful.any() else float(values.min())
    expected = floor + (values - floor) * chances
    return np.where(useful, expected, -np.inf) if useful.any() else expected


def lacks_evidence(probability: float, confidence: Confidence) -> bool:
    """Return whether the probability is below the requested one (``"auto"``: ``EVEN``)."""
    if confidence is None:
        return False
    return probability < (EVEN if confidence == "auto" else confidence)


def select_final(
    candidates: CandidateRules, problem: Problem, options: SelectionOptions
) -> FinalChoice:
    """Return the selected model with all entries that it was selected from."""
    if not problem.goal.targets:
        best = best_of([entry for entry in candidates.usual if candidates.can_serve(entry)])
        if best is None:
            raise ValueError("The search has no entries, so no final model can be selected.")
        return FinalChoice(entries=candidates.usual, best=best)
    check = FeasibilityCheck.of(problem, candidates.usual, options.seed)
    candidates = replace(
        candidates, usual=check.assessed(candidates.usual), fine=check.assessed(candidates.fine)
    )
    chosen = _Choice(candidates, problem, options, check).made()
    front = {id(entry) for entry in pareto_front((*candidates.usual, *candidates.fine))}
    fine = (e for e in candidates.fine if e is chosen.best or id(e) in front)
    return replace(chosen, entries=(*candidates.usual, *fine))


@dataclass(frozen=True, slots=True)
class _Choice:
    """The choice among assessed candidates."""

    candidates: CandidateRules
    problem: Problem
    options: SelectionOptions
    check: FeasibilityCheck

    def made(self) -> FinalChoice:
        """Return the choice, without the entries that it was made from."""
        usual, fine = self.candidates.usual, self.candidates.fine
        every = usual if self.options.confidence is None else (*usual, *fine)
        served = [entry for entry in every if self.candidates.can_serve(entry)]
        allowed = [entry for entry in served if entry.feasible or entry.unsure]
        if not allowed:
            return self._fallback(served)
        plain = min(allowed, key=_by_value)
        best = self._with_margin(plain, allowed)
        return FinalChoice(entries=(), best=best, margin=self._margin(best, plain))

    def _fallback(self, served: Sequence[Entry]) -> FinalChoice:
        """Return the least unfair model that is worth more than a constant, or the constant."""
        varied = [entry for entry in served if not entry.constant]
        refused = min((e for e in varied if e.meets), key=_by_value, default=None)
        acceptable = [entry for entry in varied if self.check.accepts(entry)]
        if acceptable:
            best = min(acceptable, key=_by_excess)
            margin = self._margin(best, best)
            return FinalChoice(entries=(), best=best, margin=margin, refused=refused)
        constants = [entry for entry in served if entry.config == BASELINE and entry.constant]
        meeting = [entry for entry in constants if entry.excess <= 0]
        best = min(meeting or constants or served, key=_by_value)
        if refused is None and varied:
            refused = min(varied, key=_by_excess)
        return FinalChoice(entries=(), best=best, refused=refused)

    @property
    def _on_scores(self) -> bool:
        return self.problem.objective.on == "scores"

    def _lead(self, plain: Entry) -> float:
        rises = self._on_scores or self.problem.objective.greater_is_better
        return clear_lead(None if rises else plain.value, self.problem.dataset.n_rows)

    def _with_margin(self, plain: Entry, allowed: Sequence[Entry]) -> Entry:
        """Return the selected entry, which may differ from the best one on the search rows."""
        confidence = self.options.confidence
        # An objective on scores is the same for all rules of a column: choose within the best.
        among = [
            entry
            for entry in order(allowed)
            if entry.trial_key in self.candidates.columns
            and (not self._on_scores or entry.value == plain.value)
        ]
        if confidence is None or not among:
            return plain
        best = self._chosen(among, confidence, plain)
        needed = SURE if confidence == "auto" else max(SURE, confidence)
        simple = [e for e in among if is_unconstrained(e) and probability(e) >= needed]
        if simple:
            simplest = self._chosen(simple, confidence, plain)
            if self._worth(best) - self._worth(simplest) <= self._lead(plain):
                return simplest
        return best

    def _worth(self, entry: Entry) -> float:
        return entry.accuracy if self._on_scores else entry.value

    def _chosen(
        self, among: Sequence[Entry], confidence: Literal["auto"] | float, plain: Entry
    ) -> Entry:
        chance = probability
        if np.isfinite(self.options.new_rows):
            drawn = self._chances(self.options.new_rows)

            def chance(entry: Entry) -> float:
                return drawn.met(entry.counts)

        return choose(
            among,
            confidence,
            chance=chance,
            worth=self._worth,
            fallback=self._constant_value,
            steady=_steady,
            ahead=self._lead(plain),
        )

    def _chances(self, audit_ratio: float) -> BoundProbability:
        return chances_on(
            self.problem.dataset,
            self.problem.goal.targets,
            self.options.seed,
            audit_ratio=audit_ratio,
            entities=self.problem.entities,
        )

    @property
    def _constant_value(self) -> float:
        metric = METRICS.get("accuracy") if self._on_scores else self.problem.objective
        return constant_value(self.problem, metric)

    def _margin(self, entry: Entry, plain: Entry) -> Margin:
        chance = probability(entry)
        return Margin(
            confidence=self.options.confidence,
            probability=chance,
            holdout_probability=self._chances(HELD_OUT).met(entry.counts),
            n_holdout=round(HELD_OUT * self.problem.dataset.n_rows),
            gap_interval=None if entry.assessment is None else entry.assessment.gap_interval,
            margin=-entry.excess,
            price=plain.value - entry.value,
            insufficient_evidence=lacks_evidence(chance, self.options.confidence),
            kept=self._kept(entry, plain),
            passed_over=self._passed_over(entry, plain),
            costly_group=self._costly_group(entry),
        )

    def _costly_group(self, entry: Entry) -> CostlyGroup | None:
        """Return the group that causes most of a price that is more than noise, or None."""
        column, best = self.candidates.columns.get(entry.trial_key), self.check.reference
        if column is None or best is None or entry.trial_key == MIXTURE:
            return None
        if isinstance(entry.rule, GroupUnawareRule):
            # The group probabilities that its post-processor needs are not at hand.
            return None
        price = best.value - entry.value
        if price <= self._lead(entry):
            return None
        return costly_group(entry, column, self.problem, price, self.options.end)

    def _passed_over(self, entry: Entry, plain: Entry) -> PassedOver | None:
        """Return the entry of the better score and why it is not selected, or None."""
        ahead, chance = plain.value - entry.value, probability(plain)
        reason: Literal["probability", "noise", "unconstrained"]
        if chance < probability(entry) - SAME_CHANCE:
            reason = "probability"
        elif is_unconstrained(entry) and not is_unconstrained(plain):
            reason = "unconstrained"
        elif _steady(entry) and not _steady(plain) and ahead <= self._lead(plain):
            reason = "noise"
        else:
            return None
        if ahead <= 0:
            return None
        return PassedOver(score=plain.score, probability=chance, reason=reason)

    def _kept(self, entry: Entry, plain: Entry) -> float | None:
        """Return which share of the best entry's gain over a constant is kept."""
        if self._on_scores:
            return None
        worth = plain.value - self.check.constant
        return (entry.value - self.check.constant) / worth if worth > 0 else None


def probability(entry: Entry) -> float:
    """Return the probability that the constraints hold in the population, 0 if unknown."""
    found = entry.assessment
    return 0.0 if found is None or found.probability is None else found.probability


def _steady(entry: Entry) -> bool:
    """Return whether an entry is an average, not the best of many single trials."""
    return entry.trial_key in (ENSEMBLE, MIXTURE)


def _by_value(entry: Entry) -> tuple[float | str, ...]:
    return (-entry.value, -entry.accuracy, entry.gap, *tie(entry))


def _by_excess(entry: Entry) -> tuple[float | str, ...]:
    return (entry.n_undefined, max(0.0, entry.known_excess), *_by_value(entry))


SMALL = 10
"""Groups with fewer rows than this multiple of the least are tried."""

MOST_TRIED = 5
"""Groups that are tried, the smallest first."""

MOST_OF_IT = 0.5
"""Share of the price that a group must cause to be named."""


def costly_group(
    entry: Entry, column: Column, problem: Problem, price: float, end: float | None = None
) -> CostlyGroup | None:
    """Return the small group that causes at least half of a price, or None."""
    found = None
    before = _best_value(entry, column, problem, problem.goal.targets)
    for system, label, n_rows in _small(problem):
        if before is None or (end is not None and time.monotonic() > end):
            return found
        targets = tuple(
            replace(target, system=target.system.without((label,)))
            if target.system.name == system
            else target
            for target in problem.goal.targets
        )
        after = _best_value(entry, column, problem, targets)
        regained = 0.0 if after is None else after - before
        if regained >= max(MOST_OF_IT * price, 0.0 if found is None else found.regained):
            found = CostlyGroup(system=system, label=label, n_rows=n_rows, regained=regained)
    return found


def _small(problem: Problem) -> Iterator[tuple[str, str, int]]:
    """Yield grouping, name and rows of the smallest groups, the smallest first."""
    sizes: dict[tuple[str, str], int] = {}
    for target in problem.goal.targets:
        limit = MINIMUM_AS_DIFFERENCE if target.metric.is_minimum else target.limit
        few = SMALL * fewest_rows(limit)
        rows = GroupSizes(dataset=problem.dataset, entities=problem.entities, min_size=few)
        found = rows.too_small(target)
        if found is not None and target.system.n_groups > target.fewest_groups:
            named = zip(found.outside, found.n_rows, strict=True)
            sizes |= {(target.system.name, label): n_rows for label, n_rows in named}
    smallest = sorted(sizes.items(), key=lambda one: (one[1], one[0]))[:MOST_TRIED]
    yield from ((system, label, n_rows) for (system, label), n_rows in smallest)


def _best_value(
    entry: Entry, column: Column, problem: Problem, targets: tuple[BoundConstraint, ...]
) -> float | None:
    """Return the best value of the entry's post-processor on its scores under some targets."""
    restricted = replace(
        problem,
        goal=replace(problem.goal, targets=targets),
        mitigators=tuple(m for m in problem.mitigators if m.name == entry.mitigator),
    )
    values = [e.value for e in expand_column(column, restricted) if e.meets]
    return max(values, default=None)
