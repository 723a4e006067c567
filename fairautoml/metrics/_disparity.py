"""How unequal group rates are: the one formula behind every fairness metric."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fairautoml.metrics._base import Form, GroupCounts, Rate, Undefined
from fairautoml.metrics._classes import ClassCounts

LACKS: dict[Rate, str] = {
    "selection": "rows",
    "tpr": "rows with label 1",
    "fpr": "rows with label 0",
    "ppv": "accepted rows",
    "accuracy": "rows",
    "error": "rows",
}
"""What a group has none of when the denominator of a rate is empty."""

NOBODY: dict[Rate, str] = {
    "selection": "nobody is accepted",
    "tpr": "nobody with label 1 is accepted",
    "fpr": "nobody with label 0 is accepted",
    "ppv": "nobody accepted has label 1",
    "accuracy": "nobody is decided right",
    "error": "nobody is decided wrongly",
}
"""What it means that a rate is 0 in every group."""


def worst(rates: NDArray[np.float64], form: Form) -> NDArray[np.float64]:
    """Return the disparity of the rate that is worst off, NaN where one has no value.

    Parameters
    ----------
    rates : ndarray of float64, shape (n_rates, ..., n_groups)
        Rates in [0, 1], NaN where a denominator is empty; at least one group.
    form : {"difference", "ratio"}
        Largest minus smallest rate, or smallest over largest.

    Returns
    -------
    ndarray of float64, shape (...)
        The largest difference or the smallest ratio over the first axis, in [0, 1].
    """
    low, high = rates.min(axis=-1), rates.max(axis=-1)
    if form == "difference":
        differences: NDArray[np.float64] = (high - low).max(axis=0)
        return differences
    undefined = np.full_like(high, np.nan)
    ratios: NDArray[np.float64] = np.divide(low, high, out=undefined, where=high > 0).min(axis=0)
    return ratios


def disparity(
    counts: GroupCounts | ClassCounts, rates: Sequence[Rate], form: Form
) -> float | Undefined:
    """Return the disparity of the given rates over all groups, or why there is none.

    Parameters
    ----------
    counts : GroupCounts or ClassCounts
        Weight by group, label and decision; of several classes each one's rates against all
        others count, the worst of them.
    rates : sequence of Rate
        The rates that should be equal; the worst of them counts.
    form : {"difference", "ratio"}
        Largest minus smallest rate, or smallest over largest.

    Returns
    -------
    float or Undefined
        In [0, 1].
    """
    if np.count_nonzero(counts.table.any(axis=(1, 2))) < 2:
        return Undefined("single group: fewer than two groups have rows")
    if isinstance(counts, ClassCounts):
        return _of_classes(counts, rates, form)
    by_rate = np.stack([counts.rates(rate) for rate in rates])
    found = float(worst(by_rate, form))
    return Undefined(_reason(counts, rates, by_rate)) if np.isnan(found) else found


def known_disparity(counts: GroupCounts, rates: Sequence[Rate], form: Form) -> float | None:
    """Return the disparity over those groups that have the rate, None where fewer than two do.

    For what is fitted on some of the rows, never for a verdict: there a gap without a value is
    none that was met.

    Parameters
    ----------
    counts, rates, form
        As in ``disparity``.
    """
    found = []
    for rate in rates:
        values = counts.rates(rate)
        values = values[~np.isnan(values)]
        if len(values) >= 2:
            found.append(float(worst(values[None], form)))
    known = [one for one in found if not np.isnan(one)]
    if not known:
        return None
    return max(known) if form == "difference" else min(known)


def _of_classes(counts: ClassCounts, rates: Sequence[Rate], form: Form) -> float | Undefined:
    reason = counts.lacking(rates)
    if reason:
        return Undefined(reason)
    found = float(worst(counts.stacked(rates), form))
    return Undefined("0/0: a rate is 0 in every group") if np.isnan(found) else found


def _reason(counts: GroupCounts, rates: Sequence[Rate], by_rate: NDArray[np.float64]) -> str:
    empty = np.flatnonzero(~counts.table.any(axis=(1, 2)))
    if len(empty) > 0:
        return _lacking(empty, "rows")
    for rate, values in zip(rates, by_rate, strict=True):
        lacking = np.flatnonzero(np.isnan(values))
        if len(lacking) > 0:
            return _lacking(lacking, LACKS[rate])
    zero = next(rate for rate, values in zip(rates, by_rate, strict=True) if values.max() == 0)
    constant = "" if counts.table[:, :, 1].any() else "constant predictor, "
    return f"{constant}0/0: {NOBODY[zero]} in any group"


def _lacking(groups: NDArray[np.integer], what: str) -> str:
    more = f" (and {len(groups) - 1} more such groups)" if len(groups) > 1 else ""
    return f"group {groups[0]} has no {what}{more}"
