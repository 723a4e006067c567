"""Noisy group labels: error rates of proxies, and corrected gaps and constraints.

Proxies that err independently of the decision given the group make gaps look smaller. For two
groups, p = P(A), pt = P(At) and T[a, b] = P(At = b | A = a), the gap between the groups At is the
true gap times ``s = p0 p1 (T00 + T11 - 1) / (pt0 pt1)``, in (0, 1]. T is given, or estimated from
the agreement of three proxies that err independently of one another given A.

Source: Zhu, Yao, Sun, Li, Liu, *Weak Proxies are Sufficient and Preferable for Fairness with
Missing Sensitive Attributes*, ICML 2023, arXiv 2210.03175 (HOC: high-order consensus). Unlike
there, each proxy has its own error matrix, fitted to the table of all three by least squares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import log_softmax, softmax
from scipy.stats import chi2_contingency

from fairautoml.data.columns import level_arrays, sort_levels
from fairautoml.data.groups import level_labels, read_sensitive
from fairautoml.exceptions import DegradedWarning, InputError, warn
from fairautoml.metrics import Rate
from fairautoml.runtime._rows import key_of

Array = NDArray[np.float64]

SUM_SLACK = 1e-6
"""Tolerance of the row sums of an error matrix."""

LEAST_DETERMINANT = 0.05
"""Smallest determinant of an error matrix; below it a proxy is hardly better than chance."""


def hidden_rates(joint: Array, errors: Array) -> tuple[Array, Array]:
    """Return rates and shares of the hidden groups from all proxies, by least squares.

    One proxy: ``H[:, k] = diag(p)^-1 (T_k')^-1 (pt o Ht[:, k])`` with ``p`` corrected from ``pt``
    by the same matrices. Several: the joint distribution of their labels is a linear function of
    P(A = a, decision k).
    """
    by_decision = errors if errors.ndim == 4 else np.stack([errors, errors], axis=1)
    hidden = np.stack(
        [
            np.linalg.lstsq(_design(by_decision[:, at]), joint[at].ravel(), rcond=None)[0]
            for at in range(2)
        ],
        axis=1,
    )
    shares: Array = hidden.sum(axis=1)
    if not (shares > 0).all():
        raise InputError(
            f"errors: they imply group shares of {np.round(shares, 4).tolist()}; a share must be "
            "positive. The proxy is too weak for these rows, or errors= is not its matrix: give "
            "more rows, a better proxy or its measured errors"
        )
    return hidden / shares[:, None], shares


def _design(errors: Array) -> Array:
    """Return P(labels of the proxies | A = a), shape (n_combinations, n_groups)."""
    together = errors[0]
    for matrix in errors[1:]:
        together = (together[:, :, None] * matrix[:, None, :]).reshape(len(matrix), -1)
    return together.T


def check_errors(errors: Any, n_groups: int) -> Array:
    """Return an error matrix as an array."""
    found = np.asarray(errors, dtype=np.float64)
    if found.shape not in {(n_groups, n_groups), (2, n_groups, n_groups)}:
        raise InputError(
            f"errors has shape {found.shape}; allowed are {(n_groups, n_groups)}, row a for the "
            f"true group and column b for what the proxy says, or {(2, n_groups, n_groups)}, one "
            "such matrix for decision 0 and one for decision 1"
        )
    if (found < 0).any() or (np.abs(found.sum(axis=-1) - 1) > SUM_SLACK).any():
        raise InputError(
            f"errors: the rows must be shares that add up to 1, found sums "
            f"{found.sum(axis=-1).tolist()}; row a holds P(proxy says b | true group a)"
        )
    check_strength(found)
    return found


def check_strength(errors: Array) -> None:
    """Raise if a proxy is hardly better than chance."""
    strength = float(np.abs(np.linalg.det(errors)).min())
    if strength < LEAST_DETERMINANT:
        raise InputError(
            f"proxies: the error matrix has determinant {strength:.3f}, so the proxy is hardly "
            f"better than chance; at least {LEAST_DETERMINANT} is needed for a correction. Give a "
            "better proxy"
        )


START = 0.731
"""Diagonal of the initial error matrices; it decides which hidden group is which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consensus:
    """Group shares and proxy errors estimated from the agreement of three proxies."""

    shares: Array  # shape (n_groups,): P(A = a) of the hidden attribute
    # ``errors[i, a, b]`` is P(proxy i says b | A = a)
    errors: Array  # shape (3, n_groups, n_groups)
    residual: Array  # shape (n_groups, n_groups, n_groups): observed less fitted table


def consensus(together: Array) -> Consensus:
    """Return shares and errors fitted to the joint distribution, or counts, of three proxies.

    Solves ``P(i, j, l) = sum_a p_a T1[a, i] T2[a, j] T3[a, l]`` by least squares. Assumes that
    errors are independent given the attribute, and that each proxy beats chance: the initial
    matrices with large diagonals select among solutions that are permutations of the groups.
    """
    table, k = together / together.sum(), len(together)
    found = least_squares(
        lambda x: (_expected(*_unpacked(x, k)) - table).ravel(),
        _start(k),
        xtol=1e-12,
        ftol=1e-12,
        gtol=1e-12,
        max_nfev=2_000,
    )
    shares, errors = _unpacked(found.x, k)
    return Consensus(shares=shares, errors=errors, residual=table - _expected(shares, errors))


def _expected(shares: Array, errors: Array) -> Array:
    first, second, third = errors
    return np.einsum("a,ai,aj,al->ijl", shares, first, second, third)


def _unpacked(x: Array, k: int) -> tuple[Array, Array]:
    """Return shares and matrices; each row has its own softmax, with the last logit at 0."""
    logits = np.append(x.reshape(-1, k - 1), np.zeros((3 * k + 1, 1)), axis=1)
    rows = softmax(logits, axis=1)
    return rows[0], rows[1:].reshape(3, k, k)


def _start(k: int) -> Array:
    matrix = np.full((k, k), (1 - START) / (k - 1))
    np.fill_diagonal(matrix, START)
    rows = np.vstack([np.full((1, k), 1 / k), np.tile(matrix, (3, 1))])
    logits = log_softmax(np.log(rows), axis=1)
    return (logits - logits[:, -1:])[:, :-1].ravel()


BY_CHANCE = 0.1
"""Largest p-value of the independence test at which two proxies count as dependent."""


def check_identified(n_proxies: int, errors: Array | None) -> None:
    """Raise unless there is one proxy with its errors, or three without."""
    if (n_proxies, errors is None) in {(1, False), (3, True)}:
        return
    raise InputError(
        f"proxies has {n_proxies} column(s) and errors is "
        f"{'not given' if errors is None else 'given'}: not identified. Give one proxy with its "
        "errors= (of fit: proxy_errors=), or three proxies without it, whose errors are then "
        "estimated from how often they agree"
    )


def check_agreement(together: Array, proxies: tuple[str, ...]) -> None:
    """Raise if two proxies agree no more than by chance."""
    for at, (first, second) in zip((2, 1, 0), combinations(proxies, 2), strict=True):
        pair = together.sum(axis=at)
        seen = pair[pair.sum(axis=1) > 0][:, pair.sum(axis=0) > 0]
        if min(seen.shape) < 2 or chi2_contingency(seen, correction=False).pvalue > BY_CHANCE:
            raise InputError(
                f"proxies: {first!r} and {second!r} agree no more than by chance on "
                f"{together.sum():.0f} rows, so one of them is hardly better than chance and "
                "their error rates are not identified. Give better proxies or more rows"
            )


def quick_agreement(together: Array) -> Array:
    """Return the errors of three proxies of two groups in closed form, for many tables at once.

    With d_i = P(i says 1 | A = 1) - P(i says 1 | A = 0) and p = P(A = 1), two proxies covary by
    d_i d_j p (1 - p), and the third central moment of all is d_1 d_2 d_3 p (1 - p) (1 - 2 p):
    that gives p, then each d_i. It is the least-squares fit of ``consensus`` wherever that lies
    inside [0, 1].
    """
    table = together / together.sum(axis=(-3, -2, -1), keepdims=True)
    means = [np.einsum(f"...ijl->...{axis}", table)[..., 1] for axis in "ijl"]
    a, b, c = (np.stack([-mean, 1 - mean], axis=-1) for mean in means)
    pairs = (
        np.einsum("...ijl,...j,...l->...", table, b, c),
        np.einsum("...ijl,...i,...l->...", table, a, c),
        np.einsum("...ijl,...i,...j->...", table, a, b),
    )
    together_all = np.einsum("...ijl,...i,...j,...l->...", table, a, b, c)
    with np.errstate(invalid="ignore", divide="ignore"):
        # As each proxy beats chance, all three covariances are positive.
        beat = np.min(pairs, axis=0) > 0
        product = np.where(beat, pairs[0] * pairs[1] * pairs[2], np.nan)
        lean = together_all / np.sqrt(product)
        share = (1 - lean / np.sqrt(4 + lean**2)) / 2
        apart = [np.sqrt(product / (share * (1 - share))) / pair for pair in pairs]
        found = [
            _matrix(mean - d * share, mean + d * (1 - share))
            for mean, d in zip(means, apart, strict=True)
        ]
    return np.stack(found)


def _matrix(of_first: Array, of_second: Array) -> Array:
    """Return error matrices from P(says the second group | first, second), kept in [0, 1]."""
    says = np.clip(np.stack([of_first, of_second], axis=-1), 0.0, 1.0)
    return np.stack([1.0 - says, says], axis=-1)


Compared = Literal["demographic_parity", "equal_opportunity", "equalized_odds"]

_CONDITIONS: dict[str, tuple[int, ...]] = {
    "demographic_parity": (-1,),
    "equal_opportunity": (1,),
    "equalized_odds": (0, 1),
}
"""Labels within which decisions are compared; -1 = all rows."""

MOST_CELLS = 1_000_000
"""Most combinations of proxy labels: a hundred groups in three columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyTable:
    """Counts of the rows by label, decision and what each proxy says."""

    counts: Array  # shape (n_labels, 2, n_groups, ...): one axis of groups for each proxy
    groups: tuple[str, ...]  # names
    proxies: tuple[str, ...]
    n_dropped: int  # rows left out because a proxy has no value

    def of_proxy(self, at: int) -> Array:
        """Return the counts of one proxy, shape (n_labels, 2, n_groups)."""
        others = tuple(2 + i for i in range(len(self.proxies)) if i != at)
        return self.counts.sum(axis=others)

    def redrawn(self, rng: np.random.Generator) -> "ProxyTable":
        """Return a bootstrap sample of the rows."""
        n = int(self.counts.sum())
        drawn = rng.multinomial(n, self.counts.ravel() / n).astype(np.float64)
        return replace(self, counts=drawn.reshape(self.counts.shape))


def tabulate(decision: Any, proxies: Any, y: Any, compare: str) -> ProxyTable:
    """Check the rows and count them."""
    if compare not in _CONDITIONS:
        raise InputError(f"compare={compare!r}: allowed are {', '.join(map(repr, _CONDITIONS))}")
    columns = read_sensitive(proxies).columns
    codes, labels = _shared_codes(list(columns.values()))
    if len(labels) ** len(columns) > MOST_CELLS:
        raise InputError(
            f"proxies: {len(columns)} columns hold {len(labels)} different values, too many for "
            "groups. A proxy names a group: threshold probabilities first, as in p > 0.5"
        )
    decided = _zero_one(decision, "decision", len(codes))
    condition = np.zeros(len(codes), dtype=np.int64)
    if compare != "demographic_parity":
        if y is None:
            msg = f"y is needed for compare={compare!r}: rates within a label are compared"
            raise InputError(msg)
        wanted = _CONDITIONS[compare]
        label = _zero_one(y, "y", len(codes))
        condition = np.where(np.isin(label, wanted), label - min(wanted), -1)
    said = (codes >= 0).all(axis=1)
    kept = said & (condition >= 0)
    shape = (len(_CONDITIONS[compare]), 2, *(len(labels) for _ in columns))
    counts = np.zeros(shape)
    np.add.at(counts, (condition[kept], decided[kept], *codes[kept].T), 1.0)
    if not counts.any(axis=tuple(range(1, counts.ndim))).all():
        msg = f"decision: no rows with a proxy and the label that compare={compare!r} needs"
        raise InputError(msg)
    return ProxyTable(
        counts=counts, groups=labels, proxies=tuple(columns), n_dropped=int((~said).sum())
    )


def _shared_codes(
    columns: Sequence["pd.Series[Any]"],
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return codes of all proxies over one set of groups, -1 = no guess."""
    long = pd.concat([column.astype(object) for column in columns], ignore_index=True)
    codes, keys = sort_levels(*level_arrays(long, "proxies"))
    if len(keys) < 2:
        raise InputError(f"proxies: they name {len(keys)} group(s); a gap needs at least two")
    return codes.reshape(len(columns), -1).T, level_labels(keys)


def _zero_one(values: Any, name: str, n_rows: int) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.shape != (n_rows,):
        msg = f"{name} has shape {array.shape} and proxies has {n_rows} rows; give one per row"
        raise InputError(msg)
    if not np.isin(array, (0, 1)).all():
        strange = next(v for v in array.tolist() if key_of(v)[1] not in {0, 1})
        raise InputError(f"{name} holds {strange!r}; allowed are 0 and 1")
    return array.astype(np.int64)


N_DRAWS = 400
"""Redraws of the rows behind an interval."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Guess:
    """The best proxy of a hidden attribute with two groups, and its error rates."""

    name: str  # the proxy whose error matrix is farthest from singular
    groups: tuple[str, ...]  # the two groups, in the order of all arrays
    # rows by label and proxy group, without rows that lack a proxy value
    mass: Array  # shape (2, 2)
    # P(proxy says b | A = a), row a, column b: among label 0, among label 1, among all rows
    errors: Array  # shape (3, 2, 2)
    drawn_mass: Array  # shape (N_DRAWS, 2, 2): ``mass`` of redrawn rows
    # ``errors`` of redrawn rows, NaN where they are not identified
    drawn_errors: Array  # shape (3, N_DRAWS, 2, 2)
    # whether the errors come from the agreement of three proxies, not from the user
    estimated: bool
    n_dropped: int  # rows that a proxy has no guess for

    @property
    def n_rows(self) -> int:
        """Number of rows that the errors are estimated from."""
        return int(self.mass.sum())

    def shares(self) -> Array:
        """Return the share of each hidden group among all rows, shape (2,)."""
        return hidden_shares(self.errors[2], self.mass.sum(axis=0))

    def factors(self, rates: tuple[Rate, ...]) -> Array:
        """Return the factor ``s`` of each rate, in (0, 1], shape (n_rates,)."""
        found = shrinkage(rates, self._scope(self.errors, rates), self.mass)
        if np.isnan(found).any():
            said = (self.mass.sum(axis=0) / self.mass.sum()).round(4).tolist()
            raise InputError(
                f"proxies: {self.name!r} names {self.groups} with shares {said}, which the errors "
                f"{np.round(self._scope(self.errors, rates), 4).tolist()} do not allow. Give more "
                "rows, a better proxy, or its measured errors as proxy_errors="
            )
        return found

    def drawn_gaps(
        self, rates: tuple[Rate, ...], counts: Array, rng: np.random.Generator
    ) -> Array:
        """Return corrected gaps of redrawn search rows, shape (N_DRAWS,).

        Labels and guesses are redrawn together with the errors, decisions within what the proxy
        says and the label. The gap of a draw without identified errors is set to 1.
        """
        weight = counts.sum(axis=-1)
        share = np.divide(counts[..., 1], weight, out=np.zeros_like(weight), where=weight > 0)
        accepted = rng.binomial(self.drawn_mass.astype(np.int64), np.clip(share, 0.0, 1.0))
        drawn = np.stack([self.drawn_mass - accepted, accepted], axis=-1)
        return self._gaps_of(rates, drawn)

    def drawn_gaps_of_new(
        self, rates: tuple[Rate, ...], counts: Array, rng: np.random.Generator
    ) -> Array:
        """Return corrected gaps of redrawn new rows, each under errors of redrawn search rows."""
        n = int(counts.sum())
        drawn = rng.multinomial(n, counts.ravel() / n, size=len(self.drawn_mass))
        return self._gaps_of(rates, drawn.reshape(-1, 2, 2, 2).astype(np.float64))

    def gap_of(self, rates: tuple[Rate, ...], counts: Array) -> tuple[float, float]:
        """Return the gap between the guessed groups and the corrected one; NaN if undefined."""
        errors = self._scope(self.errors, rates)
        plain = plain_gaps(rates, counts)
        hidden = plain / shrinkage(rates, errors, counts.sum(axis=-1))
        return float(plain.max()), float(min(1.0, hidden.max()))

    def _gaps_of(self, rates: tuple[Rate, ...], counts: Array) -> Array:
        errors = self._scope(self.drawn_errors, rates)
        with np.errstate(invalid="ignore", divide="ignore"):
            hidden = plain_gaps(rates, counts) / shrinkage(rates, errors, counts.sum(axis=-1))
        worst = hidden.max(axis=-1)
        return np.where(np.isnan(worst), 1.0, np.minimum(worst, 1.0))

    @staticmethod
    def _scope(errors: Array, rates: tuple[Rate, ...]) -> Array:
        """Return the errors among the rows in the denominator of the rates."""
        label = rates[0].label if len(rates) == 1 else None
        return errors[2 if label is None else label]


def plain_gaps(rates: tuple[Rate, ...], counts: Array) -> Array:
    """Return the difference of each rate between the guessed groups, shape (..., n_rates)."""
    found = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for rate in rates:
            part = _within(rate, counts, -3)
            accepted = part[..., 1] / part.sum(axis=-1)
            found.append(np.abs(accepted[..., 1] - accepted[..., 0]))
    return np.stack(found, axis=-1)


def shrinkage(rates: tuple[Rate, ...], errors: Array, mass: Array) -> Array:
    """Return s of each rate, shape (..., n_rates), NaN where errors and rows contradict."""
    found = []
    determinant = errors[..., 0, 0] + errors[..., 1, 1] - 1.0
    for rate in rates:
        said = _within(rate, mass, -2)
        with np.errstate(invalid="ignore", divide="ignore"):
            hidden = hidden_shares(errors, said).prod(axis=-1)
            said = said / said.sum(axis=-1, keepdims=True)
            factor = np.abs(hidden * determinant) / said.prod(axis=-1)
        found.append(np.where(hidden > 0, factor, np.nan))
    return np.stack(found, axis=-1)


def hidden_shares(errors: Array, said: Array) -> Array:
    """Return P(A = a) from the counts of a proxy, shape (..., 2); may be outside [0, 1]."""
    determinant = errors[..., 0, 0] + errors[..., 1, 1] - 1.0
    second = (said[..., 1] / said.sum(axis=-1) - errors[..., 0, 1]) / determinant
    return np.stack([1.0 - second, second], axis=-1)


def _within(rate: Rate, table: Array, axis: int) -> Array:
    """Return the part of a table that a rate is taken in; the labels are on the axis."""
    return table.sum(axis) if rate.label is None else np.take(table, rate.label, axis=axis)


def learn_guess(
    proxies: Mapping[str, Any],
    y: NDArray[np.integer],
    *,
    errors: Any = None,
    rng: np.random.Generator,
) -> Guess:
    """Return the best proxy with its error rates, estimated from the rows or given."""
    table = tabulate(y, proxies, None, "demographic_parity")
    _check_two(table.groups)
    given = None if errors is None else check_errors(errors, 2)
    check_identified(len(table.proxies), given)
    rows = table.counts[0]
    n = int(rows.sum())
    drawn = rng.multinomial(n, rows.ravel() / n, size=N_DRAWS).astype(np.float64)
    drawn = drawn.reshape(N_DRAWS, *rows.shape)
    if given is None:
        at, fitted, refitted = _estimated(rows, drawn, table.proxies)
    else:
        at, fitted, refitted = 0, *_as_given(given)
    others = tuple(1 + i for i in range(len(table.proxies)) if i != at)
    return Guess(
        name=table.proxies[at],
        groups=table.groups,
        mass=rows.sum(axis=others),
        errors=fitted,
        drawn_mass=drawn.sum(axis=tuple(1 + axis for axis in others)),
        drawn_errors=refitted,
        estimated=given is None,
        n_dropped=table.n_dropped,
    )


def _check_two(groups: tuple[str, ...]) -> None:
    if len(groups) != 2:
        some = ", ".join(map(repr, groups[:10])) + (", ..." if len(groups) > 10 else "")
        raise InputError(
            f"proxies: they name {len(groups)} groups ({some}); a constraint "
            "with proxies= supports two groups only. Merge them into two (one group against all "
            "others), or measure gaps with weak_proxy_gap"
        )


def _as_given(errors: Array) -> tuple[Array, Array]:
    """Return given errors, which are the same in all redraws."""
    if errors.ndim == 3:
        raise InputError(
            "proxy_errors has shape (2, 2, 2), one matrix for each decision; as there are no "
            "decisions yet, give one of shape (2, 2): row a for the true group, column b for what "
            "the proxy says"
        )
    fitted = np.stack([errors] * 3)
    return fitted, np.broadcast_to(fitted[:, None], (3, N_DRAWS, 2, 2))


def _estimated(rows: Array, drawn: Array, proxies: tuple[str, ...]) -> tuple[int, Array, Array]:
    """Return the index of the best proxy, its errors by scope, and those of redrawn rows."""
    check_agreement(rows.sum(axis=0), proxies)
    fitted = np.stack([consensus(part).errors for part in (*rows, rows.sum(axis=0))])
    at = int(np.abs(np.linalg.det(fitted[2])).argmax())
    check_strength(fitted[2, at])
    redrawn = (drawn[:, 0], drawn[:, 1], drawn.sum(axis=1))
    return at, fitted[:, at], np.stack([quick_agreement(part)[at] for part in redrawn])


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
    """Return the gap between unobserved groups, estimated from noisy group labels.

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
    if not draws:
        return found
    return replace(found, interval=_interval(table, given, local, draws))


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


def _measure(table: ProxyTable, given: Array | None, *, local: bool) -> ProxyGap:
    """Return both gaps, with the errors given or those that the agreement of three implies."""
    if given is not None:
        return _corrected(table, 0, given[None], None)
    overall = consensus(table.counts.sum(axis=(0, 1)))
    proxy = int(np.abs(np.linalg.det(overall.errors)).argmax())
    fitted = [overall]
    if local:
        fitted = [consensus(part) for part in table.counts.sum(axis=0)]
    errors = np.stack([part.errors for part in fitted], axis=1)
    check_strength(errors[proxy])
    residual = max(float(np.abs(part.residual).max()) for part in fitted)
    return _corrected(table, proxy, errors if local else errors[:, 0], residual, local=local)


def _corrected(
    table: ProxyTable, proxy: int, errors: Array, residual: float | None, *, local: bool = False
) -> ProxyGap:
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
    return ProxyGap(
        gap=max(gaps),
        proxy_gap=max(plain),
        interval=None,
        groups=table.groups,
        shares=shares,
        errors=own if own.ndim == 2 else own.mean(axis=0),
        proxy=table.proxies[proxy],
        n_rows=int(table.counts.sum()),
        n_dropped=table.n_dropped,
        clipped=clipped,
        local=local,
        residual=residual,
        assumptions=assumptions_of(estimated=residual is not None, local=local),
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
            # The proxies of this draw are no better than chance: the gap is unknown.
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
