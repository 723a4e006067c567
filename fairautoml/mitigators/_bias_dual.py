"""Where the multipliers of a blind rule lie by the model: the dual of the linear program.

``min over lam of E[(m - lam w)_+] - lam d + sum_k eps_k / 2 sum_a |lam_ka|`` with
``sum_a lam_ka = 0`` for each rate k; ``m = score - threshold``, ``w`` the group shares, and ``d``
the rates as counted minus the rates by the model, at the unconstrained decisions: where the model
of the groups is off, the constraint is on what was counted.

The positive part is smoothed, at first widely: convex and differentiable, so L-BFGS finds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from fairautoml.mitigators._bias_table import Table

WIDTHS = (1e-2, 1e-3)
"""Of the smoothed positive part, in units of the score."""

ROUNDED = 1e-4
"""Size below which a multiplier's absolute value is smoothed."""

ITERATIONS = 60
"""Steps of L-BFGS for each width; the search on counts goes on from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dual:
    """The dual of one table of rows."""

    table: Table  # the rows
    margin: NDArray[np.float64]  # shape (n_rows,): score minus the unconstrained threshold
    share: NDArray[np.float64]  # shape (n_rows,): share of each row in the weight of all
    block: NDArray[np.int64]  # shape (n_multipliers,): band of each multiplier
    # share of the population that each multiplier speaks about: what makes steps alike
    unit: NDArray[np.float64]  # shape (n_multipliers,)
    off: NDArray[np.float64]  # shape (n_multipliers,): rates as counted minus rates by the model

    @classmethod
    def of(cls, table: Table, threshold: float) -> "Dual":
        """Return the dual around an unconstrained threshold."""
        sizes = [len(band.groups) for band in table.bands]
        margin = table.scores - threshold
        share = table.weight / table.weight.sum()
        by_model = table.shares @ (share * (margin > 0))
        counted = np.bincount(
            table.slot, weights=table.weight * (margin > 0), minlength=table.n_slots
        )
        return cls(
            table=table,
            margin=margin,
            share=share,
            block=np.repeat(np.arange(len(sizes)), sizes),
            unit=table.priors(),
            off=table.rates(counted[:, None])[:, 0] - by_model,
        )

    def path(self, tolerances: Sequence[float]) -> list[NDArray[np.float64]]:
        """Return the multipliers for each tolerance, each found from the next larger one's."""
        at = np.zeros(len(self.block))
        found = []
        for tolerance in reversed(tolerances):
            for width in WIDTHS:
                at = minimize(
                    self._value,
                    at,
                    args=(tolerance, width),
                    jac=True,
                    method="L-BFGS-B",
                    options={"maxiter": ITERATIONS},
                ).x
            found.append(self._multipliers(at))
        return found[::-1]

    def _multipliers(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._centred(self.unit * at)

    def _centred(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Subtract the mean of each band: multipliers of one rate sum to 0."""
        mean = np.bincount(self.block, weights=values) / np.bincount(self.block)
        centred: NDArray[np.float64] = values - mean[self.block]
        return centred

    def _value(
        self, at: NDArray[np.float64], tolerance: float, width: float
    ) -> tuple[float, NDArray[np.float64]]:
        multipliers = self._multipliers(at)
        left = self.margin - multipliers @ self.table.shares
        slope = np.clip(left / width + 0.5, 0.0, 1.0)
        size = np.sqrt(multipliers**2 + ROUNDED**2)
        limit = tolerance * np.array([band.scale for band in self.table.bands])[self.block] / 2
        accepted = self.share * slope
        # The positive part: within half a width of 0 a parabola.
        positive = accepted @ left + width / 2 * (accepted @ (1.0 - slope))
        value = positive - multipliers @ self.off + limit @ size
        gradient = limit * multipliers / size - self.table.shares @ accepted - self.off
        return float(value), self.unit * self._centred(gradient)
