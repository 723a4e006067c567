"""What leads the notes of a fit: groups that get one decision, a constant worth more."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data.dataset import GroupSystem
from fairautoml.leaderboard import Leaderboard
from fairautoml.trials import Entry

NEARLY = 0.1
"""A decision is shut out below this share of how often it is made without the constraint."""

FEWEST = 5.0
"""Rows that must be concerned before a group is named."""

MOST_NAMED = 5
"""Groups of one sensitive column that are named one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How often each decision is made in the groups of a system."""

    # shares of the decisions of the served rule, of those of the best model without the
    # constraint (the labels where there is none), and of the labels
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
    """Say that the constant is served because it is worth more than the model chosen."""
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
    plain = (
        e for e in board.entries if e.mitigator == "none" and e.candidate.mitigation == "none"
    )
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
    """The rates of a system that show that some of its groups get one decision."""

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
