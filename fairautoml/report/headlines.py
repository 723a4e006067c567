"""Sentences on the selected model: its cost, its certainty, and groups with a single decision."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics import METRICS
from fairautoml.metrics.groups import GroupSystem
from fairautoml.records import Entry
from fairautoml.selection.ensemble import Margin, PassedOver
from fairautoml.selection.leaderboard import Leaderboard


def headline(board: Leaderboard, entry: Entry, margin: Margin | None) -> str:
    """Return one line on the selected model, its cost and the probability that the bound holds."""
    parts = [f"Served: {entry.name}: {board.objective} {entry.score:.4f}{_price(board, entry)}"]
    if entry.measures and entry.constant:
        parts.append("it gives every row the same decision")
    elif entry.measures and not entry.feasible:
        parts.append("it misses the constraint on the search rows")
    if margin is None:
        return f"{'; '.join(parts)}."
    bounds = "the bound holds" if len(entry.measures) == 1 else "all bounds hold"
    chance = f"with estimated probability {_probability(margin.probability)}"
    parts.append(f"{bounds} on {_new_rows(margin.audit_ratio)} {chance}")
    return f"{'; '.join(parts)}.{_not_served(board.objective, margin.passed_over)}"


def _price(board: Leaderboard, entry: Entry) -> str:
    """Return the difference to the best score without the constraint."""
    if not entry.measures:
        return ""
    best, against = max(e.value for e in board.entries), "the best model without the constraint"
    price = best - entry.value
    if METRICS.get(board.objective).greater_is_better:
        text = f"{100 * price:.1f} points below"
    else:
        text = f"{price:.4f} above"
    return f" (as good as {against})" if float(text.split()[0]) == 0 else f" ({text} {against})"


def _not_served(objective: str, other: PassedOver | None) -> str:
    """Return why an entry of a better score that meets the constraint is not served."""
    if other is None:
        return ""
    why = f"its probability is {_probability(other.probability)}"
    if other.reason == "noise":
        why = "a single trial leads by no more than the noise of choosing the best of many"
    return f" A candidate with {objective} {other.score:.4f} was not served because {why}."


def _new_rows(ratio: float) -> str:
    """Return the number of new rows that a probability refers to."""
    if math.isinf(ratio):
        return "new data"
    return "as many new rows" if ratio == 1 else f"{ratio:.2g} times as many new rows"


def _probability(value: float) -> str:
    """Return a probability as text that never reads as certainty."""
    if value > 0.99:
        return "above 0.99"
    return "below 0.01" if value < 0.01 else f"{value:.2f}"


NEARLY = 0.1
"""Share of its unconstrained rate below which a decision counts as suppressed in a group."""

FEWEST = 5.0
"""Affected rows from which a group is reported."""

MOST_NAMED = 5
"""Groups of one sensitive column that a message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Shares of each decision in the groups of a grouping."""

    # shares of the decisions of the selected model, of those of the best model without the
    # constraint (of the labels if there is none), and of the labels
    served: NDArray[np.float64]  # shape (n_groups, n_classes)
    reference: NDArray[np.float64]  # shape (n_groups, n_classes)
    labels: NDArray[np.float64]  # shape (n_groups, n_classes)
    n_rows: NDArray[np.float64]  # shape (n_groups,): effective rows


def group_headlines(board: Leaderboard, entry: Entry, classes: NDArray[Any]) -> tuple[str, ...]:
    """Return one sentence per group that the constraint leaves with one decision."""
    found: list[str] = []
    unconstrained = _unconstrained(board)
    for system in _constrained(board, entry):
        shares = _shares(board, entry, unconstrained, system)
        decision = shares.served.argmax(axis=1)
        at = np.arange(len(decision))
        other = 1.0 - shares.served[at, decision]
        usual = 1.0 - shares.reference[at, decision]
        shut = (other < NEARLY * usual) & (shares.n_rows * usual >= FEWEST)
        for one in np.unique(decision[shut]).tolist():
            named = np.flatnonzero(shut & (decision == one)).tolist()
            rates = _Rates(system, shares, one, compared=unconstrained is not None)
            found.append(rates.sentence(named, str(classes[one])))
    return tuple(found)


def one_sided_notes(board: Leaderboard, entry: Entry) -> tuple[str, ...]:
    """Return a note on groups that get one decision without the constraint too."""
    unconstrained = _unconstrained(board)
    if unconstrained is None or board.objective == "balanced_accuracy":
        return ()
    found: list[str] = []
    for system in _constrained(board, entry):
        shares = _shares(board, entry, unconstrained, system)
        one = np.isclose(shares.served, 1.0) & np.isclose(shares.reference, 1.0)
        missed = shares.n_rows[:, None] * (1.0 - shares.labels) >= FEWEST
        labels = [system.labels[group] for group in np.flatnonzero((one & missed).any(axis=1))]
        if labels:
            found.append(
                f"without the constraint, too, all rows of {', '.join(map(repr, labels))} of "
                f"{system.name!r} get the same decision, though their labels differ; "
                "objective='balanced_accuracy' rewards finding the rarer label"
            )
    return tuple(found)


def constant_headline(outdone: Entry, constant: Entry, advice: str) -> str:
    """Return the sentence on a constant that is selected because its utility is higher."""
    who = "best model that meets the constraint" if outdone.feasible else "least unfair model"
    return (
        f"The {who} (score {outdone.score:.4f}) is worth less than the best constant prediction "
        f"(score {constant.score:.4f}), so the constant is served; {advice}."
    )


def _constrained(board: Leaderboard, entry: Entry) -> Iterator[GroupSystem]:
    """Yield the systems of the constraints; none for a constant, and for numbers."""
    if entry.constant or entry.deployed.ndim == 2:
        return
    names = {measure.system for measure in entry.measures}
    yield from (s for s in board.systems if s.name in names)


def _unconstrained(board: Leaderboard) -> Entry | None:
    plain = (e for e in board.entries if e.mitigator == "none" and e.config.mitigation == "none")
    return max(plain, key=lambda entry: entry.value, default=None)


def _shares(
    board: Leaderboard, entry: Entry, unconstrained: Entry | None, system: GroupSystem
) -> Shares:
    member = system.member.astype(np.float64)
    table = np.tensordot(member, entry.deployed, 1)
    labels = _normalized(table.sum(axis=2))
    reference = labels
    if unconstrained is not None:
        reference = _normalized(np.tensordot(member, unconstrained.deployed, 1).sum(axis=1))
    return Shares(
        served=_normalized(table.sum(axis=1)),
        reference=reference,
        labels=labels,
        n_rows=member @ np.nan_to_num(board.n_rows),
    )


def _normalized(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    total = weight.sum(axis=1, keepdims=True)
    shares: NDArray[np.float64] = np.divide(
        weight, total, out=np.zeros_like(weight), where=total > 0
    )
    return shares


@dataclass(frozen=True, slots=True)
class _Rates:
    """Rates of a grouping in which some groups get a single decision."""

    system: GroupSystem
    shares: Shares
    decision: int
    compared: bool

    def sentence(self, groups: list[int], given: str) -> str:
        """Name the groups, with their rates with and without the constraint."""
        name = self.system.name
        if self.shares.served.shape[1] > 2:
            verb, rate = f"gives {given!r} to nearly all of", "given to"
        elif self.decision:
            verb, rate = "accepts nearly all of", "it accepts"
        else:
            verb, rate = "shuts out", "it accepts"
        if len(groups) == 1:
            label = self.system.labels[groups[0]]
            return (
                f"The rule {verb} {label!r} of {name!r}: {rate} {self._of(groups[0], ' of them')}."
            )
        listed = "; ".join(
            f"{self.system.labels[group]!r} {self._of(group)}" for group in groups[:MOST_NAMED]
        )
        more = f"; and {len(groups) - MOST_NAMED} more" if len(groups) > MOST_NAMED else ""
        return (
            f"The rule {verb} {len(groups)} of {self.system.n_groups} groups of {name!r}: {rate} "
            f"{listed}{more}."
        )

    def _of(self, group: int, whom: str = "") -> str:
        shown = 1 if self.shares.served.shape[1] == 2 else self.decision
        now, before = self.shares.served[group, shown], self.shares.reference[group, shown]
        usual = (
            f"without the constraint {before:.1%}"
            if self.compared
            else f"{before:.1%} have that label"
        )
        return f"{now:.1%}{whom}, {usual}"
