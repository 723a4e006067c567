"""Two groups that nobody recorded, guessed: how the best guess errs, and what a gap shrinks to.

With p = P(A), pt = P(At) and T[a, b] = P(At = b | A = a) of a guess At that errs independently of
the decision given A, the gap between the guessed groups is that between the true ones times
``s = p0 p1 (T00 + T11 - 1) / (pt0 pt1)``, in (0, 1]. So a bound on the true gap is met where the
guessed groups meet s times that bound.

Source: Zhu, Yao, Sun, Li, Liu, *Weak Proxies are Sufficient and Preferable for Fairness with
Missing Sensitive Attributes*, ICML 2023, arXiv 2210.03175, for two groups; the factor is what
their correction divides by.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fairautoml.data._correction import check_errors, check_strength
from fairautoml.data._proxy_errors import (
    agreement,
    check_agreement,
    check_identified,
    quick_agreement,
)
from fairautoml.data._proxy_table import tabulate
from fairautoml.exceptions import InputError

Array = NDArray[np.float64]
HiddenRate = Literal["selection", "tpr", "fpr"]

N_DRAWS = 400
"""Redraws of the rows behind an interval."""

_LABEL: Mapping[str, int] = {"tpr": 1, "fpr": 0}
"""Label within which a rate is taken; without one all rows are."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Guess:
    """The best proxy of a hidden attribute with two groups, and how it errs."""

    name: str  # the proxy whose error matrix is farthest from singular
    groups: tuple[str, ...]  # the two groups, in the order of all arrays
    # rows by label and what the proxy says, of those that every proxy speaks about
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
        """Rows that the errors were learnt from."""
        return int(self.mass.sum())

    def shares(self) -> Array:
        """Return the share of each hidden group among all rows, shape (2,)."""
        return hidden_shares(self.errors[2], self.mass.sum(axis=0))

    def factors(self, rates: tuple[HiddenRate, ...]) -> Array:
        """Return what is left of a hidden gap in each rate, each in (0, 1], shape (n_rates,)."""
        found = shrinkage(rates, self._scope(self.errors, rates), self.mass)
        if np.isnan(found).any():
            said = (self.mass.sum(axis=0) / self.mass.sum()).round(4).tolist()
            msg = (
                f"proxies: {self.name!r} names {self.groups} with shares {said}, which the errors "
                f"{np.round(self._scope(self.errors, rates), 4).tolist()} do not allow. Give more "
                "rows, a better proxy, or its measured errors as proxy_errors="
            )
            raise InputError(msg)
        return found

    def drawn_gaps(
        self, rates: tuple[HiddenRate, ...], counts: Array, rng: np.random.Generator
    ) -> Array:
        """Return corrected gaps of redrawn search rows, shape (N_DRAWS,).

        Labels and guesses are redrawn together with the errors, decisions within what the proxy
        says and the label. A draw that tells nothing may have any gap: 1.
        """
        weight = counts.sum(axis=-1)
        share = np.divide(counts[..., 1], weight, out=np.zeros_like(weight), where=weight > 0)
        accepted = rng.binomial(self.drawn_mass.astype(np.int64), np.clip(share, 0.0, 1.0))
        drawn = np.stack([self.drawn_mass - accepted, accepted], axis=-1)
        return self._gaps_of(rates, drawn)

    def drawn_gaps_of_new(
        self, rates: tuple[HiddenRate, ...], counts: Array, rng: np.random.Generator
    ) -> Array:
        """Return corrected gaps of redrawn new rows, each under errors of redrawn search rows."""
        n = int(counts.sum())
        drawn = rng.multinomial(n, counts.ravel() / n, size=len(self.drawn_mass))
        return self._gaps_of(rates, drawn.reshape(-1, 2, 2, 2).astype(np.float64))

    def gap_of(self, rates: tuple[HiddenRate, ...], counts: Array) -> tuple[float, float]:
        """Return the gap between the guessed groups and the corrected one; NaN if undefined."""
        errors = self._scope(self.errors, rates)
        plain = plain_gaps(rates, counts)
        hidden = plain / shrinkage(rates, errors, counts.sum(axis=-1))
        return float(plain.max()), float(min(1.0, hidden.max()))

    def _gaps_of(self, rates: tuple[HiddenRate, ...], counts: Array) -> Array:
        errors = self._scope(self.drawn_errors, rates)
        with np.errstate(invalid="ignore", divide="ignore"):
            hidden = plain_gaps(rates, counts) / shrinkage(rates, errors, counts.sum(axis=-1))
        worst = hidden.max(axis=-1)
        return np.where(np.isnan(worst), 1.0, np.minimum(worst, 1.0))

    @staticmethod
    def _scope(errors: Array, rates: tuple[HiddenRate, ...]) -> Array:
        """Return the errors among the rows that the rates speak about."""
        label = _LABEL.get(rates[0], 2) if len(rates) == 1 else 2
        scoped: Array = errors[label]
        return scoped


