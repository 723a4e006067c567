"""The multipliers and the threshold of a blind rule by smooth counts: for many rates at once.

``max worth(lam, t)`` subject to ``mid_k - eps_k / 2 <= rate_ka(lam, t) <= mid_k + eps_k / 2`` for
every group a of every rate k, where a row is accepted by ``sigmoid((score - lam w - t) / width)``
instead of 0 or 1: worth and rates, counted on labels and groups, then have gradients, and
sequential quadratic programming finds a point from which no small move is better. With several
active limits that is where a search along axes does not get to.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag
from scipy.optimize import minimize
from scipy.special import expit

from fairautoml.mitigators._bias_table import Table

FAR = 8.0
"""Widths from the threshold beyond which a row is decided."""

UNIT = 10.0
"""Worth and rates are small numbers: what makes them alike in size to what the program expects."""

PRECISE = 1e-6
"""Of the worth, in that unit."""

WIDTH = 0.01
"""Of the smooth decision, in units of the span of the scores."""

SPAN = 2.0
"""The span, in times of what lies between a tenth and nine tenths of them; at most 1, ..."""

LEAST_SPAN = 1e-3
"""... and at least."""

FARTHEST = 2.0
"""What a group may move the score by, in units of the span, where a row is of it for certain."""

PRICE = 10.0
"""Worth that a gap beyond its limit costs where two rules are compared."""


class Smooth:
    """The program over one table of rows."""

    def __init__(self, table: Table, width: float = WIDTH) -> None:
        self.table = table
        low, high = np.quantile(table.scores, [0.1, 0.9])
        self.span = float(np.clip(SPAN * (high - low), LEAST_SPAN, 1.0))
        self.width = width * self.span
        sizes = [len(band.groups) for band in table.bands]
        self.block = np.repeat(np.arange(len(sizes)), sizes)
        # Multipliers of free numbers near 1: those of each rate sum to 0.
        self.unit = table.priors() * self.span
        self.centred = block_diag(*[np.eye(n) - 1.0 / n for n in sizes]) * self.unit
        # What an accepted row of each cell and label adds to each rate.
        nobody = np.zeros((len(self.unit), 1))
        cells = np.concatenate([band.parts / band.mass[:, None] for band in table.bands])
        self.of_slot = np.concatenate([cells, nobody], axis=1)

    def improved(
        self,
        multipliers: NDArray[np.float64],
        threshold: float,
        limits: NDArray[np.float64],
        steps: int,
    ) -> tuple[NDArray[np.float64], float]:
        """Return a rule that is better by smooth counts, or the same one where none was found."""
        n = len(self.unit)
        half = limits[self.block] / 2
        chosen = np.equal.outer(self.block, np.arange(len(limits))).astype(np.float64)
        at = _Remembered(self)
        start = self._free(multipliers, threshold)
        rates = at(start)[0][:n]

        def loss(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            values, slopes = at(x[: n + 1])
            return -UNIT * values[n], -UNIT * np.append(slopes[n], np.zeros(len(limits)))

        def room(x: NDArray[np.float64]) -> NDArray[np.float64]:
            apart = at(x[: n + 1])[0][:n] - x[n + 1 :][self.block]
            return UNIT * np.concatenate([half - apart, half + apart])

        def room_slopes(x: NDArray[np.float64]) -> NDArray[np.float64]:
            slopes = np.concatenate([at(x[: n + 1])[1][:n], -chosen], axis=1)
            return UNIT * np.concatenate([-slopes, slopes])

        found = minimize(
            loss,
            np.concatenate([start, self._middle(rates)]),
            jac=True,
            method="SLSQP",
            bounds=[(-FARTHEST, FARTHEST)] * n + [(None, None)] * (1 + len(limits)),
            constraints={"type": "ineq", "fun": room, "jac": room_slopes},
            options={"maxiter": steps, "ftol": PRECISE},
        ).x[: n + 1]
        if not np.isfinite(found).all() or self._priced(found, limits) < self._priced(
            start, limits
        ):
            return multipliers, threshold
        return self._rule(found)

    def priced(
        self, multipliers: NDArray[np.float64], threshold: float, limits: NDArray[np.float64]
    ) -> float:
        """Return the smooth worth of a rule less the price of what exceeds the limits."""
        return self._priced(self._free(multipliers, threshold), limits)

    def within(
        self,
        multipliers: NDArray[np.float64],
        threshold: float,
        limits: NDArray[np.float64],
        steps: int,
    ) -> tuple[NDArray[np.float64], float]:
        """Return a rule near one whose real decisions are within the limits, or the nearest to it.

        Each step is the smallest that makes up for what is too much, by the smooth slopes: ever
        fewer rows change sides, and what was counted smoothly and what is counted come together.
        """
        n = len(self.unit)
        half = limits[self.block] / 2
        at = self._free(multipliers, threshold)
        best, least = (multipliers, threshold), np.inf
        for _ in range(steps):
            rule = self._rule(at)
            rates = self._counted(*rule)
            beyond = self._beyond(rates, limits)
            if beyond < least:
                best, least = rule, beyond
            if beyond <= 0.0:
                break
            middle = self._middle(rates)[self.block]
            lacking = np.clip(rates, middle - half, middle + half) - rates
            slopes = self.values(at)[1][:n]
            at = at + np.linalg.lstsq(slopes, lacking, rcond=1e-6)[0]
        return best

    def _free(self, multipliers: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
        return np.append(multipliers / self.unit, threshold / self.span)

    def _rule(self, at: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        return self.centred @ at[:-1], float(at[-1] * self.span)

    def _beyond(self, rates: NDArray[np.float64], limits: NDArray[np.float64]) -> float:
        parts = np.split(rates, np.flatnonzero(np.diff(self.block)) + 1)
        gaps = np.array([part.max() - part.min() for part in parts])
        return float(np.maximum(gaps - limits, 0.0).max())

    def _priced(self, at: NDArray[np.float64], limits: NDArray[np.float64]) -> float:
        values, _ = self.values(at)
        return float(values[-1]) - PRICE * self._beyond(values[:-1], limits)

    def _counted(self, multipliers: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
        table = self.table
        weight = table.weight * (table.adjusted(multipliers) > threshold)
        counts = np.bincount(table.slot, weights=weight, minlength=table.n_slots)
        found: NDArray[np.float64] = self.of_slot @ counts
        return found

    def _middle(self, rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the middle of the rates of each band."""
        parts = np.split(rates, np.flatnonzero(np.diff(self.block)) + 1)
        return np.array([(part.max() + part.min()) / 2 for part in parts])

    def values(self, at: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return smooth rates and worth, and how each grows with each number."""
        table = self.table
        multipliers, threshold = self._rule(at)
        above = (table.adjusted(multipliers) - threshold) / self.width
        accepted = (above > 0).astype(np.float64)
        near = np.flatnonzero(np.abs(above) < FAR)
        accepted[near] = expit(above[near])
        weight = np.bincount(table.slot, weights=table.weight * accepted, minlength=table.n_slots)
        values = np.append(self.of_slot @ weight, table.gains @ accepted)
        density = accepted[near] * (1.0 - accepted[near]) / self.width
        adds = [self.of_slot[:, table.slot[near]] * table.weight[near], table.gains[None, near]]
        falls = np.concatenate(adds) * density
        slopes = np.column_stack(
            [falls @ table.shares[:, near].T @ self.centred, falls.sum(axis=1) * self.span]
        )
        return values, -slopes


class _Remembered:
    """Values and slopes at the last place asked for: loss and limits ask for the same in turn."""

    def __init__(self, smooth: Smooth) -> None:
        self.smooth = smooth
        self.place = b""
        self.found = (np.zeros(0), np.zeros((0, 0)))

    def __call__(self, at: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if at.tobytes() != self.place:
            self.place = at.tobytes()
            self.found = self.smooth.values(at)
        return self.found
