"""The rules that turn scores into decisions."""

from collections.abc import Callable

import numpy as np

from fairautoml.runtime._base import Array, Floats, ModelFileError, Spec


def groups_of(of_cell: Array, cells: Array) -> Array:
    """Return the group of each row, -1 for rows without a cell or a group."""
    known = (cells >= 0) & (cells < len(of_cell))
    return np.append(of_cell, -1)[np.where(known, cells, -1)].astype(np.int64)


def _thresholds(rule: Spec, scores: Floats, cells: Array, shares: Floats | None) -> Floats:
    group, wide = groups_of(rule["of_cell"], cells), scores.astype(np.float64)
    accepted = np.zeros(len(wide))
    for cuts, of_cut in zip(rule["cuts"], rule["shares"], strict=True):
        accepted += of_cut[group] * (wide >= cuts[group])
    return np.minimum(accepted, 1.0)


def _mixture(rule: Spec, scores: Floats, cells: Array, shares: Floats | None) -> Floats:
    group, wide = groups_of(rule["of_cell"], cells), scores.astype(np.float64)
    mean = sum(wide[:, at] for at in range(wide.shape[1])) / wide.shape[1]
    sizes = rule["sizes"].tolist()
    unmixed = np.array([size == 0 for size in sizes] + [True])
    accepted = np.where(unmixed[group], mean >= rule["neutral"], 0.0)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    for of, column, cut, share in zip(
        owner, rule["columns"], rule["cuts"], rule["shares"], strict=True
    ):
        here = np.flatnonzero(group == of)
        accepted[here] += share * (wide[here, column] >= cut)
    return np.minimum(accepted, 1.0)


def _calibrated(rule: Spec, scores: Floats, cells: Array, shares: Floats | None) -> Floats:
    moved: Floats = scores.astype(np.float64).round(int(rule["digits"]))
    start, members = moved.copy(), []
    for system in rule["systems"]:
        of_row = groups_of(system, cells)
        members += [np.flatnonzero(of_row == group) for group in range(int(system.max()) + 1)]
    _replay(rule, rule["updates"], moved, members)
    # The updates of all rows as one group are for rows without any group.
    alone = np.flatnonzero(groups_of(rule["systems"].max(axis=0), cells) < 0)
    _replay(rule, rule["overall"], start, [alone])
    moved[alone] = start[alone]
    return _thresholds(rule["cuts"], moved, cells, shares)


def _replay(rule: Spec, updates: Spec, moved: Floats, members: list[Array]) -> None:
    """Apply the updates to the scores of their groups, one after the other."""
    for group, of, delta in zip(updates["group"], updates["bin"], updates["delta"], strict=True):
        rows = members[group]
        inside = rows[bins_of(moved[rows], rule["width"], rule["edge"]) == of]
        moved[inside] = shifted(moved[inside], delta, int(rule["digits"]))


def bins_of(scores: Floats, width: float, edge: float) -> Array:
    """Return the bin of each score; ``edge`` is the tolerance of a bin's end, in bins."""
    count = int(np.ceil(1 / width - edge))
    return np.clip(np.ceil(scores / width - edge).astype(np.int64) - 1, 0, count - 1)


def shifted(scores: Floats, delta: float, digits: int) -> Floats:
    """Return the scores shifted by ``delta``, clipped to [0, 1]."""
    return np.clip(np.round(scores + delta, digits), 0.0, 1.0)


def _bias(rule: Spec, scores: Floats, cells: Array, shares: Floats | None) -> Floats:
    if shares is None:
        raise ModelFileError("the rule reads group probabilities, and the file has no model")
    left = scores.astype(np.float64)
    for cell, y in np.argwhere(rule["bias"]):
        left -= rule["bias"][cell, y] * shares[:, cell, y]
    return (left > rule["threshold"]).astype(np.float64)


def _classes(rule: Spec, scores: Floats, cells: Array, shares: Floats | None) -> Floats:
    group = groups_of(rule["of_cell"], cells)
    worth = rule["slopes"][group] * scores.astype(np.float64) - rule["cuts"][group]
    return np.eye(scores.shape[1])[worth.argmax(axis=1)]


def _shifts(rule: Spec, scores: Floats, cells: Array, shares: Floats | None) -> Floats:
    return scores.astype(np.float64) + rule["shifts"][groups_of(rule["of_cell"], cells)]


def _repair(rule: Spec, scores: Floats, cells: Array, shares: Floats | None) -> Floats:
    wide = scores.astype(np.float64)
    return wide + rule["strength"] * full_repair(rule, wide, cells)


