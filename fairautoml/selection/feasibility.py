"""Assess whether an entry may be deployed under the constraints.

An entry is feasible if

1. its cross-fitted gaps are within the bounds, and so are those of the deployed rule up to one
   standard error (``Entry.meets``);
2. its rule does not leave groups that hold half of the rows with a single decision;
3. it is better than the best constant prediction, where the unconstrained model is;
4. the bounds are more likely to hold in the population than not, and the groups have enough rows
   for a fair rule to meet them.

An entry that lacks only the last point is ``unsure``: it may be deployed, but is not called
feasible.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fairautoml.evaluation.problem import Problem
from fairautoml.metrics import BoundConstraint, ClassCounts, GroupCounts, Metric
from fairautoml.metrics._table import Undefined, effective_rows
from fairautoml.metrics.groups import GroupSystem
from fairautoml.metrics.tasks import TASKS
from fairautoml.records import BASELINE, Assessment, Entry, Status, tie
from fairautoml.selection.margin import BoundProbability, chances_on

EVEN = 0.5
"""Probability below which a constraint is more likely violated than met."""

NEARLY = 0.1
"""Share of its unconstrained rate below which a decision counts as suppressed in a group."""

FEWEST = 5.0
"""Affected rows from which a group counts."""

MOST_SUPPRESSED = 0.5
"""Share of the rows in groups with a single decision from which a rule is infeasible."""

ONE_SIDED = 1.645
"""Standard errors below the estimate at which a one-sided 95 % interval ends."""

STEP = 1e-4
"""Step of the numerical derivatives."""

ROUGH = 100
"""Draws for entries that miss a bound, whose probability selects nothing."""

INTERVAL = (2.5, 97.5)
"""Percentiles of the interval of the largest gap."""

DISAGREEING = 0.05
"""Share of the rows on which two good models are assumed to disagree."""


def clear_lead(error: float | None, n_rows: float) -> float:
    """Return the standard error of a difference in accuracy, or the same share of an error."""
    lead = float(np.sqrt(DISAGREEING / n_rows))
    return lead if error is None else lead * abs(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionShares:
    """Shares of each decision in the groups of a grouping."""

    # shares of the decisions of the assessed entry, of those of the best unconstrained model (of
    # the labels if there is none), and of the labels
    served: NDArray[np.float64]  # shape (n_groups, n_classes)
    reference: NDArray[np.float64]  # shape (n_groups, n_classes)
    labels: NDArray[np.float64]  # shape (n_groups, n_classes)
    n_rows: NDArray[np.float64]  # shape (n_groups,): effective rows

    @property
    def decision(self) -> NDArray[np.int64]:
        """Most common decision in each group, shape (n_groups,)."""
        return self.served.argmax(axis=1)

    @property
    def suppressed(self) -> NDArray[np.bool_]:
        """Groups that lose nearly all other decisions by the constraint, shape (n_groups,)."""
        at = np.arange(len(self.served))
        other = 1.0 - self.served[at, self.decision]
        usual = 1.0 - self.reference[at, self.decision]
        return (other < NEARLY * usual) & (self.n_rows * usual >= FEWEST)


def decision_shares(
    entry: Entry, reference: Entry | None, system: GroupSystem, n_rows: NDArray[np.float64]
) -> DecisionShares:
    """Return the decision shares of an entry; ``n_rows`` are effective rows by finest group."""
    member = system.member.astype(np.float64)
    table = np.tensordot(member, entry.deployed, 1)
    labels = _normalized(table.sum(axis=2))
    return DecisionShares(
        served=_normalized(table.sum(axis=1)),
        reference=labels
        if reference is None
        else _normalized(np.tensordot(member, reference.deployed, 1).sum(axis=1)),
        labels=labels,
        n_rows=member @ np.nan_to_num(n_rows),
    )


def _normalized(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    total = weight.sum(axis=1, keepdims=True)
    return np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)


def is_unconstrained(entry: Entry) -> bool:
    """Return whether an entry was made without any mitigation."""
    return entry.mitigator == "none" and set(entry.config.mitigation.split("+")) == {"none"}


def best_unconstrained(entries: Iterable[Entry]) -> Entry | None:
    """Return the best entry without any mitigation, or None."""
    plain = (entry for entry in entries if is_unconstrained(entry))
    return min(plain, key=lambda entry: (-entry.value, *tie(entry)), default=None)


def constant_value(problem: Problem, metric: Metric) -> float:
    """Return the value of the best constant prediction by a metric on decisions."""
    data, task = problem.dataset, TASKS.get(problem.dataset.task)
    found = []
    for constant in task.constant_predictions(data.y, data.weight, len(data.classes)):
        value = metric.value(
            task.tally(np.zeros_like(data.cells), data.y, constant, data.weight, n_groups=1)
        )
        if not isinstance(value, Undefined):
            found.append(metric.utility(value))
    return max(found, default=0.0)


def _value_of_constant(problem: Problem, entries: Sequence[Entry]) -> float:
    """Return the value of the best constant prediction by the objective."""
    if problem.objective.on == "decisions":
        return constant_value(problem, problem.objective)
    return max((e.value for e in entries if e.config == BASELINE), default=-np.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeasibilityCheck:
    """Assesses the entries of a search."""

    targets: tuple[BoundConstraint, ...]
    objective: Metric
    reference: Entry | None  # the best unconstrained model
    constant: float  # value of the best constant prediction
    demanding: bool  # whether the unconstrained model is clearly better than a constant
    n_rows: NDArray[np.float64]  # shape (n_cells,): effective rows by finest group
    population: BoundProbability
    rough: BoundProbability  # the first draws of ``population``
    judged: bool  # whether the groups have enough rows to judge every bound

    @classmethod
    def of(cls, problem: Problem, entries: Sequence[Entry], seed: int) -> "FeasibilityCheck":
        """Return the check for the entries of a problem."""
        data, entities = problem.dataset, problem.entities
        population = chances_on(
            data, problem.goal.targets, seed, audit_ratio=np.inf, entities=entities
        )
        check = cls(
            targets=problem.goal.targets,
            objective=problem.objective,
            reference=best_unconstrained(entries),
            constant=_value_of_constant(problem, entries),
            demanding=False,
            n_rows=effective_rows(data.cells, data.weight, data.n_cells, entities),
            population=population,
            rough=population.first(ROUGH),
            judged=data.groups is None or data.groups.judged,
        )
        best = check.reference
        return replace(check, demanding=best is not None and check.least_gain(best) > 0)

    def assessed(self, entries: Iterable[Entry]) -> tuple[Entry, ...]:
        """Return the entries with their assessment."""
        return tuple(replace(entry, assessment=self._assess(entry)) for entry in entries)

    def _assess(self, entry: Entry) -> Assessment:
        probability, interval = None, None
        if not entry.constant:
            drawn = self.population if entry.meets else self.rough
            gaps = drawn.gaps(entry.counts)
            probability = drawn.share_met(gaps)
            counted = [not target.metric.is_minimum for target in self.targets]
            shown = gaps[counted] if any(counted) else gaps
            ends = np.percentile(shown.max(axis=0), INTERVAL, method="nearest")
            interval = (float(ends[0]), float(ends[1])) if np.isfinite(ends).all() else None
        status, reason = self._status(entry, 0.0 if probability is None else probability)
        return Assessment(
            status=status, reason=reason, probability=probability, gap_interval=interval
        )

    def _status(self, entry: Entry, probability: float) -> tuple[Status, str]:
        if not entry.meets:
            return Status.INFEASIBLE, ""
        if reason := self._suppressing(entry):
            return Status.INFEASIBLE, reason
        if not self._worth_more(entry):
            return Status.INFEASIBLE, "is not clearly better than the best constant prediction"
        if not self.judged:
            return Status.UNSURE, "meets a bound that so few rows cannot judge"
        if probability < EVEN:
            return Status.UNSURE, "is more likely to miss the bound on new data than to meet it"
        return Status.FEASIBLE, ""

    def _suppressing(self, entry: Entry) -> str:
        """Return why too many rows get a single decision, or an empty string."""
        for system in constrained_systems(self.targets, entry):
            shares = decision_shares(entry, self.reference, system, self.n_rows)
            held = shares.n_rows[shares.suppressed].sum() / max(shares.n_rows.sum(), 1.0)
            if held >= MOST_SUPPRESSED:
                return (
                    f"gives one decision to nearly all rows of groups of {system.name!r} that "
                    f"hold {held:.0%} of the rows"
                )
        return ""

    def accepts(self, entry: Entry) -> bool:
        """Return whether the rule suppresses no decision, and is worth more than a constant."""
        return not self._suppressing(entry) and self._worth_more(entry)

    def _worth_more(self, entry: Entry) -> bool:
        """Return whether an entry is better than a constant, clearly if a model can be."""
        return self.least_gain(entry) > 0 if self.demanding else entry.value >= self.constant

    def least_gain(self, entry: Entry) -> float:
        """Return the lower 95 % limit of the gain in value over the best constant prediction."""
        gain, n_rows = entry.value - self.constant, float(self.n_rows.sum())
        if not np.isfinite(gain):
            return gain
        if self.objective.on == "scores" or entry.counts.ndim == 2:
            error = None if self.objective.greater_is_better else entry.value
            return gain - clear_lead(error, n_rows)
        error = gain_error(self.objective, entry.counts.sum(axis=0), n_rows)
        if np.isnan(error):
            # A function without sample_weight has no value on shares of rows.
            return gain - clear_lead(None, n_rows)
        return gain - ONE_SIDED * error


def constrained_systems(targets: Sequence[BoundConstraint], entry: Entry) -> Iterator[GroupSystem]:
    """Yield the constrained groupings; none for a constant, numbers or a regression."""
    if entry.constant or entry.deployed.ndim == 2:
        return
    systems = {t.system.name: t.system for t in targets if t.system.values is None}
    yield from systems.values()


def gain_error(metric: Metric, table: NDArray[np.float64], n_rows: float) -> float:
    """Return the standard error of the gain over the best constant on the same rows.

    NaN if the metric has no value on shares of rows. ``table`` has the weight by label and
    decision. This is the infinitesimal jackknife, to which
    the paired bootstrap converges (Efron, *The Jackknife, the Bootstrap and Other Resampling
    Plans*, 1982, chapter 6).
    """
    shares = table / table.sum()
    by_label = shares.sum(axis=1)
    constants = [np.outer(by_label, one) for one in np.eye(len(by_label))]
    best = np.eye(len(by_label))[np.argmax([_value(metric, table) for table in constants])]
    served = _influence(metric, shares)
    constant = _influence(metric, np.outer(by_label, best))
    # A row of a label counts as one with the constant's decision.
    influence = served - constant[:, best.argmax(), None]
    variance = np.sum(shares * influence**2) - np.sum(shares * influence) ** 2
    return float(np.sqrt(max(variance, 0.0) / n_rows))


def _influence(metric: Metric, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the derivative of a metric toward a row of each label and decision."""
    here, found = _value(metric, shares), np.zeros(shares.shape)
    for cell in zip(*np.nonzero(shares), strict=True):
        moved = (1 - STEP) * shares
        moved[cell] += STEP
        found[cell] = (_value(metric, moved) - here) / STEP
    return found


def _value(metric: Metric, table: NDArray[np.float64]) -> float:
    counts = GroupCounts(table[None]) if len(table) == 2 else ClassCounts(table[None])
    return metric.utility(metric.value(counts))
