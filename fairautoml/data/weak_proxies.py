"""A fairness gap without the attribute: what proxies measure, corrected for how they err.

Proxies that are wrong independently of the decision make gaps look smaller than they are. Knowing
how often a proxy is wrong is enough to undo that, and three proxies tell it by their agreement.

Source: Zhu, Yao, Sun, Li, Liu, *Weak Proxies are Sufficient and Preferable for Fairness with
Missing Sensitive Attributes*, ICML 2023, arXiv 2210.03175. The estimate of the errors is ours, see
``_hoc``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairautoml.data._correction import check_errors, check_strength, hidden_rates
from fairautoml.data._proxy_errors import agreement, check_agreement, check_identified
from fairautoml.data._proxy_table import Compared, ProxyTable, tabulate
from fairautoml.exceptions import DegradedWarning, InputError, warn

Array = NDArray[np.float64]

LEAST_LOCAL_ROWS = 100
"""Rows of each decision from which errors are estimated within it."""

LEAST_RATE = 1e-3
"""Corrected rates are kept inside [1e-3, 1]."""

LEVEL = 0.95
"""Share of the bootstrap draws inside an interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyGap:
    """A gap between groups that were not observed."""

    gap: float  # corrected gap, in [0, 1]: the largest difference of rates between two groups
    # the same with the proxy taken for the attribute: too small when its errors do not depend on
    # the decision
    proxy_gap: float
    interval: tuple[float, float] | None  # percentile bootstrap interval of ``gap``
    groups: tuple[str, ...]  # names of the groups
    shares: Array  # shape (n_groups,): estimated share of each group
    # P(proxy says b | A = a), row a, column b, of the best proxy
    errors: Array  # shape (n_groups, n_groups)
    proxy: str  # that proxy, whose gap ``proxy_gap`` is: its matrix is farthest from singular
    n_rows: int  # rows used, and rows left out because a proxy has no value
    n_dropped: int
    clipped: bool  # whether a corrected rate was outside [0, 1] and was moved inside
    local: bool  # whether errors were estimated within each decision
    # largest difference between the table of the proxies and the fitted one; None when the errors
    # were given. With two groups it is 0 whatever the truth; with more a large one refutes the
    # assumptions, and a small one does not prove them
    residual: float | None
    assumptions: tuple[str, ...]  # what the number rests on


def weak_proxy_gap(
    decision: Any,
    proxies: Any,
    *,
    y: Any = None,
    compare: Compared = "demographic_parity",
    errors: Any = None,
    local: bool = False,
    draws: int = 0,
) -> ProxyGap:
    """Return the gap between groups that were not observed, from guesses of who is in which.

    With one proxy its error matrix must be known. With three it is estimated from how often they
    agree, which assumes that they err independently of one another given the attribute, and that
    each beats chance.

    Parameters
    ----------
    decision : array of 0 and 1, shape (n_rows,)
        Decisions, for example of ``predict``.
    proxies : array, list, DataFrame or dict of name -> column, n_rows rows
        Guesses of the group, by the names of the groups; one column or three. Rows without a
        guess are left out.
    y : array of 0 and 1, shape (n_rows,), optional
        Labels; needed for all but demographic parity.
    compare : {"demographic_parity", "equal_opportunity", "equalized_odds"}
        Rates that are compared: of all, of label 1, of either label (the larger gap counts).
    errors : array, shape (n_groups, n_groups) or (2, n_groups, n_groups), optional
        ``errors[a, b]`` = P(proxy says b | A = a) of a single proxy, groups in sorted order; with
        three dimensions for decision 0 and decision 1.
    local : bool
        Estimate errors within each decision. Right when a proxy's errors depend on the decision
        even within a group; else all rows together are more exact.
    draws : int
        Bootstrap draws for ``interval``; 0 = none.

    Returns
    -------
    ProxyGap

    Raises
    ------
    InputError
        Lengths differ, decisions are not 0 and 1, fewer than two groups, one or two proxies
        without ``errors`` (not identified), or proxies that are nearly chance.

    Warns
    -----
    DegradedWarning
        A corrected rate was outside [0, 1], or too few rows for ``local``.

    References
    ----------
    Zhu, Yao, Sun, Li, Liu, arXiv 2210.03175.

    Examples
    --------
    >>> says = ["a"] * 62 + ["b"] * 38
    >>> hired = [1] * 31 + [0] * 31 + [1] * 9 + [0] * 29
    >>> found = weak_proxy_gap(hired, says, errors=[[0.8, 0.2], [0.2, 0.8]])
    >>> round(found.proxy_gap, 3), round(found.gap, 3)
    (0.263, 0.492)
    """
    table = tabulate(decision, proxies, y, compare)
    given = None if errors is None else check_errors(errors, len(table.groups))
    check_identified(len(table.proxies), given)
    if given is None:
        check_agreement(table.counts.sum(axis=(0, 1)), table.proxies)
    local = local and given is None and _enough(table)
    found = _measure(table, given, local=local)
    if found.clipped:
        warn(
            "weak_proxy_gap: a corrected rate is outside [0, 1] and was moved inside: the proxies "
            "are weak for so few rows, or their errors depend on the decision",
            DegradedWarning,
        )
    return ProxyGap(
        gap=found.gap,
        proxy_gap=found.proxy_gap,
        interval=_interval(table, given, local, draws) if draws else None,
        groups=table.groups,
        shares=found.shares,
        errors=found.errors,
        proxy=table.proxies[found.proxy],
        n_rows=int(table.counts.sum()),
        n_dropped=table.n_dropped,
        clipped=found.clipped,
        local=local,
        residual=found.residual,
        assumptions=assumptions_of(estimated=given is None, local=local),
    )


