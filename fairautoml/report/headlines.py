"""Sentences on the selected model: its cost, its certainty, and groups with a single decision."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.exceptions import DegradedWarning, warn
from fairautoml.metrics import METRICS
from fairautoml.metrics.groups import GroupSystem, outside_of
from fairautoml.records import Entry
from fairautoml.selection.choice import Margin, PassedOver
from fairautoml.selection.feasibility import (
    FEWEST,
    DecisionShares,
    best_unconstrained,
    decision_shares,
    is_unconstrained,
)
from fairautoml.selection.leaderboard import Leaderboard
from fairautoml.selection.pool import Pool
from fairautoml.selection.price import CostlyGroup


def headline(board: Leaderboard, entry: Entry, margin: Margin | None) -> str:
    """Return one line on the selected model, its cost and what is expected on new data."""
    served = f"Served: {served_text(board, entry)}"
    if cost := cost_text(board, entry, margin):
        served += f" ({cost})"
    parts = [served]
    if entry.measures and entry.constant:
        parts.append("it gives every row the same decision")
    elif entry.measures and not entry.meets:
        parts.append("it misses the constraint on the search rows")
    expected = new_data_text(entry, margin)
    why = "" if margin is None else not_served_text(board.objective, margin.passed_over)
    sentences = ("; ".join(parts), expected, why)
    return " ".join(f"{s[0].upper()}{s[1:]}." for s in sentences if s)


def interrupted_note(n_trials: int) -> str:
    """Return the note on a search that the user ended."""
    trials = f"{n_trials} trial{'' if n_trials == 1 else 's'}"
    return (
        f"The search was interrupted after {trials}; the best model so far is selected. With "
        "run_dir=RunStorage(path, if_exists='resume'), another fit continues a stored run."
    )


def stopped_note(n_trials: int, why: str) -> str:
    """Return the note on a search that a callback ended."""
    trials = f"{n_trials} trial{'' if n_trials == 1 else 's'}"
    return f"The search stopped early after {trials}: {why}. callbacks=[] uses the whole budget."


def result_lines(
    board: Leaderboard, entry: Entry, margin: Margin | None, constraints: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """Return objective, selected model, its cost and its expected gap, with titles."""
    bounds = f" subject to {' and '.join(constraints)}" if constraints else ""
    why = "" if margin is None else not_served_text(board.objective, margin.passed_over)
    lines = (
        ("Goal", f"{board.objective}{bounds}"),
        ("Served", served_text(board, entry)),
        ("Cost", cost_text(board, entry, margin)),
        ("New data", new_data_text(entry, margin)),
        ("Groups", groups_text(board, entry)),
        ("Passed over", why),
    )
    return tuple((title, text) for title, text in lines if text)


def served_text(board: Leaderboard, entry: Entry) -> str:
    """Return the selected model with its score."""
    simple = is_unconstrained(entry) and bool(entry.measures) and entry.meets
    how = "; no mitigation is needed, and the rule reads no group (features may)" if simple else ""
    return f"{entry.name}: {board.objective} {entry.score:.4f}{how}"


def cost_text(board: Leaderboard, entry: Entry, margin: Margin | None) -> str:
    """Return the difference to the best score without the constraint, and who causes it."""
    if not entry.measures:
        return ""
    best, against = max(e.value for e in board.entries), "the best model without the constraint"
    price = best - entry.value
    if board.objective not in METRICS.names():
        text = f"{price:.4f} below"
    elif METRICS.get(board.objective).greater_is_better:
        text = f"{100 * price:.1f} points below"
    else:
        text = f"{price:.4f} above"
    if float(text.split()[0]) == 0:
        return f"as good as {against}"
    group = None if margin is None else margin.costly_group
    return f"{text} {against}{'' if group is None else _because_of(group, price)}"


def _because_of(group: CostlyGroup, price: float) -> str:
    share = min(1.0, group.regained / price)
    rows = f"{group.n_rows:,} row{'' if group.n_rows == 1 else 's'}"
    return f", {share:.0%} of it because of {rows} of {group.label!r} in {group.system!r}"


def new_data_text(entry: Entry, margin: Margin | None) -> str:
    """Return the interval of the gap, and the probability that the bounds hold on new data."""
    found = entry.assessment
    if found is None or found.probability is None:
        return ""
    bounds = "the bound holds" if len(entry.measures) == 1 else "all bounds hold"
    chance = probability_text(found.probability)
    text = f"{bounds} in the population with estimated probability {chance}"
    if margin is not None:
        text += (
            f", and as measured on a hold-out of {margin.n_holdout:,} rows with "
            f"{probability_text(margin.holdout_probability)}"
        )
    if found.gap_interval is not None:
        text = f"{_interval_text(entry, *found.gap_interval)}; {text}"
    return f"{text} (no certificate: these rows also selected the model)"


def _interval_text(entry: Entry, low: float, high: float) -> str:
    """Return the interval of the largest gap, or of the value if all are bounded below."""
    metrics = [METRICS.get(measure.metric) for measure in entry.measures]
    if all(metric.bounded_below for metric in metrics):
        what = "smallest rate" if all(metric.is_minimum for metric in metrics) else "ratio"
        low, high = max(0.0, 1.0 - high), 1.0 - low
        return f"{what} on new data at least {low:.3f} (95 % interval {low:.3f} to {high:.3f})"
    return f"gap on new data at most {high:.3f} (95 % interval {low:.3f} to {high:.3f})"


def groups_text(board: Leaderboard, entry: Entry) -> str:
    """Return the groups that the bounds apply to."""
    found = []
    for system in board.systems:
        measures = [m.metric for m in entry.measures if m.system == system.name]
        if not measures or system.values is not None:
            continue
        outside = {g for m in measures for g in outside_of(board.small_groups, m, system.name)}
        inside = [label for label in system.labels if label not in outside]
        named = ", ".join(inside[:MOST_NAMED])
        more = f" and {len(inside) - MOST_NAMED} more" if len(inside) > MOST_NAMED else ""
        n = f"{len(inside)} of {system.n_groups}" if outside else f"all {system.n_groups}"
        found.append(f"{n} of {system.name!r}: {named}{more}")
    return "; ".join(found)


def not_served_text(objective: str, other: PassedOver | None) -> str:
    """Return why an entry of a better score that meets the constraint is not served."""
    if other is None:
        return ""
    why = {
        "probability": f"its probability is {probability_text(other.probability)}",
        "noise": "a single trial leads by no more than the noise of choosing the best of many",
        "unconstrained": (
            "its lead is within noise of a model that meets the bound without any mitigation"
        ),
    }
    score = f"{objective} {other.score:.4f}"
    return f"A candidate with {score} was not served because {why[other.reason]}"


def probability_text(value: float) -> str:
    """Return a probability as text that never reads as certainty."""
    if value > 0.99:
        return "above 0.99"
    return "below 0.01" if value < 0.01 else f"{value:.2f}"


MOST_NAMED = 5
"""Groups of one sensitive column that a message lists."""


def group_headlines(board: Leaderboard, entry: Entry, classes: NDArray[Any]) -> tuple[str, ...]:
    """Return one sentence per group that the constraint leaves with one decision."""
    found: list[str] = []
    unconstrained = best_unconstrained(board.entries)
    for system in _constrained(board, entry):
        shares = decision_shares(entry, unconstrained, system, board.n_rows)
        shut, decision = shares.suppressed, shares.decision
        for one in np.unique(decision[shut]).tolist():
            named = np.flatnonzero(shut & (decision == one)).tolist()
            rates = _Rates(system, shares, one, compared=unconstrained is not None)
            found.append(rates.sentence(named, str(classes[one])))
    return tuple(found)


def one_sided_notes(board: Leaderboard, entry: Entry) -> tuple[str, ...]:
    """Return a note on groups that get one decision without the constraint too."""
    unconstrained = best_unconstrained(board.entries)
    if unconstrained is None or board.objective == "balanced_accuracy":
        return ()
    found: list[str] = []
    for system in _constrained(board, entry):
        shares = decision_shares(entry, unconstrained, system, board.n_rows)
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


def refused_headline(refused: Entry, served: Entry, advice: str) -> str:
    """Return the sentence on the best entry that is not acceptable, and what is served instead."""
    who = "best model that meets the constraint" if refused.meets else "least unfair model"
    found = refused.assessment
    reason = "" if found is None else found.reason
    if not reason:
        reason = "is not clearly better than the best constant prediction"
    kept = "the best constant" if served.constant else "the least unfair acceptable model"
    return (
        f"The {who} (score {refused.score:.4f}) {reason}, so {kept} (score {served.score:.4f}) is "
        f"served; {advice}."
    )


def _constrained(board: Leaderboard, entry: Entry) -> Iterator[GroupSystem]:
    """Yield the systems of the constraints; none for a constant, and for numbers."""
    if entry.constant or entry.deployed.ndim == 2:
        return
    names = {measure.system for measure in entry.measures}
    yield from (s for s in board.systems if s.name in names)


@dataclass(frozen=True, slots=True)
class _Rates:
    """Rates of a grouping in which some groups get a single decision."""

    system: GroupSystem
    shares: DecisionShares
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


def constant_notes(entry: Entry) -> tuple[str, ...]:
    """Warn about a constant predictor, and return the note."""
    if not (entry.constant and entry.measures):
        return ()
    note = (
        "Only a constant predictor matches the arguments of select. Give a larger max_gap, or "
        "choose from pareto_front_."
    )
    warn(note, DegradedWarning)
    return (note,)


def warned_headlines(pool: Pool) -> tuple[str, ...]:
    """Warn about groups in which the selected model makes a single decision; return the notes."""
    found = group_headlines(pool.board, pool.best, pool.classes)
    for sentence in found:
        warn(sentence, DegradedWarning)
    return found