def plain_gaps(rates: tuple[HiddenRate, ...], counts: Array) -> Array:
    """Return the difference of each rate between the guessed groups, shape (..., n_rates)."""
    found = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for rate in rates:
            part = _within(rate, counts, -3)
            accepted = part[..., 1] / part.sum(axis=-1)
            found.append(np.abs(accepted[..., 1] - accepted[..., 0]))
    return np.stack(found, axis=-1)


def shrinkage(rates: tuple[HiddenRate, ...], errors: Array, mass: Array) -> Array:
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
    """Return P(A = a) from how often a proxy says what, shape (..., 2); not kept in [0, 1]."""
    determinant = errors[..., 0, 0] + errors[..., 1, 1] - 1.0
    second = (said[..., 1] / said.sum(axis=-1) - errors[..., 0, 1]) / determinant
    found: Array = np.stack([1.0 - second, second], axis=-1)
    return found


def _within(rate: str, table: Array, axis: int) -> Array:
    """Return the part of a table that a rate is taken in; the labels are on the axis."""
    found: Array = np.take(table, _LABEL[rate], axis=axis) if rate in _LABEL else table.sum(axis)
    return found


def learn_guess(
    proxies: Mapping[str, Any],
    y: NDArray[np.integer],
    *,
    errors: Any = None,
    rng: np.random.Generator,
) -> Guess:
    """Learn from the rows how often the best of the proxies is wrong."""
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
        msg = (
            f"proxies: they name {len(groups)} groups ({some}); a bound "
            "on hidden groups can be turned into one on guessed groups for two groups only. Merge "
            "them into two (one group against all others), or measure gaps with weak_proxy_gap"
        )
        raise InputError(msg)


def _as_given(errors: Array) -> tuple[Array, Array]:
    """Return errors that are known, and that no redraw changes."""
    if errors.ndim == 3:
        msg = (
            "proxy_errors has shape (2, 2, 2), one matrix for each decision; as there are no "
            "decisions yet, give one of shape (2, 2): row a for the true group, column b for what "
            "the proxy says"
        )
        raise InputError(msg)
    fitted = np.stack([errors] * 3)
    return fitted, np.broadcast_to(fitted[:, None], (3, N_DRAWS, 2, 2))


def _estimated(rows: Array, drawn: Array, proxies: tuple[str, ...]) -> tuple[int, Array, Array]:
    """Return which proxy is best, its errors in each scope, and those of redrawn rows."""
    check_agreement(rows.sum(axis=0), proxies)
    fitted = np.stack([agreement(part).errors for part in (*rows, rows.sum(axis=0))])
    at = int(np.abs(np.linalg.det(fitted[2])).argmax())
    check_strength(fitted[2, at])
    redrawn = (drawn[:, 0], drawn[:, 1], drawn.sum(axis=1))
    return at, fitted[:, at], np.stack([quick_agreement(part)[at] for part in redrawn])