def full_repair(rule: Spec, scores: Floats, cells: Array) -> Floats:
    """Return how far the full repair moves each prediction; constant beyond the knots."""
    group = groups_of(rule["of_cell"], cells)
    moved = np.zeros(len(scores))
    for at, (knots, steps) in enumerate(zip(rule["knots"], rule["steps"], strict=True)):
        inside = group == at
        if len(knots):
            moved[inside] = np.interp(scores[inside], knots, steps)
    return moved


RULES: dict[str, Callable[[Spec, Floats, Array, Floats | None], Floats]] = {
    "bias": _bias,
    "calibrated": _calibrated,
    "classes": _classes,
    "mixture": _mixture,
    "repair": _repair,
    "shifts": _shifts,
    "thresholds": _thresholds,
}


def row_thresholds(rule: Spec, cells: Array, drawn: Floats | None) -> Floats | None:
    """Return the threshold of each row, of a mixture the drawn one; None for other rules."""
    if rule["kind"] != "thresholds":
        return None
    order = rule["cuts"].argsort(axis=0, kind="stable")
    cuts, shares = (np.take_along_axis(rule[name], order, axis=0) for name in ("cuts", "shares"))
    group = groups_of(rule["of_cell"], cells)
    # A row is accepted if its number is below the share of the thresholds that it reaches.
    reached = np.cumsum(shares, axis=0)[:, group] > (0.0 if drawn is None else drawn)
    first = cuts[reached.argmax(axis=0), group]
    return np.where(reached.any(axis=0), first, np.inf)


def fair_scores(
    rule: Spec, scores: Floats, cells: Array, chosen: Array, drawn: Floats | None
) -> Floats:
    """Return scores that decide like the rule: at 0.5, or by the largest of several classes.

    ``chosen`` holds the class that the rule decides for, ``drawn`` the number by which a
    randomised rule decides a row. For rules without thresholds, the score is the mean of score
    and decision.
    """
    wide = scores.astype(np.float64)
    if rule["kind"] == "classes":
        group = groups_of(rule["of_cell"], cells)
        return _projected(rule["slopes"][group] * wide - rule["cuts"][group], chosen)
    wide = wide.mean(axis=1) if wide.ndim == 2 else wide
    cut = row_thresholds(rule, cells, drawn)
    if cut is None:
        return _on_its_side((wide + chosen) / 2, chosen)
    inner = np.clip(cut, 0.0, 1.0)
    above, below = wide * (1.0 - inner), (1.0 - wide) * inner
    # The sigmoid of the difference of the log-odds of score and threshold.
    moved = above / np.where(above + below > 0, above + below, 1.0)
    moved = np.where(cut <= 0, (1.0 + wide) / 2, np.where(cut >= 1, wide / 2, moved))
    return _on_its_side(moved, chosen)


def _on_its_side(moved: Floats, chosen: Array) -> Floats:
    """Return the scores, those of accepted rows above 0.5 and the others below."""
    low, high = np.nextafter(0.5, 0.0), np.nextafter(0.5, 1.0)
    return np.where(chosen == 1, np.maximum(moved, high), np.minimum(moved, low))


def _projected(worth: Floats, chosen: Array) -> Floats:
    """Return the nearest probabilities; the chosen class keeps the largest one."""
    falling = -np.sort(-worth, axis=1)
    counts = np.arange(1, worth.shape[1] + 1)
    excess = (np.cumsum(falling, axis=1) - 1.0) / counts
    last = (falling > excess).sum(axis=1) - 1
    found = np.maximum(worth - np.take_along_axis(excess, last[:, None], axis=1), 0.0)
    lost = np.flatnonzero(found.argmax(axis=1) != chosen)
    found[lost, chosen[lost]] = np.nextafter(found[lost].max(axis=1), 2.0)
    return found


def draws(X: Floats, odd: Array) -> Floats:
    """Return one number in [0, 1) per row, from its content; ``odd`` holds the salt."""
    if odd.dtype == np.float64:  # of a sparse matrix
        products = X[:, : len(odd)].astype(np.float64) * odd
        mixed = (0.0 + np.cumsum(products, axis=1)[:, -1]).view(np.uint64)
    else:
        factors = odd.view(np.uint32).astype(np.uint64).reshape(-1, 2)
        mixed = mixed_rows(X, factors[:, 0] + (factors[:, 1] << np.uint64(32)))
    return (scrambled(mixed) >> np.uint64(11)) * 2.0**-53


def mixed_rows(X: Floats, factors: Array) -> Array:
    """Return 64 bits per row of a dense matrix, from an odd factor of each column."""
    clean = np.where(np.isnan(X), np.float32(np.inf), X) + np.float32(0.0)
    bits = clean.astype(np.float32).view(np.uint32).astype(np.uint64)
    mixed: Array = scrambled(bits * factors).sum(axis=1, dtype=np.uint64)
    return mixed


def scrambled(z: Array) -> Array:
    """Mix bits by the finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
