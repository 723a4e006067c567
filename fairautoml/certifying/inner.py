"""The inner target: what search rows must show so that a certificate is likely."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from fairautoml.certification.claims import rate_counts
from fairautoml.certification.exact import TAIL
from fairautoml.certifying.claimed import Claimed
from fairautoml.metrics import GroupCounts
from fairautoml.trials import Entry

CERTIFICATE_WORTH = 0.25
"""Share of a model's worth, over one decision for everybody, that a certificate makes. With many
rows a certificate costs next to no accuracy and is always chosen; with few it may not cost all."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InnerTarget:
    """How likely entries are certified, from search rows alone.

    The inner target of Thomas et al. (Science 366, 2019), gone through for every power instead of
    one, so that it can be weighed against what an entry is worth.

    Parameters
    ----------
    claims : tuple of Claimed
        What will be claimed.
    delta : float
        Level.
    rows_per_row : float
        Certification rows for each search row.
    n_rows : ndarray of float64, shape (n_cells,)
        Search rows by finest cell.
    """

    claims: tuple[Claimed, ...]
    delta: float
    rows_per_row: float
    n_rows: NDArray[np.float64]

    def kept_worth(self, entry: Entry) -> float:
        """Return what an entry keeps of its worth for how likely it is certified, in (0, 1].

        Parameters
        ----------
        entry : Entry
            As in a call.
        """
        return 1.0 - CERTIFICATE_WORTH * (1.0 - self(entry))

    def __call__(self, entry: Entry) -> float:
        """Return the probability of a certificate by normal approximation, in [0, 1].

        The weakest pair of groups counts. It is 0.8 where the cross-fitted gap is the inner
        target of the search and the pair's other direction is clear.

        Parameters
        ----------
        entry : Entry
            With the counts of its cross-fitted decisions.
        """
        mass = entry.counts.sum(axis=(1, 2))
        # Weights have mean one; rows are what a certificate counts.
        rows = np.divide(self.n_rows, mass, out=np.zeros_like(mass), where=mass > 0)
        counts = GroupCounts(entry.counts * rows[:, None, None])
        return min((self._of_claim(claim, counts) for claim in self.claims), default=1.0)

    def _of_claim(self, claim: Claimed, counts: GroupCounts) -> float:
        merged = counts.merged(claim.system.of_cell, claim.system.n_groups)
        found = []
        for rate in claim.constraint.metric.rates:
            events, rows = rate_counts(merged.table, rate)
            n = np.floor(rows * self.rows_per_row)
            if n.min() < 1:
                return 0.0
            # Half an event more on each side: a rate of 0 out of 10 is not known to be 0.
            seen, smooth = events / rows, (events + 0.5) / (rows + 1.0)
            ratio = claim.constraint.metric.form == "ratio"
            passing = self._ratio if ratio else self._difference
            found.append(passing(seen, smooth * (1 - smooth) / n, claim.constraint.bound))
        return min(found)

    def _difference(
        self, rates: NDArray[np.float64], variance: NDArray[np.float64], bound: float
    ) -> float:
        room = bound - (rates[:, None] - rates[None, :])
        error = np.sqrt(variance[:, None] + variance[None, :])
        return _weakest(ndtr(room / error - float(ndtri(1 - TAIL * self.delta))))

    def _ratio(
        self, rates: NDArray[np.float64], variance: NDArray[np.float64], bound: float
    ) -> float:
        """Return it for ``low - bound high``, whose two bounds err together, not in turn."""
        error = np.sqrt(variance)
        both = error[:, None] + bound * error[None, :]
        room = rates[:, None] - bound * rates[None, :] - float(ndtri(1 - self.delta / 2)) * both
        spread = np.sqrt(variance[:, None] + bound**2 * variance[None, :])
        return _weakest(ndtr(room / spread))


def _weakest(passing: NDArray[np.float64]) -> float:
    """Return the least probability that a pair passes in both directions."""
    np.fill_diagonal(passing, 1.0)
    return float(max(0.0, (passing + passing.T - 1.0).min()))


def inner_target_of(
    claims: Sequence[Claimed],
    cells: NDArray[np.integer],
    *,
    n_certification: int,
    delta: float,
) -> InnerTarget:
    """Return the inner target of a search.

    Parameters
    ----------
    claims : sequence of Claimed
        What will be claimed.
    cells : ndarray of int, shape (n_search_rows,)
        Finest cells of the search rows.
    n_certification : int
        Certification rows.
    delta : float
        Level.
    """
    n_cells = max((len(claim.system.of_cell) for claim in claims), default=1)
    return InnerTarget(
        claims=tuple(claims),
        delta=delta,
        rows_per_row=n_certification / len(cells),
        n_rows=np.bincount(cells[cells >= 0], minlength=n_cells).astype(np.float64),
    )
