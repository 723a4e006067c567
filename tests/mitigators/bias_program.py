"""The published linear program of post-hoc bias scoring, solved exactly on given rows.

Source: Chen, Klochkov, Liu, arXiv 2310.05725. A rule flips the plain decision with probability
``kappa(x)``; accuracy lost and rates moved are linear in it. Rows are a sample or the atoms of a
population. ``bias_scoring`` searches by counting; this is what it is measured against. For two
groups a common window for their rates is the paper's limit on the gap; for more groups it limits
the largest gap of two.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from fairautoml.exceptions import DegenerateGroupError

LABELS: dict[str, tuple[tuple[int, ...], ...]] = {
    "dp": ((0, 1),),
    "eop": ((1,),),
    "fpr": ((0,),),
    "eo": ((0,), (1,)),
}
"""Labels of the rows that each rate of a criterion is about."""

ROUNDING = 1e-9
"""By how much a solver may miss the smallest width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipProblem:
    """Who may be flipped, at what cost and with what effect.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n_rows,)
        Accuracy lost by flipping a row: ``2 max_y P(y | x) - 1``.
    mass : ndarray of float64, shape (n_rows,)
        Share of each row, summing to 1.
    effect : ndarray of float64, shape (n_rates, n_groups, n_rows)
        By how much flipping a row lowers the rate of a group.
    rates : ndarray of float64, shape (n_rates, n_groups)
        Rates of the plain decisions.
    """

    confidence: NDArray[np.float64]
    mass: NDArray[np.float64]
    effect: NDArray[np.float64]
    rates: NDArray[np.float64]

    def solve(self, delta: float) -> "Flips":
        """Return the flips that lose least accuracy with no gap above ``delta``.

        Parameters
        ----------
        delta : float
            Limit of every gap; where it cannot be reached, the smallest that can is taken:
            counted rates and the effects by a model need not fit together.
        """
        n, n_rates = len(self.confidence), len(self.rates)
        lost = np.concatenate([self.mass * self.confidence, np.zeros(n_rates + 1)])
        solved = self._program(lost, (delta, delta))
        feasible = solved.status == 0
        if not feasible:
            width = np.append(np.zeros(n + n_rates), 1.0)
            least = float(self._program(width, (0.0, np.inf)).x[-1])
            solved = self._program(lost, (least, least + ROUNDING))
        above, below = np.split(-solved.ineqlin.marginals, 2)
        kappa = np.clip(solved.x[:n], 0.0, 1.0)
        return Flips(
            kappa=kappa,
            multipliers=(above - below).reshape(self.rates.shape),
            rates=self.rates - self.effect @ (self.mass * kappa),
            loss=float(self.mass * self.confidence @ kappa),
            feasible=feasible,
        )

    def _program(self, cost: NDArray[np.float64], width: tuple[float, float]) -> Any:
        """Solve for ``kappa``, the lower end of each rate's window, and the windows' width."""
        moved = (self.effect * self.mass).reshape(self.rates.size, -1)
        low = np.repeat(np.eye(len(self.rates)), self.rates.shape[1], axis=0)
        one = np.ones((self.rates.size, 1))
        rates = self.rates.ravel()
        return linprog(
            cost,
            A_ub=np.block([[-moved, -low, -one], [moved, low, 0 * one]]),
            b_ub=np.concatenate([-rates, rates]),
            bounds=[(0, 1)] * moved.shape[1] + [(None, None)] * len(self.rates) + [width],
            method="highs",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """A solution of the linear program.

    Parameters
    ----------
    kappa : ndarray of float64, shape (n_rows,)
        Probability of a flip.
    multipliers : ndarray of float64, shape (n_rates, n_groups)
        A row is flipped where ``sum(multipliers * effect) > confidence``; of two groups the first
        one's is the paper's ``z``.
    rates : ndarray of float64, shape (n_rates, n_groups)
        After the flips.
    loss : float
        Accuracy given up.
    feasible : bool
        Whether the limit is kept; if not, the largest gap is as small as can be.
    """

    kappa: NDArray[np.float64]
    multipliers: NDArray[np.float64]
    rates: NDArray[np.float64]
    loss: float
    feasible: bool


def build_flips(
    shares: NDArray[np.floating],
    mass: NDArray[np.float64],
    criterion: str,
    counted: NDArray[np.float64] | None = None,
) -> FlipProblem:
    """Return the program of a criterion.

    Parameters
    ----------
    shares : ndarray, shape (n_rows, n_groups, 2)
        P(group, y | x).
    mass : ndarray of float64, shape (n_rows,)
        Share of each row, summing to 1.
    criterion : {"dp", "eop", "fpr", "eo"}
        Which rates shall be equal.
    counted : ndarray of float64, shape (n_rows, n_groups, 2), optional
        Groups and labels as they were, one-hot: probabilities of groups and the rates before are
        counted on them. By default those of the model, as for the atoms of a population.

    Raises
    ------
    DegenerateGroupError
        A group has probability 0 among the rows that a rate is about.
    """
    positive = shares[:, :, 1].sum(axis=1)
    sign = np.where(positive > 0.5, 1.0, -1.0)
    seen = shares if counted is None else counted
    effect, rates = [], []
    for labels in LABELS[criterion]:
        by_group = seen[:, :, labels].sum(axis=2)
        prior = mass @ by_group
        if (prior <= 0).any():
            group = int(np.flatnonzero(prior <= 0)[0])
            msg = (
                f"group {group} has no rows with label in {labels}, so the rates of {criterion!r} "
                "cannot be compared; leave the group out or take another criterion"
            )
            raise DegenerateGroupError(msg)
        effect.append(sign * (shares[:, :, labels].sum(axis=2) / prior).T)
        rates.append((mass * (sign > 0)) @ by_group / prior)
    return FlipProblem(
        confidence=np.abs(2.0 * positive - 1.0),
        mass=mass,
        effect=np.stack(effect),
        rates=np.stack(rates),
    )
