"""What is served, what the constraint costs and how likely it holds, in one line of text."""

import math

from fairautoml.assembly import Margin, PassedOver
from fairautoml.leaderboard import Leaderboard
from fairautoml.metrics import METRICS
from fairautoml.trials import Entry


def headline(board: Leaderboard, entry: Entry, margin: Margin | None) -> str:
    """Return the served model, its price and the probability that the bound holds."""
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
    """Return how far the score is from the best one without the constraint."""
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
    if other.reason == "certificate":
        why += " and it is less likely to be certified"
    elif other.reason == "noise":
        why = "a single trial leads by no more than the noise of choosing the best of many"
    return f" A candidate with {objective} {other.score:.4f} was not served because {why}."


def _new_rows(ratio: float) -> str:
    """Return how many new rows a probability speaks about."""
    if math.isinf(ratio):
        return "new data"
    return "as many new rows" if ratio == 1 else f"{ratio:.2g} times as many new rows"


def _probability(value: float) -> str:
    """Return an estimate that is never stated as certainty."""
    if value > 0.99:
        return "above 0.99"
    return "below 0.01" if value < 0.01 else f"{value:.2f}"