def _enough(table: ProxyTable) -> bool:
    fewest = float(table.counts.sum(axis=tuple(range(2, table.counts.ndim))).sum(axis=0).min())
    if fewest < LEAST_LOCAL_ROWS:
        warn(
            f"weak_proxy_gap: local=True needs {LEAST_LOCAL_ROWS} rows of each decision, found "
            f"{fewest:.0f}; errors are estimated on all rows together instead",
            DegradedWarning,
        )
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    gap: float
    proxy_gap: float
    shares: Array
    errors: Array
    proxy: int
    clipped: bool
    residual: float | None


def _measure(table: ProxyTable, given: Array | None, *, local: bool) -> _Measured:
    """Return both gaps, with the errors given or those that the agreement of three implies."""
    if given is not None:
        return _corrected(table, 0, given[None], None)
    overall = agreement(table.counts.sum(axis=(0, 1)))
    proxy = int(np.abs(np.linalg.det(overall.errors)).argmax())
    fitted = [overall]
    if local:
        fitted = [agreement(part) for part in table.counts.sum(axis=0)]
    errors = np.stack([part.errors for part in fitted], axis=1)
    check_strength(errors[proxy])
    residual = max(float(np.abs(part.residual).max()) for part in fitted)
    return _corrected(table, proxy, errors if local else errors[:, 0], residual)


def _corrected(table: ProxyTable, proxy: int, errors: Array, residual: float | None) -> _Measured:
    """Correct by all proxies together; ``errors`` has one matrix (or two) for each."""
    gaps, plain, clipped = [], [], False
    for part in table.counts:
        rates, _ = hidden_rates(part / part.sum(), errors)
        clipped |= bool((rates < 0).any() or (rates > 1).any())
        kept = np.clip(rates, LEAST_RATE, 1.0) if clipped else rates
        gaps.append(_spread(kept / kept.sum(axis=1, keepdims=True)))
    for counts in table.of_proxy(proxy):
        mass = counts.sum(axis=0)
        plain.append(_spread((counts[:, mass > 0] / mass[mass > 0]).T))
    _, shares = hidden_rates(table.counts.sum(axis=0) / table.counts.sum(), errors)
    own = errors[proxy]
    return _Measured(
        gap=max(gaps),
        proxy_gap=max(plain),
        shares=shares,
        errors=own if own.ndim == 2 else own.mean(axis=0),
        proxy=proxy,
        clipped=clipped,
        residual=residual,
    )


def _spread(rates: Array) -> float:
    """Return the largest difference between two groups: half the distance of their rows."""
    apart = np.abs(rates[:, None] - rates[None]).sum(axis=2) / 2
    return float(apart.max())


def _interval(
    table: ProxyTable, given: Array | None, local: bool, draws: int
) -> tuple[float, float]:
    rng = np.random.default_rng(draws)
    found = []
    for _ in range(draws):
        try:
            found.append(_measure(table.redrawn(rng), given, local=local).gap)
        except InputError:
            # A draw in which the proxies are chance: nothing is known there, up to any gap.
            found.append(1.0)
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def assumptions_of(*, estimated: bool, local: bool = False) -> tuple[str, ...]:
    """Return what a corrected gap rests on."""
    given = "group and decision" if local else "the group"
    first = f"the errors of a proxy depend on {given} alone"
    if not estimated:
        return (first,)
    return (
        first,
        f"given {given}, the proxies err independently of one another",
        "each proxy is right more often than wrong",
    )
